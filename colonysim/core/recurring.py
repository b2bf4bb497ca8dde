"""Crons and generators, which start workflows on a schedule or when arguments arrive.

The reference checks all of them in every checker period. Here each has an entry on the agenda, for the first check
that will find something to do. Source: docs/protocol/c-workflows.md 6, 7.
"""

from __future__ import annotations

from typing import Final

from msgspec.structs import replace

from colonysim.core import graphs, intake, lifecycle
from colonysim.core.errors import Refusal
from colonysim.core.events import CRON_RANK, GENERATOR_RANK, CronCheck, GeneratorCheck
from colonysim.core.golang import cronexpr
from colonysim.core.golang.civil import zone_of
from colonysim.core.history import (
    ArgumentsPacked,
    CronArmed,
    CronIdle,
    CronRan,
    GeneratorFired,
    SourceRemoved,
    SourceStalled,
)
from colonysim.core.records import FAILED, SECOND_NS, SUCCESS, Cron, Generator, Process, ProcessGraph
from colonysim.core.types import ZERO_TIME_NS, WorkflowSpec
from colonysim.core.world import World

CHECK_DELAY_NS: Final = 1_000_000
"""Checks come this much after the period ends, so that a run due at a whole second is found in that second."""


def _next_check(world: World, period_ms: int, after_ns: int) -> int:
    """Return the time of a checker's first check after `after_ns`."""
    period_ns = period_ms * 1_000_000
    phase_ns = world.started_ns + CHECK_DELAY_NS
    checks = (max(after_ns, world.now_ns) - phase_ns) // period_ns + 1
    return phase_ns + max(checks, 1) * period_ns


# ---------------------------------------------------------------- crons
def add_cron(world: World, cron: Cron) -> None:
    """Add a cron to the tables and schedule its first check."""
    world.crons[cron.cron_id] = cron
    _arm_cron(world, cron)


def remove_cron(world: World, cron: Cron) -> None:
    """Remove a cron and its next check."""
    world.agenda.cancel(cron.timer)
    del world.crons[cron.cron_id]
    world.note(SourceRemoved(cron.cron_id))


def _arm_cron(world: World, cron: Cron) -> None:
    """Schedule the check that finds the next run of a cron due; the next check if that run is not known yet."""
    after_ns = world.now_ns if cron.next_run_ns == ZERO_TIME_NS else cron.next_run_ns
    due_ns = _next_check(world, world.settings.cron_checker_period_ms, after_ns)
    world.agenda.cancel(cron.timer)
    cron.timer = world.agenda.add(due_ns, CronCheck(cron.cron_id), CRON_RANK)
    world.note(CronArmed(world.now_ns, cron.cron_id, cron.next_run_ns))


def check_cron(world: World, event: CronCheck) -> None:
    """Run a cron that is due. The first check of a new one computes its next run instead."""
    cron = world.crons[event.cron_id]
    if cron.next_run_ns == ZERO_TIME_NS:
        cron.last_run_ns, cron.previous_graph_id = ZERO_TIME_NS, ""
        next_ns = next_run(world, cron)
        if next_ns is not None:
            cron.next_run_ns = next_ns
            _arm_cron(world, cron)
            return
        world.note(CronIdle(cron.cron_id))
        if (chance_ns := _next_chance(world, cron)) is not None:
            due_ns = _next_check(world, world.settings.cron_checker_period_ms, chance_ns)
            cron.timer = world.agenda.add(due_ns, CronCheck(cron.cron_id), CRON_RANK)
    else:
        run_cron(world, cron)


def run_cron(world: World, cron: Cron, asked: bool = False) -> None:
    """Start the cron's workflow, unless it must wait for its previous one or cannot be built.

    Missed runs are not made up for: the next one is computed from now. `asked`: a request made it run.
    """
    if cron.wait_for_previous and (previous := world.graphs.get(cron.previous_graph_id)):
        if previous.state not in (SUCCESS, FAILED):  # Quirk: waits for a cancelled one until it is removed
            _stall_cron(world, cron)
            return
    graph = start(world, cron, cron.workflow, world.graphs.get(cron.previous_graph_id))
    if graph is None:
        _stall_cron(world, cron)
        return
    cron.next_run_ns = next_run(world, cron) or ZERO_TIME_NS
    cron.last_run_ns = world.now_ns
    cron.previous_graph_id = graph.graph_id
    world.note(CronRan(world.now_ns, cron.cron_id, asked, graph.graph_id))
    _arm_cron(world, cron)


def _stall_cron(world: World, cron: Cron) -> None:
    """Check a cron that could not start its workflow again once the world changes."""
    world.agenda.cancel(cron.timer)
    _stall(world, cron.cron_id)


def _stall(world: World, source_id: str) -> None:
    world.stalled[source_id] = None
    world.note(SourceStalled(source_id))


def retry_stalled(world: World) -> None:
    """Check the crons and generators again that could not start a workflow, because the world has changed."""
    stalled, world.stalled = world.stalled, {}
    for source_id in stalled:
        if cron := world.crons.get(source_id):
            _arm_cron(world, cron)
        elif generator := world.generators.get(source_id):
            world.note(ArgumentsPacked(world.now_ns, source_id, ()))
            arm_generator(world, generator)


