"""Pools of processes, and what else multiprocessing has, in programs: time stands still while workers work."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor, as_completed
from multiprocessing.pool import Pool
from pathlib import Path
from typing import Any

import pytest

from colonysim import ColonyClient, Simulation
from colonysim.faults import Crash, When
from tests.programs.running import ran
from tests.programs.serving import START

pytestmark = pytest.mark.filterwarnings("ignore:.*Pool.__del__")
CONTEXTS = ["fork", "spawn", "forkserver"]
LOCK_MADE_BEFORE = multiprocessing.get_context("fork").Lock()


def _now() -> float:
    return time.time() - START.timestamp()


def square(number: int) -> int:
    return number * number


def slow(seconds: float) -> float:
    time.sleep(seconds)
    return seconds


def lost(key: str) -> None:
    raise KeyError(key)


def echo(tasks: Any, results: Any) -> None:
    """A worker that waits for one task after the other, and stays."""
    for number in iter(tasks.get, None):
        results.put(square(number))


# ---------------------------------------------------------------- pools
@pytest.mark.parametrize("way", CONTEXTS)
def test_a_pool_of_processes_works_while_time_stands_still(way: str) -> None:
    def program() -> list[Any]:
        told: list[Any] = []
        with multiprocessing.get_context(way).Pool(3) as pool:
            told += pool.map(square, range(5))
            told += [one.get(timeout=5) for one in [pool.apply_async(square, (number,)) for number in range(5)]]
            told += list(pool.imap(square, range(5))) + list(pool.imap_unordered(square, range(5)))
            pool.apply_async(square, (7,), callback=told.append).wait()
            with pytest.raises(KeyError, match="'k'"):
                pool.apply(lost, ("k",))
            pool.apply_async(slow, (0.05,)).get(timeout=0.01)
            time.sleep(10)  # while the workers have nothing to do
            told += pool.starmap(pow, [(2, 3)])
        return [told, _now()]

    expected = [square(number) for number in range(5)]
    assert ran(program).result == [[*expected * 4, 49, 8], 10]


@pytest.mark.parametrize("way", CONTEXTS)
def test_an_executor_of_processes_works_while_time_stands_still(way: str) -> None:
    def program() -> list[Any]:
        with ProcessPoolExecutor(3, mp_context=multiprocessing.get_context(way)) as pool:
            told = list(pool.map(square, range(5)))
            told += [one.result() for one in as_completed([pool.submit(square, number) for number in range(5)])]
            with pytest.raises(KeyError, match="'k'"):
                pool.submit(lost, "k").result(timeout=1)
            pool.submit(slow, 0.05).result(timeout=0.01)
            time.sleep(10)
            told.append(pool.submit(square, 7).result())
        return [told, _now()]

    expected = [square(number) for number in range(5)]
    assert ran(program).result == [[*expected * 2, 49], 10]


def _closed() -> Any:
    pool = multiprocessing.get_context("fork").Pool(2, initializer=os.getpid, maxtasksperchild=1)
    result = pool.map_async(square, range(4))
    pool.close()
    pool.join()
    return result.get()


def _left_open() -> Any:
    return multiprocessing.get_context("fork").Pool(2).map(square, range(4))


def _never_shut_down() -> Any:
    pool = ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("fork"))
    return list(pool.map(square, range(4)))


def _in_an_event_loop() -> Any:
    async def ask(pool: Executor) -> list[int]:
        loop = asyncio.get_running_loop()
        return await asyncio.gather(*(loop.run_in_executor(pool, square, number) for number in range(4)))

    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("fork")) as pool:
        return asyncio.run(ask(pool))


def _in_a_thread() -> Any:
    found: list[Any] = []
    thread = threading.Thread(target=lambda: found.extend(_closed()))
    thread.start()
    thread.join()
    return found


def _more_than_a_pipe_holds() -> Any:
    with multiprocessing.get_context("fork").Pool(1) as pool:
        sizes = pool.map(len, [b"x" * 300_000] * 4, chunksize=1)
        assert len(pool.apply(bytes, (300_000,))) == sizes[0]
    return [square(number) for number in range(4)]


@pytest.mark.parametrize(
    "code", [_closed, _left_open, _never_shut_down, _in_an_event_loop, _in_a_thread, _more_than_a_pipe_holds]
)
def test_pools_are_used_and_left_in_any_way(code: Callable[[], Any]) -> None:
    program = ran(lambda: [code(), _now()])
    assert (program.result, program.status) == ([[0, 1, 4, 9], 0], 0)
    assert multiprocessing.active_children() == []


POOLS = """
import concurrent.futures, multiprocessing, time
from multiprocessing import get_context
from colonysim import ColonyClient, Simulation

def square(number):
    time.sleep(number % 3 / 100)
    return number * number

def program(colony):
    with get_context("fork").Pool(3) as pool:
        for number in pool.imap_unordered(square, range(9)):
            colony.submit("f", [number])
    with concurrent.futures.ProcessPoolExecutor(3, mp_context=get_context("fork")) as pool:
        for future in concurrent.futures.as_completed([pool.submit(square, number) for number in range(9)]):
            colony.submit("f", [future.result()])
            time.sleep(1)

    results = get_context("fork").Queue()
    processes = [get_context("fork").Process(target=lambda n=n: results.put(square(n))) for n in range(8)]
    for process in processes:
        process.start()
    for _ in processes:
        colony.submit("f", [results.get()])
    for process in processes:
        process.join()

def beat(colony):
    for number in range(30):
        colony.submit("beat", [number])
        time.sleep(0.5)

