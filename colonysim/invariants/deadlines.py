"""Deadlines: times by which something must have happened."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from typing import Any, Final

import msgspec

_NEVER: Final = 2**80


class Deadline(msgspec.Struct, eq=False):
    """`missed` is called with `key` when the time has passed, unless the deadline was dropped before."""

    latest_ns: int
    missed: Callable[[Any], None]
    key: Any
    off: bool = False


class Deadlines:
    """A heap of deadlines. A dropped one stays in it until it reaches the top, or such ones outnumber the others.

    No deadline is earlier than `next_ns`.
    """

    def __init__(self) -> None:
        self.heap: list[tuple[int, int, Deadline]] = []
        self.next_ns = _NEVER
        self._made = self._off = 0

    def add(self, latest_ns: int, missed: Callable[[Any], None], key: Any) -> Deadline:
        """Add a deadline. What happens at that very instant is still in time."""
        self._made += 1
        deadline = Deadline(latest_ns, missed, key)
        heapq.heappush(self.heap, (latest_ns, self._made, deadline))
        self.next_ns = min(self.next_ns, latest_ns)
        return deadline

    def drop(self, deadline: Deadline | None) -> None:
        """Drop a deadline that has been met, or that no longer matters."""
        if deadline is None or deadline.off:
            return
        deadline.off = True
        self._off += 1
        if len(self.heap) > 2 * (len(self.heap) - self._off) + 64:
            self.heap = [entry for entry in self.heap if not entry[2].off]
            heapq.heapify(self.heap)
            self._off = 0

    def report_missed(self, now_ns: int) -> None:
        """Call `missed` of each deadline before `now_ns`, the earliest first."""
        while self.heap and self.heap[0][0] < now_ns:
            deadline = heapq.heappop(self.heap)[2]
            if deadline.off:
                self._off -= 1
            else:
                deadline.off = True
                deadline.missed(deadline.key)
        self.next_ns = self.heap[0][0] if self.heap else _NEVER
