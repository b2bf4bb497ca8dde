"""Runs side by side, and what is said of their differences."""

from __future__ import annotations

from pathlib import Path

import pytest

from colonysim.sim.comparison import FIGURES, Interval, interval_of, points_of, run_variants, show, student
from colonysim.sim.scenario_files import BadScenario

SCENARIO = """
version: 1
name: small
seed: 3
executors: [{name: e, count: 2, service: {kind: exponential, mean_s: 30}}]
workload:
  - name: w
    arrivals: {kind: poisson, per_hour: 300, count: 40}
    mix:
      - {weight: 1, funcname: long, maxexectime: 500}
      - {weight: 1, funcname: short, maxexectime: 50}
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "small.yaml"
    path.write_text(SCENARIO.replace(", count: 40}", "}").replace("    mix:", "    count: 40\n    mix:"))
    return path


def test_a_policy_against_itself_makes_no_difference_whatever_the_seeds(file: Path) -> None:
    reference = ("settings.policy=reference",)
    one, other = run_variants(file, {"a": reference, "b": reference}, seeds=3)
    assert one.summaries == other.summaries
    assert len(set(one.values("waiting, mean (s)"))) == 3  # the seeds do differ
    for figure in FIGURES:
        assert one.against(other, figure) == Interval(0.0, 0.0)


def test_policies_meet_the_same_submissions_and_give_them_out_in_another_order(file: Path) -> None:
    variants = {name: (f"settings.policy={name}",) for name in ("reference", "shortest")}
    reference, shortest = run_variants(file, variants, seeds=2)
    assert [s.submitted for s in reference.summaries] == [s.submitted for s in shortest.summaries] == [40, 40]
    assert reference.values("waiting, p95 (s)") != shortest.values("waiting, p95 (s)")


def test_more_executors_mean_less_waiting(file: Path) -> None:
    variants = {number: (f"executors.0.count={number}",) for number in points_of("1..8")}
    waiting = [variant.interval("waiting, mean (s)").mean for variant in run_variants(file, variants, seeds=2)]
    assert waiting == sorted(waiting, reverse=True)
    assert waiting[0] > 10 * waiting[-1]


def test_a_mistake_in_the_last_variant_shows_before_anything_is_run(file: Path) -> None:
    told: list[str] = []
    variants = {"good": ("settings.policy=fair",), "bad": ("settings.policy=luck",)}
    with pytest.raises(BadScenario, match="luck"):
        run_variants(file, variants, 1, lambda name, seed: told.append(name))
    assert told == []


@pytest.mark.parametrize(
    ("text", "points"),
    [
        ("1..64", [1, 2, 4, 8, 16, 32, 64]),
        ("3..20", [3, 6, 12, 20]),
        ("10..50:10", [10, 20, 30, 40, 50]),
        ("1..8:3", [1, 4, 7, 8]),
        ("5..5", [5]),
    ],
)
def test_ranges(text: str, points: list[int]) -> None:
    assert points_of(text) == [str(point) for point in points]


def test_lists_may_hold_anything() -> None:
    assert points_of("reference, fair,7") == ["reference", "fair", "7"]


@pytest.mark.parametrize("text", ["", "1,,2", "a..b", "0..4", "9..3", "1..9:0", "1..9:x"])
def test_what_is_no_range_is_told_with_an_example(text: str) -> None:
    with pytest.raises(ValueError, match=r"write"):
        points_of(text)


def test_the_interval_is_students() -> None:
    """Mean 5, standard deviation 2.582, four values: 3.182 x 2.582 / 2 (any textbook's table)."""
    interval = interval_of([2.0, 4.0, 6.0, 8.0])
    assert interval.mean == 5.0
    assert interval.half_width == pytest.approx(4.108, abs=0.001)
    assert interval.clear
    assert not interval_of([-1.0, 1.0]).clear
    assert interval_of([7.0]) == Interval(7.0, None)


def test_more_values_never_widen_the_quantile() -> None:
    quantiles = [student(degrees) for degrees in range(1, 200)]
    assert quantiles == sorted(quantiles, reverse=True)
    assert quantiles[-1] >= 1.96


def test_figures_are_short() -> None:
    assert [show(value) for value in (0.0, 0.123456, 12.3456, 123456.7)] == ["0", "0.1235", "12.35", "123,457"]
