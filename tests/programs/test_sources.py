"""Every source of clocks and chance that a program may find gives it virtual time, or numbers from the seed."""

from __future__ import annotations

import _random
import email.utils
import os
import platform
import random
import socket
import ssl
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from colonysim import Simulation
from tests.programs.running import ran
from tests.programs.serving import START

ROOT = Path(__file__).parents[2]
MADE_BEFORE = random.Random()
SEEDED_BEFORE = random.Random(1)
MADE_IN_C = _random.Random()


class Own(random.Random):
    """A class of somebody's own."""


OWN = Own()


@pytest.mark.parametrize("source", [MADE_BEFORE, SEEDED_BEFORE, OWN])
def test_a_source_made_before_draws_from_the_seed_for_each_life(source: random.Random) -> None:
    def draw() -> list[Any]:
        return [source.random(), source.gauss(0, 1), source.choice(range(10**6)), source.getrandbits(64)]

    source.gauss(0, 1)  # leaves half of a pair
    state = source.getstate()[1]
    first = ran(draw, name="p").result
    assert ran(draw, name="p").result == first
    assert all(a != b for a, b in zip(first, ran(draw, name="p", seed=4).result, strict=True))
    assert source.getstate()[1] == state


def test_a_source_written_in_c_draws_from_the_seed_too() -> None:
    first = ran(lambda: [MADE_IN_C.random(), MADE_IN_C.getrandbits(8)], name="p").result
    assert ran(lambda: [MADE_IN_C.random(), MADE_IN_C.getrandbits(8)], name="p").result == first


def test_a_source_that_a_program_seeds_or_makes_is_its_own() -> None:
    def draw() -> list[float]:
        MADE_BEFORE.seed(7)
        drawn = [MADE_BEFORE.random(), random.Random(7).random()]
        state = MADE_BEFORE.getstate()
        drawn.append(MADE_BEFORE.random())
        SEEDED_BEFORE.setstate(state)
        return [*drawn, SEEDED_BEFORE.random()]

    seven = random.Random(7)
    one, two = seven.random(), seven.random()
    assert ran(draw).result == [one, one, two, two]


def test_in_the_next_simulation_a_source_is_one_made_before() -> None:
    def draw() -> float:
        if not held:
            held.append(random.Random())
        return held[0].random()

    held: list[random.Random] = []
    ran(draw, name="p")
    assert ran(draw, name="p").result == ran(draw, name="p").result


def _file_name() -> str:
    with tempfile.NamedTemporaryFile() as file:
        return file.name


CHANCE: list[Callable[[], Any]] = [
    lambda: ssl.RAND_bytes(8),
    lambda: os.getrandom(8),
    tempfile.mktemp,
    _file_name,
    lambda: email.utils.make_msgid(),
    uuid.uuid1,
]


@pytest.mark.parametrize("draw", CHANCE)
def test_chance_of_the_system_comes_from_the_seed(draw: Callable[[], Any]) -> None:
    first = ran(draw, name="p").result
    assert ran(draw, name="p").result == first
    assert ran(draw, name="p", seed=4).result != first
    assert draw() != first


@pytest.mark.skipif(not hasattr(uuid, "uuid7"), reason="from Python 3.14")
@pytest.mark.parametrize("name", ["uuid6", "uuid7"])
def test_time_ordered_ids_do_not_depend_on_earlier_simulations(name: str) -> None:
    make = getattr(uuid, name)
    make()
    first = ran(lambda: [make() for _ in range(3)], name="p").result
    assert sorted(first) == first
    assert ran(lambda: [make() for _ in range(3)], name="p").result == first
    assert make() > first[-1]


def test_processor_time_goes_on_with_each_look_and_by_nothing_else() -> None:
    import resource

    def look() -> list[float]:
        seen = [time.process_time(), time.thread_time_ns() / 1e9]
        time.sleep(100)
        sum(range(100_000))
        seen += [time.clock_gettime(time.CLOCK_PROCESS_CPUTIME_ID), os.times().user]
        return [*seen, resource.getrusage(resource.RUSAGE_SELF).ru_utime]

    assert ran(look).result == pytest.approx([number / 10**6 for number in range(1, 6)])


def test_a_loop_until_a_processor_time_ends() -> None:
    def spin() -> float:
        end = time.process_time() + 0.01
        while time.process_time() < end:
            pass
        return time.time()

    assert ran(spin).result < START.timestamp() + 10


def test_clocks_by_their_numbers_are_virtual() -> None:
    def look() -> list[float]:
        time.sleep(5)
        return [time.clock_gettime(number) for number in (0, 1, 2, 3, 4, 5, 6, 7, 11)]

    if sys.platform == "linux":
        now = START.timestamp() + 5
        assert ran(look).result == pytest.approx([now, 6, 1e-6, 2e-6, 6, now, 6, 6, now])


def test_a_program_is_a_host_of_its_own_name(sim: Simulation) -> None:
    def look() -> list[Any]:
        name = socket.gethostname()
        addresses = [socket.gethostbyname(name), socket.getaddrinfo(name, 80, socket.AF_INET)[0][4][0]]
        return [name, platform.node(), platform.uname().node, os.uname()[1], os.uname().nodename, *addresses]

    one = sim.program(look, name="worker_1 of 2")
    other = sim.program(socket.gethostname, name="worker-3")
    sim.run()
    assert one.result == ["worker-1-of-2"] * 5 + ["127.0.0.1"] * 2
    assert other.result == "worker-3"
    assert socket.gethostname() == platform.uname().node == os.uname().nodename


NUMPY = """
import numpy
from tests.programs.running import ran

GENERATOR, OLD, BITS = numpy.random.default_rng(), numpy.random.RandomState(), numpy.random.Philox()

def program():
    import datetime
    texts = [str(numpy.datetime64(text)) for text in ("now", "today", b"now", "NOW")]
    assert texts == ["2026-01-01T00:00:00", str(datetime.date.today()), "2026-01-01T00:00:00", "2026-01-01T00:00:00"]
    assert str(numpy.datetime64("now", "ms")) == "2026-01-01T00:00:00.000"
    assert str(numpy.datetime64("2020-02-03")) == "2020-02-03" and numpy.isnat(numpy.datetime64())
    assert numpy.datetime64(5, "s") == numpy.datetime64("1970-01-01T00:00:05")
    return [GENERATOR.random(), OLD.rand(), numpy.random.Generator(BITS).random()]

state = GENERATOR.bit_generator.state
first = ran(program, name="p").result
assert ran(program, name="p").result == first
assert all(a != b for a, b in zip(first, ran(program, name="p", seed=4).result, strict=True))
assert GENERATOR.bit_generator.state == state
assert str(numpy.datetime64("now"))[:10] != "2026-01-01"
"""
LATE = """
from tests.programs.running import ran

def program():
    import numpy
    return [numpy.random.default_rng().random(), str(numpy.datetime64("now"))]

assert ran(program, name="p").result[1] == "2026-01-01T00:00:00"
import numpy
assert str(numpy.datetime64("now"))[:10] != "2026-01-01"
"""


@pytest.mark.parametrize("code", [NUMPY, LATE], ids=["loaded before", "loaded by the program"])
def test_numpy_takes_chance_and_time_from_the_simulation(code: str) -> None:
    pytest.importorskip("numpy")
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
