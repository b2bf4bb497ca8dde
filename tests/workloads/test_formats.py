"""Formats of traces: found by name or by the file's name, and readers of users' own."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from colonysim import traces
from colonysim.core.values import BadValue
from colonysim.extensions import BadCode
from colonysim.scenarios import writer
from colonysim.scenarios.files import located
from colonysim.scenarios.runner import run
from colonysim.scenarios.scenario import Scenario
from colonysim.scenarios.validation import check as validate
from colonysim.traces import BadTrace, MissingTrace, TraceRecord
from colonysim.workloads.workload import Trace

MINE = """
from colonysim.scenarios import BadTrace, TraceRecord

def read(path):
    for number, line in enumerate(path.read_text().splitlines(), 1):
        submit, run, *user = line.split("|")
        if not submit.isdigit():
            raise BadTrace(path, number, f"{submit!r} is no time", "write whole seconds")
        yield TraceRecord(float(submit), float(run), *user)
"""
TEXT = """
version: 1
executors: [{name: e, count: 2, service: {kind: process}}]
workload:
  - name: w
    trace: {file: jobs.bar, format: 'mine.py:read'}
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "mine.py").write_text(MINE)
    (tmp_path / "jobs.bar").write_text("0|3|ann\n9|5|bo\n4|2|ann\n")
    (tmp_path / "s.yaml").write_text(TEXT)
    return tmp_path / "s.yaml"


def bars(path: Path) -> Iterator[TraceRecord]:
    yield TraceRecord(0.0, float(len(path.read_text())))


def test_formats_are_found_by_name_and_by_the_name_of_the_file(tmp_path: Path) -> None:
    names = {"a.swf": "swf", "a.txt.gz": "swf", "a.json": "wfformat", "A.CSV.xz": "csv"}
    assert {name: traces.format_of(tmp_path / name).name for name in names} == names
    assert traces.format_of(tmp_path / "a.swf", "csv").name == "csv"
    for name, given, words in (
        ("a.bar", "", "its name does not show its format"),
        ("a.swf", "bar", "there is no format 'bar'"),
    ):
        with pytest.raises(BadTrace, match=words) as refused:
            traces.format_of(tmp_path / name, given)
        assert "csv, swf, wfformat, or your own as file.py:function" in str(refused.value)


def test_a_scenario_reads_a_trace_with_a_reader_of_a_file(file: Path) -> None:
    scenario = Scenario.load(file)
    result = run(scenario)
    assert (result.summary.succeeded, result.end_s) == (3, 14)
    note = "trace jobs.bar: the rows were not in the order of submission and have been sorted (line 3 was submitted"
    assert any(one.startswith(note) for one in result.notes)
    assert validate(scenario)[1] == []
    (file.parent / "below").mkdir()
    (file.parent / "below" / "copy.yaml").write_text(writer.as_text(scenario, file.parent / "below"))
    copy = Scenario.load(file.parent / "below" / "copy.yaml")
    assert copy.workload[0].trace == Trace(file="../jobs.bar", format="../mine.py:read")
    assert run(copy).digest == result.digest


def test_python_takes_a_function_as_the_format(file: Path) -> None:
    trace = Trace(file="jobs.bar", format=bars)
    assert trace.load(file.parent).records == [TraceRecord(0.0, 23.0)]
    scenario = Scenario(workload=({"name": "w", "trace": trace},), folder=str(file.parent))
    assert writer.as_data(scenario)["workload"][0]["trace"]["format"] == f"{__name__}:bars"


