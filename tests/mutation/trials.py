"""What may find a mutant: the tests, or the invariants while the shipped scenarios run."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import pytest

from tests.mutation.coverage import Lines
from tests.mutation.mutants import ROOT
from tests.mutation.processes import OutOfTime, cpu_time

PATHS = (
    "tests/core",
    "tests/properties",
    "tests/conformance",
    "tests/kernel",
    "tests/evidence",
    "tests/faults",
    "tests/simulation",
    "tests/scenarios",
    "tests/test_operation_counts.py",
    "tests/web/test_websocket.py",
)
LEFT_OUT = (
    "tests/properties/test_malformed.py",
    "tests/programs/test_scheduler.py",
    "tests/experiments/test_report.py",
    "tests/experiments/test_exploration.py",
    "tests/programs/test_interrupts.py",
    "tests/experiments/test_shrinker.py",
    "tests/scenarios/test_traces.py",
    "tests/kernel/test_randomness.py",
)
"""Tests of what stands on top of the core, many of them slow or in other processes."""
NOT_NAMED = ("over_http", "processes_and_hash", "in_every_process", "in_another_process", "of_the_process_are_the_same")


@dataclass
class Trial:
    """One test or scenario, how long it usually takes, and which lines it runs."""

    name: str
    usual_s: float = 0.0
    lines: Lines = field(default_factory=dict)


class Judge(Protocol):
    """Runs trials by their names."""

    names: list[str]

    def passes(self, name: str, following: str | None) -> bool:
        """Whether the trial finds nothing wrong."""
        ...


class Tests:
    """A plugin of pytest that, once the tests are collected, hands itself over in place of running them."""

    __test__ = False

    def __init__(self, then: Callable[[Judge], None]) -> None:
        self._then = then
        self._items: dict[str, pytest.Item] = {}
        self._failed = False
        self.names: list[str] = []

    def pytest_collection(self, session: pytest.Session) -> None:
        """What hypothesis finds need not be made smaller, nor be kept."""
        from hypothesis import Phase, settings

        usual = settings.get_profile("default")
        phases = (Phase.explicit, Phase.generate)
        settings.register_profile("mutation", parent=usual, phases=phases, database=None, print_blob=False)
        settings.load_profile("mutation")

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        self._items = {
            item.nodeid: item for item in session.items if not any(part in item.nodeid for part in NOT_NAMED)
        }
        self.names = list(self._items)
        self._then(self)
        return True

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self._failed = self._failed or report.failed

    def passes(self, name: str, following: str | None) -> bool:
        self._failed = False
        item = self._items[name]
        next_item = None if following is None else self._items[following]
        item.config.hook.pytest_runtest_protocol(item=item, nextitem=next_item)
        return not self._failed


def with_tests(then: Callable[[Judge], None], paths: Sequence[Path] | None = None) -> None:
    """Collect the tests, by default those of PATHS, and hand them over."""
    plugins = ("randomly", "xdist", "cacheprovider", "terminal", "benchmark")
    options = [
        "-o",
        "addopts=",
        "-o",
        "faulthandler_timeout=0",
        "--rootdir",
        str(ROOT),
        "--capture=no",
        "--assert=plain",
    ]
    options += [part for name in plugins for part in ("-p", f"no:{name}")]
    options += [f"--ignore={ROOT / path}" for path in LEFT_OUT]
    code = pytest.main([*options, *(str(ROOT / path) for path in paths or PATHS)], plugins=[Tests(then)])
    if code not in (0, 1):
        sys.exit(f"the tests could not be collected: pytest ends with {code}")


MOST_LOOPS = 2
"""A mutant that never ends in so many scenarios is not tried with the others."""


class Scenarios:
    """The shipped scenarios. Only a broken invariant counts: not a check, a digest or a crash of the runner.

    `seen` collects what a mutant causes: the kinds of failures, "crash", "loop", and "end" where the comparison at the
    end of a run has found an invariant broken. A broken invariant is called "server raised" or "tables unreadable"
    where an exception told it, and "invariant" where the records did.
    """

    def __init__(self) -> None:
        from colonysim.scenarios.scenario import Scenario

        self.seen: set[str] = set()

        paths = [path for path in sorted((ROOT / "scenarios").glob("*.yaml")) if path.stem != "grid_day"]
        self.seen: set[str] = set()
        self._scenarios = {path.stem: Scenario.load(path) for path in paths}
        self.names = list(self._scenarios)

    def passes(self, name: str, following: str | None) -> bool:
        from colonysim.invariants import Invariants, InvariantViolation
        from colonysim.scenarios.runner import run

        at_rest = Invariants.at_rest

        def noted_at_rest(invariants: Invariants) -> None:
            try:
                at_rest(invariants)
            except InvariantViolation:
                self.seen.add("end")
                raise

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Invariants, "at_rest", noted_at_rest)
            try:
                failures = run(self._scenarios[name]).failures
                kinds = {failure.name if failure.kind == "invariant" else failure.kind for failure in failures}
            except InvariantViolation as violation:
                kinds = {violation.name}
            except OutOfTime:
                kinds = {"loop"}
            except Exception:  # seen, but not by an invariant
                kinds = {"crash"}
        self.seen |= kinds
        return not kinds & {"invariant", "server raised", "tables unreadable"}


def with_scenarios(then: Callable[[Judge], None], paths: Sequence[Path] | None = None) -> None:
    """Load the shipped scenarios and hand them over; no `paths` of tests are used."""
    then(Scenarios())


BY: dict[str, Callable[[Callable[[Judge], None], Sequence[Path] | None], None]] = {
    "tests": with_tests,
    "invariants": with_scenarios,
}


def verdict(judge: Judge, trials: Iterable[Trial], tell: Callable[[Trial], None]) -> dict[str, Any]:
    """Run the trials until one finds the mutant; `tell` is told of each before it starts."""
    waiting, loops = list(trials), 0
    following: list[Trial | None] = [*waiting[1:], None]
    seen = judge.seen if isinstance(judge, Scenarios) else set[str]()
    for trial, after in zip(waiting, following, strict=True):
        tell(trial)
        try:
            with cpu_time(trial.usual_s):
                passed = judge.passes(trial.name, after and after.name)
        except OutOfTime:
            passed = isinstance(judge, Scenarios)
            seen.add("loop")
        if not passed:
            return {"killed": True, "by": trial.name} | ({"seen": sorted(seen)} if isinstance(judge, Scenarios) else {})
        if isinstance(judge, Scenarios) and "loop" in seen:
            loops += 1
            seen.discard("loop")
            if loops == MOST_LOOPS:
                seen.add("loop")
                break
    if loops:
        seen.add("loop")
    return {"killed": False, "tried": len(waiting)} | ({"seen": sorted(seen)} if isinstance(judge, Scenarios) else {})
