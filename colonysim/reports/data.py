"""The data of an HTML report: figures, series in bins of time, and tables. Their size does not grow with the run."""

from __future__ import annotations

import base64
from bisect import bisect_right
from itertools import islice
from typing import Any, Final

import msgspec

from colonysim.core.records import CANCELLED, FAILED, SECOND_NS, SUCCESS
from colonysim.evidence.causes import Cause, error_text
from colonysim.kernel.clock import show_time
from colonysim.reports.metrics import NEVER, TAU_S, Metrics
from colonysim.reports.observed import Attempt, Observed
from colonysim.reports.summary import Summary, summarise
from colonysim.statistics.quantiles import quantiles

MAX_ROWS: Final = 60
"""Up to this many executors have a row each; more are shown by group."""
BINS: Final = 240
"""Intervals of time, if a scenario does not say how many."""

_SLOWEST: Final = 15
_FAILED: Final = 50
_MAX_BANDS: Final = 400
_OTHER_KINDS: Final = 40


class Bins:
    """The time of a run divided into `count` intervals of equal width."""

    def __init__(self, start_ns: int, end_ns: int, count: int) -> None:
        self.start_ns = start_ns
        self.count = count
        self.width_ns = max(1, -(-(end_ns - start_ns) // count))

    def place(self, time_ns: int) -> int:
        """Return the index of the bin of a time."""
        return min(self.count - 1, max(0, (time_ns - self.start_ns) // self.width_ns))

    def zeros(self) -> list[int]:
        """Return a list with a zero for each bin."""
        return [0] * self.count


# ---------------------------------------------------------------- data of the page
def page_data(observed: Observed, bins: int = BINS, tau_s: float = TAU_S) -> dict[str, Any]:
    """Return the data of the HTML page, of which a caller may replace some: see `report.html` for their names.

    `bins`: the number of intervals of time at most. `tau_s`: the bound of the bounded slowdown.
    """
    metrics, start_ns = observed.metrics, observed.metrics.start_ns
    used = Bins(start_ns, observed.end_ns, min(bins, max(10, len(metrics.depth_at_ns))))
    attempts = observed.attempts()
    end_s = (observed.world.now_ns - start_ns) / SECOND_NS
    return {
        "about": "",
        "seed": observed.world.settings.seed,
        "digest": "",
        "command": "",
        "scenario": "",
        "start": show_time(start_ns),
        "start_ms": start_ns // 1_000_000,
        "storm_s": None,
        "end_s": end_s,
        "bin_s": used.width_ns / SECOND_NS,
        "bins": used.count,
        "verdict": "",
        "summary": msgspec.to_builtins(summary_of(observed, attempts, tau_s)),
        "notes": list(observed.notes),
        "warnings": [],
        "faults_struck": [],
        "findings": [],
        "failures": [],
        "causes": as_data(observed.causes()),
        "failed_processes": _failed(observed),
        "requests": msgspec.to_builtins(observed.requests),
        "cost": None,
        **_depths(metrics, used),
        "left_behind": _left_behind(attempts, used),
        **_flows(metrics, used),
        "waiting": _waiting(metrics, used),
        "executors": _executors(observed, attempts, used),
        "faults": _faults(observed, used),
        "kinds": _kinds(metrics, tau_s),
        "slowest": _slowest(observed),
    }


def summary_of(observed: Observed, attempts: list[Attempt], tau_s: float) -> Summary:
    """Return the figures of what was observed; executors are busy while they work on what they hold."""
    busy_ns = sum(one.worked_ns - one.start_ns for one in attempts)
    return summarise(observed.metrics, observed.end_ns, len(observed.executors), tau_s, busy_ns)


def as_data(causes: tuple[Cause, ...]) -> list[dict[str, Any]]:
    """Return causes as plain data, each with its line of text."""
    return [msgspec.to_builtins(cause) | {"text": str(cause)} for cause in causes]


def _depths(metrics: Metrics, bins: Bins) -> dict[str, list[Any]]:
    """Return maximum and mean queue depth, and most running processes, for each bin.

    Between two recorded times the earlier values apply, so that a bin without any continues the one before.
    """
    most, running, area = [-1] * bins.count, [-1] * bins.count, [0] * bins.count
    last_ns, depth, run = bins.start_ns, 0, 0

    def fill(to_ns: int) -> None:
        nonlocal last_ns
        while last_ns < to_ns:
            place = bins.place(last_ns)
            edge_ns = bins.start_ns + (place + 1) * bins.width_ns
            until_ns = to_ns if place == bins.count - 1 else min(to_ns, edge_ns)
            area[place] += depth * (until_ns - last_ns)
            most[place], running[place] = max(most[place], depth), max(running[place], run)
            last_ns = until_ns

    for at_ns, new_depth, new_run in zip(metrics.depth_at_ns, metrics.depth, metrics.running, strict=True):
        if at_ns > last_ns:
            fill(at_ns)
        depth, run, place = new_depth, new_run, bins.place(at_ns)
        most[place], running[place] = max(most[place], depth), max(running[place], run)  # also what lasts no time
    fill(bins.start_ns + bins.count * bins.width_ns)
    return {
        "depth_max": most,
        "depth_mean": [round(part / bins.width_ns, 2) for part in area],
        "running": running,
    }


def _flows(metrics: Metrics, bins: Bins) -> dict[str, list[int]]:
    submitted, succeeded, failed = bins.zeros(), bins.zeros(), bins.zeros()
    for at_ns in metrics.submitted_ns:
        submitted[bins.place(at_ns)] += 1
    for row, ended_ns in enumerate(metrics.ended_ns):
        if ended_ns != NEVER:
            counted = succeeded if metrics.state[row] == SUCCESS else failed
            counted[bins.place(ended_ns)] += 1
    return {"submitted": submitted, "succeeded": succeeded, "failed": failed}


def _waiting(metrics: Metrics, bins: Bins) -> dict[str, list[float | None]]:
    """Return percentiles of the waiting times, in seconds, by the bin in which the wait ended."""
    waits: list[list[float]] = [[] for _ in range(bins.count)]
    for row, started_ns in enumerate(metrics.first_start_ns):
        if started_ns != NEVER:
            waits[bins.place(started_ns)].append(metrics.waiting_ns(row) / SECOND_NS)
    spread = [quantiles(values) for values in waits]
    return {
        "p50": [_rounded(one.p50) for one in spread],
        "p95": [_rounded(one.p95) for one in spread],
        "max": [_rounded(one.max) for one in spread],
    }


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 3)


def _left_behind(attempts: list[Attempt], bins: Bins) -> list[int]:
    """Return for each bin how many running processes, at most, nobody works on: their executors have given them up."""
    changes = sorted(
        change for one in attempts if one.worked_ns < one.end_ns for change in ((one.worked_ns, 1), (one.end_ns, -1))
    )
    most, last, count = bins.zeros(), 0, 0
    for at_ns, change in changes:
        place = bins.place(at_ns)
        for between in range(last + 1, place + 1):
            most[between] = count
        count, last = count + change, place
        most[place] = max(most[place], count)
    for between in range(last + 1, bins.count):
        most[between] = count
    return most


def _executors(observed: Observed, attempts: list[Attempt], bins: Bins) -> dict[str, Any]:
    """Return how busy executors were in each bin, one row for each executor or group.

    If there are too many rows, the least busy are left out. `levels` has a byte for each row and bin: 255 is busy
    for the whole bin. `held` has the same for the time in which they hold processes that they do not work on.
    """
    rows, row_of = _rows(observed)
    busy: list[list[float]] = [[0] * bins.count for _ in rows]
    held: list[list[float]] = [[0] * bins.count for _ in rows]
    runs = [0] * len(rows)
    for one in attempts:
        row = row_of.get(one.executor_id)
        if row is not None:
            runs[row] += 1
            _spread(busy[row], bins, one.start_ns, one.worked_ns, one.part)
            _spread(held[row], bins, one.worked_ns, one.end_ns, one.part)
    shown = sorted(sorted(range(len(rows)), key=lambda row: -sum(busy[row]))[:MAX_ROWS])
    span_ns = bins.width_ns * bins.count
    return {
        "rows": [
            {
                "name": rows[row][0],
                "count": rows[row][1],
                "runs": runs[row],
                "busy": round(min(1.0, sum(busy[row]) / (span_ns * rows[row][1])), 4),
            }
            for row in shown
        ],
        "hidden": len(rows) - len(shown),
        "levels": _levels([(busy[row], rows[row][1]) for row in shown], bins),
        "held": _levels([(held[row], rows[row][1]) for row in shown], bins),
    }


def _levels(rows: list[tuple[list[float], int]], bins: Bins) -> str:
    """Return the shares of bins in Base64, a byte for each; rows come with their number of executors."""
    levels = bytearray()
    for spans, count in rows:
        levels += bytes(min(255, round(255 * span_ns / (bins.width_ns * count))) for span_ns in spans)
    return base64.b64encode(bytes(levels)).decode()


def _rows(observed: Observed) -> tuple[list[tuple[str, int]], dict[str, int]]:
    """Return the rows as (name, number of executors), and the row of each executor id."""
    alone = len(observed.executors) <= MAX_ROWS
    names: dict[str, int] = {}
    counts: list[int] = []
    row_of = {}
    for executor in observed.executors:
        row = names.setdefault(executor.id if alone else executor.group, len(names))
        if row == len(counts):
            counts.append(0)
        counts[row] += 1
        row_of[executor.id] = row
    shown = [executor.name for executor in observed.executors] if alone else list(names)
    return list(zip(shown, counts, strict=True)), row_of


def _spread(busy: list[float], bins: Bins, start_ns: int, end_ns: int, part: float) -> None:
    """Add a part of a span of time to the bins it overlaps."""
    first, last = bins.place(start_ns), bins.place(end_ns)
    if first == last:
        busy[first] += part * (end_ns - start_ns)
        return
    busy[first] += part * (bins.start_ns + (first + 1) * bins.width_ns - start_ns)
    for place in range(first + 1, last):
        busy[place] += part * bins.width_ns
    busy[last] += part * (end_ns - (bins.start_ns + last * bins.width_ns))


def _faults(observed: Observed, bins: Bins) -> list[dict[str, Any]]:
    """Return for each fault the spans in which it was active, and how often it struck in each bin."""
    strikes, start_ns = observed.strikes, observed.metrics.start_ns
    if strikes is None:
        return []
    struck = [bins.zeros() for _ in strikes.names]
    for at_ns, fault in zip(strikes.at_ns, strikes.fault, strict=True):
        struck[fault][bins.place(at_ns)] += 1
    shown = []
    for place, name in enumerate(strikes.names):
        spans = [
            [round((band.from_ns - start_ns) / SECOND_NS, 3), round((band.to_ns - start_ns) / SECOND_NS, 3), band.actor]
            for band in strikes.bands
            if band.name == name
        ]
        shown.append(
            {
                "name": name,
                "kind": strikes.kinds[name],
                "count": sum(struck[place]),
                "struck": struck[place],
                "bands": spans[:_MAX_BANDS],
            }
        )
    return shown


def _kinds(metrics: Metrics, tau_s: float) -> list[dict[str, Any]]:
    """Return the figures of each function, the most frequent first; the rarest are left out if there are too many."""
    rows: dict[str, list[int]] = {}
    for row in range(len(metrics)):
        rows.setdefault(metrics.kind_of(row).funcname, []).append(row)
    common = sorted(rows, key=lambda name: -len(rows[name]))[:_OTHER_KINDS]
    return [{"name": name, **_figures(metrics, rows[name], tau_s)} for name in common]


def _figures(metrics: Metrics, rows: list[int], tau_s: float) -> dict[str, Any]:
    waiting, running, slowdown, succeeded, retried = [], [], [], 0, 0
    for row in rows:
        if (waited_ns := metrics.waiting_ns(row)) != NEVER:
            waiting.append(waited_ns / SECOND_NS)
        retried += max(0, metrics.attempts[row] - 1)
        if metrics.state[row] == SUCCESS:
            succeeded += 1
            ran_s = metrics.running_ns(row) / SECOND_NS
            running.append(ran_s)
            slowdown.append(
                max(1.0, (metrics.ended_ns[row] - metrics.submitted_ns[row]) / SECOND_NS / max(ran_s, tau_s))
            )
    return {
        "count": len(rows),
        "succeeded": succeeded,
        "retried": retried,
        "waiting": msgspec.to_builtins(quantiles(waiting)),
        "running": msgspec.to_builtins(quantiles(running)),
        "slowdown": msgspec.to_builtins(quantiles(slowdown)),
    }


# ---------------------------------------------------------------- single processes
def _failed(observed: Observed) -> dict[str, Any]:
    """Return how many processes failed or were cancelled, and the first of them with their causes and timelines."""
    metrics, processes = observed.metrics, observed.world.processes
    ids = list(metrics.place)
    rows = [row for row, state in enumerate(metrics.state) if state in (FAILED, CANCELLED)]
    rows.sort(key=lambda row: metrics.ended_ns[row])
    shown = []
    for row in islice(rows, _FAILED):
        process = processes.get(ids[row])
        executor_id = metrics.executors[metrics.executor[row]] if metrics.executor[row] >= 0 else ""
        shown.append(
            {
                "id": ids[row],
                "function": metrics.kind_of(row).funcname,
                "executor": observed.name_of(executor_id) if executor_id else "",
                "attempts": metrics.attempts[row],
                "ended_s": (metrics.ended_ns[row] - metrics.start_ns) / SECOND_NS,
                "cause": "removed since" if process is None else observed.cause_of(process),
                "error": "" if process is None or not process.errors else error_text(process),
                "story": observed.story(ids[row]),
            }
        )
    return {"total": len(rows), "shown": shown}


def _slowest(observed: Observed) -> list[dict[str, Any]]:
    """Return the processes that waited longest, with their timelines."""
    metrics = observed.metrics
    best: list[tuple[int, int]] = []
    for row in range(len(metrics)):
        waited_ns = metrics.waiting_ns(row)
        if waited_ns > 0 and (len(best) < _SLOWEST or waited_ns > -best[-1][0]):
            best.insert(bisect_right(best, (-waited_ns, row)), (-waited_ns, row))
            del best[_SLOWEST:]
    ids = list(metrics.place)
    return [
        {
            "id": ids[row],
            "function": metrics.kind_of(row).funcname,
            "waiting_s": -waited_ns / SECOND_NS,
            "story": observed.story(ids[row]),
        }
        for waited_ns, row in best
    ]
