"""Making things smaller while something still holds: lists, numbers, and the parts of nested structs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

import msgspec
from msgspec.structs import replace

T = TypeVar("T")
Where = tuple[str | int, ...]
"""A path into nested structs and tuples: names of fields, and places."""


def fewest(items: Sequence[T], holds: Callable[[Sequence[T]], bool]) -> Sequence[T]:
    """Delta debugging: some of the items for which it still holds, such that none of them can be left out.

    It is known to hold for all of them.
    """
    if not items or holds(items[:0]):
        return items[:0]
    parts = 2
    while len(items) > 1:
        size = -(-len(items) // parts)
        for start in range(0, len(items), size):
            rest = (*items[:start], *items[start + size :])
            if rest and holds(rest):
                items = rest
                parts = max(parts - 1, 2)
                break
        else:
            if parts >= len(items):
                break
            parts = min(parts * 2, len(items))
    return items


def least(low: int, high: int, holds: Callable[[int], bool]) -> int:
    """The least number for which it holds, as far as halving finds it. It is known to hold for `high`."""
    if low >= high or holds(low):
        return min(low, high)
    while high - low > 1:
        middle = (low + high) // 2
        if holds(middle):
            high = middle
        else:
            low = middle
    return high


def most(low: int, high: int, holds: Callable[[int], bool]) -> int:
    """The most for which it holds, as far as halving finds it. It is known to hold for `low`."""
    return -least(-high, -low, lambda number: holds(-number))


# ---------------------------------------------------------------- nested structs
def at(value: Any, where: Where) -> Any:
    """What stands at a path."""
    step: Any
    for step in where:
        value = getattr(value, step) if hasattr(value, "__struct_fields__") else value[step]
    return value


def put(value: Any, where: Where, new: Any) -> Any:
    """The value with something else at a path. Errors: ValueError where that makes no sense."""
    if not where:
        return new
    step, *rest = where
    if isinstance(value, dict):
        return {**value, step: put(value[step], tuple(rest), new)}
    if isinstance(step, int):
        return (*value[:step], put(value[step], tuple(rest), new), *value[step + 1 :])
    return replace(value, **{step: put(getattr(value, step), tuple(rest), new)})


def paths(value: Any, names: Sequence[str], where: Where = ()) -> Iterator[Where]:
    """The paths of all fields of these names, from the outside to the inside."""
    if isinstance(value, msgspec.Struct):
        for name in value.__struct_fields__:
            if name in names:
                yield (*where, name)
            yield from paths(getattr(value, name), names, (*where, name))
    elif isinstance(value, tuple):
        for place, one in enumerate(value):
            yield from paths(one, names, (*where, place))
