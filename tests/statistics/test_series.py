"""The transient of a run and the interval of its mean, against examples worked by hand and known means."""

from __future__ import annotations

from random import Random

import pytest

from colonysim.statistics.intervals import interval_of
from colonysim.statistics.series import batch_means, mser5


def batches_of_five(*means: float) -> list[float]:
    return [mean + part for mean in means for part in (-0.2, -0.1, 0.0, 0.1, 0.2)]


def test_mser_5_leaves_out_what_makes_the_standard_error_least() -> None:
    """By hand, from the 0th, 1st, 2nd, 3rd and 4th mean on: 0.824, 0.247, 0.03125, 0.0350 and 0.0417."""
    assert mser5(batches_of_five(10, 6, 1, 2, 1, 2, 1, 2, 1, 2)) == 10


def test_mser_5_leaves_out_nothing_where_nothing_is_unlike_the_rest() -> None:
    assert mser5(batches_of_five(*[1, 2] * 10)) == 0
    assert mser5([3.0] * 60) == 0


def test_mser_5_finds_no_end_of_a_transient_that_takes_more_than_half() -> None:
    assert mser5(batches_of_five(*range(30, 0, -1))) is None


@pytest.mark.parametrize("equal", [1, 2, 5, 8])
def test_mser_5_is_not_led_astray_by_few_equal_values_at_the_end(equal: int) -> None:
    """Such as the waits of 0 while a queue is empty."""
    assert mser5(batches_of_five(*[9, 1] * 10, *[5] * equal)) == 0


@pytest.mark.parametrize("count", [0, 1, 49])
def test_few_values_have_no_end_of_a_transient(count: int) -> None:
    assert mser5([1.0] * count) is None


def test_mser_5_finds_the_end_of_a_transient_in_noise() -> None:
    random = Random(1)
    series = [20 * 0.98**number + random.gauss(5, 1) for number in range(2000)]
    found = mser5(series)
    assert found is not None
    assert 100 <= found <= 400  # at 150 the transient is as large as the noise, at 400 it is a hundredth of the noise


# ---------------------------------------------------------------- batch means
def test_batches_by_hand() -> None:
    """Means 2, 5, 8: standard deviation 3, and 4.303 x 3 / sqrt(3)."""
    batches = batch_means([1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0], 3)
    assert batches is not None
    assert batches.interval.mean == 5.0
    assert batches.interval.half_width == pytest.approx(7.452, abs=0.002)
    assert batches.correlation == 0.0


def test_every_value_is_in_one_batch() -> None:
    batches = batch_means([0.0] * 10 + [1.0], 3)
    assert batches is not None
    assert batches.interval.mean == pytest.approx(1 / 11)
    assert batch_means([1.0, 2.0], 3) is None


def autoregressive(seed: int, count: int, memory: float) -> list[float]:
    """Return a series with mean 10 in which each value keeps a part of the one before."""
    random = Random(seed)
    value, series = random.gauss(0.0, (1 - memory**2) ** -0.5), []
    for _ in range(count):
        series.append(10.0 + value)
        value = memory * value + random.gauss(0.0, 1.0)
    return series


def test_batch_means_cover_the_known_mean_of_a_correlated_series_and_a_naive_interval_does_not() -> None:
    """95 of 100 are expected, with a standard deviation of 2.2; a naive interval is a third as wide as it should be."""
    by_batches = naive = 0
    for seed in range(100):
        series = autoregressive(seed, 2000, 0.8)
        batches, plain = batch_means(series, 20), interval_of(series)
        assert batches is not None
        by_batches += abs(batches.interval.mean - 10.0) <= (batches.interval.half_width or 0.0)
        naive += abs(plain.mean - 10.0) <= (plain.half_width or 0.0)
    assert 89 <= by_batches <= 100
    assert naive <= 65


def test_batches_that_are_too_short_are_known_by_their_correlation() -> None:
    series = autoregressive(1, 2000, 0.99)
    short, long = batch_means(series, 100), batch_means(autoregressive(1, 2000, 0.3), 20)
    assert short is not None
    assert short.are_related
    assert long is not None
    assert not long.are_related
