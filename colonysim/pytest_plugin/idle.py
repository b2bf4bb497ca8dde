"""Warnings and failures for what did nothing: faults that never struck, journals that no test was compared with."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final

import pytest

_MOST_MISSING: Final = 10  # missing records that the summary lists

if TYPE_CHECKING:
    from colonysim.simulation.simulation import Simulation


class ColonysimWarning(pytest.PytestWarning):
    """A fault of a test's marker never struck, part of its scenario did nothing, or a thread outlives its test."""


def report(item: pytest.Item, texts: Iterable[str], strict: bool) -> None:
    """Warn of what did nothing in a test. With `strict`, fail the test instead (raises pytest.fail.Exception)."""
    listed = list(texts)
    if strict and listed:
        pytest.fail("\n".join(listed), pytrace=False)
    for text in listed:
        item.warn(ColonysimWarning(text))


def never_struck(names: list[list[str]], simulations: list[Simulation]) -> list[str]:
    """Return a text for each fault of a marker that struck in no simulation of a test.

    `names`: for each simulation, the names of the marker's faults in it.
    """
    if not simulations:
        return ["the marker's faults never struck: the test made no simulation; request the fixture colonysim"]
    counts = counts_of(names, simulations)
    reasons = {name: why for simulation in reversed(simulations) for name, why in simulation.faults.idle.items()}
    return [
        f"fault {name!r} of the marker never struck: {reasons.get(name, 'it was removed')}"
        for name, count in counts.items()
        if not count
    ]


def counts_of(names: list[list[str]], simulations: list[Simulation]) -> dict[str, int]:
    """Count how often each fault of a marker struck in all simulations of a test together."""
    counts: dict[str, int] = {}
    for own, simulation in zip(names, simulations, strict=True):
        struck: Mapping[str, int] = simulation.faults.counts
        for name in own:
            counts[name] = counts.get(name, 0) + struck.get(name, 0)
    return counts


class Comparisons:
    """Plugin for --colonysim-replay: counts the tests compared with a journal, and fails the session if none was."""

    def __init__(self) -> None:
        self.tests = self.compared = 0
        self.missing: list[str] = []
        """The paths of records that there are not."""

    def pytest_runtest_logreport(self, report: Any) -> None:
        """Count a finished test. With pytest-xdist, the reports of all workers arrive here."""
        if report.when == "teardown":
            self.tests += 1
            self.compared += getattr(report, "colonysim_compared", False)
            if missing := getattr(report, "colonysim_missing", ""):
                self.missing.append(f"there is no record of {report.nodeid}: expected {missing}")

    def pytest_sessionfinish(self, session: pytest.Session, exitstatus: int) -> None:
        """Fail the session if it compared no test."""
        if self.tests and not self.compared and exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        """Print how many tests were compared."""
        line = f"colonysim: {self.compared} of {self.tests} tests were compared with a journal (--colonysim-replay)"
        terminalreporter.write_line(line, red=not self.compared)
        for text in self.missing[:_MOST_MISSING]:
            terminalreporter.write_line(f"  {text}")
        if (more := len(self.missing) - _MOST_MISSING) > 0:
            terminalreporter.write_line(f"  and {more} more tests have no record")


class Unchecked:
    """Plugin for --colonysim-check-determinism: says which tests it cannot check."""

    def __init__(self) -> None:
        self.tests: list[str] = []

    def pytest_runtest_logreport(self, report: Any) -> None:
        """Note a test that was not checked. With pytest-xdist, the reports of all workers arrive here."""
        if getattr(report, "colonysim_unchecked", False):
            self.tests.append(report.nodeid)

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        """Print which tests were not checked, and why."""
        if self.tests:
            more = " …" if len(self.tests) > _MOST_MISSING else ""
            terminalreporter.write_line(
                "colonysim: not checked for determinism, because they share the simulation of a wider scope, which "
                f"a second run would find changed: {', '.join(self.tests[:_MOST_MISSING])}{more}"
            )
