"""Print times as the reference does: RFC 3339 in the server's zone, fractions without trailing zeros."""

from __future__ import annotations

from datetime import datetime, timedelta, tzinfo
from functools import lru_cache
from typing import Final

from colonysim.core.errors import Refusal
from colonysim.core.golang.civil import civil
from colonysim.core.records import SECOND_NS
from colonysim.core.storage import to_microseconds
from colonysim.core.types import Timestamp

YEAR_ERROR: Final = (
    "json: error calling MarshalJSON for type time.Time: Time.MarshalJSON: year outside of range [0,9999]"
)


def format_time(time_ns: int, zone: tzinfo, *, exact: bool = False) -> str:
    """Format a time, rounded to microseconds as the database does, or `exact` to the nanosecond.

    Raises Refusal 500 for a year outside 0 to 9999, which the reference cannot print.
    """
    if not exact:
        time_ns = to_microseconds(time_ns)
    seconds, nanoseconds = divmod(time_ns, SECOND_NS)
    try:
        second, offset = _second_text(seconds, zone)
    except (OverflowError, ValueError):
        near = datetime(1, 1, 3) if seconds < 0 else datetime(9999, 12, 29)
        return _format(time_ns, near.replace(tzinfo=zone).utcoffset() or timedelta(0))
    fraction = f".{nanoseconds:09d}".rstrip("0") if nanoseconds else ""
    return second + fraction + offset


@lru_cache(maxsize=1024)
def _second_text(seconds: int, zone: tzinfo) -> tuple[str, str]:
    """The texts before and after the fraction. Cached, because printed times are mostly close to each other."""
    local = datetime.fromtimestamp(seconds, zone)
    return f"{local:%Y-%m-%dT%H:%M:%S}".rjust(19, "0"), _offset_text(local.utcoffset() or timedelta(0))


def format_sent_time(time: Timestamp) -> str:
    """Format a time sent by a client, with its own offset, to the nanosecond."""
    return _format(time.ns, timedelta(seconds=time.offset_s))


def _format(time_ns: int, offset: timedelta) -> str:
    """Format a time of any year from 0 to 9999."""
    seconds, nanoseconds = divmod(time_ns, SECOND_NS)
    year, month, day, hour, minute, second = civil(seconds + int(offset.total_seconds()))
    if not 0 <= year <= 9999:
        raise Refusal(500, YEAR_ERROR)
    fraction = f".{nanoseconds:09d}".rstrip("0") if nanoseconds else ""
    return f"{year:04d}-{month:02d}-{day:02d}T{hour:02d}:{minute:02d}:{second:02d}{fraction}{_offset_text(offset)}"


def wall_clock(time_ns: int, zone: tzinfo) -> str:
    """Quirk: format the local wall-clock time followed by Z, whatever the zone (blueprint histories)."""
    text = format_time(time_ns, zone)
    return text if text.endswith("Z") else text[:-6] + "Z"


def _offset_text(offset: timedelta) -> str:
    """Hours and minutes; the reference drops the seconds of historical offsets."""
    minutes = abs(int(offset.total_seconds())) // 60
    sign = "-" if offset < timedelta(0) else "+"
    return f"{sign}{minutes // 60:02d}:{minutes % 60:02d}" if minutes else "Z"
