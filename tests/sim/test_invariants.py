"""Planted bugs: for each invariant the core is broken on purpose, and the break is found."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from colonysim import AssignedProcess, ColonyClient, InvariantViolation, Simulation
from colonysim.core import lifecycle, scheduling, transitions
from colonysim.core.model import RUNNING, WAITING, Process
from colonysim.core.scheduling import Demand, Queues
from colonysim.core.world import World


@pytest.fixture
def sim() -> Simulation:
    return Simulation(mode="manual")


@pytest.fixture
def colony(sim: Simulation) -> ColonyClient:
    return ColonyClient.create(sim, "c")


def _expect(text: str, do: Callable[[], object], sim: Simulation) -> None:
    with pytest.raises(InvariantViolation, match=text):
        do()
    with pytest.raises(InvariantViolation, match=text):
        sim.check()


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
    """A close does not look at the state."""
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
        if waiting and waiting[0].process_id in self.held:
            del self.held[waiting[0].process_id]
        return waiting[0] if waiting else None

    monkeypatch.setattr(Queues, "take", take_anything)
    executor = colony.add_executor("t", "e1")
    colony.submit("f", executortype="t", **spec)
    _expect(text, lambda: executor.assign(**demand), colony.sim)  # type: ignore[arg-type]


def test_order_among_equals(colony: ColonyClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """The last one is taken first."""
    monkeypatch.setattr(scheduling.Run, "head", lambda self: self.fifo[-1] if self.fifo else None)
    monkeypatch.setattr(scheduling.Run, "pop", lambda self, head: self.fifo.pop())
    executor = colony.add_executor("t")
    for _ in range(2):
        colony.submit("f", executortype="t")
    _expect("was taken before .*, which stood in front of it", executor.assign, colony.sim)


def test_order_among_classes(colony: ColonyClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """Priority is forgotten between runs."""
    monkeypatch.setattr(scheduling, "order_of", lambda process: (0, process.serial))
    executor = colony.add_executor("t")
    colony.submit("f", executortype="t", cpu="1m")
    colony.submit("f", executortype="t", cpu="2m", priority=5)
    _expect("who should have had .* first", executor.assign, colony.sim)


def test_retries(colony: ColonyClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """The limit is forgotten."""
    monkeypatch.setattr(
        lifecycle, "_out_of_time", lambda world, process: transitions.requeue_after_timeout(world, process)
    )
    executor = colony.add_executor("t")
    colony.submit("f", executortype="t", maxexectime=1, maxretries=0)
    executor.assign()
    _expect("has been retried 1 times of 0", lambda: colony.sim.advance(5), colony.sim)


def test_conservation(colony: ColonyClient) -> None:
    """A process vanishes from a table."""
    process = colony.submit("f")
    del colony.sim.world.processes_in("c", WAITING)[process.id]
    _expect("processes are lost or doubled", lambda: colony.submit("g"), colony.sim)


def test_parents_first(colony: ColonyClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """Children are not held back."""
    real = Queues.push

    def push(self: Queues, process: Process) -> None:
        process.wait_for_parents = False
        real(self, process)

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
    invariants = colony.sim.invariants
    assert invariants is not None
    story = invariants.story(process.id)
    assert [line.split("  ")[2] for line in story.splitlines()] == [
        "NEW → WAITING",
        "WAITING → RUNNING",
        "RUNNING → WAITING",
    ]
    assert executor.id in story


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
    assert world.trace is None
    assert sim.invariants is None
