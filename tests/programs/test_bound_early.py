"""Functions that code has bound before there were programs are virtual as well."""

from __future__ import annotations

import dataclasses
import datetime
import functools
import gc
import multiprocessing
import os
import pickle
import random
import subprocess
import sys
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.programs.running import ran
from tests.programs.serving import START

ROOT = Path(__file__).parents[2]


def by_default_argument(sleep: Any = time.sleep, clock: Any = time.time) -> float:
    sleep(3)
    return float(clock())


class Injected:
    sleep = staticmethod(time.sleep)

    def __init__(self) -> None:
        self.clock = time.time

    def __call__(self) -> float:
        self.sleep(3)
        return self.clock()


def _closure() -> Callable[[], float]:
    sleep, clock = time.sleep, time.time

    def program() -> float:
        sleep(3)
        return clock()

    return program


TABLE: dict[str, Any] = {"sleep": time.sleep, "clock": time.time}
PARTIAL = functools.partial(time.sleep, 3)
NOW, TODAY, UTC_NOW = datetime.datetime.now, datetime.date.today, datetime.datetime.utcnow


@dataclasses.dataclass
class Job:
    created: float = dataclasses.field(default_factory=time.time)


def by_table() -> float:
    TABLE["sleep"](3)
    return float(TABLE["clock"]())


def by_partial() -> float:
    PARTIAL()
    return Job().created


def by_saved_method() -> float:
    PARTIAL()
    assert datetime.datetime.combine(TODAY(), datetime.time()) <= NOW()
    assert UTC_NOW() == NOW(datetime.UTC).replace(tzinfo=None)
    return NOW().timestamp()


@pytest.mark.parametrize("code", [by_default_argument, Injected(), _closure(), by_table, by_partial, by_saved_method])
def test_what_is_bound_early_is_virtual(code: Callable[[], float]) -> None:
    assert ran(code, name="p").result == START.timestamp() + 3
    assert TABLE["clock"]() != START.timestamp() + 3
    assert abs(NOW().timestamp() - time.time()) < 3600


DRAWS: list[Any] = [
    random.random,
    functools.partial(random.choice, range(10**6)),
    functools.partial(random.gauss, 0, 1),
    functools.partial(random.getrandbits, 64),
    functools.partial(os.urandom, 8),
    uuid.uuid1,
    uuid.uuid4,
]


def _draw() -> list[Any]:
    return [draw() for draw in DRAWS for _ in range(3)]


def test_chance_that_is_bound_early_comes_from_the_seed() -> None:
    first = ran(_draw, name="p").result
    before = random.getstate()
    random.gauss(0, 1)  # leaves half of a pair to the next one
    assert ran(_draw, name="p").result == first
    assert all(a != b for a, b in zip(ran(_draw, name="p", seed=4).result, first, strict=True))
    random.setstate(before)


def test_a_program_may_seed_its_own_chance_only() -> None:
    def seeded() -> list[Any]:
        random.seed(1)
        state = random.getstate()
        drawn = [random.random(), random.gauss(0, 1)]
        random.setstate(state)
        return [drawn, [random.random(), random.gauss(0, 1)]]

    random.seed(5)
    expected = random.random()
    random.seed(5)
    one, other = ran(seeded).result
    assert one == other
    assert random.random() == expected
    assert random.Random(1).random() == one[0]


NUMPY = """
import numpy
from tests.programs.running import ran

def program():
    return [numpy.random.random(), numpy.random.default_rng().random()]

before = numpy.random.get_state()[1].tolist()
first = ran(program, name="p").result
assert ran(program, name="p").result == first
assert all(a != b for a, b in zip(first, ran(program, name="p", seed=4).result, strict=True))
assert numpy.random.get_state()[1].tolist() == before
"""


def test_numpy_draws_from_the_seed_where_it_is_there() -> None:
    """In a process of its own: the numbers are put back when no simulation has programs any more."""
    pytest.importorskip("numpy")
    done = subprocess.run([sys.executable, "-c", NUMPY], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


# ---------------------------------------------------------------- the functions stay what they are
def test_functions_can_be_pickled_in_a_program() -> None:
    def program() -> bool:
        functions = [time.sleep, time.time, os.urandom, random.random, len]
        return [pickle.loads(pickle.dumps(one)) for one in functions][:3] == functions[:3]

    assert ran(program).result


def test_a_spawned_process_takes_a_function_as_its_target() -> None:
    def program() -> int | None:
        process = multiprocessing.get_context("spawn").Process(target=time.sleep, args=(0.01,))
        process.start()
        process.join()
        return process.exitcode

    assert ran(program).result == 0


def test_a_saved_method_may_go_while_it_is_replaced() -> None:
    saved = [datetime.datetime.now]

    def program() -> datetime.datetime:
        return saved.pop()(datetime.UTC)

    for _ in range(50):
        saved.append(datetime.datetime.now)
        assert ran(program).result == START
        gc.collect(0)
    assert datetime.datetime.now(datetime.UTC) != START
