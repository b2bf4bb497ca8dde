"""Blueprints (docs/protocol/d-realtime-and-data.md 5.5 to 5.8)."""

from __future__ import annotations

from itertools import islice
from operator import attrgetter
from typing import Any

from msgspec.structs import replace

from colonysim.core import blueprints, intake, lookup, storage
from colonysim.core.access import member, member_or_owner
from colonysim.core.errors import Refusal
from colonysim.core.golang.units import through_double
from colonysim.core.intake import Initiator
from colonysim.core.lookup import or_null
from colonysim.core.protocol import EMPTY, Empty, Message
from colonysim.core.records import Process
from colonysim.core.registry import operation
from colonysim.core.types import Blueprint, Int
from colonysim.core.world import World


def _namespace(message: Any, _: Any) -> str:
    return message.namespace  # type: ignore[no-any-return]


def _colony(message: Any, _: Any) -> str:
    return message.blueprint.metadata.colonyname  # type: ignore[no-any-return]


def _named(world: World, colony: str, name: str) -> Blueprint:
    blueprint = world.blueprints.get((colony, name))
    if blueprint is None:
        if world.request.has_nul:
            storage.text(500, colony, name)
        raise Refusal(404, "Blueprint not found")
    return blueprint


def _initiator(world: World, caller: str, colony: str) -> Initiator:
    """Return the initiator of a process that the caller submits; the colony owner has no name."""
    return intake.initiator_of(world, caller, colony) or Initiator(caller, "")


class AddBlueprint(Message, frozen=True):
    blueprint: Blueprint | None = None


@operation(
    "addblueprintmsg",
    AddBlueprint,
    "Failed to add blueprint",
    find=lookup.given("blueprint", "Failed to add blueprint, blueprint is nil"),
    access=member_or_owner(_colony),
)
def add_blueprint(world: World, caller: str, message: AddBlueprint, _: None) -> Blueprint:
    """Store a blueprint and its first history entry; a complete handler also gets a cron and a first reconciliation."""
    sent = message.blueprint
    assert sent is not None
    blueprints.check(world, sent)
    key = colony, name = sent.metadata.colonyname, sent.metadata.name
    if key in world.blueprints:
        raise Refusal(409, f"blueprint with name '{name}' already exists in colony '{colony}'")
    if sent.blueprintid and world.blueprints.count("id", sent.blueprintid):
        raise storage.duplicate_key(500, "prod_blueprints_pkey")
    if world.request.has_nul:
        storage.text(500, sent, free=("spec", "status"))
    reply = blueprints.plain(replace(sent, blueprintid=sent.blueprintid or world.new_id()))
    stored = replace(reply, spec=reply.spec or {})
    blueprints.add_location(world, stored)
    world.blueprints[key] = stored
    blueprints.record(world, reply, caller, "create")
    handler = blueprints.handler_of(world, colony, stored.kind)
    if handler.executorType and handler.functionName:
        initiator = _initiator(world, caller, colony)
        blueprints.add_cron(world, stored, handler, initiator)
        blueprints.reconcile(world, stored, handler, initiator, force=False)
    return reply


class GetBlueprint(Message, frozen=True):
    namespace: str = ""
    name: str = ""


@operation("getblueprintmsg", GetBlueprint, "Failed to get blueprint", access=member_or_owner(_namespace))
def get_blueprint(world: World, caller: str, message: GetBlueprint, _: None) -> Blueprint:
    """Return a blueprint by its name."""
    return _named(world, message.namespace, message.name)


class GetBlueprints(Message, frozen=True):
    namespace: str = ""
    kind: str = ""
    locationname: str = ""


@operation("getblueprintsmsg", GetBlueprints, "Failed to get blueprints", access=member_or_owner(_namespace))
def get_blueprints(world: World, caller: str, message: GetBlueprints, _: None) -> Any:
    """List blueprints by name. Quirk: without a kind the location is ignored; with one its letter case is."""
    if world.request.has_nul:
        storage.text(500, message.namespace, message.kind, message.locationname if message.kind else "")
    if not message.kind:
        found = world.blueprints.where("colony", message.namespace)
    else:
        found = world.blueprints.where("kind", message.namespace, message.kind)
        if message.locationname:
            wanted = message.locationname.lower()
            found = [blueprint for blueprint in found if blueprint.metadata.locationname.lower() == wanted]
    return or_null(sorted(found, key=attrgetter("metadata.name")))


class UpdateBlueprint(Message, frozen=True):
    blueprint: Blueprint | None = None
    forcegeneration: bool = False


