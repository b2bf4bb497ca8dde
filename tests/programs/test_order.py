"""Sets of tasks, futures, threads and processes have one order for one seed, whatever the addresses and hashes are."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.programs.running import ran

ROOT = Path(__file__).parents[2]

SETS = """
import asyncio, concurrent.futures, multiprocessing, sys, threading, time
from colonysim import ColonyClient, Simulation

ballast = [object() for _ in range(int(sys.argv[1]))]  # moves what is allocated afterwards

class Own(asyncio.Future):
    pass

class Worker(threading.Thread):
    def run(self):
        time.sleep(1)

async def numbered(number):
    await asyncio.sleep(1)
    return number

async def loops(told):
    tasks = [asyncio.create_task(numbered(number), name=f"t{number}") for number in range(60)]
    told += [task.get_name() for task in asyncio.all_tasks() if task is not asyncio.current_task()]
    done, _ = await asyncio.wait(tasks)
    told += [task.result() for task in done]
    told += [await each for each in asyncio.as_completed([numbered(number) for number in range(60)])]
    mine = {kind() for _ in range(20) for kind in (Own, asyncio.get_running_loop().create_future)}
    told += [type(future).__name__ for future in mine]
    eager = getattr(asyncio, "eager_task_factory", None)
    asyncio.get_running_loop().set_task_factory(eager)
    told += [task.result() for task in (await asyncio.wait([asyncio.create_task(numbered(n)) for n in range(20)]))[0]]

def program(colony):
    told = []
    asyncio.run(loops(told))
    with concurrent.futures.ThreadPoolExecutor(20) as pool:
        futures = [pool.submit(lambda number: (time.sleep(1), number)[1], number) for number in range(60)]
        told += [future.result() for future in concurrent.futures.wait(futures).done]
        told += [future.result() for future in concurrent.futures.as_completed(futures)]
    told += [thread.name for thread in {Worker(name=str(number)) for number in range(30)}]
    told += [process.name for process in {multiprocessing.Process(name=str(number)) for number in range(30)}]
    for one in told:
        colony.submit("f", [one])

sim = Simulation(seed=3, journal=True)
sim.program(program, ColonyClient.create(sim, "c"), name="p")
sim.run()
sim.stop_programs()
print(sim.journal.digest())
"""


def _digest(ballast: int, **env: str) -> str:
    command = [sys.executable, "-c", SETS, str(ballast)]
    done = subprocess.run(command, cwd=ROOT, env=os.environ | env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_one_seed_is_one_history_in_every_process() -> None:
    first = _digest(0, PYTHONHASHSEED="1")
    assert _digest(1001, PYTHONHASHSEED="2") == first
    assert _digest(70_003, PYTHONHASHSEED="3", PYTHONMALLOC="malloc") == first


def test_the_hashes_of_tasks_are_addresses_again_afterwards() -> None:
    class Before(asyncio.Future[None]):
        """Takes its slots over from the class written in C."""

    async def program() -> tuple[list[int], asyncio.Future[None]]:
        class Meanwhile(asyncio.Future[None]):
            """The same, while tasks are numbered."""

        kept = Meanwhile()
        futures = [Before(), kept, asyncio.get_running_loop().create_future(), asyncio.current_task()]
        return [hash(one) for one in futures], kept

    numbers, kept = ran(program).result
    assert all(0 < number < 100 for number in numbers)
    assert len(set(numbers)) == 4
    assert hash(kept) == object.__hash__(kept)
    assert "__hash__" not in vars(asyncio.Future)
    assert asyncio.Task.__hash__ is object.__hash__


def test_a_loop_that_waits_in_real_time_is_refused_with_the_fix() -> None:
    class Loop(asyncio.AbstractEventLoop):
        """Stands for a loop written in C."""

    def program() -> str:
        with pytest.raises(RuntimeError) as e:
            asyncio._set_running_loop(Loop())
        return str(e.value)

    assert "the event loop of tests waits in real time" in ran(program).result
    assert "asyncio's own loop" in ran(program).result
