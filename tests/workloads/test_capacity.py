"""Executors with capacity: what they ask for, how many processes they hold, and how they fare under faults."""

from __future__ import annotations

import re
from collections import Counter
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from colonysim import ColonyClient, ProcessState, Simulation
from colonysim.capacity.backfill import STARTABLE
from colonysim.capacity.resources import memory_offer
from colonysim.core.golang.units import parse_memory
from colonysim.core.values import BadValue
from colonysim.faults import Crash, Delay, LoseReply, Match, Pause, SlowDown, Times, When
from colonysim.kernel.randomness import OfProcess
from colonysim.scenarios import (
    Capacity,
    Exponential,
    GpuRequest,
    Once,
    Phases,
    Poisson,
    Run,
    Scenario,
    Submission,
    Workload,
)
from colonysim.workloads.executors import ExecutorGroup
from colonysim.workloads.fleet import Fleet


class Site:
    """A colony with executors, and a user who submits processes with resources by hand."""

    def __init__(self, **group: Any) -> None:
        self.sim = Simulation(mode="manual", seed=5, journal=True)
        self.colony = ColonyClient.create(self.sim, "c")
        self.fleet = Fleet(self.sim, self.colony.id, "c")
        self.fleet.add([ExecutorGroup(name="x", **{"service": OfProcess()} | group)])
        self.sim.advance(0)

    def under(self, *faults: Any) -> Site:
        self.fleet.enlist()
        self.sim.faults.add(*faults)
        return self

    def submit(self, run_s: float, **fields: Any) -> Any:
        return self.colony.user.submit_spec(Submission(args=[run_s], **fields).spec("c"))

    def offers(self) -> list[tuple[str, str]]:
        """What the assign calls have offered so far."""
        asked = [call.message for call in self.sim.calls if call.payload_type == "assignprocessmsg"]
        return [(message.availablecpu, message.availablemem) for message in asked]  # type: ignore[union-attr]

    def states(self) -> Counter[str]:
        return Counter(ProcessState(process.state).name for process in self.sim.world.processes.values())


# ---------------------------------------------------------------- what they ask for
def test_assign_calls_offer_what_is_left() -> None:
    site = Site(capacity=Capacity(cpu=8, memory="4Gi"))
    site.submit(10, cpu=3, mem="1Gi")
    site.submit(20, cpu="500m", mem="512Mi")
    site.sim.advance(5)
    assert site.offers() == [("8000m", "4194304Ki"), ("5000m", "3145728Ki"), ("4500m", "2621440Ki")]
    site.sim.advance(10)
    assert site.offers()[3:] == [("7500m", "3670016Ki")]


def test_a_process_that_does_not_fit_waits_at_the_server_and_lets_smaller_ones_pass() -> None:
    site = Site(capacity=Capacity(cpu=8))
    running = site.submit(10, cpu=5)
    large, small = site.submit(10, cpu=4), site.submit(10, cpu=3)
    site.sim.advance(1)
    assert [one.state.name for one in (running, large, small)] == ["RUNNING", "WAITING", "RUNNING"]
    site.sim.advance(10)
    assert large.state.name == "RUNNING"


def test_slots_bound_the_number_of_processes() -> None:
    site = Site(slots=3, count=2)
    for _ in range(8):
        site.submit(10)
    site.sim.advance(1)
    assert site.states() == {"RUNNING": 6, "WAITING": 2}
    site.sim.advance(10)
    assert site.states() == {"SUCCESS": 6, "RUNNING": 2}


def test_many_processes_fill_a_memory_to_the_last_byte() -> None:
    for total, part, count in (("10Gi", "1Gi", 10), ("20M", "4M", 5), ("3TiB", "1TiB", 3), ("7K", "1K", 7)):
        site = Site(capacity=Capacity(memory=total))
        for _ in range(count + 1):
            site.submit(10, mem=part)
        site.sim.advance(1)
        assert site.states() == {"RUNNING": count, "WAITING": 1}, total


