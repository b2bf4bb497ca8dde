"""Arrival processes: when clients submit, in seconds from the start of their workload.

To add one, write a class with `times`, decorated with `@ARRIVALS.kind`. Users pass a subclass of `Arrivals` of their
own: named as `file.py:Name` in a scenario, as an instance in Python, or by an entry point of `colonysim.arrivals`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import repeat
from random import Random
from typing import Annotated, Any, Final

from msgspec import Meta

from colonysim.core.values import Value
from colonysim.extensions import Kinds
from colonysim.kernel.randomness import NotNegative, Positive, Probability

DAY_S = 86_400.0
_LEAST_RATE = 1e-15  # per second: rarer than once in any run, and far above the smallest float
Count = Annotated[int, Meta(ge=1)]
MANY: Final = 1_000_000
Many = Annotated[int, Meta(ge=1, le=MANY)]
"""How many of something exist at the same time."""


class Arrivals(Value, frozen=True, tag_field="kind"):
    """Base class of arrival processes; a subclass defines `times`, and fields for its parameters."""

    def times(self, random: Random, midnight_s: float) -> Iterator[float]:
        """Yield the times of submissions in ascending order, in seconds from the start of the workload.

        Draw all random numbers from `random`, which belongs to this workload. `midnight_s` is the time of day at the
        start, in seconds since midnight UTC. Each time is requested only when the previous one has come.
        """
        raise TypeError(f"{type(self).__name__} does not define `times`")

    @property
    def ends(self) -> bool:
        """Whether `times` is finite; if not, the workload or the storm must have an end."""
        return False

    @property
    def first_s(self) -> float:
        """The earliest time that `times` may yield, for the warning that a workload submits nothing."""
        return 0.0


ARRIVALS: Final = Kinds(Arrivals, "arrivals", "arrivals", needs=("times",))
"""All kinds of arrivals: the classes below, and those of users."""


@ARRIVALS.unloaded_kind
class OwnArrivals(Arrivals, frozen=True):
    """Arrivals of a user that are not loaded yet: the name of their code, and its fields."""

    code: str
    fields: dict[str, Any] = {}

    @property
    def ends(self) -> bool:
        return True  # checked again once they are loaded


@ARRIVALS.kind
class Once(Arrivals, frozen=True, tag="once"):
    """`count` submissions at one time, `at_s`."""

    count: Count = 1
    at_s: NotNegative = 0.0

    @property
    def ends(self) -> bool:
        return True

    @property
    def first_s(self) -> float:
        return self.at_s

    def times(self, random: Random, midnight_s: float) -> Iterator[float]:
        return repeat(self.at_s, self.count)


@ARRIVALS.kind
class Every(Arrivals, frozen=True, tag="constant"):
    """One submission every `every_s` seconds, the first at 0."""

    every_s: Positive

    def times(self, random: Random, midnight_s: float) -> Iterator[float]:
        number = 0
        while True:
            yield number * self.every_s
            number += 1


@ARRIVALS.kind
class Poisson(Arrivals, frozen=True, tag="poisson"):
    """A Poisson process: independent submissions, `per_hour` on average."""

    per_hour: Positive

    def times(self, random: Random, midnight_s: float) -> Iterator[float]:
        rate, now_s = max(self.per_hour / 3600, _LEAST_RATE), 0.0
        while True:
            now_s += random.expovariate(rate)
            yield now_s


@ARRIVALS.kind
class Bursts(Arrivals, frozen=True, tag="bursts"):
    """`size` submissions every `every_s` seconds, each at a random time within `spread_s` of the burst's start."""

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


@ARRIVALS.kind
class Diurnal(Arrivals, frozen=True, tag="diurnal"):
    """Poisson with a daily cycle: `per_hour` on average, most at `peak_hour` (UTC), least half a day later."""

    per_hour: Positive
    peak_hour: Annotated[float, Meta(ge=0, lt=24)] = 14.0
    swing: Probability = 0.8

    def times(self, random: Random, midnight_s: float) -> Iterator[float]:
        """Thin a process that has the peak rate: keep each time with probability (rate at that hour) / (peak rate)."""
        most = 1 + self.swing
        rate, now_s = max(self.per_hour * most / 3600, _LEAST_RATE), 0.0
        while True:
            now_s += random.expovariate(rate)
            turn = 2 * math.pi * ((midnight_s + now_s) / DAY_S - self.peak_hour / 24)
            if random.random() * most < 1 + self.swing * math.cos(turn):
                yield now_s


@ARRIVALS.kind
class At(Arrivals, frozen=True, tag="at"):
    """Submissions at the listed times, in any order."""

    times_s: Annotated[tuple[NotNegative, ...], Meta(min_length=1)]

    @property
    def ends(self) -> bool:
        return True

    @property
    def first_s(self) -> float:
        return min(self.times_s)

    def times(self, random: Random, midnight_s: float) -> Iterator[float]:
        return iter(sorted(self.times_s))
