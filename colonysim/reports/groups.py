"""Figures by function, by user, by priority and by group of executors."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

import msgspec

from colonysim.core.records import SECOND_NS, SUCCESS
from colonysim.reports.measured import Window
from colonysim.reports.metrics import NEVER, Metrics
from colonysim.statistics.quantiles import Quantiles, quantiles

By = Literal["function", "user", "priority", "executors"]


class GroupFigures(msgspec.Struct, frozen=True, kw_only=True):
    """The figures of the processes with one function, user, priority, or group of executors (that of the last attempt).

    Times in seconds; what they cover is as in the summary of the run.
    """

    by: By
    name: str
    submitted: int
    succeeded: int
    attempts: int
    deadline_misses: int
    waiting_s: Quantiles
    retry_waiting_s: Quantiles
    turnaround_s: Quantiles
    running_s: Quantiles
    bounded_slowdown: Quantiles


def by_group(
    metrics: Metrics, window: Window | None, tau_s: float, group_of: Callable[[str], str]
) -> tuple[GroupFigures, ...]:
    """Return the figures of each group of the processes in a window, for each division that has several groups.

    `group_of`: returns the group of executors of an executor's id. Processes that were never started have none.
    """
    rows = range(len(metrics)) if window is None else _covered(metrics, window)
    again: dict[int, list[float]] = {}
    for row, wait_ns in zip(metrics.rewait_process, metrics.rewait_ns, strict=True):
        again.setdefault(row, []).append(wait_ns / SECOND_NS)
    executors = [group_of(executor_id) for executor_id in metrics.executors]
    classes, place = metrics.classes, metrics.class_place
    divisions: dict[By, Callable[[int], str]] = {
        "function": lambda row: classes[place[row]].kind.funcname,
        "user": lambda row: classes[place[row]].user,
        "priority": lambda row: str(classes[place[row]].priority),
        "executors": lambda row: executors[metrics.executor[row]] if metrics.executor[row] >= 0 else "",
    }
    made = []
    for by, name_of in divisions.items():
        groups: dict[str, list[int]] = {}
        for row in rows:
            groups.setdefault(name_of(row), []).append(row)
        if by == "executors":
            groups.pop("", None)
        if len(groups) > 1:
            made += [_figures(metrics, by, name, groups[name], again, tau_s) for name in sorted(groups)]
    return tuple(made)


def _covered(metrics: Metrics, window: Window) -> list[int]:
    """Return the processes that were submitted in a window, after the warm-up."""
    begin_ns = metrics.start_ns + round((window.from_s + window.warmup_s) * SECOND_NS)
    until_ns = None if window.until_s is None else metrics.start_ns + round(window.until_s * SECOND_NS)
    times = enumerate(metrics.submitted_ns)
    return [row for row, at_ns in times if begin_ns <= at_ns and (until_ns is None or at_ns < until_ns)]


def _figures(
    metrics: Metrics, by: By, name: str, rows: Sequence[int], again: dict[int, list[float]], tau_s: float
) -> GroupFigures:
    ended = [row for row in rows if metrics.state[row] == SUCCESS and metrics.ended_ns[row] != NEVER]
    turnaround = [(metrics.ended_ns[row] - metrics.submitted_ns[row]) / SECOND_NS for row in ended]
    running = [metrics.running_ns(row) / SECOND_NS for row in ended]
    slowdown = [max(1.0, lasted / max(ran, tau_s)) for lasted, ran in zip(turnaround, running, strict=True)]
    waiting = [metrics.waiting_ns(row) / SECOND_NS for row in rows if metrics.first_start_ns[row] != NEVER]
    return GroupFigures(
        by=by,
        name=name,
        submitted=len(rows),
        succeeded=len(ended),
        attempts=sum(metrics.attempts[row] for row in rows),
        deadline_misses=sum(metrics.misses[row] for row in rows),
        waiting_s=quantiles(waiting),
        retry_waiting_s=quantiles([wait_s for row in rows for wait_s in again.get(row, ())]),
        turnaround_s=quantiles(turnaround),
        running_s=quantiles(running),
        bounded_slowdown=quantiles(slowdown),
    )
