"""Figures for people: short, in the unit that people would use, and without exponents."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from colonysim.core.wording import (
    plural_of,
    show_count,
    show_exact,
    show_interval,
    show_limit,
    show_list,
    show_number,
    show_seconds,
    show_share,
    show_size,
    show_span,
    show_times,
)

FINITE = st.floats(-1e12, 1e12)
UNITS_S = {"ns": 1e-9, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "min": 60.0, "h": 3600.0, "days": 86_400.0, "day": 86_400.0}


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0, "0 s"), (1.5e-9, "1.5 ns"), (2e-5, "20 µs"), (0.0015, "1.5 ms"), (0.0999, "99.9 ms"), (0.2, "0.2 s"),
        (83.076, "83.1 s"), (119.9996, "2 min"), (1400.0, "23.3 min"), (7199.9, "2 h"), (100_000.0, "27.8 h"),
        (172_800.0, "2 days"), (9e7, "1,042 days"), (-300.0, "-5 min"),
    ],
)  # fmt: skip
def test_a_measured_span_is_in_the_unit_that_people_use(seconds: float, text: str) -> None:
    assert show_seconds(seconds) == text


@given(FINITE)
def test_a_measured_span_is_right_to_three_digits_and_has_no_exponent(seconds: float) -> None:
    text = show_seconds(seconds)
    assert re.fullmatch(r"-?[\d,]+(\.\d+)? (ns|µs|ms|s|min|h|days)", text), text
    number, unit = text.replace(",", "").split()
    assert float(number) * UNITS_S[unit] == pytest.approx(seconds, rel=0.006, abs=1e-9)


def test_nanoseconds_are_shown_as_seconds_are() -> None:
    assert show_span(10_000_000_000) == "10 s"
    assert show_span(1) == "1 ns"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"), (90, "90 s"), (119, "119 s"), (120, "2 min"), (125, "2 min 5 s"), (3600, "1 h"), (5400, "1 h 30 min"),
        (86_400, "1 day"), (604_800, "7 days"), (100_000, "1 day 3 h 46 min 40 s"), (0.25, "0.25 s"), (1e-6, "0.000001 s"),
        (1932.33, "1,932.33 s"), (-125, "-2 min 5 s"),
    ],
)  # fmt: skip
def test_a_limit_that_somebody_chose_is_exact(seconds: float, text: str) -> None:
    assert show_limit(seconds) == text


@given(st.integers(0, 10**9))
def test_no_second_of_a_limit_is_lost(seconds: int) -> None:
    parts = show_limit(seconds).replace(",", "").split()
    assert sum(int(number) * UNITS_S[unit] for number, unit in zip(parts[::2], parts[1::2], strict=True)) == seconds


@given(FINITE)
def test_numbers_have_no_exponent_and_three_digits(value: float) -> None:
    text = show_number(value)
    assert re.fullmatch(r"-?[\d,]+(\.\d+)?", text), text
    assert float(text.replace(",", "")) == pytest.approx(value, rel=0.006)


@pytest.mark.parametrize(
    ("value", "text"),
    [(1e6, "1,000,000"), (1234567.25, "1,234,567.25"), (0.1, "0.1"), (1e-5, "0.00001"), (-0.0, "0"), (9e99, "9e+99")],
)
def test_numbers_that_somebody_chose_keep_their_digits(value: float, text: str) -> None:
    assert show_exact(value) == text


@pytest.mark.parametrize(
    ("count", "noun", "text"),
    [
        (0, "process", "0 processes"), (1, "process", "1 process"), (2, "process", "2 processes"),
        (2_000, "seed", "2,000 seeds"), (2, "retry", "2 retries"), (2, "day", "2 days"), (2, "crash", "2 crashes"),
        (2, "lost reply", "2 lost replies"), (2, "copy", "2 copies"), (1, "entry", "1 entry"),
    ],
)  # fmt: skip
def test_counts_are_singular_or_plural(count: int, noun: str, text: str) -> None:
    assert show_count(count, noun) == text


def test_an_irregular_plural_is_given() -> None:
    assert show_count(2, "different history", "different histories") == "2 different histories"
    assert plural_of("box") == "boxes"


def test_how_often_is_a_word_up_to_twice() -> None:
    assert [show_times(count) for count in (0, 1, 2, 3, 1_000)] == [
        "0 times",
        "once",
        "twice",
        "3 times",
        "1,000 times",
    ]


@pytest.mark.parametrize(
    ("size", "text"), [(0, "0 bytes"), (1, "1 byte"), (1023, "1,023 bytes"), (1024, "1 KiB"), (2**20, "1 MiB"),
                       (2**20 - 1, "1 MiB"), (12_800, "12.5 KiB"), (2**50, "1,024 TiB")]
)  # fmt: skip
def test_sizes(size: int, text: str) -> None:
    assert show_size(size) == text


def test_shares_intervals_and_lists() -> None:
    assert (show_share(0.9657), show_share(None)) == ("96.6 %", "n/a")
    assert show_interval(900, 271.6, 60, "min") == "15 ± 4.53 min"
    assert show_interval(3, None) == "3"
    assert show_list(["a", "b", "c"], 2) == "a, b and 1 more"
    assert (show_list(["a"]), show_list([])) == ("a", "none")
