"""Lanes with more sizes of executors than there are views: the same answers, and a cost that is counted."""

from __future__ import annotations

import random

import pytest

from colonysim.core import lanes
from colonysim.core.records import CANCELLED, RUNNING, WAITING, Process
from colonysim.core.scheduling import Demand, Queues
from tests.core.test_scheduling import Naive, _process
from tests.steps import steps


def _size(chance: random.Random, most: int) -> Demand:
    cpu, memory = (chance.choice([None, *range(most)]) for _ in range(2))
    return Demand("c", "e", "t", "a", "", cpu, memory)


@pytest.mark.parametrize("seed", range(12))
def test_a_tree_finds_what_a_linear_search_finds(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """With heads that go, come back earlier, are cancelled, and with runs that come and go."""
    monkeypatch.setattr(lanes, "_MOST_VIEWS", 1)
    monkeypatch.setattr(lanes, "_RUNS_PER_CALL", 0)
    chance, queues, naive = random.Random(seed), Queues(), Naive()
    taken: list[Process] = []
    trees = set()
    most = chance.choice([6, 40])
    for serial in range(1500):
        for _ in range(chance.randrange(3)):
            amounts = {"cpu": chance.randrange(most), "memory": chance.randrange(most), "priority": chance.randrange(3)}
            names = chance.choice([[], [], ["a"], ["b"]])
            process = _process(3 * serial + _, names=names, **amounts)
            naive.waiting.append(process)
            queues.push(process)
        if naive.waiting and chance.random() < 0.2:
            gone = naive.waiting.pop(chance.randrange(len(naive.waiting)))
            gone.state = CANCELLED
            queues.forget(gone)
        if taken and chance.random() < 0.3:
            back = taken.pop(chance.randrange(len(taken)))
            back.state = WAITING
            naive.waiting.append(back)
            queues.push(back)
        demand = _size(chance, most)
        expected = naive.first_for(demand)
        assert queues.take(demand) is expected, serial
        if expected is not None:
            naive.waiting.remove(expected)
            expected.state = RUNNING
            taken.append(expected)
        trees |= {id(lane.tree) for pool in queues.pools.values() for lane in pool.lanes.values() if lane.tree}
    assert len(trees) > 1 or most == 6


def _filled(sets: int) -> Queues:
    queues = Queues()
    side = int(sets**0.5)
    for serial in range(sets):
        queues.push(_process(serial, cpu=serial % side + 1, memory=serial // side + 1))
    return queues


def _steps_of_an_assign(sets: int, sizes: int) -> float:
    """On the average, once there have been as many calls as pay for the views."""
    chance, queues, side = random.Random(3), _filled(sets), int(sets**0.5)
    demands = [Demand("c", "e", "t", "e", "", chance.randrange(side), chance.randrange(side)) for _ in range(sizes)]

    def turn(demand: Demand) -> None:
        if (process := queues.take(demand)) is not None:
            queues.push(process)  # it still waits, as one that was put back does

    for demand in demands:
        turn(demand)
    return steps(lambda: [turn(demand) for demand in demands]) / sizes


def test_an_assign_of_one_in_300_sizes_does_not_look_at_all_sets() -> None:
    """To make a view of 10,000 sets takes some 20,000 lines, and each of 300 sizes in turn needed a new one."""
    assert _steps_of_an_assign(10_000, 300) <= 2_000


def test_new_amounts_before_each_assign_do_not_cost_a_view_each() -> None:
    """Each new amount of CPU drops the views; to make them again each time would cost 8 times as much for 8 times."""

    def cost(sets: int) -> float:
        queues = _filled(0)
        demand = Demand("c", "e", "t", "e", "", 10**6, 10**6)

        def work() -> None:
            for serial in range(sets):
                queues.push(_process(serial, cpu=serial + 1, memory=1))
                if (process := queues.take(demand)) is not None:
                    queues.push(process)

        return steps(work) / sets

    assert cost(1600) <= 4 * cost(200)