def next_run(world: World, cron: Cron) -> int | None:
    """Return when a cron runs next after now; None for never. Quirk: `random` has no effect.

    Source: docs/protocol/c-workflows.md 6.5.
    """
    if cron.interval_s > 0:
        return world.now_ns + cron.interval_s * SECOND_NS
    schedule = _schedule(cron)
    return None if schedule is None else schedule.next(world.now_ns, zone_of(world.settings.timezone))


def _next_chance(world: World, cron: Cron) -> int | None:
    """Return when to compute the next run again if none was found; None if none will ever be."""
    schedule = _schedule(cron)
    return None if schedule is None else schedule.next_chance(world.now_ns, zone_of(world.settings.timezone))


def _schedule(cron: Cron) -> cronexpr.Schedule | cronexpr.EveryInterval | None:
    """Parse the expression of a cron; None if it is invalid."""
    try:
        return cronexpr.parse(cron.expression)
    except Refusal:
        return None


# ---------------------------------------------------------------- generators
def add_generator(world: World, generator: Generator) -> None:
    """Add a generator to the tables."""
    world.generators[generator.generator_id] = generator


def remove_generator(world: World, generator: Generator) -> None:
    """Remove a generator and its next check."""
    world.agenda.cancel(generator.timer)
    del world.generators[generator.generator_id]
    world.note(SourceRemoved(generator.generator_id))


def pack(world: World, generator: Generator, argument: str) -> None:
    """Queue an argument for the next workflow of a generator."""
    if generator.first_pack_ns == ZERO_TIME_NS:
        generator.first_pack_ns = world.now_ns
    generator.queue.append(argument)
    world.note(ArgumentsPacked(world.now_ns, generator.generator_id, (argument,)))
    arm_generator(world, generator)


def arm_generator(world: World, generator: Generator) -> None:
    """Schedule the check at which a generator can start a workflow, if there will be one."""
    world.agenda.cancel(generator.timer)
    if not generator.queue or generator.trigger < 0:
        return  # Quirk: with a negative trigger it never starts one, not even after its timeout
    after_ns = world.now_ns
    if len(generator.queue) < generator.trigger:
        if generator.timeout_s <= 0:
            return
        whole_second = (_timeout_base(generator) + generator.timeout_s * SECOND_NS) // SECOND_NS
        after_ns = max(after_ns, (whole_second + 1) * SECOND_NS - 1)
    due_ns = _next_check(world, world.settings.generator_checker_period_ms, after_ns)
    generator.timer = world.agenda.add(due_ns, GeneratorCheck(generator.generator_id), GENERATOR_RANK)


def _timeout_base(generator: Generator) -> int:
    """Return when the timeout begins. Quirk: at the last run, not with the first argument of the batch."""
    return generator.first_pack_ns if generator.last_run_ns == ZERO_TIME_NS else generator.last_run_ns


def check_generator(world: World, event: GeneratorCheck) -> None:
    """Start a workflow for each full batch, or one with all queued arguments after the timeout."""
    generator = world.generators[event.generator_id]
    queue = generator.queue
    size = min(generator.trigger, len(queue))
    used, held = 0, False
    while size and len(queue) - used >= size and not held:
        graph = start(world, generator, _with_args(generator.workflow, queue[used : used + size]))
        if graph is None:
            held = True
        else:
            used += size
            generator.last_run_ns = world.now_ns
            world.note(GeneratorFired(world.now_ns, generator.generator_id, size, graph.graph_id))
    generator.queue = queue[used:]  # once, because doing it for each batch would be quadratic
    if held:
        _stall(world, generator.generator_id)
    else:
        arm_generator(world, generator)


def _with_args(spec: WorkflowSpec, args: list[str]) -> WorkflowSpec:
    """Return the workflow with the packed arguments in place of those of its roots, and no keyword arguments."""
    nodes = [
        node if node.conditions.dependencies else replace(node, args=list(args), kwargs={})
        for node in spec.functionspecs or ()
    ]
    return replace(spec, functionspecs=nodes)


# ---------------------------------------------------------------- starting a workflow
def start(
    world: World, source: Cron | Generator, spec: WorkflowSpec, previous: ProcessGraph | None = None
) -> ProcessGraph | None:
    """Start a workflow as the initiator of a cron or generator. Returns None if it cannot be built.

    The outputs of the leaves of the previous graph become the input of every root.
    """
    initiator = intake.initiator_of(world, source.initiator_id, spec.colonyname)
    if initiator is None:
        return None
    if "\\u0000" in source.workflow_text and intake.holds_nul(spec):
        return None  # the database refuses it every time
    try:
        graph, processes = graphs.build(world, spec, initiator)
    except Refusal:
        return None
    if previous is not None and (outputs := graphs.last_outputs(world, previous)):
        for process in processes:
            if not process.parents:
                process.input = list(outputs)
    launch(world, graph, processes)
    return graph


def launch(world: World, graph: ProcessGraph, processes: list[Process]) -> None:
    """Add a new graph to the tables, and announce its roots."""
    graphs.enter(world, graph, processes)
    for process in processes:
        if not process.parents:
            lifecycle.announce(world, process)
