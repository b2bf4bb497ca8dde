"""What an assign call costs: as the queue grows, as conditions multiply, where nothing fits, with many parked."""

from __future__ import annotations

import random
from functools import partial

from benchmarks.measure import ASSIGN, USER_ID, Row, Stage, submit_message, typical
from colonysim.core.operations.assignment import AssignProcess
from colonysim.core.operations.closing import CloseSuccessful


def _assign_s(stage: Stage, times: int, message: AssignProcess = ASSIGN, executor: str = "") -> float:
    """The typical assign call; what it takes is closed, and as much submitted again."""
    taker = executor or stage.executors[0]
    call = stage.sim.call
    taken: list[str] = []

    def assign() -> None:
        taken.append(call(taker, message).body.process.process_id)

    def turn() -> float:
        span_s = typical(assign, 1)
        spec = call(taker, CloseSuccessful(processid=taken[-1])) and stage.sim.world.processes[taken.pop()].spec
        stage.ok(USER_ID, type(submit_message())(spec=spec))
        return span_s

    return sorted(turn() for _ in range(times))[times // 2]


def depth(short: bool) -> list[Row]:
    sizes = (1_000, 10_000, 100_000) if short else (1_000, 10_000, 100_000, 1_000_000)
    points = []
    stage = Stage()
    waiting = 0
    message = submit_message()
    for size in sizes:
        for _ in range(size - waiting):
            stage.sim.call(USER_ID, message)
        waiting = size
        points.append((float(size), _assign_s(stage, 5_000)))
    ratio = points[-1][1] / points[0][1]
    note = f"{points[0][1] * 1e6:.1f} µs with 1,000, {points[-1][1] * 1e6:.1f} µs with {sizes[-1]:,}"
    return [Row(f"assign with {sizes[-1]:,} waiting against 1,000", ratio, "x", 1.5, note=note, points=points)]


def _mixed(stage: Stage, sets: int, each: int) -> None:
    """So many condition sets, of names, places, CPU and memory, and so many processes of each, shuffled."""
    combinations = [
        {"executornames": ["e0"] if number % 2 else None, "locationname": "here" if number % 4 < 2 else "",
         "cpu": f"{1 + number // 4 % 16 * 100}m", "mem": f"{1 + number // 64}Mi"}
        for number in range(sets)
    ]  # fmt: skip
    order = [combination for combination in combinations for _ in range(each)]
    random.Random(1).shuffle(order)
    for combination in order:
        stage.submit(**combination)


def conditions(short: bool) -> list[Row]:
    sizes = (1, 10, 100, 1_000)
    limited = AssignProcess(colonyname="dev", timeout=-1, availablecpu="800m", availablemem="8Mi")
    rows = []
    for message, what in ((ASSIGN, "all of which fit"), (limited, "half of them too large")):
        points = []
        for sets in sizes:
            stage = Stage(executors=0)
            taker = stage.add_executor("e0", "here")
            _mixed(stage, sets, 2_000 // sets if sets < 100 else 20)
            points.append((float(sets), _assign_s(stage, 2_000, message, taker)))
        ratio = points[-1][1] / points[0][1]
        note = f"{points[0][1] * 1e6:.1f} µs with 1, {points[-1][1] * 1e6:.1f} µs with 1,000"
        rows.append(Row(f"assign with 1,000 condition sets against one, {what}", ratio, "x", 5.0, note=note,
                        points=points))  # fmt: skip
    return rows


def misses(short: bool) -> list[Row]:
    """An assign that finds nothing, in an empty colony and beside 100,000 processes that it may not have."""
    stage = Stage()
    message = submit_message()
    for _ in range(1_000):
        stage.sim.call(USER_ID, message)
    hit_s = _assign_s(stage, 5_000)
    stage = Stage()
    taker = stage.executors[0]
    empty_s = typical(lambda: stage.sim.call(taker, ASSIGN), 5_000)
    for number in range(10_000 if short else 100_000):
        stage.submit(cpu=f"{2000 + number % 1000}m")
    small = AssignProcess(colonyname="dev", timeout=-1, availablecpu="1000m")
    beside_s = typical(lambda: stage.sim.call(taker, small), 1_000)
    note = f"a hit {hit_s * 1e6:.1f} µs, a miss {empty_s * 1e6:.1f} µs"
    return [
        Row("assign that finds nothing against a hit", empty_s / hit_s, "x", 1.0, note=note),
        Row("the same beside 1,000 sets that do not fit", beside_s / hit_s, "x", 1.0,
            note=f"{beside_s * 1e6:.1f} µs"),
    ]  # fmt: skip


def parked(short: bool) -> list[Row]:
    """Many assign calls parked; the cost of one submit that wakes the longest parked, which parks again."""
    points = []
    sizes = (1, 100, 10_000)
    poll = AssignProcess(colonyname="dev", timeout=3600)
    for size in sizes:
        stage = Stage(executors=size)
        for executor in stage.executors:
            stage.sim.begin(executor, poll)
        message = submit_message()
        spans = []
        for number in range(2_000 if size > 1 else 500):
            spans.append(typical(partial(stage.sim.call, USER_ID, message), 1))
            stage.sim.begin(stage.executors[number % size], poll)
        points.append((float(size), sorted(spans)[len(spans) // 2]))
    ratio = points[-1][1] / points[0][1]
    note = f"{points[0][1] * 1e6:.1f} µs with one parked, {points[-1][1] * 1e6:.1f} µs with 10,000"
    return [Row("a submit with 10,000 parked against one parked", ratio, "x", 1.5, note=note, points=points)]


def measure(short: bool) -> list[Row]:
    return [*depth(short), *conditions(short), *misses(short), *parked(short)]
