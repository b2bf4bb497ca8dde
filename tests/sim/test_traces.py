"""Recorded workloads: SWF, WfFormat and CSV, and what is said of files that are none."""

from __future__ import annotations

import gzip
import io
import json
import pickle
from pathlib import Path

import pytest

from colonysim.sim import traces
from colonysim.sim.traces import BadTrace, census, plain, swf
from colonysim.sim.traces.record import TraceRecord

ARCHIVE = Path(__file__).parents[3] / "shared" / "traces"

SWF = """; Version: 2.2
; Partition:  1 grid.example.org
; Partition:  2 other.example.org
;
  1    0  -1   83  1 -1 -1 -1 1200 -1 -1 7 1 -1 -1 1 -1 -1
  2   10  -1   20  4 -1 -1  4  100 -1 -1 8 1  3 -1 2 -1 -1
  3   20  -1   -1  1 -1 -1 -1  100 -1  5 8 1  3 -1 2 -1 -1
  4   30  -1    5 -1 -1 -1  2   -1 -1 -1 -1 1 -1 -1 -1 -1 -1
"""


def written(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    if name.endswith(".gz"):
        path.write_bytes(gzip.compress(text.encode()))
    else:
        path.write_text(text)
    return path


@pytest.mark.parametrize("name", ["log.swf", "log.swf.gz"])
def test_swf_is_read_compressed_or_not(tmp_path: Path, name: str) -> None:
    records = list(traces.read(written(tmp_path, name, SWF)))
    assert records == [
        TraceRecord(0.0, 83.0, "7", "1", 1, 1200.0),
        TraceRecord(10.0, 20.0, "8", "2", 4, 100.0, "3"),
        TraceRecord(30.0, 5.0, "", "", 2, -1.0),  # the third never ran
    ]
    assert swf.sites(tmp_path / name) == {"1": "grid.example.org", "2": "other.example.org"}


@pytest.mark.parametrize(
    ("name", "text", "line", "words"),
    [
        ("a.swf", SWF + "5 40 -1 3\n", 9, "4 columns; a line has 18 numbers"),
        ("a.swf", SWF.replace("83", "soon"), 5, "no number"),
        ("a.swf", SWF + "5 25 -1 3 1 -1 -1 -1 1 -1 -1 1 1 -1 -1 1 -1 -1\n", 9, "sort the lines"),
        ("a.csv", "submit_s,duration\n", 1, "no column 'run_s'"),
        ("a.csv", "submit_s,run_s,colour\n", 1, "colour"),
        ("a.csv", "submit_s,run_s\n0,1\n2\n", 3, "1 columns; the header has 2"),
        ("a.csv", "submit_s,run_s\n0,soon\n", 2, "numbers of seconds"),
        ("a.csv", "submit_s,run_s\n5,1\n4,1\n", 3, "sort the rows"),
        ("a.csv", "submit_s,run_s\n5,-1\n", 2, "below zero"),
        ("a.json", "{}", 0, "no WfFormat"),
        ("a.xlsx", "", 0, "name it .swf"),
    ],
)
def test_what_is_wrong_is_told_with_file_line_and_fix(
    tmp_path: Path, name: str, text: str, line: int, words: str
) -> None:
    path = written(tmp_path, name, text)
    with pytest.raises(BadTrace) as told:
        list(traces.read(path))
    assert str(told.value).startswith(f"{path}:{line}: " if line else f"{path}: ")
    assert words in str(told.value)
    assert told.value.line == line
    assert str(told.value) == str(pickle.loads(pickle.dumps(told.value)))


def test_a_damaged_file_and_one_that_is_not_there_are_told(tmp_path: Path) -> None:
    path = written(tmp_path, "a.swf.gz", SWF)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(BadTrace, match="damaged"):
        list(traces.read(path))
    with pytest.raises(BadTrace, match=r"nowhere\.swf: cannot be read"):
        list(traces.read(tmp_path / "nowhere.swf"))


def test_csv_comes_back_as_it_was_written(tmp_path: Path) -> None:
    records = [TraceRecord(0.0, 1.5, "me", "here", 2, 10.0, "f"), TraceRecord(2.25, 3.0)]
    stream = io.StringIO()
    assert plain.write(records, stream) == 2
    assert list(traces.read(written(tmp_path, "a.csv", stream.getvalue()))) == records


def workflow(**changes: object) -> str:
    listed = [
        {"id": "a", "name": "a", "parents": [], "children": ["b", "c"]},
        {"id": "b", "name": "b", "parents": ["a"], "children": []},
        {"id": "c", "name": "c", "parents": [], "children": []},
    ]
    ran = [
        {"id": "a", "runtimeInSeconds": 1.5, "command": {"program": "prepare"}},
        {"id": "b", "runtimeInSeconds": 2},
        {"id": "c", "runtimeInSeconds": 3},
    ]
    parts = {"listed": listed, "ran": ran} | changes
    specification, execution = {"tasks": parts["listed"]}, {"tasks": parts["ran"], "makespanInSeconds": 9}
    return json.dumps({"name": "w", "workflow": {"specification": specification, "execution": execution}})


def test_wfformat_gives_what_depends_on_what(tmp_path: Path) -> None:
    recorded = traces.read_workflow(written(tmp_path, "w.json.gz", workflow()))
    assert [(node.name, node.funcname, node.after, node.run_s) for node in recorded.nodes] == [
        ("a", "prepare", (), 1.5),
        ("b", "b", ("a",), 2),
        ("c", "c", ("a",), 3),  # told by its parent alone
    ]
    assert recorded.makespan_s == 9
    assert recorded.depth() == 2


def test_a_workflow_with_holes_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path, "w.json", workflow(ran=[{"id": "a", "runtimeInSeconds": 1}]))
    with pytest.raises(BadTrace, match=r"'b' is missing in workflow\.execution"):
        traces.read_workflow(path)


def test_a_census_counts_in_one_pass(tmp_path: Path) -> None:
    taken = census.take(traces.read(written(tmp_path, "a.swf", SWF)))
    assert (taken.processes, taken.span_s, taken.users, taken.sites) == (3, 30, 2, 2)
    assert taken.work_s == 83 + 80 + 10
    assert taken.run_s.max == 83
    assert taken.busiest_sites == [("1", 1), ("2", 1)]
    assert census.take([]).processes == 0


@pytest.mark.skipif(not ARCHIVE.exists(), reason="no recorded workloads in ../shared/traces beside the clone")
def test_the_recorded_workloads_of_the_archives_are_read() -> None:
    grid = census.take(traces.read(ARCHIVE / "LCG.swf.gz"))
    assert (grid.processes, grid.sites, grid.users) == (188_041, 170, 216)
    for path in sorted((ARCHIVE / "wfformat").glob("*.gz")):
        assert len(traces.read_workflow(path).nodes) >= 10
