"""Threads that outlive their test: cut them off from simulations, and report them in the test that left them."""

from __future__ import annotations

import sys
import threading
import weakref
from typing import TYPE_CHECKING, Final

import pytest

from colonysim.pytest_plugin.identity import id_of

if TYPE_CHECKING:
    from colonysim.programs.scheduler import Programs
    from colonysim.simulation.simulation import Simulation

_PATIENCE_S: Final = 0.5
"""Real time that a thread has to end once its simulation has."""
_OF_FIXTURES: Final = pytest.StashKey["weakref.WeakSet[threading.Thread]"]()
_BEFORE: Final = pytest.StashKey["weakref.WeakSet[threading.Thread]"]()
_TOLD: Final = pytest.StashKey[list[str]]()
_PROGRAMS_BEFORE: Final = pytest.StashKey["list[Programs]"]()
_PROGRAMS_OF_FIXTURES: Final = pytest.StashKey["list[Programs]"]()


def begin(node: pytest.Item | pytest.Collector) -> None:
    """Note which threads there are before a test, or before the simulations of a wider scope."""
    node.stash[_BEFORE] = weakref.WeakSet(threading.enumerate())
    node.stash[_PROGRAMS_BEFORE] = list(not_stopped())


def allow(config: pytest.Config, before: set[threading.Thread], programs_before: list[Programs]) -> None:
    """Note that threads and programs which came after these belong to a fixture of a wider scope, and may go on."""
    config.stash.setdefault(_OF_FIXTURES, weakref.WeakSet()).update(set(threading.enumerate()) - before)
    of_fixtures = config.stash.setdefault(_PROGRAMS_OF_FIXTURES, [])
    of_fixtures += [one for one in not_stopped() if one not in programs_before]


def not_stopped() -> list[Programs]:
    """Return the programs of all simulations that nobody has stopped; for them the standard library is patched."""
    scheduler = sys.modules.get("colonysim.programs.scheduler")
    return [] if scheduler is None else list(vars(scheduler)["not_stopped"])


def _stop_programs(item: pytest.Item) -> None:
    """Stop the programs that a test has left, so that nothing of their patches reaches the next one."""
    goes_on = [*item.stash.get(_PROGRAMS_BEFORE, []), *item.config.stash.get(_PROGRAMS_OF_FIXTURES, [])]
    for programs in not_stopped():
        if programs not in goes_on:
            programs.stop()


def end_of(simulations: list[Simulation], node: pytest.Item | pytest.Collector) -> None:
    """End simulations for the threads of their scope, and report those that still run in the test that ends now."""
    if not (young := _young(node)):
        return
    from colonysim.sdk import threads

    for simulation in simulations:
        for thread in threads.end(simulation, young, _PATIENCE_S):
            text = f"thread {thread.name!r} outlives its test: its calls are lost now; stop it before the test ends"
            told = node.config.stash.setdefault(_TOLD, [])
            if text not in told:
                told.append(text)


def end_of_test(item: pytest.Item, shares_simulation: bool) -> list[str]:
    """Cut off the threads that a test has left behind; return a text for each of those that have called a simulation.

    `shares_simulation`: the test has one that goes on, so threads that belong to no other may still call that.
    """
    _stop_programs(item)
    if young := _young(item):
        from colonysim.sdk import threads

        nobody = threads.Reach(None)
        nobody.over = True
        for thread in young:
            if not shares_simulation:
                threads.leave(thread, nobody)
            if (owner := threads.owner_of(thread)) is not None and owner.over:
                owner.left_by = owner.left_by or id_of(item)
    told = item.config.stash.get(_TOLD, [])
    item.config.stash[_TOLD] = []
    return told


def _young(node: pytest.Item | pytest.Collector) -> list[threading.Thread]:
    """Return the threads that were started since the scope of a node began, but for those of wider fixtures."""
    before = node.stash.get(_BEFORE, None)
    if before is None:
        return []
    allowed = node.config.stash.get(_OF_FIXTURES, ())
    young = [thread for thread in threading.enumerate() if thread not in before and thread not in allowed]
    return [thread for thread in young if not thread.name.startswith("colonysim-")]
