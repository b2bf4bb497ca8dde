"""What becomes of the processors of recorded jobs, and what is said about it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from colonysim.scenarios import (
    BadTrace,
    Capacity,
    ExecutorGroup,
    OfProcess,
    Once,
    Phases,
    Run,
    Scenario,
    Submission,
    Trace,
    Workload,
)
from colonysim.scenarios.lint import lint
from colonysim.traces import MAX_PROCESSES

JOBS = "submit_s,run_s,processors,requested_s\n0,10,4,20\n1,5,1,-1\n2,5,3,7.5\n"


@pytest.fixture
def jobs(tmp_path: Path) -> Path:
    path = tmp_path / "jobs.csv"
    path.write_text(JOBS)
    return path


def replayed(jobs: Path, processors: Any, *groups: ExecutorGroup, mix: Submission | None = None) -> Run:
    workload = Workload(name="w", trace=Trace(file=str(jobs), processors=processors), mix=(mix or Submission(),))
    run = Run(Scenario(executors=groups or (cluster(),), workload=(workload,), phases=Phases(calm_s=100)))
    run.execute()
    return run


def cluster(**fields: Any) -> ExecutorGroup:
    return ExecutorGroup(name="x", capacity=Capacity(cpu=4), service=OfProcess(), **fields)


def conditions(run: Run) -> list[tuple[str, Any]]:
    specs = [process.spec for process in run.sim.world.processes.values()]
    return [(spec.conditions.cpu, (spec.kwargs or {}).get("expected_s")) for spec in specs]


def starts(run: Run) -> list[float]:
    return [(start_ns - run.start_ns) / 1e9 for start_ns in run.metrics.first_start_ns]


def test_a_job_occupies_as_many_cpus_as_it_had_processors(jobs: Path) -> None:
    run = replayed(jobs, "occupy")
    assert conditions(run) == [("4000m", 20), ("1000m", None), ("3000m", 7.5)]
    assert starts(run) == [0, 10, 10]
    assert run.result is not None
    assert f"trace {jobs}: each of 3 processes takes as many CPUs as it had processors, 8 in all" in run.result.notes
    assert "executors x used 100.0% of their cpu" in run.result.notes


def test_a_job_expands_to_independent_processes(jobs: Path) -> None:
    run = replayed(jobs, "expand")
    assert conditions(run) == [("1000m", 20)] * 4 + [("1000m", None)] + [("1000m", 7.5)] * 3
    assert starts(run) == [0, 0, 0, 0, 10, 10, 10, 10]
    assert run.result is not None
    note = "2 of 3 jobs had more than one processor; each became as many independent processes, 8 in all"
    assert f"trace {jobs}: {note}" in run.result.notes


def test_the_processes_of_a_job_that_expands_start_when_they_can(jobs: Path) -> None:
    """They are no gang: those that have room start, although the others have none."""
    run = replayed(jobs, "expand", ExecutorGroup(name="x", count=3, service=OfProcess()))
    assert starts(run) == [0, 0, 0, 10, 10, 10, 15, 15]


def test_processors_are_ignored_unless_something_else_is_asked_for(jobs: Path) -> None:
    assert Trace(file="t.csv").processors == "ignore"
    run = replayed(jobs, "ignore", ExecutorGroup(name="x", service=OfProcess()))
    assert conditions(run) == [("", 20), ("", None), ("", 7.5)]
    assert run.result is not None
    note = "2 of 3 processes had more than one processor; each counts as one"
    assert run.result.notes == (f"trace {jobs}: {note}",)


def test_the_cpu_of_the_mix_is_that_of_each_processor(jobs: Path) -> None:
    run = replayed(jobs, "occupy", mix=Submission(cpu=0.5))
    assert [cpu for cpu, _ in conditions(run)] == ["2000m", "500m", "1500m"]
    assert starts(run) == [0, 1, 2]


def test_jobs_that_are_larger_than_any_executor_are_counted(jobs: Path) -> None:
    small = ExecutorGroup(name="x", capacity=Capacity(cpu=3), service=OfProcess())
    run = replayed(jobs, "occupy", small)
    assert run.result is not None
    note = f"trace {jobs}: 1 of 3 processes need more CPUs than any executor has (3), and never start"
    assert note in run.result.notes
    assert [failure.kind for failure in run.result.failures] == ["rest"]


def test_a_trace_that_expands_to_too_many_processes_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "large.csv"
    path.write_text(f"submit_s,run_s,processors\n0,1,{MAX_PROCESSES}\n0,1,1\n")
    with pytest.raises(BadTrace, match="become 10,000,001 processes, more than 10,000,000; use fewer rows"):
        replayed(path, "expand")


def test_a_wrong_use_of_processors_is_refused() -> None:
    with pytest.raises(ValueError, match="invalid processors='gang'"):
        Trace(file="t.csv", processors="gang")  # type: ignore[arg-type]


# ---------------------------------------------------------------- what does nothing
def warned(
    *groups: ExecutorGroup, mix: Submission | None = None, trace: Trace | None = None, **settings: Any
) -> list[str]:
    arrivals = None if trace is not None else Once()
    workload = Workload(name="w", arrivals=arrivals, trace=trace, mix=(mix or Submission(),))
    return [one.text for one in lint(Scenario(executors=groups, workload=(workload,), settings=settings))]


def test_occupied_processors_that_nobody_counts_are_warned_of() -> None:
    trace = Trace(file="t.csv", processors="occupy", sites="ignore")
    assert warned(ExecutorGroup(name="x", slots=4), trace=trace) == [
        "`processors: occupy` of workload 'w' has no effect: no executors limit their CPU"
    ]
    assert warned(cluster(), trace=trace) == []
    assert warned(ExecutorGroup(name="x", cpu="8000m"), trace=trace) == []


def test_backfill_that_knows_no_run_times_is_warned_of() -> None:
    easy = cluster(backfill="easy")
    assert warned(easy, mix=Submission(cpu=1)) == [
        "executors 'x' cannot plan ahead: no process states walltime, expected_s or maxexectime"
    ]
    for mix in (
        Submission(cpu=1, walltime=5),
        Submission(cpu=1, maxexectime=5),
        Submission(cpu=1, kwargs={"expected_s": 5}),
    ):
        assert warned(easy, mix=mix) == []


def test_processes_that_take_nothing_of_a_capacity_are_warned_of() -> None:
    assert warned(cluster(), mix=Submission(mem="1Gi")) == [
        "executors 'x' hold any number of processes at once: none asks for what their capacity limits"
    ]
    assert warned(cluster(slots=4), mix=Submission(mem="1Gi")) == []


def test_conditions_that_the_reference_never_meets_are_warned_of() -> None:
    group = ExecutorGroup(name="x")
    never = "processes 'run' of workload 'w' are never assigned: they ask for "
    assert warned(group, mix=Submission(nodes=128)) == [
        never + "128 nodes or processes, and none with more than 127 is assigned"
    ]
    assert warned(group, mix=Submission(processes=200))[0].startswith(never + "200 nodes or processes")
    assert warned(group, mix=Submission(nodes=127, processes=127)) == []
    assert warned(group, mix=Submission(storage="1Gi")) == [
        never + "storage (1Gi); that needs `settings: {exclusive_assign: false}`"
    ]
    assert warned(group, mix=Submission(storage="1Gi"), exclusive_assign=False) == []


def test_storage_is_compared_by_the_executor() -> None:
    workload = Workload(name="w", arrivals=Once(3), mix=(Submission(storage="4Gi", run_s=10),))
    group = ExecutorGroup(name="x", capacity=Capacity(storage="8Gi"), service=OfProcess())
    run = Run(Scenario(executors=(group,), workload=(workload,), settings={"exclusive_assign": False}))
    assert run.execute().ok
    assert starts(run) == [0, 0, 10]
