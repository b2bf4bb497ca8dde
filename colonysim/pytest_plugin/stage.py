"""The simulations of a test: those that its own fixtures and those of wider scopes have made, and what a run left."""

from __future__ import annotations

import functools
import inspect
import unittest
from typing import TYPE_CHECKING, Any, Final

import pytest

from colonysim.pytest_plugin import marker

if TYPE_CHECKING:
    from colonysim.pytest_plugin.scenarios import RunOfScenario
    from colonysim.simulation.simulation import Simulation

_STAGES: Final = pytest.StashKey[list["Stage"]]()
_CLOSED: Final = pytest.StashKey[list["Stage"]]()
_RUN: Final = pytest.StashKey["ItemRun"]()


class Stage:
    """The simulations that the fixtures of one scope have made: of a test, a class, a module or the whole session."""

    def __init__(self, node: pytest.Item | pytest.Collector, seed: int) -> None:
        self.node = node
        self.seed = seed
        self.simulations: list[Simulation] = []
        self.of_faults: list[list[str]] = []
        """For each simulation, the names of the faults that the marker of the current test has added."""
        self._faults: Any = None  # of the test that runs; a simulation that is made meanwhile has them at once

    def open(self) -> None:
        """Make the stage known to the tests of its scope."""
        self.node.stash.setdefault(_STAGES, []).append(self)

    def close(self) -> None:
        """Have the stage forgotten before the next test begins: the reports of this one are still to come."""
        self.node.config.stash.setdefault(_CLOSED, []).append(self)

    def make(self, settings: dict[str, Any], stock_colony: bool) -> Simulation:
        """Create a simulation with these settings."""
        from colonysim.simulation.simulation import Simulation

        simulation = Simulation(**settings)
        self.simulations.append(simulation)
        self.of_faults.append([])
        if stock_colony:
            from colonysim.simulation import stock

            stock.install(simulation)
        if self._faults is not None:
            self._add_faults(len(self.simulations) - 1)
        return simulation

    # ------------------------------------------------------------ the marker's faults
    def begin_faults(self, given: Any) -> None:
        """Let the faults of a marker strike from now on, in the simulations there are and in those made later."""
        self._faults = given
        for number in range(len(self.simulations)):
            self._add_faults(number)

    def _add_faults(self, number: int) -> None:
        from colonysim.pytest_plugin import scenarios

        self.of_faults[number] += scenarios.add_faults(self.simulations[number], self._faults)

    def end_faults(self) -> None:
        """Remove the faults that `begin_faults` has added."""
        self._faults = None
        for simulation, names in zip(self.simulations, self.of_faults, strict=True):
            for fault in simulation.faults.all:
                if fault.name in names:
                    simulation.faults.remove(fault.name)
            names.clear()


class ItemRun:
    """One run of a test: the journals' lengths after its phases, and its reports."""

    def __init__(self) -> None:
        self.passed = False
        self.scenario: RunOfScenario | None = None
        """The scenario that the fixture colonysim_result has run."""
        self.failed_in = ""
        """The first phase that failed, if one did."""
        self.lengths: dict[str, list[int]] = {}
        """For each phase, how many lines the journal of each simulation had at its end."""
        self.kept = False
        """Whether the artifacts of a failure have been written."""
        self.compared = False
        self.missing = ""
        """The path of the record that the test should be compared with, if there is none."""


def begin_run(item: pytest.Item) -> None:
    """Begin a run of a test, which may have run before."""
    closed = item.config.stash.get(_CLOSED, [])
    for stage in closed:
        stage.node.stash[_STAGES].remove(stage)
    closed.clear()
    item.stash[_RUN] = ItemRun()


def run_of(item: pytest.Item) -> ItemRun:
    """Return the latest run of a test."""
    return item.stash.setdefault(_RUN, ItemRun())


def stages_of(item: pytest.Item) -> list[Stage]:
    """Return the stages of a test, its own one last."""
    return [stage for node in item.listchain() for stage in node.stash.get(_STAGES, [])]


def shares_simulation(item: pytest.Item) -> bool:
    """Return whether a test has a simulation of a wider scope that goes on after it."""
    closed = item.config.stash.get(_CLOSED, [])
    return any(stage.node is not item and stage not in closed for stage in stages_of(item))


def simulations_of(item: pytest.Item) -> list[Simulation]:
    """Return the simulations of a test: its own ones first."""
    return [simulation for stage in reversed(stages_of(item)) for simulation in stage.simulations]


def names_of_faults(item: pytest.Item) -> list[list[str]]:
    """Return for each of `simulations_of` the names of the faults that the test's marker has added."""
    return [names for stage in reversed(stages_of(item)) for names in stage.of_faults]


def journals_of(item: pytest.Item) -> list[list[bytes]]:
    """Return the lines of the journals of all simulations that keep one."""
    return [simulation.journal.lines for simulation in simulations_of(item) if simulation.journal is not None]


def count_of_own_journals(item: pytest.Item) -> int:
    """Return how many of `journals_of`, the first ones, belong to simulations that no other test has."""
    stages = item.stash.get(_STAGES, [])
    return sum(simulation.journal is not None for stage in stages for simulation in stage.simulations)


def let_faults_strike(item: pytest.Item) -> None:
    """Have the faults of the marker begin once everything is set up: also `setUp` of a unittest.TestCase."""
    given = marker.arguments(item)
    if given.get("faults") is None or "scenario" in given:
        return
    stages = stages_of(item)

    def begin() -> None:
        for stage in stages:
            stage.begin_faults(given["faults"])

    if isinstance(item, pytest.Function) and item.cls is not None and issubclass(item.cls, unittest.TestCase):
        if inspect.iscoroutinefunction(item.obj):
            setattr(item.instance, item.name, _after(begin, item.obj))
        else:
            item.obj = _after(begin, item.obj)
    else:
        begin()


def _after(first: Any, test: Any) -> Any:
    """Return a test that calls `first` before it does anything itself."""
    if inspect.iscoroutinefunction(test):

        @functools.wraps(test)
        async def run_async(*args: Any, **kwargs: Any) -> Any:
            first()
            return await test(*args, **kwargs)

        return run_async

    @functools.wraps(test)
    def run(*args: Any, **kwargs: Any) -> Any:
        first()
        return test(*args, **kwargs)

    return run
