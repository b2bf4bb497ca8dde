"""Event loops of asyncio in programs, and other waits for files, in virtual time."""

from __future__ import annotations

import asyncio
import os
import select
import socket
import sys
import threading
import time
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from colonysim import ColonyClient, Simulation, Stuck
from colonysim.faults import Crash, Times
from tests.programs.running import ran
from tests.programs.serving import START, serve


def now() -> float:
    """Seconds since the simulation began."""
    return time.time() - START.timestamp()


async def _sleeps() -> None:
    await asyncio.sleep(3)


async def _times_out() -> None:
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(asyncio.Event().wait(), 3)


async def _has_a_timeout() -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(3):
            await asyncio.get_running_loop().create_future()


async def _gathers() -> None:
    assert await asyncio.gather(*(asyncio.sleep(s, s) for s in (3, 1, 2))) == [3, 1, 2]


async def _has_a_group() -> None:
    async with asyncio.TaskGroup() as group:
        group.create_task(asyncio.sleep(3))
        group.create_task(asyncio.sleep(2))


async def _has_a_queue() -> None:
    queue: asyncio.Queue[int] = asyncio.Queue(1)

    async def put() -> None:
        for number in range(3):
            await asyncio.sleep(1)
            await queue.put(number)

    task = asyncio.create_task(put())
    assert [await queue.get() for _ in range(3)] == [0, 1, 2]
    await task


async def _calls_later() -> None:
    loop = asyncio.get_running_loop()
    done = loop.create_future()
    loop.call_later(3, done.set_result, None)
    await done


async def _uses_threads() -> None:
    assert await asyncio.gather(asyncio.to_thread(time.sleep, 3), asyncio.to_thread(now)) == [None, 0]


async def _is_told_by_a_thread() -> None:
    loop, told = asyncio.get_running_loop(), asyncio.Event()
    threading.Timer(3, loop.call_soon_threadsafe, [told.set]).start()
    await told.wait()


async def _has_a_semaphore() -> None:
    semaphore = asyncio.Semaphore(2)

    async def act() -> None:
        async with semaphore:
            await asyncio.sleep(1)

    await asyncio.gather(*(act() for _ in range(6)))


async def _reads_a_stream() -> None:
    one, other = socket.socketpair()
    reader, writer = await asyncio.open_connection(sock=one)
    threading.Timer(3, other.sendall, [b"hello\n"]).start()
    assert await reader.readline() == b"hello\n"
    writer.close()
    other.close()


LOOPS = [
    _sleeps, _times_out, _has_a_timeout, _gathers, _has_a_group, _has_a_queue, _calls_later, _uses_threads,
    _is_told_by_a_thread, _has_a_semaphore, _reads_a_stream,
]  # fmt: skip


@pytest.mark.parametrize("given", ["coroutine function", "asyncio.run"])
@pytest.mark.parametrize("code", LOOPS)
def test_an_event_loop_runs_in_virtual_time(code: Callable[[], Awaitable[None]], given: str) -> None:
    async def program() -> float:
        await code()
        return now()

    assert ran(program if given == "coroutine function" else lambda: asyncio.run(program())).result == 3


def _selects(pipe: Any, seconds: float) -> list[Any]:
    return select.select([pipe], [], [], seconds)[0]


def _polls(pipe: Any, seconds: float) -> list[Any]:
    poll = select.poll()
    poll.register(pipe, select.POLLIN)
    return poll.poll(seconds * 1000)


def _polls_edges(pipe: Any, seconds: float) -> list[Any]:
    with select.epoll() as poll:
        poll.register(pipe, select.EPOLLIN | select.EPOLLET)
        return poll.poll(seconds)


@pytest.mark.parametrize("wait", [_selects, _polls, _polls_edges])
def test_a_wait_for_a_file_takes_virtual_time(wait: Callable[[Any, float], list[Any]]) -> None:
    def program() -> list[Any]:
        read, write = os.pipe()
        seen: list[Any] = [len(wait(read, 0)), now(), len(wait(read, 3)), now()]
        threading.Timer(2, os.write, [write, b"x"]).start()
        seen += [len(wait(read, 100)), now()]
        os.close(read)
        os.close(write)
        return seen

    assert ran(program).result == [0, 0, 0, 3, 1, 5]


def test_who_only_looks_at_files_lets_time_move() -> None:
    def program() -> float:
        while now() < 0.01:
            select.select([], [], [], 0)
        return now()

    assert 0 < ran(program).result < 1


def test_loops_and_threads_and_the_server_are_in_one_lock_step(sim: Simulation, colony: ColonyClient) -> None:
    sim.program(serve, colony.add_executor("a"), forever=True)

    async def ask(number: int) -> float:
        process = colony.submit("f", [number], executortype="a")
        while not process.output:
            await asyncio.sleep(0.5)
        return now()

    async def program() -> list[float]:
        return await asyncio.gather(*(ask(number) for number in range(4)))

    made = sim.program(program)
    sim.run()
    assert sorted(made.result) == [2, 4, 6, 8]


def test_a_loop_crashes_with_its_program(sim: Simulation) -> None:
    beats: list[float] = []

    async def beat() -> None:
        while True:
            await asyncio.sleep(10)
            beats.append(now())

    sim.program(beat, name="p", forever=True)
    sim.faults.add(Crash(actors="p", times=Times(at_s=25), restart_after_s=10))
    sim.run(for_s=60)
    assert beats == [10, 20, 45, 55]


def test_a_loop_that_waits_for_ever_is_told(sim: Simulation) -> None:
    async def program() -> None:
        await asyncio.Event().wait()

    sim.program(program)
    with pytest.raises(Stuck, match=r"no further event can happen(.|\n)*program program waits for a file or socket"):
        sim.run()


def test_a_child_process_of_a_loop_takes_no_virtual_time() -> None:
    async def program() -> list[Any]:
        code = "import time; time.sleep(0.1); print('done')"
        child = await asyncio.create_subprocess_exec(sys.executable, "-c", code, stdout=-1)
        said, _ = await child.communicate()
        return [said, child.returncode, now()]

    assert ran(program).result == [b"done\n", 0, 0]
