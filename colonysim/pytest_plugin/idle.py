"""What the pytest plugin says of faults that never struck, and of records that no test was compared with."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from colonysim.simulation.simulation import Simulation


class ColonysimWarning(pytest.PytestWarning):
    """A fault of a test's marker never struck, or part of its scenario did nothing."""


def tell(item: pytest.Item, texts: Iterable[str], strict: bool) -> None:
    """Warn of what did nothing in a test; `strict`: fail it. Errors: pytest.fail.Exception."""
    listed = list(texts)
    if strict and listed:
        pytest.fail("\n".join(listed), pytrace=False)
    for text in listed:
        item.warn(ColonysimWarning(text))


def never_struck(names: list[list[str]], simulations: list[Simulation]) -> list[str]:
    """A text for each fault of a marker that struck in none of a test's simulations; `names` are those in each."""
    if not simulations:
        return ["the marker's faults never struck: the test made no simulation for them; ask for the fixture colonysim"]
    counts = counted(names, simulations)
    reasons = {name: why for simulation in reversed(simulations) for name, why in simulation.faults.idle.items()}
    return [
        f"fault {name!r} of the marker never struck: {reasons.get(name, 'it was not there')}"
        for name, count in counts.items()
        if not count
    ]


def counted(names: list[list[str]], simulations: list[Simulation]) -> dict[str, int]:
    """How often each fault of a marker struck, in all simulations of a test together."""
    counts: dict[str, int] = {}
    for own, simulation in zip(names, simulations, strict=True):
        struck: Mapping[str, int] = simulation.faults.counts
        for name in own:
            counts[name] = counts.get(name, 0) + struck.get(name, 0)
    return counts


class Records:
    """Counts the tests that were compared with a record, for --colonysim-replay: none is a failure."""

    def __init__(self) -> None:
        self.tests = self.compared = 0

    def pytest_runtest_logreport(self, report: Any) -> None:
        """Reports come from all processes of pytest-xdist."""
        if report.when == "teardown":
            self.tests += 1
            self.compared += getattr(report, "colonysim_compared", False)

    def pytest_sessionfinish(self, session: pytest.Session, exitstatus: int) -> None:
        """Fail a session in which nothing was compared."""
        if self.tests and not self.compared and exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        """Say how many tests were compared."""
        line = f"colonysim: {self.compared} of {self.tests} tests were compared with a record (--colonysim-replay)"
        terminalreporter.write_line(line, red=not self.compared)
