"""What programs see of time and chance, and that nobody else does."""

from __future__ import annotations

import datetime
import os
import pickle
import random
import secrets
import subprocess
import sys
import threading
import time
import uuid
from datetime import date
from time import sleep
from typing import Any

import msgspec
import pytest

from colonysim import ProgramFailed, Simulation
from tests.programs.serving import START


# ---------------------------------------------------------------- virtual time and chance
def test_a_program_sees_virtual_time_and_nobody_else_does(sim: Simulation) -> None:
    seen: dict[str, Any] = {}

    def look() -> None:
        before = time.monotonic(), time.perf_counter(), time.monotonic_ns()
        sleep(3600)
        seen["time"] = time.time(), time.time_ns() // 10**9
        seen["passed"] = time.monotonic() - before[0], time.perf_counter() - before[1]
        seen["ns"] = time.monotonic_ns() - before[2]
        seen["now"] = datetime.datetime.now(datetime.UTC), datetime.datetime.utcnow()
        seen["local"] = datetime.datetime.today(), datetime.datetime.now()
        seen["date"] = date.today()
        seen["tuple"] = time.gmtime()[:6]
        looked.set()
        while "other" not in seen:
            pass

    looked = threading.Event()
    real = time.time()
    other = threading.Thread(target=lambda: (looked.wait(), seen.update(other=time.time())))
    other.start()
    sim.program(look)
    sim.run()
    other.join()
    later = START + datetime.timedelta(hours=1)
    assert seen["time"] == (later.timestamp(), int(later.timestamp()))
    assert seen["passed"] == (3600, 3600)
    assert seen["ns"] == 3600 * 10**9
    assert seen["now"] == (later, later.replace(tzinfo=None))
    assert seen["local"] == (later.astimezone().replace(tzinfo=None),) * 2
    assert seen["date"] == later.astimezone().date()
    assert seen["tuple"] == (2026, 1, 1, 1, 0, 0)
    assert seen["other"] >= real
    assert time.time() >= real


def test_dates_stay_what_they_are(sim: Simulation) -> None:
    def look() -> list[bool]:
        now = datetime.datetime.now()
        return [
            isinstance(now, datetime.datetime),
            isinstance(now, date),
            not isinstance("now", datetime.datetime),
            issubclass(datetime.datetime, date),
            datetime.datetime(2026, 1, 2) - datetime.timedelta(days=1) == datetime.datetime(2026, 1, 1),
            datetime.datetime.fromisoformat("2026-01-01") == datetime.datetime(2026, 1, 1),
            date.fromisoformat("2026-01-01") == date(2026, 1, 1),
        ]

    program = sim.program(look)
    sim.run()
    assert program.result == [True] * 7


class _Day(datetime.datetime):
    """A class of somebody's own."""


def test_what_is_built_on_dates_stays_what_it_is(sim: Simulation) -> None:
    def look() -> list[Any]:
        class Own(datetime.datetime):
            def hello(self) -> str:
                return f"{self:%H:%M}"

        class Event(msgspec.Struct):
            at: datetime.datetime

        sleep(60)
        now = datetime.datetime.now(datetime.UTC)
        return [
            type(Own(2026, 1, 1)) is Own and Own(2026, 1, 1, 8).hello() == "08:00",
            type(Own.now(datetime.UTC)) is Own and Own.now(datetime.UTC) == START + datetime.timedelta(minutes=1),
            type(_Day.utcnow()) is type(_Day.today()) is _Day,
            not isinstance(now, Own),
            type(now) is datetime.datetime and type(date.today()) is date,
            msgspec.convert("2026-01-01T00:01:00Z", datetime.datetime) == now,
            msgspec.json.decode(msgspec.json.encode(Event(now)), type=Event).at == now,
            pickle.loads(pickle.dumps(datetime.datetime)) is datetime.datetime,
            pickle.loads(pickle.dumps([now, _Day(2026, 1, 1), date.today()]))[0] == now,
        ]

    program = sim.program(look)
    sim.run()
    assert program.result == [True] * 9


