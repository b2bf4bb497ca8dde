"""Confidence intervals and tests of a mean, by Student's t distribution."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from math import exp, lgamma, log, sqrt
from statistics import fmean, stdev

import msgspec

from colonysim.core.wording import show_interval


class Interval(msgspec.Struct, frozen=True):
    """A mean with the half width of its 95 % confidence interval, which is None for a single value.

    A half width of 0 means that all values are equal.
    """

    mean: float
    half_width: float | None

    @property
    def clear(self) -> bool:
        """Whether the interval excludes zero. False if all values are equal: they say nothing about other seeds."""
        return bool(self.half_width) and abs(self.mean) > (self.half_width or 0.0)

    @property
    def relative(self) -> float | None:
        """The half width as a share of the mean; None if it is unknown, or not 0 beside a mean of 0."""
        if not self.half_width:
            return self.half_width
        return self.half_width / abs(self.mean) if self.mean else None

    def __str__(self) -> str:
        return show_interval(self.mean, self.half_width)


def interval_of(values: Sequence[float]) -> Interval:
    """Return the mean of independent values with its 95 % confidence interval by Student's t distribution."""
    if len(values) < 2:
        return Interval(fmean(values), None)
    return Interval(fmean(values), student(len(values) - 1) * stdev(values) / sqrt(len(values)))


def p_value(values: Sequence[float]) -> float | None:
    """Return how probable a mean at least as far from 0 would be if the true one were 0 (two-sided t test).

    None for fewer than two values, and if all are equal: then they say nothing about further ones.
    """
    if len(values) < 2 or not (spread := stdev(values)):
        return None
    return two_sided(fmean(values) * sqrt(len(values)) / spread, len(values) - 1)


def two_sided(t: float, degrees: int) -> float:
    """Return the probability of a value at least as far from 0 as `t` under Student's t distribution."""
    return _incomplete_beta(degrees / 2, 0.5, degrees / (degrees + t * t))


@cache
def student(degrees: int) -> float:
    """Return the 97.5 % quantile of Student's t distribution for these degrees of freedom."""
    low, high = 1.0, 13.0  # of infinitely many degrees and of one
    for _ in range(50):
        middle = (low + high) / 2
        if two_sided(middle, degrees) > 0.05:
            low = middle
        else:
            high = middle
    return high


def _incomplete_beta(a: float, b: float, x: float) -> float:
    """Return the regularised incomplete beta function, by its continued fraction (DLMF 8.17.22)."""
    if x <= 0.0 or x >= 1.0:
        return 0.0 if x <= 0.0 else 1.0
    if x > (a + 1) / (a + b + 2):
        return 1.0 - _incomplete_beta(b, a, 1.0 - x)
    front = exp(lgamma(a + b) - lgamma(a) - lgamma(b) + a * log(x) + b * log(1.0 - x)) / a
    c, d = 1.0, 1.0 / (1.0 - (a + b) * x / (a + 1))
    fraction = d
    for m in range(1, 1000):
        for numerator in (
            m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m)),
            -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1)),
        ):
            d = 1.0 / (1.0 + numerator * d)
            c = 1.0 + numerator / c
            fraction *= c * d
        if abs(c * d - 1.0) < 1e-14:
            break
    return front * fraction
