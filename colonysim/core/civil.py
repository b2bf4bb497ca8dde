"""Dates of any year. Python's own stop at 9999 and begin at 1; the reference knows the years 0 to 9999."""

from __future__ import annotations

from calendar import monthrange, timegm
from datetime import datetime, timedelta
from typing import Final, NamedTuple

_CYCLE_S: Final = 146_097 * 86_400
"""The calendar repeats every 400 years."""
_CYCLE_YEARS: Final = 400
_EPOCH: Final = datetime(1970, 1, 1)


class Civil(NamedTuple):
    """A wall clock's reading, without a zone."""

    year: int
    month: int
    day: int
    hour: int
    minute: int
    second: int


def civil(seconds: int) -> Civil:
    """The date and time of day that lie so many seconds after the beginning of 1970."""
    cycles, rest = divmod(seconds, _CYCLE_S)
    moved = _EPOCH + timedelta(seconds=rest)
    return Civil(moved.year + cycles * _CYCLE_YEARS, *moved.timetuple()[1:6])


def seconds_of(reading: Civil) -> int:
    """Seconds from the beginning of 1970 to a date and time of day."""
    cycles, years = divmod(reading.year - 1970, _CYCLE_YEARS)
    return timegm((1970 + years, *reading[1:])) + cycles * _CYCLE_S


def days_in(year: int, month: int) -> int:
    """How many days a month has."""
    return monthrange(year % _CYCLE_YEARS + 2000, month)[1]
