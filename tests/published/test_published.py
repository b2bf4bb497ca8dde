"""Executors in the shape of published ones, unmodified in three places.

They run as processes of their own over HTTP in real time, as programs in virtual time, and as programs of a scenario with
a storm (`storm.yaml`, and `all_together.yaml` for all of them at once). PUBLISHED_SEEDS is the number of seeds, by
default 1, so that the tests take a minute; 50 take most of an hour. PUBLISHED_LOAD is the number of busy loops beside
the tests, by default none.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from colonysim import ColonyClient, ProcessState, Simulation, WebServer, intercept
from colonysim.core.records import SUCCESS
from colonysim.kernel.pending import Waiter
from colonysim.scenarios import Result, Scenario, run
from colonysim.simulation import stock
from colonysim.simulation.client import ProcessHandle
from colonysim.wire import identity

FOLDER = Path(__file__).parent
SCRIPTS = sorted(path for path in (FOLDER / "executors").glob("*.py") if path.name != "common.py")
SEEDS = range(int(os.environ.get("PUBLISHED_SEEDS", "1")))
each_script = pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
each_seed = pytest.mark.parametrize("seed", SEEDS)


@contextmanager
def busy_loops(count: int) -> Iterator[None]:
    """Have so many processes take the processors while the context lasts."""
    loops = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    try:
        yield
    finally:
        for loop in loops:
            loop.kill()
            loop.wait()


@pytest.fixture(scope="module", autouse=True)
def load() -> Iterator[None]:
    with busy_loops(int(os.environ.get("PUBLISHED_LOAD", "0"))):
        yield


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


# ---------------------------------------------------------------- in virtual time
def _told_to_end(script: Path, seed: int) -> str:
    """Work on three processes, and end by SIGTERM: the digest."""
    sim = Simulation(seed=seed, journal=True)
    stock.install(sim)
    with intercept(sim, "127.0.0.1"):
        program = sim.script(script, env=_environment(script, stock.PORT))
        processes = _submit(ColonyClient.stock(sim), 3)
        sim.run(until=lambda: all(sim.world.processes[one.id].state == SUCCESS for one in processes))
        with sim.kernel.lock:
            program.terminate(signal.SIGTERM, grace_s=60)
        sim.run()
        sim.stop_programs()
    sim.check()
    assert program.state == "over"
    assert sim.now_ns - sim.world.started_ns < 120 * 10**9
    assert all(process.output[0] == script.stem or script.stem == "heartbeat_thread" for process in processes)
    assert sim.journal is not None
    return sim.journal.digest()


@each_seed
@each_script
def test_as_a_program_in_virtual_time(script: Path, seed: int) -> None:
    assert _told_to_end(script, seed) == _told_to_end(script, seed)


# ---------------------------------------------------------------- in a storm
def _storm(name: str, seed: int) -> Result:
    overrides = f"programs.0.name={name}", f"programs.0.code=executors/{name}.py:__main__"
    return run(Scenario.load(FOLDER / "storm.yaml", overrides), seed=seed)


@each_seed
@each_script
def test_as_a_program_in_a_storm(script: Path, seed: int) -> None:
    result = _storm(script.stem, seed)
    assert result.ok, result.failures
    struck = {fault.name: fault.count for fault in result.faults}
    assert struck["crash"] + struck["sigterm"] + struck["sigint"] > 3
    assert _storm(script.stem, seed).digest == result.digest


def _explored(scenario: str) -> dict[int, str]:
    """Run a scenario with all seeds, in processes of their own: the digests by seed."""
    command = [sys.executable, "-m", "colonysim", "explore", str(FOLDER / scenario), "--from-seed", "0"]
    options = ["--seeds", str(len(SEEDS) + 1), "--workers", "2", "--no-shrink", "--json"]
    explored = json.loads(subprocess.run([*command, *options], capture_output=True, text=True).stdout)
    assert explored["failures"] == {}
    assert explored["digests"] == len(SEEDS) + 1
    return {outcome["seed"]: outcome["digest"] for outcome in explored["outcomes"]}


def test_the_digest_depends_on_the_seed_and_not_on_the_process_or_the_load() -> None:
    digests = _explored("storm.yaml")
    with busy_loops(2):
        assert _explored("storm.yaml") == digests
        assert run(Scenario.load(FOLDER / "storm.yaml"), seed=0).digest == digests[0]


@each_seed
def test_all_together_in_a_storm(seed: int) -> None:
    result = run(Scenario.load(FOLDER / "all_together.yaml"), seed=seed)
    assert result.ok, result.failures


def test_all_are_in_the_scenario_of_all_of_them() -> None:
    programs = Scenario.load(FOLDER / "all_together.yaml").programs
    assert [program.code for program in programs] == [f"executors/{path.name}:__main__" for path in SCRIPTS]
    assert len(programs) >= 12
