"""Delete what is older than the retention period: docs/protocol/b-processes.md 7."""

from __future__ import annotations

from typing import Final

from colonysim.core import graphs, transitions
from colonysim.core.events import RETENTION_RANK, Retention
from colonysim.core.records import SECOND_NS, SUCCESS, Process
from colonysim.core.world import World

RETENTION_PERIOD_NS: Final = 60 * SECOND_NS


def expect(world: World, made_ns: int) -> None:
    """Schedule retention for when something made at `made_ns` is too old.

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


def run(world: World, _: Retention) -> None:
    """Delete old logs, and old attributes, graphs and single processes that succeeded.

    Unlike in the reference, the processes of a graph stay until the graph itself is deleted.
    """
    world.retention = None
    limit_ns = world.now_ns - world.settings.retention_policy_s * SECOND_NS
    world.remove_attributes(
        attribute
        for attribute in world.attributes.values()
        if attribute.state == SUCCESS and world.attribute_times[attribute.attributeid] < limit_ns
    )
    if world.logs and world.logs[0].timestamp < limit_ns:
        world.keep_logs(lambda log: log.timestamp >= limit_ns)
    for graph in list(world.graphs.values()):
        if graph.state == SUCCESS and graph.submitted_ns < limit_ns:
            graphs.remove(world, graph)
    for process in _single_successes(world):
        if process.submitted_ns < limit_ns:
            transitions.leave(world, process, "retention")
    _expect_next(world)


def _single_successes(world: World) -> list[Process]:
    return [p for tables in world.by_state.values() for p in tables[SUCCESS].values() if not p.graph_id]


def _expect_next(world: World) -> None:
    times = [world.attribute_times[a.attributeid] for a in world.attributes.values() if a.state == SUCCESS]
    times += [log.timestamp for log in world.logs[:1]]
    times += [graph.submitted_ns for graph in world.graphs.values() if graph.state == SUCCESS]
    times += [process.submitted_ns for process in _single_successes(world)]
    if times:
        expect(world, min(times))
