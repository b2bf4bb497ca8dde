"""Minimise lists and numbers while a predicate holds, also inside nested structs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

import msgspec
from msgspec.structs import replace

T = TypeVar("T")
Where = tuple[str | int, ...]
"""A path into nested structs and tuples: field names and indices."""


def fewest(items: Sequence[T], holds: Callable[[Sequence[T]], bool]) -> Sequence[T]:
    """Return a subset of the items for which `holds` is true and from which no item can be removed.

    This is delta debugging (ddmin). `holds` must be true for all items.
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
    """Return the least number for which `holds` is true, found by bisection. It must be true for `high`."""
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
    """Return the greatest number for which `holds` is true, found by bisection. It must be true for `low`."""
    return -least(-high, -low, lambda number: holds(-number))


# ---------------------------------------------------------------- nested structs
def at(value: Any, where: Where) -> Any:
    """Return the value at a path."""
    step: Any
    for step in where:
        value = getattr(value, step) if hasattr(value, "__struct_fields__") else value[step]
    return value


def put(value: Any, where: Where, new: Any) -> Any:
    """Return a copy with `new` at a path. Raises ValueError if a struct does not accept it."""
    if not where:
        return new
    step, *rest = where
    if isinstance(value, dict):
        return {**value, step: put(value[step], tuple(rest), new)}
    if isinstance(step, int):
        return (*value[:step], put(value[step], tuple(rest), new), *value[step + 1 :])
    return replace(value, **{step: put(getattr(value, step), tuple(rest), new)})


def paths(value: Any, names: Sequence[str], where: Where = ()) -> Iterator[Where]:
    """Yield the paths of all fields with these names, outer fields first."""
    if isinstance(value, msgspec.Struct):
        for name in value.__struct_fields__:
            if name in names:
                yield (*where, name)
            yield from paths(getattr(value, name), names, (*where, name))
    elif isinstance(value, tuple):
        for place, one in enumerate(value):
            yield from paths(one, names, (*where, place))
