"""Write the processes of a run in formats of other programs: SWF, jobs.csv of Batsim and evalys, Parquet.

A resource of these formats is an executor here: each process had one at a time. Rows are in the order of submission.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

from colonysim.core.policies import expected_time
from colonysim.core.records import SECOND_NS, Process
from colonysim.extras import needed_for
from colonysim.reports.processes import ProcessResult
from colonysim.scenarios.runner import Run

BATSIM_COLUMNS: Final = (
    "job_id", "workload_name", "profile", "submission_time", "requested_number_of_resources", "requested_time",
    "success", "final_state", "starting_time", "execution_time", "finish_time", "waiting_time", "turnaround_time",
    "stretch", "allocated_resources", "consumed_energy", "metadata",
)  # fmt: skip
_SWF_STATUS: Final = {"success": 1, "failed": 0, "cancelled": 5}
_UNKNOWN: Final = "-1"


class ExportedJob(NamedTuple):
    """A process for export. `number`: from 1, in the order of submission. `executor`: the place of its last, from 0."""

    number: int
    result: ProcessResult
    user: str
    requested_s: float | None
    executor: int | None


def jobs_of(run: Run) -> Iterator[ExportedJob]:
    """Yield the processes of a run that has ended. What was removed from the server has no user and requested time."""
    assert run.result is not None
    places = {name: place for place, name in enumerate(executor_names(run))}
    processes = run.sim.world.processes
    for number, result in enumerate(run.result.processes, 1):
        process: Process | None = processes.get(result.process)
        user = "" if process is None else process.initiator_name
        requested_s = None if process is None else expected_time(process.spec)
        yield ExportedJob(number, result, user, requested_s, places.get(result.executor))


def executor_names(run: Run) -> list[str]:
    """Return the names of all executors: those of the scenario, then others that had a process."""
    names = dict.fromkeys(one.name for one in run.fleet.executors)
    assert run.result is not None
    return list(names | dict.fromkeys(one.executor for one in run.result.processes if one.executor))


def _number(value: float | None) -> str:
    """Format seconds without an exponent and with all digits down to nanoseconds; -1 if there are none."""
    if value is None:
        return _UNKNOWN
    return f"{value:.9f}".rstrip("0").rstrip(".")


# ---------------------------------------------------------------- Batsim
def write_batsim(run: Run, path: Path) -> None:
    """Write jobs.csv as Batsim writes it and evalys reads it: a row for each process that ran and has ended.

    Times of processes with several attempts are those of the last. Raises OSError.
    """
    name = run.scenario.name
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(BATSIM_COLUMNS)
        for job in jobs_of(run):
            if row := _batsim_row(job, name):
                writer.writerow(row)


def _batsim_row(job: ExportedJob, workload: str) -> list[str | int] | None:
    one = job.result
    if one.last_started_s is None or one.ended_s is None or job.executor is None or one.state not in _SWF_STATUS:
        return None
    run_s, waited_s, stayed_s = (
        one.ended_s - one.last_started_s,
        one.last_started_s - one.submitted_s,
        one.ended_s - one.submitted_s,
    )
    success, stretch = int(one.state == "success"), _number(stayed_s / run_s) if run_s else ""
    return [
        job.number, workload, one.function, _number(one.submitted_s), 1, _number(job.requested_s), success,
        _final_state(one), _number(one.last_started_s), _number(run_s), _number(one.ended_s), _number(waited_s),
        _number(stayed_s), stretch, job.executor, _UNKNOWN, one.process,
    ]  # fmt: skip


def _final_state(one: ProcessResult) -> str:
    if one.state == "success":
        return "COMPLETED_SUCCESSFULLY"
    if one.state == "cancelled":
        return "COMPLETED_KILLED"
    return "COMPLETED_WALLTIME_REACHED" if one.deadline_misses else "COMPLETED_FAILED"


# ---------------------------------------------------------------- SWF
def write_swf(run: Run, path: Path) -> None:
    """Write a run in the Standard Workload Format, with a header, and a row for each process. Raises OSError.

    Times have fractions where they are no whole seconds. What never ran has the run time -1.
    """
    jobs = list(jobs_of(run))
    users = _numbered(job.user for job in jobs)
    functions = _numbered(job.result.function for job in jobs)
    places = _numbered(job.result.location for job in jobs)
    lines = [*_swf_header(run, len(jobs), users, functions, places)]
    for job in jobs:
        one = job.result
        started_s, run_s = one.last_started_s, None
        if started_s is not None and one.ended_s is not None:
            run_s = round(one.ended_s - started_s, 9)
        waited_s = None if started_s is None else round(started_s - one.submitted_s, 9)
        processors = _UNKNOWN if started_s is None else 1
        columns = (
            job.number, _number(one.submitted_s), _number(waited_s), _number(run_s), processors, _UNKNOWN, _UNKNOWN, 1,
             _number(job.requested_s), _UNKNOWN, _SWF_STATUS.get(one.state, _UNKNOWN),
            users.get(job.user, _UNKNOWN), _UNKNOWN, functions.get(one.function, _UNKNOWN), _UNKNOWN,
            places.get(one.location, _UNKNOWN), _UNKNOWN, _UNKNOWN,
        )  # fmt: skip
        lines.append(" ".join(map(str, columns)))
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _numbered(names: Iterator[str]) -> dict[str, int]:
    return {name: number for number, name in enumerate(dict.fromkeys(name for name in names if name), 1)}


def _swf_header(
    run: Run, count: int, users: dict[str, int], functions: dict[str, int], places: dict[str, int]
) -> Iterator[str]:
    fields = {
        "Version": "2.2",
        "Computer": f"colonysim, scenario {run.scenario.name}, seed {run.seed}",
        "MaxJobs": count,
        "MaxRecords": count,
        "UnixStartTime": run.start_ns // SECOND_NS,
        "TimeZoneString": run.sim.settings.timezone,
        "MaxNodes": len(executor_names(run)),
        "MaxProcs": len(executor_names(run)),
        "Partitions": len(places),
    }
    yield from (f"; {name}: {_one_line(str(value))}" for name, value in fields.items())
    yield from (f"; Partition: {number} {_one_line(name)}" for name, number in places.items())
    yield "; Note: times are seconds from the start of the run, with fractions; a processor is an executor"
    yield "; Note: wait and run time are those of the last attempt"
    yield from (f"; Note: user {number} is {_one_line(name)}" for name, number in users.items())
    yield from (f"; Note: executable {number} is function {_one_line(name)}" for name, number in functions.items())


def _one_line(text: str) -> str:
    return " ".join(text.split())


# ---------------------------------------------------------------- Parquet
def write_parquet(run: Run, path: Path) -> None:
    """Write the table `result.frame()` as Parquet. Raises OSError; MissingExtra without pandas and pyarrow."""
    assert run.result is not None
    with needed_for("Parquet"):
        import pyarrow  # noqa: F401  # pandas would say in its own words that it is missing
    run.result.frame().to_parquet(path, engine="pyarrow", index=False)
