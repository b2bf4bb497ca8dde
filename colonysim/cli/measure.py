"""Measure how fast this machine runs the simulation."""

from __future__ import annotations

import gc
import time

import msgspec

from colonysim.core.operations.assignment import AssignProcess
from colonysim.core.operations.closing import CloseSuccessful
from colonysim.core.operations.processes import SubmitFuncSpec
from colonysim.core.protocol import Answer
from colonysim.core.types import Conditions, FunctionSpec
from colonysim.simulation.client import ColonyClient
from colonysim.simulation.simulation import Simulation


class Figure(msgspec.Struct, frozen=True):
    """One measured value with its unit."""

    what: str
    value: float
    unit: str


_SUBMIT = SubmitFuncSpec(
    spec=FunctionSpec(
        funcname="f",
        maxwaittime=3600,
        maxexectime=3600,
        maxretries=3,
        conditions=Conditions(colonyname="bench", executortype="cli"),
    )
)
_ASSIGN = AssignProcess(colonyname="bench", timeout=-1)


def life_cycles(
    count: int, executors: int = 1, *, waiting: int = 0, invariants: bool = False, journal: bool = False
) -> float:
    """Return the seconds of processor time for `count` life cycles: submit, assign, close.

    `waiting` processes wait in the queue before. Each process has a limit for waiting and one for running.
    """
    sim = Simulation(mode="manual", invariants=invariants, journal=journal)
    colony = ColonyClient.create(sim, "bench")
    user = colony.add_user("u").id
    takers = [colony.add_executor("cli", f"e{number}").id for number in range(executors)]
    call, place = sim.call, 0
    for _ in range(waiting):
        call(user, _SUBMIT)
    answer: Answer | None = None
    gc.collect()
    start = time.process_time()
    for _ in range(count):
        call(user, _SUBMIT)
        taker = takers[place]
        place = (place + 1) % executors
        process_id = call(taker, _ASSIGN).body.process.process_id
        answer = call(taker, CloseSuccessful(processid=process_id))
    span_s = time.process_time() - start
    if answer is not None and not answer.ok:
        raise AssertionError(f"the last close was refused: {answer.body}")
    return span_s


def figures(count: int = 10_000) -> list[Figure]:
    """Measure this machine with `count` life cycles for each figure, best of three."""

    def rate(**how: bool) -> float:
        return count / min(life_cycles(count, **how) for _ in range(3))

    fresh_s = []
    for _ in range(20):
        start = time.process_time()
        Simulation(mode="manual")
        fresh_s.append(time.process_time() - start)
    shallow_s, deep_s = (life_cycles(2_000, waiting=waiting) for waiting in (0, 10 * count))
    return [
        Figure("life cycles: submit, assign, close", rate(), "/s"),
        Figure("the same, with invariants", rate(invariants=True), "/s"),
        Figure("the same, with invariants and journal", rate(invariants=True, journal=True), "/s"),
        Figure(f"one life cycle with {10 * count:,} waiting, against none", deep_s / shallow_s, "x"),
        Figure("a fresh simulation", min(fresh_s) * 1000, "ms"),
    ]
