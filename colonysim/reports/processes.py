"""What became of each process of a run: its times, and why it ended without success."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import msgspec

from colonysim.core.records import SECOND_NS, ProcessState
from colonysim.evidence.causes import cause_of, error_text
from colonysim.invariants import Invariants
from colonysim.kernel.why_idle import name_of
from colonysim.reports.metrics import NEVER, TAU_S, Metrics


class ProcessResult(msgspec.Struct, frozen=True):
    """What became of one process. Times are in seconds from the start of the run, None if there is none.

    `process`: its id. `waiting_s`: from `eligible_s` to `first_started_s`. `total_waiting_s`: the waits before all of
    its attempts, also a wait without a start. `running_s`: its last attempt, from `last_started_s` to `ended_s`.
    `cause`: why it ended without success, as in Result.causes. `error`: the errors of its executor or of the server, in
    one line. Both are empty if it succeeded, has not ended or was removed.
    """

    process: str
    function: str
    executortype: str
    location: str
    state: str
    executor: str
    attempts: int
    deadline_misses: int
    submitted_s: float
    eligible_s: float | None
    first_started_s: float | None
    last_started_s: float | None
    ended_s: float | None
    waiting_s: float | None
    total_waiting_s: float | None
    running_s: float | None
    turnaround_s: float | None
    bounded_slowdown: float | None
    cause: str
    error: str


def process_results(
    metrics: Metrics, invariants: Invariants | None, names: Mapping[str, str], tau_s: float = TAU_S
) -> Iterator[ProcessResult]:
    """Yield the result of each process, in the order of submission.

    `invariants`: the history of the processes, if one is kept. `names`: of executors by their ids, if the world may not
    know them. `tau_s`: the bound of the bounded slowdown.
    """
    world, now_ns = metrics.world, metrics.world.now_ns
    executors = [names.get(executor_id) or name_of(world, executor_id) for executor_id in metrics.executors]

    def at(time_ns: int) -> float | None:
        return None if time_ns == NEVER else round((time_ns - metrics.start_ns) / SECOND_NS, 9)

    for process_id, row in metrics.place.items():
        kind, ended_ns = metrics.kind_of(row), metrics.ended_ns[row]
        waiting_ns, running_ns, eligible_ns = metrics.waiting_ns(row), metrics.running_ns(row), metrics.eligible_ns[row]
        turnaround_s = None if ended_ns == NEVER else (ended_ns - metrics.submitted_ns[row]) / SECOND_NS
        slowdown = None
        if turnaround_s is not None and running_ns != NEVER:
            slowdown = round(max(1.0, turnaround_s / max(running_ns / SECOND_NS, tau_s)), 6)
        cause, error = _why(metrics, invariants, process_id)
        yield ProcessResult(
            process=process_id,
            function=kind.funcname,
            executortype=kind.executortype,
            location=kind.location,
            state=ProcessState(metrics.state[row]).name.lower(),
            executor=executors[metrics.executor[row]] if metrics.executor[row] >= 0 else "",
            attempts=metrics.attempts[row],
            deadline_misses=metrics.misses[row],
            submitted_s=(metrics.submitted_ns[row] - metrics.start_ns) / SECOND_NS,
            eligible_s=at(eligible_ns),
            first_started_s=at(metrics.first_start_ns[row]),
            last_started_s=at(metrics.start_of_last_ns[row]),
            ended_s=at(ended_ns),
            waiting_s=None if waiting_ns == NEVER else waiting_ns / SECOND_NS,
            total_waiting_s=None if eligible_ns == NEVER else metrics.waiting_total_ns(row, now_ns) / SECOND_NS,
            running_s=None if running_ns == NEVER else running_ns / SECOND_NS,
            turnaround_s=turnaround_s,
            bounded_slowdown=slowdown,
            cause=cause,
            error=error,
        )


def _why(metrics: Metrics, invariants: Invariants | None, process_id: str) -> tuple[str, str]:
    """Return the cause for which a process ended without success, and its errors; empty texts otherwise."""
    process = metrics.world.processes.get(process_id)
    if process is None:
        return "", ""
    cause = cause_of(process, "" if invariants is None else invariants.last_cause(process_id))
    return cause, error_text(process) if cause and process.errors else ""
