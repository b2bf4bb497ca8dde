"""Policies of users' own: a function in Python, code that a scenario names, an entry point; and what goes wrong in them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from colonysim.core.policies import BadPolicy
from colonysim.core.records import Process
from colonysim.core.values import BadValue
from colonysim.evidence.replay import replay
from colonysim.scenarios import writer
from colonysim.scenarios.files import located
from colonysim.scenarios.runner import Run, run
from colonysim.scenarios.scenario import Scenario
from colonysim.scenarios.validation import check as validate
from colonysim.simulation.client import ColonyClient
from colonysim.simulation.simulation import Simulation


def last_first(process: Process) -> int:
    return -process.submitted_ns


def taken(sim: Simulation) -> list[str]:
    """The functions of three processes, submitted a second apart, in the order in which they are assigned."""
    colony = ColonyClient.create(sim, "dev")
    executor = colony.add_executor("cli", "one")
    for name in "abc":
        colony.user.submit(name, executortype="cli")
        sim.advance(1)
    found = []
    for _ in range(3):
        assigned = executor.assign()
        found.append(assigned.details.spec.funcname)
        assigned.close()
    sim.check()
    return found


def test_a_function_is_a_policy() -> None:
    sim = Simulation(mode="manual", policy=last_first)
    assert sim.settings.policy == f"{__name__}:last_first"
    assert taken(sim) == ["c", "b", "a"]


def test_it_stays_the_policy_after_a_reset_in_a_fork_and_in_a_restored_state() -> None:
    sim = Simulation(mode="manual", policy=last_first)
    sim.reset()
    assert taken(sim.fork()) == ["c", "b", "a"]
    other = Simulation(mode="manual")
    other.restore(sim.snapshot())
    assert taken(other) == ["c", "b", "a"]


def test_each_simulation_has_its_own() -> None:
    first = Simulation(mode="manual", policy=lambda process: -process.submitted_ns)
    second = Simulation(mode="manual", policy=lambda process: process.submitted_ns)
    assert taken(first) == ["c", "b", "a"]
    assert taken(second) == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("rank", "words"),
    [
        (
            lambda process: process.nothing,
            "raises AttributeError: .* object has no attribute 'nothing' \\(test_own_pol",
        ),
        (lambda process: 0.5, "returns 0.5 for process [0-9a-f]{64}; return a whole number"),
        (lambda process: None, "returns None for process"),
        (lambda process: True, "returns True for process"),
        (lambda process: 2**62, "returns 4611686018427387904 for .* return a whole number between"),
    ],
)
@pytest.mark.parametrize("invariants", [True, False])
def test_a_policy_that_breaks_is_told_by_its_name(rank: Any, words: str, invariants: bool) -> None:
    with pytest.raises(BadPolicy, match=f"policy {__name__}:<lambda> {words}"):
        taken(Simulation(mode="manual", policy=rank, invariants=invariants))


def test_a_name_in_python_is_refused_with_what_would_do() -> None:
    with pytest.raises(BadValue, match=r"or your own: a function in Python, file\.py:function in a scenario"):
        Simulation(policy="mine.py:rank")


# ---------------------------------------------------------------- scenarios
MINE = """
asked = []

def last_first(process):
    asked.append(1)
    return -process.submitted_ns

def by_length(process):
    return round(process.spec.args[0] * 1e9)

def odd(process):
    return 1 / 0
"""
TEXT = """
version: 1
settings: {policy: mine.py:by_length}
executors: [{name: e, count: 1, service: {kind: process}}]
workload:
  - name: w
    arrivals: {kind: once, count: 40}
    mix: [{run_s: [1, 60]}]
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "mine.py").write_text(MINE)
    (tmp_path / "s.yaml").write_text(TEXT)
    return tmp_path / "s.yaml"


def test_a_scenario_names_a_policy_of_a_file(file: Path) -> None:
    mean_s = {}
    for policy in ("reference", "mine.py:by_length"):
        scenario = Scenario.load(file, (f"settings.policy={policy}",))
        result = run(scenario)
        assert result.ok, result.failures
        assert validate(scenario) == ([], [])
        assert result.warnings == ()
        waiting = result.summary.waiting_s
        assert waiting is not None
        mean_s[policy] = waiting.mean
    assert mean_s["mine.py:by_length"] < 0.8 * mean_s["reference"]


