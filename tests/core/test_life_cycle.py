"""What every end of a process leaves behind, why it happened, and what is counted: docs/protocol/b-processes.md 5."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from colonysim import ColonyClient, ProcessHandle, ProcessState, Simulation
from colonysim.core.history import Entry, Transition
from colonysim.core.operations.closing import CloseSuccessful
from colonysim.core.operations.processes import RemoveAllProcesses
from colonysim.core.operations.workflows import RemoveProcessGraph
from colonysim.core.types import Function

from .conftest import Ask

SECOND = 1_000_000_000


@pytest.fixture
def causes(sim: Simulation) -> list[str]:
    """Why processes have changed their states, in order."""
    found: list[str] = []

    def note(entries: list[Entry]) -> None:
        found.extend(entry.cause for entry in entries if isinstance(entry, Transition))

    sim.observers.observe(note)
    return found


def nothing_is_left(sim: Simulation) -> bool:
    """No place in a queue, no run of the release loop, no holder, no channel."""
    world = sim.world
    return (
        len(world.queues) == 0
        and not any(world.release_ticks.values())
        and not any(world.held_by.values())
        and world.channels == {}
    )


# ---------------------------------------------------------------- single processes
def _cancel(colony: ColonyClient, process: ProcessHandle) -> None:
    process.cancel()


def _remove(colony: ColonyClient, process: ProcessHandle) -> None:
    process.remove()


def _remove_all(colony: ColonyClient, process: ProcessHandle) -> None:
    colony.ask(RemoveAllProcesses(colonyname="c", state=-1))


def _wait_too_long(colony: ColonyClient, process: ProcessHandle) -> None:
    colony.sim.advance(101)


@pytest.mark.parametrize("end", [_cancel, _remove, _remove_all, _wait_too_long])
def test_a_waiting_process_leaves_nothing_behind(
    sim: Simulation, colony: ColonyClient, end: Callable[[ColonyClient, ProcessHandle], None]
) -> None:
    process = colony.submit("f", executortype="t", maxwaittime=100, channels=["chat"])
    assert not nothing_is_left(sim)
    end(colony, process)
    assert nothing_is_left(sim)
    assert sim.world.next_due() is None
    assert colony.add_executor("t").assign() is None


def _close(colony: ColonyClient, process: ProcessHandle) -> None:
    colony.sim.call(process.details.executor_id, CloseSuccessful(processid=process.id))


def _run_too_long(colony: ColonyClient, process: ProcessHandle) -> None:
    colony.sim.advance(101)


@pytest.mark.parametrize("end", [_cancel, _remove_all, _close, _run_too_long])
def test_a_running_process_leaves_nothing_behind(
    sim: Simulation, colony: ColonyClient, end: Callable[[ColonyClient, ProcessHandle], None]
) -> None:
    process = colony.submit("f", executortype="t", maxexectime=100, maxretries=0, maxwaittime=100, channels=["chat"])
    assert colony.add_executor("t").assign() is not None
    assert not nothing_is_left(sim)
    end(colony, process)
    assert nothing_is_left(sim)


def test_a_workflow_that_ends_leaves_nothing_behind(sim: Simulation, colony: ColonyClient) -> None:
    """By its failure, by being cancelled, and by its removal."""
    executor = colony.add_executor("t")
    for end in ("fail", "cancel", "remove"):
        fields = {"executortype": "t", "channels": ["chat"], "maxwaittime": 100, "maxexectime": 100}
        graph = colony.submit_workflow({"a": fields, "b": fields | {"after": ["a"]}})
        if end == "fail":
            first = executor.assign()
            assert first is not None
            first.fail("broken")
        elif end == "cancel":
            graph.cancel()
        else:
            colony.user.ask(RemoveProcessGraph(processgraphid=graph.id))
            assert graph.id not in sim.world.graphs
        world = sim.world
        assert len(world.queues) == 0
        assert not any(world.release_ticks.values())
        assert not any(world.held_by.values())
        assert not any(channels.by_name for key, channels in world.channels.items() if end != "fail")
        world.channels.clear()


def test_a_cancelled_workflow_stays_cancelled_when_its_first_process_is_closed_once_more(
    sim: Simulation, colony: ColonyClient
) -> None:
    executor = colony.add_executor("t")
    graph = colony.submit_workflow({"a": {"executortype": "t"}, "b": {"executortype": "u", "after": ["a"]}})
    first = executor.assign()
    assert first is not None
    first.close()
    graph.cancel()
    first.close()
    assert graph.state is ProcessState.CANCELLED


# ---------------------------------------------------------------- why
def test_every_change_says_why_it_came_about(sim: Simulation, colony: ColonyClient, causes: list[str]) -> None:
    executor = colony.add_executor("t", "e")
    other = colony.add_executor("t", "other")
    timed = colony.submit("f", executortype="t", executornames=["e"], maxexectime=1, maxretries=1)
    executor.assign()
    sim.advance(3)
    executor.assign()
    sim.advance(3)
    assert timed.state is ProcessState.FAILED
    assert causes == ["submit", "assign", "timeout", "assign", "ran too long"]
    causes.clear()
    waiting = colony.submit("f", executortype="nobody", maxwaittime=1)
    sim.advance(3)
    waiting.remove()
    assert causes == ["submit", "waited too long", "remove"]
    causes.clear()
    left = colony.submit("f", executortype="t", executornames=["other"])
    other.assign()
    colony.remove_executor(other)
    left.cancel()
    assert causes == ["submit", "assign", "executor removed", "cancel"]
    causes.clear()
    graph = colony.submit_workflow({"a": {"executortype": "t"}, "b": {"executortype": "t", "after": ["a"]}})
    first = executor.assign()
    assert first is not None
    first.close()
    second = executor.assign()
    assert second is not None
    second.fail("broken")
    colony.user.ask(RemoveProcessGraph(processgraphid=graph.id))
    assert causes == ["submit", "submit", "assign", "close", "parents succeeded", "assign", "close", "remove", "remove"]


def test_a_failure_takes_the_workflow_with_it_and_says_so(
    sim: Simulation, colony: ColonyClient, causes: list[str]
) -> None:
    executor = colony.add_executor("t")
    colony.submit_workflow({"a": {"executortype": "t"}, "b": {"executortype": "t", "after": ["a"]}})
    first = executor.assign()
    assert first is not None
    first.fail("broken")
    assert causes == ["submit", "submit", "assign", "close", "cascade"]


def test_who_stands_first_in_the_queue_is_failed_first(sim: Simulation, colony: ColonyClient) -> None:
    """The loop goes through the waiting processes in the order of the queue, not of their limits."""
    failed: list[str] = []

    def note(entries: list[Entry]) -> None:
        failed.extend(each.process_id for each in entries if isinstance(each, Transition) and each.new == 3)

    sim.observers.observe(note)
    low, high = (colony.submit("f", executortype="t", maxwaittime=1, priority=priority) for priority in (0, 5))
    sim.advance(3)
    assert failed == [high.id, low.id]


# ---------------------------------------------------------------- refusals of workflows
def test_a_workflow_with_an_amount_that_cannot_be_read_is_refused_whole(
    sim: Simulation, colony: ColonyClient, ask: Ask
) -> None:
    nodes = [
        {"nodename": name, "conditions": {"colonyname": "c", "executortype": "t", "cpu": cpu}}
        for name, cpu in (("a", "1m"), ("b", "1.5m"))
    ]
    reply = ask(colony.user, "submitworkflowspecmsg", spec={"colonyname": "c", "functionspecs": nodes})
    assert reply == (500, "Failed to submit workflow, failed to add process")
    assert (sim.world.graphs, sim.world.processes) == ({}, {})


# ---------------------------------------------------------------- limits to the second
@pytest.mark.parametrize(
    ("fraction", "waits_longer"),
    [("0", False), ("999999499", False), ("9999995", True), ("9999996", True)],
)
def test_a_deadline_is_rounded_to_the_nearest_microsecond(fraction: str, waits_longer: bool) -> None:
    sim = Simulation(mode="manual", start=f"2026-01-01T00:00:00.{fraction}Z")
    colony = ColonyClient.create(sim, "c")
    process = colony.submit("f", executortype="t", maxwaittime=1)
    sim.advance(2)
    assert process.state is (ProcessState.WAITING if waits_longer else ProcessState.FAILED)


@pytest.mark.parametrize(("limit_s", "fails_after_s"), [(1, 2), (2, 3), (-2, 1), (0, None), (-1, None)])
def test_after_a_retry_the_waiting_limit_is_what_the_spec_says(
    sim: Simulation, colony: ColonyClient, limit_s: int, fails_after_s: int | None
) -> None:
    executor = colony.add_executor("t")
    process = colony.submit("f", executortype="t", maxexectime=2, maxwaittime=limit_s, maxretries=9)
    assert executor.assign() is not None
    while process.state is ProcessState.RUNNING:
        sim.advance(1)
    if fails_after_s is None:
        assert not any(sim.world.release_ticks.values())
        sim.advance(50)
        assert process.state is ProcessState.WAITING
        return
    if limit_s > 0:
        sim.advance(fails_after_s - 1)
        assert process.state is ProcessState.WAITING
        sim.advance(1)
    assert process.state is ProcessState.FAILED


@pytest.mark.parametrize(("limit_s", "fails"), [(-2, True), (1, True), (0, False), (-1, False)])
def test_after_an_executors_removal_the_waiting_limit_is_what_it_was(
    sim: Simulation, colony: ColonyClient, limit_s: int, fails: bool
) -> None:
    executor = colony.add_executor("t")
    process = colony.submit("f", executortype="t", maxwaittime=limit_s, maxexectime=-1)
    assert executor.assign() is not None
    sim.advance(10)
    colony.remove_executor(executor)
    assert any(sim.world.release_ticks.values()) is fails
    sim.advance(1)
    assert process.state is (ProcessState.FAILED if fails else ProcessState.WAITING)


# ---------------------------------------------------------------- statistics of functions
def _plain_statistics(calls: list[tuple[float, float]]) -> tuple[float, ...]:
    """docs/protocol/b-processes.md 5.2: a stored 0 counts as unset, and an average is halved with each new value."""
    low_wait = high_wait = mean_wait = low_run = high_run = mean_run = 0.0
    for waited, ran in calls:
        low_wait = waited if low_wait == 0 else min(low_wait, waited)
        high_wait = waited if high_wait == 0 else max(high_wait, waited)
        mean_wait = waited if mean_wait == 0 else (mean_wait + waited) / 2
        low_run = ran if low_run == 0 else min(low_run, ran)
        high_run = ran if high_run == 0 else max(high_run, ran)
        mean_run = ran if mean_run == 0 else (mean_run + ran) / 2
    return len(calls), low_wait, high_wait, mean_wait, low_run, high_run, mean_run


@pytest.mark.parametrize(
    "calls",
    [
        [(4, 3)],
        [(4, 3), (2, 9), (8, 0.5)],
        [(0, 0), (4, 3), (0, 0), (0.25, 0.5)],
        [(0.5, 0.25), (0.75, 0.125), (16, 32), (0.5, 0.25)],
        [(0.75, 0.75), (0.5, 0.5), (0.625, 0.875), (0.25, 0.25)],
    ],
)
def test_the_statistics_of_a_function_follow_the_formula(
    sim: Simulation, colony: ColonyClient, calls: list[tuple[float, float]]
) -> None:
    executor = colony.add_executor("t")
    function: Function = executor.add_function("f")
    other: Function = executor.add_function("g")
    for waited, ran in calls:
        colony.submit("f", executortype="t")
        sim.advance(waited)
        assigned = executor.assign()
        assert assigned is not None
        sim.advance(ran)
        assigned.close()
    now = sim.world.functions[function.functionid]
    shown = (
        now.counter, now.minwaittime, now.maxwaittime, now.avgwaittime, now.minexectime, now.maxexectime, now.avgexectime,
    )  # fmt: skip
    assert shown == pytest.approx(_plain_statistics(calls))
    assert sim.world.functions[other.functionid].counter == 0
