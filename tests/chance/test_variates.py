"""Distributions draw what their parameters promise: moments, limits, and the same numbers everywhere."""

from __future__ import annotations

import math
from collections.abc import Callable
from math import gamma

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from colonysim.core.records import SECOND_NS
from colonysim.core.values import BadValue, read_value
from colonysim.kernel.randomness import (
    AnySpan,
    Branch,
    Erlang,
    Gamma,
    Hyperexponential,
    Pareto,
    PhaseType,
    Span,
    Weibull,
    drawer,
    source,
)

_DRAWS = 20_000
_T = ((-2.0, 1.5, 0.0), (0.1, -0.6, 0.4), (0.0, 0.2, -0.25))
_ALPHA = (0.5, 0.3, 0.2)

Moment = Callable[[int], float]
"""The mean of the k-th power."""


def _phase_type_moment(k: int) -> float:
    inverse = np.linalg.inv(-np.array(_T))
    return float(math.factorial(k) * np.array(_ALPHA) @ np.linalg.matrix_power(inverse, k) @ np.ones(3))


def _mixture(*branches: tuple[float, float]) -> Moment:
    return lambda k: math.factorial(k) * sum(weight * mean**k for weight, mean in branches)


def _pareto(low: float, high: float, alpha: float) -> Moment:
    def moment(k: int) -> float:
        if k == alpha:
            return float(alpha * low**alpha * math.log(high / low) / (1 - (low / high) ** alpha))
        return float(
            alpha * low**alpha / (1 - (low / high) ** alpha) * (high ** (k - alpha) - low ** (k - alpha)) / (k - alpha)
        )

    return moment


def _of_gamma(mean: float, shape: float) -> Moment:
    return lambda k: (mean / shape) ** k * gamma(shape + k) / gamma(shape)


# With scv 3: a probability of (1 + √(2/4)) / 2 for the branch that is the shorter one, and half of the mean in each.
_P = (1 + math.sqrt(0.5)) / 2
CASES: dict[str, tuple[Span, Moment]] = {
    "gamma, shape 2.5": (Gamma(20.0, 2.5), _of_gamma(20.0, 2.5)),
    "gamma, shape 0.4": (Gamma(20.0, 0.4), _of_gamma(20.0, 0.4)),
    "gamma, scv 4": (Gamma(20.0, scv=4.0), _of_gamma(20.0, 0.25)),
    "erlang": (Erlang(20.0, 3), _of_gamma(20.0, 3)),
    "weibull, scale": (Weibull(1.7, scale_s=20.0), lambda k: 20.0**k * gamma(1 + k / 1.7)),
    "weibull, mean": (Weibull(0.8, mean_s=20.0), lambda k: (20 / gamma(1 + 1 / 0.8)) ** k * gamma(1 + k / 0.8)),
    "pareto": (Pareto(1.0, 100.0, 1.5), _pareto(1.0, 100.0, 1.5)),
    "pareto, alpha 1": (Pareto(2.0, 50.0, 1.0), _pareto(2.0, 50.0, 1.0)),
    "hyperexponential, scv": (Hyperexponential(20.0, 3.0), _mixture((_P, 10 / _P), (1 - _P, 10 / (1 - _P)))),
    "hyperexponential, scv 1": (Hyperexponential(20.0, 1.0), _mixture((1.0, 20.0))),
    "hyperexponential, branches": (
        Hyperexponential(branches=(Branch(3.0, 2.0), Branch(1.0, 30.0))),
        _mixture((0.75, 2.0), (0.25, 30.0)),
    ),
    "phase type": (PhaseType(_ALPHA, _T), _phase_type_moment),
}


class Uniforms:
    """A source that has uniform random numbers and nothing else."""

    def __init__(self, seed: int) -> None:
        self.random = source(seed, "uniforms").random


def _drawn(span: AnySpan, count: int = _DRAWS) -> list[float]:
    draw = drawer(span, Uniforms(1))  # type: ignore[arg-type]
    return [draw(None) / SECOND_NS for _ in range(count)]


