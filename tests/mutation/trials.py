"""What may find a mutant: the tests, or the invariants while the shipped scenarios run."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Protocol

import pytest

from tests.mutation.coverage import Lines
from tests.mutation.mutants import ROOT
from tests.mutation.processes import OutOfTime, cpu_time

PATHS = ("tests/core", "tests/properties", "tests/conformance", "tests/sim", "tests/test_operation_counts.py")
LEFT_OUT = (
    "tests/properties/test_malformed.py",
    "tests/sim/test_programs.py",
    "tests/sim/test_report.py",
    "tests/sim/test_explore.py",
    "tests/sim/test_interrupts.py",
    "tests/sim/test_shrink.py",
    "tests/sim/test_traces.py",
    "tests/sim/test_chance.py",
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


def with_tests(then: Callable[[Judge], None]) -> None:
    """Collect the tests and hand them over."""
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
    code = pytest.main([*options, *(str(ROOT / path) for path in PATHS)], plugins=[Tests(then)])
    if code not in (0, 1):
        sys.exit(f"the tests could not be collected: pytest ends with {code}")


class Scenarios:
    """The shipped scenarios. Only a broken invariant counts: not a check, a digest or a crash."""

    def __init__(self) -> None:
        from colonysim.sim.scenario import Scenario

        paths = [path for path in sorted((ROOT / "scenarios").glob("*.yaml")) if path.stem != "grid_day"]
        self._scenarios = {path.stem: Scenario.load(path) for path in paths}
        self.names = list(self._scenarios)

    def passes(self, name: str, following: str | None) -> bool:
        from colonysim import InvariantViolation
        from colonysim.fronts.surroundings import surroundings
        from colonysim.sim.scenario_runner import run

        try:
            result = run(self._scenarios[name], surroundings=surroundings)
        except InvariantViolation:
            return False
        except (Exception, OutOfTime):  # seen, but not by an invariant
            return True
        return all(failure.kind != "invariant" for failure in result.failures)


def with_scenarios(then: Callable[[Judge], None]) -> None:
    """Load the shipped scenarios and hand them over."""
    then(Scenarios())


BY: dict[str, Callable[[Callable[[Judge], None]], None]] = {"tests": with_tests, "invariants": with_scenarios}


def verdict(judge: Judge, trials: Iterable[Trial], tell: Callable[[Trial], None]) -> dict[str, Any]:
    """Run the trials until one finds the mutant; `tell` is told of each before it starts."""
    waiting = list(trials)
    following: list[Trial | None] = [*waiting[1:], None]
    for trial, after in zip(waiting, following, strict=True):
        tell(trial)
        try:
            with cpu_time(trial.usual_s):
                passed = judge.passes(trial.name, after and after.name)
        except OutOfTime:
            passed = isinstance(judge, Scenarios)
        if not passed:
            return {"killed": True, "by": trial.name}
    return {"killed": False, "tried": len(waiting)}
