"""Locations of a colony (docs/protocol/d-realtime-and-data.md 6)."""

from __future__ import annotations

from typing import Any

from colonysim.core import lookup, storage
from colonysim.core.access import any_member, colony_owner
from colonysim.core.errors import Refusal
from colonysim.core.lookup import known_colony, or_null, require_colony
from colonysim.core.protocol import EMPTY, Empty, Message
from colonysim.core.registry import operation
from colonysim.core.types import Location
from colonysim.core.world import World


def _unreadable() -> Refusal:
    return Refusal(400, "Failed to parse Location name")


def _location(world: World, colony: str, name: str, refusal: Refusal) -> Location:
    if world.request.has_nul:
        storage.text(400, name)
    location = world.locations.get((colony, name))
    if location is None:
        raise refusal
    if storage.unparsable(name, colony):
        raise _unreadable()
    return location


class AddLocation(Message, frozen=True):
    location: Location | None = None


_given = lookup.given("location", "Failed to add location, location is nil")


def _location_given(world: World, caller: str, message: AddLocation) -> Location:
    _given(world, caller, message)
    assert message.location is not None
    require_colony(world, message.location.colonyname)
    return message.location


def _colony_of_location(message: AddLocation, location: Location) -> str:
    return location.colonyname


@operation(
    "addlocationmsg",
    AddLocation,
    "Failed to add location",
    find=_location_given,
    access=colony_owner(_colony_of_location),
)
def add_location(world: World, caller: str, message: AddLocation, location: Location) -> Location:
    """Add a location. Its id is stored as sent, even if empty."""
    colony, name = location.colonyname, location.name
    unreadable = storage.unparsable(name, colony)
    if (colony, name) in world.locations:
        if unreadable:
            raise _unreadable()
        raise Refusal(400, f"A location with name <{name}> already exists in Colony with name <{colony}>")
    if world.request.has_nul:
        storage.text(400, location)
    world.locations[colony, name] = location
    if unreadable:
        raise Refusal(500, "Failed to add location, addedLocation is nil")  # Quirk: it is stored nevertheless
    return location


class GetLocation(Message, frozen=True):
    colonyname: str = ""
    name: str = ""


@operation("getlocationmsg", GetLocation, "Failed to get location", find=known_colony, access=any_member())
def get_location(world: World, caller: str, message: GetLocation, _: None) -> Location:
    """Return a location by its name."""
    missing = Refusal(404, "Failed to get location, location is nil")
    return _location(world, message.colonyname, message.name, missing)


class GetLocations(Message, frozen=True):
    colonyname: str = ""


@operation("getlocationsmsg", GetLocations, "Failed to get locations", find=known_colony, access=any_member())
def get_locations(world: World, caller: str, message: GetLocations, _: None) -> Any:
    """List the locations of a colony."""
    found = world.locations.where("colony", message.colonyname)
    if any(storage.unparsable(location.name, location.colonyname) for location in found):
        raise _unreadable()
    return or_null(found)


class RemoveLocation(Message, frozen=True):
    colonyname: str = ""
    name: str = ""


@operation("removelocationmsg", RemoveLocation, "Failed to remove location", find=known_colony, access=colony_owner())
def remove_location(world: World, caller: str, message: RemoveLocation, _: None) -> Empty:
    """Remove a location, even if executors or blueprints use it."""
    missing = Refusal(400, f"Location with name <{message.name}> not found")
    _location(world, message.colonyname, message.name, missing)
    del world.locations[message.colonyname, message.name]
    return EMPTY
