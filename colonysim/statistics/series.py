"""One long run: where its transient ends, and how precise the mean of a correlated series is."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from math import sqrt
from statistics import fmean, stdev
from typing import Final

import msgspec

from colonysim.statistics.intervals import Interval, student

MSER_BATCH: Final = 5
"""How many values MSER-5 averages into one."""
FEWEST: Final = 10 * MSER_BATCH
"""Fewer values are too few to find the end of a transient."""


def mser5(values: Sequence[float]) -> int | None:
    """Return how many values at the start belong to the transient; None if no end of it is found.

    MSER-5 (White, 1997; Franklin and White, 2008): of the means of 5 values each, leave out as many at the start as
    make the standard error of the mean of the rest least. Only the first half is searched, because few values at the
    end may be alike by chance, as while a queue is empty. If the least is where that half ends, the series is too
    short.
    """
    means = [fmean(values[at : at + MSER_BATCH]) for at in range(0, len(values) - MSER_BATCH + 1, MSER_BATCH)]
    if len(values) < FEWEST:
        return None
    half = len(means) // 2
    best, best_at = float("inf"), 0
    mean, squares = 0.0, 0.0  # of the batches from `at` on, by Welford's method from the end
    for at in range(len(means) - 1, -1, -1):
        count = len(means) - at
        step = means[at] - mean
        mean += step / count
        squares += step * (means[at] - mean)
        if at <= half and (error := max(squares, 0.0) / count**2) <= best:
            best, best_at = error, at
    return None if best_at == half else best_at * MSER_BATCH


class BatchMeans(msgspec.Struct, frozen=True):
    """The means of `count` successive parts of a series, and the 95 % interval of the mean that they give.

    `correlation`: that of successive batch means. If it is large, the interval is too narrow: take fewer batches, or a
    longer run. None for fewer than three batches, and if all are equal.
    """

    count: int
    interval: Interval
    correlation: float | None

    @property
    def are_related(self) -> bool:
        """Whether the correlation is larger than chance would make it in one of twenty cases (von Neumann's test)."""
        return self.correlation is not None and self.correlation > 1.645 / sqrt(self.count)


def batch_means(values: Sequence[float], count: int) -> BatchMeans | None:
    """Return the means of `count` successive parts of a series, as equal as possible; None if it has fewer values."""
    if len(values) < count:
        return None
    edges = [number * len(values) // count for number in range(count + 1)]
    means = [fmean(values[first:last]) for first, last in pairwise(edges)]
    half_width = student(count - 1) * stdev(means) / sqrt(count)
    return BatchMeans(count, Interval(fmean(values), half_width), _correlation(means))


def _correlation(values: Sequence[float]) -> float | None:
    """Return the correlation between successive values."""
    middle = fmean(values)
    squares = sum((value - middle) ** 2 for value in values)
    if len(values) < 3 or not squares:
        return None
    return sum((one - middle) * (other - middle) for one, other in pairwise(values)) / squares
