"""Random numbers that belong to a process, so that they do not depend on which executor gets it, or when.

How long a process runs, whether it fails and whether it hangs depends on the seed, on who submitted it with which
function, on its number among those submissions, and on its attempt. So a run with another policy or with more executors
meets the same processes. These common random numbers make differences between two runs more precise.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable
from math import cos, log, pi, sqrt
from random import Random
from typing import Final

from colonysim.core.records import Process
from colonysim.kernel import randomness

Identity = tuple[str, int, int]
"""Who submitted a process with which function, its number among those from 1 on, and its attempt from 1 on."""

_MASK: Final = (1 << 64) - 1
_STEP: Final = 0x9E3779B97F4A7C15
_ATTEMPT: Final = 0xD1342543DE82EF95
"""Odd constants: between two random numbers of a process, and between its attempts."""
_BITS: Final = 53
_UNIT: Final = 2.0**-_BITS
_AHEAD: Final = 256


def by_serial(process: Process) -> Identity:
    """Identify a process by its place among all processes of the server."""
    return "", process.serial, process.retries + 1


class ProcessRandom(Random):
    """The random numbers of processes for one purpose. Set `process` before a draw.

    The first number of each process is drawn ahead, in the order of submission, by a usual source. Those after it, and
    those of further attempts, continue from it by SplitMix64 (Steele, Lea and Flood, 2014). A source for each process
    would cost twenty times as much.
    """

    process: Process | None

    def __new__(cls, seed: int, purpose: str) -> ProcessRandom:
        return super().__new__(cls)

    def __init__(self, seed: int, purpose: str) -> None:
        super().__init__(0)
        self.process = None
        self.identify: Callable[[Process], Identity] = by_serial
        self._root = seed, f"process/{purpose}"
        self._state: float = 0  # the first number of the process, or a position in the sequence of SplitMix64
        self._first: dict[str, array[float]] = {}
        self._sources: dict[str, Random] = {}

    def random(self) -> float:
        """Return a number from 0 to below 1."""
        if (process := self.process) is None:
            return self._further()
        self.process = None
        name, number, attempt = self.identify(process)
        try:
            self._state = first = self._first[name][number]
        except LookupError:
            self._state = first = self._draw_ahead(name, number)
        if attempt == 1:
            return first
        self._state = int(first / _UNIT) + attempt * _ATTEMPT
        return self._further()

    def number_of(self, process: Process) -> float:
        """Return the first number of a process."""
        self.process = process
        return self.random()

    def _further(self) -> float:
        """Return a further number of the process."""
        state = self._state
        if type(state) is float:
            state = state / _UNIT
        self._state = bits = int(state) + _STEP & _MASK
        bits = (bits ^ bits >> 30) * 0xBF58476D1CE4E5B9 & _MASK
        bits = (bits ^ bits >> 27) * 0x94D049BB133111EB & _MASK
        return ((bits ^ bits >> 31) >> 64 - _BITS) * _UNIT

    def _draw_ahead(self, name: str, number: int) -> float:
        """Draw the first numbers of the processes up to this one and some more, and return that of this one."""
        first = self._first.setdefault(name, array("d"))
        if (source := self._sources.get(name)) is None:
            seed, purpose = self._root
            source = self._sources[name] = randomness.source(seed, f"{purpose}/{name}")
        first.extend(source.random() for _ in range(len(first), number + _AHEAD))
        return first[number]

    def getrandbits(self, k: int, /) -> int:
        """Return an integer of `k` random bits."""
        bits = 0
        for _ in range(0, k, _BITS):
            bits = bits << _BITS | int(self.random() / _UNIT)
        return bits >> -k % _BITS

    def gauss(self, mu: float = 0.0, sigma: float = 1.0) -> float:
        """Return a normally distributed number. The original keeps a second one, which the next process would get."""
        turn = self.random() * 2.0 * pi
        return mu + cos(turn) * sqrt(-2.0 * log(1.0 - self.random())) * sigma


class ProcessChance:
    """What happens to processes by chance: run times, transfers of their data, failures and hangs."""

    def __init__(self, seed: int) -> None:
        self.service = ProcessRandom(seed, "service")
        self.transfer = ProcessRandom(seed, "transfer")
        self.outcome = ProcessRandom(seed, "outcome")
        self.hangs = ProcessRandom(seed, "hangs")

    def identify_by(self, identify: Callable[[Process], Identity]) -> None:
        """Use a function to tell processes apart, before anything is drawn."""
        for random in (self.service, self.transfer, self.outcome, self.hangs):
            random.identify = identify