for _ in range(2):
    sim = Simulation(seed=3, journal=True)
    colony = ColonyClient.create(sim, "c")
    sim.program(program, colony)
    sim.program(beat, colony)
    sim.run()
    sim.stop_programs()
    print(sim.journal.digest())
"""


def test_results_of_pools_come_in_one_order_also_on_a_busy_machine() -> None:
    digests = set()
    command = [sys.executable, "-W", "ignore", "-c", POOLS]
    for busy in (0, 3):
        loops = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(busy)]
        try:
            done = subprocess.run(command, capture_output=True, text=True, check=False)
        finally:
            for loop in loops:
                loop.kill()
                loop.wait()
        assert done.returncode == 0, done.stderr
        digests |= set(done.stdout.split())
    assert len(digests) == 1


@pytest.mark.parametrize("step", [1, 3, 10, 30])
def test_a_program_with_a_pool_of_processes_can_crash_at_any_step(
    sim: Simulation, colony: ColonyClient, step: int
) -> None:
    def program() -> list[int]:
        colony.statistics()
        with multiprocessing.get_context("fork").Pool(2) as pool:
            return pool.map(square, range(4))

    made = sim.program(program)
    sim.faults.add(Crash(when=When(nth=step), restart_after_s=1))
    sim.run()
    assert (made.state, made.lives, made.result) == ("over", 2, [0, 1, 4, 9])
    assert multiprocessing.active_children() == []


def test_where_the_system_does_not_say_who_waits_a_pool_is_refused_with_the_fix(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("colonysim.programs.children.CAN_BE_SEEN_WAITING", False)

    def program() -> str:
        with pytest.raises(RuntimeError) as e:
            Pool(2)
        return str(e.value)

    assert "Pool cannot be had in a program" in ran(program).result
    assert "use ThreadPoolExecutor" in ran(program).result


def test_wrong_numbers_of_workers_are_refused_as_ever() -> None:
    def program() -> None:
        with pytest.raises(ValueError, match="at least 1"):
            multiprocessing.get_context("fork").Pool(0)
        with pytest.raises(ValueError, match="greater than 0"):
            ProcessPoolExecutor(0)

    ran(program)


# ---------------------------------------------------------------- processes and what they share
@pytest.mark.parametrize("way", ["fork", "spawn"])
def test_a_worker_that_waits_for_tasks_does_not_hold_time(way: str) -> None:
    context = multiprocessing.get_context(way)

    def program() -> list[Any]:
        tasks, results = context.Queue(), context.Queue()
        worker = context.Process(target=echo, args=(tasks, results))
        worker.start()
        told: list[Any] = []
        for number in range(3):
            tasks.put(number)
            told.append(results.get(timeout=1))
        with pytest.raises(queue.Empty):
            results.get(timeout=5)
        told += [worker.is_alive(), _now()]
        tasks.put(None)
        worker.join()
        return [*told, worker.is_alive(), worker.exitcode, _now()]

    assert ran(program).result == [0, 1, 4, True, 5, False, 0, 5]


def _waits_for_a_lock() -> None:
    lock = multiprocessing.get_context("fork").Lock()
    with lock:
        assert not lock.acquire(timeout=3)
        assert not lock.acquire(block=False)


def _waits_for_a_lock_made_before() -> None:
    with LOCK_MADE_BEFORE:
        assert not LOCK_MADE_BEFORE.acquire(timeout=3)


def _waits_for_an_event() -> None:
    assert not multiprocessing.get_context("fork").Event().wait(3)


def _waits_for_a_thread() -> None:
    semaphore = multiprocessing.get_context("fork").Semaphore(0)
    threading.Timer(3, semaphore.release).start()
    semaphore.acquire()


def _waits_for_a_message() -> None:
    one, other = multiprocessing.Pipe()
    assert not one.poll(3)
    other.close()


def _asks_a_manager() -> None:
    with multiprocessing.get_context("fork").Manager() as manager:
        shared = manager.dict(a=1)
        time.sleep(3)
        assert dict(shared) == {"a": 1}


@pytest.mark.parametrize(
    "code",
    [
        _waits_for_a_lock, _waits_for_a_lock_made_before, _waits_for_an_event, _waits_for_a_thread,
        _waits_for_a_message, _asks_a_manager,
    ],
)  # fmt: skip
def test_waits_for_what_processes_share_take_virtual_time(code: Callable[[], None]) -> None:
    assert ran(lambda: (code(), _now())[1]).result == 3


def test_at_its_end_a_program_joins_its_processes_and_ends_daemons(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")

    def write() -> None:
        time.sleep(0.1)
        (tmp_path / "written").touch()

    def program() -> None:
        context.Process(target=time.sleep, args=(1000,), daemon=True).start()
        context.Process(target=write).start()

    assert ran(program).status == 0
    assert (tmp_path / "written").exists()
    assert multiprocessing.active_children() == []


def test_names_are_counted_anew_for_each_program() -> None:
    async def task() -> Any:
        return asyncio.current_task().get_name()  # type: ignore[union-attr]

    def program() -> list[Any]:
        with ThreadPoolExecutor() as pool:
            worker = pool.submit(lambda: threading.current_thread().name).result()
        thread = threading.Thread(target=print, name=None)
        return [thread.name.partition(" ")[0], multiprocessing.Process().name, asyncio.run(task()), worker]

    assert ran(program).result == ran(program).result == ["Thread-1", "Process-1", "Task-1", "ThreadPoolExecutor-0_0"]
