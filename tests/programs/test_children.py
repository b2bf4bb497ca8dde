"""Child processes of programs: virtual time stands still while one runs."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable

import pytest

from colonysim import ColonyClient, ProcessState, Simulation
from tests.programs.running import ran
from tests.programs.serving import START

QUICK = [sys.executable, "-c", "import time; time.sleep(0.1)"]


def _polls() -> None:
    child = subprocess.Popen(QUICK)
    while child.poll() is None:
        time.sleep(1)


def _waits(timeout: float | None) -> Callable[[], None]:
    return lambda: (subprocess.Popen(QUICK).wait(timeout), None)[1]


@pytest.mark.parametrize(
    "code",
    [
        lambda: subprocess.run(QUICK, timeout=30, check=True),
        lambda: subprocess.run(QUICK, timeout=0.01, check=True),
        _waits(None),
        _waits(5),
        _waits(30),
        _polls,
    ],
)
def test_a_child_process_takes_no_virtual_time(code: Callable[[], object]) -> None:
    def program() -> float:
        code()
        return time.time()

    assert ran(program).result == START.timestamp()


def test_an_executor_that_runs_a_command_closes_in_time(sim: Simulation, colony: ColonyClient) -> None:
    executor, process = colony.add_executor("cli"), colony.submit("train", maxexectime=60, maxretries=3)

    def work() -> None:
        got = executor.assign(timeout_s=100)
        subprocess.run(QUICK, timeout=30, check=True)
        assert got is not None
        got.close(["done"])

    sim.program(work)
    sim.run()
    assert (process.state, process.retries, sim.now_ns) == (ProcessState.SUCCESS, 0, START.timestamp() * 10**9)
