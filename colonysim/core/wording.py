"""Wording: figures and lists as people read them. Whatever shows a span, a count or a size to people formats it here.

Measured figures have three significant digits and no exponent below 10^15: `23.3 min`, not `1.4e+03 s`. Limits that
somebody wrote down are exact: `2 min 5 s`.
"""

from __future__ import annotations

from collections.abc import Iterable
from math import floor, isfinite, log10
from typing import Final

NOT_MEASURED: Final = "n/a"

_SECOND_NS: Final = 1_000_000_000
_DIGITS: Final = 3
_EXACT_DIGITS: Final = 15
_WITH_EXPONENT: Final = 1e15
_UNITS_S: Final = ((86_400, "days"), (3_600, "h"), (60, "min"))
_SHORT_UNITS_S: Final = ((1e-3, "ms"), (1e-6, "µs"))
_NEXT_UNIT: Final = 2
"""A span is shown in minutes from two minutes on, in hours from two hours on, in days from two days on."""
_SIZES: Final = ("bytes", "KiB", "MiB", "GiB", "TiB")
_ENDINGS_WITH_ES: Final = ("s", "x", "z", "ch", "sh")


def show_number(value: float, digits: int = _DIGITS) -> str:
    """Format a number with so many significant digits, and more before the point if it has them.

    Numbers from 10^15 on have an exponent.
    """
    if abs(value) >= _WITH_EXPONENT:
        return f"{value:.{digits}g}"
    if value == 0 or not isfinite(value):
        return f"{value:g}".replace("-0", "0")
    decimals = digits - 1 - floor(log10(abs(value)))
    text = f"{value:,.{max(0, decimals)}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def show_exact(value: float) -> str:
    """Format a number that somebody has chosen, with all of its digits."""
    return show_number(value, _EXACT_DIGITS)


def show_seconds(seconds: float) -> str:
    """Format a measured span of time: `0.2 s`, `23.3 min`, `1.5 days`."""
    unit_s, unit = time_unit(seconds)
    return f"{show_number(seconds / unit_s)} {unit}"


def time_unit(seconds: float) -> tuple[float, str]:
    """Return the unit in which people give a span of time: its length in seconds, and its name."""
    size = abs(float(f"{seconds:.{_DIGITS}g}"))  # rounded first: 119.9996 s are 2 min
    for unit_s, unit in _UNITS_S:
        if size >= _NEXT_UNIT * unit_s:
            return unit_s, unit
    if size >= 0.1 or size < 5e-10:
        return 1, "s"
    return next(((unit_s, unit) for unit_s, unit in _SHORT_UNITS_S if size >= unit_s), (1e-9, "ns"))


def show_interval(mean: float, half_width: float | None, unit: float = 1, name: str = "") -> str:
    """Format a mean with the half width of its interval, both in one unit: `15 ± 4.5 min`."""
    text = show_number(mean / unit)
    if half_width:
        text += f" ± {show_number(half_width / unit)}"
    return f"{text} {name}".rstrip()


def show_span(span_ns: int) -> str:
    """Format a measured span of time in nanoseconds, as `show_seconds` does."""
    return show_seconds(span_ns / _SECOND_NS)


def show_limit(seconds: float) -> str:
    """Format a span that somebody has chosen, exactly: `90 s`, `2 min 5 s`, `1 h 30 min`, `7 days`."""
    whole = round(seconds)
    if whole != seconds or abs(whole) < _NEXT_UNIT * 60:
        return f"{show_exact(seconds)} s"
    sign, rest, parts = "-" if whole < 0 else "", abs(whole), []
    for unit_s, unit in _UNITS_S:
        count, rest = divmod(rest, unit_s)
        if count:
            parts.append(f"{count:,} {unit if count > 1 else unit.rstrip('s')}")
    if rest:
        parts.append(f"{rest} s")
    return sign + " ".join(parts)


def show_count(count: int, noun: str, plural: str = "") -> str:
    """Format a number of things: `1 process`, `2,000 processes`. `plural`: the plural, if it is irregular."""
    return f"{count:,} {noun if count == 1 else plural or plural_of(noun)}"


def plural_of(noun: str) -> str:
    """Return the regular plural of a noun: processes, queries, days."""
    if noun.endswith("y") and noun[-2:-1] not in "aeiou":
        return f"{noun[:-1]}ies"
    return f"{noun}es" if noun.endswith(_ENDINGS_WITH_ES) else f"{noun}s"


def show_times(count: int) -> str:
    """Format how often something happened: `once`, `twice`, `3 times`."""
    return {1: "once", 2: "twice"}.get(count) or show_count(count, "time")


def show_share(share: float | None) -> str:
    """Format a part of a whole as a percentage: `96.6 %`; None as n/a."""
    return NOT_MEASURED if share is None else f"{show_number(share * 100)} %"


def show_size(size_bytes: int) -> str:
    """Format a size in bytes: `1 byte`, `12.5 KiB`, `3 GiB`; a KiB is 1,024 bytes."""
    size, place = float(size_bytes), 0
    while abs(size) >= 1023.5 and place < len(_SIZES) - 1:
        size, place = size / 1024, place + 1
    return show_count(size_bytes, "byte") if not place else f"{show_number(size)} {_SIZES[place]}"


def show_list(texts: Iterable[str], most: int = 5) -> str:
    """List texts with commas, at most so many of them: `a, b and 3 more`; `none` for no text."""
    shown = list(texts)
    more = len(shown) - most
    listed = ", ".join(shown[:most])
    return f"{listed} and {more:,} more" if more > 0 else listed or "none"
