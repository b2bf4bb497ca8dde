"""Cron expressions in the reference's dialect: six fields, descriptors, zones (docs/protocol/c-workflows.md 6.4).

`parse` refuses invalid expressions with the reference's texts. `Schedule.next` returns the next run after a time; it
searches step by step as the reference does, so that it has the same errors (on days without a midnight).
"""

from __future__ import annotations

import re
from datetime import datetime, timedelta, tzinfo
from functools import lru_cache
from typing import Final

import msgspec

from colonysim.core.errors import Refusal, Silence
from colonysim.core.golang.civil import days_in, into_calendar, utc_seconds, zone_of
from colonysim.core.golang.units import go_quote, go_time_quote, int64
from colonysim.core.records import SECOND_NS

YEARS_AHEAD: Final = 5
_HOUR_S: Final = 3600
_DAY_S: Final = 24 * _HOUR_S

_MONTH_NAMES: Final = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_MONTHS: Final = {name: number for number, name in enumerate(_MONTH_NAMES, 1)}
_WEEKDAYS: Final = {name: number for number, name in enumerate(("sun", "mon", "tue", "wed", "thu", "fri", "sat"))}
_DESCRIPTORS: Final = {
    "@yearly": "0 0 0 1 1 *",
    "@annually": "0 0 0 1 1 *",
    "@monthly": "0 0 0 1 * *",
    "@weekly": "0 0 0 * * 0",
    "@daily": "0 0 0 * * *",
    "@midnight": "0 0 0 * * *",
    "@hourly": "0 0 * * * *",
}
_LONGEST: Final = {month: days_in(2000, month) for month in range(1, 13)}  # 29 days in February
_BLANKS: Final = "".join(char for char in map(chr, range(0x3001)) if char.isspace() and char not in "\x1c\x1d\x1e\x1f")
_GAP: Final = re.compile(f"[{_BLANKS}]+")
_LONGEST_KEPT: Final = 200
"""Longer expressions are not cached, so that callers cannot fill the memory with them."""
_INTEGER: Final = re.compile(r"[+-]?[0-9]+\Z")


class _CronField(msgspec.Struct, frozen=True):
    lowest: int
    highest: int
    names: dict[str, int] = {}


_FIELDS: Final = (
    _CronField(0, 59),
    _CronField(0, 59),
    _CronField(0, 23),
    _CronField(1, 31),
    _CronField(1, 12, _MONTHS),
    _CronField(0, 6, _WEEKDAYS),
)


