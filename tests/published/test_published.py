"""Executors in the shape of published ones, unmodified in three places.

They run as processes of their own over HTTP in real time, as programs in virtual time, and as programs in a storm.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import pytest

from colonysim import ColonyClient, Lost, ProcessState, Simulation, WebServer, intercept
from colonysim.faults import Crash, LoseReply, LoseRequest, Pause, Plan, Restart, Terminate, Times, When
from colonysim.kernel.pending import Waiter
from colonysim.programs.program import Program
from colonysim.simulation import stock
from colonysim.simulation.client import ProcessHandle
from colonysim.wire import identity

FOLDER = Path(__file__).parent / "executors"
SCRIPTS = sorted(path for path in FOLDER.glob("*.py") if path.name != "common.py")
SEEDS = range(int(os.environ.get("PUBLISHED_SEEDS", "1")))
each_script = pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)


def _environment(script: Path, port: int, **more: str) -> dict[str, str]:
    key = identity.derived(7, script.stem).private_key
    own = {"EXECUTOR_NAME": script.stem, "EXECUTOR_PRVKEY": key}
    return stock.environment("127.0.0.1", port, "") | own | more


def _submit(colony: ColonyClient, count: int, **fields: Any) -> list[ProcessHandle]:
    fields = {"executortype": "published", "maxexectime": 60, "maxretries": 9, **fields}
    return [colony.submit("f", [number], **fields) for number in range(count)]


def _succeeded(processes: list[ProcessHandle]) -> bool:
    return all(process.state is ProcessState.SUCCESS for process in processes)


class _All(Waiter):
    """Waits until all processes have succeeded."""

    processes: list[ProcessHandle]

    @property
    def done(self) -> bool:
        return _succeeded(self.processes)


def test_as_processes_over_http() -> None:
    sim = Simulation(mode="real")
    stock.install(sim)
    colony = ColonyClient.stock(sim)
    with WebServer(sim) as server, ExitStack() as stack:
        started = []
        for script in SCRIPTS:
            env = os.environ | _environment(script, server.port, WORK_S="0.01", POLL_S="1")
            command = [sys.executable, str(script)]
            started.append(stack.enter_context(subprocess.Popen(command, env=env, stderr=subprocess.PIPE, text=True)))
        processes = [one for script in SCRIPTS for one in _submit(colony, 1, executornames=[script.stem])]
        sim.driver.wait_for(_All(processes=processes), "the processes")
        for process in started:
            process.send_signal(signal.SIGTERM)
        ended = [
            (script.stem, process.communicate()[1], process.wait())
            for script, process in zip(SCRIPTS, started, strict=True)
        ]
    assert [(name, told) for name, told, status in ended if told or status not in (0, 143)] == []


@each_script
def test_as_a_program_in_virtual_time(script: Path) -> None:
    sim = Simulation(seed=1, journal=True)
    stock.install(sim)
    with intercept(sim, "127.0.0.1"):
        program = sim.script(script, env=_environment(script, stock.PORT))
        processes = _submit(ColonyClient.stock(sim), 3)
        sim.run(until=lambda: _succeeded(processes))
        with sim.kernel.lock:
            program.terminate(signal.SIGTERM, grace_s=60)
        sim.run()
        sim.stop_programs()
    sim.check()
    assert program.state == "over"
    assert sim.now_ns - sim.world.started_ns < 120 * 10**9
    assert all(process.output[0] == script.stem or script.stem == "heartbeat_thread" for process in processes)


STORM_S = 900
STORM = (
    Crash(times=Times(mean_every_s=120), restart_after_s=(1, 20)),
    Terminate(times=Times(mean_every_s=100), grace_s=20, restart_after_s=(1, 20)),
    Terminate(signal="SIGINT", times=Times(mean_every_s=150), grace_s=20, restart_after_s=5),
    Pause(times=Times(mean_every_s=200), for_s=(1, 90)),
    LoseReply(when=When(probability=0.05)),
    LoseRequest(when=When(probability=0.05)),
    Restart(times=Times(mean_every_s=300), down_s=(1, 20)),
)


def _storm(script: Path, seed: int) -> tuple[str, Program]:
    """A quarter of an hour of storm, and a calm: the digest, once all processes have ended."""
    sim = Simulation(seed=seed, journal=True)
    stock.install(sim)
    with intercept(sim, "127.0.0.1"):
        program = sim.script(script, env=_environment(script, stock.PORT), forever=True, restart_after_s=5)
        colony = ColonyClient.stock(sim)
        sim.faults.add(Plan(faults=STORM, until_s=STORM_S))
        processes: list[ProcessHandle] = []
        for _ in range(9):
            for _ in range(4):
                with suppress(Lost):  # by a fault, or the server is down
                    processes += _submit(colony, 1)
            sim.run(for_s=STORM_S / 9)
        sim.faults.clear()
        sim.run(for_s=1800)
        sim.stop_programs()
    sim.check()
    ended = (ProcessState.SUCCESS, ProcessState.FAILED)
    assert all(process.state in ended for process in processes)
    assert sum(process.state is ProcessState.SUCCESS for process in processes) > len(processes) / 2
    assert sim.journal is not None
    return sim.journal.digest(), program


@pytest.mark.parametrize("seed", SEEDS)
@each_script
def test_as_a_program_in_a_storm(script: Path, seed: int) -> None:
    digest, program = _storm(script, seed)
    assert program.lives > 3
    assert _storm(script, seed)[0] == digest
    assert _storm(script, seed + 1000)[0] != digest
