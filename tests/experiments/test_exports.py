"""Runs written for other programs: SWF, jobs.csv of Batsim, Parquet, and a Gantt chart."""

from __future__ import annotations

import csv
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from colonysim import traces
from colonysim.cli.main import app
from colonysim.experiments import exports, gantt
from colonysim.scenarios.runner import Run
from colonysim.scenarios.scenario import Scenario

TEXT = """
version: 1
name: small
seed: 3
executors:
  - {name: cli, count: 2, service: {kind: process}, functions: {b: {service: {kind: process}, success: 0.1}}}
workload:
  - name: people
    users: 2
    arrivals: {kind: constant, every_s: 2.5}
    count: 20
    mix:
      - {funcname: a, run_s: [1, 20], expected_s: {times: 2}}
      - {funcname: b, run_s: 5, maxwaittime: 14}
"""


@pytest.fixture(scope="module")
def run() -> Run:
    done = Run(Scenario.read(TEXT))
    done.execute()
    assert done.result is not None
    states = {process.state for process in done.result.processes}
    assert states == {"success", "failed"}
    return done


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream))


# ---------------------------------------------------------------- Batsim
def test_jobs_csv_has_the_columns_of_batsim_and_times_that_agree(run: Run, tmp_path: Path) -> None:
    exports.write_batsim(run, tmp_path / "jobs.csv")
    rows = rows_of(tmp_path / "jobs.csv")
    assert tuple(rows[0]) == exports.BATSIM_COLUMNS
    assert run.result is not None
    started = [process for process in run.result.processes if process.last_started_s is not None]
    assert [row["metadata"] for row in rows] == [process.process for process in started]
    assert len(started) < len(run.result.processes)  # some gave up before they ran
    for row, process in zip(rows, started, strict=True):
        submitted, began, ended = (float(row[name]) for name in ("submission_time", "starting_time", "finish_time"))
        assert float(row["execution_time"]) == pytest.approx(ended - began)
        assert float(row["waiting_time"]) == pytest.approx(began - submitted)
        assert float(row["turnaround_time"]) == pytest.approx(ended - submitted)
        assert float(row["stretch"]) == pytest.approx((ended - submitted) / (ended - began))
        assert (row["success"] == "1") == (process.state == "success")
        assert row["final_state"] in ("COMPLETED_SUCCESSFULLY", "COMPLETED_FAILED")
        assert exports.executor_names(run)[int(row["allocated_resources"])] == process.executor
        expected = 2 * float(row["execution_time"]) if row["profile"] == "a" else -1
        assert float(row["requested_time"]) == pytest.approx(expected)


def test_evalys_reads_jobs_csv(run: Run, tmp_path: Path) -> None:
    jobset = pytest.importorskip("evalys.jobset")
    exports.write_batsim(run, tmp_path / "jobs.csv")
    read = jobset.JobSet.from_csv(str(tmp_path / "jobs.csv"))
    assert len(read.df) == len(rows_of(tmp_path / "jobs.csv"))
    assert read.MaxProcs == 2


# ---------------------------------------------------------------- SWF
def test_swf_comes_back_as_the_same_jobs(run: Run, tmp_path: Path) -> None:
    exports.write_swf(run, tmp_path / "a.swf")
    recording = traces.load(tmp_path / "a.swf")
    assert run.result is not None
    ran = [job for job in exports.jobs_of(run) if job.result.running_s is not None]
    assert [record.submit_s for record in recording.records] == [job.result.submitted_s for job in ran]
    assert [record.run_s for record in recording.records] == pytest.approx([job.result.running_s for job in ran])
    assert [record.requested_s for record in recording.records] == pytest.approx([job.requested_s or -1 for job in ran])
    assert [record.user for record in recording.records] == [job.user.rpartition("-")[2] for job in ran]
    left_out = len(run.result.processes) - len(ran)
    assert f"{left_out} of 20 rows were skipped: the job never ran (run time -1)" in recording.notes


def test_the_header_of_swf_says_what_its_numbers_are(run: Run, tmp_path: Path) -> None:
    exports.write_swf(run, tmp_path / "a.swf")
    lines = (tmp_path / "a.swf").read_text().splitlines()
    header = [line for line in lines if line.startswith(";")]
    assert "; MaxRecords: 20" in header
    assert "; MaxProcs: 2" in header
    assert "; Computer: colonysim, scenario small, seed 3" in header
    assert "; Note: user 1 is people-1" in header
    assert {"; Note: executable 1 is function a", "; Note: executable 2 is function b"} <= set(header)
    assert [len(line.split()) for line in lines if line not in header] == [18] * 20


