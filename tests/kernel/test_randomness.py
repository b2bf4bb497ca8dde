"""Sources of chance and the spans drawn from them."""

from __future__ import annotations

import msgspec
import pytest

from colonysim import function_spec
from colonysim.core.records import SECOND_NS, Process
from colonysim.kernel import randomness
from colonysim.kernel.randomness import (
    AnySpan,
    Constant,
    Empirical,
    Exponential,
    Lognormal,
    Mixed,
    OfProcess,
    Part,
    Uniform,
    drawer,
    source,
    to_ns,
)


def drawn(span: AnySpan, count: int = 4000, seed: int = 1) -> list[float]:
    draw = drawer(span, source(seed, "test"))
    return [draw(None) / SECOND_NS for _ in range(count)]


def process_with(*args: object) -> Process:
    return Process("p", 1, "c", function_spec("c", "f", list(args)), "", "", 0, 0)


def test_one_purpose_leaves_the_others_alone() -> None:
    assert source(1, "a").random() == source(1, "a").random()
    assert len({source(seed, purpose).random() for seed in (1, 2) for purpose in ("a", "b")}) == 4


def test_a_plain_number_is_always_itself() -> None:
    assert drawn(2.5, 3) == [2.5, 2.5, 2.5] == drawn(Constant(2.5), 3)


def test_distributions_have_the_means_they_promise() -> None:
    assert sum(drawn(Exponential(30.0))) / 4000 == pytest.approx(30, rel=0.1)
    assert sum(drawn(Uniform(10.0, 20.0))) / 4000 == pytest.approx(15, rel=0.05)
    assert sorted(drawn(Lognormal(60.0, 0.5)))[2000] == pytest.approx(60, rel=0.1)
    assert min(drawn(Uniform(10.0, 20.0))) >= 10
    assert max(drawn(Uniform(10.0, 20.0))) <= 20


def test_measured_values_come_back_as_they_are() -> None:
    assert set(drawn(Empirical((1.0, 2.0, 5.0)))) == {1.0, 2.0, 5.0}


def test_a_mix_draws_by_weight() -> None:
    values = drawn(Mixed((Part(9.0, 1.0), Part(1.0, Constant(100.0)))))
    assert set(values) == {1.0, 100.0}
    assert values.count(100.0) / 4000 == pytest.approx(0.1, rel=0.25)


def test_a_process_says_itself_how_long_it_takes() -> None:
    draw = drawer(OfProcess(scale=2.0, otherwise_s=7.0), source(1, "x"))
    assert draw(process_with(3)) == 6 * SECOND_NS
    for otherwise in (process_with("long"), process_with(), process_with(-1), None):
        assert draw(otherwise) == 7 * SECOND_NS


@pytest.mark.parametrize(
    "bad",
    [
        {"kind": "uniform", "low_s": 3, "high_s": 2},
        {"kind": "exponential", "mean_s": 0},
        {"kind": "empirical", "values_s": []},
        {"kind": "constant", "value_s": -1},
        -1,
    ],
)
def test_what_is_no_distribution_is_refused(bad: object) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(bad, AnySpan)


def test_weights_of_one_draw_nothing() -> None:
    random = source(1, "w")
    pick = randomness.weighted([3.0], random)
    assert [pick() for _ in range(5)] == [0] * 5
    assert random.random() == source(1, "w").random()


def test_spans_that_are_longer_than_any_run_are_never_over() -> None:
    for span in (Exponential(1e-320), Lognormal(1e9, 10), Mixed((Part(1e-300, 1e9), Part(1e9, 1e9)))):
        draw = drawer(span, source(1, "x"))
        assert all(0 <= draw(None) < 1 << 100 for _ in range(100))
    assert to_ns(1e308) == to_ns(1e15)
