"""Random variates, each from a source of uniform random numbers from 0 up to, but not including, 1.

Inversion where there is a formula, sums and mixtures of exponentials, and for the gamma distribution the method of
Marsaglia and Tsang. None keeps state between draws. None depends on what differs between versions of Python: the
algorithms of the `random` module, and `sum`, which rounds floats differently from 3.12 on; `fsum` is exact.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from itertools import accumulate
from math import fsum, isfinite, log, sqrt
from math import gamma as gamma_function
from typing import Final

Uniform01 = Callable[[], float]
"""Returns a uniform random number, at least 0 and less than 1."""

Variate = Callable[[], float]
"""Draws a number."""

MOST_STEPS: Final = 100_000.0
"""The largest mean number of steps of a phase-type distribution."""


def exponential(uniform: Uniform01) -> float:
    """Draw from the exponential distribution with mean 1."""
    return -log(1.0 - uniform())


def _normal(uniform: Uniform01) -> float:
    """Draw from the standard normal distribution, by Marsaglia's polar method."""
    while True:
        x, y = 2.0 * uniform() - 1.0, 2.0 * uniform() - 1.0
        square = x * x + y * y
        if 0.0 < square < 1.0:
            return x * sqrt(-2.0 * log(square) / square)


def gamma(shape: float, uniform: Uniform01) -> Variate:
    """Return draws from the gamma distribution with scale 1, whose mean is `shape` (Marsaglia and Tsang, 2000)."""
    boosted = shape if shape >= 1.0 else shape + 1.0
    d = boosted - 1.0 / 3.0
    c = 1.0 / sqrt(9.0 * d)

    def draw() -> float:
        while True:
            x = _normal(uniform)
            v = 1.0 + c * x
            v = v * v * v
            if v > 0.0 and log(1.0 - uniform()) < 0.5 * x * x + d - d * v + d * log(v):
                return d * v

    if shape >= 1.0:
        return draw
    return lambda: draw() * (1.0 - uniform()) ** (1.0 / shape)


def erlang(stages: int, uniform: Uniform01) -> Variate:
    """Return draws of the sum of exponentials with mean 1."""
    return lambda: -fsum(log(1.0 - uniform()) for _ in range(stages))


def weibull(shape: float, uniform: Uniform01) -> Variate:
    """Return draws from the Weibull distribution with scale 1."""
    power = 1.0 / shape
    return lambda: exponential(uniform) ** power


def weibull_mean(shape: float) -> float:
    """Return the mean of the Weibull distribution with scale 1."""
    return gamma_function(1.0 + 1.0 / shape)


def bounded_pareto(low: float, high: float, alpha: float, uniform: Uniform01) -> Variate:
    """Return draws from the Pareto distribution with tail index `alpha`, limited to the range from `low` to `high`."""
    covered, power = 1.0 - (low / high) ** alpha, -1.0 / alpha
    return lambda: min(max(low * (1.0 - uniform() * covered) ** power, low), high)


def choice(weights: Sequence[float], uniform: Uniform01) -> Callable[[], int]:
    """Return draws of an index by weight, each from one uniform random number."""
    sums = list(accumulate(weights))
    total = sums[-1]
    last = max(place for place, weight in enumerate(weights) if weight > 0)
    return lambda: min(bisect_right(sums, uniform() * total), last)


def hyperexponential(weights: Sequence[float], means: Sequence[float], uniform: Uniform01) -> Variate:
    """Return draws from exponentials with these means, one of which is chosen by weight for each draw."""
    pick = choice(weights, uniform)
    return lambda: means[pick()] * exponential(uniform)


def balanced_branches(mean: float, scv: float) -> tuple[tuple[float, float], tuple[float, float]]:
    """Return weights and means of the hyperexponential with two branches that contribute equally to the mean."""
    first = (1.0 + sqrt((scv - 1.0) / (scv + 1.0))) / 2.0
    return (first, 1.0 - first), (mean / (2.0 * first), mean / (2.0 * (1.0 - first)))


def phase_type(alpha: Sequence[float], rates: Sequence[Sequence[float]], uniform: Uniform01) -> Variate:
    """Return draws of the time until a Markov chain ends, which starts in state i with probability `alpha[i]`.

    `rates` is its sub-generator T: the rate from state i to state j, and on the diagonal minus the rate of leaving i.
    """
    size = len(alpha)
    start = choice(alpha, uniform)
    leave = [
        choice([*(max(rate, 0.0) for rate in row), max(-fsum(row), 0.0)], uniform)  # the last one ends
        for row in rates
    ]
    means = [-1.0 / row[place] for place, row in enumerate(rates)]

    def draw() -> float:
        time, state = 0.0, start()
        while state < size:
            time += means[state] * exponential(uniform)
            state = leave[state]()
        return time

    return draw


def wrong_phase_type(alpha: Sequence[float], rates: Sequence[Sequence[float]]) -> str:
    """Return what is wrong with the parameters of a phase-type distribution; "" if nothing is."""
    size = len(alpha)
    if abs(fsum(alpha) - 1.0) > 1e-9:
        return f"the probabilities in alpha must add up to 1, not {fsum(alpha):g}"
    if len(rates) != size or any(len(row) != size for row in rates):
        return f"must be a matrix with {size} rows and {size} columns, as alpha has {size} states"
    for place, row in enumerate(rates):
        if row[place] >= 0:
            return f"row {place}: the number on the diagonal must be below 0; it is minus the rate of leaving the state"
        if any(rate < 0 for column, rate in enumerate(row) if column != place):
            return f"row {place}: rates to other states must be at least 0"
        if fsum(row) > -row[place] * 1e-9:
            return f"row {place}: must add up to 0 or less; what is missing to 0 is the rate of the end"
    steps = _mean_steps(alpha, rates)
    if not 0.0 < steps <= MOST_STEPS:
        return f"the chain never ends, or only after more than {MOST_STEPS:,.0f} steps on average"
    return ""


def _mean_steps(alpha: Sequence[float], rates: Sequence[Sequence[float]]) -> float:
    """Return the mean number of states that the chain visits: solves v = alpha + v P by elimination; -1 if endless."""
    size = len(alpha)
    system = [
        [(1.0 if row == column else -rates[column][row] / -rates[column][column]) for column in range(size)]
        + [alpha[row]]
        for row in range(size)
    ]
    for place in range(size):
        pivot = max(range(place, size), key=lambda row: abs(system[row][place]))
        if abs(system[pivot][place]) < 1e-12:
            return -1.0
        system[place], system[pivot] = system[pivot], system[place]
        for row in range(size):
            if row != place:
                factor = system[row][place] / system[place][place]
                system[row] = [one - factor * other for one, other in zip(system[row], system[place], strict=True)]
    steps = fsum(system[place][size] / system[place][place] for place in range(size))
    return steps if isfinite(steps) else -1.0
