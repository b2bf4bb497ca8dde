"""colonysim run, validate and import-trace as a user meets them: output, files, exit codes."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

COMMAND = [sys.executable, "-m", "colonysim"]
ENVIRONMENT = {name: value for name, value in os.environ.items() if not name.startswith("COLONY")} | {"COLUMNS": "160"}

SCENARIO = """# a test
version: 1
name: small
about: a test
seed: 3
executors:
  - {name: x, count: 2, service: 5}
workload:
  - {name: w, arrivals: {kind: constant, every_s: 4}, count: 30}
checks:
  - {kind: probe, that: queue_depth <= 1, name: short queue}
"""


@pytest.fixture
def scenario(tmp_path: Path) -> Path:
    path = tmp_path / "small.yaml"
    path.write_text(SCENARIO)
    return path


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    words = [str(argument) for argument in arguments]
    return subprocess.run([*COMMAND, *words], capture_output=True, text=True, timeout=120, env=ENVIRONMENT, check=False)


def test_a_run_that_holds_ends_with_zero_and_tells_its_figures(scenario: Path) -> None:
    done = run("run", scenario)
    assert done.returncode == 0, done.stderr
    assert "small, seed 3" in done.stdout
    assert "30 submitted, 30 succeeded" in done.stdout
    assert "held        short queue: queue_depth <= 1 at all times" in done.stdout


def test_a_run_that_fails_ends_with_one_and_the_command_to_repeat_it(scenario: Path) -> None:
    failed = run("run", scenario, "--seed", 9, "--set", "executors.0.service=20", "--set", "name=two words")
    assert failed.returncode == 1
    assert "FAILED (check) short queue: queue_depth <= 1 at all times: violated" in failed.stdout
    again = failed.stdout.splitlines()[-1].removeprefix("again: ")
    assert again == f"colonysim run {scenario} --seed 9 --set executors.0.service=20 --set 'name=two words'"


def test_spans_are_in_the_unit_that_suits_them(scenario: Path) -> None:
    told = run("run", scenario, "--set", "executors.0.service=300").stdout
    assert re.search(r"waiting     p50 \d[\d.]* min, .*, max \d[\d.]* (min|h) \(of 30 started\)", told)
    assert "e+" not in told


def test_executors_that_are_programs_are_said_to_be(tmp_path: Path) -> None:
    (tmp_path / "idle.py").write_text("def main():\n    pass\n")
    (tmp_path / "s.yaml").write_text(
        "version: 1\nprograms: [{name: p, code: 'idle.py:main', count: 2, executor_type: cli}]\n"
    )
    told = run("run", tmp_path / "s.yaml").stdout
    assert "executors   2 programs; queue of 0 at most" in told
    assert "busy" not in told


def test_a_swarm_says_which_faults_were_on(scenario: Path) -> None:
    swarm = "phases: {storm_s: 100}\nswarm: {keep: 0.5}\nfaults: [{kind: delay, name: a, by_s: 1}, {kind: crash, name: b, times: {mean_every_s: 30}}]\n"
    scenario.write_text(f"{SCENARIO}{swarm}")
    seen = {}
    for seed in range(6):
        told = run("run", scenario, "--seed", seed).stdout
        off = re.findall(r"fault       (\w) \(\w+\): off under this seed", told)
        on = {"a", "b"} - set(off)
        assert (f"swarm       {len(on)} of 2 faults on: {', '.join(sorted(on)) or 'none'}" in told) == bool(off)
        seen[len(on)] = told
    assert len(seen) > 1


def test_files_are_written_where_they_are_asked_for(scenario: Path, tmp_path: Path) -> None:
    options = {"--report": "r.html", "--perfetto": "p.json", "--csv": "jobs.csv", "--summary": "s.json"}
    words = [word for option, name in options.items() for word in (option, tmp_path / name)]
    assert run("run", scenario, *words).returncode == 0
    assert (tmp_path / "r.html").read_text().startswith("<!doctype html>")
    assert json.loads((tmp_path / "p.json").read_text())["traceEvents"]
    assert len((tmp_path / "jobs.csv").read_text().splitlines()) == 31
    assert json.loads((tmp_path / "s.json").read_text())["summary"]["succeeded"] == 30


def test_the_history_of_a_storm_replays_word_for_word(scenario: Path, tmp_path: Path) -> None:
    storm = """phases: {storm_s: 300}