@given(some.integers(0, 2**60))
def test_an_offer_of_memory_is_never_more_than_there_is_and_less_by_under_a_kilobyte(size_bytes: int) -> None:
    assert size_bytes - 1000 < parse_memory(memory_offer(size_bytes)) <= size_bytes


def test_a_full_executor_stays_alive_for_the_server() -> None:
    """The server unregisters an executor that has not called assign for ten minutes, and gives away what it holds."""
    for group in ({"slots": 1}, {"capacity": Capacity(cpu=1)}, {"slots": 1, "backfill": "none"}):
        site = Site(**group)
        process, second = site.submit(5000, cpu=1), site.submit(10, cpu=1)
        site.sim.advance(5100)
        assert (process.state.name, second.state.name, process.retries) == ("SUCCESS", "SUCCESS", 0), group


def test_a_process_waits_in_the_executor_for_what_the_server_does_not_know() -> None:
    site = Site(capacity=Capacity(cpu=8, gpu=2, nodes=4))
    first, second = site.submit(10, cpu=1, gpu=2), site.submit(10, cpu=1, gpu=1)
    other, wide = site.submit(10, cpu=1, nodes=3), site.submit(10, nodes=2)
    site.sim.advance(15)
    assert [one.state.name for one in (first, second, other, wide)] == ["SUCCESS", "RUNNING", "SUCCESS", "RUNNING"]
    site.sim.advance(10)
    assert site.states() == {"SUCCESS": 4}
    assert [one.details.ended_ns - one.details.submitted_ns for one in (second, wide)] == [20 * 10**9] * 2


def test_a_process_that_can_never_have_enough_is_closed_as_failed_at_once() -> None:
    site = Site(capacity=Capacity(cpu=8, gpu=2))
    process = site.submit(10, cpu=1, gpu=GpuRequest(count=3, name="A100", mem="40Gi"))
    site.sim.advance(0)
    assert process.state.name == "FAILED"
    assert process.errors == ["it needs 3 gpu and the executor has 2"]


@pytest.mark.parametrize("backfill", STARTABLE)
def test_a_process_that_is_too_large_does_not_hold_up_the_others(backfill: str) -> None:
    site = Site(capacity=Capacity(cpu=4, gpu=1), backfill=backfill)
    for gpus in (2, 1, 0):
        site.submit(10, cpu=1, gpu=gpus)
    site.sim.advance(11)
    assert site.states() == {"FAILED": 1, "SUCCESS": 2}


# ---------------------------------------------------------------- a queue of their own
def test_without_backfill_one_process_at_a_time_is_taken_and_waits() -> None:
    site = Site(capacity=Capacity(cpu=8), backfill="none")
    for cpus in (5, 4, 1):
        site.submit(10, cpu=cpus)
    site.sim.advance(1)
    assert site.states() == {"RUNNING": 2, "WAITING": 1}  # the second has been assigned, and has not begun
    assert site.offers()[-1] == ("-1m", "")
    site.sim.advance(10)
    assert site.states() == {"SUCCESS": 1, "RUNNING": 2}


def test_with_backfill_all_processes_are_taken_in_the_order_of_priority() -> None:
    site = Site(capacity=Capacity(cpu=4), backfill="easy")
    site.submit(10, cpu=4, walltime=10)
    late, urgent = site.submit(10, cpu=3, walltime=10), site.submit(10, cpu=3, walltime=10, priority=1)
    site.sim.advance(1)
    assert site.states() == {"RUNNING": 3}
    site.sim.advance(20)
    assert (urgent.state.name, late.state.name) == ("SUCCESS", "RUNNING")


def test_expected_times_come_from_expected_s_then_walltime_then_maxexectime() -> None:
    stated = {"kwargs": {"expected_s": 5}, "walltime": 500, "maxexectime": 500}
    for fields in (stated, {"walltime": 5, "maxexectime": 500}, {"maxexectime": 5}):
        site = Site(capacity=Capacity(cpu=4), backfill="easy")
        site.submit(10, cpu=2, walltime=10)
        site.submit(10, cpu=4, walltime=10)
        short = site.submit(5, cpu=2, **fields)
        unknown = site.submit(5, cpu=2)
        site.sim.advance(6)
        assert (short.state.name, unknown.state.name) == ("SUCCESS", "RUNNING"), fields
        site.sim.advance(4.5)
        assert unknown.state.name == "RUNNING", "taken, but it may not start before the large one"


