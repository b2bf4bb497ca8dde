"""What a failed test says: how to repeat it, why processes failed, and where its artifacts are."""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path

import pytest

from tests.cli.test_main import ENVIRONMENT

STORM = """
version: 1
name: storm
phases: {storm_s: 600, calm_s: 3600}
executors: [{name: cli, count: 2, service: 10, success: 0.5}]
workload: [{name: people, arrivals: {kind: poisson, per_hour: 200}, mix: [{maxwaittime: 60}]}]
checks: [{kind: probe, that: failed == 0, name: all succeed}]
"""
OF_FILE = """
import pytest

@pytest.mark.colonysim(scenario="storm.yaml", seed=7)
def test_it(colonysim_result):
    pass
"""
OF_VALUE = OF_FILE.replace('"storm.yaml"', "SCENARIO").replace(
    "import pytest", f"import pytest\nfrom colonysim.scenarios import Scenario\nSCENARIO = Scenario.read('''{STORM}''')"
)
OF_FAULTS = OF_FILE.replace("seed=7", "seed=7, faults={'kind': 'lose_reply', 'when': {'first': 1}}")
LATER = OF_FILE.replace("pass", "assert colonysim_result.summary.failed == 0")


def lines_of(pytester: pytest.Pytester, test: str, *options: str, scenario: str = STORM) -> list[str]:
    (pytester.path / "storm.yaml").write_text(scenario)
    pytester.makepyfile(test_it=test)
    return pytester.runpytest_subprocess("-p", "no:randomly", *options).outlines


def run(pytester: pytest.Pytester, command: str) -> subprocess.CompletedProcess[str]:
    words = shlex.split(command)
    return subprocess.run(words, capture_output=True, text=True, env=ENVIRONMENT, cwd=pytester.path, check=False)


def after(lines: list[str], words: str) -> str:
    return next(line.partition(words)[2] for line in lines if words in line)


@pytest.mark.parametrize("test", [OF_FILE, OF_VALUE, OF_FAULTS], ids=["file", "value", "file and faults"])
def test_a_scenario_that_fails_says_how_to_repeat_it_why_and_where_its_artifacts_are(
    pytester: pytest.Pytester, test: str
) -> None:
    lines = lines_of(pytester, test, "--colonysim-artifacts=kept")
    assert after(lines, "seed 7; repeat with: ") == "pytest test_it.py::test_it --colonysim-seed=7"
    assert any("colonysim run" in line for line in lines if "without pytest" in line) is (test is OF_FILE)
    why = lines.index("processes that ended without success:")
    assert re.fullmatch(
        r'  \d+ processes closed as failed by their executor: "modelled failure" \(\d+\)', lines[why + 1]
    )
    assert "for example process" in lines[why + 2]
    assert "NEW → WAITING" in lines[why + 3]
    folder = pytester.path / "kept" / "test_it.py__test_it"
    assert {path.name for path in folder.iterdir()} == {"scenario.yaml", "journal.jsonl", "report.html"}
    again = run(pytester, after(lines, "run it with: "))
    assert (again.returncode, "FAILED (check) all succeed" in again.stdout) == (1, True), again.stderr
    failed = after(lines, "succeeded, ").partition(" failed")[0]
    assert f" {failed} failed" in again.stdout
    replayed = run(pytester, after(lines, "replay it with: "))
    assert replayed.returncode == 0, replayed.stderr
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert "all succeed" in page
    assert "scenario.yaml --seed 7" in page


def test_an_assertion_about_a_scenario_that_passed_says_the_same(pytester: pytest.Pytester) -> None:
    lines = lines_of(pytester, LATER, "--colonysim-artifacts=kept", scenario=STORM.partition("checks")[0])
    assert any("colonysim_result.summary.failed == 0" in line for line in lines)
    assert "processes that ended without success:" in lines
    assert "without pytest, repeat with: colonysim run" in "\n".join(lines)
    assert (pytester.path / "kept" / "test_it.py__test_it" / "journal.jsonl").exists()


def test_a_scenario_that_no_file_can_name_is_kept_as_far_as_it_can_be(pytester: pytest.Pytester) -> None:
    """Its policy is a function inside of a test."""
    test = OF_VALUE.replace(
        "SCENARIO = Scenario",
        "from msgspec.structs import replace\nPOLICY = {'policy': (lambda process: 0)}\nSCENARIO = Scenario",
    ).replace("scenario=SCENARIO", "scenario=replace(SCENARIO, settings=POLICY)")
    lines = lines_of(pytester, test, "--colonysim-artifacts=kept")
    text = "\n".join(lines)
    assert "INTERNALERROR" not in text
    assert "HTML report written to" in text


TEST = """
def test_it(colony, executor_factory, colonysim):
    executor = executor_factory("cli")
    for error in ("disk full", "no GPU", "disk full"):
        colony.submit("f", executortype="cli")
        executor.assign().fail(error)
    colony.submit("g", executortype="gpu", maxwaittime=5)
    colonysim.advance(10)
    assert colony.statistics().failedprocesses == 0, "<b>some failed</b>"
"""


def test_a_test_that_fails_says_why_its_processes_did_and_keeps_a_report(pytester: pytest.Pytester) -> None:
    lines = lines_of(pytester, TEST, "--colonysim-artifacts=kept", "--colonysim-seed=3")
    assert '  3 processes closed as failed by their executor: "disk full" (2), "no GPU" (1)' in lines
    assert "  1 process waited longer than its maxwaittime" in lines
    assert sum("for example process" in line for line in lines) == 2
    path = Path(after(lines, "HTML report written to "))
    page = (pytester.path / path).read_text(encoding="utf-8")
    assert "test_it.py::test_it --colonysim-seed=3" in page
    assert "some failed" in page
    assert "<b>some failed</b>" not in page.replace("<\\/b>", "</b>").partition('id="data"')[0]
    assert "disk full" in page


def test_without_a_folder_for_artifacts_a_failed_test_says_how_to_get_them(pytester: pytest.Pytester) -> None:
    for test in (TEST, OF_FILE):
        lines = lines_of(pytester, test)
        assert "--colonysim-artifacts DIR keeps the journal and an HTML report of each test that fails" in lines
    assert not list(pytester.path.glob("*/report.html"))


def test_a_test_whose_processes_all_succeed_says_nothing_about_causes(pytester: pytest.Pytester) -> None:
    lines = lines_of(pytester, "def test_it(colony):\n    colony.submit('f')\n    raise AssertionError\n")
    assert any("1 process unfinished" in line for line in lines)
    assert "processes that ended without success:" not in lines


def test_a_report_that_cannot_be_made_hides_no_failure(pytester: pytest.Pytester) -> None:
    """The tables of the server are broken, which a report of them meets again."""
    test = "def test_it(colony, colonysim):\n    colonysim.world.executors = None\n    raise AssertionError('mine')\n"
    text = "\n".join(lines_of(pytester, test, "--colonysim-artifacts=kept"))
    assert "AssertionError: mine" in text
    assert "no HTML report could be made: AttributeError" in text
    assert "journal written to" in text
