"""The queues against linear search, in shapes that reach their corners."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from msgspec.structs import replace

from colonysim.core.records import CANCELLED, RUNNING, WAITING, Process, Resources
from colonysim.core.scheduling import Demand, Queues, order_of
from colonysim.core.types import Conditions, FunctionSpec


def _process(serial: int, **given: object) -> Process:
    names = given.get("names") or None
    conditions = Conditions(
        colonyname="c", executortype="t", executornames=names, locationname=str(given.get("location", ""))
    )
    priority = int(str(given.get("priority", 0)))
    spec = FunctionSpec(priority=priority, conditions=conditions)
    submitted = int(str(given.get("submitted", serial)))
    resources = Resources(int(str(given.get("cpu", 0))), int(str(given.get("memory", 0))))
    return Process(f"p{serial}", serial, "c", spec, "", "", submitted - priority * 100, submitted, resources)


@dataclass
class Naive:
    """All that waits, in one list."""

    waiting: list[Process] = field(default_factory=list)

    def first_for(self, demand: Demand) -> Process | None:
        def fits(process: Process) -> bool:
            conditions = process.spec.conditions
            return (
                demand.fits(process.resources.cpu_milli, process.resources.memory_bytes)
                and (not conditions.executornames or demand.name in conditions.executornames)
                and (not conditions.locationname or conditions.locationname.lower() == demand.location.lower())
            )

        return min(filter(fits, self.waiting), key=order_of, default=None)


steps = st.lists(
    st.one_of(
        st.tuples(
            st.just("push"),
            st.fixed_dictionaries(
                {
                    "priority": st.integers(-3, 3),
                    "names": st.sampled_from([[], [], ["a"], ["a", "b"], ["b"]]),
                    "location": st.sampled_from(["", "", "X", "x"]),
                    "cpu": st.integers(0, 9),
                    "memory": st.integers(0, 3),
                }
            ),
        ),
        st.tuples(st.just("take"), st.tuples(st.sampled_from("abc"), st.sampled_from(["", "x", "X"]), st.none() | st.integers(0, 9), st.none() | st.integers(0, 3))),
        st.tuples(st.just("back"), st.integers(0, 30)),
        st.tuples(st.just("cancel"), st.integers(0, 30)),
    ),
    max_size=60,
)  # fmt: skip


@given(steps)
@hypothesis_settings(max_examples=300)
def test_the_same_process_as_by_linear_search(history: list[tuple[str, object]]) -> None:
    queues, naive, taken, serial = Queues(), Naive(), [], 0
    for kind, given_ in history:
        if kind == "push":
            serial += 1
            process = _process(serial, **given_)  # type: ignore[arg-type]
            queues.push(process)
            naive.waiting.append(process)
        elif kind == "take":
            name, location, cpu, memory = given_  # type: ignore[misc]
            demand = Demand("c", name, "t", name, location, cpu, memory)
            expected = naive.first_for(demand)
            found = queues.take(demand)
            assert found is expected
            if found is not None:
                found.state = RUNNING
                naive.waiting.remove(found)
                taken.append(found)
        elif kind == "back" and taken:
            process = taken.pop(int(str(given_)) % len(taken))
            process.state = WAITING
            queues.push(process)
            naive.waiting.append(process)
        elif kind == "cancel" and naive.waiting:
            process = naive.waiting.pop(int(str(given_)) % len(naive.waiting))
            process.state = CANCELLED
            queues.forget(process)
        assert len(queues) == len(naive.waiting)
    assert queues.first(1000) == sorted(naive.waiting, key=order_of)


@pytest.mark.parametrize("seed", range(60))
def test_amounts_of_both_kinds_are_heeded_in_long_histories(seed: int) -> None:
    """Many kinds of process, each with amounts of its own, and executors of every size."""
    draw = random.Random(seed)
    queues, naive = Queues(), Naive()
    for serial in range(400):
        if draw.random() < 0.55:
            amounts = {"cpu": draw.randrange(40), "memory": draw.randrange(40), "priority": draw.randrange(3)}
            process = _process(serial, **amounts)
            queues.push(process)
            naive.waiting.append(process)
            continue
        size = [draw.choice([None, draw.randrange(40)]) for _ in range(2)]
        demand = Demand("c", "a", "t", "a", "", *size)
        expected = naive.first_for(demand)
        assert queues.take(demand) is expected
        if expected is not None:
            expected.state = RUNNING
            naive.waiting.remove(expected)


def test_a_process_that_comes_back_stands_where_it_stood() -> None:
    queues = Queues()
    first, second, third = (_process(serial) for serial in (1, 2, 3))
    for process in (first, second, third):
        queues.push(process)
    anybody = Demand("c", "e", "t", "e", "")
    for process in (first, second):
        assert queues.take(anybody) is process
    queues.push(second)
    queues.push(first)
    assert [queues.take(anybody) for _ in range(4)] == [first, second, third, None]


def test_husks_are_cleared_away() -> None:
    queues = Queues()
    processes = [_process(serial) for serial in range(1000)]
    for process in processes:
        queues.push(process)
    for process in processes[1:]:
        process.state = CANCELLED
        queues.forget(process)
    (run,) = queues.pools["c", "t"].runs.values()
    assert len(run.fifo) < 100
    assert queues.take(Demand("c", "e", "t", "e", "")) is processes[0]


def test_empty_runs_are_cleared_away() -> None:
    queues = Queues()
    anybody = Demand("c", "e", "t", "e", "")
    for serial in range(5000):
        queues.push(_process(serial, cpu=serial))
        taken = queues.take(anybody)
        assert taken is not None
        taken.state = RUNNING
    assert len(queues.pools["c", "t"].runs) < 200


@pytest.mark.parametrize("count", [3, 50])
def test_many_sorts_of_demands_are_told_apart(count: int) -> None:
    """With few runs they are looked at one by one, with many through a heap: the same answers."""
    queues = Queues()
    processes = [_process(serial, cpu=count - serial) for serial in range(count)]
    for process in processes:
        queues.push(process)
    small = Demand("c", "e", "t", "e", "", cpu_milli=1)
    assert queues.take(small) is processes[-1]
    processes[-1].state = RUNNING
    assert queues.take(small) is None
    large = Demand("c", "e", "t", "e", "")
    for process in processes[:-1]:
        assert queues.take(large) is process
        process.state = RUNNING


def test_many_sizes_of_processes_and_executors_find_what_a_linear_search_finds() -> None:
    """More sizes than there are views, and more new heads than the log of a lane keeps."""
    chance = random.Random(7)
    queues, naive = Queues(), Naive()
    for serial in range(4000):
        if chance.random() < 0.5:
            process = _process(serial, cpu=chance.randrange(12), memory=chance.randrange(12))
            naive.waiting.append(process)
            queues.push(process)
        if naive.waiting and chance.random() < 0.1:
            gone = naive.waiting.pop(chance.randrange(len(naive.waiting)))
            gone.state = CANCELLED
            queues.forget(gone)
        demand = Demand("c", "e", "t", "a", "", chance.choice([None, *range(12)]), chance.choice([None, *range(12)]))
        expected = naive.first_for(demand)
        assert queues.take(demand) is expected, serial
        if expected is not None:
            naive.waiting.remove(expected)
            expected.state = RUNNING
    assert max(len(lane.views) for pool in queues.pools.values() for lane in pool.lanes.values()) > 32


def test_a_process_that_came_back_is_taken_after_what_stood_behind_it_has_gone() -> None:
    queues = Queues()
    first, second = _process(1), _process(2)
    for process in (first, second):
        queues.push(process)
    anybody = Demand("c", "e", "t", "e", "")
    assert queues.take(anybody) is first
    queues.push(first)
    second.state = CANCELLED
    queues.forget(second)
    assert [queues.take(anybody) for _ in range(2)] == [first, None]


def test_a_process_that_comes_back_before_another_that_came_back_is_the_next() -> None:
    """Its set holds only what came back, and an executor of another size has looked at it meanwhile."""
    queues = Queues()
    small, large = (Demand("c", "e", "t", "e", "", cpu_milli=cpu) for cpu in (1, 100))
    cpus = [5, 1, 5, 5, 1, 1, 6, 7, 8, 9]
    processes = [_process(serial, submitted=0, cpu=cpu) for serial, cpu in enumerate(cpus)]
    for process in processes:
        queues.push(process)
    assert queues.take(large) is processes[0]
    assert [queues.take(small), queues.take(small)] == [processes[1], processes[4]]
    processes[5].state = CANCELLED
    queues.forget(processes[5])
    queues.push(processes[4])
    assert queues.take(large) is processes[2]
    queues.push(processes[1])
    assert queues.take(large) is processes[1]


@pytest.mark.parametrize("kind", ["cpu", "memory"])
def test_ever_new_amounts_find_what_a_linear_search_finds(kind: str) -> None:
    """The steps between sizes are counted anew once most of them belong to nobody."""
    chance = random.Random(11)
    queues, naive = Queues(), Naive()
    for serial in range(600):
        process = _process(serial, **{kind: chance.randrange(serial + 1) if serial % 2 else serial})
        naive.waiting.append(process)
        queues.push(process)
        while len(naive.waiting) > 8:
            gone = naive.waiting.pop(chance.randrange(len(naive.waiting)))
            gone.state = CANCELLED
            queues.forget(gone)
        for _ in range(4):
            amount = chance.choice(naive.waiting).resources[kind == "memory"] - chance.randrange(2)
            demand = Demand("c", "e", "t", "e", "", **{f"{kind}_milli" if kind == "cpu" else "memory_bytes": amount})
            pool = queues.pools["c", "t"]
            best, expected = pool.best(demand), naive.first_for(demand)
            assert (best and best[1]) is expected, serial


@pytest.mark.parametrize("count", ["nodes", "processes", "processespernode"])
def test_counts_up_to_127_are_given_out_and_larger_ones_never(count: str) -> None:
    queues = Queues()
    anybody = Demand("c", "e", "t", "e", "")
    for serial, number in enumerate((127, 128)):
        process = _process(serial)
        conditions = replace(process.spec.conditions, **{count: number})
        process.spec = replace(process.spec, conditions=conditions)
        queues.push(process)
        assert queues.take(anybody) is (process if number == 127 else None)


def test_the_default_is_exclusive_assignment() -> None:
    """A star is then a name like any other."""
    queues = Queues()
    queues.push(_process(1, names=["*"]))
    assert queues.take(Demand("c", "e", "t", "e", "")) is None
