"""Measure a window of a run: choose the processes, leave out the warm-up, and compute figures and batch means."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from colonysim.core.records import SECOND_NS, SUCCESS
from colonysim.reports.measured import Covered, Window
from colonysim.reports.metrics import NEVER, TAU_S, Metrics
from colonysim.reports.summary import Summary, summarise
from colonysim.statistics.series import FEWEST, BatchMeans, batch_means, mser5


class MeasuredPart(msgspec.Struct, frozen=True, kw_only=True):
    """What to measure. `warmup_s`: "auto" finds its length by MSER-5, None means that there is none."""

    from_s: float = 0.0
    until_s: float | None = None
    warmup_s: float | str | None = None
    batches: int = 0

    @property
    def is_everything(self) -> bool:
        return self == MeasuredPart()


def measure(
    metrics: Metrics,
    end_ns: int,
    executors: int,
    wanted: MeasuredPart,
    tau_s: float = TAU_S,
    busy_ns: int | None = None,
    programs: int = 0,
    width: float | None = None,
) -> Summary:
    """Return the figures of the wanted part of a run.

    `busy_ns`: how long executors were busy in the whole run, if they counted it.
    """
    if wanted.is_everything:
        return summarise(metrics, end_ns, executors, tau_s, busy_ns, programs, width=width)
    from_ns = metrics.start_ns + round(wanted.from_s * SECOND_NS)
    until_ns = None if wanted.until_s is None else metrics.start_ns + round(wanted.until_s * SECOND_NS)
    rows = _submitted(metrics, from_ns, until_ns)
    problems: dict[str, str] = {}
    begin_ns, method = from_ns, "none"
    if wanted.warmup_s == "auto":
        method = "MSER-5"
        started = [row for row in rows if metrics.first_start_ns[row] != NEVER]
        transient = mser5([metrics.waiting_ns(row) / SECOND_NS for row in started])
        if transient is None:
            problems["warmup"] = _no_end(len(started))
        elif transient:
            begin_ns = metrics.submitted_ns[started[transient]]
    elif wanted.warmup_s is not None:
        begin_ns, method = from_ns + round(float(wanted.warmup_s) * SECOND_NS), "given"
    rows = [row for row in rows if metrics.submitted_ns[row] >= begin_ns]
    if not rows:
        problems["from_s"] = "no process was submitted in the window"
    last_ns = end_ns if until_ns is None else min(until_ns, end_ns)
    covered = Covered(rows, begin_ns, max(begin_ns, last_ns))
    summary = summarise(metrics, end_ns, executors, tau_s, None, programs, covered, width)
    window = Window(
        from_s=wanted.from_s,
        until_s=wanted.until_s,
        warmup_s=(begin_ns - from_ns) / SECOND_NS,
        method=method,
        processes=len(rows),
        left_out=len(metrics) - len(rows),
        batches=_batches(metrics, rows, wanted.batches, tau_s, problems),
        problems=problems,
    )
    return msgspec.structs.replace(summary, window=window)


def _submitted(metrics: Metrics, from_ns: int, until_ns: int | None) -> list[int]:
    times = enumerate(metrics.submitted_ns)
    return [row for row, at_ns in times if at_ns >= from_ns and (until_ns is None or at_ns < until_ns)]


def _no_end(count: int) -> str:
    if count < FEWEST:
        return f"MSER-5 needs {FEWEST} processes that were started, and there are {count}: nothing was left out"
    return (
        "MSER-5 found no end of the transient in the first half: the run is too short, or its queue keeps growing, "
        "so nothing was left out"
    )


def _batches(
    metrics: Metrics, rows: Sequence[int], count: int, tau_s: float, problems: dict[str, str]
) -> dict[str, BatchMeans]:
    """Return the batch means of waiting, turnaround and slowdown; add to `problems` why an interval cannot be had."""
    if not count:
        return {}
    waits = [metrics.waiting_ns(row) / SECOND_NS for row in rows if metrics.first_start_ns[row] != NEVER]
    ended = [row for row in rows if metrics.state[row] == SUCCESS]
    turnaround = [(metrics.ended_ns[row] - metrics.submitted_ns[row]) / SECOND_NS for row in ended]
    slowdown = [
        max(1.0, lasted_s / max(metrics.running_ns(row) / SECOND_NS, tau_s))
        for row, lasted_s in zip(ended, turnaround, strict=True)
    ]
    made = {}
    for name, values in (("waiting_s", waits), ("turnaround_s", turnaround), ("bounded_slowdown", slowdown)):
        batches = batch_means(values, count)
        if batches is None:
            problems["batches"] = f"{name} has {len(values)} values for {count} batches, so there is no interval"
        else:
            made[name] = batches
            if batches.are_related:
                problems["batches"] = (
                    f"the means of successive batches of {name} are related (correlation {batches.correlation:.2f}), "
                    "so its interval is too narrow: take fewer batches or a longer run"
                )
    return made