@pytest.mark.parametrize("case", CASES)
def test_the_first_three_moments_are_those_of_the_distribution(case: str) -> None:
    span, moment = CASES[case]
    values = np.array(_drawn(span))
    for k in (1, 2, 3):
        error = math.sqrt((moment(2 * k) - moment(k) ** 2) / _DRAWS)
        assert np.mean(values**k) == pytest.approx(moment(k), abs=4 * error), f"moment {k}"


@pytest.mark.parametrize("case", CASES)
def test_a_distribution_keeps_nothing_between_draws(case: str) -> None:
    """Two that draw turn by turn from one source draw what one would."""
    span = CASES[case][0]
    both = Uniforms(1)
    first, second = drawer(span, both), drawer(span, both)  # type: ignore[arg-type]
    alone = drawer(span, Uniforms(1))  # type: ignore[arg-type]
    assert [draw(None) for _ in range(50) for draw in (first, second)] == [alone(None) for _ in range(100)]


def test_a_bounded_tail_stays_within_its_bounds() -> None:
    values = _drawn(Pareto(1.0, 1.5, 0.05))
    assert 1.0 <= min(values) < 1.001
    assert 1.499 < max(values) <= 1.5


def test_extreme_parameters_draw_spans() -> None:
    extremes = [
        Gamma(1.0, 0.001),
        Gamma(1e9, 1e6),
        Weibull(0.05, mean_s=1e9),
        Weibull(0.05, scale_s=1e9),
        Weibull(1000.0, mean_s=1e-9),
        Pareto(1e-9, 1e9, 0.01),
        Pareto(1.0, 1e9, 100.0),
        Hyperexponential(1.0, 1e6),
        Erlang(1e-9, 1000),
        PhaseType((0.0, 1.0), ((-1e-9, 0.0), (0.0, -1e9))),
    ]
    for span in extremes:
        assert all(value >= 0 for value in _drawn(span, 200)), span


_POSITIVE = st.floats(1e-9, 1e9)
_ANY: dict[str, st.SearchStrategy[Span]] = {
    "gamma": st.builds(Gamma, _POSITIVE, st.floats(0.001, 1e6)),
    "erlang": st.builds(Erlang, _POSITIVE, st.integers(1, 1000)),
    "weibull": st.builds(Weibull, st.floats(0.05, 1000.0), _POSITIVE),
    "pareto": st.builds(
        lambda low, factor, alpha: Pareto(low, min(low * factor, 1e9), alpha),
        st.floats(1e-9, 1e8),
        st.floats(1.1, 1e18),
        st.floats(0.01, 100.0),
    ),
    "hyperexponential": st.builds(Hyperexponential, _POSITIVE, st.floats(1.0, 1e6)),
}


@pytest.mark.parametrize("kind", _ANY)
@given(data=st.data())
def test_all_parameters_that_are_accepted_draw_spans(kind: str, data: st.DataObject) -> None:
    span = data.draw(_ANY[kind])
    uniforms = data.draw(st.lists(st.sampled_from([0.0, 0.5, 1 - 2**-53]) | st.floats(0, 1, exclude_max=True)))
    rest = source(1, "rest").random
    drawn = iter(uniforms)

    class Chosen:
        def random(self) -> float:
            return next(drawn, None) or rest()

    draw = drawer(span, Chosen())  # type: ignore[arg-type]
    for _ in range(3):
        assert 0 <= draw(None) <= 10**24
        if isinstance(span, Pareto):
            assert round(span.low_s * SECOND_NS) <= draw(None) <= round(span.high_s * SECOND_NS)


# The first two draws with a seed, in nanoseconds. They must be the same in every version of Python and on every
# platform, because digests of results depend on them.
PINNED: dict[str, list[int]] = {
    "gamma, shape 2.5": [15158210181, 14289075399],
    "gamma, shape 0.4": [15078460306, 2016462370],
    "gamma, scv 4": [10738093339, 602565285],
    "erlang": [4906754275, 9726973741],
    "weibull, scale": [4452032396, 5968037618],
    "weibull, mean": [724930846, 1351301336],
    "pareto": [1053155703, 1088970786],
    "pareto, alpha 1": [2154772284, 2260727371],
    "hyperexponential, scv": [1499449880, 1236468564],
    "hyperexponential, scv 1": [2559721059, 2110783871],
    "hyperexponential, branches": [255972106, 211078387],
    "phase type": [6572656039, 1674007594],
}


