"""The shipped scenarios run, hold what they promise, and have the histories they have always had.

Where a change is meant, write the digests anew: python -m tests.scenarios.test_shipped
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from colonysim.scenarios.runner import run
from colonysim.scenarios.scenario import Scenario

ROOT = Path(__file__).parents[2]
DIGESTS = Path(__file__).with_name("shipped_digests.json")
NEEDS_A_TRACE = ("grid_day",)
SHIPPED = [path for path in sorted((ROOT / "scenarios").glob("*.yaml")) if path.stem not in NEEDS_A_TRACE]


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_a_shipped_scenario_holds_and_is_what_it_was(path: Path) -> None:
    result = run(Scenario.load(path))
    assert result.ok, [failure.text for failure in result.failures]
    known = json.loads(DIGESTS.read_text())
    assert result.digest == known[path.stem], f"{path.stem} has another history than before; see this file's head"


def test_a_blocked_child_may_wake_somebody_out_of_turn() -> None:
    """With this seed the first worker to hear of a plan's children is not the one that has been parked longest."""
    result = run(Scenario.load(ROOT / "scenarios" / "nested_workflows.yaml"), seed=6)
    assert result.ok, [failure.text for failure in result.failures]


def test_every_shipped_scenario_has_its_digest() -> None:
    assert list(json.loads(DIGESTS.read_text())) == [path.stem for path in SHIPPED]


def test_there_are_enough_of_them() -> None:
    assert len(SHIPPED) >= 14


if __name__ == "__main__":
    DIGESTS.write_text(json.dumps({path.stem: run(Scenario.load(path)).digest for path in SHIPPED}, indent=2) + "\n")
