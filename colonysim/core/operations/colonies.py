"""Colonies (docs/protocol/a-foundation.md 6.2)."""

from __future__ import annotations

from typing import Any

from colonysim.core import removal, storage
from colonysim.core.access import colony_owner, member, server_owner, silent_member
from colonysim.core.errors import Refusal
from colonysim.core.lookup import or_null
from colonysim.core.protocol import ECHO, EMPTY, Empty, Message
from colonysim.core.records import (
    APPROVED,
    CANCELLED,
    FAILED,
    RUNNING,
    STATES,
    SUCCESS,
    UNREGISTERED,
    WAITING,
)
from colonysim.core.registry import operation
from colonysim.core.replies import Statistics
from colonysim.core.types import Colony
from colonysim.core.world import World


class AddColony(Message, frozen=True):
    colony: Colony | None = None


@operation("addcolonymsg", AddColony, "Failed to add colony", access=server_owner)
def add_colony(world: World, caller: str, message: AddColony, _: None) -> Colony:
    """Add a colony. Quirk: the reply is looked up by id; if two colonies share it, the reply shows the older one."""
    colony = message.colony
    if colony is None:
        raise Refusal(400, "Failed to add colony, colony is <nil>")
    if len(colony.colonyid.encode()) != 64:
        raise Refusal(400, "Failed to add colony, invalid colony Id length")
    if colony.name in world.colonies:
        raise Refusal(400, f"A Colony with name <{colony.name}> already exists")
    if world.request.has_nul:
        storage.text(400, colony)
    world.colonies[colony.name] = colony
    return world.colonies.oldest(colony.colonyid)


class RemoveColony(Message, frozen=True):
    colonyname: str = ""


@operation("removecolonymsg", RemoveColony, "Failed to remove colony", access=server_owner)
def remove_colony(world: World, caller: str, message: RemoveColony, _: None) -> Empty:
    """Remove a colony with everything in it except blueprints and the pause flag.

    Source: docs/protocol/a-foundation.md 7.4.
    """
    if world.request.has_nul:
        storage.text(400, message.colonyname)
    if message.colonyname not in world.colonies:
        raise Refusal(400, f"Colony with name <{message.colonyname}> not found")
    removal.drop_colony(world, message.colonyname)
    return EMPTY


class GetColonies(Message, frozen=True):
    pass


@operation("getcoloniesmsg", GetColonies, "Failed to get colonies", access=server_owner)
def get_colonies(world: World, caller: str, message: GetColonies, _: None) -> Any:
    """List all colonies."""
    return or_null(world.colonies.values())


class GetColony(Message, frozen=True):
    colonyname: str = ""


@operation("getcolonymsg", GetColony, "Failed to get colony", access=member())
def get_colony(world: World, caller: str, message: GetColony, _: None) -> Colony:
    """Return a colony by its name."""
    return world.colonies[message.colonyname]


class GetColonyStats(Message, frozen=True):
    colonyname: str = ""


def _known_colony(world: World, caller: str, message: GetColonyStats) -> None:
    if message.colonyname not in world.colonies:
        if world.request.has_nul:
            storage.text(500, message.colonyname)
        raise Refusal(400, f"Colony with name <{message.colonyname}> not found")


@operation(
    "getcolonystatsmsg",
    GetColonyStats,
    "Failed to get colony statistics",
    find=_known_colony,
    access=silent_member(),
)
def get_colony_stats(world: World, caller: str, message: GetColonyStats, _: None) -> Statistics:
    """Count a colony's executors, processes and workflows; processes that wait for their parents count too."""
    colony = message.colonyname
    executors = world.executors.where("colony", colony)
    if world.unreadable_names and any(storage.unparsable(executor.name, colony) for executor in executors):
        raise Refusal(500, "Failed to parse Executor name")
    processes = [len(world.processes_in(colony, state)) for state in STATES]
    graphs = [len(world.graphs_in.get((colony, state), ())) for state in STATES]
    return Statistics(
        colonies=1,
        executors=len(executors),
        activeexecutors=sum(executor.state == APPROVED for executor in executors),
        unregisteredexecutors=sum(executor.state == UNREGISTERED for executor in executors),
        waitingprocesses=processes[WAITING],
        runningprocesses=processes[RUNNING],
        successfulprocesses=processes[SUCCESS],
        failedprocesses=processes[FAILED],
        cancelledprocesses=processes[CANCELLED],
        waitingworkflows=graphs[WAITING],
        runningworkflows=graphs[RUNNING],
        successfulworkflows=graphs[SUCCESS],
        failedworkflows=graphs[FAILED],
        cancelledworkflows=graphs[CANCELLED],
    )


class ChangeColonyId(Message, frozen=True):
    colonyname: str = ""
    colonyid: str = ""


def _new_colony_id(world: World, caller: str, message: ChangeColonyId) -> None:
    if not message.colonyid:
        raise Refusal(400, "Failed to change colony Id, colony Id is empty")


@operation(
    "changecolonyidmsg", ChangeColonyId, "Failed to change colony Id", find=_new_colony_id, access=colony_owner()
)
def change_colony_id(world: World, caller: str, message: ChangeColonyId, _: None) -> Any:
    """Change a colony's id."""
    if len(message.colonyid.encode()) != 64:
        raise Refusal(400, "Failed to change colony Id, new colony Id is not 64 characters")
    if world.request.has_nul:
        storage.text(403, message.colonyid)
    world.colonies[message.colonyname] = Colony(colonyid=message.colonyid, name=message.colonyname)
    return ECHO
