"""Planted bugs: for each invariant the core is broken on purpose, and the break is found."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from colonysim import AssignedProcess, ColonyClient, InvariantViolation, Simulation
from colonysim.core import channels, lanes, lifecycle, scheduling, transitions
from colonysim.core.history import Assignment, Enrolled, Transition
from colonysim.core.operations.attributes import AddAttribute
from colonysim.core.operations.processes import SubmitFuncSpec
from colonysim.core.protocol import Message
from colonysim.core.records import FAILED, RUNNING, WAITING, Process
from colonysim.core.scheduling import Demand, Queues
from colonysim.core.world import World
from colonysim.invariants.invariant import BUILT_IN, Invariant, Look, built_in
from colonysim.invariants.ledger import ProcessRecord


def _expect(text: str, do: Callable[[], object], sim: Simulation) -> None:
    with pytest.raises(InvariantViolation, match=text):
        do()
    with pytest.raises(InvariantViolation, match=text):
        sim.check()


def test_an_invariant_of_colonysim_is_one_decorated_class() -> None:
    """It is checked without being named anywhere else, and sees changes of each process, special or not."""
    seen: list[str] = []

    class Seeing(Invariant):
        """Notes what it is shown."""

        def moved(self, step: Transition, record: ProcessRecord) -> None:
            seen.append(step.cause)

        def assigned(self, entry: Assignment, record: ProcessRecord) -> None:
            seen.append("assigned")

        def reads(self) -> dict[type, Callable[[Any], None]]:
            return {Enrolled: lambda entry: seen.append("enrolled")}

        def looks(self) -> dict[type[Message], Look]:
            return {kind: lambda request, deliveries: seen.append("asked") for kind in (SubmitFuncSpec, AddAttribute)}

    built_in(Seeing)
    try:
        sim = Simulation(mode="manual")
    finally:
        BUILT_IN.remove(Seeing)
    colony = ColonyClient.create(sim, "c")
    executor = colony.add_executor("t")
    colony.submit("f", executortype="t")
    assigned = executor.assign()
    assert assigned is not None
    assigned.add_attribute("key", "value")
    assigned.close()
    assert seen == ["enrolled", "enrolled", "submit", "asked", "assign", "assigned", "asked", "close"]


def test_several_invariants_may_look_at_one_type_of_request() -> None:
    """All of them see it, besides the one that checks who holds the process."""
    seen: list[str] = []

    class First(Invariant):
        """Notes requests to add attributes."""

        name = "first"

        def looks(self) -> dict[type[Message], Look]:
            return {AddAttribute: lambda request, deliveries: seen.append(self.name)}

    class Second(First):
        """Another one that does."""

        name = "second"

    built_in(First)
    built_in(Second)
    try:
        sim = Simulation(mode="manual")
    finally:
        del BUILT_IN[-2:]
    colony = ColonyClient.create(sim, "c")
    executor = colony.add_executor("t")
    colony.submit("f", executortype="t")
    assigned = executor.assign()
    assert assigned is not None
    assigned.add_attribute("key", "value")
    assert seen == ["first", "second"]


def test_one_holder(colony: ColonyClient) -> None:
    """A running process changes hands without anybody having given it up."""
    one, other = colony.add_executor("t"), colony.add_executor("t")
    process = colony.submit("f", executortype="t")
    one.assign()
    world = colony.sim.world
    running = world.processes[process.id]
    running.executor_id = other.id
    world.held_by[other.id] = world.held_by.pop(one.id)
    stolen = AssignedProcess(other, process.id)
    _expect(f"left {other.id}, but was held by {one.id}", stolen.close, colony.sim)


def test_legal_arrows(colony: ColonyClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """A close does not look at the state, and the core's own table permits the change."""
    monkeypatch.setattr(transitions, "_IS_LEGAL", ((True,) * 6,) * 6)
    executor = colony.add_executor("t")
    process = colony.submit("f", executortype="t")
    assigned = executor.assign()
    assert assigned is not None
    process.cancel()
    world = colony.sim.world

    def close_all_the_same() -> None:
        lifecycle.succeed(world, world.processes[process.id], [])
        colony.sim.advance(0)
        colony.statistics()

    _expect("must not go from CANCELLED to SUCCESS", close_all_the_same, colony.sim)


