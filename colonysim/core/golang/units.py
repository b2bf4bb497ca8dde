"""Parse CPU and memory texts, convert numbers as the reference stores them, and limit nesting.

Source: docs/protocol/b-processes.md 1.4.
"""

from __future__ import annotations

import re
from array import array
from itertools import accumulate
from math import isfinite
from operator import is_not
from typing import Any, Final

from colonysim.core.errors import Refusal

_INT64_MIN, _INT64_MAX = -(2**63), 2**63 - 1
_INTEGER = re.compile(r"[+-]?[0-9]+\Z")

# Longest suffix first, so that `Ki` is not read as a shorter unit that it ends with.
_MEMORY_UNITS = (
    ("KiB", 2**10), ("MiB", 2**20), ("GiB", 2**30), ("TiB", 2**40),
    ("Ki", 2**10), ("Mi", 2**20), ("Gi", 2**30),
    ("KB", 10**3), ("Kb", 10**3), ("MB", 10**6), ("Mb", 10**6), ("Gb", 10**9), ("TB", 10**12), ("Tb", 10**12),
    ("K", 10**3), ("M", 10**6), ("G", 10**9),
)  # fmt: skip


def parse_cpu(text: str) -> int:
    """Parse a CPU text such as `500m` into milli-CPU. Raises Refusal 400 if the number is malformed.

    Quirk: a text that does not end in a lower-case `m` is 0, without an error (`"2"`, `"1000M"`).
    """
    if not text.endswith("m"):
        return 0
    number = text[:-1]
    value = int64(number) if _INTEGER.match(number) else None
    if value is None:
        raise Refusal(400, "Error converting CPU to int")
    return value


def parse_memory(text: str) -> int:
    """Parse a memory text such as `10Gi` into bytes; the empty text is 0. Raises Refusal 400 if it is malformed.

    Quirk: a unit is recognised in any case but removed only in its exact case, so `10gi` fails with the whole text
    quoted. Where the reference's choice is random (`KB` or `Kb`), both spellings are accepted.
    """
    if text == "":
        return 0
    for unit, factor in _MEMORY_UNITS:
        if text.endswith(unit):
            return wrapped(_parse_int(text[: -len(unit)]) * factor)
    lowered = text.lower()
    for unit, _ in _MEMORY_UNITS:
        if lowered.endswith(unit.lower()):
            return _parse_int(text)
    return _parse_int("")


def _parse_int(text: str) -> int:
    if not _INTEGER.match(text):
        raise _memory_refusal(text, "invalid syntax")
    value = int64(text)
    if value is None:
        raise _memory_refusal(text, "value out of range")
    return value


def int64(digits: str) -> int | None:
    """Parse decimal digits with an optional sign; None if the value does not fit into 64 bits."""
    significant = digits.lstrip("+-").lstrip("0")
    if len(significant) > 19:
        return None
    value = -int(significant or "0") if digits.startswith("-") else int(significant or "0")
    return value if _INT64_MIN <= value <= _INT64_MAX else None


def _memory_refusal(number: str, reason: str) -> Refusal:
    return Refusal(400, f"error converting memory to int: strconv.ParseInt: parsing {go_quote(number)}: {reason}")


def wrapped(value: int) -> int:
    """Quirk: wrap a product around to 64 bits."""
    return (value + 2**63) % 2**64 - 2**63


def format_cpu(milli: int) -> str:
    """Format milli-CPU as text."""
    return f"{milli}m"


def format_memory(size_bytes: int) -> str:
    """Format bytes as whole mebibytes, truncated toward zero."""
    mebibytes = abs(size_bytes) >> 20
    return f"{-mebibytes if size_bytes < 0 else mebibytes}Mi"


_SHORT_ESCAPES = {
    '"': '\\"', "\\": "\\\\", "\a": "\\a", "\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t", "\v": "\\v",
}  # fmt: skip


def go_quote(text: str) -> str:
    """Quote a text as Go's `%q` does."""
    return '"' + "".join(map(_quoted, text)) + '"'


def _quoted(char: str) -> str:
    if char in _SHORT_ESCAPES:
        return _SHORT_ESCAPES[char]
    if char.isprintable():
        return char
    code = ord(char)
    if code < 0x80:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def go_time_quote(text: str) -> str:
    """Quote a text byte by byte, as Go's errors about durations do.

    Bytes below 0x20 and above 0x7f become `\\xNN`; 0x7f is unchanged.
    """
    raw = text.encode("utf-8", "replace")
    return '"' + "".join(map(_QUOTED_BYTES.__getitem__, raw)) + '"'


