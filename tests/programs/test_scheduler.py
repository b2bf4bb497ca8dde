"""Programs: blocking code in lock-step, in virtual time, crashed and started anew."""

from __future__ import annotations

import datetime
import gc
import os
import pickle
import random
import secrets
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from time import sleep
from typing import Any

import msgspec
import pytest

from colonysim import ColonyClient, Crashed, Lost, ProcessState, ProgramFailed, Refused, Simulation, Stuck, WebServer
from colonysim.faults.model import ClockSkew, Crash, LoseReply, Match, Pause, SlowDown, Times, When
from colonysim.kernel import actors
from colonysim.kernel.pending import Waiter
from colonysim.programs import program as program_module
from colonysim.programs import turns as turns_module
from colonysim.programs.host import place, stack
from colonysim.programs.scheduler import Programs
from colonysim.simulation.client import ExecutorClient

START = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)


@pytest.fixture
def sim() -> Iterator[Simulation]:
    simulation = Simulation(seed=3, journal=True)
    yield simulation
    simulation.stop_programs()
    simulation.check()


def _serve(executor: ExecutorClient, service_s: float = 2.0) -> None:
    """An executor's usual loop."""
    while True:
        process = executor.assign(timeout_s=100)
        if process is not None:
            sleep(service_s)
            process.close([executor.name])


# ---------------------------------------------------------------- running
def test_a_client_and_an_executor_meet(sim: Simulation, colony: ColonyClient) -> None:
    def client() -> list[Any]:
        process = colony.submit("f", executortype="a")
        while process.state is not ProcessState.SUCCESS:
            time.sleep(1)
        return process.output

    executor = colony.add_executor("a")
    sim.program(_serve, executor, forever=True)
    program = sim.program(client)
    sim.run()
    assert program.result == ["a-1"]
    assert program.state == "over"
    assert 2 <= (sim.now - START).total_seconds() <= 4


def test_time_goes_on_to_the_end_of_a_run(sim: Simulation) -> None:
    sim.program(time.sleep, 5)
    sim.run(for_s=3600)
    assert (sim.now - START).total_seconds() == 3600


def test_a_run_ends_when_something_is_true(sim: Simulation) -> None:
    seen: list[float] = []

    def tick() -> None:
        while True:
            time.sleep(1)
            seen.append(time.time())

    sim.program(tick, forever=True)
    sim.run(until=lambda: len(seen) == 7)
    assert (sim.now - START).total_seconds() == 7
    sim.run(for_s=3)
    assert len(seen) == 10


def test_what_can_never_end_is_told(sim: Simulation) -> None:
    with pytest.raises(ValueError, match="there is no program"):
        sim.run()
    sim.program(time.sleep, 1, forever=True)
    with pytest.raises(ValueError, match="no program ever ends: give a limit"):
        sim.run()
    sim.program(lambda: sim.driver.wait_for(_Never(), "Godot"), name="vladimir")
    with pytest.raises(Stuck, match=r"nothing can ever happen any more\n(.|\n)*program vladimir waits for Godot"):
        sim.run()


class _Never(Waiter):
    @property
    def done(self) -> bool:
        return False


def test_names_are_unique(sim: Simulation) -> None:
    assert [sim.program(sleep, 1, name="x").name, sim.program(_serve, None).name] == ["x", "_serve"]
    assert sim.program(_serve, None).name == "_serve-2"
    with pytest.raises(ValueError, match="there is a program named 'x' already"):
        sim.program(sleep, 1, name="x")
    sim.stop_programs()


def test_a_program_may_start_later(sim: Simulation) -> None:
    program = sim.program(time.time, starts_after_s=90)
    sim.run()
    assert program.result == START.timestamp() + 90


def test_programs_act_while_time_is_advanced(sim: Simulation, colony: ColonyClient) -> None:
    sim.program(_serve, colony.add_executor("a"), forever=True)
    process = colony.submit("f", executortype="a")
    sim.advance(1)
    assert process.state is ProcessState.RUNNING
    sim.advance(1)
    assert process.state is ProcessState.SUCCESS
    second = colony.submit("f", executortype="a")
    sim.advance(until=lambda: second.state is ProcessState.SUCCESS)
    assert (sim.now - START).total_seconds() == 4


