"""Closed loops: clients that think, submit, wait for the end, and think again, also when something goes wrong."""

from __future__ import annotations

from typing import Any

import pytest

from colonysim.core.values import BadValue
from colonysim.faults import AnswerWith, Crash, Delay, LoseReply, LoseRequest, Match, Restart, Times, When
from colonysim.scenarios import (
    Chain,
    ClosedLoop,
    ExecutorGroup,
    Exponential,
    Phases,
    Result,
    Run,
    Scenario,
    Submission,
    Workload,
)

SUBMIT = Match(types=("submitfuncspecmsg",))


def finished(think: Any = 10, clients: int = 1, until_s: float = 100, service: Any = 5, **fields: Any) -> Run:
    """A run of a closed loop; `executors`, `faults`, `phases` are the scenario's, others those of the workload."""
    scenario = Scenario(
        executors=fields.pop(
            "executors", (ExecutorGroup(name="cli", count=fields.pop("count_of", 1), service=service),)
        ),
        phases=Phases(storm_s=fields.pop("storm_s", until_s)),
        faults=fields.pop("faults", ()),
        checks=(),
        workload=(Workload(name="w", arrivals=ClosedLoop(clients=clients, think=think), until_s=until_s, **fields),),
    )
    run = Run(scenario)
    run.execute()
    return run


def submitted(run: Run) -> list[float]:
    """When processes were submitted, in seconds from the start."""
    return [(at_ns - run.start_ns) / 1e9 for at_ns in run.metrics.submitted_ns]


def result_of(run: Run) -> Result:
    assert run.result is not None
    return run.result


def test_a_client_submits_again_once_it_has_thought_after_the_end() -> None:
    assert submitted(finished()) == [10, 25, 40, 55, 70, 85]


def test_each_client_has_one_submission_at_a_time() -> None:
    """With one executor and three clients who think for 1 s, the executor is the bottleneck: one submission each 5 s."""
    run = finished(think=1, clients=3)
    assert submitted(run) == [1, 1, 1, 7, 12, 17, *range(22, 100, 5)]
    assert max(run.metrics.depth) == 2


def test_clients_wait_for_the_whole_workflow() -> None:
    run = finished(mix=(Submission(workflow=Chain(3)),))
    assert submitted(run) == [time_s for time_s in (10, 35, 60, 85) for _ in range(3)]


def test_a_failed_process_is_a_result_too() -> None:
    run = finished(executors=(ExecutorGroup(name="cli", service=5, success=0.0),))
    assert submitted(run) == [10, 25, 40, 55, 70, 85]
    assert result_of(run).summary.failed == 6


def test_a_process_that_waited_too_long_is_a_result_too() -> None:
    run = finished(executors=(ExecutorGroup(name="cli", starts=1000, service=5),), mix=(Submission(maxwaittime=7),))
    assert submitted(run) == [10, 28, 46, 64, 82]  # the server looks each second


def test_after_a_lost_reply_the_client_thinks_again_without_a_result() -> None:
    """The lost submission took effect, and nobody waits for it."""
    lost = LoseReply(match=SUBMIT, when=When(first=1), notice_s=3)
    assert submitted(finished(faults=(lost,))) == [10, 23, 38, 53, 68, 83, 98]


def test_a_lost_submission_is_sent_again_if_the_workload_says_so() -> None:
    lost = LoseRequest(match=SUBMIT, when=When(first=1), notice_s=3)
    assert submitted(finished(faults=(lost,), resends=1, resend_s=2)) == [15, 30, 45, 60, 75, 90]


def test_a_client_whose_submission_is_refused_thinks_again() -> None:
    refused = AnswerWith(match=SUBMIT, when=When(first=2), status=400, text="no", served=False)
    run = finished(faults=(refused,))
    assert submitted(run) == [30, 45, 60, 75, 90]
    assert "2 submissions of w refused: no" in result_of(run).notes


def test_clients_that_do_not_think_wait_before_they_repeat_what_failed() -> None:
    """Otherwise they would submit without end at one time, while the server is down."""
    run = finished(think=0, count=1000, faults=(Restart(times=Times(at_s=20), down_s=30),), resend_s=4)
    assert len(submitted(run)) > 10
    assert sum(stream.lost for stream in run.clients.streams) <= 9


def test_a_reply_that_comes_after_the_end_of_its_process_counts_as_that_end() -> None:
    late = Delay(match=SUBMIT, when=When(first=1), by_s=20, what="reply")
    assert submitted(finished(faults=(late,))) == [10, 40, 55, 70, 85]


def test_clients_outlive_the_crash_of_the_executor() -> None:
    crash = Crash(times=Times(at_s=12), restart_after_s=10)
    again = ExecutorGroup(name="cli", service=5, registers_again=True)
    assert submitted(finished(faults=(crash,), executors=(again,))) == [10, 37, 52, 67, 82, 97]


def test_a_count_ends_the_loop() -> None:
    run = finished(count=3, clients=2, until_s=10_000)
    assert submitted(run) == [10, 10, 25]


def test_the_loop_ends_although_a_client_still_waits() -> None:
    hangs = ExecutorGroup(name="cli", service=5, hangs=1.0)
    run = finished(executors=(hangs,), mix=(Submission(maxexectime=300, maxretries=0),))
    assert submitted(run) == [10]
    assert result_of(run).summary.failed == 1


def test_users_share_the_clients() -> None:
    run = finished(clients=4, users=2, think=10, count_of=4)
    names = [process.initiator_name for process in run.sim.world.processes.values()]
    assert names[:4] == ["w-1", "w-2", "w-1", "w-2"]


def test_one_client_more_leaves_the_thoughts_of_the_others_as_they_were() -> None:
    few = finished(think=Exponential(20.0), clients=2, count_of=50, service=0)
    many = finished(think=Exponential(20.0), clients=3, count_of=50, service=0)
    assert set(submitted(few)) < set(submitted(many))


def test_one_seed_gives_one_history() -> None:
    first, second = (finished(think=Exponential(3.0), clients=5, service=Exponential(2.0)) for _ in range(2))
    assert result_of(first).digest == result_of(second).digest


@pytest.mark.parametrize(
    ("fields", "complaint"),
    [
        ({"count": 5}, "never ends: give it until_s, or give phases.storm_s"),
        ({}, "never ends: give it until_s, or give phases.storm_s"),
        ({"until_s": 5, "mix": (Submission(generator="g"),)}, "a generator gives none"),
        ({"until_s": 5, "arrivals": ClosedLoop(3, 0)}, "count: clients that never think"),
    ],
)
def test_loops_that_cannot_end_or_learn_of_an_end_are_refused(fields: dict[str, Any], complaint: str) -> None:
    with pytest.raises(BadValue) as caught:
        Scenario(workload=(Workload(**{"name": "w", "arrivals": ClosedLoop(3, 1), **fields}),))
    assert complaint in str(caught.value)
