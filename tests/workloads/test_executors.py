"""Modelled executors: what they ask, how they fare under faults, and that idle ones cost nothing."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from colonysim import ColonyClient, ProcessState, Simulation
from colonysim.faults import AnswerWith, Crash, LoseReply, Match, Pause, SlowDown, Times, When
from colonysim.kernel.randomness import OfProcess
from colonysim.workloads.executors import Behaviour, ExecutorGroup
from colonysim.workloads.fleet import Fleet


class Lab:
    """A colony with modelled executors and a user who submits by hand."""

    def __init__(self, *groups: ExecutorGroup, **settings: Any) -> None:
        self.sim = Simulation(mode="manual", seed=5, journal=True, **settings)
        self.colony = ColonyClient.create(self.sim, "c")
        self.fleet = Fleet(self.sim, self.colony.id, "c")
        self.fleet.add(groups)

    def calls(self, kind: str) -> int:
        return sum(call.payload_type == kind for call in self.sim.calls)

    def states(self) -> Counter[str]:
        return Counter(ProcessState(p.state).name for p in self.sim.world.processes.values())


def test_they_register_take_hold_and_close() -> None:
    lab = Lab(ExecutorGroup(name="x", type="cli", count=2, service=10.0, location="here"))
    processes = [lab.colony.submit("f", executortype="cli") for _ in range(3)]
    lab.sim.advance(9)
    assert [p.state.name for p in processes] == ["RUNNING", "RUNNING", "WAITING"]
    lab.sim.advance(1)
    assert [p.state.name for p in processes] == ["SUCCESS", "SUCCESS", "RUNNING"]
    lab.sim.advance(10)
    assert lab.states() == {"SUCCESS": 3}
    assert {e.name: e.location for e in lab.sim.world.executors.values()} == {"x-1": "here", "x-2": "here"}


def test_an_idle_executor_parks_one_call_and_nothing_else() -> None:
    lab = Lab(ExecutorGroup(name="x", count=500, poll_timeout_s=10_000), stale_executor_duration_s=10**6)
    lab.sim.advance(9_999)
    assert lab.calls("assignprocessmsg") == 500
    assert len(lab.sim.world.queues.polls) == 500
    assert len(lab.sim.kernel.timetable.planned) == 0
    lab.sim.advance(1)
    assert lab.calls("assignprocessmsg") == 1000


def test_some_fail_and_some_never_close() -> None:
    failing = ExecutorGroup(name="f", type="f", service=1.0, success=0.5)
    hanging = ExecutorGroup(name="h", type="h", service=1.0, hangs=1.0, hang_s=60.0)
    lab = Lab(failing, hanging)
    for _ in range(200):
        lab.colony.submit("f", executortype="f")
    lab.colony.submit("f", executortype="h", maxexectime=5, maxretries=1)
    lab.sim.advance(300)
    states = lab.states()
    assert states["SUCCESS"] + states["FAILED"] == 201
    assert 60 < states["FAILED"] < 140
    assert lab.fleet.hung == 2  # the first time, and the one retry


def test_a_function_of_its_own_is_dealt_with_in_its_own_way() -> None:
    group = ExecutorGroup(name="x", service=1.0, functions={"poison": Behaviour(success=0.0, service=3.0)})
    lab = Lab(group)
    good, bad = lab.colony.submit("f"), lab.colony.submit("poison")
    lab.sim.advance(10)
    assert (good.state.name, bad.state.name) == ("SUCCESS", "FAILED")
    assert bad.errors == ["modelled failure"]


def test_a_recorded_run_time_is_how_long_it_takes() -> None:
    lab = Lab(ExecutorGroup(name="x", service=OfProcess()))
    process = lab.colony.submit("f", [12.5])
    lab.sim.advance(20)
    details = process.details
    assert details.ended_ns - details.started_ns == 12_500_000_000


def test_they_come_when_they_are_told_to() -> None:
    lab = Lab(ExecutorGroup(name="x", starts=100.0, service=1.0))
    process = lab.colony.submit("f")
    lab.sim.advance(99)
    assert process.state.name == "WAITING"
    lab.sim.advance(2)
    assert process.state.name == "SUCCESS"


def test_one_whom_the_server_has_forgotten_registers_again() -> None:
    """An executor that works longer than ten minutes without calling is unregistered.

    Source: docs/protocol/b-processes.md 5.7.
    """
    lab = Lab(ExecutorGroup(name="x", service=1000.0))
    process = lab.colony.submit("f", maxretries=0)
    lab.sim.advance(1001)
    assert lab.fleet.refused_closes == 1
    lab.sim.advance(10)
    assert lab.fleet.returns == 1
    assert process.state.name == "RUNNING"  # it has got it once more


def test_two_of_one_name_are_refused() -> None:
    with pytest.raises(ValueError, match="two executors are called 'x'"):
        Lab(ExecutorGroup(name="x"), ExecutorGroup(name="x"))


# ---------------------------------------------------------------- under faults
def struck(*faults: Any, count: int = 1, **group: Any) -> Lab:
    lab = Lab(ExecutorGroup(name="x", count=count, **group))
    lab.sim.advance(0)
    lab.fleet.enlist()
    lab.sim.faults.add(*faults)
    return lab


def test_a_lost_close_is_sent_again() -> None:
    lab = struck(LoseReply(match=Match(types="closesuccessfulmsg"), when=When(first=2)), service=5.0, retry_s=3.0)
    process = lab.colony.submit("f")
    lab.sim.advance(20)
    assert process.state.name == "SUCCESS"
    assert lab.calls("closesuccessfulmsg") == 3
    assert lab.fleet.failed_calls == 2


def test_an_error_of_the_gateway_is_no_answer() -> None:
    lab = struck(
        AnswerWith(status=503, text="busy", match=Match(types="assignprocessmsg"), when=When(first=3)), service=5.0
    )
    lab.sim.advance(60)  # its parked call ends, and three calls after it go wrong
    process = lab.colony.submit("f")
    lab.sim.advance(20)
    assert process.state.name == "SUCCESS"
    assert lab.fleet.failed_calls == 3


def test_one_that_crashes_leaves_its_process_behind_and_comes_back() -> None:
    lab = struck(Crash(times=Times(at_s=5), restart_after_s=20), service=10.0)
    process = lab.colony.submit("f", maxexectime=30, maxretries=2)
    lab.sim.advance(29)
    assert process.state.name == "RUNNING"
    lab.sim.advance(60)
    assert process.state.name == "SUCCESS"
    assert process.retries == 1
    assert lab.fleet.crashes == 1


def test_an_idle_one_that_crashes_hangs_up() -> None:
    lab = struck(Crash(times=Times(at_s=5)))
    lab.sim.advance(6)
    assert len(lab.sim.world.queues.polls) == 0
    process = lab.colony.submit("f")
    lab.sim.advance(1000)
    assert process.state.name == "WAITING"  # nobody has come back


def test_one_that_is_paused_goes_on_with_what_it_was_at() -> None:
    lab = struck(Pause(times=Times(at_s=4), for_s=100), service=10.0)
    process = lab.colony.submit("f")
    lab.sim.advance(109)
    assert process.state.name == "RUNNING"
    lab.sim.advance(2)
    assert process.state.name == "SUCCESS"


def test_one_that_is_slowed_down_takes_longer() -> None:
    lab = struck(SlowDown(times=Times(at_s=1), factor=5, for_s=10), service=10.0)
    lab.sim.advance(2)
    process = lab.colony.submit("f")
    lab.sim.advance(49)
    assert process.state.name == "RUNNING"
    lab.sim.advance(2)
    assert process.state.name == "SUCCESS"


def test_one_that_crashes_at_its_step_does_not_take_it() -> None:
    lab = struck(Crash(when=When(nth=1)), service=10.0)
    process = lab.colony.submit("f")
    lab.sim.advance(20)
    assert process.state.name == "RUNNING"
    assert lab.calls("closesuccessfulmsg") == 0
