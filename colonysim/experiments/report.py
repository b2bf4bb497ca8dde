"""Write reports of a run: a self-contained HTML page, the result as JSON, and the processes as CSV."""

from __future__ import annotations

import base64
import csv
import html
from bisect import bisect_right
from importlib import resources
from pathlib import Path
from typing import Any, Final

import msgspec

from colonysim.core.records import RUNNING, SECOND_NS, SUCCESS
from colonysim.evidence.causes import cause_of, error_text
from colonysim.kernel.clock import show_time
from colonysim.scenarios import metrics as figures
from colonysim.scenarios.metrics import COLUMNS, NEVER, Metrics, quantiles
from colonysim.scenarios.runner import Result, Run
from colonysim.scenarios.writer import as_text

MAX_ROWS: Final = 60
"""Up to this many executors have a row each; more are shown by group."""

_SLOWEST: Final = 15
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
def page_data(run: Run, command: str = "") -> dict[str, Any]:
    """Return the data of the HTML page. They are binned, so their size does not grow with the number of processes.

    `command`: the command that repeats the run.
    """
    result, metrics = run.result, run.metrics
    assert result is not None
    end_ns = max(run.sim.world.now_ns, run.start_ns + 1)
    bins = Bins(run.start_ns, end_ns, min(run.scenario.measure.bins, max(10, len(metrics.depth_at_ns))))
    return {
        "name": result.scenario,
        "about": run.scenario.about,
        "seed": result.seed,
        "digest": result.digest,
        "command": command,
        "scenario": as_text(run.scenario, run.scenario.base()),
        "start": show_time(run.start_ns),
        "start_ms": run.start_ns // 1_000_000,
        "storm_s": result.storm_s,
        "end_s": result.end_s,
        "bin_s": bins.width_ns / SECOND_NS,
        "bins": bins.count,
        "ok": result.ok,
        "summary": msgspec.to_builtins(result.summary),
        "notes": list(result.notes),
        "warnings": msgspec.to_builtins(result.warnings),
        "faults_struck": msgspec.to_builtins(result.faults),
        "findings": msgspec.to_builtins(result.findings),
        "failures": msgspec.to_builtins(result.failures),
        "causes": [msgspec.to_builtins(cause) | {"text": str(cause)} for cause in result.causes],
        "cost": msgspec.to_builtins(result.cost),
        **_depths(metrics, bins),
        **_flows(metrics, bins),
        "waiting": _waiting(metrics, bins),
        "executors": _executors(run, bins),
        "faults": _faults(run, bins),
        "kinds": _kinds(metrics, run.scenario.measure.tau_s),
        "slowest": _slowest(run),
    }


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


def _executors(run: Run, bins: Bins) -> dict[str, Any]:
    """Return how busy executors were in each bin, one row for each executor or group.

    If there are too many rows, the least busy are left out. `levels` has a byte for each row and bin: 255 is busy
    for the whole bin.
    """
    rows, row_of = _rows(run)
    busy = [[0] * bins.count for _ in rows]
    runs = [0] * len(rows)
    metrics = run.metrics
    attempts = [
        *zip(metrics.run_executor, metrics.run_start_ns, metrics.run_end_ns, strict=True),
        *_still_running(metrics, bins.start_ns + bins.count * bins.width_ns),
    ]
    for executor, start_ns, end_ns in attempts:
        row = row_of.get(metrics.executors[executor])
        if row is not None:
            runs[row] += 1
            _spread(busy[row], bins, start_ns, end_ns)
    shown = sorted(sorted(range(len(rows)), key=lambda row: -sum(busy[row]))[:MAX_ROWS])
    levels = bytearray()
    for row in shown:
        whole = bins.width_ns * rows[row][1]
        levels += bytes(min(255, round(255 * part / whole)) for part in busy[row])
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
        "levels": base64.b64encode(bytes(levels)).decode(),
    }


