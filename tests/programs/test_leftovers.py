"""A process that runs program after program does not fill up with what the programs' children leave behind."""

from __future__ import annotations

import asyncio
import gc
import multiprocessing
import os
import time
from contextlib import suppress

import pytest

from colonysim import Simulation
from colonysim.faults import Crash, Times

pytestmark = pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="needs /proc")


def descriptors() -> int:
    gc.collect()
    return len(os.listdir("/proc/self/fd"))


def works_with_processes() -> None:
    context = multiprocessing.get_context("fork")
    while True:
        answers = context.SimpleQueue()
        process = context.Process(target=answers.put, args=(1,))
        process.start()
        assert answers.get() == 1
        time.sleep(3)
        process.join()
        circle = [process, answers]
        circle.append(circle)  # only the garbage collector finds it, wherever that runs


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_programs_that_crash_beside_their_children_leave_no_descriptors_and_no_zombies() -> None:
    def lives(count: int) -> None:
        sim = Simulation(seed=1)
        sim.program(works_with_processes, name="p", forever=True)
        sim.faults.add(Crash(actors="p", times=Times(every_s=10, count=count), restart_after_s=1))
        sim.run(for_s=10 * count + 5)
        sim.stop_programs()

    lives(1)
    before = descriptors()
    lives(6)
    assert descriptors() == before
    with suppress(ChildProcessError):  # there are no children at all
        assert os.waitpid(-1, os.WNOHANG) == (0, 0)
    assert not multiprocessing.active_children()


async def cleans_up_slowly(done: list[str]) -> None:
    try:
        await asyncio.sleep(1000)
    finally:
        await asyncio.sleep(1)
        done.append("cleaned up")


def has_a_task(done: list[str]) -> None:
    async def main() -> None:
        await asyncio.gather(cleans_up_slowly(done), cleans_up_slowly(done))

    asyncio.run(main())


def test_the_tasks_of_a_program_that_crashed_end_with_it(sim: Simulation, caplog: pytest.LogCaptureFixture) -> None:
    done: list[str] = []
    program = sim.program(has_a_task, done, name="p", forever=True)
    sim.faults.add(Crash(actors="p", times=Times(at_s=5)))
    sim.run(for_s=10)
    gc.collect()  # an error of a coroutine that is closed only now would fail the test
    assert program.state == "crashed"
    assert not done
    assert not caplog.records  # such as "Task was destroyed but it is pending"
