"""No command is green where nothing was tested: empty folders, files, sets of cases, scenarios, seeds and traces."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from colonysim import Simulation
from colonysim.cli.main import app
from colonysim.conformance.player import CASES

A_CASES = CASES / "a-foundation"
SCENARIO = """
version: 1
name: small
phases: {storm_s: 600, calm_s: 600}
executors: [{name: e, count: 2, service: {kind: exponential, mean_s: 5}}]
workload: [{name: w, arrivals: {kind: poisson, per_hour: 300}}]
"""
IDLE = SCENARIO + "faults: [{kind: crash, name: idle, actors: nosuch, times: {at_s: 5}}]\n"
RARE = SCENARIO + (
    "faults: [{kind: lose_reply, name: rare, match: {types: closesuccessfulmsg}, when: {probability: 0.000001}}]\n"
)


def _run(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    (tmp_path / "fine.yaml").write_text(SCENARIO)
    (tmp_path / "idle.yaml").write_text(IDLE)
    (tmp_path / "rare.yaml").write_text(RARE)
    (tmp_path / "blank.yaml").write_text("")
    (tmp_path / "unexpecting.json").write_text('{"name": "x", "about": "", "steps": [{"call": "versionmsg"}]}')
    (tmp_path / "empty.swf").write_text("; Version: 2\n")
    (tmp_path / "empty.csv").write_text("submit_s,run_s\n")
    Simulation(mode="manual", journal=tmp_path / "header.jsonl").journal.close()  # type: ignore[union-attr]
    return tmp_path


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["verify", "empty"], "empty has no cases"),
        (["verify", A_CASES, "empty"], "empty has no cases"),
        (["verify", "nowhere"], "nowhere does not exist"),
        (["verify", "unexpecting.json"], 'no step has "expect"'),
        (["coverage", "empty"], "empty has no cases"),
        (["coverage", "nowhere*.json"], "does not exist"),
        (["validate"], "no scenario given"),
        (["validate", "empty"], "cannot be read"),
        (["validate", "fine.yaml", "nowhere*.yaml"], "cannot be read"),
        (["validate", "blank.yaml"], "a scenario is a mapping"),
        (["run", "empty"], "cannot be read"),
        (["explore", "fine.yaml", "--seeds", "0"], "--seeds"),
        (["explore", "fine.yaml", "--seeds", "-1"], "--seeds"),
        (["explore", "empty"], "cannot be read"),
        (["shrink", "empty"], "cannot be read"),
        (["compare", "fine.yaml", "--policy", "fair"], "at least two policies"),
        (["compare", "empty"], "cannot be read"),
        (["sweep", "fine.yaml", "--vary", "seed="], "empty value"),
        (["import-trace", "empty.swf"], "empty.swf"),
        (["import-trace", "empty.csv", "--csv", "new.csv"], "empty.csv"),
        (["replay", "header.jsonl"], "nothing was replayed"),
        (["replay", "header.jsonl", "--until", "1"], "nothing was replayed"),
        (["bench", "--count", "0"], "--count"),
    ],
)  # fmt: skip
def test_nothing_to_do_is_an_error_with_2(here: Path, arguments: list[object], text: str) -> None:
    result = _run(*arguments)
    assert result.exit_code == 2, result.output
    assert text in result.output
    assert not (here / "new.csv").exists()


def test_a_run_without_a_process_ends_with_1(here: Path) -> None:
    result = _run("run", "fine.yaml", "--set", "workload.0.from_s=600")
    assert result.exit_code == 1
    assert "FAILED (nothing) nothing was tested: no process was submitted" in result.output
    explored = _run(
        "explore", "fine.yaml", "--seeds", 2, "--workers", 1, "--no-shrink", "--set", "workload=[]", "--json"
    )
    assert explored.exit_code == 1
    assert explored.stdout, f"{explored.exception!r} {explored.stderr}"
    assert json.loads(explored.stdout)["failures"] == {"nothing: nothing was tested": 2}


def test_coverage_tells_cases_that_do_not_pass(here: Path) -> None:
    step = {"call": "versionmsg", "expect": {"status": 418}}
    (here / "wrong.json").write_text(json.dumps({"name": "wrong", "about": "", "steps": [step]}))
    result = _run("coverage", "wrong.json", "--json")
    assert result.exit_code == 1
    assert "1 case failed and is not counted: wrong" in result.output


# ---------------------------------------------------------------- strict
@pytest.mark.parametrize("command", ["run", "validate"])
def test_a_fault_that_never_strikes_is_told_and_fails_where_that_is_asked(here: Path, command: str) -> None:
    result, strict = _run(command, "idle.yaml"), _run(command, "idle.yaml", "--strict")
    assert (result.exit_code, strict.exit_code) == (0, 1)
    for shown in (result.output, strict.output):
        assert "faults.0: fault 'idle' can never strike: no executor or program is called 'nosuch'" in shown
    assert _run(command, "fine.yaml", "--strict").exit_code == 0


def test_counts_and_warnings_are_in_the_text_the_json_and_the_page(here: Path) -> None:
    shown = _run("run", "rare.yaml", "--report", "r.html", "--summary", "s.json")
    assert "fault       rare (lose_reply): struck 0 times" in shown.output
    assert "WARNING faults.0: fault 'rare' never struck: " in shown.output
    written = json.loads((here / "s.json").read_text())
    assert written["faults"] == [{"name": "rare", "kind": "lose_reply", "count": 0, "drawn": True}]
    (warning,) = written["warnings"]
    assert (warning["kind"], warning["name"], warning["path"]) == ("fault", "rare", "faults.0")
    page = (here / "r.html").read_text()
    assert warning["text"] in page
    assert '"faults_struck":[{"name":"rare"' in page


def test_explore_tells_of_a_fault_that_struck_under_no_seed(here: Path) -> None:
    explored = _run("explore", "rare.yaml", "--seeds", 2, "--workers", 1, "--strict")
    assert explored.exit_code == 1, explored.output
    assert "fault 'rare' never struck under any of 2 seeds" in explored.output
    told = json.loads(_run("explore", "rare.yaml", "--seeds", 2, "--workers", 1, "--json").stdout)
    assert told["faults"] == {"rare": {"count": 0, "seeds": 0}}
    assert [outcome["faults"] for outcome in told["outcomes"]] == [{"rare": 0}] * 2


def test_an_accepted_warning_is_none(here: Path) -> None:
    accepted = ["--set", "accept=['fault: rare']", "--strict"]
    assert _run("run", "rare.yaml", *accepted).exit_code == 0
    assert "warning" not in _run("run", "rare.yaml", *accepted).output.lower()


def test_an_empty_piece_of_a_trace_is_refused_without_a_run(here: Path) -> None:
    (here / "t.csv").write_text("submit_s,run_s\n0,1\n")
    (here / "cut.yaml").write_text(
        "version: 1\nexecutors: [{name: e}]\nworkload: [{name: t, trace: {file: t.csv, first: 1}}]\n"
    )
    result = _run("validate", "cut.yaml")
    assert result.exit_code == 2
    assert "it ends before `first`: 1 of 1 are skipped" in result.output
