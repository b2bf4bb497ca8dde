"""When a fault strikes: triggers and chance, which no other fault changes."""

from __future__ import annotations

import pytest

from colonysim import ColonyClient, Lost, Simulation
from colonysim.faults import (
    After,
    AnyFault,
    Delay,
    LoseReply,
    LoseRequest,
    Partition,
    Times,
    When,
)
from tests.faults.common import SUBMITS, message_of, submit


@pytest.mark.parametrize(
    ("when", "hits"),
    [
        (When(first=2), [0, 1]),
        (When(nth=3), [2]),
        (When(every=2), [1, 3, 5]),
        (When(every=2, first=4), [1, 3]),
        (When(probability=0), []),
        (When(from_s=2, until_s=4), [2, 3]),
        (When(after=After(type="submitfuncspecmsg", count=2)), [2, 3, 4, 5]),
        (When(after=After(type="submitfuncspecmsg", wait_s=3), first=1), [3]),
    ],
)
def test_a_trigger_says_which_of_them(colony: ColonyClient, sim: Simulation, when: When, hits: list[int]) -> None:
    sim.faults.add(LoseRequest(match=SUBMITS, when=when))
    lost = []
    for number in range(6):
        try:
            submit(colony)
        except Lost:
            lost.append(number)
        sim.advance(1)
    assert lost == hits


def test_chance_strikes_about_as_often_as_it_is_told(sim: Simulation, colony: ColonyClient) -> None:
    sim.faults.add(LoseRequest(match=SUBMITS, when=When(probability=0.3)))
    lost = 0
    for _ in range(1000):
        try:
            submit(colony)
        except Lost:
            lost += 1
    assert 240 < lost < 360


def test_turning_one_fault_off_leaves_the_arrivals_and_the_others_alone() -> None:
    def strikes(*faults: AnyFault) -> tuple[list[int], list[int]]:
        """When requests were sent, and which of them the first fault struck."""
        sim = Simulation(seed=5)
        colony = ColonyClient.create(sim, "c")
        sim.faults.add(*faults)
        for _ in range(300):
            sim.begin(colony.user.id, message_of(colony, "f"))
            sim.advance(1)
        calls = [call for call in sim.calls if call.payload_type == "submitfuncspecmsg"]
        struck = [number for number, call in enumerate(calls) if call.fault == "first"]
        return [call.at_ns for call in calls], struck

    first = LoseReply(name="first", when=When(probability=0.1))
    second = LoseRequest(name="second", when=When(probability=0.3))
    alone, both = strikes(first), strikes(first, second)
    assert alone == both
    assert len(alone[1]) > 10


def test_a_fault_draws_the_same_whoever_stands_before_it() -> None:
    def delays(*faults: AnyFault) -> dict[int, int]:
        sim = Simulation(seed=5)
        colony = ColonyClient.create(sim, "c")
        sim.faults.add(*faults)
        for _ in range(200):
            sim.begin(colony.user.id, message_of(colony, "f"))
            sim.advance(100)
        calls = [call for call in sim.calls if call.payload_type == "submitfuncspecmsg"]
        slow = ((number, call) for number, call in enumerate(calls) if call.fault == "slow")
        return {number: (call.answered_ns or 0) - call.at_ns for number, call in slow}

    slow = Delay(name="slow", by_s=(1.0, 50.0), when=When(probability=0.5))
    alone, second = delays(slow), delays(LoseRequest(when=When(probability=0.5)), slow)
    assert len(second) > 20
    assert second.items() <= alone.items()
    assert second.keys() != alone.keys()


def test_a_partition_does_not_change_what_others_draw() -> None:
    def strikes(*faults: AnyFault) -> list[int]:
        sim = Simulation(seed=5)
        colony = ColonyClient.create(sim, "c")
        sim.faults.add(*faults)
        for _ in range(200):
            sim.begin(colony.user.id, message_of(colony, "f"))
            sim.advance(1)
        calls = [call for call in sim.calls if call.payload_type == "submitfuncspecmsg"]
        return [number for number, call in enumerate(calls) if call.fault == "first" and not 50 <= number < 101]

    first = LoseReply(name="first", when=When(probability=0.2))
    partition = Partition(times=Times(at_s=50), for_s=50)
    assert strikes(first) == strikes(first, partition)


def test_the_wait_after_an_answer_is_drawn_once_for_a_seed() -> None:
    def first_lost(seed: int) -> int:
        sim = Simulation(seed=seed)
        colony = ColonyClient.create(sim, "c")
        sim.faults.add(LoseRequest(match=SUBMITS, when=When(after=After(type="submitfuncspecmsg", wait_s=(2, 30)))))
        for number in range(40):
            try:
                submit(colony)
            except Lost:
                return number
            sim.advance(1)
        return -1

    firsts = [first_lost(seed) for seed in range(8)]
    assert all(2 <= first <= 31 for first in firsts)
    assert len(set(firsts)) > 2
    assert firsts[0] == first_lost(0)