# ---------------------------------------------------------------- what faults do to them
def test_a_crash_leaves_all_that_it_held_behind() -> None:
    site = Site(capacity=Capacity(cpu=4)).under(Crash(times=Times(at_s=5), restart_after_s=20))
    held = [site.submit(10, cpu=1, maxexectime=30, maxretries=3) for _ in range(4)]
    site.sim.advance(29)
    assert site.states() == {"RUNNING": 4}
    site.sim.advance(30)
    assert site.states() == {"SUCCESS": 4}
    assert [process.retries for process in held] == [1] * 4
    assert site.fleet.crashes == 1
    assert site.offers()[5] == ("4000m", ""), "after the crash it has all of its capacity again"


def test_a_crash_empties_the_queue_of_an_executor() -> None:
    site = Site(capacity=Capacity(cpu=4), backfill="conservative").under(Crash(times=Times(at_s=5), restart_after_s=1))
    for _ in range(3):
        site.submit(10, cpu=4, maxexectime=30, maxretries=5, walltime=10)
    site.sim.advance(200)
    assert site.states() == {"SUCCESS": 3}


def test_one_that_registers_again_gives_everything_back_at_once() -> None:
    site = Site(capacity=Capacity(cpu=4), registers_again=True).under(Crash(times=Times(at_s=5), restart_after_s=2))
    held = [site.submit(10, cpu=1, maxretries=3) for _ in range(4)]
    site.sim.advance(18)
    assert site.states() == {"SUCCESS": 4}
    assert site.fleet.returns == 1
    assert all(process.details.ended_ns - process.details.submitted_ns == 17 * 10**9 for process in held)


def test_a_pause_holds_up_all_that_it_works_on() -> None:
    site = Site(capacity=Capacity(cpu=4)).under(Pause(times=Times(at_s=5), for_s=30))
    short, long = site.submit(10, cpu=1), site.submit(20, cpu=1)
    site.sim.advance(6)
    late = site.submit(1, cpu=1)
    site.sim.advance(33.5)
    assert (short.state.name, long.state.name) == ("RUNNING", "RUNNING")
    site.sim.advance(1)
    assert short.state.name == "SUCCESS"
    site.sim.advance(10)
    assert site.states() == {"SUCCESS": 3}
    assert late.details.ended_ns - late.details.submitted_ns == 30 * 10**9


def test_a_pause_before_its_start_delays_the_start() -> None:
    site = Site(slots=2, starts=10.0).under(Pause(times=Times(at_s=5), for_s=30))
    process = site.submit(1)
    site.sim.advance(39)
    assert process.state.name == "WAITING"
    site.sim.advance(3)
    assert process.state.name == "SUCCESS"


def test_the_end_of_faults_ends_a_pause() -> None:
    site = Site(slots=2).under(Pause(times=Times(at_s=5), for_s=1000))
    processes = [site.submit(10), site.submit(12)]
    site.sim.advance(50)
    site.sim.faults.clear()
    site.sim.advance(8)
    assert [process.state.name for process in processes] == ["SUCCESS", "SUCCESS"]


def test_slowness_lengthens_what_starts_while_it_lasts() -> None:
    site = Site(slots=2).under(SlowDown(factor=3, times=Times(at_s=0), for_s=5))
    site.sim.advance(1)
    slow = site.submit(10)
    site.sim.advance(10)
    plain = site.submit(10)
    site.sim.advance(11)
    assert (slow.state.name, plain.state.name) == ("RUNNING", "SUCCESS")
    site.sim.advance(10)
    assert slow.state.name == "SUCCESS"


def test_a_process_that_hangs_takes_its_room_until_it_is_given_up() -> None:
    site = Site(slots=1, hangs=1.0, hang_s=60.0)
    site.submit(1, maxexectime=5, maxretries=0)
    second = site.submit(1)
    site.sim.advance(59)
    assert site.states() == {"FAILED": 1, "WAITING": 1}
    site.sim.advance(2)
    assert second.state.name == "RUNNING"
    assert site.fleet.hung == 2