@pytest.mark.parametrize(
    ("spec", "demand", "text"),
    [
        ({"executornames": ["e2"]}, {}, "not one of e2"),
        ({"locationname": "hall"}, {}, "at '', not at 'hall'"),
        ({"cpu": "500m"}, {"cpu": "100m"}, "with 100m of CPU, not 500m"),
        ({"mem": "2Gi"}, {"mem": "1Gi"}, "bytes of memory, not 2147483648"),
        ({"storage": "1Gi"}, {}, "although it asks for storage"),
        ({"nodes": 128}, {}, "although it asks for more than 127"),
    ],
)
def test_conditions(
    colony: ColonyClient,
    monkeypatch: pytest.MonkeyPatch,
    spec: dict[str, object],
    demand: dict[str, str],
    text: str,
) -> None:
    """Any executor of the type gets the process."""

    def take_anything(self: Queues, demand: Demand) -> Process | None:
        waiting = self.first(1)
        if waiting and waiting[0].process_id in self.unassignable:
            del self.unassignable[waiting[0].process_id]
        return waiting[0] if waiting else None

    monkeypatch.setattr(Queues, "take", take_anything)
    executor = colony.add_executor("t", "e1")
    colony.submit("f", executortype="t", **spec)
    _expect(text, lambda: executor.assign(**demand), colony.sim)  # type: ignore[arg-type]


