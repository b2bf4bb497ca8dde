"""Results that are kept in a folder: runs that were done are not repeated, and others are."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest

from colonysim.experiments.compare import run_variants
from colonysim.experiments.exploration import Outcome, explore
from colonysim.experiments.parallel import InThisProcess, Stop
from colonysim.scenarios.scenario import Scenario

SCENARIO = """
version: 1
name: small
executors: [{name: e, count: 1, service: {kind: exponential, mean_s: 30}}]
workload: [{name: w, trace: {file: t.csv}}]
"""
VARIANTS = {number: (f"executors.0.count={number}",) for number in ("1", "2")}


class Counting(InThisProcess):
    """Counts the jobs that it was given."""

    def __init__(self) -> None:
        super().__init__()
        self.jobs = 0

    def submit(self, function: Callable[..., Any], *arguments: Any) -> Future[Any]:
        self.jobs += 1
        return super().submit(function, *arguments)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "t.csv").write_text("submit_s,run_s\n" + "".join(f"{n},{n}\n" for n in range(10)))
    (tmp_path / "s.yaml").write_text(SCENARIO)
    return tmp_path / "s.yaml"


def compared(file: Path, folder: Path | None, seeds: int = 3, stop: Stop | None = None, after: int = 0) -> Any:
    pool = Counting()
    progress = (lambda done: stop.ask() if done == after else None) if stop is not None else (lambda done: None)
    return run_variants(file, VARIANTS, seeds, progress, pool, stop, folder), pool.jobs


def test_an_interrupted_comparison_is_continued_with_the_same_figures(file: Path, tmp_path: Path) -> None:
    whole, jobs = compared(file, None)
    assert jobs == 6
    compared(file, tmp_path / "kept", stop=Stop(), after=3)
    kept = len(list((tmp_path / "kept").iterdir()))
    assert 3 <= kept < 6
    again, jobs = compared(file, tmp_path / "kept")
    assert (again, jobs) == (whole, 6 - kept)
    assert compared(file, tmp_path / "kept") == (whole, 0)
    assert compared(file, tmp_path / "kept", seeds=4)[1] == 2


def test_results_of_other_inputs_are_not_taken(file: Path, tmp_path: Path) -> None:
    compared(file, tmp_path / "kept")
    file.write_text(SCENARIO.replace("mean_s: 30", "mean_s: 31"))
    assert compared(file, tmp_path / "kept")[1] == 6
    (tmp_path / "t.csv").write_text("submit_s,run_s\n0,1\n")
    assert compared(file, tmp_path / "kept")[1] == 6


def test_a_damaged_result_is_replaced(file: Path, tmp_path: Path) -> None:
    whole, _ = compared(file, tmp_path / "kept")
    damaged = sorted((tmp_path / "kept").iterdir())[0]
    damaged.write_bytes(damaged.read_bytes()[:-9])
    assert compared(file, tmp_path / "kept") == (whole, 1)
    assert compared(file, tmp_path / "kept") == (whole, 0)


@pytest.mark.parametrize("stop_at_first", [False, True])
def test_seeds_that_were_explored_are_not_run_again(file: Path, tmp_path: Path, stop_at_first: bool) -> None:
    scenario = Scenario.load(file)

    def explored(seeds: range) -> tuple[list[Outcome], int]:
        pool = Counting()
        outcomes = explore(scenario, seeds, pool, stop_at_first, folder=tmp_path / "kept")
        return sorted(outcomes, key=lambda one: one.seed), pool.jobs

    first, jobs = explored(range(4))
    assert jobs == 4
    second, jobs = explored(range(2, 7))
    assert jobs == 3
    assert second[:2] == first[2:]