# ---------------------------------------------------------------- pandas
def test_a_frame_has_a_row_for_each_process_and_parquet_keeps_it(run: Run, tmp_path: Path) -> None:
    pandas = pytest.importorskip("pandas")
    pytest.importorskip("pyarrow")
    assert run.result is not None
    frame = run.result.frame()
    assert list(frame.process) == [process.process for process in run.result.processes]
    assert frame[frame.state == "success"].turnaround_s.mean() == pytest.approx(run.result.summary.turnaround_s.mean)
    assert frame.waiting_s.isna().sum() == 20 - run.result.summary.waiting_s.count
    exports.write_parquet(run, tmp_path / "a.parquet")
    pandas.testing.assert_frame_equal(pandas.read_parquet(tmp_path / "a.parquet"), frame, check_dtype=False)


@pytest.mark.parametrize(
    ("hidden", "option", "fix"),
    [
        ("pandas", "--parquet=a.parquet", "frame"),
        ("pyarrow", "--parquet=a.parquet", "frame"),
        ("matplotlib", "--gantt=a.svg", "plot"),
    ],
)
def test_a_missing_extra_is_told_before_the_run(hidden: str, option: str, fix: str, tmp_path: Path) -> None:
    (tmp_path / "s.yaml").write_text(TEXT)
    code = f"import sys; sys.modules[{hidden!r}] = None; from colonysim.__main__ import main; main()"
    words = [sys.executable, "-c", code, "run", "s.yaml", option]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert f"needs {hidden}, which is not installed: pip install 'colonysim[{fix}]'" in " ".join(done.stderr.split())
    assert [path.name for path in tmp_path.iterdir()] == ["s.yaml"]


# ---------------------------------------------------------------- Gantt
def test_each_attempt_is_a_bar_on_its_executor(run: Run) -> None:
    bars = gantt.bars_of(run, "function")
    assert len(bars) == run.metrics.gauges.submitted - sum(one == -1 for one in run.metrics.first_start_ns)
    assert {bar.executor for bar in bars} == {"cli-1", "cli-2"}
    assert sum(bar.failed for bar in bars) == sum(
        process.state == "failed" and process.attempts > 0
        for process in run.result.processes  # type: ignore[union-attr]
    )
    assert {bar.colour for bar in bars} == {"a", "b"}
    assert {bar.colour for bar in gantt.bars_of(run, "user")} == {"people-1", "people-2"}
    for name in ("cli-1", "cli-2"):
        own = sorted((bar.start_s, bar.end_s) for bar in bars if bar.executor == name)
        assert all(end_s <= next_s for (_, end_s), (next_s, _) in pairwise(own))


def test_the_chart_says_what_it_shows_and_is_the_same_each_time(run: Run, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    for name in ("a.svg", "b.svg"):
        gantt.write_gantt(run, tmp_path / name)
    text = (tmp_path / "a.svg").read_text()
    assert text == (tmp_path / "b.svg").read_text()
    for words in (
        "small, seed 3",
        "virtual time from the start of the run (seconds)",
        "executor",
        "cli-2",
        "without success",
    ):
        assert f">{words}<" in text
    gantt.write_gantt(run, tmp_path / "c.png")
    assert (tmp_path / "c.png").read_bytes().startswith(b"\x89PNG")


# ---------------------------------------------------------------- the command line
def invoke(*words: str) -> Any:
    return CliRunner().invoke(app, list(words))


def test_the_files_of_a_report_are_written_beside_the_scenario(tmp_path: Path) -> None:
    (tmp_path / "s.yaml").write_text(TEXT + "report: {swf: out.swf, batsim: jobs.csv}\n")
    assert invoke("run", str(tmp_path / "s.yaml"), "--batsim", str(tmp_path / "other.csv")).exit_code == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["other.csv", "out.swf", "s.yaml"]


def test_a_chart_of_an_unknown_format_is_refused(tmp_path: Path) -> None:
    (tmp_path / "s.yaml").write_text(TEXT)
    done = invoke("run", str(tmp_path / "s.yaml"), "--gantt", str(tmp_path / "a.txt"))
    assert done.exit_code == 2
    assert "a Gantt chart is .svg, .png or .pdf" in " ".join(done.output.split())
