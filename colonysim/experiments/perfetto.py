"""Export a run in Chrome's trace format for the Perfetto viewer: executors as threads, queues as counters."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import msgspec

from colonysim.core.records import WAITING, ProcessState
from colonysim.experiments.report import Bins
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
    yield from _names(run)
    yield from _attempts(run)
    yield from _counters(run)
    yield from _bands(run)


def _us(run: Run, time_ns: int) -> float:
    return (time_ns - run.start_ns) / 1000


def _groups(run: Run) -> dict[str, int]:
    groups: dict[str, int] = {}
    for executor in run.fleet.executors:
        groups.setdefault(executor.model.group.name, _FIRST_GROUP + len(groups))
    return groups


def _names(run: Run) -> Iterator[dict[str, Any]]:
    groups = _groups(run)
    for number, name in ((_QUEUES, "queues"), (_FAULTS, "faults"), *((n, f"executors {g}") for g, n in groups.items())):
        yield {"ph": "M", "name": "process_name", "pid": number, "tid": 0, "args": {"name": name}}
    used = dict.fromkeys(run.metrics.executors)
    for executor in run.fleet.executors:
        if executor.id in used:
            group = groups[executor.model.group.name]
            called = {"name": executor.name}
            yield {"ph": "M", "name": "thread_name", "pid": group, "tid": executor.number + 1, "args": called}


def _attempts(run: Run) -> Iterator[dict[str, Any]]:
    """Yield each attempt at a process as a slice on the track of its executor."""
    metrics, groups, ids = run.metrics, _groups(run), list(run.metrics.place)
    owners = [run.fleet.by_id.get(executor_id) for executor_id in metrics.executors]
    columns = (metrics.run_process, metrics.run_executor, metrics.run_start_ns, metrics.run_end_ns, metrics.run_outcome)
    for row, place, start_ns, end_ns, outcome in zip(*columns, strict=True):
        owner = owners[place]
        if owner is None:
            continue
        ended = _OUTCOMES.get(outcome, "removed")
        yield {
            "ph": "X",
            "name": metrics.kinds[metrics.kind[row]].funcname,
            "cat": ended,
            "pid": groups[owner.model.group.name],
            "tid": owner.number + 1,
            "ts": _us(run, start_ns),
            "dur": (end_ns - start_ns) / 1000,
            "args": {"process": ids[row], "ended": ended},
        }


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


def _bands(run: Run) -> Iterator[dict[str, Any]]:
    places = {name: place for place, name in enumerate(run.strikes.names, 1)}
    for name, place in places.items():
        yield {"ph": "M", "name": "thread_name", "pid": _FAULTS, "tid": place, "args": {"name": name}}
    for band in run.strikes.bands:
        event = {"name": band.name, "cat": band.kind, "pid": _FAULTS, "tid": places[band.name]}
        event |= {"ts": _us(run, band.from_ns), "args": {"actor": band.actor}}
        if band.to_ns > band.from_ns:
            yield event | {"ph": "X", "dur": (band.to_ns - band.from_ns) / 1000}
        else:
            yield event | {"ph": "i", "s": "t"}
