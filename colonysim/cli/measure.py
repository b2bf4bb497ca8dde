"""Measure how fast this machine runs the simulation."""

from __future__ import annotations

import gc
import os
import platform
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from typing import Final

import msgspec

from colonysim import __version__
from colonysim.core.operations.assignment import AssignProcess
from colonysim.core.operations.closing import CloseSuccessful
from colonysim.core.operations.processes import SubmitFuncSpec
from colonysim.core.protocol import Answer
from colonysim.core.types import Conditions, FunctionSpec
from colonysim.simulation.client import ColonyClient
from colonysim.simulation.simulation import Simulation


class Figure(msgspec.Struct, frozen=True):
    """One figure with its unit, measured in several rounds."""

    what: str
    unit: str
    median: float
    least: float
    most: float


class Measurement(msgspec.Struct, frozen=True, kw_only=True):
    """All figures of one machine, with what they depend on.

    `load`: the number of processes that wanted a processor, before and after, averaged over a minute; empty where the
    system does not tell.
    """

    format: int = 1
    version: str
    python: str
    machine: str
    processors: int
    load: tuple[float, ...]
    life_cycles: int
    rounds: int
    figures: tuple[Figure, ...]


_FRESH: Final = 20
_SUBMIT: Final = SubmitFuncSpec(
    spec=FunctionSpec(
        funcname="f",
        maxwaittime=3600,
        maxexectime=3600,
        maxretries=3,
        conditions=Conditions(colonyname="bench", executortype="cli"),
    )
)
_ASSIGN: Final = AssignProcess(colonyname="bench", timeout=-1)


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


def measure(count: int, rounds: int, progress: Callable[[int], None] = lambda done: None) -> Measurement:
    """Measure this machine with `count` life cycles for each figure.

    The figures are taken turn by turn in `rounds` rounds, so that what else the machine does meets all of them.
    `progress` is called after each round with the number of rounds done.
    """
    before = _load()
    values: dict[tuple[str, str], list[float]] = {}
    for number in range(rounds):
        for what, unit, value in _round(count):
            values.setdefault((what, unit), []).append(value)
        progress(number + 1)
    return Measurement(
        version=__version__,
        python=f"{platform.python_implementation()} {platform.python_version()}",
        machine=_machine(),
        processors=os.cpu_count() or 1,
        load=(*before, *_load()),
        life_cycles=count,
        rounds=rounds,
        figures=tuple(
            Figure(what, unit, median(found), min(found), max(found)) for (what, unit), found in values.items()
        ),
    )


def _round(count: int) -> Iterator[tuple[str, str, float]]:
    """Yield each figure, measured once: what it is, its unit and its value."""
    yield "life cycles: submit, assign, close", "/s", count / life_cycles(count)
    yield "the same, with invariants", "/s", count / life_cycles(count, invariants=True)
    yield "the same, with invariants and journal", "/s", count / life_cycles(count, invariants=True, journal=True)
    shallow_s, deep_s = (life_cycles(2_000, waiting=waiting) for waiting in (0, 10 * count))
    yield f"one life cycle with {10 * count:,} waiting, against none", "x", deep_s / shallow_s
    start = time.process_time()
    for _ in range(_FRESH):
        Simulation(mode="manual")
    yield "a fresh simulation", "ms", (time.process_time() - start) / _FRESH * 1000


def _load() -> tuple[float, ...]:
    try:
        return (round(os.getloadavg()[0], 2),)
    except OSError:
        return ()


def _machine() -> str:
    """Return the name of the processor."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
