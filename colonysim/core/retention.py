"""Keep a heap of what retention will delete, oldest first: docs/protocol/b-processes.md 7.

A run of retention examines only what is old enough. `removal` deletes it.
"""

from __future__ import annotations

import heapq
from typing import Final

from colonysim.core.events import RETENTION_RANK, Retention
from colonysim.core.records import SECOND_NS, SUCCESS, Process
from colonysim.core.types import Attribute
from colonysim.core.world import World

RETENTION_PERIOD_NS: Final = 60 * SECOND_NS

ATTRIBUTE: Final = "attribute"
LOGS: Final = "logs"
GRAPH: Final = "graph"
PROCESS: Final = "process"

Entry = tuple[int, int, str, str]
"""Creation time in ns, number of the entry, kind, and id (for LOGS the name of the colony)."""

_FEW: Final = 64


def add(world: World, made_ns: int, kind: str, item_id: str) -> None:
    """Add an entry for something that retention will delete. There may be several entries for one thing.

    Entries for what was deleted otherwise stay in the heap until they are due or outnumber the others.
    """
    if not world.settings.retention:
        return
    world.entries_made += 1
    heapq.heappush(world.aging, (made_ns, world.entries_made, kind, item_id))
    there = len(world.processes) + len(world.graphs) + len(world.attributes) + len(world.logs.of_colony)
    if len(world.aging) > 2 * there + _FEW:
        kept = {entry[2:]: entry for entry in sorted(world.aging) if _holds(world, entry)}
        world.aging = sorted(kept.values())


def _holds(world: World, entry: Entry) -> bool:
    """Whether what an entry names still exists and is deleted by that time."""
    made_ns, _, kind, item_id = entry
    if kind == LOGS:
        return world.logs.oldest_ns(item_id) == made_ns
    if kind == ATTRIBUTE:
        attribute = world.attributes.get(item_id)
        return attribute is not None and attribute.state == SUCCESS and world.attribute_times[item_id] == made_ns
    found = world.graphs.get(item_id) if kind == GRAPH else world.processes.get(item_id)
    return found is not None and found.state == SUCCESS


def oldest_ns(world: World) -> int | None:
    """Return the creation time of the oldest entry; None if there is none."""
    while world.aging:
        if _holds(world, world.aging[0]):
            return world.aging[0][0]
        heapq.heappop(world.aging)
    return None


def take(world: World, limit_ns: int) -> dict[str, list[str]]:
    """Remove and return what was created before a time: ids by kind, each once, in the order of their last entries."""
    numbers: dict[tuple[str, str], int] = {}
    while (made_ns := oldest_ns(world)) is not None and made_ns < limit_ns:
        _, number, kind, item_id = heapq.heappop(world.aging)
        numbers[kind, item_id] = number
    found: dict[str, list[str]] = {ATTRIBUTE: [], LOGS: [], GRAPH: [], PROCESS: []}
    for kind, item_id in sorted(numbers, key=numbers.__getitem__):
        found[kind].append(item_id)
    return found


def gather(world: World) -> None:
    """Add entries for everything in a world that was rebuilt from stored data."""
    for colony in world.logs.of_colony:
        add(world, world.logs.of_colony[colony][0].timestamp, LOGS, colony)
    for attribute_id, attribute in world.attributes.items():
        if attribute.state == SUCCESS:
            add(world, world.attribute_times[attribute_id], ATTRIBUTE, attribute_id)
    for graph in world.graphs.values():
        if graph.state == SUCCESS:
            add(world, graph.submitted_ns, GRAPH, graph.graph_id)
    for tables in world.by_state.values():
        for process in tables[SUCCESS].values():
            if not process.graph_id:
                add(world, process.submitted_ns, PROCESS, process.process_id)


# ---------------------------------------------------------------- what may become too old
def succeeded(world: World, process: Process) -> None:
    """Add entries for a process that has succeeded, and for its attributes."""
    if not world.settings.retention:
        return
    for attribute in process.attributes:
        made_ns = world.attribute_times.get(attribute.attributeid)
        if made_ns is not None:
            add(world, made_ns, ATTRIBUTE, attribute.attributeid)
    if graph := world.graphs.get(process.graph_id):
        expect(world, graph.submitted_ns)
        return
    if not process.graph_id:
        add(world, process.submitted_ns, PROCESS, process.process_id)
    expect(world, process.submitted_ns)


def attribute_added(world: World, attribute: Attribute) -> None:
    """Add an entry for a new attribute whose state is that of a successful process."""
    add(world, world.now_ns, ATTRIBUTE, attribute.attributeid)
    expect(world, world.now_ns)


def log_added(world: World, colony: str) -> None:
    """Add an entry for a new log line of a colony."""
    if len(world.logs.of_colony[colony]) == 1:
        add(world, world.logs.of_colony[colony][0].timestamp, LOGS, colony)
    expect(world, world.now_ns)


def expect(world: World, made_ns: int) -> None:
    """Schedule retention for when something created at `made_ns` is too old.

    The reference runs it once a minute from its start; here only the first run that can find something is on the
    agenda.
    """
    if not world.settings.retention:
        return
    old_ns = max(made_ns + world.settings.retention_policy_s * SECOND_NS, world.now_ns)
    runs = (old_ns - world.started_ns) // RETENTION_PERIOD_NS + 1
    due_ns = world.started_ns + runs * RETENTION_PERIOD_NS
    if world.retention is not None:
        ticket, planned_ns = world.retention
        if planned_ns <= due_ns:
            return
        world.agenda.cancel(ticket)
    world.retention = world.agenda.add(due_ns, Retention(), RETENTION_RANK), due_ns
