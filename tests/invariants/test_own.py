"""Invariants of users' own: in Python, in scenario files, from packages; what they see, and what goes wrong in them."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from colonysim.core.history import Assignment, PauseChanged, Transition
from colonysim.core.protocol import Delivery
from colonysim.core.records import SUCCESS
from colonysim.core.values import BadValue
from colonysim.extensions import BadCode
from colonysim.invariants import Invariant, InvariantViolation
from colonysim.invariants.ledger import Ledger, ProcessRecord
from colonysim.scenarios import writer
from colonysim.scenarios.files import located
from colonysim.scenarios.runner import run
from colonysim.scenarios.scenario import Scenario
from colonysim.scenarios.validation import check as validate
from colonysim.simulation.client import ColonyClient
from colonysim.simulation.simulation import Simulation

seen: list[str] = []


@pytest.fixture(autouse=True)
def _fresh() -> None:
    seen.clear()


class Watching(Invariant):
    """Notes what it is shown."""

    def __init__(self, ledger: Ledger) -> None:
        super().__init__(ledger)
        self.steps = 0

    def moved(self, step: Transition, record: ProcessRecord) -> None:
        assert record.state == step.new
        seen.append(f"{step.old}→{step.new}")

    def assigned(self, entry: Assignment, record: ProcessRecord) -> None:
        assert record.holder == entry.demand.executor_id
        seen.append("assigned")

    def reads(self) -> dict[type, Callable[[Any], None]]:
        return {PauseChanged: lambda entry: seen.append(f"paused {entry.on}")}

    def after_step(self, deliveries: Sequence[Delivery]) -> None:
        self.steps += 1

    def agree(self) -> None:
        seen.append("agree" if self.steps else "nothing")


class NoSuccess(Invariant):
    """Nothing may succeed."""

    def moved(self, step: Transition, record: ProcessRecord) -> None:
        if step.new == SUCCESS:
            raise self.ledger.violation(step.process_id, "succeeded, which nothing may")


class Breaks(Invariant):
    """Raises in the method that it is told."""

    method = ""

    def __init__(self, ledger: Ledger) -> None:
        super().__init__(ledger)
        if self.method:
            setattr(self, self.method, self._break)
        else:
            self._break()

    def _break(self, *_: Any) -> None:
        raise KeyError("x")


def played(sim: Simulation) -> None:
    colony = ColonyClient.create(sim, "dev")
    executor = colony.add_executor("cli", "one")
    colony.user.submit("f", executortype="cli")
    executor.assign().close()
    sim.check()


def test_an_invariant_sees_each_step_after_it_has_happened() -> None:
    sim = Simulation(mode="manual", invariants=[Watching])
    played(sim)
    assert seen == ["-1→0", "0→1", "assigned", "1→2", "agree"]


def test_it_begins_anew_with_another_history_and_goes_on_in_a_fork() -> None:
    sim = Simulation(mode="manual", invariants=(Watching,))
    sim.reset()
    played(sim)
    assert len(seen) == 5
    played_fork = sim.fork()
    played_fork.check()
    assert seen[5:] == ["nothing"]


def test_a_violation_has_the_timeline_of_its_process_and_stops_the_simulation() -> None:
    sim = Simulation(mode="manual", invariants=[NoSuccess])
    with pytest.raises(InvariantViolation, match=r"succeeded, which nothing may(.|\n)*submit by user"):
        played(sim)
    with pytest.raises(InvariantViolation, match="succeeded"):
        sim.check()


@pytest.mark.parametrize("method", ["", "moved", "assigned", "reads", "after_step", "agree"])
def test_what_goes_wrong_in_it_is_told_by_its_name(method: str) -> None:
    kind = type("Odd", (Breaks,), {"method": method})
    with pytest.raises(BadCode, match=r"invariant .*test_own.*Odd raises KeyError: 'x' \(test_own.py, line \d+\)"):
        played(Simulation(mode="manual", invariants=[kind]))


@pytest.mark.parametrize("wrong", [None, 3, "mine.py:Own", [3], [Invariant], [int], [Watching, "x"]])
def test_what_is_no_list_of_invariants_is_refused_before_a_journal_is_begun(wrong: Any, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"invalid invariants.*: expected"):
        Simulation(invariants=wrong, journal=tmp_path / "j")
    assert not (tmp_path / "j").exists()


def test_the_header_of_a_journal_says_that_invariants_are_checked() -> None:
    sim = Simulation(mode="manual", invariants=[Watching], journal=True)
    assert sim.journal is not None
    assert sim.journal.header.invariants is True


# ---------------------------------------------------------------- scenarios
MINE = """
from colonysim import Invariant, InvariantViolation

