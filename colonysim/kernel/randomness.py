"""Chance: a source of random numbers for each purpose, and the distributions of time that draw from it.

A source is derived from the seed and the name of its purpose, so a new purpose does not change what others draw.
"""

from __future__ import annotations

import hashlib
import math
from bisect import bisect_right
from collections.abc import Callable
from itertools import accumulate
from random import Random
from typing import Annotated, Any, Final

from msgspec import Meta

from colonysim.core.records import SECOND_NS, Process
from colonysim.core.values import Value

MOST: Final = 1e9
NotNegative = Annotated[float, Meta(ge=0, le=MOST)]
Positive = Annotated[float, Meta(gt=0, le=MOST)]
Probability = Annotated[float, Meta(ge=0, le=1, extra={"fix": "write 0.05 for 5 %"})]

_NEVER_S: Final = 1e15
_NEVER_NS: Final = round(_NEVER_S) * SECOND_NS

Draw = Callable[[Process | None], int]
"""Draws a span in nanoseconds, for a process if there is one."""


class OwnRandom(Random):
    """A source whose methods stay those written in C, whatever is done to those that programs use."""

    random = Random.random
    getrandbits = Random.getrandbits


def source(seed: int, purpose: str) -> Random:
    """Return the source of random numbers for a purpose, the same in every run and on every machine."""
    digest = hashlib.sha256(f"{seed}/{purpose}".encode()).digest()
    return OwnRandom(int.from_bytes(digest[:16], "big"))


class Span(Value, frozen=True, tag_field="kind"):
    """Base class of the distributions of time."""

    def draw(self, random: Random) -> Draw:
        """Return a function that draws spans from a source of random numbers."""
        raise TypeError(f"{type(self).__name__} does not define `draw`")

    @property
    def is_zero(self) -> bool:
        """Whether it draws only 0."""
        return False

    @property
    def least_s(self) -> float:
        """The least that it may draw, in seconds."""
        return 0.0


class Constant(Span, frozen=True, tag="constant"):
    """Always the same span."""

    value_s: NotNegative

    @property
    def is_zero(self) -> bool:
        return self.value_s == 0

    @property
    def least_s(self) -> float:
        return self.value_s

    def draw(self, random: Random) -> Draw:
        span_ns = to_ns(self.value_s)
        return lambda _: span_ns


class Uniform(Span, frozen=True, tag="uniform"):
    """Uniform between two bounds."""

    low_s: NotNegative
    high_s: NotNegative

    def check(self) -> None:
        if self.high_s < self.low_s:
            raise self.refused("high_s", f"must be at least low_s={self.low_s:g}")

    @property
    def is_zero(self) -> bool:
        return self.high_s == 0

    @property
    def least_s(self) -> float:
        return self.low_s

    def draw(self, random: Random) -> Draw:
        low_s, width_s, uniform = self.low_s, self.high_s - self.low_s, random.random
        return lambda _: to_ns(low_s + width_s * uniform())


class Exponential(Span, frozen=True, tag="exponential"):
    """Exponential (memoryless), with a mean."""

    mean_s: Positive

    def draw(self, random: Random) -> Draw:
        rate, exponential = 1.0 / self.mean_s, random.expovariate
        return lambda _: to_ns(exponential(rate))


class Lognormal(Span, frozen=True, tag="lognormal"):
    """Lognormal: mostly near the median, with a long tail that grows with sigma (0.5 is short, 2 very long)."""

    median_s: Positive
    sigma: Annotated[float, Meta(ge=0, le=10)] = 1.0

    def draw(self, random: Random) -> Draw:
        mu, sigma, normal, exp = math.log(self.median_s), self.sigma, random.gauss, math.exp
        return lambda _: to_ns(exp(normal(mu, sigma)))


class Empirical(Span, frozen=True, tag="empirical"):
    """One of several measured values, each equally likely."""

    values_s: Annotated[tuple[NotNegative, ...], Meta(min_length=1)]

    @property
    def is_zero(self) -> bool:
        return not any(self.values_s)

    @property
    def least_s(self) -> float:
        return min(self.values_s)

    def draw(self, random: Random) -> Draw:
        values, choice = [to_ns(value_s) for value_s in self.values_s], random.choice
        return lambda _: choice(values)