def test_order_among_equals(colony: ColonyClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """The last one is taken first."""

    def take_last(self: Queues, demand: Demand) -> Process:
        run = next(iter(self.pools[demand.colony, demand.executor_type].runs.values()))
        run.live -= 1
        return run.fifo.pop()

    monkeypatch.setattr(Queues, "take", take_last)
    executor = colony.add_executor("t")
    for _ in range(2):
        colony.submit("f", executortype="t")
    _expect("was taken before .*, which stood in front of it", executor.assign, colony.sim)


def test_order_among_classes(colony: ColonyClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """Priority is forgotten between runs."""
    monkeypatch.setattr(lanes, "order_of", lambda process: (0, process.serial))
    executor = colony.add_executor("t")
    colony.submit("f", executortype="t", cpu="1m")
    colony.submit("f", executortype="t", cpu="2m", priority=5)
    _expect("which should have got .* first", executor.assign, colony.sim)


def test_order_among_many_locations(colony: ColonyClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """Priority is forgotten at the last of many locations."""
    monkeypatch.setattr(lanes, "order_of", lambda process: (0, process.serial))
    executor = colony.add_executor("t", location="L99")
    for number in range(100):
        colony.submit("f", executortype="t", locationname=f"l{number}")
    colony.submit("f", executortype="t", locationname="l99", priority=5)
    _expect("which should have got .* first|stood in front of it", executor.assign, colony.sim)


def test_order_between_a_location_and_none(colony: ColonyClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """Priority is forgotten between processes for one location and for any."""
    for module in (lanes, scheduling):
        monkeypatch.setattr(module, "order_of", lambda process: (0, process.serial))
    executor = colony.add_executor("t", location="hall")
    for number in range(40):
        colony.submit("f", executortype="t", locationname=f"l{number}")
    colony.submit("f", executortype="t", locationname="Hall")
    colony.submit("f", executortype="t", priority=5)
    _expect("which should have got .* first", executor.assign, colony.sim)


def test_retries(colony: ColonyClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """The limit is forgotten."""
    monkeypatch.setattr(
        lifecycle, "_out_of_time", lambda world, process: transitions.requeue_after_timeout(world, process)
    )
    executor = colony.add_executor("t")
    colony.submit("f", executortype="t", maxexectime=1, maxretries=0)
    executor.assign()
    _expect("has been retried once, and its limit is 0", lambda: colony.sim.advance(5), colony.sim)


def test_conservation(colony: ColonyClient) -> None:
    """A process vanishes from a table."""
    process = colony.submit("f")
    del colony.sim.world.processes_in("c", WAITING)[process.id]
    _expect("processes are lost or doubled", lambda: colony.submit("g"), colony.sim)


def test_parents_first(colony: ColonyClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """Children are not held back."""
    real = Queues.push

    def push(self: Queues, process: Process, now_ns: int) -> None:
        process.wait_for_parents = False
        real(self, process, now_ns)

    monkeypatch.setattr(Queues, "push", push)
    executor = colony.add_executor("t")
    colony.submit_workflow({"a": {"executortype": "t"}, "b": {"executortype": "t", "after": ["a"]}})
    executor.assign()
    _expect("was started before its parent", executor.assign, colony.sim)


def test_a_violation_tells_the_story(colony: ColonyClient) -> None:
    executor = colony.add_executor("t")
    process = colony.submit("f", executortype="t", maxexectime=1)
    executor.assign()
    colony.sim.advance(5)
    invariants = colony.sim.observers.invariants
    assert invariants is not None
    story = invariants.story(process.id)
    assert [line.split("  ")[2] for line in story.splitlines()] == [
        "NEW → WAITING",
        "WAITING → RUNNING",
        "RUNNING → WAITING",
    ]
    assert f"taken from {executor.name}" in story


def test_invariants_can_be_taken_up_in_the_middle(colony: ColonyClient) -> None:
    """Of a world that was going on before; here in a fork."""
    executor = colony.add_executor("t")
    colony.submit("f", executortype="t")
    colony.submit("g", executortype="t")
    executor.assign()
    fork = colony.sim.fork()
    running = next(p for p in fork.world.processes.values() if p.state == RUNNING)
    other = type(executor)(fork, executor.identity, "c", executor.name)
    assert other.assign() is not None
    lifecycle.succeed(fork.world, running, [])
    fork.advance(1)
    fork.check()


def test_they_can_be_left_out() -> None:
    sim = Simulation(invariants=False)
    world: World = sim.world
    assert world.history is None
    assert sim.observers.invariants is None


# ---------------------------------------------------------------- graphs
def test_a_child_before_its_parents(colony: ColonyClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """A workflow's processes are not held back."""
    executor = colony.add_executor("t")
    monkeypatch.setattr(Queues, "_run_key", lambda self, process, key=Queues._run_key: key(self, process))
    held = Queues.push

    def push(self: Queues, process: Process, now_ns: int) -> None:
        process.wait_for_parents = False
        held(self, process, now_ns)

    monkeypatch.setattr(Queues, "push", push)
    nodes = {"a": {"executortype": "u"}, "b": {"executortype": "t", "after": ["a"]}}
    colony.submit_workflow(nodes)
    _expect("was started before its parents succeeded", executor.assign, colony.sim)


def test_a_child_released_by_the_first_of_two_parents(colony: ColonyClient, monkeypatch: pytest.MonkeyPatch) -> None:
    executor = colony.add_executor("t")
    fields = {"executortype": "t"}
    colony.submit_workflow({"a": fields, "b": fields, "c": fields | {"after": ["a", "b"]}})
    for process in colony.sim.world.processes.values():
        process.pending_parents = min(process.pending_parents, 1)
    first = executor.assign()
    assert first is not None
    _expect("was released before its parent", first.close, colony.sim)


def test_a_graph_that_miscounts(colony: ColonyClient) -> None:
    executor = colony.add_executor("t")
    graph = colony.submit_workflow({"a": {"executortype": "t"}, "b": {"executortype": "t"}})
    colony.sim.world.graphs[graph.id].counts[WAITING] = 1
    _expect("counts .*; its processes are 1 WAITING, 1 RUNNING", executor.assign, colony.sim)


def test_a_success_with_a_process_that_is_none(colony: ColonyClient, monkeypatch: pytest.MonkeyPatch) -> None:
    from colonysim.core import graphs

    executor = colony.add_executor("t")
    colony.submit_workflow({"a": {"executortype": "t"}, "b": {"executortype": "t"}})
    monkeypatch.setattr(graphs, "_state_of", lambda counts: 2)
    _expect("has succeeded with 2 processes that have not", executor.assign, colony.sim)


# ---------------------------------------------------------------- crons and generators
def _cron(colony: ColonyClient, interval_s: int) -> None:
    from colonysim.core.operations.crons import AddCron
    from colonysim.core.types import CronSpec

    workflow = '{"colonyname":"c","functionspecs":[{"nodename":"n"}]}'
    spec = CronSpec(colonyname="c", name="x", interval=interval_s, workflowspec=workflow)
    colony.user.ask(AddCron(cron=spec))


def test_a_cron_that_skips(colony: ColonyClient) -> None:
    _cron(colony, 10)
    colony.sim.advance(2)
    (cron,) = colony.sim.world.crons.values()
    colony.sim.world.agenda.cancel(cron.timer)
    colony.sim.advance(3600)
    _expect("should have run by", lambda: colony.submit("f"), colony.sim)


def test_a_cron_that_doubles(colony: ColonyClient, monkeypatch: pytest.MonkeyPatch) -> None:
    from colonysim.core import recurring

    _cron(colony, 10)
    run = recurring.run_cron

    def twice(*args: object, **kwargs: object) -> None:
        run(*args, **kwargs)  # type: ignore[arg-type]
        run(*args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(recurring, "run_cron", twice)
    _expect("ran .* before its time", lambda: colony.sim.advance(20), colony.sim)


def test_a_cron_that_runs_too_early(colony: ColonyClient) -> None:
    from colonysim.core.events import CRON_RANK, CronCheck

    _cron(colony, 10)
    colony.sim.advance(2)
    world = colony.sim.world
    (cron,) = world.crons.values()
    world.agenda.add(world.now_ns + 1, CronCheck(cron.cron_id), CRON_RANK)
    _expect("ran .* before its time", lambda: colony.sim.advance(1), colony.sim)


def _generator(colony: ColonyClient, packs: int) -> None:
    from colonysim.core.operations.generators import AddGenerator, PackGenerator
    from colonysim.core.types import GeneratorSpec

    workflow = '{"colonyname":"c","functionspecs":[{"nodename":"n"}]}'
    spec = GeneratorSpec(colonyname="c", name="g", trigger=2, timeout=-1, workflowspec=workflow)
    reply = colony.user.ask(AddGenerator(generator=spec))
    for number in range(packs):
        colony.user.ask(PackGenerator(generatorid=reply.generator.generator_id, arg=str(number)))


def test_a_generator_that_loses_an_argument(colony: ColonyClient) -> None:
    _generator(colony, 3)
    (generator,) = colony.sim.world.generators.values()
    generator.queue.pop()
    _expect("has 2 arguments, but was given 3", lambda: colony.submit("f"), colony.sim)


def test_a_generator_that_sleeps(colony: ColonyClient) -> None:
    _generator(colony, 2)
    (generator,) = colony.sim.world.generators.values()
    colony.sim.world.agenda.cancel(generator.timer)
    colony.sim.advance(60)
    _expect("holds 2 arguments, enough for a batch since", lambda: colony.submit("f"), colony.sim)


def test_a_generator_that_fires_too_much(colony: ColonyClient, monkeypatch: pytest.MonkeyPatch) -> None:
    from colonysim.core import history

    _generator(colony, 2)
    (generator,) = colony.sim.world.generators.values()
    colony.sim.world.note(history.GeneratorFired(colony.sim.world.now_ns, generator.generator_id, 3, ""))
    _expect("started a workflow with 3 arguments of 2", lambda: colony.submit("f"), colony.sim)


# ---------------------------------------------------------------- channels
def test_a_channel_out_of_order(colony: ColonyClient, monkeypatch: pytest.MonkeyPatch) -> None:
    process = colony.submit("f", channels=["chat"])
    process.say("chat", b"one", 1)
    monkeypatch.setattr(channels, "_place", lambda channel, entry: 0)
    _expect(
        "should show message 2 of .* at place 2, and shows 1 of", lambda: process.say("chat", b"two", 2), colony.sim
    )


@pytest.mark.parametrize("children", [1, 2])
def test_a_child_that_waited_too_long_is_released_all_the_same_when_its_parents_succeed(
    colony: ColonyClient, children: int
) -> None:
    executor = colony.add_executor("t")
    late = {f"b{number}": {"after": ["a"], "executortype": "t", "maxwaittime": 1} for number in range(children)}
    workflow = colony.submit_workflow({"a": {"executortype": "t"}} | late)
    colony.sim.advance(5)
    assigned = executor.assign()
    assert assigned is not None
    assigned.close()
    records = [colony.sim.world.processes[workflow.processes[name].id] for name in late]
    assert [(record.state, record.wait_for_parents) for record in records] == [(FAILED, False)] * children
    colony.sim.check()
    records[0].wait_for_parents = True
    with pytest.raises(InvariantViolation, match="shows waitforparents True, not False"):
        colony.sim.check()
