"""Plans of faults: their end, and swarms."""

from __future__ import annotations

import pytest

from colonysim import ColonyClient, Lost, Simulation
from colonysim.faults import (
    AnyFault,
    BadFault,
    Crash,
    Delay,
    Hazard,
    LoseReply,
    LoseRequest,
    Partition,
    Plan,
    Restart,
    Swarm,
    Times,
    When,
)
from tests.faults.common import ONCE, SUBMITS, submit


def test_a_plan_ends_within_a_run() -> None:
    with pytest.raises(BadFault, match="until_s=inf: must be a finite number"):
        Plan(until_s=float("inf"))


@pytest.mark.parametrize(
    "fault",
    [
        Restart(times=Times(every_s=5)),
        Partition(times=Times(mean_every_s=5), for_s=1),
        Hazard(hazard="lost_signal"),
        Crash(times=Times(every_s=5)),
    ],
)
def test_what_lasts_needs_an_end(sim: Simulation, fault: AnyFault) -> None:
    with pytest.raises(BadFault, match="has no end: give it until_s"):
        sim.faults.add(fault)
    assert sim.faults.all == ()
    sim.faults.add(Plan(faults=(fault,), until_s=60))


def test_a_plan_ends_all_its_faults(sim: Simulation, colony: ColonyClient) -> None:
    sim.faults.add(Plan(faults=(LoseRequest(match=SUBMITS), Restart(times=Times(every_s=10))), until_s=30))
    with pytest.raises(Lost):
        submit(colony)
    sim.advance(30)
    submit(colony)
    assert sim.journal is not None
    assert sum(b'"kind":"restart"' in line for line in sim.journal.lines) == 2


@pytest.mark.parametrize("seed", range(5))
def test_a_swarm_draws_which_faults_are_active(seed: int) -> None:
    faults = tuple(LoseRequest(name=str(n)) for n in range(10))
    plan = Plan(faults=faults, swarm=Swarm(keep=0.5))
    names = [fault.name for fault in plan.active(seed)]
    assert names == [fault.name for fault in plan.active(seed)]
    assert 0 < len(names) < 10
    assert len({tuple(fault.name for fault in plan.active(s)) for s in range(20)}) > 15


def _swarm(count: int = 6) -> Plan:
    faults = tuple(LoseReply(name=f"f{place}", when=When(probability=0.1)) for place in range(count))
    return Plan(faults=faults, until_s=100, swarm=Swarm(keep=0.5))


def _names(sim: Simulation) -> list[str]:
    return [fault.name for fault in sim.faults.all]


def test_a_reset_with_another_seed_draws_the_swarm_anew() -> None:
    sim = Simulation(seed=1)
    sim.faults.add(_swarm())
    drawn = []
    for seed in (1, 2, 3, 1):
        sim.reset(seed=seed)
        drawn.append(_names(sim))
        assert drawn[-1] == [fault.name for fault in _swarm().active(seed)]
    assert drawn[0] == drawn[3]
    assert drawn[0] != drawn[1]
    before = _names(sim)
    sim.reset()
    assert _names(sim) == before


def test_what_was_removed_of_a_swarm_is_not_drawn_again() -> None:
    sim = Simulation(seed=1)
    first, *_ = sim.faults.add(_swarm())
    sim.faults.add(LoseRequest(name="mine", when=ONCE))
    sim.faults.remove(first.name)
    others = _names(sim)
    sim.faults.enable(others[0], False)
    sim.reset(seed=1)
    assert _names(sim) == others
    assert not sim.faults.all[0].enabled
    sim.faults.clear()
    sim.reset(seed=2)
    assert _names(sim) == []


def test_names_of_a_swarm_are_taken_even_where_it_does_not_draw_them() -> None:
    sim = Simulation(seed=1)
    sim.faults.add(_swarm())
    idle = next(fault for fault in _swarm().faults if fault.name not in _names(sim))
    with pytest.raises(BadFault, match=f"invalid name='{idle.name}': a fault of that name exists already"):
        sim.faults.add(idle)


def test_a_swarm_keeps_a_few_at_least() -> None:
    plan = Plan(faults=(LoseRequest(), Delay(by_s=1)), swarm=Swarm(keep=0, at_least=1))
    assert len(plan.active(3)) == 1


@pytest.mark.colonysim(faults=Plan(faults=(LoseReply(match=SUBMITS, when=ONCE),)))
def test_the_marker_of_a_test_takes_faults(colonysim: Simulation) -> None:
    colony = ColonyClient.stock(colonysim)
    with pytest.raises(Lost):
        colony.submit("f")
    assert len(colony.processes()) == 1


@pytest.mark.colonysim(faults=[{"kind": "delay", "by_s": 1}, LoseRequest(name="x", enabled=False)])
def test_the_marker_of_a_test_takes_several(colonysim: Simulation) -> None:
    assert [fault.name for fault in colonysim.faults.all] == ["delay", "x"]
    ColonyClient.stock(colonysim).submit("f")
    assert colonysim.faults.counts == {"delay": 1, "x": 0}