def test_programs_act_while_a_call_waits(sim: Simulation, colony: ColonyClient) -> None:
    executor = colony.add_executor("a")

    def client() -> None:
        time.sleep(30)
        colony.submit("f", executortype="a")

    sim.program(client)
    assert executor.assign(timeout_s=60) is not None
    assert (sim.now - START).total_seconds() == 30


def test_under_a_manual_clock_programs_act_but_time_stands(colony: ColonyClient, sim: Simulation) -> None:
    sim.set_clock("manual")
    sim.program(_serve, colony.add_executor("a"), forever=True)
    process = colony.submit("f", executortype="a")
    sim.advance(0)
    assert process.state is ProcessState.RUNNING
    assert sim.now == START
    sim.advance(2)
    assert process.state is ProcessState.SUCCESS


def test_clients_over_http_meet_programs() -> None:
    from colonysim import intercept
    from colonysim.simulation import stock

    sim = Simulation()
    stock.install(sim)
    colony = ColonyClient.stock(sim)
    sim.program(_serve, colony.add_executor("a"), forever=True)
    from pycolonies import Colonies, func_spec

    with WebServer(sim) as server, intercept(Simulation(), port=1):  # the latter for fast signatures
        client = Colonies("127.0.0.1", server.port)
        spec = func_spec(func="f", args=[], colonyname="dev", executortype="a", maxexectime=60)
        process = client.submit_func_spec(spec, stock.USER_IDENTITY.private_key)
        done = client.wait(process, 60, stock.USER_IDENTITY.private_key)
        assert done.output == ["a-1"]
    sim.stop_programs()
    sim.check()


def test_a_clock_that_follows_real_time_takes_no_programs() -> None:
    with pytest.raises(ValueError, match="set it to manual or auto for programs"):
        Simulation(mode="real").program(sleep, 1)


@pytest.mark.parametrize(
    ("for_s", "text"),
    [
        (-1, "time does not go back: give 0 seconds or more, not -1"),
        (float("nan"), "seconds must be finite, got nan"),
        (float("inf"), "seconds must be finite, got inf"),
        (1e300, "after the year 9999"),
    ],
)
def test_a_run_takes_some_time_that_can_be_reckoned_with(sim: Simulation, for_s: float, text: str) -> None:
    sim.program(sleep, 1, name="x")
    with pytest.raises(ValueError, match=text):
        sim.run(for_s=for_s)
    sim.run()


def test_a_program_does_not_move_time(sim: Simulation) -> None:
    sim.program(lambda: sim.advance(5), name="x")
    with pytest.raises(ProgramFailed, match="a program cannot move time: it sleeps"):
        sim.run()


@pytest.mark.parametrize("what", ["snapshot", "fork", "reset"])
def test_what_threads_do_cannot_be_copied(sim: Simulation, what: str) -> None:
    program = sim.program(sleep, 10, name="sleeper")
    with pytest.raises(ValueError, match=r"not possible while programs run \(sleeper\): call stop_programs\(\) first"):
        getattr(sim, what)()
    sim.run()
    assert program.over
    getattr(sim, what)()


# ---------------------------------------------------------------- conditions, and rest
@pytest.mark.parametrize("how", ["run", "advance"])
@pytest.mark.parametrize("others", [0, 2])
def test_a_condition_may_ask_but_not_wait(sim: Simulation, colony: ColonyClient, how: str, others: int) -> None:
    executor = colony.add_executor("a")
    for _ in range(others):
        sim.program(_tick, [], forever=True)
    sim.program(_tick, [], name="first", forever=True)
    go_on = getattr(sim, how)
    go_on(until=lambda: len(colony.processes()) == 0)
    before = sim.now
    with pytest.raises(ValueError, match="must not wait: let it ask only what is answered at once"):
        go_on(until=lambda: executor.assign(timeout_s=5) is not None)
    with pytest.raises(ValueError, match="must not wait"):
        go_on(until=lambda: sim.now > before and executor.assign(timeout_s=5) is not None)
    with pytest.raises(ValueError, match="must not wait"):
        go_on(until=lambda: sim.advance(5) is None)  # type: ignore[func-returns-value]
    assert (sim.now - before).total_seconds() == 10
    process = colony.submit("f", executortype="a")
    assert process.state is ProcessState.WAITING  # nobody waits for it any more