def test_scenarios_of_two_folders_with_the_same_name_of_a_policy_do_not_mix(file: Path, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "s.yaml").write_text(TEXT)
    (tmp_path / "other" / "mine.py").write_text(MINE.replace("return round(", "return -round("))
    first, second = (run(Scenario.load(path)).digest for path in (file, tmp_path / "other" / "s.yaml"))
    assert first != second
    assert run(Scenario.load(file)).digest == first


def test_a_scenario_of_python_takes_a_function() -> None:
    scenario = Scenario.read(TEXT.replace("mine.py:by_length", "reference"))
    made = Scenario(executors=scenario.executors, workload=scenario.workload, settings={"policy": last_first})
    assert run(made).ok
    assert writer.as_data(made)["settings"]["policy"] == f"{__name__}:last_first"


def test_the_name_of_a_policy_is_kept_where_a_scenario_is_written(file: Path) -> None:
    (file.parent / "below").mkdir()
    text = writer.as_text(Scenario.load(file), file.parent / "below")
    assert "../mine.py:by_length" in text
    (file.parent / "below" / "copy.yaml").write_text(text)
    assert run(Scenario.load(file.parent / "below" / "copy.yaml")).digest == run(Scenario.load(file)).digest


@pytest.mark.parametrize(
    ("policy", "words"),
    [
        ("mine.py:other", "mine.py:other: no function is named 'other'; the module defines last_first, by_length, odd"),
        ("mine.py:asked", "'asked' is a list, not a function"),
        ("nowhere.py:rank", "nowhere.py cannot be read: No such file"),
        (
            "luck",
            "invalid policy='luck': must be reference or deadline or fair or shortest or weighted_fair or multifactor, or your own",
        ),
    ],
)
def test_a_policy_that_cannot_be_loaded_is_refused_with_the_line(file: Path, policy: str, words: str) -> None:
    for ask in (run, validate):
        with pytest.raises(BadValue) as refused:
            ask(Scenario.load(file, (f"settings.policy={policy}",)))
        said = str(located(refused.value, file))
        assert said.startswith(f"{file}:3: settings")
        assert words in said


def test_a_package_offers_a_policy(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    site = file.parent / "site"
    (site / "mine-1.0.dist-info").mkdir(parents=True)
    (site / "mypolicies.py").write_text(MINE)
    (site / "mine-1.0.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: mine\nVersion: 1.0\n")
    (site / "mine-1.0.dist-info" / "entry_points.txt").write_text(
        "[colonysim.policies]\nlength = mypolicies:by_length\n"
    )
    monkeypatch.syspath_prepend(site)
    offered = Scenario.load(file, ("settings.policy=length",))
    assert run(offered).digest == run(Scenario.load(file)).digest
    sys.modules.pop("mypolicies", None)


def test_a_journal_is_replayed_where_its_policy_is_known_and_refused_elsewhere(file: Path) -> None:
    journal = file.parent / "j.log"
    assert Run(Scenario.load(file), journal=journal).execute().ok
    assert replay(journal).same
    command = [sys.executable, "-m", "colonysim", "replay", str(journal)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert "recorded with the policy 'mine.py:by_length', which this process does not know" in done.stderr


def test_the_command_line_compares_policies_of_a_file(file: Path) -> None:
    def done(*words: object) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "colonysim", *map(str, words)]
        return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)

    compared = done("compare", file, "--policy", "reference,mine.py:by_length", "--seeds", 3)
    assert compared.returncode == 0, compared.stderr
    assert "mine.py:by_length" in compared.stdout
    explored = done("explore", file, "--seeds", 2, "--workers", 2)
    assert explored.returncode == 0, explored.stderr
    broken = done("run", file, "--set", "settings.policy=mine.py:odd")
    assert broken.returncode == 2
    assert "policy mine.py:odd raises ZeroDivisionError: division by zero (mine.py, line 12)" in broken.stderr
    assert "Traceback" not in broken.stderr