def test_the_room_of_a_process_stays_taken_for_the_rest() -> None:
    site = Site(slots=1, rest=5.0)
    first, second = site.submit(10), site.submit(10)
    site.sim.advance(14)
    assert (first.state.name, second.state.name) == ("SUCCESS", "WAITING")
    site.sim.advance(2)
    assert second.state.name == "RUNNING"
    assert site.fleet.busy_until(site.sim.world.now_ns) == 11 * 10**9, "a rest is no work"


def test_a_lost_close_is_sent_again_and_keeps_its_room() -> None:
    losses = LoseReply(match=Match(types="closesuccessfulmsg"), when=When(first=2))
    site = Site(slots=1, retry_s=3.0).under(losses)
    first, second = site.submit(5), site.submit(5)
    site.sim.advance(10)
    assert (first.state.name, second.state.name) == ("SUCCESS", "WAITING")
    site.sim.advance(10)
    assert second.state.name == "SUCCESS"
    assert site.fleet.failed_calls == 2


def test_no_process_is_lost_when_answers_to_assign_calls_are_late() -> None:
    """An executor gives up a parked call when more is left, but never one whose answer may be on its way."""
    late = Delay(match=Match(types="assignprocessmsg"), by_s=[0.5, 7], what="both", when=When(probability=0.7))
    site = Site(capacity=Capacity(cpu=4), count=2).under(late)
    for place in range(40):
        site.submit(1 + place % 5, cpu=1 + place % 4)
        site.sim.advance(1)
    site.sim.advance(2000)
    assert site.states() == {"SUCCESS": 40}


@pytest.mark.parametrize("backfill", STARTABLE)
@settings(max_examples=6, deadline=None)
@given(seed=some.integers(0, 2**32))
def test_everything_comes_to_rest_after_a_storm(backfill: Any, seed: int) -> None:
    group = ExecutorGroup(
        name="x", count=3, capacity=Capacity(cpu=8, memory="16Gi", gpu=2), slots=6, backfill=backfill,
        service=Exponential(20), success=0.9, hangs=0.02, rest=[0.0, 2.0], registers_again=seed % 2 == 0,
    )  # fmt: skip
    limits = {"maxexectime": 300, "maxretries": 9}
    mix = (
        Submission(weight=4, cpu=1, mem="1Gi", walltime=60, **limits),
        Submission(weight=2, cpu=4, mem="8Gi", gpu=1, walltime=90, priority=1, **limits),
        Submission(cpu=8, **limits),
    )
    scenario = Scenario(
        seed=seed,
        executors=(group,),
        workload=(Workload(name="w", arrivals=Poisson(600), mix=mix),),
        phases=Phases(storm_s=900, calm_s=20_000),
        faults=(
            Crash(times=Times(mean_every_s=120), restart_after_s=[1, 30]),
            Pause(times=Times(mean_every_s=150), for_s=[1, 60]),
            LoseReply(when=When(probability=0.05)),
            Delay(by_s=[0.1, 5], what="both", when=When(probability=0.1)),
        ),
    )
    run = Run(scenario)
    result = run.execute()
    assert [failure.text for failure in result.failures] == []
    for executor in run.fleet.shared:
        if not executor.running and not executor.down:
            assert executor.free == executor.limits.total


# ---------------------------------------------------------------- figures
def cluster_run(*sizes: int, **group: Any) -> Run:
    """A run on 10 CPUs, in which processes of some sizes come at once and take 10 s each."""
    workload = tuple(
        Workload(name=f"w{place}", arrivals=Once(), mix=(Submission(cpu=cpus, run_s=10, walltime=10),))
        for place, cpus in enumerate(sizes)
    )
    executors = (ExecutorGroup(name="x", capacity=Capacity(cpu=10), service=OfProcess(), **group),)
    run = Run(Scenario(executors=executors, workload=workload))
    assert run.execute().ok
    return run