@operation(
    "updateblueprintmsg",
    UpdateBlueprint,
    "Failed to update blueprint",
    find=lookup.given("blueprint", "Failed to update blueprint, blueprint is nil"),
    access=member_or_owner(_colony),
)
def update_blueprint(world: World, caller: str, message: UpdateBlueprint, _: None) -> Blueprint:
    """Replace everything but the id, including the status. A changed spec raises the generation."""
    sent = message.blueprint
    assert sent is not None
    key = colony, name = sent.metadata.colonyname, sent.metadata.name
    old = world.blueprints.get(key)
    if old is None:
        if world.request.has_nul:
            storage.text(500, colony, name)
        raise Refusal(404, f"blueprint '{name}' not found in namespace '{colony}'")
    blueprints.check(world, sent)
    if world.request.has_nul:
        storage.text(500, sent, free=("blueprintid", "spec", "status"))
    new = blueprints.plain(sent)
    changed = message.forcegeneration or blueprints.canonical(new.spec) != blueprints.canonical(old.spec)
    metadata = replace(sent.metadata, generation=old.metadata.generation + changed)
    reply = replace(new, blueprintid=old.blueprintid, metadata=metadata)
    stored = replace(reply, spec=reply.spec or {})
    world.blueprints[key] = stored
    if changed:
        blueprints.record(world, reply, caller, "update")
        handler = blueprints.handler_of(world, colony, stored.kind)
        initiator = intake.initiator_of(world, caller, colony)
        if initiator and handler.executorType and handler.functionName:
            blueprints.reconcile(world, stored, handler, initiator, force=False)
    return reply


class RemoveBlueprint(Message, frozen=True):
    namespace: str = ""
    name: str = ""


@operation("removeblueprintmsg", RemoveBlueprint, "Failed to remove blueprint", access=member_or_owner(_namespace))
def remove_blueprint(world: World, caller: str, message: RemoveBlueprint, _: None) -> Empty:
    """Remove a blueprint and submit a clean-up process. Its cron goes with the last of its kind and location."""
    blueprint = _named(world, message.namespace, message.name)
    del world.blueprints[message.namespace, message.name]
    blueprints.drop_cron(world, blueprint)
    handler = blueprints.handler_of(world, message.namespace, blueprint.kind)
    if handler.executorType:
        kwargs = {"kind": blueprint.kind, "blueprintName": message.name}
        spec = blueprints.spec_of(blueprint, handler, "cleanup", kwargs)
        blueprints.submit(world, spec, _initiator(world, caller, message.namespace))
    return EMPTY


class GetBlueprintHistory(Message, frozen=True):
    blueprintid: str = ""
    limit: Int = 0


def _by_id(world: World, caller: str, message: GetBlueprintHistory) -> Blueprint:
    if found := world.blueprints.where("id", message.blueprintid):
        return found[0]
    if world.request.has_nul:
        storage.text(500, message.blueprintid)
    raise Refusal(404, "Blueprint not found")


def _its_colony(message: GetBlueprintHistory, blueprint: Blueprint) -> str:
    return blueprint.metadata.colonyname


@operation(
    "getblueprinthistorymsg",
    GetBlueprintHistory,
    "Failed to get blueprint history",
    find=_by_id,
    access=member_or_owner(_its_colony),
    null_crashes=False,
)
def get_blueprint_history(world: World, caller: str, message: GetBlueprintHistory, blueprint: Blueprint) -> Any:
    """List the changes of a blueprint, newest first."""
    found = reversed(world.changes_of.get(blueprint.blueprintid, ()))
    return or_null(islice(found, message.limit) if message.limit > 0 else found)


class UpdateBlueprintStatus(Message, frozen=True):
    colonyname: str = ""
    blueprintname: str = ""
    status: dict[str, Any] | None = None


@operation("updateblueprintstatusmsg", UpdateBlueprintStatus, "Failed to update blueprint status", access=member())
def update_blueprint_status(world: World, caller: str, message: UpdateBlueprintStatus, _: None) -> Empty:
    """Replace the whole status; nothing else changes."""
    blueprint = _named(world, message.colonyname, message.blueprintname)
    status = through_double(message.status) or None
    world.blueprints[message.colonyname, message.blueprintname] = replace(blueprint, status=status)
    return EMPTY


class ReconcileBlueprint(Message, frozen=True):
    namespace: str = ""
    name: str = ""
    force: bool = False


@operation("reconcileblueprintmsg", ReconcileBlueprint, "Failed to reconcile blueprint", access=member(_namespace))
def reconcile_blueprint(world: World, caller: str, message: ReconcileBlueprint, _: None) -> Process:
    """Submit a reconciling process. Quirk: `force` raises the generation first, even if there is no handler."""
    blueprint = _named(world, message.namespace, message.name)
    if message.force:
        metadata = replace(blueprint.metadata, generation=blueprint.metadata.generation + 1)
        blueprint = replace(blueprint, metadata=metadata)
        world.blueprints[message.namespace, message.name] = blueprint
    handler = blueprints.handler_of(world, message.namespace, blueprint.kind)
    if not handler.executorType:
        raise Refusal(400, "Blueprint has no handler with executor type defined")
    if not handler.functionName:
        raise Refusal(400, "Blueprint has no handler with function name defined")
    initiator = _initiator(world, caller, message.namespace)
    return blueprints.reconcile(world, blueprint, handler, initiator, message.force)
