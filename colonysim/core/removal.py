"""Remove a colony with its contents: docs/protocol/a-foundation.md 7.4."""

from __future__ import annotations

from colonysim.core import channels, recurring, registration, transitions
from colonysim.core.records import STATES
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
    world.remove_attributes(a for a in world.attributes.values() if a.targetcolonyname == colony)
    del world.by_state[colony]
    for user in [user for user in world.users.values() if user.colonyname == colony]:
        world.drop_user(user)
    for executor in [executor for executor in world.executors.values() if executor.colony == colony]:
        world.drop_executor(executor)
    registration.plan_cleanup(world)
    for function in [f for f in world.functions.values() if f.colonyname == colony]:
        world.drop_function(function)
    world.keep_logs(lambda log: log.colonyname != colony)
    for cron in [cron for cron in world.crons.values() if cron.colony == colony]:
        recurring.remove_cron(world, cron)
    for generator in [generator for generator in world.generators.values() if generator.colony == colony]:
        recurring.remove_generator(world, generator)
    for file in [file for file in world.files.values() if file.colonyname == colony]:
        del world.files[file.fileid]
    for snapshot in [snapshot for snapshot in world.snapshots.values() if snapshot.colony == colony]:
        del world.snapshots[snapshot.snapshot_id]
    world.locations = {k: location for k, location in world.locations.items() if k[0] != colony}
    for graph in [graph for graph in world.graphs.values() if graph.colony == colony]:
        del world.graphs[graph.graph_id]
    del world.colonies[colony]