@pytest.mark.parametrize("backfill", STARTABLE)
def test_utilisation_is_the_part_of_the_cpus_that_is_in_use(backfill: Any) -> None:
    run = cluster_run(5, 4, 3, backfill=backfill)
    assert run.result is not None
    assert run.result.summary.utilisation == (5 + 4 + 3) * 10 / (10 * 20)
    assert run.fleet.width == 10


def test_a_plain_executor_counts_as_much_as_one_cpu() -> None:
    run = Run(
        Scenario(
            executors=(
                ExecutorGroup(name="x", capacity=Capacity(cpu=9), service=OfProcess()),
                ExecutorGroup(name="plain", type="plain", service=OfProcess()),
            ),
            workload=(
                Workload(name="w", arrivals=Once(), mix=(Submission(cpu=9, run_s=10),)),
                Workload(name="v", arrivals=Once(), mix=(Submission(executortype="plain", run_s=20),)),
            ),
        )
    )
    assert run.execute().summary.utilisation == (9 * 10 + 20) / (10 * 20)


@pytest.mark.parametrize("backfill", STARTABLE)
def test_a_process_waits_until_its_executor_starts_it(backfill: Any) -> None:
    run = cluster_run(8, 8, 8, backfill=backfill)
    assert [run.metrics.waiting_ns(row) for row in range(3)] == [0, 10 * 10**9, 20 * 10**9]
    assert [run.metrics.running_ns(row) for row in range(3)] == [10 * 10**9] * 3
    assert [run.metrics.waiting_total_ns(row, run.sim.world.now_ns) for row in range(3)] == [0, 10 * 10**9, 20 * 10**9]
    assert run.metrics.gauges.queue_depth == run.metrics.gauges.running == 0
    assert max(run.metrics.running) == 1, "no two of them ran at once"
    assert run.result is not None
    assert run.result.summary.attempts == 3


def test_a_process_that_is_taken_from_the_queue_of_its_executor_was_never_run() -> None:
    workload = tuple(
        Workload(
            name=f"w{place}", arrivals=Once(), mix=(Submission(cpu=10, run_s=50, maxexectime=limit_s, maxretries=0),)
        )
        for place, limit_s in enumerate((100, 20))
    )
    group = ExecutorGroup(name="x", capacity=Capacity(cpu=10), service=OfProcess(), backfill="easy")
    run = Run(Scenario(executors=(group,), workload=workload))
    summary = run.execute().summary
    assert (summary.succeeded, summary.failed, summary.attempts, summary.deadline_misses) == (1, 1, 1, 1)
    assert run.metrics.running_ns(1) == run.metrics.waiting_ns(1) == -1
    assert run.metrics.gauges.queue_depth == run.metrics.gauges.running == 0


# ---------------------------------------------------------------- values
@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"capacity": {}}, "a capacity needs at least one of"),
        ({"capacity": {"cpu": "12"}}, "does not end with 'm'"),
        ({"capacity": {"cpu": "1.5m"}}, "not a whole number of milli-CPU"),
        ({"capacity": {"cpu": 0.0001}}, "not a whole number of milli-CPU"),
        ({"capacity": {"cpu": -1}}, "invalid cpu=-1"),
        ({"capacity": {"memory": "12"}}, "a unit that the server knows"),
        ({"capacity": {"memory": "-2Gi"}}, "below zero"),
        ({"capacity": {"gpu": -1}}, "invalid gpu=-1"),
        ({"capacity": {"gpus": 1}}, "did you mean `gpu`?"),
        ({"slots": 0}, "invalid slots=0"),
        ({"backfill": "easy"}, "invalid backfill='easy': an executor without capacity or slots"),
        ({"slots": 2, "backfill": "best"}, "invalid backfill='best'"),
        ({"capacity": {"gpu": 1}, "cpu": "1000m"}, "write it as capacity.cpu"),
    ],
)
def test_a_wrong_capacity_is_refused_with_the_fix(fields: dict[str, Any], text: str) -> None:
    with pytest.raises(BadValue, match=re.escape(text)):
        ExecutorGroup(name="x", **fields)
