"""A process that runs program after program does not fill up with what the programs' children leave behind."""

from __future__ import annotations

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