class EveryInterval(msgspec.Struct, frozen=True):
    """`@every`: a constant delay in whole seconds."""

    delay_s: int

    def next(self, after_ns: int, zone: tzinfo) -> int | None:
        return (after_ns // SECOND_NS + self.delay_s) * SECOND_NS

    def next_chance(self, after_ns: int, zone: tzinfo) -> int | None:
        return None  # `next` always finds a time


class Schedule(msgspec.Struct, frozen=True):
    """The values of the six fields that match; `any_day` and `any_weekday` are set by `*` and `?`."""

    seconds: frozenset[int]
    minutes: frozenset[int]
    hours: frozenset[int]
    days: frozenset[int]
    months: frozenset[int]
    weekdays: frozenset[int]
    any_day: bool
    any_weekday: bool
    zone_name: str | None

    def next(self, after_ns: int, zone: tzinfo) -> int | None:
        """Return the first matching second after a time, in nanoseconds since 1970; None for never.

        `zone` is the server's, for expressions that name none.
        """
        if not self._can_match():
            return None
        if self.zone_name is not None:
            zone = _zone(self.zone_name)
        start = after_ns // SECOND_NS + 1
        moved = into_calendar(start)
        found = _Search(self, start + moved, zone).run()
        return None if found is None else (found - moved) * SECOND_NS

    def next_chance(self, after_ns: int, zone: tzinfo) -> int | None:
        """Return when to search again if nothing was found: each new year the search reaches a year further."""
        if not self._can_match():
            return None
        if self.zone_name is not None:
            zone = _zone(self.zone_name)
        after = after_ns // SECOND_NS
        moved = into_calendar(after)
        year = datetime.fromtimestamp(after + moved, zone).year
        return (int(datetime(year + 1, 1, 1, tzinfo=zone).timestamp()) - moved) * SECOND_NS

    def _can_match(self) -> bool:
        """Whether any time of any year matches.

        Quirk: an empty list of days (`,`) matches no day, but does not count as a star. If the other day field is
        restricted, that field alone decides.
        """
        if not (self.seconds and self.minutes and self.hours):
            return False
        by_day = any(min(self.days, default=32) <= _LONGEST[month] for month in self.months)
        by_weekday = bool(self.months and self.weekdays)
        return by_day and by_weekday if self._both_days_count else by_day or by_weekday

    @property
    def _both_days_count(self) -> bool:
        """Whether a day must match both day fields, because one of them is a star, and not just one."""
        return self.any_day or self.any_weekday

    def day_matches(self, local: datetime) -> bool:
        day, weekday = local.day in self.days, local.isoweekday() % 7 in self.weekdays
        return day and weekday if self._both_days_count else day or weekday


class _Search:
    """The search of the reference, forward from one instant; `now` is in seconds since 1970."""

    def __init__(self, schedule: Schedule, start: int, zone: tzinfo) -> None:
        self.schedule = schedule
        self.zone = zone
        self.now = start
        self.reset = False
        self.last_year = self.local().year + YEARS_AHEAD

    def local(self) -> datetime:
        return datetime.fromtimestamp(self.now, self.zone)

    def run(self) -> int | None:
        while self.local().year <= self.last_year:
            if self._month() and self._day() and self._hour() and self._minute() and self._second():
                return self.now
        return None

    # Each of these moves to the next match. They return False if a larger unit has changed.
    def _month(self) -> bool:
        local = self.local()
        while local.month not in self.schedule.months:
            if not self.reset:
                self.reset = True
                local = self._go(local.replace(day=1, hour=0, minute=0, second=0))
            local = self._go(_add_month(local))
            if local.month == 1:
                return False
        return True

    def _day(self) -> bool:
        """Move to a day that matches. Skips days that do not exist because a zone moved across the date line, for
        which the reference would loop for ever."""
        local = self.local()
        while not self.schedule.day_matches(local):
            if not self.reset:
                self.reset = True
                local = self._go(local.replace(hour=0, minute=0, second=0))
            before, month = self.now, local.month
            local = self._go(local.replace(tzinfo=None) + timedelta(days=1))
            if local.hour:  # this day has no midnight
                self.now += _HOUR_S * (24 - local.hour if local.hour > 12 else -local.hour)
                local = self.local()
            if self.now <= before:
                self.now = before + _DAY_S
                local = self.local()
            if local.day == 1 or local.month != month:
                return False
        return True

    def _hour(self) -> bool:
        local = self.local()
        while local.hour not in self.schedule.hours:
            if not self.reset:
                self.reset = True
                full_hour = self.now - local.minute * 60 - local.second
                self._go(local.replace(minute=0, second=0))
                if full_hour - self.now > _HOUR_S:
                    self.now = full_hour  # the zone moved across the date line: do not repeat the day before
            self.now += _HOUR_S
            local = self.local()
            if local.hour == 0:
                return False
        return True

    def _minute(self) -> bool:
        local = self.local()
        while local.minute not in self.schedule.minutes:
            if not self.reset:
                self.reset = True
                self.now -= self.now % 60
            self.now += 60
            local = self.local()
            if local.minute == 0:
                return False
        return True

    def _second(self) -> bool:
        second = self.local().second
        while second not in self.schedule.seconds:
            self.reset = True
            self.now += 1
            second = (second + 1) % 60
            if second == 0:
                return False
        return True

    def _go(self, wall: datetime) -> datetime:
        """Move to the instant at which the clocks of the zone show a time, as the reference computes it."""
        as_utc = utc_seconds(wall)
        instant = as_utc - self._offset(as_utc)
        if (offset := self._offset(instant)) != as_utc - instant:
            instant = as_utc - offset
        self.now = instant
        return self.local()

    def _offset(self, instant: int) -> int:
        offset = datetime.fromtimestamp(instant, self.zone).utcoffset()
        assert offset is not None
        return int(offset.total_seconds())


def _add_month(local: datetime) -> datetime:
    """Add one calendar month; days beyond its end are carried over."""
    year, month = divmod(local.year * 12 + local.month, 12)
    first = local.replace(year=year, month=month + 1, day=1, tzinfo=None)
    return first + timedelta(days=local.day - 1)


# ---------------------------------------------------------------- parsing
def parse(expression: str) -> Schedule | EveryInterval:
    """Parse an expression. Raises Refusal 400 with the reference's text. Long expressions are not cached."""
    return _kept(expression) if len(expression) <= _LONGEST_KEPT else _parse(expression)


@lru_cache(maxsize=1024)
def _kept(expression: str) -> Schedule | EveryInterval:
    return _parse(expression)


def _parse(expression: str) -> Schedule | EveryInterval:
    if not expression:
        raise Refusal(400, "empty cron expression string")
    zone_name, rest = _split_zone(expression)
    if rest.startswith("@"):
        if rest.startswith("@every "):
            return _every(rest)
        if rest not in _DESCRIPTORS:
            raise Refusal(400, f"unrecognized descriptor: {rest}")
        rest = _DESCRIPTORS[rest]
    texts = _words(rest)
    if len(texts) != len(_FIELDS):
        raise Refusal(400, f"expected exactly 6 fields, found {len(texts)}: [{' '.join(texts)}]")
    parsed = [_field(text, field) for text, field in zip(texts, _FIELDS, strict=True)]
    seconds, minutes, hours, days, months, weekdays = (values for values, _ in parsed)
    return Schedule(seconds, minutes, hours, days, months, weekdays, parsed[3][1], parsed[5][1], zone_name)


def _words(text: str) -> list[str]:
    """Split at what the reference treats as white space."""
    return [word for word in _GAP.split(text) if word]


def _split_zone(expression: str) -> tuple[str | None, str]:
    if not expression.startswith(("TZ=", "CRON_TZ=")):
        return None, expression
    name, blank, rest = expression.partition("=")[2].partition(" ")
    if not blank:
        raise Silence(500)  # the reference crashes
    if ".." in name or name.startswith(("/", "\\")):
        raise Refusal(400, f"provided bad location {name}: time: invalid location name")
    if name == "Local":
        return None, rest.strip(_BLANKS)
    try:
        _zone(name)
    except (OSError, ValueError):
        raise Refusal(400, f"provided bad location {name}: unknown time zone {name}") from None
    return name, rest.strip(_BLANKS)


@lru_cache(maxsize=256)
def _zone(name: str) -> tzinfo:
    try:
        return zone_of(name or "UTC")
    except KeyError as error:
        raise ValueError(name) from error


def _field(text: str, field: _CronField) -> tuple[frozenset[int], bool]:
    """Return the numbers that a field matches, and whether it is `*` or `?`."""
    values: frozenset[int] = frozenset()
    marked = False
    for item in text.split(","):
        if item:
            numbers, mark = _item(item, field)
            values |= frozenset(numbers)
            marked |= mark
    return values, marked


def _item(item: str, field: _CronField) -> tuple[range, bool]:
    range_text, *steps = item.split("/")
    start_text, *ends = range_text.split("-")
    starred = start_text in ("*", "?")
    if starred:
        start, end = field.lowest, field.highest
    else:
        start = end = _number(start_text, field.names)
        if len(ends) == 1:
            end = _number(ends[0], field.names)
        elif ends:
            raise Refusal(400, f"too many hyphens: {item}")
    step = 1
    if len(steps) == 1:
        step = _number(steps[0], {})
        if not starred and not ends:
            end = field.highest
    elif steps:
        raise Refusal(400, f"too many slashes: {item}")
    if start < field.lowest:
        raise Refusal(400, f"beginning of range ({start}) below minimum ({field.lowest}): {item}")
    if end > field.highest:
        raise Refusal(400, f"end of range ({end}) above maximum ({field.highest}): {item}")
    if start > end:
        raise Refusal(400, f"beginning of range ({start}) beyond end of range ({end}): {item}")
    if step == 0:
        raise Refusal(400, f"step of range should be a positive number: {item}")
    return range(start, end + 1, step), starred and step == 1


def _number(text: str, names: dict[str, int]) -> int:
    named = names.get(text.lower())
    if named is not None:
        return named
    reason = ""
    if not _INTEGER.match(text):
        reason = "invalid syntax"
    number = None if reason else int64(text)
    if number is None:
        reason = reason or "value out of range"
        raise Refusal(400, f"failed to parse int from {text}: strconv.Atoi: parsing {go_quote(text)}: {reason}")
    if number < 0:
        raise Refusal(400, f"negative number ({number}) not allowed: {text}")
    return number


# ---------------------------------------------------------------- @every
_UNITS_NS: Final = {
    "ns": 1, "us": 1000, "\u00b5s": 1000, "\u03bcs": 1000, "ms": 10**6, "s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9,
}  # fmt: skip
_PART: Final = re.compile(r"([0-9]*)(?:(\.)([0-9]*))?([^0-9.]*)", re.DOTALL)


def _every(descriptor: str) -> EveryInterval:
    text = descriptor.removeprefix("@every ")

    def bad(reason: str) -> Refusal:
        return Refusal(400, f"failed to parse duration {descriptor}: time: {reason}")

    rest = text[1:] if text[:1] in ("+", "-") else text
    if rest == "0":
        return EveryInterval(1)
    if not rest:
        raise bad(f"invalid duration {go_time_quote(text)}")
    total_ns = 0
    at = 0
    while at < len(rest):
        match = _PART.match(rest, at)
        assert match is not None
        whole, point, fraction, unit = match[1], match[2], match[3] or "", match[4]
        if not whole and not fraction:
            raise bad(f"invalid duration {go_time_quote(text)}")
        if not unit:
            raise bad(f"missing unit in duration {go_time_quote(text)}")
        if unit not in _UNITS_NS:
            raise bad(f"unknown unit {go_time_quote(unit)} in duration {go_time_quote(text)}")
        count = int64(f"-{whole}")  # accepts 2**63, which is too large only as a positive duration
        if count is None:
            raise bad(f"invalid duration {go_time_quote(text)}")
        total_ns -= count * _UNITS_NS[unit]
        if point and fraction:
            digits = fraction[:18]  # further digits are below a nanosecond
            total_ns += int(digits) * _UNITS_NS[unit] // 10 ** len(digits)
        if total_ns > (2**63 if text.startswith("-") else 2**63 - 1):
            raise bad(f"invalid duration {go_time_quote(text)}")
        at = match.end()
    if text.startswith("-"):
        return EveryInterval(1)
    return EveryInterval(max(total_ns // SECOND_NS, 1))