def test_every_way_to_ask_for_the_time_is_virtual(sim: Simulation) -> None:
    def look() -> list[Any]:
        sleep(0.5)
        steady = time.clock_gettime(time.CLOCK_MONOTONIC)
        sleep(86_400)
        return [
            time.strftime("%Y-%m-%d %H:%M:%S"),
            time.ctime(),
            time.asctime(),
            time.strftime("%Y", time.gmtime(0)),
            time.ctime(0),
            time.clock_gettime(time.CLOCK_REALTIME),
            time.clock_gettime_ns(time.CLOCK_REALTIME),
            time.clock_gettime(time.CLOCK_MONOTONIC) - steady,
            time.clock_gettime(time.CLOCK_THREAD_CPUTIME_ID) < 3600,
            uuid.uuid1().time,
        ]

    program = sim.program(look)
    sim.run()
    later = START + datetime.timedelta(days=1, seconds=0.5)
    local = later.astimezone()
    at_ns = int(later.timestamp() * 10**9)
    assert program.result == [
        f"{local:%Y-%m-%d %H:%M:%S}",
        f"{local:%a %b} {local.day:2} {local:%H:%M:%S %Y}",
        f"{local:%a %b} {local.day:2} {local:%H:%M:%S %Y}",
        "1970",
        time.ctime(0),
        later.timestamp(),
        at_ns,
        86_400,
        True,
        at_ns // 100 + 0x01B21DD213814000,
    ]
    assert time.strftime("%Y-%m-%d") != "2026-01-02"


PUT_BACK = """
import _thread, copyreg, datetime, os, random, threading, time, types, uuid
from time import sleep
from colonysim import Simulation

held = {"time": time.time, "now": datetime.datetime.now, "random": random.random, "uuid1": uuid.uuid1}

def state():
    methods = [datetime.datetime.__dict__["now"], datetime.date.__dict__["today"], random.Random.__dict__["seed"]]
    locks = [vars(kind)[name] for kind in (_thread.LockType, _thread.RLock) for name in ("acquire", "__exit__")]
    codes = [threading.main_thread.__code__, uuid.uuid1.__code__, threading.RLock()]
    others = [type(random._inst), copyreg.dispatch_table.get(types.BuiltinFunctionType), type(threading.Lock())]
    return [time.time.__self__, sleep.__self__, os.urandom.__self__, *methods, *locks, *codes[:2], type(codes[2]), *others]

def differ(before):
    return [a is not b for a, b in zip(before, state(), strict=True)]

before = state()
one, other = Simulation(), Simulation()
one.program(time.time)
other.program(time.time)
assert sum(differ(before)) >= 10, differ(before)
one.stop_programs()
assert sum(differ(before)) >= 10, differ(before)
other.stop_programs()
assert not any(differ(before)), differ(before)
assert all(callable(one) and one() for one in held.values())
"""


def test_everything_is_put_back_after_the_last_program() -> None:
    subprocess.run([sys.executable, "-c", PUT_BACK], check=True)


def test_chance_in_a_program_comes_from_the_seed() -> None:
    def draw() -> list[Any]:
        cards = list(range(10))
        random.shuffle(cards)
        own, systems = random.Random(), random.SystemRandom().random()
        ids = uuid.uuid4(), uuid.uuid1(), secrets.token_hex(4)
        again = random.Random(1)
        again.seed()
        seeded = [own.random(), systems, again.random()]
        assert random.Random(7).random() == random.Random(7).random()
        return [random.random(), random.randint(1, 10**9), cards, *ids, os.urandom(8), *seeded]

    def drawn(seed: int, name: str) -> list[Any]:
        sim = Simulation(seed=seed)
        program = sim.program(draw, name=name)
        sim.run()
        sim.stop_programs()
        result: list[Any] = program.result
        return result

    assert drawn(1, "x") == drawn(1, "x")
    for a, b in zip(drawn(1, "x"), drawn(2, "x"), strict=True):
        assert a != b
    for a, b in zip(drawn(1, "x"), drawn(1, "y"), strict=True):
        assert a != b


def test_who_only_looks_at_the_clock_sees_it_move(sim: Simulation) -> None:
    def spin() -> None:
        end = time.monotonic() + 0.5
        while time.monotonic() < end:
            pass

    sim.program(spin)
    sim.run()
    assert 0.5 <= (sim.now - START).total_seconds() < 1


def test_a_negative_sleep_is_refused_as_ever(sim: Simulation) -> None:
    sim.program(sleep, -1)
    with pytest.raises(ProgramFailed, match="sleep length must be non-negative"):
        sim.run()
