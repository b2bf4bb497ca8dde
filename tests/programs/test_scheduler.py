"""Programs: blocking code in lock-step, in virtual time."""

from __future__ import annotations

import datetime
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from time import sleep
from typing import Any

import pytest

from colonysim import ColonyClient, ProcessState, ProgramFailed, Simulation, Stuck, WebServer
from colonysim.kernel import actors
from colonysim.kernel.pending import Waiter
from tests.programs.serving import START, serve


# ---------------------------------------------------------------- running
def test_a_client_and_an_executor_meet(sim: Simulation, colony: ColonyClient) -> None:
    def client() -> list[Any]:
        process = colony.submit("f", executortype="a")
        while process.state is not ProcessState.SUCCESS:
            time.sleep(1)
        return process.output

    executor = colony.add_executor("a")
    sim.program(serve, executor, forever=True)
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
    with pytest.raises(Stuck, match=r"no further event can happen\n(.|\n)*program vladimir waits for Godot"):
        sim.run()


class _Never(Waiter):
    @property
    def done(self) -> bool:
        return False


def test_names_are_unique(sim: Simulation) -> None:
    assert [sim.program(sleep, 1, name="x").name, sim.program(serve, None).name] == ["x", "serve"]
    assert sim.program(serve, None).name == "serve-2"
    with pytest.raises(ValueError, match="there is a program named 'x' already"):
        sim.program(sleep, 1, name="x")
    sim.stop_programs()


def test_a_program_may_start_later(sim: Simulation) -> None:
    program = sim.program(time.time, starts_after_s=90)
    sim.run()
    assert program.result == START.timestamp() + 90


def test_programs_act_while_time_is_advanced(sim: Simulation, colony: ColonyClient) -> None:
    sim.program(serve, colony.add_executor("a"), forever=True)
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
    sim.program(serve, colony.add_executor("a"), forever=True)
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
    sim.program(serve, colony.add_executor("a"), forever=True)
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

    computes, pumped = threading.Event(), threading.Event()

    def pump() -> None:  # as a server does
        computes.wait()
        sim.driver.pump()
        pumped.set()

    def compute() -> float:
        before = time.time()
        computes.set()
        while not pumped.is_set():
            pass
        return time.time() - before

    server = threading.Thread(target=pump)
    server.start()
    sim.program(_tick, [], forever=True)
    program = sim.program(compute)
    sim.run()
    server.join()
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
