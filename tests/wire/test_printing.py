"""Times and numbers as the reference prints them: docs/protocol/a-foundation.md 2.8, 7.6."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from colonysim.core.errors import Refusal
from colonysim.core.golang.gotypes import parse_timestamp
from colonysim.core.golang.numbers import free, number
from colonysim.core.golang.times import format_time, wall_clock
from colonysim.core.types import ZERO_TIME_NS

STOCKHOLM = ZoneInfo("Europe/Stockholm")
SECOND = 10**9


@pytest.mark.parametrize(
    ("time_ns", "zone", "text"),
    [
        (0, UTC, "1970-01-01T00:00:00Z"),
        (1767225600 * SECOND + 123456789, UTC, "2026-01-01T00:00:00.123457Z"),
        (1767225600 * SECOND + 999999600, UTC, "2026-01-01T00:00:01Z"),
        (1767225600 * SECOND + 181740000, STOCKHOLM, "2026-01-01T01:00:00.18174+01:00"),
        (1783000000 * SECOND, STOCKHOLM, "2026-07-02T15:46:40+02:00"),
        (ZERO_TIME_NS, UTC, "0001-01-01T00:00:00Z"),
        (ZERO_TIME_NS, STOCKHOLM, "0001-01-01T01:12:12+01:12"),
        (ZERO_TIME_NS, ZoneInfo("America/New_York"), "0000-12-31T19:03:58-04:56"),
        (-62167219200 * SECOND, UTC, "0000-01-01T00:00:00Z"),
        (253402300799 * SECOND, UTC, "9999-12-31T23:59:59Z"),
    ],
)
def test_times(time_ns: int, zone: Any, text: str) -> None:
    assert format_time(time_ns, zone) == text


def test_exact_times_have_nanoseconds() -> None:
    assert format_time(1767225600 * SECOND + 120000007, STOCKHOLM, exact=True) == "2026-01-01T01:00:00.120000007+01:00"


def test_a_time_after_the_year_9999_cannot_be_shown() -> None:
    with pytest.raises(Refusal) as refused:
        format_time(253402300799 * SECOND, STOCKHOLM)
    assert refused.value.status == 500
    assert refused.value.text.endswith("Time.MarshalJSON: year outside of range [0,9999]")


def test_histories_show_the_wall_clock_with_a_wrong_zone() -> None:
    assert wall_clock(1767225600 * SECOND, STOCKHOLM) == "2026-01-01T01:00:00Z"
    assert wall_clock(1767225600 * SECOND, UTC) == "2026-01-01T00:00:00Z"


@given(st.datetimes(datetime(1, 1, 3), datetime(9999, 12, 29), timezones=st.just(UTC)))
def test_what_is_printed_reads_back(time: datetime) -> None:
    time_ns = (time - datetime(1970, 1, 1, tzinfo=UTC)).days * 86_400 * SECOND
    time_ns += (time.hour * 3600 + time.minute * 60 + time.second) * SECOND + time.microsecond * 1000
    parsed = parse_timestamp(format_time(time_ns, ZoneInfo("Asia/Kolkata") if time.year > 1950 else UTC))
    assert parsed is not None
    assert parsed.ns == time_ns


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (3.0, "3"), (0.5, "0.5"), (0.0, "0"), (-0.0, "-0"), (1e-7, "1e-7"), (1e-6, "0.000001"), (1.5e-6, "0.0000015"),
        (0.000123, "0.000123"), (1e20, "100000000000000000000"), (1e21, "1e+21"), (1.5e300, "1.5e+300"),
        (123456789.5, "123456789.5"), (5e-324, "5e-324"), (-2.5e-5, "-0.000025"), (1.2345678901234568e20, "123456789012345680000"),
    ],
)  # fmt: skip
def test_numbers(value: float, text: str) -> None:
    assert msgspec.json.encode(number(value)).decode() == text


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_every_number_reads_back_the_same(value: float) -> None:
    text = msgspec.json.encode(number(value)).decode()
    assert float(text) == value
    assert ".0" not in text[-2:]


def test_free_json_has_its_keys_sorted() -> None:
    value = {"b": [1.0, {"z": None, "a": 1e21}], "a": "<é>", "A": {}}
    assert bytes(free(value)).decode() == '{"A":{},"a":"<é>","b":[1,{"a":1e+21,"z":null}]}'
    assert bytes(free([])) == b"[]"
    assert bytes(free(())) == b"[]"
    assert json.loads(bytes(free(0))) == 0