@pytest.mark.parametrize("given", [3, None, ["swf"], {}])
def test_what_is_no_format_is_refused(given: Any) -> None:
    with pytest.raises(BadValue, match=r"invalid format=.*: expected the name of a format, or a function"):
        Trace(file="a.swf", format=given)


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("mine.py:raed", "mine.py:raed: no function is named 'raed'; the module defines read"),
        ("mine.py:read.x", "does not name code"),
        ("nowhere.py:read", "nowhere.py cannot be read: No such file"),
        ("no_such_package.x:read", "'no_such_package.x' cannot be imported"),
    ],
)
def test_a_reader_that_cannot_be_loaded_is_refused_with_the_line(file: Path, override: str, words: str) -> None:
    scenario = Scenario.load(file, (f"workload.0.trace.format={override}",))
    for ask in (run, validate):
        with pytest.raises(BadValue) as refused:
            ask(scenario)
        assert str(located(refused.value, file)).startswith(f"{file}:6: workload.0.trace.format: ")
        assert words in str(refused.value)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("yield (0, 1)", "jobs.bar: record 1 of mine.py:read is a tuple; yield colonysim.scenarios.TraceRecord"),
        (
            "yield TraceRecord(0, 1); yield TraceRecord(-1, 1)",
            "record 2 of mine.py:read: submit_s is -1, which is below",
        ),
        ("yield TraceRecord(0, float('nan'))", "run_s is nan"),
        ("yield TraceRecord('0', 1)", "not supported between"),
        ("yield TraceRecord(0, 1, None)", "user is a NoneType, not text"),
        ("yield TraceRecord(0, 1, processors=0)", "processors is 0"),
        (
            "yield 1 / 0",
            "mine.py:read raises ZeroDivisionError: division by zero (mine.py, line 4); correct the reader",
        ),
        ("return None", "mine.py:read raises TypeError: 'NoneType' object is not iterable"),
        ("raise BadTrace(path, 7, 'it is torn', 'mend it')", "jobs.bar:7: it is torn; mend it"),
        ("return []", "it has no processes"),
    ],
)
def test_a_reader_that_breaks_is_told_with_the_trace(file: Path, body: str, words: str) -> None:
    text = f"from colonysim.scenarios import BadTrace, TraceRecord\n\ndef read(path):\n    {body}\n"
    (file.parent / "mine.py").write_text(text)
    scenario = Scenario.load(file)
    for ask in (run, validate):
        with pytest.raises(BadTrace) as refused:
            ask(scenario)
        assert words in str(refused.value)
        assert "\n" not in str(refused.value)


def test_a_trace_that_is_not_there_is_missing_whoever_reads_it(file: Path) -> None:
    scenario = Scenario.load(file, ("workload.0.trace.file=gone.bar",))
    assert validate(scenario)[0] == ["gone.bar does not exist; a run needs it"]
    with pytest.raises(MissingTrace):
        run(scenario)


def test_a_package_offers_a_format_by_name_and_by_the_ending(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    site = file.parent / "site"
    (site / "mybars-1.0.dist-info").mkdir(parents=True)
    (site / "mybars.py").write_text(MINE)
    (site / "mybars-1.0.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: mybars\nVersion: 1.0\n")
    (site / "mybars-1.0.dist-info" / "entry_points.txt").write_text("[colonysim.traces]\nbar = mybars:read\n")
    monkeypatch.syspath_prepend(site)
    for given in ("bar", ""):
        assert len(traces.load(file.parent / "jobs.bar", given).records) == 3
    with pytest.raises(BadTrace, match="csv, swf, wfformat, bar, or your own"):
        traces.load(file.parent / "jobs.baz")
    sys.modules.pop("mybars", None)


def test_import_trace_reads_a_format_of_a_file(file: Path) -> None:
    def done(kind: str) -> subprocess.CompletedProcess[str]:
        words = [sys.executable, "-m", "colonysim", "import-trace", "jobs.bar", "--format", kind]
        return subprocess.run(words, capture_output=True, text=True, timeout=60, check=False, cwd=file.parent)

    shown = done("mine.py:read")
    assert (shown.returncode, "processes       3" in shown.stdout) == (0, True), shown.stderr
    refused = done("mine.py:none")
    assert (refused.returncode, refused.stdout) == (2, "")
    assert refused.stderr.startswith("colonysim: mine.py:none: no function is named 'none'")


def test_a_format_that_cannot_be_loaded_is_refused_in_python_too(file: Path) -> None:
    with pytest.raises(BadCode, match="no function is named 'other'"):
        Trace(file="jobs.bar", format="mine.py:other").load(file.parent)
