"""Times as the reference prints them: RFC 3339 in the server's zone, fractions without trailing zeros."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone, tzinfo
from typing import Final
from zoneinfo import ZoneInfo

from colonysim.core.errors import Refusal

_SECOND_NS: Final = 1_000_000_000
_YEAR_10000: Final = 253_402_300_800
_DAYS_PER_CYCLE: Final = 146_097  # days in 400 years
YEAR_ERROR: Final = (
    "json: error calling MarshalJSON for type time.Time: Time.MarshalJSON: year outside of range [0,9999]"
)


def zone_of(name: str) -> tzinfo:
    """The zone of an IANA name, which the settings have checked."""
    return UTC if name == "UTC" else ZoneInfo(name)


def fixed_zone(offset_s: int) -> tzinfo:
    return timezone(timedelta(seconds=offset_s)) if offset_s else UTC


def format_time(time_ns: int, zone: tzinfo, *, exact: bool = False) -> str:
    """A time as text: to the microsecond, rounded as the database does, or `exact` to the nanosecond."""
    if not exact:
        time_ns = (time_ns + 500) // 1000 * 1000
    seconds, nanoseconds = divmod(time_ns, _SECOND_NS)
    fraction = f".{nanoseconds:09d}".rstrip("0") if nanoseconds else ""
    try:
        local = datetime.fromtimestamp(seconds, zone)
    except (OverflowError, ValueError):
        return _far_time(seconds, fraction, zone)
    offset = local.utcoffset()
    if not offset:
        return f"{local:%Y-%m-%dT%H:%M:%S}".rjust(19, "0") + fraction + "Z"
    return f"{local:%Y-%m-%dT%H:%M:%S}".rjust(19, "0") + fraction + _offset_text(offset)


def wall_clock(time_ns: int, zone: tzinfo) -> str:
    """Quirk: the local wall clock with a Z behind it, whatever the zone (blueprint histories)."""
    text = format_time(time_ns, zone)
    return text if text.endswith("Z") else text[:-6] + "Z"


def _offset_text(offset: timedelta) -> str:
    """Hours and minutes; the reference drops the seconds of historical offsets."""
    minutes = abs(int(offset.total_seconds())) // 60
    sign = "-" if offset < timedelta(0) else "+"
    return f"{sign}{minutes // 60:02d}:{minutes % 60:02d}" if minutes else "Z"


def _far_time(seconds: int, fraction: str, zone: tzinfo) -> str:
    """A time that lies outside of Python's years 1 to 9999 in its zone."""
    near = datetime(1, 1, 3) if seconds < 0 else datetime(9999, 12, 29)
    offset = near.replace(tzinfo=zone).utcoffset() or timedelta(0)
    local = seconds + int(offset.total_seconds())
    if local >= _YEAR_10000:
        raise Refusal(500, YEAR_ERROR)
    moved = datetime(1970, 1, 1) + timedelta(days=_DAYS_PER_CYCLE, seconds=local)
    if moved.year < 400:
        raise Refusal(500, YEAR_ERROR)
    text = f"{moved.year - 400:04d}{moved:-%m-%dT%H:%M:%S}"
    return text + fraction + (_offset_text(offset) if offset else "Z")
