"""A test that fails shows what its programs have written, with virtual times, and keeps it beside the journal."""

from __future__ import annotations

from pathlib import Path

import pytest

PROGRAM = """
import logging
import time

def work():
    print("begins")
    time.sleep(3)
    logging.getLogger("worker").warning("looks odd")
    print("half a line", end="")
    time.sleep(100)
"""
SHOWN = [
    "output of program p:",
    "  2026-01-01 00:00:00 stdout: begins",
    "  2026-01-01 00:00:03 log: WARNING worker: looks odd",
    "  unfinished stdout: half a line",
]
TEST = """
from worker import work

def test_it(colonysim):
    colonysim.program(work, name="p", forever=True)
    colonysim.run(for_s=10)
    {stop}
    raise AssertionError
"""
SCENARIO = """
import pytest
from colonysim.scenarios import Scenario

SCENARIO = Scenario.read('''
version: 1
phases: {storm_s: 10, calm_s: 10}
programs: [{name: p, code: "worker:work", forever: true}]
workload: [{name: people, arrivals: {kind: once, count: 1}}]
''')

@pytest.mark.colonysim(scenario=SCENARIO)
def test_it(colonysim_result):
    pass
"""
TESTS = {
    "programs run": TEST.format(stop=""),
    "programs stopped": TEST.format(stop="colonysim.stop_programs()"),
    "scenario": SCENARIO,
}


@pytest.mark.parametrize("code", TESTS.values(), ids=TESTS)
def test_output_is_in_the_report_and_in_the_artifacts(pytester: pytest.Pytester, code: str) -> None:
    pytester.makepyfile(worker=PROGRAM, test_it=code)
    result = pytester.runpytest_subprocess("--colonysim-artifacts", "kept")
    result.stdout.fnmatch_lines([*SHOWN, "output of programs written to *output.txt"])
    (kept,) = Path(pytester.path, "kept").glob("*/output.txt")
    assert kept.read_text().splitlines() == SHOWN


def test_a_test_without_programs_has_no_file_of_output(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(test_it="def test_it(colonysim): raise AssertionError")
    result = pytester.runpytest_subprocess("--colonysim-artifacts", "kept")
    result.stdout.no_fnmatch_line("output of program*")
    assert not list(Path(pytester.path, "kept").glob("*/output.txt"))
