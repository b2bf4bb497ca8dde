"""Scenarios agree with queueing theory: all cases of benchmarks/theory.py, with fewer processes."""

from __future__ import annotations

import math

import pytest

from benchmarks import queueing
from benchmarks.theory import cases, compare

CASES = list(cases())
_SEEDS, _PROCESSES = 12, 1_500
_T_999 = 4.437
"""The quantile of Student's t for an interval of 99.9 % over twelve runs."""


@pytest.mark.parametrize("number", range(len(CASES)), ids=[case.name for case in CASES])
def test_what_theory_says_lies_in_the_interval(number: int) -> None:
    """The seeds are fixed, so this either always holds or never."""
    for one in compare(number, CASES[number], _SEEDS, _PROCESSES):
        assert abs(one.deviation) < _T_999, one
        assert one.error < 0.2 * one.theory, f"too few processes to say anything: {one}"


def test_every_figure_of_a_case_is_measured_and_differs_between_cases() -> None:
    assert len({case.name for case in CASES}) == len(CASES) > 30
    assert all(math.isfinite(value) and value > 0 for case in CASES for value in case.theory.values())


# ---------------------------------------------------------------- the formulas agree with each other
def test_special_cases_of_the_formulas_are_each_other() -> None:
    rate, service = 0.007, 0.01
    plain = queueing.erlang_c(1, rate, service)
    assert plain == pytest.approx(rate / service / (service - rate))
    assert queueing.pollaczek_khinchine(rate, 100, 20_000) == pytest.approx(plain)
    assert queueing.cobham([rate], 100, 20_000) == pytest.approx([plain])
    assert queueing.gm1(lambda s: rate / (rate + s), service) == pytest.approx(plain)
    assert queueing.gm1(queueing.laplace_of(lambda x: math.exp(-rate * x), 4000), service) == pytest.approx(plain)
    assert queueing.batches_mm1(rate, 1, 1, service) == pytest.approx(plain)
    assert queueing.mmpp_m1([rate, rate], [[-1, 1], [2, -2]], service) == pytest.approx(plain)
    assert queueing.breakdowns_mm1(rate, service, 1e-12, 1) == pytest.approx(plain + 100)
    assert queueing.two_speeds(rate, service, service) == pytest.approx(queueing.erlang_c(2, rate, service))
    assert queueing.erlang_a(3, 2 * rate, service, 1e-12) == pytest.approx(0, abs=1e-6)
    assert queueing.mm1_constant_patience(rate, service, 1e-12) == pytest.approx(rate / (rate + service))
    assert queueing.machine_repair(1, 1, 1 / 400, service) == pytest.approx((1 / 500, 0))


def test_breakdowns_agree_with_the_closed_formula() -> None:
    """White and Christie: W = (1/μ' + (ξ/η)/(ξ + η)) / (1 − λ/μ') with μ' = μ η/(ξ + η)."""
    rate, service, failure, repair = 0.005, 0.01, 1 / 2000, 1 / 500
    effective = service * repair / (failure + repair)
    closed = (1 / effective + failure / repair / (failure + repair)) / (1 - rate / effective)
    assert queueing.breakdowns_mm1(rate, service, failure, repair) == pytest.approx(closed)
