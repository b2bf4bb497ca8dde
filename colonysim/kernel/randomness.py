"""Chance: a source of random numbers for each purpose, and the distributions of time that draw from it.

A source is derived from the seed and the name of its purpose, so a new purpose does not change what others draw.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Annotated, Any, Final

from msgspec import Meta

from colonysim.chance import measured, variates
from colonysim.core.records import SECOND_NS, Process
from colonysim.core.values import Value
from colonysim.core.wording import show_exact
from colonysim.extensions import Loader

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
            raise self.refused("high_s", f"must be at least low_s={show_exact(self.low_s)}")

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


class Gamma(Span, frozen=True, tag="gamma"):
    """Gamma, with a mean and either a shape or the squared coefficient of variation, which is 1 / shape."""

    mean_s: Positive
    shape: Annotated[float, Meta(ge=0.001, le=1e6)] | None = None
    scv: Annotated[float, Meta(ge=1e-6, le=1000)] | None = None

    def check(self) -> None:
        if (self.shape is None) == (self.scv is None):
            raise ValueError("a gamma distribution needs either `shape` or `scv`")

    def draw(self, random: Random) -> Draw:
        shape = self.shape if self.scv is None else 1.0 / self.scv
        assert shape is not None
        scale_s, standard = self.mean_s / shape, variates.gamma(shape, random.random)
        return lambda _: to_ns(scale_s * standard())


class Erlang(Span, frozen=True, tag="erlang"):
    """Erlang: the sum of `stages` exponential spans with equal means. Its scv is 1 / stages."""

    mean_s: Positive
    stages: Annotated[int, Meta(ge=1, le=1000)]

    def draw(self, random: Random) -> Draw:
        scale_s, standard = self.mean_s / self.stages, variates.erlang(self.stages, random.random)
        return lambda _: to_ns(scale_s * standard())


class Weibull(Span, frozen=True, tag="weibull"):
    """Weibull, with a shape and either a mean or a scale (63 % of the spans are shorter than the scale).

    With a shape below 1 the rate of failure falls with age, above 1 it rises; with shape 1 it is exponential.
    """

    shape: Annotated[float, Meta(ge=0.05, le=1000)]
    mean_s: Positive | None = None
    scale_s: Positive | None = None

    def check(self) -> None:
        if (self.mean_s is None) == (self.scale_s is None):
            raise ValueError("a Weibull distribution needs either `mean_s` or `scale_s`")

    def draw(self, random: Random) -> Draw:
        scale_s = self.scale_s if self.mean_s is None else self.mean_s / variates.weibull_mean(self.shape)
        assert scale_s is not None
        standard = variates.weibull(self.shape, random.random)
        return lambda _: to_ns(scale_s * standard())


class Pareto(Span, frozen=True, tag="pareto"):
    """Bounded Pareto: a heavy tail from `low_s` that ends at `high_s`. The lower alpha, the heavier the tail."""

    low_s: Positive
    high_s: Positive
    alpha: Annotated[float, Meta(ge=0.01, le=100)]

    def check(self) -> None:
        if self.high_s <= self.low_s:
            raise self.refused("high_s", f"must be greater than low_s={self.low_s:g}")

    @property
    def least_s(self) -> float:
        return self.low_s

    def draw(self, random: Random) -> Draw:
        draw_s = variates.bounded_pareto(self.low_s, self.high_s, self.alpha, random.random)
        return lambda _: to_ns(draw_s())


class Branch(Value, frozen=True):
    """One branch of a hyperexponential distribution: an exponential with its weight."""

    weight: Positive
    mean_s: Positive


class Hyperexponential(Span, frozen=True, tag="hyperexponential"):
    """Hyperexponential: one of several exponentials, chosen by weight, so more variable than one exponential.

    It has either `branches`, or `mean_s` and `scv`, which give two branches that contribute equally to the mean.
    """

    mean_s: Positive | None = None
    scv: Annotated[float, Meta(ge=1, le=1e6)] | None = None
    branches: Annotated[tuple[Branch, ...], Meta(max_length=100)] = ()

    def check(self) -> None:
        if (self.mean_s is None) != (self.scv is None) or (self.mean_s is None) == (not self.branches):
            raise ValueError("a hyperexponential distribution needs either `mean_s` and `scv`, or `branches`")

    def draw(self, random: Random) -> Draw:
        weights: tuple[float, ...] = tuple(branch.weight for branch in self.branches)
        means: tuple[float, ...] = tuple(branch.mean_s for branch in self.branches)
        if self.mean_s is not None and self.scv is not None:
            weights, means = variates.balanced_branches(self.mean_s, self.scv)
        draw_s = variates.hyperexponential(weights, means, random.random)
        return lambda _: to_ns(draw_s())


_Rate = Annotated[float, Meta(ge=-MOST, le=MOST)]


class PhaseType(Span, frozen=True, tag="phase_type"):
    """Phase-type: the time until a Markov chain ends, which starts in state i with probability `alpha[i]`.

    `t_per_s` is its matrix T, in rates per second: from state i to state j, and on the diagonal minus the rate of
    leaving state i. What a row lacks to 0 is the rate at which the chain ends from that state.
    """

    alpha: Annotated[tuple[Probability, ...], Meta(min_length=1, max_length=50)]
    t_per_s: Annotated[tuple[tuple[_Rate, ...], ...], Meta(min_length=1, max_length=50)]

    def check(self) -> None:
        if why := variates.wrong_phase_type(self.alpha, self.t_per_s):
            raise self.refused("alpha" if why.startswith("the probabilities") else "t_per_s", why)

    def draw(self, random: Random) -> Draw:
        draw_s = variates.phase_type(self.alpha, self.t_per_s, random.random)
        return lambda _: to_ns(draw_s())


class Empirical(Span, frozen=True, tag="empirical"):
    """One of several measured values, each equally likely: those given, or those in a file.

    A `file` has one value a line or, with `column`, the values of a column of a CSV file whose first line has the
    names. A relative path starts at the folder of the scenario, or at the current one outside of scenarios.
    """

    values_s: tuple[NotNegative, ...] = ()
    file: str = ""
    column: str = ""

    def check(self) -> None:
        if bool(self.values_s) == bool(self.file):
            raise ValueError("an empirical distribution needs either `values_s`, at least one, or a `file`")
        if self.column and not self.file:
            raise self.refused("column", "is that of a file; give the file too")

    @property
    def is_zero(self) -> bool:
        return not self.file and not any(self.values_s)

    @property
    def least_s(self) -> float:
        return 0.0 if self.file else min(self.values_s)

    def with_code(self, loader: Loader) -> Empirical:
        """Return the distribution with the values of its file. Raises BadValue."""
        return self._read(loader.base) if self.file else self

    def _read(self, folder: Path) -> Empirical:
        return Empirical(measured.read(folder / self.file, self.column, MOST))

    def draw(self, random: Random) -> Draw:
        if self.file:
            return self._read(Path()).draw(random)
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


SPAN: Final = Meta(
    extra={"check": _out_of_order, "fix": "give seconds, [least, most] or a distribution such as {kind: uniform, …}"}
)
Between = Annotated[tuple[NotNegative, ...], Meta(min_length=2, max_length=2)]
"""`[least, most]` of a uniform distribution. Not tuple[float, float]: msgspec mixes up its limits in a union."""
Distribution = (
    Constant | Uniform | Exponential | Lognormal | Gamma | Erlang | Weibull | Pareto | Hyperexponential | PhaseType
    | Empirical | Mixed | OfProcess
)  # fmt: skip
"""A distribution of any kind."""
AnySpan = Annotated[NotNegative | Between | Distribution, SPAN]
"""Seconds: a number, `[least, most]`, or a distribution."""

_Signed = Annotated[float, Meta(ge=-MOST, le=MOST)]
_SignedBetween = Annotated[tuple[_Signed, ...], Meta(min_length=2, max_length=2)]
AnyOffset = Annotated[_Signed | _SignedBetween | Distribution, SPAN]
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
    return variates.choice(weights, random.random)


def to_ns(seconds: float) -> int:
    """Convert seconds to whole nanoseconds. Spans longer than any run become equally long."""
    return round(seconds * SECOND_NS) if seconds < _NEVER_S else _NEVER_NS
