"""The clock: virtual time, how it moves, and how it relates to the time of this machine."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Final

from colonysim.core.golang.civil import civil
from colonysim.core.golang.gotypes import parse_timestamp
from colonysim.core.records import SECOND_NS
from colonysim.core.wording import show_exact

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
FIRST_NS: Final = -62_135_510_400 * SECOND_NS  # 0001-01-02T00:00:00Z: earlier times cannot be written in every zone
LAST_NS: Final = 253_402_214_400 * SECOND_NS  # 9999-12-31T00:00:00Z: nor can later ones
_OPEN_END_NS: Final = 100 * 365 * 86_400 * SECOND_NS
_LEAST_RATE, _MOST_RATE = 1e-6, 1e9


_DATE: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")


class Mode(StrEnum):
    """How virtual time moves."""

    MANUAL = "manual"  # only by `advance`
    AUTO = "auto"  # to the next due time, once no actor could act before it
    SCALED = "scaled"  # with real time, `rate` times as fast
    REAL = "real"  # with real time


class Clock:
    """The mode of virtual time and, for modes that follow real time, the instant from which both are counted."""

    def __init__(
        self, mode: Mode, rate: float | None, now_ns: int, read_ns: Callable[[], int] = time.monotonic_ns
    ) -> None:
        self._read_ns = read_ns
        self.set(mode, rate, now_ns)

    def set(self, mode: Mode, rate: float | None, now_ns: int) -> None:
        """Continue from `now_ns` in another mode. `rate` is in virtual seconds per real second, for mode `scaled`.

        Raises ValueError if the rate is out of range or would have no effect.
        """
        if mode is not Mode.SCALED and rate not in (None, 1.0):
            raise ValueError(f"rate {rate} has no effect while the clock is {mode.value}: set its mode to scaled")
        rate = 1.0 if rate is None else rate
        if not _LEAST_RATE <= rate <= _MOST_RATE:
            bounds = f"from {_LEAST_RATE:g} to {_MOST_RATE:g}"
            raise ValueError(f"the clock's rate must be greater than 0, {bounds}, not {rate}")
        self.mode = mode
        self.follows_real_time: bool = mode in (Mode.REAL, Mode.SCALED)
        self.runs = self.follows_real_time  # in mode auto for a while
        self.rate = rate
        self._base_virtual_ns, self._base_real_ns = now_ns, self._read_ns()

    def run(self, now_ns: int) -> None:
        """Let time pass as real time does from now on, until `rest`."""
        if not self.runs:
            self._base_virtual_ns, self._base_real_ns = now_ns, self._read_ns()
            self.runs = True

    def rest(self) -> None:
        """Let time stand still until it is moved, unless the mode follows real time."""
        self.runs = self.follows_real_time

    def virtual_now(self) -> int:
        """Return the virtual time now, in nanoseconds; only while the clock runs."""
        passed_ns = self._read_ns() - self._base_real_ns
        if self.rate != 1.0:
            passed_ns = int(passed_ns * self.rate)
        return min(self._base_virtual_ns + passed_ns, LAST_NS)

    def real_seconds(self, virtual_ns: int) -> float:
        """Return how long a span of virtual time takes, in real seconds."""
        return virtual_ns / SECOND_NS / self.rate

    def target(self, now_ns: int, seconds: float | timedelta | None, to: datetime | str | None, open_end: bool) -> int:
        """Return the time to advance to, in nanoseconds. Raises ValueError, see Simulation.advance."""
        if self.follows_real_time:
            raise ValueError(f"the clock is {self.mode.value} and follows real time; set it to manual or auto first")
        if seconds is not None and to is not None:
            raise ValueError("advance takes either seconds or to=time, not both")
        if to is not None:
            target_ns = parse_time(to) if isinstance(to, str) else _time_of(to)
        elif seconds is not None:
            target_ns = time_after(now_ns, seconds.total_seconds() if isinstance(seconds, timedelta) else seconds)
        elif open_end:
            return min(now_ns + _OPEN_END_NS, LAST_NS)
        else:
            raise ValueError("say how far to advance: seconds, to=time or until=condition")
        if target_ns < now_ns:
            raise ValueError("time does not go back: advance to a later time than now")
        if target_ns > LAST_NS:
            raise ValueError(f"{to} is too late: the last time to advance to is {show_time(LAST_NS)}")
        return target_ns


def time_after(now_ns: int, seconds: float) -> int:
    """Return the time `seconds` from now. Raises ValueError if they are not finite, negative, or end after 9999."""
    if not math.isfinite(seconds):
        raise ValueError(f"seconds must be finite, got {seconds}")
    if seconds < 0:
        raise ValueError(f"time does not go back: give 0 seconds or more, not {show_exact(seconds)}")
    most_s = (LAST_NS - now_ns) // SECOND_NS
    if seconds > most_s:
        raise ValueError(f"{show_exact(seconds)} seconds from now is after the year 9999: give {most_s:,} at most")
    return now_ns + round(seconds * SECOND_NS)


def _time_of(time: datetime) -> int:
    """Return nanoseconds since 1970. Raises ValueError for a time without a time zone."""
    if time.utcoffset() is None:
        raise ValueError(f"{time} has no time zone: give it one, such as tzinfo=datetime.UTC")
    return (time - EPOCH) // timedelta(microseconds=1) * 1000


def real_now_ns() -> int:
    """Return the time of this machine, in nanoseconds since 1970."""
    return time.time_ns()


def parse_time(text: str) -> int:
    """Parse an RFC 3339 time, a date or `now`, to nanoseconds since 1970. Raises ValueError with an example."""
    if text == "now":
        return real_now_ns()
    parsed = parse_timestamp(f"{text}T00:00:00Z" if _DATE.fullmatch(text) else text)
    if parsed is None:
        raise ValueError(f"{text!r} is not an RFC 3339 time; write it like 2026-01-01T00:00:00Z, or 'now'")
    return parsed.ns


def parse_start(text: str) -> int:
    """Parse the time at which a clock starts. Raises ValueError as `parse_time`, and for a time out of range."""
    start_ns = parse_time(text)
    if not FIRST_NS <= start_ns <= LAST_NS:
        raise ValueError(
            f"a clock cannot start at {text}: give a time from {show_time(FIRST_NS)} to {show_time(LAST_NS)}"
        )
    return start_ns


def show_time(time_ns: int) -> str:
    """Format a time for people, in UTC, of any year."""
    whole, fraction = divmod(time_ns, SECOND_NS)
    year, month, day, hour, minute, second = civil(whole)
    text = f"{year:04d}-{month:02d}-{day:02d} {hour:02d}:{minute:02d}:{second:02d}"
    return f"{text}.{fraction:09d}".rstrip("0").rstrip(".") if fraction else text
