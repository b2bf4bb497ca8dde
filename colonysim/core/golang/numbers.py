"""Print numbers and free JSON as the reference does.

Source: docs/protocol/a-foundation.md 2.8, docs/protocol/b-processes.md 0.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec
from msgspec import Raw

from colonysim.core.golang.units import through_double

_SORTED: Final = msgspec.json.Encoder(order="deterministic")
NO_ITEMS: Final = Raw(b"[]")
NO_PAIRS: Final = Raw(b"{}")


def number(value: float) -> Any:
    """Prepare a double for encoding: no fraction if whole, an exponent below 1e-6 and from 1e21."""
    if value.is_integer() and abs(value) < 1e21:
        return through_double(value) if value or str(value) == "0.0" else Raw(b"-0")
    return _special(value)


def _special(value: float) -> Any:
    """Format the doubles that msgspec's encoder prints differently from Go's."""
    size = abs(value)
    if size >= 1e21:
        mantissa, _, exponent = repr(value).partition("e")
        return Raw(f"{mantissa.removesuffix('.0')}e+{exponent.lstrip('+')}".encode())
    if 1e-6 <= size < 1e-4:
        return Raw(f"{value:.{_decimals(value)}f}".encode())
    return value


def _decimals(value: float) -> int:
    """Count the digits after the decimal point of a small number written without an exponent."""
    mantissa, _, exponent = repr(value).partition("e")
    if not exponent:
        return len(repr(value).partition(".")[2])
    return -int(exponent) + len(mantissa.partition(".")[2].removesuffix("0"))


def free(value: Any) -> Raw:
    """Encode free JSON with sorted keys, and with every number printed as a double."""
    if not value:
        if value == [] or value == ():
            return NO_ITEMS
        if value == {}:
            return NO_PAIRS
    return Raw(_SORTED.encode(_printable(value)))


def _printable(value: Any) -> Any:
    kind = type(value)
    if kind is str or kind is bool or value is None or kind is int:
        return value
    if kind is float:
        return number(value)
    if kind is list or kind is tuple:
        return [_printable(item) for item in value]
    return {key: _printable(item) for key, item in value.items()}
