"""Arrival processes: when clients submit, counted in seconds from the beginning."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import repeat
from random import Random
from typing import Annotated, Final

from msgspec import Meta

from colonysim.core.values import Value
from colonysim.kernel.randomness import NotNegative, Positive, Probability

DAY_S = 86_400.0
_LEAST_RATE = 1e-15  # a second: never in any run, and far from where numbers end
Count = Annotated[int, Meta(ge=1)]
MANY: Final = 1_000_000
Many = Annotated[int, Meta(ge=1, le=MANY)]
"""A number of things that are all there at once."""


class Arrivals(Value, frozen=True, tag_field="kind"):
    """Base of the arrival processes. `times` goes on for ever, unless it says otherwise."""


class Once(Arrivals, frozen=True, tag="once"):
    """So many at one time: a herd."""

    count: Count = 1
    at_s: NotNegative = 0.0

    def times(self, random: Random, midnight_s: float) -> Iterator[float]:
        return repeat(self.at_s, self.count)


class Every(Arrivals, frozen=True, tag="constant"):
    """One after another at equal distances."""

    every_s: Positive

    def times(self, random: Random, midnight_s: float) -> Iterator[float]:
        number = 0
        while True:
            yield number * self.every_s
            number += 1


class Poisson(Arrivals, frozen=True, tag="poisson"):
    """Each on its own, so many in an hour on average."""

    per_hour: Positive

    def times(self, random: Random, midnight_s: float) -> Iterator[float]:
        rate, now_s = max(self.per_hour / 3600, _LEAST_RATE), 0.0
        while True:
            now_s += random.expovariate(rate)
            yield now_s


class Bursts(Arrivals, frozen=True, tag="bursts"):
    """`size` at once, each within `spread_s` of the burst's time, again after `every_s`."""

    size: Many
    every_s: Positive
    spread_s: NotNegative = 0.0

    def times(self, random: Random, midnight_s: float) -> Iterator[float]:
        number = 0
        while True:
            begin_s = number * self.every_s
            yield from sorted(begin_s + self.spread_s * random.random() for _ in range(self.size))
            number += 1

    def check(self) -> None:
        if self.spread_s > self.every_s:
            raise self.refused("spread_s", f"must be at most every_s={self.every_s:g}")


class Diurnal(Arrivals, frozen=True, tag="diurnal"):
    """Poisson with a daily swing: `per_hour` on average, most at `peak_hour` (UTC), least half a day later."""

    per_hour: Positive
    peak_hour: Annotated[float, Meta(ge=0, lt=24)] = 14.0
    swing: Probability = 0.8

    def times(self, random: Random, midnight_s: float) -> Iterator[float]:
        """By thinning: drawn as for the peak, and kept as likely as the hour is busy."""
        most = 1 + self.swing
        rate, now_s = max(self.per_hour * most / 3600, _LEAST_RATE), 0.0
        while True:
            now_s += random.expovariate(rate)
            turn = 2 * math.pi * ((midnight_s + now_s) / DAY_S - self.peak_hour / 24)
            if random.random() * most < 1 + self.swing * math.cos(turn):
                yield now_s


class At(Arrivals, frozen=True, tag="at"):
    """At the times that are listed."""

    times_s: Annotated[tuple[NotNegative, ...], Meta(min_length=1)]

    def times(self, random: Random, midnight_s: float) -> Iterator[float]:
        return iter(sorted(self.times_s))


AnyArrivals = Once | Every | Poisson | Bursts | Diurnal | At
