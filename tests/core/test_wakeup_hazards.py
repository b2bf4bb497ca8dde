"""The hazards of wake-ups: one parked call hears of a process, or none does (docs/protocol/b-processes.md 4.4)."""

from __future__ import annotations

from colonysim import ColonyClient, ExecutorClient, Simulation
from colonysim.core import engine
from colonysim.core.operations.assignment import AssignProcess
from colonysim.kernel.pending import Pending


def _park(executor: ExecutorClient, cpu: str = "") -> Pending:
    return executor.sim.begin(executor.id, AssignProcess(colonyname="c", timeout=1000, availablecpu=cpu))


def _served(*pending: Pending) -> list[bool]:
    return [each.answer is not None for each in pending]


def test_where_nobody_is_woken_all_stay_parked(sim: Simulation, colony: ColonyClient) -> None:
    pending = _park(colony.add_executor("cli"))
    engine.set_wakeups(sim.world, "none")
    colony.submit("f")
    assert _served(pending) == [False]


def test_where_one_is_woken_it_is_the_one_whose_turn_it_is(sim: Simulation, colony: ColonyClient) -> None:
    """The first cannot have it; it has had its turn all the same, and the next one hears of what comes then."""
    small, large = _park(colony.add_executor("cli"), "100m"), _park(colony.add_executor("cli"))
    engine.set_wakeups(sim.world, "one")
    colony.submit("f", cpu="1000m")
    assert _served(small, large) == [False, False]
    colony.submit("f", cpu="50m")
    assert _served(small, large) == [False, True]
    colony.submit("f", cpu="50m")
    assert _served(small, large) == [True, True]
