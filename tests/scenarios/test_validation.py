"""validate says good of a scenario exactly where a run can begin with it."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from colonysim.core.values import BadValue
from colonysim.reports.metrics import Metrics
from colonysim.scenarios import files
from colonysim.scenarios.files import BadScenario
from colonysim.scenarios.programs import BadProgram
from colonysim.scenarios.runner import Run, run
from colonysim.scenarios.scenario import Phases, Scenario
from colonysim.scenarios.validation import check
from colonysim.traces import BadTrace

FOLDER = Path(__file__).parents[2] / "scenarios"
SHIPPED = {path.stem: path.read_text() for path in sorted(FOLDER.glob("*.yaml")) if path.stem != "grid_day"}
BASE = "version: 1\nexecutors: [{name: cli, count: 2, service: {kind: process}}]\n"
TRACE = BASE + "workload: [{name: t, trace: {file: FILE}}]\n"
WORKFLOW = BASE + "workload: [{name: t, arrivals: {kind: once}, mix: [{workflow: {kind: wfformat, file: FILE}}]}]\n"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("crons: [{name: c, every_s: 99999999999, submit: {}}]\nphases: {storm_s: 9}", "crons.0: it is refused: pq:"),
        ("generators: [{name: g, trigger: 99999999999, submit: {}}]", "generators.0: it is refused: pq:"),
        (
            "workload: [{name: w, trace: {file: t.csv}}]\nsites: {workload: w, total: 2, like: {name: n}}",
            "called 'site1'",
        ),
        ("workload: [{name: w, trace: {file: bad.csv, count: 1}}]", "bad.csv:2: run_s is 'x', which is not a number"),
        ("workload: [{name: w, trace: {file: w.json}}]", "a trace has no dependencies"),
        ("workload: [{name: w, trace: {file: nowhere.csv, format: xls}}]", "there is no format 'xls'"),
        ("workload: [{name: w, trace: {file: late.csv}}]", "its last process comes 115,741 days after the first"),
        ("programs: [{name: p, code: 'nowhere.py:main'}]", "nowhere.py cannot be read: No such file"),
        ("programs: [{name: p, code: '.inf:main'}]", "'.inf' cannot be imported"),
        ("programs: [{name: p, code: 'a b:main'}]", "'a b' cannot be imported"),
        ("programs: [{name: p, code: 'leaves.py:main'}]", "leaves.py cannot be loaded: SystemExit: 3"),
    ],
)
def test_what_a_run_refuses_is_not_good(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "t.csv").write_text("submit_s,run_s,site\n0,1,1\n0,1,site1\n")
    (tmp_path / "bad.csv").write_text("submit_s,run_s\n0,x\n")
    (tmp_path / "late.csv").write_text("submit_s,run_s\n0,1\n1e10,1\n")
    (tmp_path / "w.json").write_text("{}")
    (tmp_path / "leaves.py").write_text("raise SystemExit(3)")
    scenario = replace(Scenario.read(f"{BASE}{text}\n"), folder=str(tmp_path))
    for refuse in (lambda: check(scenario), lambda: run(scenario)):
        with pytest.raises(ValueError, match=re.escape(words)):
            refuse()


def test_code_that_cannot_be_loaded_leaves_nothing_behind(tmp_path: Path) -> None:
    (tmp_path / "leaves.py").write_text("raise SystemExit(3)")
    scenario = replace(Scenario.read(f"{BASE}programs: [{{name: p, code: 'leaves.py:main'}}]"), folder=str(tmp_path))
    before = list(sys.path)
    with pytest.raises(BadProgram, match="SystemExit: 3"):
        check(scenario)
    assert sys.path == before
    assert "leaves_program" not in sys.modules


@pytest.mark.parametrize("text", [TRACE, WORKFLOW])
@pytest.mark.parametrize("name", ["nowhere.swf", "nowhere.zip"])
def test_a_recorded_workload_that_is_not_there_is_said_and_not_failed(text: str, name: str) -> None:
    scenario = Scenario.read(text.replace("FILE", name))
    assert check(scenario)[0] == [f"{name} does not exist; a run needs it"]
    with pytest.raises(BadTrace, match=f"{name}: cannot be read"):
        run(scenario)


def test_the_rest_is_checked_where_a_trace_is_not_there() -> None:
    text = TRACE.replace("FILE", "nowhere.swf") + "sites: {workload: t, total: 2, like: {name: n}}\n"
    assert check(Scenario.read(text))[0] == ["nowhere.swf does not exist; a run needs it"]
    generator = "generators: [{name: g, trigger: 99999999999, submit: {workflow: {kind: wfformat, file: no.json}}}]\n"
    with pytest.raises(BadValue, match="it is refused"):
        check(Scenario.read(text + generator))


def test_notes_on_recorded_workloads_are_in_the_result_and_of_validate(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("submit_s,run_s,processors\n5,1,4\n0,1,1\n")
    listed = [{"id": "a", "runtimeInSeconds": 1, "coreCount": 8}]
    (tmp_path / "w.json").write_text(json.dumps({"workflow": {"tasks": listed}}))
    text = TRACE.replace("FILE", "t.csv")[:-2] + WORKFLOW.replace("FILE", "w.json").partition("workload: [")[2]
    scenario = replace(Scenario.read(text.replace("}{name: t", "}, {name: w")), folder=str(tmp_path))
    notes = [
        "trace t.csv: the rows were not in the order of submission and have been sorted "
        "(line 3 was submitted before the row above it)",
        "trace t.csv: 1 of 2 processes had more than one processor; each counts as one",
        "workflow w.json: 1 of 1 processes had more than one processor; each counts as one",
    ]
    assert check(scenario)[0] == notes
    assert list(run(scenario).notes[:3]) == notes


def test_the_line_of_what_is_refused_at_the_start_is_found_in_the_file(tmp_path: Path) -> None:
    path = tmp_path / "s.yaml"
    path.write_text(f"{BASE}\ngenerators:\n  - {{name: g, trigger: 99999999999, submit: {{}}}}\n")
    with pytest.raises(BadValue) as refused:
        check(Scenario.load(path))
    assert str(files.located(refused.value, path)).startswith(f"{path}:5: generators.0: it is refused")
    path.write_text("[")
    assert str(files.located(refused.value, path)).startswith(f"{path}: generators.0: it is refused")


# ---------------------------------------------------------------- mutations of what is shipped
VALUES = (
    "", "0", "-1", "1", "2", "1e3", "0.5", ".nan", ".inf", "1e400", "yes", "true", "null", "[]", "{}", "[1]", "cli",
    "{kind: constant}", "cli-1", "'a b'", '"\\0"', '"\\ud800"', "9999999999999", "1e9", "*x", "&x 1", "2026-01-01",
    "'* * * * *'", "'0 * * * * *'", "myuser", "dev", "1:30", "99999999999999999999", "!!str 1", "[[]]", "x/y", "../x",
    "nowhere.json", "nowhere.swf", "{kind: chain, length: 3}", "{kind: wfformat, file: x.json}", "'%'", "\N{SNOWMAN}",
)  # fmt: skip
KEYS = (
    "name", "count", "kind", "type", "users", "colony", "settings", "start", "timezone", "location", "cpu", "memory",
    "submit", "generator", "workflow", "executornames", "args", "trace", "sites", "expression", "every_s",
)  # fmt: skip
VALUE = re.compile(r"(?<=[:\[,{] )[^,:{}\[\]#]+|(?<=[\[{])[^,:{}\[\]#]+")


def mutated(random: Random, text: str) -> str:
    """A scenario with one to three things in it changed."""
    lines = text.splitlines()
    for _ in range(random.choice((1, 1, 2, 3))):
        place, how = random.randrange(len(lines)), random.random()
        line = lines[place]
        values, keys = list(VALUE.finditer(line)), re.findall(r"(\w+):", line)
        if how < 0.5 and values:
            value = random.choice(values)
            lines[place] = line[: value.start()] + random.choice(VALUES) + line[value.end() :]
        elif how < 0.65 and keys:
            lines[place] = line.replace(random.choice(keys) + ":", random.choice(KEYS) + ":", 1)
        elif how < 0.75:
            lines.insert(place, line)
        elif how < 0.85:
            other = random.randrange(len(lines))
            lines[place], lines[other] = lines[other], line
        elif how < 0.95 and len(lines) > 1:
            del lines[place]
        else:
            lines[place] = line.replace(random.choice(":,{}- "), random.choice((":", "", "  ", "{", "\t")), 1)
    return "\n".join(lines) + "\n"


class Begun(BaseException):
    """The run has begun, which is all that is asked."""


def begin(scenario: Scenario) -> None:
    def stop(seconds: float, metrics: Metrics) -> None:
        raise Begun

    storm_s = scenario.phases.storm_s
    short = Phases(storm_s=None if storm_s is None else min(storm_s, 1.0), calm_s=1.0)
    try:
        Run(replace(scenario, phases=short), None, stop).execute()
    except Begun:
        pass


def refusal(ask: Callable[[], object]) -> str:
    try:
        ask()
    except (BadValue, BadTrace, BadProgram) as error:
        return type(error).__name__
    return ""


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(sorted(SHIPPED)), st.integers(0, 2**32))
def test_validate_and_run_agree_on_any_change_of_what_is_shipped(name: str, seed: int) -> None:
    try:
        scenario = Scenario.read(mutated(Random(seed), SHIPPED[name]), name)
    except BadScenario:
        return
    scenario = replace(scenario, folder=str(FOLDER))
    said, notes = "", [""]

    def ask() -> None:
        notes[:] = check(scenario)[0]

    said = refusal(ask)
    begun = refusal(lambda: begin(scenario))
    if not said and any("does not exist; a run needs it" in note for note in notes):
        assert begun == "MissingTrace"
    else:
        assert said == begun
