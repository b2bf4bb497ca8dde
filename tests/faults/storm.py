"""A small colony in a storm: executors and clients as programs, for two virtual hours."""

from __future__ import annotations

import random
import time
from collections.abc import Sequence

import msgspec

from colonysim import ColonyClient, Lost, ProcessState, Refused, Simulation
from colonysim.core.values import read_value
from colonysim.faults import AnyFault, Plan
from colonysim.simulation.client import ExecutorClient


def executor_loop(executor: ExecutorClient) -> None:
    """Take one process after the other, for ever."""
    while True:
        try:
            process = executor.assign(timeout_s=60)
        except (Lost, Refused):
            time.sleep(1)
            continue
        if process is None:
            continue
        time.sleep(random.expovariate(1 / 20))
        try:
            process.close([executor.name, time.time()])
        except (Lost, Refused):
            time.sleep(1)


def client_loop(colony: ColonyClient, count: int) -> None:
    """Submit now and then, and look whether it has been done."""
    for number in range(count):
        time.sleep(random.expovariate(1 / 60))
        try:
            process = colony.submit("f", [number], executortype="a", maxexectime=120, maxretries=9)
            for _ in range(10):
                time.sleep(10)
                if process.state is ProcessState.SUCCESS:
                    break
        except (Lost, Refused):
            pass


def run(seed: int, faults: Sequence[AnyFault]) -> Simulation:
    """A storm of two hours with everybody in it."""
    sim = Simulation(seed=seed, journal=True)
    colony = ColonyClient.create(sim, "c")
    for _ in range(3):
        executor = colony.add_executor("a")
        sim.program(executor_loop, executor, name=executor.name, forever=True)
    for number in range(2):
        sim.program(client_loop, colony, 15, name=f"client-{number}", forever=True)
    sim.faults.add(*faults)
    try:
        sim.run(for_s=7200)
    finally:
        sim.stop_programs()
    return sim


def digest_of(seed: int, faults: Sequence[AnyFault]) -> str:
    journal = run(seed, faults).journal
    assert journal is not None
    return journal.digest()


def main(plan: str) -> None:
    """Print the digest of the storm that a plan makes."""
    print(digest_of(7, read_value(Plan, msgspec.json.decode(plan)).faults))
