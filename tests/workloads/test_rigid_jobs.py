"""Executors with capacity against an independent simulator of rigid jobs (tests/workloads/rigid.py), job by job."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from colonysim import traces
from colonysim.capacity.backfill import Backfill
from colonysim.capacity.resources import Capacity
from colonysim.core.records import SECOND_NS
from colonysim.scenarios import (
    ExecutorGroup,
    OfProcess,
    Phases,
    Run,
    Scenario,
    Submission,
    Trace,
    TraceRecord,
    Workload,
)
from colonysim.workloads.arrivals import At
from tests.workloads.rigid import FOREVER, POLICIES, RigidJob, simulate

TRACES = Path(__file__).parents[2] / "../shared/traces"
CPUS = 16


def cluster(backfill: str, **capacity: int) -> ExecutorGroup:
    policy: Backfill = backfill  # type: ignore[assignment]
    return ExecutorGroup(name="cluster", capacity=Capacity(**capacity), backfill=policy, service=OfProcess())


def waits_of(scenario: Scenario) -> list[int]:
    """How long each process waited for its start, in the order of submission."""
    run = Run(scenario)
    result = run.execute()
    assert [failure.text for failure in result.failures] == []
    return [run.metrics.waiting_ns(row) for row in range(len(run.metrics))]


def recorded(records: list[TraceRecord], backfill: str, cpus: int, invariants: bool = True) -> list[int]:
    def read(path: Path) -> Iterator[TraceRecord]:
        return iter(records)

    trace = Trace(file=__file__, format=read, processors="occupy")
    return waits_of(
        Scenario(
            executors=(cluster(backfill, cpu=cpus),),
            workload=(Workload(name="jobs", trace=trace),),
            phases=Phases(calm_s=1e9),
            invariants=invariants,
        )
    )


def rigid(records: list[TraceRecord]) -> list[RigidJob]:
    return [
        RigidJob(
            round(one.submit_s * SECOND_NS),
            round(one.run_s * SECOND_NS),
            (one.processors,),
            round(one.requested_s * SECOND_NS) if one.requested_s > 0 else FOREVER,
        )
        for one in records
    ]


@some.composite
def workloads(draw: some.DrawFn) -> list[TraceRecord]:
    """Few jobs, close together, so that most have to wait; estimates are right, wrong either way, or missing."""
    records, now_s = [], 0
    for _ in range(draw(some.integers(2, 14))):
        now_s += draw(some.integers(0, 4)) if records else 0
        run_s = draw(some.integers(1, 20))
        requested_s = draw(some.sampled_from([run_s, run_s, run_s + 3, 2 * run_s, 30, max(1, run_s - 4), -1]))
        records.append(TraceRecord(now_s, run_s, processors=draw(some.integers(1, CPUS)), requested_s=requested_s))
    return records


@pytest.mark.parametrize("backfill", POLICIES)
@settings(max_examples=60, deadline=None)
@given(records=workloads())
def test_each_job_waits_as_long_as_in_an_independent_simulator(backfill: str, records: list[TraceRecord]) -> None:
    assert recorded(records, backfill, CPUS) == simulate(rigid(records), (CPUS,), backfill)


@some.composite
def mixed_jobs(draw: some.DrawFn) -> list[tuple[int, int, int, int, int]]:
    """Submission, run time, CPUs, GPUs and estimate of each job."""
    jobs, now_s = [], 0
    for _ in range(draw(some.integers(2, 10))):
        now_s += draw(some.integers(0, 4))
        run_s = draw(some.integers(1, 12))
        sizes = draw(some.integers(0, 8)), draw(some.integers(0, 3))
        jobs.append((now_s, run_s, *sizes, run_s + draw(some.integers(0, 5))))
    return jobs


@pytest.mark.parametrize("backfill", POLICIES)
@settings(max_examples=40, deadline=None)
@given(jobs=mixed_jobs())
def test_jobs_that_need_what_the_server_does_not_know_start_in_the_same_order(
    backfill: str, jobs: list[tuple[int, int, int, int, int]]
) -> None:
    """The server gives out a process without regard to GPUs; the executor has to wait for them itself."""
    workload = tuple(
        Workload(
            name=f"w{place}",
            arrivals=At((submit_s,)),
            mix=(Submission(cpu=cpus, gpu=gpus, run_s=run_s, walltime=estimate_s),),
        )
        for place, (submit_s, run_s, cpus, gpus, estimate_s) in enumerate(jobs)
    )
    scenario = Scenario(executors=(cluster(backfill, cpu=8, gpu=3),), workload=workload)
    oracle = [
        RigidJob(submit_s * SECOND_NS, run_s * SECOND_NS, (cpus, gpus), estimate_s * SECOND_NS)
        for submit_s, run_s, cpus, gpus, estimate_s in jobs
    ]
    assert waits_of(scenario) == simulate(oracle, (8, 3), backfill)


def starts_of(records: list[TraceRecord], backfill: str) -> list[float]:
    """When each job starts on 10 CPUs, in seconds."""
    waits = recorded(records, backfill, 10)
    return [record.submit_s + wait_ns / SECOND_NS for record, wait_ns in zip(records, waits, strict=True)]


def job(submit_s: float, run_s: float, processors: int) -> TraceRecord:
    return TraceRecord(submit_s, run_s, processors=processors, requested_s=run_s)


def test_backfill_starts_what_does_not_delay_the_first_job_that_waits() -> None:
    """Followed by hand: jobs 3 and 4 fit beside job 0; job 2 would run on when job 1 may start."""
    records = [job(0, 10, 6), job(1, 10, 8), job(2, 9, 4), job(3, 4, 4), job(4, 100, 2)]
    assert starts_of(records, "none") == [0, 10, 20, 20, 20]
    assert starts_of(records, "first_fit") == [0, 14, 2, 10, 10]
    assert starts_of(records, "easy") == [0, 10, 20, 3, 7]
    assert starts_of(records, "conservative") == [0, 10, 20, 3, 7]


def test_only_conservative_backfill_keeps_the_second_job_that_waits_from_being_delayed() -> None:
    """Job 3 fits beside jobs 0 and 1, but not beside job 2, which needs the whole cluster from 20 s on."""
    records = [job(0, 10, 6), job(1, 10, 8), job(2, 5, 10), job(3, 30, 2)]
    assert starts_of(records, "easy") == starts_of(records, "first_fit") == [0, 10, 33, 3]
    assert starts_of(records, "conservative") == starts_of(records, "none") == [0, 10, 20, 25]


def test_without_expected_times_backfill_only_uses_what_the_first_job_leaves() -> None:
    records = [
        TraceRecord(one.submit_s, one.run_s, processors=one.processors)
        for one in (job(0, 10, 6), job(1, 10, 8), job(2, 1, 3), job(3, 1, 2))
    ]
    assert starts_of(records, "easy") == [0, 10, 20, 3]


# ---------------------------------------------------------------- recorded traces
TRACE_CASES = [
    ("NASA-iPSC-1993-3.1-cln.swf", 128, 1.5),
    ("lublin_256.swf", 256, 1.0),
    ("HPC2N-2002-2.2-cln.swf", 240, 1.0),
]
"""File, processors of the machine, and how many times as fast as recorded the jobs arrive."""
COUNTS = {"none": 1500, "first_fit": 1500, "easy": 1000, "conservative": 400}
"""How many jobs: bounded, so that the tests take seconds. benchmarks/rigid.py runs the whole traces."""


@pytest.mark.parametrize(("name", "processors", "speed"), TRACE_CASES, ids=[case[0] for case in TRACE_CASES])
@pytest.mark.parametrize("backfill", POLICIES)
def test_each_job_of_a_trace_waits_as_long_as_in_an_independent_simulator(
    backfill: str, name: str, processors: int, speed: float
) -> None:
    found = next(TRACES.glob(f"{name}*"), None)
    if found is None:
        pytest.skip(f"needs the trace {name}, which is not part of colonysim, in {TRACES}")
    records = records_of(found, processors, speed, COUNTS[backfill])
    jobs = rigid(records)
    waits = recorded(records, backfill, processors, invariants=False)
    assert waits == simulate(jobs, (processors,), backfill)
    assert sum(wait_ns > 0 for wait_ns in waits) > len(waits) / 20, "hardly any job has waited, so this shows little"


def records_of(path: Path, processors: int, speed: float, count: int | None) -> list[TraceRecord]:
    """The jobs of a trace, from time 0 on; where no time was requested, users are taken to ask for twice the run time."""
    jobs = [one for one in traces.load(path, count=count).records if one.run_s > 0]
    return [
        TraceRecord(
            (one.submit_s - jobs[0].submit_s) / speed,
            one.run_s,
            processors=min(processors, one.processors),
            requested_s=math.ceil(one.requested_s if one.requested_s > 0 else 2 * one.run_s),
        )
        for one in jobs
    ]