def test_programs_act_until_all_is_at_rest(sim: Simulation) -> None:
    program = sim.program(lambda: [time.sleep(10) for _ in range(3)], name="sleeper")
    sim.run_until_idle(limit_s=15)
    assert (sim.now - START).total_seconds() == 10
    sim.run_until_idle()
    assert program.over
    assert (sim.now - START).total_seconds() == 30
    sim.program(_tick, [], name="endless", forever=True)
    with pytest.raises(ValueError, match="program endless never ends: give run_until_idle a limit"):
        sim.run_until_idle()
    sim.run_until_idle(limit_s=25)
    assert (sim.now - START).total_seconds() == 50


@pytest.mark.parametrize("mode", ["real", "scaled"])
def test_beside_programs_the_clock_does_not_come_to_follow_real_time(sim: Simulation, mode: str) -> None:
    program = sim.program(sleep, 10)
    with pytest.raises(ValueError, match="programs cannot run while the clock is"):
        sim.set_clock(mode)
    sim.set_clock("manual")
    sim.run()
    assert program.over


def test_programs_are_not_stopped_from_inside(sim: Simulation) -> None:
    ticks: list[float] = []
    sim.program(_tick, ticks, forever=True)
    sim.program(sim.stop_programs, name="rebel")
    with pytest.raises(ProgramFailed, match="cannot be stopped from inside"):
        sim.run()
    with pytest.raises(ValueError, match="cannot be stopped from inside"):
        sim.run(until=lambda: sim.stop_programs() is None)  # type: ignore[func-returns-value]
    sim.run(for_s=35)
    assert ticks == [10, 20, 30]


# ---------------------------------------------------------------- other threads beside programs
def _tick(ticks: list[float]) -> None:
    """Sleep 10 s over and over, and compute in between as long as threads are switched."""
    while True:
        sleep(10)
        sum(range(100_000))
        ticks.append(time.time() - START.timestamp())


@contextmanager
def _beside(ticks: list[float], act: Callable[[], object]) -> Iterator[None]:
    """Another thread acts, and has let the first tick come to pass."""
    thread = threading.Thread(target=act)
    thread.start()
    while thread.is_alive() and not ticks:
        pass
    yield
    thread.join()


@pytest.mark.parametrize("how", ["call", "advance", "run"])
def test_two_threads_that_move_time_do_not_pass_what_is_due(sim: Simulation, colony: ColonyClient, how: str) -> None:
    executor = colony.add_executor("a")
    ticks: list[float] = []
    sim.program(_tick, ticks, forever=True)
    act: dict[str, Callable[[], object]] = {
        "call": lambda: executor.assign(timeout_s=500),
        "advance": lambda: sim.advance(500),
        "run": lambda: sim.run(until=lambda: len(ticks) >= 50),
    }
    with _beside(ticks, act[how]):
        sim.advance(to=START + datetime.timedelta(seconds=1000))
    assert ticks[:100] == [10 * number for number in range(1, 101)]


def test_a_run_that_begins_beside_another_one_is_not_stuck(sim: Simulation) -> None:
    ticks: list[float] = []
    sim.program(_tick, ticks, forever=True)
    program = sim.program(sleep, 300)
    with _beside(ticks, lambda: sim.run(until=lambda: len(ticks) >= 20)):
        sim.run()
    assert program.over
    assert ticks[:29] == [10 * number for number in range(1, 30)]


def test_who_waits_for_an_answer_gives_way_to_who_moves_time(sim: Simulation, colony: ColonyClient) -> None:
    executor = colony.add_executor("a")
    ticks: list[float] = []
    sim.program(_tick, ticks, forever=True)
    found: list[Any] = []
    with _beside(ticks, lambda: found.append(executor.assign(timeout_s=10**9))):
        sim.advance(1000)
        colony.submit("f", executortype="a")
    assert found[0] is not None


