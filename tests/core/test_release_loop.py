"""Deadlines as the release loop sees them: docs/protocol/b-processes.md 5.5."""

from __future__ import annotations

from colonysim import ColonyClient, ProcessState, Simulation
from colonysim.core.operations.assignment import AssignProcess

SCAN_LIMIT = 1000


def test_a_limit_below_zero_fails_a_process_that_has_just_come_back(sim: Simulation, colony: ColonyClient) -> None:
    """Both steps belong to one run of the loop: nobody gets it in between."""
    executor = colony.add_executor("t")
    process = colony.submit("f", executortype="t", maxexectime=0, maxwaittime=-2)
    executor.assign()
    sim.advance(1.5)
    assert process.state is ProcessState.FAILED
    assert process.errors == ["Maximum waiting time limit exceeded"]
    assert process.retries == 1


def test_a_deadline_counts_by_its_rounded_second() -> None:
    """Times are kept to the microsecond, and 0.9999997 s is the next second."""
    sim = Simulation(mode="manual", start="2026-01-01T00:00:00.9999997Z")
    colony = ColonyClient.create(sim, "c")
    process = colony.submit("f", executortype="t", maxwaittime=1)
    sim.advance(2)
    assert process.state is ProcessState.WAITING
    sim.advance(1)
    assert process.state is ProcessState.FAILED


def test_the_loop_does_not_see_beyond_the_first_thousand(sim: Simulation, colony: ColonyClient) -> None:
    """What stands too far back is failed once something in front of it has gone, and time stands still till then."""
    front = [colony.submit("f", executortype="t") for _ in range(SCAN_LIMIT + 1)]
    behind = colony.submit("f", executortype="t", maxwaittime=1)
    sim.run_until_idle()
    assert behind.state is ProcessState.WAITING
    front[0].cancel()
    front[1].cancel()
    sim.run_until_idle()
    assert behind.state is ProcessState.FAILED


def test_the_loop_gets_further_once_it_has_failed_what_stood_in_front(sim: Simulation, colony: ColonyClient) -> None:
    for _ in range(SCAN_LIMIT + 1):
        colony.submit("f", executortype="t", maxwaittime=1)
    sim.advance(2)
    assert (colony.statistics().waitingprocesses, colony.statistics().failedprocesses) == (1, SCAN_LIMIT)
    sim.advance(1)
    assert (colony.statistics().waitingprocesses, colony.statistics().failedprocesses) == (0, SCAN_LIMIT + 1)


def test_a_thousand_in_front_may_also_be_taken(sim: Simulation, colony: ColonyClient) -> None:
    executor = colony.add_executor("t")
    for _ in range(SCAN_LIMIT):
        colony.submit("f", executortype="t")
    behind = colony.submit("f", executortype="u", maxwaittime=1)
    sim.advance(10)
    assert behind.state is ProcessState.WAITING
    executor.assign()
    sim.advance(1)
    assert behind.state is ProcessState.FAILED


def test_the_loop_gets_further_once_one_in_front_is_removed(sim: Simulation, colony: ColonyClient) -> None:
    front = [colony.submit("f", executortype="t") for _ in range(SCAN_LIMIT)]
    behind = colony.submit("f", executortype="t", maxwaittime=1)
    sim.advance(3)
    assert behind.state is ProcessState.WAITING
    front[0].remove()
    sim.advance(1)
    assert behind.state is ProcessState.FAILED


def test_one_that_the_loop_gets_to_see_and_that_is_taken_before_runs_on(sim: Simulation, colony: ColonyClient) -> None:
    """Its waiting limit is none of the loop's business any more."""
    executor = colony.add_executor("u")
    front = [colony.submit("f", executortype="t") for _ in range(SCAN_LIMIT)]
    behind = colony.submit("f", executortype="u", maxwaittime=1, maxretries=3)
    sim.advance(3)
    front[0].cancel()
    assert executor.assign() is not None
    sim.advance(3)
    assert (behind.state, behind.retries) == (ProcessState.RUNNING, 0)


def test_one_that_falls_with_its_workflow_is_not_failed_again_for_its_own_limit(
    sim: Simulation, colony: ColonyClient
) -> None:
    graph = colony.submit_workflow(
        {"a": {"maxwaittime": 1}, "b": {"maxwaittime": 1}, "c": {"dependencies": ["a"]}},
    )
    sim.advance(3)
    a, b = graph.processes["a"], graph.processes["b"]
    assert (a.state, b.state) == (ProcessState.FAILED, ProcessState.FAILED)
    assert (a.errors, b.errors or []) == (["Maximum waiting time limit exceeded"], [])


def test_of_two_that_ran_out_of_time_the_one_submitted_first_goes_to_who_waits(
    sim: Simulation, colony: ColonyClient
) -> None:
    """Both began at the same moment, the other one first."""
    executor, waits = colony.add_executor("t"), colony.add_executor("t")
    limits = {"executortype": "t", "maxexectime": 1, "maxretries": 3}
    first = colony.submit("f", **limits)
    colony.submit("f", priority=1, **limits)
    assert [executor.assign() is not None for _ in range(2)] == [True, True]
    waiting = sim.begin(waits.id, AssignProcess(colonyname="c", timeout=100))
    sim.advance(3)
    assert waiting.answer is not None
    assert waiting.answer.body.process.process_id == first.id


def test_priorities_of_workflows_may_leave_sixty_four_bits(sim: Simulation, colony: ColonyClient) -> None:
    """They are not limited there, and wrap around as the reference's do."""
    graph = colony.submit_workflow({"n": {"priority": 200_000}, "m": {"priority": -200_000}})
    for node in graph.processes.values():
        assert -(2**63) <= node.details.priority_time_ns < 2**63


# ---------------------------------------------------------------- limits that count anew, or go on
def test_the_waiting_limit_counts_anew_after_a_retry(sim: Simulation, colony: ColonyClient) -> None:
    executor = colony.add_executor("t")
    process = colony.submit("f", executortype="t", maxexectime=2, maxwaittime=5, maxretries=3)
    assert executor.assign() is not None
    sim.advance(3)
    assert (process.state, process.retries) == (ProcessState.WAITING, 1)
    sim.advance(5)
    assert process.state is ProcessState.WAITING
    sim.advance(1)
    assert process.state is ProcessState.FAILED
    assert process.errors == ["Maximum waiting time limit exceeded"]


def test_a_waiting_limit_that_passed_while_the_process_ran_counts_once_its_executor_is_removed(
    sim: Simulation, colony: ColonyClient
) -> None:
    """Its deadline is not renewed, so the next run of the loop finds it passed."""
    executor = colony.add_executor("t")
    process = colony.submit("f", executortype="t", maxwaittime=2)
    assert executor.assign() is not None
    sim.advance(10)
    assert process.state is ProcessState.RUNNING
    colony.remove_executor(executor)
    assert process.state is ProcessState.WAITING
    sim.advance(1)
    assert process.state is ProcessState.FAILED
    assert process.errors == ["Maximum waiting time limit exceeded"]


def test_a_waiting_limit_still_to_come_counts_once_the_executor_is_removed(
    sim: Simulation, colony: ColonyClient
) -> None:
    executor = colony.add_executor("t")
    process = colony.submit("f", executortype="t", maxwaittime=5)
    assert executor.assign() is not None
    sim.advance(2)
    colony.remove_executor(executor)
    sim.advance(3)
    assert process.state is ProcessState.WAITING
    sim.advance(1)
    assert process.state is ProcessState.FAILED
