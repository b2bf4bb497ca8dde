"""colonysim init: a first test, its fixtures and a first scenario for a user's project, written and run."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path
from typing import Annotated, Final

import typer

from colonysim.cli.console import FAILED, FINE, fail, out

_CONFTEST: Final = '''\
"""Fixtures of the tests in this folder; those of colonysim (colony, executor_factory, …) need no import."""

import pytest


def work(executor):
    """Your executor: put your own code in its place. It may block and sleep as it likes, in virtual time."""
    while True:
        process = executor.assign(timeout_s=60)
        if process is not None:
            process.close([process.args[0] ** 2])


@pytest.fixture
def worker(colonysim, executor_factory):
    """Your executor, running beside the test."""
    executor = executor_factory("worker")
    return colonysim.program(work, executor, name="worker", forever=True)
'''
_TEST: Final = '''\
"""Tests against a simulated Colonies server: no containers, and no waiting in real time."""

import pytest
from colonysim import ProcessState


def test_the_executor_does_its_work(colonysim, colony, worker):
    process = colony.submit("square", [7], executortype="worker", maxexectime=60)
    colonysim.advance(1)
    assert process.output == [49]


def test_a_process_survives_an_executor_that_dies(colonysim, colony, executor_factory):
    process = colony.submit("square", [7], executortype="worker", maxexectime=60, maxretries=3)
    executor_factory("worker").assign()  # it takes the process, and is never heard of again
    colonysim.advance(62)  # takes no time: the server gives the process back after 60 s
    assert process.state is ProcessState.WAITING
    executor_factory("worker").assign().close([49])
    assert process.output == [49]


@pytest.mark.colonysim(scenario="SCENARIO", seeds=5)
def test_nothing_is_lost_in_a_storm_of_crashes(colonysim_result):
    assert colonysim_result.summary.succeeded == colonysim_result.summary.submitted
'''
_SCENARIO: Final = """\
# Executors that crash. Run it: colonysim run FILE --report crashes.html
# Try it with many seeds: colonysim explore FILE
version: 1
name: crashes
about: Every few minutes an executor dies with what it holds, and each process is finished all the same.
phases: {storm_s: 3600, calm_s: 7200}
executors:
  - {name: worker, count: 4, service: {kind: lognormal, median_s: 30, sigma: 0.5}}
workload:
  - name: people
    arrivals: {kind: poisson, per_hour: 200}
    mix: [{funcname: square, maxexectime: 120, maxretries: 10}]
faults:
  - {kind: crash, times: {mean_every_s: 300}, restart_after_s: [10, 120]}
checks:
  - {kind: probe, that: failed == 0, at: end}
"""


def init(
    folder: Annotated[Path, typer.Argument(help="Your project; by default the working directory.")] = Path("."),
    run: Annotated[bool, typer.Option("--run/--no-run", help="Run the test and the scenario afterwards.")] = True,
) -> None:
    """Write a first test and a first scenario into your project, and run them.

    Existing files are not replaced: if there is one, nothing is written. Exit codes: 0 all passed, 1 something
    failed, 2 nothing was written.
    """
    if not folder.is_dir():
        fail(f"{folder}: there is no such folder; create it first, or name another")
    if run and importlib.util.find_spec("pytest") is None:
        fail("the tests need pytest: pip install 'colonysim[test]' (or --no-run, to write the files alone)")
    files = {
        folder / "tests" / "conftest.py": _CONFTEST,
        folder / "tests" / "test_worker.py": _TEST.replace("SCENARIO", "../scenarios/crashes.yaml"),
        folder / "scenarios" / "crashes.yaml": _SCENARIO.replace("FILE", "scenarios/crashes.yaml"),
    }
    if existing := [str(path) for path in files if path.exists()]:
        fail(f"{', '.join(existing)}: already there, so nothing was written; move it away, or name another folder")
    try:
        for path, text in files.items():
            path.parent.mkdir(exist_ok=True)
            path.write_text(text, encoding="utf-8")
            out.print(f"written  {path}")
    except OSError as error:
        fail(f"{error.filename}: cannot be written: {error.strerror or error}", FAILED)
    if not run:
        return
    commands = (["pytest", "-q", "tests/test_worker.py"], ["colonysim", "run", "scenarios/crashes.yaml"])
    codes = []
    for command in commands:
        out.print(f"\n$ {' '.join(command)}")
        sys.stdout.flush()
        codes.append(subprocess.run([sys.executable, "-m", *command], cwd=folder, check=False).returncode)
    if any(codes):
        raise typer.Exit(FAILED)
    out.print("\nNext: put your executor into `work` of tests/conftest.py.")
    raise typer.Exit(FINE)