class AtMostTwo(Invariant):
    most = 2

    def moved(self, step, record):
        running = sum(one.state == 1 for one in self.ledger.records.values())
        if running > self.most:
            raise self.ledger.violation(step.process_id, f"is one of {running} that run")

class AtMostOne(AtMostTwo):
    most = 1
"""
TEXT = """
version: 1
executors: [{name: e, count: 2, service: 30}]
workload: [{name: w, arrivals: {kind: constant, every_s: 10}, count: 8}]
invariants: ['mine.py:AtMostTwo']
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "mine.py").write_text(MINE)
    (tmp_path / "s.yaml").write_text(TEXT)
    return tmp_path / "s.yaml"


def test_a_scenario_names_invariants_of_a_file(file: Path) -> None:
    assert run(Scenario.load(file)).ok
    assert validate(Scenario.load(file)) == ([], [])
    (failure,) = run(Scenario.load(file, ("invariants.0=mine.py:AtMostOne",))).failures
    assert (failure.kind, failure.name) == ("invariant", "invariant")
    assert "is one of 2 that run" in failure.text


def test_a_scenario_of_python_takes_classes() -> None:
    scenario = Scenario.read(TEXT.replace("'mine.py:AtMostTwo'", ""))
    made = Scenario(executors=scenario.executors, workload=scenario.workload, invariants=[NoSuccess])
    assert "which nothing may" in run(made).failures[0].text
    assert writer.as_data(made)["invariants"] == [f"{__name__}:NoSuccess"]


def test_names_of_invariants_are_kept_where_a_scenario_is_written(file: Path) -> None:
    (file.parent / "below").mkdir()
    text = writer.as_text(Scenario.load(file), file.parent / "below")
    assert "../mine.py:AtMostTwo" in text
    (file.parent / "below" / "copy.yaml").write_text(text)
    assert run(Scenario.load(file.parent / "below" / "copy.yaml")).ok


@pytest.mark.parametrize(
    ("override", "place", "words"),
    [
        (
            "invariants.0=mine.py:Other",
            "invariants.0: ",
            "no subclass of Invariant is named 'Other'; the module defines AtMostTwo",
        ),
        ("invariants.0=mine.py:MINE", "invariants.0: ", "no subclass of Invariant is named 'MINE'"),
        ("invariants.0=other", "invariants.0: ", "there is no 'other'; the invariants are your own as file.py:Name"),
        ("invariants=3", "invariants: invalid invariants=3", "expected true, false or a list of your own"),
        ("invariants=[3]", "invariants: invalid invariants=[3]", "expected true, false or a list of your own"),
    ],
)
def test_an_invariant_that_cannot_be_used_is_refused_with_the_line(
    file: Path, override: str, place: str, words: str
) -> None:
    for ask in (run, validate):
        with pytest.raises(BadValue) as refused:
            ask(Scenario.load(file, (override,)))
        said = str(located(refused.value, file))
        assert re.match(re.escape(str(file)) + r":5: " + re.escape(place), said), said
        assert words in said


def test_the_command_line_checks_invariants_of_a_file(file: Path) -> None:
    def done(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "colonysim", *words], capture_output=True, text=True, timeout=60, check=False
        )

    assert done("run", str(file)).returncode == 0
    failed = done("run", str(file), "--set", "invariants.0=mine.py:AtMostOne")
    assert (failed.returncode, "FAILED (invariant)" in failed.stdout + failed.stderr) == (1, True)
    refused = done("validate", str(file.parent / "mine.py"))
    assert refused.returncode == 2
    (file.parent / "mine.py").write_text(MINE.replace("sum(", "sum(1 / 0 + "))
    broken = done("run", str(file))
    assert broken.returncode == 2
    assert "invariant" in broken.stderr
    assert "raises ZeroDivisionError: division by zero (mine.py, line 8)" in broken.stderr
    assert "Traceback" not in broken.stderr
