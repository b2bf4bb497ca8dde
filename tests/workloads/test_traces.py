"""Recorded workloads: SWF, WfFormat and CSV, and what is said of files that are none."""

from __future__ import annotations

import bz2
import contextlib
import gzip
import io
import json
import lzma
import pickle
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from colonysim import traces
from colonysim.traces import BadTrace, files, plain, swf
from colonysim.traces.record import TraceRecord

SWF = """; Version: 2.2
; Partition:  1 grid.example.org
; Partition:  2 other.example.org
;
  1    0  -1   83  1 -1 -1 -1 1200 -1 -1 7 1 -1 -1 1 -1 -1
  2   10  -1   20  4 -1 -1  4  100 -1 -1 8 1  3 -1 2 -1 -1
  3   20  -1   -1  1 -1 -1 -1  100 -1  5 8 1  3 -1 2 -1 -1
  4   30  -1    5 -1 -1 -1  2   -1 -1 -1 -1 1 -1 -1 -1 -1 -1
"""


def row(submit: str = "40", run: str = "5", processors: str = "1", requested: str = "-1", status: str = "1") -> str:
    return f"9 {submit} -1 {run} {processors} -1 -1 -1 {requested} -1 {status} 7 1 -1 -1 -1 -1 -1\n"


def written(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    if name.endswith(".gz"):
        path.write_bytes(gzip.compress(text.encode()))
    else:
        path.write_bytes(text.encode())
    return path


@pytest.mark.parametrize("name", ["log.swf", "log.swf.gz"])
def test_swf_is_read_compressed_or_not(tmp_path: Path, name: str) -> None:
    records = list(traces.read(written(tmp_path, name, SWF)))
    assert records == [
        TraceRecord(0.0, 83.0, "7", "1", 1, 1200.0, job="1"),
        TraceRecord(10.0, 20.0, "8", "2", 4, 100.0, "3", job="2"),
        TraceRecord(30.0, 5.0, "", "", 2, -1.0, job="4"),  # the third never ran
    ]
    assert swf.sites(tmp_path / name) == {"1": "grid.example.org", "2": "other.example.org"}


@pytest.mark.parametrize(
    ("name", "text", "line", "words"),
    [
        ("a.swf", SWF + "5 40 -1 3\n", 9, "4 columns; a line has 18 numbers"),
        ("a.swf", SWF.replace("83", "soon"), 5, "not a number"),
        ("a.csv", "submit_s,duration\n", 1, "no column 'run_s'"),
        ("a.csv", "submit_s,run_s,colour\n", 1, "colour"),
        ("a.csv", "submit_s,run_s\n0,1\n2\n", 3, "it has 1 columns, the header 2"),
        ("a.csv", "submit_s,run_s\n0,soon\n", 2, "numbers of seconds"),
        ("a.csv", "submit_s,run_s\n5,-1\n", 2, "below zero"),
        ("a.json", "{}", 0, "not WfFormat"),
        ("a.json", "{\n!", 2, "not WfFormat"),
        ("a.swf", SWF + row(submit="nan"), 9, "the submit time is 'nan', which is not a number"),
        ("a.swf", SWF + row(submit="-3"), 9, "the submit time is -3, which is below zero"),
        (
            "a.swf",
            SWF + row(submit="1e12"),
            9,
            "the submit time is 1,000,000,000,000, which is more than 253,402,300,799",
        ),
        ("a.swf", SWF + row(run="inf"), 9, "the run time is 'inf', which is not a number"),
        ("a.swf", SWF + row(run="1e400"), 9, "the run time is inf, which is more than 1,000,000,000"),
        ("a.swf", SWF + row(run="-2"), 9, "the run time is -2, which is below zero"),
        ("a.swf", SWF + row(run="1_0"), 9, "'1_0', which is not a number"),
        ("a.swf", SWF + row(run="\N{ARABIC-INDIC DIGIT ONE}"), 9, "which is not a number"),
        ("a.swf", SWF + row(processors="9" * 30), 9, "the number of processors is 1e+30, which is more than"),
        ("a.swf", SWF + row(processors="-3"), 9, "the number of processors is -3, which is below zero"),
        ("a.swf", SWF + row(requested="x"), 9, "the requested time is 'x', which is not a number"),
        ("a.swf", SWF + row(requested="-7"), 9, "the requested time is -7, which is below zero"),
        ("a.swf", SWF + row(status="done"), 9, "the status is 'done', which is not a number"),
        ("a.swf", SWF.replace(";\n", "Job Submit Wait\n") + "a b c\n", 9, "3 columns"),
        ("a.swf", row() + "; " + "x" * 70_000, 2, "more than 65,536 bytes"),
        ("a.swf", row() + "\0\n", 2, "NUL byte"),
        ("a.swf", row().strip() + " 1\n", 1, "19 columns"),
        ("a.swf", "", 0, "it has no processes; fetch it again"),
        ("a.swf", "\r\r\r", 0, "it has no processes"),
        ("a.swf", "; Version: 2.2\n", 0, "it has no processes"),
        ("a.swf", row(run="-1"), 0, "it has no process that ran (1 of 1 rows were skipped: the job never ran"),
        ("a.csv", "", 1, "no column 'submit_s'"),
        ("a.csv", "submit_s,run_s\n", 0, "it has no processes"),
        ("a.csv", "submit_s,run_s\n0,inf\n", 2, "run_s is 'inf', which is not a number"),
        ("a.csv", "submit_s,run_s\n0,1\n\n9e99,1\n", 4, "submit_s is 9e+99, which is more than"),
        ("a.csv", "submit_s,run_s,processors\n0,1,0\n", 2, "a whole number, at least 1"),
        ("a.csv", "submit_s,run_s,processors\n0,1,2.5\n", 2, "a whole number, at least 1"),
        ("a.csv", "submit_s,run_s,processors\n0,1,-3\n", 2, "below zero"),
        ("a.csv", "submit_s,run_s,requested_s\n0,1,-3\n", 2, "below zero"),
        ("a.csv", "submit_s;run_s\n0;1\n", 1, "separated by semicolons; separate them by commas"),
        ("a.csv", "submit_s\trun_s\n0\t1\n", 1, "separated by tabs"),
        ("a.csv", "submit_s,run_s,Run_S\n", 1, "column 'run_s' is there twice"),
        ("a.csv", "submit_s,run_s,\n", 1, "unknown column ''"),
        ("a.csv", 'submit_s,run_s,user\n0,1,"me\n0,1,you\n', 3, "close each quotation mark"),
        ("a.csv", "submit_s,run_s,user\n0,1," + "x" * 140_000, 2, "more than 65,536 bytes"),
        ("a.csv", 'submit_s,run_s,user\n0,1,"' + ("x" * 60_000 + "\n") * 4, 4, "field larger than field limit"),
        ("a.json", "[", 0, "not WfFormat"),
        ("a.json", '{"workflow":\n\n!}', 3, "not WfFormat"),
        ("a.json", '{"workflow": {"x": ' + "[" * 100_000, 0, "nested too deeply"),
        ("a.json", '{"workflow": {"specification": {"tasks": []}}}', 0, "nor workflow.tasks (1.3, 1.4)"),
        ("a.json", '{"workflow": {"tasks": []}}', 0, "it has no processes"),
        ("a.xlsx", "", 0, "name it .swf"),
    ],
)
def test_what_is_wrong_is_told_with_file_line_and_fix(
    tmp_path: Path, name: str, text: str, line: int, words: str
) -> None:
    path = written(tmp_path, name, text)
    with pytest.raises(BadTrace) as told:
        traces.load(path)
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


PACKED: dict[str, Callable[[bytes], bytes]] = {"gz": gzip.compress, "bz2": bz2.compress, "xz": lzma.compress}


def zipped(files: dict[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return stream.getvalue()


@pytest.mark.parametrize("name", ["log.swf", "LOG.SWF", "log.txt"])
@pytest.mark.parametrize("packing", ["", *PACKED, "zip"])
@pytest.mark.parametrize("upper", [False, True])
def test_a_trace_is_read_however_it_is_packed_and_spelled(tmp_path: Path, name: str, packing: str, upper: bool) -> None:
    data = SWF.encode()
    data = zipped({name: data}) if packing == "zip" else PACKED.get(packing, bytes)(data)
    full = f"{name}.{packing}" if packing else name
    path = tmp_path / (full.upper() if upper else full)
    path.write_bytes(data)
    assert len(traces.load(path).records) == 3


def test_the_file_in_a_zip_tells_the_format_where_the_zip_does_not(tmp_path: Path) -> None:
    path = tmp_path / "log.zip"
    path.write_bytes(zipped({"__MACOSX/._x.csv": b"", "deep/X.CSV": b"submit_s,run_s\n0,1\n"}))
    assert traces.load(path).records == [TraceRecord(0.0, 1.0)]
    path.write_bytes(zipped({"a.swf": b"", "b.swf": b""}))
    with pytest.raises(BadTrace, match="has 2 files, not one; unpack it"):
        traces.load(path)


@pytest.mark.parametrize("packing", [*PACKED, "zip"])
def test_a_packed_file_that_is_cut_short_or_altered_is_told(tmp_path: Path, packing: str) -> None:
    text = "".join(row(submit=str(n * n % 977)) for n in range(2000)).encode()
    whole = zipped({"a.swf": text}) if packing == "zip" else PACKED[packing](text)
    path = tmp_path / f"a.swf.{packing}"
    altered = bytes(
        byte ^ 0x55 if len(whole) // 3 < place < len(whole) // 2 else byte for place, byte in enumerate(whole)
    )
    for data in (whole[: len(whole) * 2 // 3], whole[:7], altered):
        path.write_bytes(data)
        with pytest.raises(BadTrace, match="damaged"):
            traces.load(path)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"\x28\xb5\x2f\xfd1234", "compressed by Zstandard"),
        (b"7z\xbc\xaf\x27\x1c", "compressed by 7-Zip"),
        (SWF.encode("utf-16"), "UTF-16; save it as UTF-8"),
    ],
)
def test_what_cannot_be_read_at_all_is_called_by_its_name(tmp_path: Path, data: bytes, words: str) -> None:
    path = tmp_path / "a.swf"
    path.write_bytes(data)
    with pytest.raises(BadTrace, match=words):
        traces.load(path)


def test_csv_that_is_not_utf_8_is_told_by_line(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(b"submit_s,run_s,user\n0,1,me\n0,1,\xe5ke\n")
    with pytest.raises(BadTrace, match=r"a\.csv:3: byte 0xe5 is not UTF-8; save it as UTF-8"):
        traces.load(path)


@pytest.mark.parametrize("name", ["a.swf", "a.csv", "a.json"])
@pytest.mark.parametrize("packing", PACKED)
def test_one_line_without_end_takes_little_memory(
    tmp_path: Path, name: str, packing: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "MAX_DOCUMENT", 3_000_000)
    path = tmp_path / f"{name}.{packing}"
    path.write_bytes(PACKED[packing](b" " * 40_000_000))
    tracemalloc.start()
    try:
        with pytest.raises(BadTrace, match="more than"):
            traces.load(path)
        assert tracemalloc.get_traced_memory()[1] < 20_000_000
    finally:
        tracemalloc.stop()


def test_many_lines_are_read_no_further_than_the_bound_of_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "MAX_UNPACKED", 1_000_000)
    path = tmp_path / "a.swf.gz"
    path.write_bytes(gzip.compress(b"; nothing\n" * 200_000))
    with pytest.raises(BadTrace, match="more than 1,000,000 bytes when unpacked"):
        traces.load(path)


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_lines_end_as_on_any_system_and_a_byte_order_mark_is_skipped(tmp_path: Path, end: str, mark: str) -> None:
    many = mark + SWF.replace("\n", end) + row().replace("\n", end) * 9_000
    assert len(traces.load(written(tmp_path, "a.swf", many)).records) == 9_003
    assert [line for line in files.lines_of(tmp_path / "a.swf") if line][:4] == SWF.splitlines()[:4]
    csv = mark + f"submit_s,run_s{end}0,1{end}"
    assert traces.load(written(tmp_path, "a.csv", csv)).records == [TraceRecord(0.0, 1.0)]


def test_columns_of_csv_are_found_in_any_case_and_between_blanks(tmp_path: Path) -> None:
    path = written(tmp_path, "a.csv", " Run_S , SUBMIT_S,user\n 1.5 , 2 , me \n")
    assert traces.load(path).records == [TraceRecord(2.0, 1.5, "me")]


def test_rows_out_of_order_are_sorted_in_a_stable_way_and_said(tmp_path: Path) -> None:
    path = written(tmp_path, "a.csv", "submit_s,run_s\n5,1\n4,2\n4,3\n5,4\n")
    recording = traces.load(path)
    assert [record.run_s for record in recording.records] == [2, 3, 1, 4]
    assert recording.notes == (
        "the rows were not in the order of submission and have been sorted (line 3 was submitted before the row above it)",
    )
    assert traces.load(path, first=1).notes == ()


def test_rows_that_are_left_out_and_columns_without_effect_are_counted(tmp_path: Path) -> None:
    text = "Job Submit Wait Run Processors\n" + SWF + row(status="0") + row(status="2") + row(status="3")
    text += row().replace("-1 -1\n", "4 60\n")
    recording = traces.load(written(tmp_path, "a.swf", text))
    assert len(recording.records) == 5
    assert recording.notes == (
        "line 1 is a header row and was skipped",
        "1 of 8 rows were skipped: the job never ran (run time -1)",
        "2 of 8 rows were skipped: parts of an interrupted job (status 2, 3 or 4), which has a row for the whole",
        "1 of 8 rows have the status failed or cancelled, which has no effect",
        "1 of 8 rows name a preceding job, which has no effect, nor has think time",
        "2 of 5 processes had more than one processor; each counts as one",
    )


def test_a_piece_is_cut_out_of_the_file_as_it_stands(tmp_path: Path) -> None:
    path = written(tmp_path, "a.csv", "submit_s,run_s\n0,1\n1,2\n2,3\n3,bad\n")
    assert [record.run_s for record in traces.load(path, first=1, count=2).records] == [2, 3]
    short = written(tmp_path, "b.csv", "submit_s,run_s\n0,1\n")
    with pytest.raises(BadTrace, match="it ends before `first`: 5 of 1 are skipped; give a smaller `first`"):
        traces.load(short, first=5)


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


def older(version: str) -> str:
    """A chain as WfFormat 1.2, 1.3 and 1.4 have it: parents by name or by id."""
    runtime = "runtimeInSeconds" if version == "1.4" else "runtime"
    listed = [
        {
            "id": f"ID{n}",
            "name": f"step_ID{n}",
            "parents": [f"step_ID{n - 1}"] if n else [],
            runtime: n + 0.5,
            "cores": 2,
        }
        for n in range(3)
    ]
    listed[2]["parents"] = ["ID1"]
    listed[1]["command"] = {"program": "second"}
    makespan = "makespanInSeconds" if version == "1.4" else "makespan"
    name = "jobs" if version == "1.2" else "tasks"
    return json.dumps({"name": "w", "schemaVersion": version, "workflow": {name: listed, makespan: 9}})


@pytest.mark.parametrize("version", ["1.2", "1.3", "1.4"])
def test_older_wfformat_gives_the_same(tmp_path: Path, version: str) -> None:
    recorded = traces.read_workflow(written(tmp_path, "w.json", older(version)))
    assert [(node.name, node.funcname, node.after, node.run_s) for node in recorded.nodes] == [
        ("ID0", "step_ID0", (), 0.5),
        ("ID1", "second", ("ID0",), 1.5),
        ("ID2", "step_ID2", ("ID1",), 2.5),
    ]
    assert (recorded.makespan_s, recorded.depth()) == (9, 3)
    assert recorded.notes == ["3 of 3 processes had more than one processor; each counts as one"]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"listed": [{"id": "a"}, {"id": "a"}]}, "two processes in workflow.specification are called 'a'"),
        ({"ran": [{"id": "a", "runtimeInSeconds": 1}] * 2}, "two processes in workflow.execution are called 'a'"),
        ({"listed": [{"id": "a", "parents": ["nobody"]}]}, "'nobody', which 'a' refers to, is not a process"),
        ({"listed": [{"id": "a", "children": ["nobody"]}]}, "'nobody', which 'a' refers to, is not a process"),
        ({"listed": [{"id": "a", "parents": ["a"]}]}, "wait for each other: a → a"),
        (
            {"listed": [{"id": "a", "parents": ["c"]}, {"id": "b", "parents": ["a"]}, {"id": "c", "parents": ["b"]}]},
            "wait for each other: a → c → b → a",
        ),
        (
            {"listed": [{"id": "a", "name": "n"}, {"id": "b", "name": "n"}, {"id": "c", "parents": ["n"]}]},
            "'n', which 'c' refers to, is the name of several processes; refer to it by its id",
        ),
        ({"listed": [{"parents": []}]}, "workflow.specification[0] has neither an id nor a name"),
        ({"ran": [{"id": key, "runtimeInSeconds": -1} for key in "abc"]}, "process 'a': runtimeInSeconds is -1"),
        ({"ran": [{"id": key} for key in "abc"]}, "process 'a': runtimeInSeconds is missing"),
        ({"ran": [{"id": key, "runtimeInSeconds": 1e300} for key in "abc"]}, "which is more than"),
    ],
)
def test_what_is_wrong_in_a_workflow_is_told(tmp_path: Path, changes: dict[str, object], words: str) -> None:
    changes = dict(changes)
    if "ran" not in changes:
        listed = changes["listed"]
        assert isinstance(listed, list)
        changes["ran"] = [{"id": one.get("id", ""), "runtimeInSeconds": 1} for one in listed]
    with pytest.raises(BadTrace) as told:
        traces.read_workflow(written(tmp_path, "w.json", workflow(**changes)))
    assert words in str(told.value)


@given(st.binary(max_size=300), st.sampled_from(["a.swf", "a.csv", "a.json", "a.zip", "a.swf.gz"]), st.data())
def test_no_bytes_lead_to_anything_but_a_bad_trace(
    tmp_path_factory: pytest.TempPathFactory, data: bytes, name: str, more: st.DataObject
) -> None:
    good = {"a.swf": SWF, "a.csv": "submit_s,run_s\n0,1\n", "a.json": workflow()}.get(name, SWF).encode()
    good = zipped({"a.swf": good}) if name == "a.zip" else gzip.compress(good) if name.endswith("gz") else good
    place = more.draw(st.integers(0, len(good)))
    path = tmp_path_factory.getbasetemp() / name
    path.write_bytes(more.draw(st.sampled_from([data, good[:place] + data + good[place:], good[:place] + data])))
    with contextlib.suppress(BadTrace):
        traces.load(path)


def test_a_workflow_with_holes_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path, "w.json", workflow(ran=[{"id": "a", "runtimeInSeconds": 1}]))
    with pytest.raises(BadTrace, match=r"'b' is missing in workflow\.execution"):
        traces.read_workflow(path)
