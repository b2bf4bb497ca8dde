"""Export a run in Chrome's trace format for the Perfetto viewer.

Executors are threads with a slice for each attempt at a process, and more threads for attempts that overlap: of an
executor with capacity, or after a crash that the server has not noticed yet. Waiting processes are asynchronous
slices, the edges of workflows are flows from the last attempt of a parent to the first of its child, queue depth and
running processes are counters.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import msgspec

from colonysim.core.records import WAITING, ProcessState
from colonysim.evidence.causes import error_text
from colonysim.reports.data import Bins
from colonysim.reports.metrics import NEVER
from colonysim.scenarios.runner import Run

_COUNTER_STEPS: Final = 20_000
_FAULTS: Final = 1
_QUEUES: Final = 2
_FIRST_GROUP: Final = 3
_OUTCOMES: Final = {state.value: state.name.lower() for state in ProcessState} | {WAITING: "given back"}


def write_perfetto(run: Run, path: Path) -> int:
    """Write the trace of a run to a file, one event at a time, and return the number of events."""
    encode = msgspec.json.Encoder().encode
    count = 0
    with path.open("wb") as stream:
        stream.write(b'{"displayTimeUnit":"ms","traceEvents":[\n')
        for event in events(run):
            stream.write((b",\n" if count else b"") + encode(event))
            count += 1
        stream.write(b"\n]}\n")
    return count


def events(run: Run) -> Iterator[dict[str, Any]]:
    """Yield all events of a run. Times are microseconds since its start."""
    tracks = _Tracks(run)
    yield from tracks.names()
    yield from _attempts(run, tracks)
    yield from _flows(run, tracks)
    yield from _waits(run)
    yield from _counters(run)
    yield from _bands(run, tracks)


def _us(run: Run, time_ns: int) -> float:
    return (time_ns - run.start_ns) / 1000


class _Tracks:
    """The tracks of the executors: `place` is the (process, thread) of each attempt, by its row.

    Slices of one thread must not overlap in part, so an attempt that begins before the last one of its executor has
    ended gets the executor's first free lane.
    """

    def __init__(self, run: Run) -> None:
        groups: dict[str, int] = {}
        for executor in run.fleet.executors:
            groups.setdefault(executor.model.group.name, _FIRST_GROUP + len(groups))
        self.groups = groups
        self.lanes: dict[tuple[str, int], tuple[int, int]] = {}  # executor id, lane: its process and thread
        self.place: dict[int, tuple[int, int]] = {}
        self._rows: dict[str, list[int]] = {}  # the attempts of each executor in the order of their starts
        self._label: dict[tuple[int, int], str] = {}
        metrics, ends = run.metrics, dict[tuple[str, int], int]()
        owners = [run.fleet.by_id.get(executor_id) for executor_id in metrics.executors]
        order = sorted(range(len(metrics.run_start_ns)), key=lambda row: (metrics.run_start_ns[row], row))
        for row in order:
            owner = owners[metrics.run_executor[row]]
            if owner is None:
                continue
            lane = 0
            while ends.get((owner.id, lane), NEVER) > metrics.run_start_ns[row]:
                lane += 1
            ends[owner.id, lane] = metrics.run_end_ns[row]
            track = self.lanes.get((owner.id, lane))
            if track is None:
                track = self.lanes[owner.id, lane] = groups[owner.model.group.name], len(self.lanes) + 1
                self._label[track] = owner.name if not lane else f"{owner.name} ({lane + 1})"
            self.place[row] = track
            self._rows.setdefault(owner.id, []).append(row)
        self._metrics = metrics

    def at(self, executor_id: str, time_ns: int) -> tuple[int, int] | None:
        """Return the track of the latest attempt of an executor that is under way at a time, else its first track."""
        starts, ends = self._metrics.run_start_ns, self._metrics.run_end_ns
        rows = self._rows.get(executor_id, [])
        place = bisect_right(rows, time_ns, key=starts.__getitem__)
        if place and ends[rows[place - 1]] > time_ns:
            return self.place[rows[place - 1]]
        return self.lanes.get((executor_id, 0))

    def names(self) -> Iterator[dict[str, Any]]:
        """Yield the events that name all processes and threads."""
        own = ((_QUEUES, "queues"), (_FAULTS, "faults"))
        for number, name in (*own, *((number, f"executors {group}") for group, number in self.groups.items())):
            yield {"ph": "M", "name": "process_name", "pid": number, "tid": 0, "args": {"name": name}}
        for (process, thread), name in self._label.items():
            yield {"ph": "M", "name": "thread_name", "pid": process, "tid": thread, "args": {"name": name}}


def _attempts(run: Run, tracks: _Tracks) -> Iterator[dict[str, Any]]:
    """Yield each attempt at a process as a slice on a track of its executor."""
    metrics, ids = run.metrics, list(run.metrics.place)
    for row, (process, thread) in tracks.place.items():
        of = metrics.run_process[row]
        ended = _OUTCOMES.get(metrics.run_outcome[row], "removed")
        start_ns = metrics.run_start_ns[row]
        yield {
            "ph": "X",
            "name": metrics.kind_of(of).funcname,
            "cat": ended,
            "pid": process,
            "tid": thread,
            "ts": _us(run, start_ns),
            "dur": (metrics.run_end_ns[row] - start_ns) / 1000,
            "args": {"process": ids[of], "ended": ended} | _why(run, ids[of], ended),
        }


def _why(run: Run, process_id: str, ended: str) -> dict[str, str]:
    process = run.sim.world.processes.get(process_id) if ended == "failed" else None
    return {} if process is None else {"error": error_text(process)}


def _flows(run: Run, tracks: _Tracks) -> Iterator[dict[str, Any]]:
    """Yield the edges of workflows: from the last attempt at a parent to the first one at its child."""
    metrics, processes = run.metrics, run.sim.world.processes
    first: dict[int, int] = {}
    last: dict[int, int] = {}
    for row in tracks.place:
        last[metrics.run_process[row]] = row
        first.setdefault(metrics.run_process[row], row)
    number = 0
    for process_id, child in metrics.place.items():
        process = processes.get(process_id)
        if process is None or child not in first:
            continue
        for parent_id in dict.fromkeys(process.parents):
            parent = metrics.place.get(parent_id, -1)
            if parent not in last:
                continue
            number += 1
            from_ns = max(metrics.run_start_ns[last[parent]], metrics.run_end_ns[last[parent]] - 1)
            yield _flow(run, "s", number, tracks.place[last[parent]], from_ns)
            to_ns = metrics.run_start_ns[first[child]]
            yield _flow(run, "f", number, tracks.place[first[child]], to_ns) | {"bp": "e"}


def _flow(run: Run, phase: str, number: int, track: tuple[int, int], time_ns: int) -> dict[str, Any]:
    """Return one end of a flow; it belongs to the slice that is active at that time."""
    event = {"ph": phase, "id": number, "name": "workflow", "cat": "workflow", "pid": track[0], "tid": track[1]}
    return event | {"ts": _us(run, time_ns)}


def _waits(run: Run) -> Iterator[dict[str, Any]]:
    """Yield the wait of each process before its first start, as an asynchronous slice."""
    metrics, now_ns = run.metrics, run.sim.world.now_ns
    for process_id, row in metrics.place.items():
        start_ns = metrics.eligible_ns[row]
        if start_ns == NEVER:
            continue
        ends = [time for time in (metrics.first_start_ns[row], metrics.ended_ns[row], now_ns) if time != NEVER]
        event = {
            "name": metrics.kind_of(row).funcname,
            "cat": "waiting",
            "id": row,
            "pid": _QUEUES,
            "tid": 0,
        }
        if ends[0] > start_ns:
            yield event | {"ph": "b", "ts": _us(run, start_ns), "args": {"process": process_id}}
            yield event | {"ph": "e", "ts": _us(run, ends[0])}


def _counters(run: Run) -> Iterator[dict[str, Any]]:
    """Yield queue depth and running processes, downsampled to the last values in each of many short intervals."""
    metrics = run.metrics
    bins = Bins(run.start_ns, max(run.sim.world.now_ns, run.start_ns + 1), _COUNTER_STEPS)
    last: dict[int, tuple[int, int, int]] = {}
    for at_ns, depth, running in zip(metrics.depth_at_ns, metrics.depth, metrics.running, strict=True):
        last[bins.place(at_ns)] = at_ns, depth, running
    for at_ns, depth, running in last.values():
        for name, value in (("queue depth", depth), ("running", running)):
            yield {
                "ph": "C", "name": name, "pid": _QUEUES, "tid": 0, "ts": _us(run, at_ns), "args": {name: value},
            }  # fmt: skip


def _bands(run: Run, tracks: _Tracks) -> Iterator[dict[str, Any]]:
    """Yield when each fault was active, and a mark on the slice of an executor that it struck, or else on its track.

    Like the attempts of an executor, times in which a fault is active that overlap have threads of their own.
    """
    ids = {executor.name: executor.id for executor in run.fleet.executors}
    lanes: dict[tuple[str, int], int] = {(name, 0): place for place, name in enumerate(run.strikes.names, 1)}
    ends: dict[tuple[str, int], int] = {}
    for (name, _), place in lanes.items():
        yield _thread_name(place, name)
    for band in sorted(run.strikes.bands, key=lambda band: band.from_ns):
        lane = 0
        while ends.get((band.name, lane), NEVER) > band.from_ns:
            lane += 1
        ends[band.name, lane] = band.to_ns
        place = lanes.get((band.name, lane), 0)
        if not place:
            place = lanes[band.name, lane] = len(lanes) + 1
            yield _thread_name(place, f"{band.name} ({lane + 1})")
        event = {"name": band.name, "cat": band.kind, "pid": _FAULTS, "tid": place}
        event |= {"ts": _us(run, band.from_ns), "args": {"actor": band.actor}}
        if band.to_ns > band.from_ns:
            yield event | {"ph": "X", "dur": (band.to_ns - band.from_ns) / 1000}
        else:
            yield event | {"ph": "i", "s": "t"}
        if (track := tracks.at(ids.get(band.actor, ""), band.from_ns)) is not None:
            pid, tid = track
            yield {"ph": "i", "s": "t", "name": band.kind, "pid": pid, "tid": tid, "ts": _us(run, band.from_ns)}


def _thread_name(thread: int, name: str) -> dict[str, Any]:
    return {"ph": "M", "name": "thread_name", "pid": _FAULTS, "tid": thread, "args": {"name": name}}
