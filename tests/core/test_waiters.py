"""Which of many parked calls a waiting process wakes: what a linear search finds, at a cost that is counted."""

from __future__ import annotations

import random

import pytest

from colonysim.core import waiters
from colonysim.core.scheduling import Demand, Poll, Queues
from tests.core.test_scheduling import _process
from tests.steps import steps


def _demand(chance: random.Random, sizes: int, names: int = 3, places: int = 3) -> Demand:
    cpu, memory = (chance.choice([None, *range(sizes)]) for _ in range(2))
    name, place = f"n{chance.randrange(names)}", chance.choice(["", *(f"l{number}" for number in range(places))])
    return Demand("c", "e", "t", name, place, cpu, memory)


@pytest.mark.parametrize("seed", range(12))
def test_the_call_parked_longest_is_found_among_many_sizes_names_and_places(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waiters, "_MOST_FRESH", 1 + seed % 3)
    chance, queues = random.Random(seed), Queues()
    parked: dict[int, Poll] = {}
    trees = 0
    sizes = chance.choice([3, 30])
    for ticket in range(1500):
        if chance.random() < 0.55:
            poll = parked[ticket] = Poll(ticket, _demand(chance, sizes), 0)
            queues.park(poll)
        elif parked:
            assert queues.unpark(parked.pop(chance.choice(list(parked))).ticket)
        wish = {"cpu": chance.randrange(sizes), "memory": chance.randrange(sizes)}
        named = [["n0"], ["n1", "n2", "n1"]] if ticket >= 700 * (seed % 2) else []  # names are indexed when first used
        names, place = chance.choice([[], [], *named]), chance.choice(["", "l0", "l1"])
        process = _process(ticket, names=names, location=place, **wish)
        fitting = (
            poll
            for poll in parked.values()
            if poll.demand.fits(wish["cpu"], wish["memory"])
            and (not names or poll.demand.name in names)
            and place in ("", poll.demand.location)
        )
        assert queues.waiter(process) is next(fitting, None), ticket
        if index := queues.pools["c", "t"].waiters.indexes.get((None, None)) if parked else None:
            trees = max(trees, len(index.trees))
    assert trees > 1
    kept = queues.pools["c", "t"].waiters
    for ticket in list(parked):
        assert queues.unpark(ticket)
    assert (kept.groups, kept.indexes) == ({}, {})  # calls that have gone leave no group, tree or index behind


def test_a_call_that_parks_again_is_found_when_those_before_it_in_its_group_have_gone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It parks again with its old ticket after a pause, behind younger ones that need the same; trees must hear of it."""
    monkeypatch.setattr(waiters, "_MOST_FRESH", 1)
    queues = Queues()

    def park(ticket: int, cpu: int) -> None:
        queues.park(Poll(ticket, Demand("c", "e", "t", "n", "", cpu, None), 0))

    for ticket, cpu in ((5, 10), (7, 10), (6, 20), (8, 30), (9, 40)):
        park(ticket, cpu)
    queues.unpark(5)
    park(5, 10)

    def found() -> int:
        poll = queues.waiter(_process(1, cpu=10))
        assert poll is not None
        return poll.ticket

    assert found() == 6
    queues.unpark(7)
    assert found() == 5
    queues.unpark(5)
    assert found() == 6


def _cost_of_a_submit(count: int, sizes: int, names: int, places: int) -> float:
    """Of each of some submits among so many parked calls: one is woken, tries, and another parks."""
    chance, queues = random.Random(3), Queues()
    for ticket in range(count):
        queues.park(Poll(ticket, _demand(chance, sizes, names, places), 0))
    wishes = [_process(n, cpu=chance.randrange(sizes), memory=chance.randrange(sizes)) for n in range(100)]
    parks = [Poll(count + number, _demand(chance, sizes, names, places), 0) for number in range(100)]

    def work() -> None:
        for process, poll in zip(wishes, parks, strict=True):
            waiter = queues.waiter(process)
            assert waiter is not None
            hearing = queues.next_notified(process)
            assert hearing is not None
            queues.pass_turn(hearing)
            queues.unpark(waiter.ticket)
            queues.park(poll)

    return steps(work) / len(wishes)


@pytest.mark.parametrize(
    ("sizes", "names", "places"),
    [(20, 10_000, 1), (300, 10_000, 1), (2, 10_000, 10_000), (300, 10_000, 10_000)],
    ids=["few sizes", "many sizes", "many places", "many of both"],
)
def test_a_submit_among_ten_thousand_parked_calls_costs_little_more_than_among_a_few(
    sizes: int, names: int, places: int
) -> None:
    """A look at each size alone would take 10,000 lines."""
    assert _cost_of_a_submit(10_000, sizes, names, places) <= 2_000


def test_a_submit_for_one_executor_does_not_look_at_all_calls_of_it() -> None:
    def cost(count: int) -> int:
        queues = Queues()
        for ticket in range(count):
            queues.park(Poll(ticket, Demand("c", "e", "t", "n", "", ticket, count - ticket), 0))
        process = _process(0, names=["n"], cpu=count - 1, memory=1)
        found = queues.waiter(process)
        assert found is not None
        assert found.ticket == count - 1
        return steps(lambda: queues.waiter(process))

    assert cost(5000) <= 2 * cost(50)
