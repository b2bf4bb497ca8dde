"""Values to vary in a sweep: lists, ranges, and all combinations of several."""

from __future__ import annotations

import re
from collections.abc import Sequence
from decimal import Decimal
from itertools import product
from math import prod
from typing import Final

MOST_VARIANTS: Final = 1_000
"""The most combinations of values in a sweep."""


def grid(texts: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Return the overrides of all combinations of `PATH=VALUES` texts, by name; the last path changes fastest.

    With one path, the name is the value; with several, it is all overrides: `executors.0.count=2
    settings.policy=fair`. Raises ValueError if a text is malformed, a path or value is given twice, or there are more
    than MOST_VARIANTS combinations.
    """
    axes: dict[str, list[str]] = {}
    for text in texts:
        path, equals, values = (part.strip() for part in text.partition("="))
        if not equals or not path:
            raise ValueError(f"--vary takes PATH=VALUES, such as executors.0.count=1..64, not {text!r}")
        if path in axes:
            raise ValueError(f"--vary {path} is given twice: list all of its values in one")
        axes[path] = points_of(values)
    count = prod(map(len, axes.values()))
    if count > MOST_VARIANTS:
        sizes = " x ".join(str(len(points)) for points in axes.values())
        raise ValueError(f"{sizes} = {count:,} combinations are too many: {MOST_VARIANTS:,} at most; vary fewer values")
    made = {}
    for combination in product(*axes.values()):
        overrides = tuple(f"{path}={point}" for path, point in zip(axes, combination, strict=True))
        made[combination[0] if len(axes) == 1 else " ".join(overrides)] = overrides
    return made


def points_of(text: str) -> list[str]:
    """Return the values of `a,b,c`, of `1..64` (each double the last) or of `0.5..0.9:0.1` (in steps of 0.1).

    Raises ValueError, with an example, if the text is malformed or has a value twice.
    """
    if ".." not in text:
        values = [part.strip() for part in text.split(",")]
        if twice := next((value for place, value in enumerate(values) if value and value in values[:place]), None):
            raise ValueError(f"{text!r} has the value {twice} twice; write each once, such as 1,2,4")
        if all(values):
            return values
        raise ValueError(f"{text!r} has an empty value; write values like 1,2,4 or 1..64 or 0.5..0.9:0.1")
    first, _, rest = text.partition("..")
    last, colon, step = rest.partition(":")
    try:
        low, high, stride = _number(first), _number(last), _number(step) if colon else None
    except ValueError as error:
        raise ValueError(f"invalid range {text!r}: {error}; write one like 1..64 or 0.5..0.9:0.1") from None
    if high < low:
        raise ValueError(f"invalid range {text!r}: it ends before it starts; write one like 1..64 or 0.5..0.9:0.1")
    if stride is None and low <= 0:
        raise ValueError(f"invalid range {text!r}: {low} cannot be doubled; write a step, such as {text}:1")
    if stride is not None and stride <= 0:
        raise ValueError(f"invalid range {text!r}: its step must be above 0; write one like 1..64 or 0.5..0.9:0.1")
    if stride and (high - low) // stride >= MOST_VARIANTS:
        raise ValueError(f"{text!r} has more than {MOST_VARIANTS:,} values; give a larger step, such as 10..50:10")
    numbers = [low]
    while numbers[-1] < high:
        numbers.append(min(high, numbers[-1] + (stride or numbers[-1])))
    return [_plain(number) for number in numbers]


_NUMBER: Final = re.compile(r"-?[0-9]{1,15}(\.[0-9]{1,15})?")


def _number(text: str) -> Decimal:
    """Read a decimal number exactly, so that steps of 0.1 stay steps of 0.1. Raises ValueError."""
    if not _NUMBER.fullmatch(text.strip()):
        raise ValueError(f"{text.strip()!r} is not a number with at most 15 digits before and after the point")
    return Decimal(text.strip())


def _plain(number: Decimal) -> str:
    """Format a number without an exponent and without zeros at the end."""
    text = f"{number:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