def test_the_numbers_drawn_are_the_same_everywhere() -> None:
    assert {case: _first_two(span) for case, (span, _) in CASES.items()} == PINNED


def _first_two(span: Span) -> list[int]:
    draw = drawer(span, source(7, "pinned"))
    return [draw(None), draw(None)]


@pytest.mark.parametrize(
    ("data", "complaint"),
    [
        ({"kind": "gamma", "mean_s": 1}, "either `shape` or `scv`"),
        ({"kind": "gamma", "mean_s": 1, "shape": 2, "scv": 0.5}, "either `shape` or `scv`"),
        ({"kind": "gamma", "mean_s": 1, "shape": 0}, "invalid shape=0: must be at least 0.001"),
        ({"kind": "erlang", "mean_s": 1, "stages": 0}, "invalid stages=0: must be at least 1"),
        ({"kind": "erlang", "mean_s": 1, "stages": 1.5}, "invalid stages=1.5"),
        ({"kind": "weibull", "shape": 1}, "either `mean_s` or `scale_s`"),
        ({"kind": "weibull", "shape": 1, "mean_s": 1, "scale_s": 1}, "either `mean_s` or `scale_s`"),
        ({"kind": "pareto", "low_s": 2, "high_s": 2, "alpha": 1}, "invalid high_s=2.0: must be greater than low_s=2"),
        ({"kind": "pareto", "low_s": 0, "high_s": 2, "alpha": 1}, "invalid low_s=0: must be greater than 0"),
        ({"kind": "hyperexponential", "mean_s": 2, "scv": 0.5}, "invalid scv=0.5: must be at least 1"),
        ({"kind": "hyperexponential", "mean_s": 2}, "either `mean_s` and `scv`, or `branches`"),
        ({"kind": "hyperexponential", "scv": 2}, "either `mean_s` and `scv`, or `branches`"),
        ({"kind": "hyperexponential"}, "either `mean_s` and `scv`, or `branches`"),
        (
            {"kind": "hyperexponential", "mean_s": 1, "scv": 2, "branches": [{"weight": 1, "mean_s": 1}]},
            "either `mean_s` and `scv`, or `branches`",
        ),
        ({"kind": "phase_type", "alpha": [0.5, 0.4], "t_per_s": [[-1, 0], [0, -1]]}, "must add up to 1, not 0.9"),
        ({"kind": "phase_type", "alpha": [1], "t_per_s": [[-1, 0]]}, "a matrix with 1 rows and 1 columns"),
        ({"kind": "phase_type", "alpha": [1, 0], "t_per_s": [[-1, 0]]}, "a matrix with 2 rows and 2 columns"),
        ({"kind": "phase_type", "alpha": [1], "t_per_s": [[1]]}, "row 0: the number on the diagonal"),
        ({"kind": "phase_type", "alpha": [1, 0], "t_per_s": [[-1, -1], [0, -1]]}, "row 0: rates to other states"),
        ({"kind": "phase_type", "alpha": [1, 0], "t_per_s": [[-1, 0], [2, -1]]}, "row 1: must add up to 0 or less"),
        ({"kind": "phase_type", "alpha": [1, 0], "t_per_s": [[-1, 1], [1, -1]]}, "the chain never ends"),
        ({"kind": "phase_type", "alpha": [1], "t_per_s": [[float("nan")]]}, "finite"),
        ({"kind": "empirical"}, "either `values_s`, at least one, or a `file`"),
        ({"kind": "empirical", "values_s": [1], "file": "a.txt"}, "either `values_s`, at least one, or a `file`"),
        ({"kind": "empirical", "values_s": [1], "column": "a"}, "invalid column='a': is that of a file"),
    ],
)
def test_parameters_that_make_no_distribution_are_refused_with_the_reason(data: object, complaint: str) -> None:
    with pytest.raises(BadValue) as caught:
        read_value(AnySpan, data)
    assert complaint in str(caught.value)


def test_a_chain_that_takes_too_many_steps_is_refused() -> None:
    rates = ((-1.0, 1.0), (1.0 - 1e-6, -1.0))
    with pytest.raises(BadValue, match="only after more than 100,000 steps"):
        PhaseType((1.0, 0.0), rates)
