"""Dates of any year, and zones. Python's dates begin at 1; the reference knows the years 0 to 9999."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, tzinfo
from typing import Final, NamedTuple

_CYCLE_S: Final = 146_097 * 86_400
"""The calendar repeats every 400 years."""
_CYCLE_YEARS: Final = 400
_SAFE_YEARS: Final = range(10, 9900)
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
    return utc_seconds(datetime(1970 + years, *reading[1:])) + cycles * _CYCLE_S


def into_calendar(seconds: int) -> int:
    """How many seconds to add to a time so that Python's dates can hold it, and years around it; mostly 0.

    The calendar repeats every 400 years, and so do the rules of zones, before their first change and after their last.
    """
    year = civil(seconds).year
    if _SAFE_YEARS.start <= year < _SAFE_YEARS.stop:
        return 0
    nearest = _SAFE_YEARS.start if year < _SAFE_YEARS.start else _SAFE_YEARS.stop - _CYCLE_YEARS
    return (nearest - year + _CYCLE_YEARS - 1) // _CYCLE_YEARS * _CYCLE_S


def utc_seconds(wall: datetime) -> int:
    """Seconds from the beginning of 1970 to a reading of a wall clock, as if it were one of UTC."""
    return (wall.replace(tzinfo=None) - _EPOCH) // timedelta(seconds=1)


def days_in(year: int, month: int) -> int:
    """How many days a month has."""
    year = year % _CYCLE_YEARS + 2000
    return (date(year + month // 12, month % 12 + 1, 1) - date(year, month, 1)).days


def zone_of(name: str) -> tzinfo:
    """The zone of an IANA name. Errors: KeyError, ValueError, OSError for what is none."""
    if name == "UTC":
        return UTC
    from zoneinfo import ZoneInfo  # takes as long to import as four modules of the core

    return ZoneInfo(name)
