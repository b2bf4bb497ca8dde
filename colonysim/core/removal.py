"""Remove a colony with its contents, and what is older than the retention period."""

from __future__ import annotations

from operator import attrgetter

from colonysim.core import channels, graphs, recurring, registration, retention, transitions
from colonysim.core.events import Retention
from colonysim.core.records import SECOND_NS, STATES
from colonysim.core.world import World


def drop_colony(world: World, colony: str) -> None:
    """Remove a colony and everything in it, except blueprints and the pause flag.

    Source: docs/protocol/a-foundation.md 7.4.
    """
    for state in STATES:
        for process in list(world.processes_in(colony, state).values()):
            transitions.leave(world, process, "colony removed")
            channels.drop_unless_subscribed(world, process)
            for attribute in process.attributes:
                world.drop_attribute(attribute.attributeid)
    world.remove_attributes(world.attributes.where("colony", colony))
    del world.by_state[colony]
    for user in world.users.where("colony", colony):
        world.drop_user(user)
    for executor in world.executors.where("colony", colony):
        world.drop_executor(executor)
    registration.plan_cleanup(world)
    for function_id in list(world.functions_in.get(colony, ())):
        world.drop_function(world.functions[function_id])
    world.logs.remove(colony)
    for cron in world.crons.where("colony", colony):
        recurring.remove_cron(world, cron)
    for generator in world.generators.where("colony", colony):
        recurring.remove_generator(world, generator)
    for file in world.files.of_colony(colony):
        del world.files[file.fileid]
    for snapshot in world.snapshots.where("colony", colony):
        del world.snapshots[snapshot.snapshot_id]
    for location in world.locations.where("colony", colony):
        del world.locations[location.colonyname, location.name]
    for graph in world.graphs_of(colony):
        world.drop_graph(graph)
    del world.colonies[colony]


def drop_old(world: World, _: Retention) -> None:
    """Delete old logs, and old attributes, graphs and single processes that succeeded: docs/protocol/b-processes.md 7.

    Unlike in the reference, the processes of a graph stay until the graph itself is deleted.
    """
    world.retention = None
    limit_ns = world.now_ns - world.settings.retention_policy_s * SECOND_NS
    old = retention.take(world, limit_ns)
    world.remove_attributes(world.attributes[each] for each in old[retention.ATTRIBUTE])
    for colony in old[retention.LOGS]:
        world.logs.remove(colony, limit_ns)
        if (oldest_ns := world.logs.oldest_ns(colony)) is not None:
            retention.add(world, oldest_ns, retention.LOGS, colony)
    for graph in sorted((world.graphs[each] for each in old[retention.GRAPH]), key=attrgetter("serial")):
        graphs.remove(world, graph)
    for process_id in old[retention.PROCESS]:
        transitions.leave(world, world.processes[process_id], "retention")
    if (made_ns := retention.oldest_ns(world)) is not None:
        retention.expect(world, made_ns)
