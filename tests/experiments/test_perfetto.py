"""Traces for the Perfetto viewer: their events follow the rules of the format, and show all attempts."""

from __future__ import annotations

import json
from collections import defaultdict
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from colonysim.experiments import perfetto
from colonysim.faults import Crash, Times
from colonysim.scenarios.runner import Run
from colonysim.workloads.arrivals import Once
from colonysim.workloads.executors import ExecutorGroup
from colonysim.workloads.submissions import Diamond, Submission
from colonysim.workloads.workload import Workload
from tests.scenarios.test_runner import FAULTS, SMALL


@pytest.fixture(scope="module")
def done() -> Run:
    run = Run(replace(SMALL, faults=tuple(FAULTS)), 2)
    run.execute()
    return run


@pytest.fixture(scope="module")
def crashing() -> Run:
    """Workflows of executors that crash, and come back before the server has missed them."""
    workflow = Submission(workflow=Diamond(width=3), maxexectime=60, maxretries=5)
    run = Run(
        replace(
            SMALL,
            executors=(ExecutorGroup(name="x", count=2, service=20.0),),
            workload=(Workload(name="w", arrivals=Once(12), mix=(workflow,)),),
            faults=(Crash(name="crashes", actors="*", times=Times(mean_every_s=60), restart_after_s=1),),
        ),
        3,
    )
    run.execute()
    return run


def slices(run: Run) -> list[dict[str, Any]]:
    return [event for event in perfetto.events(run) if event["ph"] == "X" and event["pid"] >= 3]


def test_the_chrome_trace_has_a_slice_for_each_attempt(done: Run, tmp_path: Path) -> None:
    count = perfetto.write_perfetto(done, tmp_path / "p.json")
    events = json.loads((tmp_path / "p.json").read_text())["traceEvents"]
    assert len(events) == count
    slices = [event for event in events if event["ph"] == "X" and event["pid"] >= 3]
    assert len(slices) == len(done.metrics.run_start_ns)
    assert sum(event["dur"] for event in slices) * 1000 == pytest.approx(
        sum(done.metrics.run_end_ns) - sum(done.metrics.run_start_ns)
    )
    assert {"queue depth", "running"} <= {event["name"] for event in events if event["ph"] == "C"}
    assert {"executors x", "faults", "queues"} == {e["args"]["name"] for e in events if e["name"] == "process_name"}


def test_slices_of_a_thread_do_not_overlap(crashing: Run) -> None:
    threads = defaultdict(list)
    for event in slices(crashing):
        threads[event["pid"], event["tid"]].append((event["ts"], event["ts"] + event["dur"]))
    for spans in threads.values():
        for (_, end), (start, _) in pairwise(sorted(spans)):
            assert end <= start + 1e-3
    names = [event["args"]["name"] for event in perfetto.events(crashing) if event["name"] == "thread_name"]
    assert "x-1 (2)" in names, "no two attempts of one executor overlapped, so the test shows nothing"
    assert len(names) == len(set(names))


def test_the_edges_of_workflows_lead_from_slice_to_slice(crashing: Run) -> None:
    spans = defaultdict(list)
    for event in slices(crashing):
        spans[event["pid"], event["tid"]].append((event["ts"], event["ts"] + event["dur"], event["args"]["process"]))
    ends: dict[str, dict[int, str]] = {"s": {}, "f": {}}
    for event in perfetto.events(crashing):
        if event["ph"] in ends:
            around = [who for start, end, who in spans[event["pid"], event["tid"]] if start <= event["ts"] <= end]
            assert around
            ends[event["ph"]][event["id"]] = around[-1] if event["ph"] == "f" else around[0]
    assert ends["s"].keys() == ends["f"].keys()
    processes = crashing.sim.world.processes
    edges = {(ends["s"][number], ends["f"][number]) for number in ends["s"]}
    started = {event["args"]["process"] for event in slices(crashing)}
    assert edges == {
        (parent, one.process_id)
        for one in processes.values()
        for parent in one.parents
        if {parent, one.process_id} <= started
    }
    assert len(edges) > 20


def test_waits_begin_and_end_and_last_as_long_as_the_figures_say(crashing: Run) -> None:
    begun, lengths = {}, {}
    for event in perfetto.events(crashing):
        if event["ph"] == "b":
            begun[event["id"]] = event["ts"]
        elif event["ph"] == "e":
            lengths[event["id"]] = event["ts"] - begun[event["id"]]
    assert begun.keys() == lengths.keys()
    for row, length in lengths.items():
        assert length * 1000 == pytest.approx(crashing.metrics.waiting_ns(row), abs=1000)
    assert lengths


def test_a_crash_is_marked_on_the_track_of_the_executor(crashing: Run) -> None:
    marks = [event for event in perfetto.events(crashing) if event["ph"] == "i" and event["name"] == "crash"]
    assert len(marks) >= crashing.fleet.crashes > 3
    assert {mark["pid"] for mark in marks} == {3}
