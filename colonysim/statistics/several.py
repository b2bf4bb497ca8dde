"""Several values at once: tests made together, and how equally something is shared."""

from __future__ import annotations

from collections.abc import Sequence
from math import fsum
from typing import Final, Literal, get_args

Correction = Literal["holm", "bonferroni", "none"]
CORRECTIONS: Final[tuple[Correction, ...]] = get_args(Correction)


def adjusted(p_values: Sequence[float], correction: Correction) -> list[float]:
    """Return the p-values adjusted for being several, so that 5 % is the risk of any false finding among all of them.

    `holm`: the smallest times their number, the next times one less and so on, never less than one before (Holm, 1979).
    `bonferroni`: each times their number.
    """
    if correction == "none":
        return list(p_values)
    number = len(p_values)
    if correction == "bonferroni":
        return [min(1.0, number * p) for p in p_values]
    made, least = [0.0] * number, 0.0
    for place, which in enumerate(sorted(range(number), key=p_values.__getitem__)):
        least = max(least, min(1.0, (number - place) * p_values[which]))
        made[which] = least
    return made


def jain(values: Sequence[float]) -> float | None:
    """Return Jain's fairness index: 1 if all values are equal, 1/n if one of n has everything; None without values."""
    squares = len(values) * fsum(value * value for value in values)
    return fsum(values) ** 2 / squares if squares else None
