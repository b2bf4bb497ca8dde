"""Faults are added, turned off and on, and removed."""

from __future__ import annotations

import pytest
from msgspec.structs import force_setattr

from colonysim import ColonyClient, Lost, Simulation
from colonysim.faults import (
    BadFault,
    Delay,
    Hazard,
    LoseRequest,
    Match,
    Partition,
    Restart,
    Times,
)
from tests.faults.common import ONCE, SUBMITS, submit


def test_no_faults_cost_nothing(sim: Simulation, colony: ColonyClient) -> None:
    assert sim.kernel.network is None
    sim.faults.add(LoseRequest(name="x"))
    assert sim.kernel.network is not None
    sim.faults.remove("x")
    assert sim.kernel.network is None


def test_a_fault_can_be_turned_off_and_on(sim: Simulation, colony: ColonyClient) -> None:
    (fault,) = sim.faults.add(LoseRequest(match=SUBMITS))
    sim.faults.enable(fault.name, False)
    submit(colony)
    sim.faults.enable(fault.name)
    with pytest.raises(Lost):
        submit(colony)
    sim.faults.clear()
    submit(colony)
    assert sim.faults.all == ()


def test_a_partition_ends_when_its_fault_is_removed(sim: Simulation, colony: ColonyClient) -> None:
    (fault,) = sim.faults.add(Partition(times=Times(at_s=1), for_s=1000))
    sim.advance(2)
    with pytest.raises(Lost):
        colony.processes()
    sim.faults.remove(fault.name)
    assert colony.processes() == []


def test_a_server_that_is_down_is_back_when_its_fault_is_removed(sim: Simulation, colony: ColonyClient) -> None:
    sim.faults.add(Restart(times=Times(at_s=1), down_s=1000))
    sim.advance(2)
    sim.faults.clear()
    assert colony.processes() == []


def test_a_reset_begins_all_faults_anew(sim: Simulation) -> None:
    sim.kernel.mark_initial()
    sim.faults.add(LoseRequest(match=Match(types="addcolonymsg"), when=ONCE))
    for _ in range(2):
        with pytest.raises(Lost):
            ColonyClient.create(sim, "d")
        ColonyClient.create(sim, "d")
        sim.reset()


def test_of_several_faults_all_are_added_or_none() -> None:
    sim = Simulation(mode="manual")
    broken = Restart(times=Times(every_s=5, count=1))
    force_setattr(broken.times, "every_s", float("inf"))  # past all checks
    with pytest.raises(OverflowError):
        sim.faults.add(Partition(times=Times(at_s=1), for_s=9), Hazard(hazard="lost_signal", until_s=9), broken)
    assert sim.faults.all == ()
    sim.advance(2)
    assert ColonyClient.create(sim, "c").processes() == []
    assert sim.calls[-1].fault == ""
    sim.reset()
    assert [fault.name for fault in sim.faults.add(Restart(times=Times(at_s=5)))] == ["restart"]


def test_names_are_unique(sim: Simulation) -> None:
    assert [fault.name for fault in sim.faults.add(Delay(by_s=1), Delay(by_s=2))] == ["delay", "delay-2"]
    with pytest.raises(BadFault, match="a fault of that name exists already"):
        sim.faults.add(Delay(name="delay", by_s=1))
    with pytest.raises(BadFault, match="there is no fault 'x'; the faults are: delay, delay-2"):
        sim.faults.remove("x")
