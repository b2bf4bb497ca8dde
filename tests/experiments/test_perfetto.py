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
from colonysim.scenarios.scenario import Scenario
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


def test_an_executor_with_slots_has_a_thread_for_each_of_them() -> None:
    group = ExecutorGroup(name="x", slots=3, service=10.0)
    run = Run(Scenario(executors=(group,), workload=(Workload(name="w", arrivals=Once(7)),)))
    run.execute()
    names = [event["args"]["name"] for event in perfetto.events(run) if event["name"] == "thread_name"]
    assert names == ["x", "x (2)", "x (3)"]
    assert sorted(event["ts"] for event in slices(run)) == [0, 0, 0, 10e6, 10e6, 10e6, 20e6]


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
    crashed = {(time_ns - crashing.start_ns) / 1000 for times in crashing.fleet.dropped.values() for time_ns in times}
    at_work = [mark for mark in marks if mark["ts"] in crashed]
    assert len(at_work) == len(crashed) > 3
    threads = set()
    for mark in at_work:
        mine = [one for one in slices(crashing) if (one["pid"], one["tid"]) == (mark["pid"], mark["tid"])]
        assert any(one["ts"] <= mark["ts"] < one["ts"] + one["dur"] for one in mine), "the mark is beside the slice"
        threads.add(mark["tid"])
    names = {
        event["tid"]: event["args"]["name"] for event in perfetto.events(crashing) if event["name"] == "thread_name"
    }
    assert any(names[thread].endswith(")") for thread in threads), "no crash struck a second attempt"


# ---------------------------------------------------------------- the rules of the format
PHASES = {"M": {"args"}, "X": {"ts", "dur"}, "i": {"ts", "s"}, "C": {"ts", "args"}, "b": {"ts", "id", "cat"}, "e": {"ts", "id", "cat"},
          "s": {"ts", "id", "cat"}, "f": {"ts", "id", "cat", "bp"}}  # fmt: skip
"""The phases that are used, and the fields that the viewer needs for each, beside ph, name, pid and tid."""


def broken_rules(events: list[dict[str, Any]]) -> set[str]:
    """Which rules of Chrome's trace format events break: those that the importer of Perfetto complains about or hides.

    Perfetto's own trace processor is loaded from the network when it is first used, so it cannot be asked here.
    """
    broken = set()
    named: set[tuple[str, int, int]] = set()
    threads: dict[tuple[int, int], list[tuple[float, float]]] = defaultdict(list)
    open_waits: dict[tuple[str, int], float] = {}
    flows: dict[int, list[dict[str, Any]]] = defaultdict(list)
    for event in events:
        phase = event.get("ph", "")
        if not {"ph", "name", "pid", "tid", *PHASES.get(phase, {"unknown phase"})} <= event.keys():
            broken.add("a field is missing")
            continue
        if phase == "M":
            named.add((event["name"], event["pid"], event["tid"] if event["name"] == "thread_name" else 0))
            continue
        if event["ts"] < 0 or event.get("dur", 0) < 0:
            broken.add("a time is negative")
        key = event.get("cat", ""), event.get("id", 0)
        if phase == "X":
            threads[event["pid"], event["tid"]].append((event["ts"], event["ts"] + event["dur"]))
        elif phase == "C" and not all(isinstance(value, (int, float)) for value in event["args"].values()):
            broken.add("a counter is no number")
        elif phase == "b":
            if key in open_waits:
                broken.add("two asynchronous slices with one id overlap")
            open_waits[key] = event["ts"]
        elif phase == "e" and (key not in open_waits or open_waits.pop(key) > event["ts"]):
            broken.add("an asynchronous slice ends before it begins")
        elif phase in "sf":
            flows[event["id"]].append(event)
    if open_waits:
        broken.add("an asynchronous slice has no end")
    for (process, thread), spans in threads.items():
        if ("process_name", process, 0) not in named or ("thread_name", process, thread) not in named:
            broken.add("a track has no name")
        ends: list[float] = []
        for start, end in sorted(spans, key=lambda span: (span[0], -span[1])):
            while ends and ends[-1] <= start + 1e-3:
                ends.pop()
            if ends and end > ends[-1] + 1e-3:
                broken.add("two slices overlap without being nested")
            ends.append(end)
    for ends_of_flow in flows.values():
        if [one["ph"] for one in ends_of_flow] != ["s", "f"] or ends_of_flow[0]["ts"] > ends_of_flow[1]["ts"]:
            broken.add("a flow does not lead forward from one begin to one end")
        for one in ends_of_flow:
            if not any(start <= one["ts"] <= end for start, end in threads[one["pid"], one["tid"]]):
                broken.add("a flow is bound to no slice")
    return broken


@pytest.mark.parametrize("name", ["done", "crashing"])
def test_a_trace_keeps_the_rules_of_its_format(name: str, request: pytest.FixtureRequest) -> None:
    assert broken_rules(list(perfetto.events(request.getfixturevalue(name)))) == set()


@pytest.mark.parametrize(
    ("rule", "phase", "change"),
    [
        ("a field is missing", "X", {"ph": "Y"}),
        ("a time is negative", "X", {"dur": -1.0}),
        ("a counter is no number", "C", {"args": {"queue depth": "3"}}),
        ("an asynchronous slice has no end", "b", {"id": 999_999}),
        ("a track has no name", "X", {"tid": 999_999}),
        ("two slices overlap without being nested", "X", {"ts": 10e6, "dur": 15e6}),
        ("a flow does not lead forward from one begin to one end", "f", {"id": 999_999}),
        ("a flow is bound to no slice", "f", {"tid": 999_999}),
    ],
)
def test_a_broken_rule_is_found(rule: str, phase: str, change: dict[str, Any], crashing: Run) -> None:
    events = list(perfetto.events(crashing))
    place = [place for place, event in enumerate(events) if event["ph"] == phase and event["pid"] != 1][-1]
    events[place] = events[place] | change
    assert rule in broken_rules(events)
