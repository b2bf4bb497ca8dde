"""Executors of different speeds, the cost of data elsewhere, and processes that lose patience."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from colonysim.core.values import BadValue
from colonysim.scenarios import (
    Chain,
    CronPlan,
    Every,
    ExecutorGroup,
    Exponential,
    GeneratorPlan,
    Lognormal,
    OfProcess,
    Once,
    Phases,
    Result,
    Run,
    Scenario,
    Sites,
    Submission,
    Trace,
    Uniform,
    Workload,
)
from colonysim.scenarios.lint import lint


def finished(*groups: ExecutorGroup, mix: Any = None, arrivals: Any = None, **fields: Any) -> Run:
    submitted = Workload(name="w", arrivals=arrivals or Once(1), mix=mix or (Submission(),))
    workload = fields.pop("workload", submitted)
    run = Run(Scenario(executors=groups, phases=Phases(storm_s=1000), workload=(workload,), **fields))
    run.execute()
    return run


def result_of(run: Run) -> Result:
    assert run.result is not None
    return run.result


def services(run: Run) -> list[float]:
    """How long each process ran, in the order of submission, in seconds."""
    return [run.metrics.running_ns(row) / 1e9 for row in range(len(run.metrics))]


# ---------------------------------------------------------------- speeds
def test_a_service_time_is_divided_by_the_speed() -> None:
    assert services(finished(ExecutorGroup(name="cli", service=30, speed=2.5))) == [12]
    assert services(finished(ExecutorGroup(name="cli", service=30, speed=0.5))) == [60]


def test_a_run_time_of_the_process_is_divided_too() -> None:
    mix = (Submission(run_s=40),)
    assert services(finished(ExecutorGroup(name="cli", service=OfProcess(), speed=4), mix=mix)) == [10]


def test_each_executor_of_a_group_has_a_speed_of_its_own_for_the_whole_run() -> None:
    group = ExecutorGroup(name="cli", count=5, service=60, speed=Uniform(1.0, 4.0), functions={})
    run = finished(group, arrivals=Every(5))
    by_executor: dict[int, set[float]] = {}
    for row, service_s in enumerate(services(run)):
        by_executor.setdefault(run.metrics.executor[row], set()).add(service_s)
    assert len(by_executor) == 5
    assert all(len(spans) == 1 for spans in by_executor.values())
    assert len({span for spans in by_executor.values() for span in spans}) == 5
    assert all(15 <= span <= 60 for spans in by_executor.values() for span in spans)


def test_more_executors_leave_the_speeds_of_the_first_as_they_were() -> None:
    group = ExecutorGroup(name="cli", speed=Lognormal(1.0, 0.5))
    few, many = (
        [one.speed for one in finished(ExecutorGroup(name="cli", speed=group.speed, count=count)).fleet.executors]
        for count in (3, 6)
    )
    assert few == many[:3]
    assert len(set(many)) == 6


def test_the_slowest_speed_that_is_drawn_still_ends() -> None:
    run = finished(ExecutorGroup(name="cli", service=0.1, speed=Exponential(1e-9)))
    assert services(run) == [100]


def test_a_speed_of_0_is_refused() -> None:
    with pytest.raises(BadValue, match=r"invalid speed=0.0: must be greater than 0; 2 halves service times"):
        ExecutorGroup(name="cli", speed=0)


# ---------------------------------------------------------------- data
NEAR = ExecutorGroup(name="near", location="Lund", service=10, transfer=7)
FAR = ExecutorGroup(name="far", location="umea", service=10, transfer=7)


@pytest.mark.parametrize(
    ("group", "data_at", "lasts_s"),
    [
        (NEAR, "lund", 10),
        (FAR, "lund", 17),
        (FAR, "", 10),
        (ExecutorGroup(name="n", service=10, transfer=7), "lund", 17),
    ],
    ids=["here", "elsewhere", "no data", "an executor without a location"],
)
def test_data_elsewhere_cost_the_transfer(group: ExecutorGroup, data_at: str, lasts_s: float) -> None:
    run = finished(group, mix=(Submission(data_at=data_at),))
    assert services(run) == [lasts_s]
    note = "1 time an executor fetched data from another location"
    assert (note in result_of(run).notes) is (lasts_s == 17)


def test_the_speed_does_not_shorten_the_transfer() -> None:
    fast = ExecutorGroup(name="fast", location="umea", service=10, speed=2, transfer=Uniform(7, 7))
    assert services(finished(fast, mix=(Submission(data_at="lund"),))) == [12]


def test_the_sites_of_a_trace_may_be_those_of_the_data_only(tmp_path: Path) -> None:
    """Two jobs of site 1 at the same time: the executor of site 2 takes one of them, and fetches the data."""
    (tmp_path / "t.csv").write_text("submit_s,run_s,site\n0,30,1\n0,30,1\n60,5,2\n")
    like = ExecutorGroup(name="node", service=OfProcess(), transfer=8)
    run = finished(
        workload=Workload(name="w", trace=Trace(file="t.csv", sites="data")),
        sites=Sites(workload="w", total=2, like=like),
        folder=str(tmp_path),
    )
    assert result_of(run).ok
    assert sorted(services(run))[1:] == [30, 38]
    assert not result_of(run).warnings


def test_data_and_transfers_without_each_other_are_warned_about() -> None:
    def texts(group: ExecutorGroup, mix: Submission) -> list[str]:
        workload = Workload(name="w", arrivals=Once(1), mix=(mix,))
        return [str(one) for one in lint(Scenario(executors=(group,), workload=(workload,)))]

    plain = ExecutorGroup(name="cli")
    assert texts(NEAR, Submission(data_at="lund")) == texts(plain, Submission()) == []
    assert texts(NEAR, Submission()) == [
        "executors.0: the transfer of executors 'near' has no effect: no process has `data_at`"
    ]
    assert texts(plain, Submission(data_at="lund")) == [
        "workload.0: where the data of workload 'w' are has no effect: no executors have a `transfer`"
    ]


# ---------------------------------------------------------------- patience
IDLE = ExecutorGroup(name="cli", starts=5000)


def waits(run: Run) -> list[float]:
    """How long each process waited before it gave up, in seconds."""
    return [(end - start) / 1e9 for start, end in zip(run.metrics.submitted_ns, run.metrics.ended_ns, strict=True)]


def test_patience_is_drawn_for_each_process() -> None:
    run = finished(IDLE, arrivals=Every(10), mix=(Submission(maxwaittime=Uniform(20, 60)),))
    limits = [process.spec.maxwaittime for process in run.sim.world.processes.values()]
    assert 20 <= min(limits) <= max(limits) <= 60
    assert len(set(limits)) > 20
    assert all(limit <= wait_s <= limit + 1 for limit, wait_s in zip(limits, waits(run), strict=True))
    assert result_of(run).summary.reneged == len(limits) == 100
    assert result_of(run).causes[0].count == 100


def test_only_those_that_waited_too_long_count_as_reneged() -> None:
    group = ExecutorGroup(name="cli", service=30, success=0.5)
    run = finished(group, arrivals=Every(20), mix=(Submission(maxwaittime=[10, 40], maxexectime=20, maxretries=0),))
    summary = result_of(run).summary
    assert 0 < summary.reneged < summary.deadline_misses
    assert run.checks.read("reneged") == summary.reneged


def test_a_limit_is_whole_and_at_least_one_second() -> None:
    run = finished(IDLE, arrivals=Every(10), mix=(Submission(maxwaittime=Exponential(0.5)),))
    limits = {process.spec.maxwaittime for process in run.sim.world.processes.values()}
    assert min(limits) == 1
    assert all(isinstance(limit, int) for limit in limits)


def test_each_process_of_a_workflow_and_of_a_trace_has_its_own(tmp_path: Path) -> None:
    drawn = Submission(maxwaittime=Uniform(100, 900), run_s=Uniform(1, 2), workflow=Chain(4))
    run = finished(ExecutorGroup(name="cli", service=OfProcess()), mix=(drawn,))
    assert len({process.spec.maxwaittime for process in run.sim.world.processes.values()}) == 4
    (tmp_path / "t.csv").write_text("submit_s,run_s\n0,3\n0,3\n0,3\n")
    workload = Workload(name="w", trace=Trace(file="t.csv"), mix=(Submission(maxwaittime=Uniform(100, 900)),))
    run = finished(ExecutorGroup(name="cli", service=OfProcess()), workload=workload, folder=str(tmp_path))
    assert len({process.spec.maxwaittime for process in run.sim.world.processes.values()}) == 3


def test_drawn_patience_leaves_the_other_draws_as_they_were() -> None:
    def arguments(patience: Any) -> list[Any]:
        mix = (Submission(run_s=Exponential(5.0), maxwaittime=patience), Submission(run_s=Exponential(50.0)))
        run = finished(ExecutorGroup(name="cli", service=OfProcess(), count=9), mix=mix, arrivals=Every(10))
        return [process.spec.args for process in run.sim.world.processes.values()]

    assert arguments(900) == arguments(Uniform(900, 950))


@pytest.mark.parametrize(
    ("make", "complaint"),
    [
        (lambda: Submission(maxwaittime=[9, 3]), "invalid maxwaittime=[9, 3]"),
        (lambda: Submission(maxwaittime=1.5), "invalid maxwaittime=1.5"),
        (lambda: Submission(maxwaittime=-2), "invalid maxwaittime=-2: must be at least -1"),
        (
            lambda: CronPlan(name="c", every_s=5, submit=Submission(maxwaittime=[3, 9])),
            "crons and generators submit the same each time",
        ),
        (
            lambda: GeneratorPlan(name="g", trigger=5, submit=Submission(maxwaittime=[3, 9])),
            "crons and generators submit the same each time",
        ),
    ],
)
def test_limits_that_cannot_be_drawn_are_refused(make: Any, complaint: str) -> None:
    with pytest.raises(BadValue) as caught:
        make()
    assert complaint in str(caught.value)
