"""One seed is one history, in another process and under another hash seed; another seed is another history."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

PROGRAM = """
import sys
from colonysim import ColonyClient, Simulation

sim = Simulation(seed=int(sys.argv[1]), journal=True)
colony = ColonyClient.create(sim, "c")
executors = [colony.add_executor(kind) for kind in ("a", "b", "a")]
for number in range(30):
    colony.submit("f", [number], executortype="ab"[number % 2], priority=number % 3, maxexectime=number % 5 + 1,
                  maxretries=1, env={"x": "1", "y": "2"})
graph = colony.submit_workflow({"x": {"executortype": "a"}, "y": {"executortype": "a", "after": ["x"]}})
while any((process := executor.assign(timeout_s=7)) for executor in executors):
    if int(process.id, 16) % 3:
        process.close([process.id])
print(sim.journal.digest(), sim.now_ns)
"""


def _history(seed: int, hash_seed: str) -> str:
    environment = os.environ | {"PYTHONHASHSEED": hash_seed}
    run = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(seed)], env=environment, capture_output=True, text=True, check=True
    )
    return run.stdout


def test_one_seed_is_one_history() -> None:
    assert len({_history(1, hash_seed) for hash_seed in ("0", "1", "4711")}) == 1


def test_another_seed_is_another_history() -> None:
    assert len({_history(seed, "0") for seed in (1, 2, 3)}) == 3


@pytest.mark.parametrize("count", [1, 63, 64, 65, 1000])
def test_ids_never_repeat(count: int) -> None:
    from colonysim import Simulation

    world = Simulation().world
    ids = [world.new_id() for _ in range(count)]
    assert len(set(ids)) == count
    assert all(len(one) == 64 and set(one) <= set("0123456789abcdef") for one in ids)
