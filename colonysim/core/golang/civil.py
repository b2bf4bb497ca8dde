"""Calendar dates of any year, and time zones. Python's dates start at year 1; the reference has years 0 to 9999."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, tzinfo
from typing import Final, NamedTuple

_CYCLE_S: Final = 146_097 * 86_400
"""The calendar repeats every 400 years."""
_CYCLE_YEARS: Final = 400
_SAFE_YEARS: Final = range(10, 9900)
_EPOCH: Final = datetime(1970, 1, 1)


class Civil(NamedTuple):
    """A wall-clock time without a zone."""

    year: int
    month: int
    day: int
    hour: int
    minute: int
    second: int


def civil(seconds: int) -> Civil:
    """Convert seconds since 1970 to a date and time of day."""
    cycles, rest = divmod(seconds, _CYCLE_S)
    moved = _EPOCH + timedelta(seconds=rest)
    return Civil(moved.year + cycles * _CYCLE_YEARS, *moved.timetuple()[1:6])


def seconds_of(reading: Civil) -> int:
    """Convert a date and time of day to seconds since 1970."""
    cycles, years = divmod(reading.year - 1970, _CYCLE_YEARS)
    return utc_seconds(datetime(1970 + years, *reading[1:])) + cycles * _CYCLE_S


def into_calendar(seconds: int) -> int:
    """Return the seconds to add to a time so that `datetime` can hold it and the years around it; usually 0.

    The result is a multiple of 400 years, after which the calendar repeats. A zone's rules repeat too, before its
    first change and after its last.
    """
    year = civil(seconds).year
    if _SAFE_YEARS.start <= year < _SAFE_YEARS.stop:
        return 0
    nearest = _SAFE_YEARS.start if year < _SAFE_YEARS.start else _SAFE_YEARS.stop - _CYCLE_YEARS
    return (nearest - year + _CYCLE_YEARS - 1) // _CYCLE_YEARS * _CYCLE_S


def utc_seconds(wall: datetime) -> int:
    """Convert a wall-clock time to seconds since 1970, reading it as UTC."""
    return (wall.replace(tzinfo=None) - _EPOCH) // timedelta(seconds=1)


def days_in(year: int, month: int) -> int:
    """Return the number of days in a month."""
    year = year % _CYCLE_YEARS + 2000
    return (date(year + month // 12, month % 12 + 1, 1) - date(year, month, 1)).days


def zone_of(name: str) -> tzinfo:
    """Return the zone with an IANA name. Raises KeyError, ValueError or OSError if there is none."""
    if name == "UTC":
        return UTC
    from zoneinfo import ZoneInfo  # imported here because it is slow to import

    return ZoneInfo(name)
