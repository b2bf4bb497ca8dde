"""Intervals and tests by Student's t distribution, against printed tables."""

from __future__ import annotations

import pytest

from colonysim.statistics.intervals import Interval, interval_of, p_value, student, two_sided


def test_the_interval_is_students() -> None:
    """Mean 5, standard deviation 2.582, four values: 3.182 x 2.582 / 2 (any textbook's table)."""
    interval = interval_of([2.0, 4.0, 6.0, 8.0])
    assert interval.mean == 5.0
    assert interval.half_width == pytest.approx(4.108, abs=0.001)
    assert interval.clear
    assert not interval_of([-1.0, 1.0]).clear
    assert interval_of([7.0]) == Interval(7.0, None)


def test_values_without_chance_show_no_interval_and_nothing_clear() -> None:
    interval = interval_of([-3.0, -3.0])
    assert str(interval) == "-3"
    assert not interval.clear


def test_more_values_never_widen_the_quantile() -> None:
    quantiles = [student(degrees) for degrees in range(1, 200)]
    assert quantiles == sorted(quantiles, reverse=True)
    assert quantiles[-1] >= 1.96


@pytest.mark.parametrize(
    ("degrees", "quantile"),
    [(1, 12.706), (2, 4.303), (3, 3.182), (5, 2.571), (10, 2.228), (30, 2.042), (60, 2.000), (120, 1.980)],
)
def test_quantiles_are_those_of_the_printed_table(degrees: int, quantile: float) -> None:
    assert student(degrees) == pytest.approx(quantile, abs=0.0006)


@pytest.mark.parametrize(("t", "degrees", "p"), [(1.0, 1, 0.5), (0.0, 7, 1.0), (2.764, 10, 0.02), (3.646, 30, 0.001)])
def test_probabilities_are_those_of_the_printed_table(t: float, degrees: int, p: float) -> None:
    assert two_sided(t, degrees) == two_sided(-t, degrees) == pytest.approx(p, rel=0.002)


@pytest.mark.parametrize("values", [[1.0, 2.0, 4.0], [-3.0, 0.5, 1.0, 2.0], [5.0, 5.1, 4.9, 5.2, 5.0]])
def test_an_interval_excludes_zero_exactly_if_its_p_value_is_below_5_percent(values: list[float]) -> None:
    p = p_value(values)
    assert p is not None
    assert interval_of(values).clear == (p < 0.05)


@pytest.mark.parametrize("values", [[], [3.0], [2.0, 2.0, 2.0]])
def test_values_that_say_nothing_have_no_p_value(values: list[float]) -> None:
    assert p_value(values) is None


def test_a_half_width_relative_to_the_mean() -> None:
    assert Interval(-4.0, 1.0).relative == 0.25
    assert Interval(0.0, 0.0).relative == Interval(5.0, 0.0).relative == 0.0
    assert Interval(0.0, 1.0).relative is None
    assert Interval(4.0, None).relative is None
