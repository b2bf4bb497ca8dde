"""The answer to the question of capacity, kept true."""

from pathlib import Path

import pytest

from colonysim.scenarios import Scenario, run

QUEUE = Path(__file__).parent / "queue.yaml"


def waiting_s(executors, seed):
    """The waiting time that 95 of 100 processes do not exceed."""
    return run(Scenario.load(QUEUE, (f"executors.0.count={executors}",)), seed=seed).summary.waiting_s.p95


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_twelve_executors_are_enough(seed):
    assert waiting_s(12, seed) < 300


def test_eight_are_not():
    assert waiting_s(8, seed=1) > 300