faults:
  - {kind: crash, name: crashes, times: {every_s: 40}, restart_after_s: 5}
  - {kind: lose_reply, name: lost, when: {probability: 0.1}}
"""
    scenario.write_text(SCENARIO.replace("queue_depth <= 1", "queue_depth <= 30") + storm)
    recorded = run("run", scenario, "--journal", tmp_path / "history.jsonl", "--json")
    assert json.loads(recorded.stdout)["journal_digest"]
    replayed = run("replay", tmp_path / "history.jsonl")
    assert replayed.returncode == 0, replayed.stdout
    assert json.loads(recorded.stdout)["journal_digest"] in replayed.stdout


def test_a_scenario_may_say_itself_what_to_write(scenario: Path, tmp_path: Path) -> None:
    scenario.write_text(SCENARIO + "report: {summary: out.json}\n")
    assert run("run", scenario).returncode == 0
    assert json.loads((tmp_path / "out.json").read_text())["seed"] == 3


def test_json_is_all_that_a_machine_gets(scenario: Path) -> None:
    result = json.loads(run("run", scenario, "--json").stdout)
    assert (result["seed"], result["failures"], result["summary"]["submitted"]) == (3, [], 30)
    assert result["digest"] == json.loads(run("run", scenario, "--json").stdout)["digest"]


def test_a_run_is_compared_with_itself_in_another_process(scenario: Path) -> None:
    compared = run("run", scenario, "--check-determinism", "--seed", 8)
    assert compared.returncode == 0, compared.stdout
    assert compared.stdout.startswith("two runs are equal: seed 8, digest ")


def test_two_runs_that_differ_are_told(scenario: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is drawn from the hash of a text is another in each process."""
    from typer.testing import CliRunner

    from colonysim.cli import console, main

    broken = "import sys; sys.argv[0] = 'colonysim'; from colonysim.kernel import randomness; import random\n"
    broken += "randomness.source = lambda seed, purpose: random.Random(hash(purpose))\n"
    broken += "from colonysim.cli.main import main; main()"
    real = subprocess.run

    def run_broken(words: list[str], **more: Any) -> subprocess.CompletedProcess[str]:
        return real([sys.executable, "-c", broken, *words[3:]], **more)

    monkeypatch.setattr(console.subprocess, "run", run_broken)
    random_arrivals = "workload.0.arrivals={kind: poisson, per_hour: 900}"
    told = CliRunner().invoke(main.app, ["run", str(scenario), "--check-determinism", "--set", random_arrivals])
    assert told.exit_code == 1, told.output
    assert told.exception is None or isinstance(told.exception, SystemExit), told.exception


def test_a_dry_run_says_what_it_would_do(scenario: Path) -> None:
    done = run("run", scenario, "--dry-run", "--seed", 5)
    assert done.returncode == 0
    for words in ("small, seed 5", "2 executors in 1 group\n", "workload w: constant", "check short queue"):
        assert words in done.stdout
    assert "succeeded" not in done.stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["run", "nowhere.yaml"], "nowhere.yaml: cannot be read"),
        (["run", "{scenario}", "--set", "executors.0.cout=1"], "did you mean `count`?"),
        (["run", "{scenario}", "--set", "workload.0.mix=[{generator: g}]"], "there is no generator 'g'"),
        (
            ["run", "{scenario}", "--report", "/nowhere/r.html"],
            "/nowhere/r.html: cannot be written: its folder does not exist",
        ),
        (["validate"], "no scenario given"),
        (["import-trace", "nowhere.swf"], "nowhere.swf: cannot be read"),
        (["import-trace", "{scenario}"], "its name does not show its format"),
    ],
)
def test_what_makes_no_sense_is_told_without_a_traceback(scenario: Path, arguments: list[str], words: str) -> None:
    refused = run(*(word.replace("{scenario}", str(scenario)) for word in arguments))
    assert refused.returncode == 2
    assert words in refused.stderr
    assert "Traceback" not in refused.stderr