def _rows(run: Run) -> tuple[list[tuple[str, int]], dict[str, int]]:
    """Return the rows as (name, number of executors), and the row of each executor id."""
    executors = run.fleet.executors
    alone = len(executors) <= MAX_ROWS
    names: dict[str, int] = {}
    counts: list[int] = []
    row_of = {}
    for executor in executors:
        name = executor.name if alone else executor.model.group.name
        row = names.setdefault(name, len(names))
        if row == len(counts):
            counts.append(0)
        counts[row] += 1
        row_of[executor.id] = row
    return list(zip(names, counts, strict=True)), row_of


def _still_running(metrics: Metrics, end_ns: int) -> list[tuple[int, int, int]]:
    return [
        (metrics.executor[row], metrics.start_of_last_ns[row], end_ns)
        for row, state in enumerate(metrics.state)
        if state == RUNNING
    ]


def _spread(busy: list[int], bins: Bins, start_ns: int, end_ns: int) -> None:
    """Add a span of time to the bins it overlaps."""
    first, last = bins.place(start_ns), bins.place(end_ns)
    if first == last:
        busy[first] += end_ns - start_ns
        return
    busy[first] += bins.start_ns + (first + 1) * bins.width_ns - start_ns
    for place in range(first + 1, last):
        busy[place] += bins.width_ns
    busy[last] += end_ns - (bins.start_ns + last * bins.width_ns)


def _faults(run: Run, bins: Bins) -> list[dict[str, Any]]:
    """Return for each fault the spans in which it was active, and how often it struck in each bin."""
    strikes, start_ns, counts = run.strikes, run.start_ns, run.sim.faults.counts
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
                "count": counts.get(name, 0),
                "struck": struck[place],
                "bands": spans[:_MAX_BANDS],
            }
        )
    return shown


def _kinds(metrics: Metrics, tau_s: float) -> list[dict[str, Any]]:
    """Return the figures of each function, the most frequent first; the rarest are left out if there are too many."""
    rows: dict[str, list[int]] = {}
    for row, kind in enumerate(metrics.kind):
        rows.setdefault(metrics.kinds[kind].funcname, []).append(row)
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


def _slowest(run: Run) -> list[dict[str, Any]]:
    """Return the processes that waited longest, with their timelines."""
    metrics = run.metrics
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
            "function": metrics.kinds[metrics.kind[row]].funcname,
            "waiting_s": -waited_ns / SECOND_NS,
            "story": run.story(ids[row]),
        }
        for waited_ns, row in best
    ]


# ---------------------------------------------------------------- files
def html_page(run: Run, command: str = "") -> str:
    """Return the HTML page of a run, which needs no other files. `command`: the command that repeats the run."""
    template = resources.files("colonysim.experiments").joinpath("report.html").read_text(encoding="utf-8")
    data = msgspec.json.encode(page_data(run, command)).decode().replace("</", "<\\/").replace("<!--", "<\\!--")
    title = html.escape(run.scenario.name)
    return template.replace("__TITLE__", title, 1).replace("__DATA__", data, 1)


def write_html(run: Run, path: Path, command: str = "") -> None:
    """Write the HTML page of a run to a file. `command`: the command that repeats the run. Raises OSError."""
    path.write_text(html_page(run, command), encoding="utf-8")


def write_summary(result: Result, path: Path) -> None:
    """Write the whole result to a file as JSON. Raises OSError."""
    path.write_bytes(msgspec.json.format(msgspec.json.encode(result), indent=2) + b"\n")


def write_csv(run: Run, path: Path) -> None:
    """Write a CSV file with a line for each process: COLUMNS, why it ended without success, and its errors.

    A process that was removed has neither. Raises OSError.
    """

    def name_of(executor_id: str) -> str:
        executor = run.fleet.by_id.get(executor_id)
        return executor.name if executor is not None else executor_id

    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow((*COLUMNS, "cause", "error"))
        for row in figures.table(run.metrics, name_of, run.scenario.measure.tau_s):
            writer.writerow((*row, *_why(run, row[0])))


def _why(run: Run, process_id: str) -> tuple[str, str]:
    """Return the cause for which a process ended without success, and its errors; empty texts otherwise."""
    process, invariants = run.sim.world.processes.get(process_id), run.sim.observers.invariants
    if process is None:
        return "", ""
    cause = cause_of(process, "" if invariants is None else invariants.last_cause(process_id))
    return cause, error_text(process) if cause and process.errors else ""