def test_time_stands_while_a_program_computes(sim: Simulation, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(actors, "THREAD_THRESHOLD_S", 0.0)

    def compute() -> float:
        before = time.time()
        thread = threading.Thread(target=sim.driver.pump)  # as a server does
        thread.start()
        thread.join()
        return time.time() - before

    sim.program(_tick, [], forever=True)
    program = sim.program(compute)
    sim.run()
    assert program.result == 0


def test_who_stops_the_programs_ends_the_run_of_another_thread(sim: Simulation) -> None:
    ticks: list[float] = []
    sim.program(_tick, ticks, forever=True)
    errors: list[Stuck] = []

    def run() -> None:
        with pytest.raises(Stuck) as e:
            sim.run(until=lambda: False)
        errors.append(e.value)

    with _beside(ticks, run):
        sim.stop_programs()
    assert "have been stopped" in str(errors[0])


# ---------------------------------------------------------------- lock-step
def _turns(seed: int, count: int = 4) -> list[int]:
    """In which order programs that all call at the same time get their turns."""
    sim = Simulation(seed=seed)
    colony = ColonyClient.create(sim, "c")
    order: list[int] = []

    def act(number: int) -> None:
        for _ in range(5):
            colony.statistics()
            order.append(number)

    for number in range(count):
        sim.program(act, number)
    sim.run()
    sim.stop_programs()
    return order


def test_turns_are_drawn_from_the_seed() -> None:
    assert _turns(1) == _turns(1)
    assert len({tuple(_turns(seed)) for seed in range(10)}) == 10


def test_only_one_acts_at_a_time_and_hands_over_only_where_it_calls(sim: Simulation, colony: ColonyClient) -> None:
    inside: list[int] = []
    most = 0

    def act(number: int) -> None:
        nonlocal most
        for _ in range(50):
            inside.append(number)
            most = max(most, len(inside))
            sum(range(1000))  # long enough for threads to be switched, if they could
            inside.remove(number)
            colony.statistics()

    for number in range(8):
        sim.program(act, number)
    sim.run()
    assert most == 1


PROGRAM = """
import sys
from tests.programs.test_scheduler import history
print(history(int(sys.argv[1])))
"""


def history(seed: int) -> str:
    """The digest of a day of pycolonies' own executors and clients with losses, crashes and restarts."""
    from tests.programs.day import day

    journal = day(seed, executors=5, clients=3, count=6).journal
    assert journal is not None
    return journal.digest()


def test_one_seed_is_one_history_in_every_process() -> None:
    digests = []
    for hash_seed in ("0", "1", "4711"):
        environment = os.environ | {"PYTHONHASHSEED": hash_seed}
        arguments = [sys.executable, "-c", PROGRAM, "1"]
        digests.append(subprocess.run(arguments, env=environment, capture_output=True, text=True, check=True).stdout)
    assert {digest.strip() for digest in digests} == {history(1)}


def test_another_seed_is_another_history() -> None:
    assert len({history(seed) for seed in (1, 2, 3)}) == 3


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
        thread = threading.Thread(target=lambda: seen.update(other=time.time()))
        thread.start()
        thread.join()

    sim.program(look)
    real = time.time()
    sim.run()
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
import datetime, os, random, time, uuid
from time import sleep
from colonysim import Simulation

def functions():
    methods = [datetime.datetime.__dict__["now"], datetime.date.__dict__["today"], random.Random.__dict__["seed"]]
    return [time.time, time.sleep, sleep, *methods, random.random, os.urandom, random.shuffle, uuid.uuid1]

before = functions()
one, other = Simulation(), Simulation()
one.program(time.time)
other.program(time.time)
assert all(a is not b for a, b in zip(before, functions(), strict=True))
one.stop_programs()
assert all(a is not b for a, b in zip(before, functions(), strict=True))
other.stop_programs()
assert all(a is b for a, b in zip(before, functions(), strict=True))
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


# ---------------------------------------------------------------- errors
def test_an_error_reaches_the_test_with_name_and_stack(sim: Simulation) -> None:
    def break_down() -> None:
        sleep(5)
        raise KeyError("lost key")

    sim.program(break_down, name="unlucky")
    with pytest.raises(
        ProgramFailed, match=r"program 'unlucky' failed: KeyError\('lost key'\)(.|\n)*in break_down"
    ) as e:
        sim.run()
    assert isinstance(e.value.error, KeyError)
    assert (sim.now - START).total_seconds() == 5


def test_a_supervised_program_is_started_anew(sim: Simulation) -> None:
    starts: list[float] = []

    def run() -> str:
        starts.append(time.time() - START.timestamp())
        sleep(1)
        if len(starts) < 3:
            raise RuntimeError
        return "done"

    program = sim.program(run, restart_after_s=10)
    sim.run()
    assert starts == [0, 11, 22]
    assert (program.result, program.lives) == ("done", 3)


def test_all_programs_can_be_stopped_after_several_have_failed(sim: Simulation) -> None:
    ended: list[int] = []

    def fail(number: int) -> None:
        try:
            sleep(1 if number else 100)
            raise RuntimeError
        finally:
            ended.append(number)

    for number in range(4):
        sim.program(fail, number)
    with pytest.raises(ProgramFailed):
        sim.run()
    sim.stop_programs()
    assert sorted(ended) == [0, 1, 2, 3]
    assert sim.kernel.programs is None


def test_a_program_blocked_by_something_real_is_told(sim: Simulation, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns_module, "STUCK_AFTER_S", 0.2)
    lock = threading.Lock()
    lock.acquire()

    def hang() -> None:
        lock.acquire()

    sim.program(hang, name="hanger")
    with pytest.raises(
        Stuck,
        match=r"program 'hanger' is blocked by something real(.|\n)*in hang(.|\n)*program hanger acts, at .*test_scheduler.py:[0-9]+ in hang",
    ):
        sim.run()
    with pytest.raises(Stuck, match="cannot go on"):
        sim.run()
    lock.release()


def test_a_program_that_polls_something_real_is_told(sim: Simulation, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns_module, "STUCK_AFTER_S", 0.5)
    event = threading.Event()

    def poll() -> None:
        while not event.wait(0.1):
            pass

    sim.program(poll)
    with pytest.raises(Stuck, match="program 'poll' is blocked by something real"):
        sim.run()
    event.set()


def test_no_garbage_is_collected_while_it_is_looked_where_a_thread_stands(monkeypatch: pytest.MonkeyPatch) -> None:
    """CPython up to 3.11.8 hangs where it does, once in a while."""
    real, collects = sys._current_frames, []

    def current_frames() -> Any:
        collects.append(gc.isenabled())
        return real()

    monkeypatch.setattr(sys, "_current_frames", current_frames)
    done = threading.Event()
    thread = threading.Thread(target=done.wait)
    thread.start()
    try:
        assert "in wait" in place(thread)
        assert "in wait" in stack(thread)
    finally:
        done.set()
        thread.join()
    assert collects == [False, False]
    assert gc.isenabled()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
@pytest.mark.filterwarnings("ignore:.*fork")
def test_a_child_process_is_no_program(sim: Simulation) -> None:
    statuses: list[int] = []

    def fork() -> None:
        child = os.fork()
        if not child:
            try:
                sleep(0.001)  # real: there is nobody to hand over to
                os._exit(7)
            finally:
                os._exit(8)
        statuses.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))

    sim.program(fork)
    sim.run()
    assert statuses == [7]


