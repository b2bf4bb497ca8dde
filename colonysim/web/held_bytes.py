"""The bytes that all connections of a server hold together: a bound, and what is each connection's own."""

from __future__ import annotations

import threading

from colonysim.web.limits import Limits, connections_at_most


class HeldBytes:
    """The bytes that clients have sent and the server has not finished with. May be used by several threads.

    Half of `held_bytes` is divided evenly: each connection always has its own part, so that a few large bodies keep
    no small request out. The other half is common to all.
    """

    def __init__(self, limits: Limits) -> None:
        self.limit = limits.held_bytes
        self.own = self.limit // 2 // connections_at_most(limits)
        """What each connection may hold, however much the others do."""
        self.common = self.limit - self.own * connections_at_most(limits)
        self.common_used = 0
        self._lock = threading.Lock()

    @property
    def most(self) -> int:
        """What one connection can hold where no other holds more than its own part."""
        return self.own + self.common

    def change(self, before: int, after: int) -> bool:
        """Count what a connection holds now; whether it may hold so much. Whoever may not has to let go of it."""
        with self._lock:
            beyond = max(after - self.own, 0)
            self.common_used += beyond - max(before - self.own, 0)
            return not beyond or self.common_used <= self.common


class Share:
    """The bytes that one connection holds. May be used by several threads."""

    def __init__(self, all_held: HeldBytes) -> None:
        self.all_held = all_held
        self.size = 0
        self._closed = False
        self._lock = threading.Lock()

    def change(self, by: int) -> bool:
        """Hold so many bytes more, or fewer; whether all of them may stay."""
        with self._lock:
            if self._closed:
                return True
            before, self.size = self.size, self.size + by
            return self.all_held.change(before, self.size)

    def close(self) -> None:
        """Release all: the connection has ended."""
        with self._lock:
            self._closed = True
            self.all_held.change(self.size, 0)
            self.size = 0
