"""CPU and memory texts, and numbers: docs/protocol/b-processes.md 1.4 and 0."""

from __future__ import annotations

from typing import Any

import pytest

from colonysim.core.errors import Refusal
from colonysim.core.golang.units import (
    MAX_DEPTH,
    format_cpu,
    format_memory,
    go_quote,
    parse_cpu,
    parse_memory,
    through_double,
)

PARSE_INT = "error converting memory to int: strconv.ParseInt: parsing"


@pytest.mark.parametrize(
    ("text", "milli"),
    [("1000m", 1000), ("+5m", 5), ("-5m", -5), ("", 0), ("2", 0), ("1000", 0), ("abc", 0), ("1000M", 0), ("5m ", 0)],
)
def test_cpu(text: str, milli: int) -> None:
    assert parse_cpu(text) == milli


@pytest.mark.parametrize("text", ["1.5m", "m", " 5m", "5 m", "9223372036854775808m", "١m", "1_0m"])
def test_bad_cpu(text: str) -> None:
    with pytest.raises(Refusal, match=r"^400 Error converting CPU to int$"):
        parse_cpu(text)


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("", 0), ("1Ki", 2**10), ("1KiB", 2**10), ("1Mi", 2**20), ("2MiB", 2**21), ("10Gi", 10 * 2**30),
        ("1GiB", 2**30), ("1TiB", 2**40), ("1K", 10**3), ("1KB", 10**3), ("1Kb", 10**3), ("1M", 10**6),
        ("1MB", 10**6), ("1Mb", 10**6), ("1G", 10**9), ("1Gb", 10**9), ("1TB", 10**12), ("1Tb", 10**12),
        ("-5Gi", -5 * 2**30), ("+3Mi", 3 * 2**20), ("007Mi", 7 * 2**20),
    ],
)  # fmt: skip
def test_memory(text: str, size: int) -> None:
    assert parse_memory(text) == size


def test_memory_wraps_around_in_64_bits() -> None:
    assert parse_memory("9999999999TiB") == (9999999999 * 2**40 + 2**63) % 2**64 - 2**63


@pytest.mark.parametrize(
    ("text", "quoted"),
    [
        ("10gi", '"10gi"'), ("10GB", '"10GB"'), ("0", '""'), ("1024", '""'), ("10Ti", '""'), ("10T", '""'),
        ("10B", '""'), ("abc", '""'), ("1.5Gi", '"1.5"'), ("10 Gi", '"10 "'), ("Gi", '""'), ("1_000Mi", '"1_000"'),
        ("1e3Mi", '"1e3"'), ("0x10Mi", '"0x10"'), ("--5Gi", '"--5"'), ("+Gi", '"+"'), ("١Gi", '"١"'), ("5Gi ", '""'),
    ],
)  # fmt: skip
def test_bad_memory(text: str, quoted: str) -> None:
    with pytest.raises(Refusal) as refused:
        parse_memory(text)
    assert (refused.value.status, refused.value.text) == (400, f"{PARSE_INT} {quoted}: invalid syntax")


def test_memory_out_of_range() -> None:
    with pytest.raises(Refusal) as refused:
        parse_memory("9223372036854775808Gi")
    assert refused.value.text == f'{PARSE_INT} "9223372036854775808": value out of range'


@pytest.mark.parametrize(
    ("size", "text"),
    [(10 * 2**30, "10240Mi"), (10**10, "9536Mi"), (10**7, "9Mi"), (2**10, "0Mi"), (-5 * 2**30, "-5120Mi"), (0, "0Mi")],
)
def test_memory_is_shown_in_whole_mebibytes(size: int, text: str) -> None:
    assert format_memory(size) == text


def test_cpu_is_shown_in_milli() -> None:
    assert format_cpu(0) == "0m"
    assert format_cpu(-5) == "-5m"


@pytest.mark.parametrize(
    ("value", "back"),
    [
        (9007199254740993, 9007199254740992), (12345678901234567890, 12345678901234567000), (1.0, 1), (1e20, 10**20),
        (1e21, 1e21), (1e-7, 1e-7), (-3, -3), (0.5, 0.5), (True, True), (None, None), ("x", "x"),
        ([1.0, [2.0]], [1, [2]]), ({"a": 1.0}, {"a": 1}), ((1, 2), [1, 2]),
    ],
)  # fmt: skip
def test_numbers_pass_through_a_double(value: Any, back: Any) -> None:
    result = through_double(value)
    assert result == back
    assert repr(result) == repr(back)


def test_negative_zero_stays() -> None:
    assert str(through_double(-0.0)) == "-0.0"


def test_what_need_not_change_is_the_same_object() -> None:
    value = [{"a": [1, "x", None]}, True]
    assert through_double(value) is value


@pytest.mark.parametrize("value", [float("nan"), float("inf"), {1: 2}, object(), 10**400])
def test_what_is_no_json_is_refused(value: Any) -> None:
    with pytest.raises(Refusal):
        through_double([value])


def test_depth_is_limited() -> None:
    value: Any = []
    for _ in range(MAX_DEPTH + 2):
        value = [value]
    with pytest.raises(Refusal, match="200 levels deep"):
        through_double(value)


@pytest.mark.parametrize(
    ("text", "quoted"), [('a"b', '"a\\"b"'), ("\n", '"\\n"'), ("\x00", '"\\x00"'), ("é\u2028", '"é\\u2028"'), ("\U000e0001", '"\\U000e0001"')]
)  # fmt: skip
def test_quoting(text: str, quoted: str) -> None:
    assert go_quote(text) == quoted
