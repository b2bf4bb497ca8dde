"""Names that one life of a program gives, of which else the whole process has one series."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from random import Random
from typing import Any

from colonysim.stdlib.here import here


class GivenNames:
    """What one life of a program has that else belongs to the process.

    The numbers in the names that it has given; `random`, the chance for names of temporary files and for sources that
    were made before; the `twins` of those sources, by identity; and the state of the module `uuid`.
    """

    def __init__(self, random: Random) -> None:
        self._given: Counter[str] = Counter()
        self.random = random
        self.twins: dict[int, tuple[Any, Random]] = {}
        self.last_uuids: dict[str, Any] = {}

    def number(self, kind: str, first: int) -> int:
        """Return the next number of a kind."""
        self._given[kind] += 1
        return self._given[kind] - 1 + first


class NumbersOfLives:
    """An iterator in place of `itertools.count`, of which each life of a program has its own."""

    def __init__(self, real: Callable[[], int], kind: str, first: int) -> None:
        self._real, self._kind, self._first = real, kind, first

    def __next__(self) -> int:
        who = here.thread
        number: int = self._real() if who is None else who.program.names.number(self._kind, self._first)
        return number