def test_validate_names_the_good_and_the_bad(scenario: Path, tmp_path: Path) -> None:
    bad = tmp_path / "bad.yaml"
    bad.write_text(SCENARIO.replace("count: 2", "count: -2"))
    told = run("validate", scenario, bad)
    assert told.returncode == 2
    assert f"{scenario}: good" in told.stdout
    assert f"{bad}:7: executors.0.count: " in told.stderr
    assert run("validate", scenario).returncode == 0


def test_validate_reads_traces_to_their_end(scenario: Path, tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("submit_s,run_s\n1,2\n3,soon\n")
    scenario.write_text(SCENARIO.replace("arrivals: {kind: constant, every_s: 4}", "trace: {file: t.csv}"))
    told = run("validate", scenario)
    assert told.returncode == 2
    assert "t.csv:3: " in told.stderr


def test_validate_says_what_a_run_would_miss_or_count_in_another_way(scenario: Path, tmp_path: Path) -> None:
    scenario.write_text(SCENARIO.replace("arrivals: {kind: constant, every_s: 4}", "trace: {file: t.csv}"))
    told = run("validate", scenario)
    assert (told.returncode, told.stdout.splitlines()) == (
        0,
        [f"{scenario}: good", "  note        t.csv does not exist; a run needs it"],
    )
    refused = run("run", scenario)
    assert refused.returncode == 2
    assert f"{tmp_path / 't.csv'}: cannot be read: No such file or directory" in refused.stderr
    (tmp_path / "t.csv").write_text("submit_s,run_s,processors\n1,2,16\n")
    note = "trace t.csv: 1 of 1 processes had more than one processor; each counts as one"
    for words in (["validate"], ["run"], ["run", "--json"], ["run", "--dry-run"]):
        assert note in run(words[0], scenario, *words[1:]).stdout
    assert run("run", scenario, "--report", tmp_path / "r.html").returncode == 0
    assert note in (tmp_path / "r.html").read_text()


@pytest.mark.parametrize(
    "command",
    [
        ["validate"],
        ["run"],
        ["run", "--dry-run"],
        ["explore", "--seeds", "1", "--workers", "1"],
        ["compare", "--seeds", "1"],
        ["sweep", "--seeds", "1", "--vary", "executors.0.count=1"],
    ],
)
@pytest.mark.parametrize(
    ("addition", "line", "words"),
    [
        ("generators: [{name: g, trigger: 99999999999, submit: {}}]", 12, "generators.0: it is refused: pq:"),
        (
            "crons: [{name: c, expression: '* * * * *', submit: {}}]",
            12,
            "crons.0.expression: invalid expression='* * * * *': expected exactly 6 fields",
        ),
        ("seed: 4", 12, "the key 'seed' is given twice, first in line 5"),
    ],
)
def test_all_commands_refuse_a_scenario_in_the_same_words(
    scenario: Path, command: list[str], addition: str, line: int, words: str
) -> None:
    scenario.write_text(f"{SCENARIO}{addition}\n")
    refused = run(command[0], scenario, *command[1:])
    assert refused.returncode == 2
    assert f"colonysim: {scenario}:{line}: {words}" in refused.stderr
    assert "Traceback" not in refused.stderr


def test_a_report_into_a_folder_that_is_not_there_is_refused_before_the_run(scenario: Path, tmp_path: Path) -> None:
    scenario.write_text(SCENARIO + "report: {html: nowhere/r.html}\n")
    for command in ("validate", "run"):
        refused = run(command, scenario)
        assert (refused.returncode, refused.stdout) == (2, "")
        assert f"{tmp_path / 'nowhere' / 'r.html'}: cannot be written: its folder does not exist" in refused.stderr


def test_a_trace_is_not_written_over_itself(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("submit_s,run_s\n1,2\n")
    refused = run("import-trace", path, "--csv", path)
    assert refused.returncode == 2
    assert "--csv would overwrite an input: give another name" in refused.stderr
    assert path.read_text() == "submit_s,run_s\n1,2\n"


def test_what_a_trace_leaves_out_is_told_and_what_is_written_is_sorted(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("submit_s,run_s,processors\n5,2,3\n1234567.25,1,1\n1,2,1\n")
    shown = run("import-trace", path, "--csv", tmp_path / "sorted.csv")
    assert "note            the rows were not in the order of submission and have been sorted" in shown.stdout
    assert "note            1 of 3 processes had more than one processor; each counts as one" in shown.stdout
    assert len(json.loads(run("import-trace", path, "--json").stdout)["notes"]) == 2
    rows = (tmp_path / "sorted.csv").read_text().splitlines()[1:]
    assert [row.split(",")[0] for row in rows] == ["1", "5", "1234567.25"]


def test_the_schema_is_printed() -> None:
    schema = json.loads(run("validate", "--schema").stdout)
    assert schema["title"] == "colonysim scenario"
    assert "folder" not in schema["$defs"]["Scenario"]["properties"]


def test_a_trace_is_shown_and_written_as_csv(tmp_path: Path) -> None:
    line = "{number} {at} -1 60 1 -1 -1 -1 100 -1 -1 {user} 1 -1 -1 4 -1 -1"
    text = "\n".join(line.format(number=n, at=n * 10, user=n % 3) for n in range(20))
    (tmp_path / "log.swf").write_text(text + "\n")
    shown = run("import-trace", tmp_path / "log.swf", "--csv", tmp_path / "log.csv")
    assert shown.returncode == 0
    assert "processes       20" in shown.stdout
    assert "users, sites    3, 1" in shown.stdout
    first = json.loads(run("import-trace", tmp_path / "log.swf", "--json").stdout)
    second = json.loads(run("import-trace", tmp_path / "log.csv", "--json").stdout)
    assert first == second
    assert first["run_s"]["p50"] == 60


def test_a_trace_with_other_columns_is_shown_and_written_as_csv(tmp_path: Path) -> None:
    path, written = tmp_path / "jobs.csv", tmp_path / "written.csv"
    path.write_text("when,len,who,color\n0,1000,ada,red\n10,3000,bob,blue\n")
    columns = "{submit_s: when, run_s: {column: len, unit: ms}, user: who}"
    shown = run("import-trace", path, "--columns", columns, "--csv", written)
    assert (shown.returncode, shown.stderr) == (0, "")
    assert "busiest users   ada (1), bob (1)" in shown.stdout
    assert [row.split(",")[:3] for row in written.read_text().splitlines()[1:]] == [
        ["0", "1", "ada"],
        ["10", "3", "bob"],
    ]


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ("{submit_s: when}", "run_s is missing"),
        ("{submit_s: [", "is not YAML"),
        ("when", "expected mapping"),
        ("{submit_s: when, run_s: len, color: c}", "there is no field 'color'"),
        ("{submit_s: whenever, run_s: len}", "there is no column 'whenever'"),
        ("{submit_s: when, run_s: {column: len, unit: years}}", "unit"),
    ],
)
def test_an_invalid_map_of_columns_is_refused(tmp_path: Path, columns: str, words: str) -> None:
    path = tmp_path / "jobs.csv"
    path.write_text("when,len\n0,1000\n")
    refused = run("import-trace", path, "--columns", columns)
    assert (refused.returncode, refused.stdout) == (2, "")
    assert words in refused.stderr
    assert "Traceback" not in refused.stderr