_QUOTED_BYTES = tuple(
    {'"': '\\"', "\\": "\\\\"}.get(chr(byte), chr(byte)) if 0x20 <= byte < 0x80 else f"\\x{byte:02x}"
    for byte in range(256)
)


# ---------------------------------------------------------------- nesting
MAX_DEPTH: Final = 200
"""How deeply the stored lists and objects of a message may be nested; the reference allows 10,000."""

TOO_DEEP: Final = f"lists and objects in a message may be nested at most {MAX_DEPTH} levels deep"
NO_ROOM: Final = "lists and objects are nested deeper than the stack of the calling program has room for"

_SHALLOW: Final = 40  # a text with at most this many opening brackets is not measured
_FRAMES_PER_LEVEL: Final = 3
_FRAMES_TO_SERVE: Final = 80
# Always matches after an opening quote, so that it takes linear time.
_STRING: Final = re.compile(rb'"(?:[^"\\]+|\\.)*"?', re.DOTALL)
_STEPS: Final = bytes.maketrans(b"[{]}", b"\x01\x01\xff\xff")
_ALL_BUT_BRACKETS: Final = bytes(set(range(256)) - set(b"[]{}"))


def levels(text: bytes) -> int:
    """Return how deeply lists and objects are nested in a JSON text; 0 if it has few brackets."""
    if text.count(b"[") + text.count(b"{") <= _SHALLOW:
        return 0
    bare = _STRING.sub(b"", text) if b"\\" in text else b"".join(text.split(b'"')[::2])
    return max(accumulate(array("b", bare.translate(_STEPS, _ALL_BUT_BRACKETS))), default=0)


def has_room(depth: int) -> bool:
    """Whether the stack has room for functions that recurse over `depth` levels."""
    return depth <= 0 or _fits(min(depth, MAX_DEPTH) * _FRAMES_PER_LEVEL + _FRAMES_TO_SERVE)


def _fits(frames: int) -> bool:
    try:
        _descend(frames)
    except RecursionError:
        return False
    return True


def _descend(frames: int) -> None:
    if frames:
        _descend(frames - 1)


# ---------------------------------------------------------------- free JSON
def through_double(value: Any, depth: int = 0) -> Any:
    """Convert free JSON as the reference's storage does: every number passes through a double.

    Whole numbers that print without an exponent become int, so that 1.0 and 1 are one value; -0.0 stays a float.
    A value that does not change is returned itself, not copied. Raises Refusal 400 for a value that is not JSON or
    is nested too deeply. Source: docs/protocol/b-processes.md 0.
    """
    kind = type(value)
    if kind is str or kind is bool or value is None:
        return value
    if kind is int:
        return value if -(2**53) <= value <= 2**53 else _whole(_as_double(value))
    if kind is float:
        if not isfinite(value):
            raise Refusal(400, f"{value!r} is not a JSON number")
        return _whole(value)
    if depth > MAX_DEPTH:
        raise Refusal(400, TOO_DEEP)
    if kind is list or kind is tuple:
        items = [through_double(item, depth + 1) for item in value]
        return items if kind is tuple or any(map(is_not, items, value)) else value
    if kind is dict:
        if not all(type(key) is str for key in value):
            raise Refusal(400, "the keys of a JSON object must be strings")
        items = [through_double(item, depth + 1) for item in value.values()]
        return dict(zip(value, items, strict=True)) if any(map(is_not, items, value.values())) else value
    raise Refusal(400, f"{value!r} of type {kind.__name__} is not a JSON value")


def _as_double(value: int) -> float:
    try:
        return float(value)
    except OverflowError:
        raise Refusal(400, f"{value} is beyond the range of a double") from None


def _whole(number: float) -> int | float:
    """Convert a whole double below 1e21 to the int of its shortest decimal digits, padded with zeros."""
    if number == 0:
        return number if str(number) == "-0.0" else 0
    if not number.is_integer() or abs(number) >= 1e21:
        return number
    if abs(number) < 1e16:  # repr gives no exponent
        return int(number)
    mantissa, _, exponent = repr(number).partition("e")
    digits, _, fraction = mantissa.partition(".")
    return int(digits + fraction.ljust(int(exponent), "0"))
