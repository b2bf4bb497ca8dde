"""Arrival processes: when clients submit, in seconds from the start of their workload, or when the last has ended.

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

from colonysim.chance import variates
from colonysim.core.records import SECOND_NS
from colonysim.core.values import Value
from colonysim.core.wording import show_exact
from colonysim.extensions import Kinds
from colonysim.kernel.randomness import AnySpan, NotNegative, Positive, Probability, distribution, drawer

DAY_S = 86_400.0
_LEAST_RATE = 1e-15  # per second: rarer than once in any run, and far above the smallest float
_LEAST_IN_A_STATE: Final = 1e-4
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
            raise self.refused("spread_s", f"must be at most every_s={show_exact(self.every_s)}")


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


@ARRIVALS.kind
class Renewal(Arrivals, frozen=True, tag="renewal"):
    """Single submissions with independent gaps between them, the first gap before the first one."""

    gaps: AnySpan

    def check(self) -> None:
        _check_gaps(self)

    @property
    def first_s(self) -> float:
        return distribution(self.gaps).least_s

    def times(self, random: Random, midnight_s: float) -> Iterator[float]:
        gap, now_ns = drawer(self.gaps, random), 0
        while True:
            now_ns += gap(None)
            yield now_ns / SECOND_NS


def _check_gaps(arrivals: Renewal | Batches) -> None:
    if distribution(arrivals.gaps).is_zero:
        raise arrivals.refused("gaps", "must not always be 0: submissions would never end; give a longer gap")


class MmppState(Value, frozen=True):
    """A state of a Markov-modulated Poisson process. It lasts an exponential time of mean `mean_s`."""

    per_hour: NotNegative
    mean_s: Annotated[float, Meta(ge=0.001, le=1e9)]
    next: Annotated[tuple[NotNegative, ...], Meta(max_length=100)] = ()


@ARRIVALS.kind
class Mmpp(Arrivals, frozen=True, tag="mmpp"):
    """A Markov-modulated Poisson process: its rate is that of its current state. It starts in the first state.

    `next` of a state has the weight of each state, in their order, as the following one; by default all others are
    equally likely.
    """

    states: Annotated[tuple[MmppState, ...], Meta(min_length=2, max_length=100)]

    def check(self) -> None:
        count = len(self.states)
        for place, state in enumerate(self.states):
            if state.next and (len(state.next) != count or not any(state.next)):
                why = f"must have a weight for each of the {count} states, not all of them 0"
                raise state.refused("next", why).within(("states", place))
        reached = self._reached_from(0)
        for place in reached:
            if not any(self.states[other].per_hour for other in self._reached_from(place)):
                why = "from here on no state has submissions: give one of those that follow a per_hour above 0"
                raise self.states[place].refused("per_hour", why).within(("states", place))
        if max(state.per_hour / 3600 * state.mean_s for state in self.states) < _LEAST_IN_A_STATE:
            why = f"no state has {_LEAST_IN_A_STATE:g} submissions on average each time; give longer times"
            raise self.states[0].refused("mean_s", why).within(("states", 0))

    def _weights(self, place: int) -> list[float]:
        return list(self.states[place].next) or [float(other != place) for other in range(len(self.states))]

    def _reached_from(self, place: int) -> set[int]:
        reached, unseen = {place}, [place]
        while unseen:
            for other, weight in enumerate(self._weights(unseen.pop())):
                if weight > 0 and other not in reached:
                    reached.add(other)
                    unseen.append(other)
        return reached

    def times(self, random: Random, midnight_s: float) -> Iterator[float]:
        """Draw the end of each state and, up to it, exponential gaps; what lies beyond the end is forgotten."""
        uniform = random.random
        follow = [variates.choice(self._weights(place), uniform) for place in range(len(self.states))]
        place, now_s = 0, 0.0
        while True:
            state = self.states[place]
            end_s = now_s + state.mean_s * variates.exponential(uniform)
            while state.per_hour:
                now_s += variates.exponential(uniform) / max(state.per_hour / 3600, _LEAST_RATE)
                if now_s >= end_s:
                    break
                yield now_s
            now_s, place = end_s, follow[place]()


class BatchSize(Value, frozen=True, tag_field="kind"):
    """Base class of the distributions of the size of batches."""

    def sizes(self, random: Random) -> Iterator[int]:
        """Yield sizes, without end."""
        raise TypeError(f"{type(self).__name__} does not define `sizes`")


class GeometricSize(BatchSize, frozen=True, tag="geometric"):
    """Geometric, at least 1: after each submission the batch ends with probability 1 / mean."""

    mean: Annotated[float, Meta(ge=1, le=1e6)]

    def sizes(self, random: Random) -> Iterator[int]:
        more = 1.0 - 1.0 / self.mean
        while True:
            yield 1 + int(-variates.exponential(random.random) / math.log(more)) if more > 0.0 else 1


class ListedSize(BatchSize, frozen=True, tag="listed"):
    """One of several sizes, drawn by `weights`; without these all are equally likely."""

    values: Annotated[tuple[Many, ...], Meta(min_length=1)]
    weights: tuple[Positive, ...] = ()

    def check(self) -> None:
        if self.weights and len(self.weights) != len(self.values):
            raise self.refused("weights", f"must be as many as the {len(self.values)} values")

    def sizes(self, random: Random) -> Iterator[int]:
        pick = variates.choice(self.weights or [1.0] * len(self.values), random.random)
        while True:
            yield self.values[pick()]


def _wrong_size(given: Any) -> str:
    return "the least comes before the most" if isinstance(given, (tuple, list)) and given[0] > given[1] else ""


_SIZE: Final = Meta(
    extra={"check": _wrong_size, "fix": "give a number, [least, most] or a distribution such as {kind: geometric, …}"}
)
_SizeBetween = Annotated[tuple[Many, ...], Meta(min_length=2, max_length=2)]
AnySize = Annotated[Many | _SizeBetween | GeometricSize | ListedSize, _SIZE]
"""The size of a batch: a number, `[least, most]`, or a distribution."""


@ARRIVALS.kind
class Batches(Arrivals, frozen=True, tag="batches"):
    """Batches of submissions at one time each, with independent gaps between them, the first gap before the first."""

    gaps: AnySpan
    size: AnySize

    def check(self) -> None:
        _check_gaps(self)

    @property
    def first_s(self) -> float:
        return distribution(self.gaps).least_s

    def times(self, random: Random, midnight_s: float) -> Iterator[float]:
        gap, sizes, now_ns = drawer(self.gaps, random), self._sizes(random), 0
        for size in sizes:
            now_ns += gap(None)
            yield from repeat(now_ns / SECOND_NS, size)

    def _sizes(self, random: Random) -> Iterator[int]:
        if isinstance(self.size, BatchSize):
            return self.size.sizes(random)
        if isinstance(self.size, int):
            return repeat(self.size)
        least, most = self.size
        return iter(lambda: least + int(random.random() * (most - least + 1)), 0)  # 0 never comes: sizes are at least 1


@ARRIVALS.kind
class ClosedLoop(Arrivals, frozen=True, tag="closed"):
    """A closed loop: each of `clients` thinks, submits, waits until what it submitted has ended, and thinks again.

    It learns of the end at once, whatever the outcome, and of a workflow when all its processes have ended. A client
    whose submission is refused, or lost for the last time, thinks again, for `resend_s` of the workload at least.
    """

    clients: Annotated[int, Meta(ge=1, le=10_000)]
    think: AnySpan

    @property
    def first_s(self) -> float:
        return distribution(self.think).least_s