def test_a_program_that_computes_is_not_stuck(sim: Simulation, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns_module, "STUCK_AFTER_S", 0.1)

    def compute() -> None:
        begun_ns = time.thread_time_ns()
        while time.thread_time_ns() < begun_ns + 300_000_000:
            sum(range(1000))

    program = sim.program(compute)
    sim.run()
    assert program.over


def test_a_program_that_never_lets_time_move_is_told(
    sim: Simulation, colony: ColonyClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(program_module, "_STEPS_AT_ONCE", 1000)

    def spin() -> None:
        while True:
            colony.statistics()

    sim.program(spin, name="spinner")
    with pytest.raises(Stuck, match="'spinner' has taken 1000 steps without time moving"):
        sim.run()


# ---------------------------------------------------------------- crashes
def test_a_crash_ends_code_that_catches_everything_it_should(sim: Simulation, colony: ColonyClient) -> None:
    last: list[str] = []

    def stubborn() -> None:
        try:
            while True:
                try:
                    sleep(10)
                    colony.statistics()
                except Exception:
                    last.append("caught")
        finally:
            last.append("finally")
            try:
                colony.submit("last words")
            except Crashed:
                last.append("cut off")
                raise

    program = sim.program(stubborn, forever=True)
    sim.faults.add(Crash(times=Times(at_s=25)))
    sim.run(for_s=60)
    assert program.state == "crashed"
    assert last == ["finally", "cut off"]
    assert colony.processes() == []


def test_what_a_crashed_program_waited_for_is_given_up(sim: Simulation, colony: ColonyClient) -> None:
    executor = colony.add_executor("a")
    sim.program(_serve, executor, forever=True)
    sim.faults.add(Crash(times=Times(at_s=5)))
    sim.run(for_s=10)
    process = colony.submit("f", executortype="a")
    assert process.state is ProcessState.WAITING


def test_a_crashed_program_comes_back_with_an_empty_memory(sim: Simulation) -> None:
    lives: list[float] = []

    def run() -> None:
        lives.append(time.time() - START.timestamp())
        sleep(1000)

    program = sim.program(run)
    sim.faults.add(Crash(times=Times(at_s=(10, 50)), restart_after_s=7))
    sim.run()
    assert lives == [0, 17, 57]
    assert program.state == "over"
    assert (sim.now - START).total_seconds() == 1057


@pytest.mark.parametrize("seed", range(6))
def test_a_program_comes_back_that_is_started_anew_before_it_knows_of_its_crash(seed: int) -> None:
    sim = Simulation(seed=seed)
    colony = ColonyClient.create(sim, "c")

    def busy() -> None:
        while True:
            sleep(10)
            colony.statistics()

    programs = [sim.program(busy, name=f"p{number}", forever=True) for number in range(3)]
    sim.run(for_s=15)
    sim.faults.add(Crash(actors="p2", times=Times(at_s=15), restart_after_s=0))
    sim.run(for_s=100)
    assert [(program.lives, program.state) for program in programs] == [(1, "running"), (1, "running"), (2, "running")]
    sim.stop_programs()
    for thread in threading.enumerate():
        if thread.name == "colonysim-program-p2":
            thread.join(5)
            assert not thread.is_alive()


def test_what_a_dead_program_swallows_does_not_hold_up_its_next_life(sim: Simulation, colony: ColonyClient) -> None:
    lives: list[float] = []

    def undead() -> None:
        lives.append(time.time() - START.timestamp())
        while True:
            try:
                colony.statistics()
                sleep(1)
            except BaseException:
                if len(lives) > 1:
                    raise

    sim.program(undead, forever=True)
    sim.faults.add(Crash(times=Times(at_s=5), restart_after_s=0))
    sim.run(for_s=20)
    assert lives == [0, 5]


@pytest.mark.parametrize("step", range(1, 9))
def test_a_program_can_crash_at_any_step(sim: Simulation, colony: ColonyClient, step: int) -> None:
    executor = colony.add_executor("a")
    processes = [colony.submit("f", executortype="a", maxexectime=20, maxretries=3) for _ in range(3)]
    program = sim.program(_serve, executor, forever=True)
    sim.faults.add(Crash(when=When(nth=step), restart_after_s=1))
    sim.run(for_s=120)
    assert program.lives == 2
    assert [process.state for process in processes] == [ProcessState.SUCCESS] * 3


def test_a_program_that_swallows_its_own_death_is_left_standing(sim: Simulation, colony: ColonyClient) -> None:
    def undead() -> None:
        while True:
            try:
                colony.statistics()
                sleep(1)
            except BaseException:
                pass

    program = sim.program(undead, forever=True)
    other = sim.program(sleep, 100)
    sim.faults.add(Crash(actors="undead", times=Times(at_s=5)))
    sim.run()
    assert (program.state, other.state) == ("crashed", "over")


def test_a_crash_closes_the_websockets_of_a_program(colonysim: Simulation) -> None:
    import websocket

    from tests.serving import signed

    def listen() -> None:
        socket = websocket.create_connection("ws://localhost:50080/pubsub")
        body = signed("subscribeprocessmsg", {"processid": "5" * 64, "executortype": "a", "state": 2, "timeout": 1000})
        socket.send(body.decode())
        socket.recv()

    colonysim.program(listen)
    colonysim.program(sleep, 10)
    colonysim.faults.add(Crash(actors="listen", times=Times(at_s=5)))
    colonysim.run()
    assert len(colonysim.kernel.connections) == 0


# ---------------------------------------------------------------- other faults of actors
def test_a_paused_program_does_not_notice(sim: Simulation) -> None:
    seen: list[float] = []

    def tick() -> None:
        for _ in range(5):
            seen.append(time.time() - START.timestamp())
            sleep(10)

    sim.program(tick)
    sim.faults.add(Pause(times=Times(at_s=15), for_s=100))
    sim.run()
    assert seen == [0, 10, 115, 125, 135]


def _pause(sim: Simulation, *pauses: Pause) -> list[tuple[float, float]]:
    """A program sleeps 30 s over and over: when, and for how long each time."""
    slept: list[tuple[float, float]] = []

    def sleeper() -> None:
        while True:
            before = time.monotonic()
            sleep(30)
            slept.append((time.time() - START.timestamp(), time.monotonic() - before))

    sim.program(sleeper, name="p", forever=True)
    for pause in pauses:
        sim.faults.add(pause)
    return slept


def test_a_pause_ends_with_the_life_that_it_struck(sim: Simulation) -> None:
    slept = _pause(sim, Pause(times=Times(at_s=5), for_s=100))
    sim.faults.add(Crash(times=Times(at_s=40), restart_after_s=10))
    sim.run(for_s=150)
    assert slept == [(80, 30), (110, 30), (140, 30)]


def test_pauses_that_overlap_are_one_and_cut_no_later_sleep_short(sim: Simulation) -> None:
    slept = _pause(sim, Pause(times=Times(at_s=5), for_s=35), Pause(times=Times(at_s=35), for_s=20))
    sim.run(for_s=120)
    assert slept == [(55, 55), (85, 30), (115, 30)]


@pytest.mark.parametrize(("ends_s", "slept"), [(10, [(30, 30), (60, 30)]), (50, [(50, 50), (80, 30)])])
def test_a_pause_can_be_ended_early(sim: Simulation, ends_s: float, slept: list[tuple[float, float]]) -> None:
    seen = _pause(sim, Pause(times=Times(at_s=5), for_s=1000))
    sim.run(for_s=ends_s)
    programs = sim.kernel.programs
    assert isinstance(programs, Programs)
    with sim.kernel.locked():
        programs.by_name["p"].resume()
        programs.by_name["p"].resume()
    sim.run(for_s=89 - ends_s)
    assert seen == slept


def test_a_program_is_slow_for_a_while(sim: Simulation) -> None:
    seen: list[float] = []

    def tick() -> None:
        for _ in range(5):
            seen.append(time.time() - START.timestamp())
            sleep(10)

    sim.program(tick)
    sim.faults.add(SlowDown(times=Times(at_s=15), factor=3, for_s=20))
    sim.run()
    assert seen == [0, 10, 20, 50, 60]


def test_a_program_has_a_clock_of_its_own(sim: Simulation) -> None:
    seen: list[tuple[float, float]] = []

    def tick() -> None:
        for _ in range(4):
            seen.append((time.time() - START.timestamp(), datetime.datetime.now(datetime.UTC).timestamp()))
            sleep(10)

    sim.program(tick)
    sim.faults.add(ClockSkew(times=Times(at_s=5), by_s=-3, drift=0.1, for_s=20))
    sim.run()
    assert [round(at, 6) for at, _ in seen] == [0, 7.5, 18.5, 30]
    assert [round(now - START.timestamp(), 6) for _, now in seen] == [0, 7.5, 18.5, 30]


# ---------------------------------------------------------------- wrong programs are found out
def test_a_client_that_submits_again_when_the_reply_was_lost_is_seen(sim: Simulation, colony: ColonyClient) -> None:
    def client() -> None:
        for number in range(20):
            for _ in range(3):
                try:
                    colony.submit("f", [number])
                    break
                except Lost:
                    sleep(1)

    sim.program(client)
    sim.faults.add(LoseReply(match=Match(types="submit*"), when=When(probability=0.2)))
    sim.run()
    arguments = [process.args[0] for process in colony.processes()]
    assert set(arguments) == set(range(20))
    assert len(arguments) > 20


def test_an_executor_that_closes_what_it_holds_no_more_is_seen(sim: Simulation, colony: ColonyClient) -> None:
    for name in ("slow", "other"):
        sim.program(_serve, colony.add_executor("a", name=name), name=name, forever=True)
    process = colony.submit("f", executortype="a", executornames=["slow"], maxexectime=10, maxretries=3)
    sim.faults.add(Pause(actors="slow", times=Times(at_s=1), for_s=30))
    with pytest.raises(ProgramFailed, match=r"program 'slow' failed: Refused(.|\n)*process is not assigned") as e:
        sim.run(for_s=100)
    assert isinstance(e.value.error, Refused)
    assert process.state is ProcessState.WAITING


# ---------------------------------------------------------------- histories
def test_a_day_of_programs_is_replayed_from_its_journal_without_them(tmp_path: Path) -> None:
    from colonysim import replay
    from tests.programs.day import day

    journal = day(1, executors=3, clients=2, count=4).journal
    assert journal is not None
    journal.save(tmp_path / "day.jsonl")
    replayed = replay(tmp_path / "day.jsonl")
    assert replayed.difference is None
    assert replayed.digest == journal.digest()
