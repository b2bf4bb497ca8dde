"""Conditions of checks: a gauge or a figure of a run, compared with a number or another one."""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple

from colonysim.reports.metrics import Gauges
from colonysim.reports.summary import Summary

GAUGES: Final = (*Gauges.__struct_fields__, "unfinished")
_QUANTILES: Final = ("count", "mean", "p50", "p90", "p95", "p99", "max")
_SPREAD: Final = ("waiting_s", "retry_waiting_s", "turnaround_s", "running_s", "bounded_slowdown")
FIGURES: Final = (
    *(name for name in Summary.__struct_fields__ if name not in (*_SPREAD, *GAUGES, "window")),
    *(f"{name}.{part}" for name in _SPREAD for part in _QUANTILES),
)
_OPERATORS: Final[dict[str, Callable[[Any, Any], bool]]] = {
    "<=": operator.le, ">=": operator.ge, "==": operator.eq, "!=": operator.ne, "<": operator.lt, ">": operator.gt,
}  # fmt: skip
_CONDITION: Final = re.compile(r"\s*([a-z][\w.]*)\s*([<>]=?|[=!]=)\s*(\S+)\s*\Z")

Read = Callable[[str], float | None]
"""Returns the value of a gauge or figure; None for a figure with nothing to measure."""


class Condition(NamedTuple):
    """A gauge or a figure, compared with a number or another one."""

    text: str
    left: str
    compare: Callable[[Any, Any], bool]
    right: str | float

    def value(self, read: Read) -> float | None:
        return read(self.left)

    def holds(self, read: Read) -> bool:
        """Whether it holds; it does not if a side has no value."""
        left, right = read(self.left), self.right if isinstance(self.right, float) else read(self.right)
        return left is not None and right is not None and self.compare(left, right)

    def missing(self, read: Read) -> str:
        """Return the name without a value, because there was nothing to measure; "" if all have values."""
        return next((name for name in self.names if read(name) is None), "")

    @property
    def names(self) -> tuple[str, ...]:
        return (self.left,) if isinstance(self.right, float) else (self.left, self.right)


def condition(text: str, known: Sequence[str]) -> Condition:
    """Read a condition. Raises ValueError, with an example and the known names."""
    found = _CONDITION.match(text)
    if found is None:
        raise ValueError("must be a condition such as 'queue_depth <= 5000'")
    left, sign, right = found.groups()
    try:
        other: str | float = float(right)
    except ValueError:
        other = right
    if isinstance(other, float) and not math.isfinite(other):
        raise ValueError(f"{right!r} must be a finite number")
    made = Condition(text.strip(), left, _OPERATORS[sign], other)
    for name in made.names:
        if name not in known:
            raise ValueError(f"there is no {name!r} to compare here; use one of {', '.join(known)}")
    return made
