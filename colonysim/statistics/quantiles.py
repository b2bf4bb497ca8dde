"""Quantiles of samples."""

from __future__ import annotations

import msgspec


class Quantiles(msgspec.Struct, frozen=True):
    """The quantiles of a distribution; all are None if it is empty."""

    count: int = 0
    mean: float | None = None
    p50: float | None = None
    p90: float | None = None
    p95: float | None = None
    p99: float | None = None
    max: float | None = None


def quantiles(values: list[float]) -> Quantiles:
    """Return the nearest-rank percentiles of a list, which is sorted in place."""
    if not values:
        return Quantiles()
    values.sort()
    count = len(values)

    def at(share: float) -> float:
        return round(values[min(count - 1, max(0, -int(-share * count // 1) - 1))], 6)

    mean = round(sum(values) / count, 6)
    return Quantiles(count, mean, at(0.5), at(0.9), at(0.95), at(0.99), round(values[-1], 6))