class Part(Value, frozen=True):
    """One part of a mixed distribution, with its weight."""

    weight: Positive
    span: AnySpan


class Mixed(Span, frozen=True, tag="mixed"):
    """One of several distributions, chosen by weight: for example most spans short, a few very long."""

    parts: Annotated[tuple[Part, ...], Meta(min_length=1)]

    @property
    def is_zero(self) -> bool:
        return all(distribution(part.span).is_zero for part in self.parts)

    @property
    def least_s(self) -> float:
        return min(distribution(part.span).least_s for part in self.parts)

    def draw(self, random: Random) -> Draw:
        draws = [drawer(part.span, random) for part in self.parts]
        pick = weighted([part.weight for part in self.parts], random)
        return lambda process: draws[pick()](process)


class OfProcess(Span, frozen=True, tag="process"):
    """The first argument of the process, in seconds; `otherwise_s` if that is not a number."""

    scale: Positive = 1.0
    otherwise_s: NotNegative = 1.0

    def draw(self, random: Random) -> Draw:
        return self._drawn

    def _drawn(self, process: Process | None) -> int:
        args: Any = process.spec.args if process is not None else None
        said = args[0] if args else None
        if isinstance(said, (int, float)) and 0 <= said < math.inf:
            return to_ns(said * self.scale)
        return to_ns(self.otherwise_s)


def _out_of_order(span: Any) -> str:
    """Return what is wrong with a span given as `[least, most]`; "" if nothing is."""
    ordered = not isinstance(span, (tuple, list)) or span[0] <= span[1]
    return "" if ordered else "the least comes before the most"


_SPAN: Final = Meta(
    extra={"check": _out_of_order, "fix": "give seconds, [least, most] or a distribution such as {kind: uniform, …}"}
)
Between = Annotated[tuple[NotNegative, ...], Meta(min_length=2, max_length=2)]
"""`[least, most]` of a uniform distribution. Not tuple[float, float]: msgspec mixes up its limits in a union."""
AnySpan = Annotated[
    NotNegative | Between | Constant | Uniform | Exponential | Lognormal | Empirical | Mixed | OfProcess, _SPAN
]
"""Seconds: a number, `[least, most]`, or a distribution."""

_Signed = Annotated[float, Meta(ge=-MOST, le=MOST)]
_SignedBetween = Annotated[tuple[_Signed, ...], Meta(min_length=2, max_length=2)]
AnyOffset = Annotated[
    _Signed | _SignedBetween | Constant | Uniform | Exponential | Lognormal | Empirical | Mixed | OfProcess, _SPAN
]
"""Seconds ahead, or behind below 0: a number, `[least, most]`, or a distribution, which is never below 0."""


def drawer(span: AnySpan, random: Random) -> Draw:
    """Return a function that draws from a distribution."""
    return distribution(span).draw(random)


def distribution(span: AnySpan) -> Span:
    """Return a span as a distribution."""
    if isinstance(span, Span):
        return span
    return Uniform(span[0], span[1]) if isinstance(span, (tuple, list)) else Constant(span)


def draw_offset(offset: AnyOffset, random: Random) -> int:
    """Draw an offset in nanoseconds; a number leaves the source alone."""
    if isinstance(offset, (tuple, list)):
        least_s, most_s = offset
        return to_ns(least_s + (most_s - least_s) * random.random())
    return drawer(offset, random)(None) if isinstance(offset, Span) else to_ns(offset)


def is_no_offset(offset: AnyOffset) -> bool:
    """Return whether all that `draw_offset` draws is 0."""
    if isinstance(offset, (tuple, list)):
        return not any(offset)
    return offset.is_zero if isinstance(offset, Span) else offset == 0


def weighted(weights: list[float], random: Random) -> Callable[[], int]:
    """Return a function that draws an index by weight; with one index, it does not use the source."""
    if len(weights) == 1:
        return lambda: 0
    sums, uniform = list(accumulate(weights)), random.random
    total, last = sums[-1], len(sums) - 1
    return lambda: min(bisect_right(sums, uniform() * total), last)


def to_ns(seconds: float) -> int:
    """Convert seconds to whole nanoseconds. Spans longer than any run become equally long."""
    return round(seconds * SECOND_NS) if seconds < _NEVER_S else _NEVER_NS
