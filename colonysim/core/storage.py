"""Raise the refusals of the reference's database. Call these checks before changing anything."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Final

import msgspec

from colonysim.core.errors import NUL_TEXT, Refusal
from colonysim.core.golang.civil import civil
from colonysim.core.types import Timestamp

INT32_MIN: Final = -(2**31)
INT32_MAX: Final = 2**31 - 1


def int32(status: int, *values: int) -> None:
    """Raise a Refusal for the first value that does not fit into a 32-bit column."""
    for value in values:
        if not INT32_MIN <= value <= INT32_MAX:
            raise Refusal(status, f'pq: value "{value}" is out of range for type integer')


def text(status: int, *values: Any, free: Collection[str] = ()) -> None:
    """Raise a Refusal if a text contains U+0000; fields named in `free` are stored as JSON and may contain it."""
    if any(map(holds_nul, values, [free] * len(values))):
        raise Refusal(status, NUL_TEXT)


def holds_nul(value: Any, free: Collection[str] = ()) -> bool:
    """Whether any text in a value contains U+0000, except in fields named in `free`."""
    if isinstance(value, str):
        return "\0" in value
    if isinstance(value, msgspec.Struct):
        return any(holds_nul(getattr(value, name), free) for name in value.__struct_fields__ if name not in free)
    if isinstance(value, dict):
        return any(holds_nul(key) or holds_nul(item, free) for key, item in value.items())
    if isinstance(value, (list, tuple)):
        return any(holds_nul(item, free) for item in value)
    return False


def duplicate_key(status: int, constraint: str) -> Refusal:
    """Return the refusal for a duplicate key."""
    return Refusal(status, f'pq: duplicate key value violates unique constraint "{constraint}"')


def limit(count: int) -> None:
    """Raise Refusal 400 for a negative number of rows."""
    if count < 0:
        raise Refusal(400, "pq: LIMIT must not be negative")


def unparsable(name: str, colony: str) -> bool:
    """Whether a record is unreadable. Quirk: one with a colon in its name is stored nevertheless.

    Source: docs/protocol/a-foundation.md 7.5.
    """
    return ":" in name or ":" in colony


def to_microseconds(time_ns: int) -> int:
    """Round a time to the nearest microsecond, as the database does."""
    return (time_ns + 500) // 1000 * 1000


def timestamp(status: int, time: Timestamp) -> None:
    """Raise a Refusal for an offset from UTC that the database cannot store: 16 hours or more."""
    if abs(time.offset_s) < 16 * 3600:
        return
    sign = "-" if time.offset_s < 0 else "+"
    hours, minutes = divmod(abs(time.offset_s) // 60, 60)
    seconds, fraction_ns = divmod(time.ns, 1_000_000_000)
    year, month, day, hour, minute, second = civil(seconds + time.offset_s)
    era = "" if year > 0 else " BC"
    clock = f"{year or 1:04d}-{month:02d}-{day:02d} {hour:02d}:{minute:02d}:{second:02d}"
    fraction = f".{fraction_ns:09d}".rstrip("0") if fraction_ns else ""
    text = f"{clock}{fraction}{sign}{hours:02d}:{minutes:02d}{era}"
    raise Refusal(status, f'pq: time zone displacement out of range: "{text}"')
