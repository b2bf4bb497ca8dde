"""colonysim demo: a run that is played back in the terminal, and a report."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console
from typer.testing import CliRunner

from colonysim.cli import demo
from colonysim.cli.demo import History, frame
from colonysim.cli.main import app
from colonysim.scenarios.runner import Run


@pytest.fixture(scope="module")
def run() -> Run:
    done = Run(demo._scenario())
    assert done.execute().ok
    return done


def shown(history: History, now_ns: int) -> str:
    console = Console(width=120, record=True, file=io.StringIO())
    console.print(frame(history, now_ns))
    return console.export_text()


def test_the_demo_writes_a_report_and_says_what_held(tmp_path: Path) -> None:
    path = tmp_path / "r.html"
    done = CliRunner().invoke(app, ["demo", "--report", str(path), "--seed", "9"])
    assert done.exit_code == 0, done.output
    assert "attempts repeated" in done.stdout
    assert "held        no process fails" in done.stdout
    assert "again       colonysim demo --seed 9" in done.stdout
    assert str(path) in done.stdout
    assert path.read_text().startswith("<!doctype html>")


def test_a_report_that_cannot_be_written_is_refused_before_anything_is_run(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["demo", "--report", str(tmp_path / "nowhere" / "r.html")])
    assert done.exit_code == 2


def test_frames_begin_with_nothing_and_end_with_all_workflows_done(run: Run) -> None:
    history = History(run)
    first, last = shown(history, history.start_ns), shown(history, history.end_ns)
    assert "●" not in first.partition("workflow ")[2]
    assert last.partition("workflow ")[2].count("●") == run.metrics.gauges.submitted == 60
    assert "crash worker-" in last


def test_frames_agree_with_the_metrics_at_each_moment(run: Run) -> None:
    history, metrics = History(run), run.metrics
    for place, at_ns in enumerate(metrics.depth_at_ns):
        if place + 1 < len(metrics.depth_at_ns) and metrics.depth_at_ns[place + 1] == at_ns:
            continue
        states = [node.state(at_ns) for nodes in history.workflows.values() for node in nodes]
        assert states.count("running") == metrics.running[place]


def test_executors_that_are_down_are_shown_as_crashed(run: Run) -> None:
    history = History(run)
    for actor, from_ns, to_ns in history.down:
        assert history.executor(actor, (from_ns + to_ns) // 2) == "crashed"
    assert len(history.down) >= run.fleet.crashes > 10
