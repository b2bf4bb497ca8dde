"""Count what became of processes: of all in a run, or of some, in all of its time or in a part."""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Sequence
from typing import Any

from colonysim.core.records import CANCELLED, FAILED, RUNNING, SUCCESS, WAITING
from colonysim.reports.measured import Covered
from colonysim.reports.metrics import Metrics
from colonysim.statistics.several import jain


def of_all(metrics: Metrics) -> dict[str, Any]:
    """Count what became of all processes."""
    gauges = metrics.gauges
    return {
        "submitted": gauges.submitted,
        "succeeded": gauges.succeeded,
        "failed": gauges.failed,
        "cancelled": gauges.cancelled,
        "removed": gauges.removed,
        "unfinished": gauges.unfinished,
        "attempts": len(metrics.run_start_ns) + gauges.running,
        "retries": gauges.retries,
        "deadline_misses": gauges.deadline_misses,
        "reneged": gauges.reneged,
    }


def of_some(metrics: Metrics, rows: Sequence[int]) -> dict[str, Any]:
    """Count what became of some processes. `removed`: those that were removed before they ended."""
    states = [metrics.state[row] for row in rows]
    ended = [metrics.ended_ns[row] >= 0 for row in rows]
    last_end = dict(zip(metrics.run_process, metrics.run_end_ns, strict=True))
    return {
        "submitted": len(rows),
        "succeeded": states.count(SUCCESS),
        "failed": states.count(FAILED),
        "cancelled": states.count(CANCELLED),
        "removed": sum(state in (WAITING, RUNNING) and end for state, end in zip(states, ended, strict=True)),
        "unfinished": len(rows) - sum(ended),
        "attempts": sum(metrics.attempts[row] for row in rows),
        "retries": _of(metrics.run_process, metrics.run_outcome, rows).count(WAITING),
        "deadline_misses": sum(metrics.misses[row] for row in rows),
        "reneged": sum(
            metrics.state[row] == FAILED and metrics.misses[row] > 0 and last_end.get(row) != metrics.ended_ns[row]
            for row in rows
        ),
    }


def rewaits(metrics: Metrics, covered: Covered | None) -> Sequence[int]:
    """Return the waits between attempts, in nanoseconds."""
    return metrics.rewait_ns if covered is None else _of(metrics.rewait_process, metrics.rewait_ns, covered.rows)


def _of(owners: Sequence[int], values: Sequence[int], rows: Sequence[int]) -> list[int]:
    """Return the values that belong to some processes."""
    wanted = set(rows)
    return [value for owner, value in zip(owners, values, strict=True) if owner in wanted]


def fairness(users: dict[str, list[float]]) -> float | None:
    """Return Jain's index of the users' means; None with fewer than two users."""
    index = jain([sum(values) / len(values) for values in users.values()]) if len(users) > 1 else None
    return None if index is None else round(index, 6)


def busy_seen(metrics: Metrics, end_ns: int, covered: Covered) -> int:
    """Return for how many nanoseconds processes were assigned in the covered time, also to crashed executors."""
    runs = [*zip(metrics.run_start_ns, metrics.run_end_ns, strict=True)]
    for row, state in enumerate(metrics.state):
        if state == RUNNING:
            runs.append((metrics.start_of_last_ns[row], end_ns))
    begin_ns, until_ns = covered.begin_ns, covered.until_ns
    return sum(max(0, min(stop_ns, until_ns) - max(start_ns, begin_ns)) for start_ns, stop_ns in runs)


def between(at_ns: array[int], values: array[int], begin_ns: int, until_ns: int) -> tuple[array[int], array[int]]:
    """Return the part of a step function between two times, with the value that it has at the first."""
    first, last = bisect_right(at_ns, begin_ns), bisect_right(at_ns, until_ns)
    before = values[first - 1] if first else 0
    return array("q", [begin_ns, *at_ns[first:last]]), array("i", [before, *values[first:last]])


def mean_over_time(at_ns: array[int], values: array[int], end_ns: int) -> float:
    """Return the mean of a step function from its first step to the end."""
    if not at_ns or end_ns <= at_ns[0]:
        return 0.0
    area, last_ns, last = 0, at_ns[0], 0
    for now_ns, value in zip(at_ns, values, strict=True):
        area += last * (now_ns - last_ns)
        last_ns, last = now_ns, value
    area += last * (end_ns - last_ns)
    return area / (end_ns - at_ns[0])
