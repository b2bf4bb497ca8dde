"""Limits the bytes that all connections of a server hold together, with a guaranteed part for each."""

from __future__ import annotations

import threading

from colonysim.http.limits import Limits, connections_at_most


class HeldBytes:
    """The bytes that clients have sent and the server has not finished processing. Thread-safe.

    Half of `held_bytes` is divided evenly into a guaranteed part for each connection, so that a few large bodies
    cannot block small requests. All connections share the other half.
    """

    def __init__(self, limits: Limits) -> None:
        self.limit = limits.held_bytes
        self.own = self.limit // 2 // connections_at_most(limits)
        """The guaranteed part of each connection."""
        self.common = self.limit - self.own * connections_at_most(limits)
        self.common_used = 0
        self._lock = threading.Lock()

    @property
    def most(self) -> int:
        """What one connection can hold if no other holds more than its guaranteed part."""
        return self.own + self.common

    def change(self, before: int, after: int) -> bool:
        """Count what a connection holds now. Returns False if that is too much: the caller must release it."""
        with self._lock:
            beyond = max(after - self.own, 0)
            self.common_used += beyond - max(before - self.own, 0)
            return not beyond or self.common_used <= self.common


class Share:
    """The bytes that one connection holds. Thread-safe."""

    def __init__(self, all_held: HeldBytes) -> None:
        self.all_held = all_held
        self.size = 0
        self._closed = False
        self._lock = threading.Lock()

    def change(self, by: int) -> bool:
        """Change the number of bytes held by `by`. Returns False if that is too many."""
        with self._lock:
            if self._closed:
                return True
            before, self.size = self.size, self.size + by
            if before <= self.all_held.own >= self.size:
                return True  # as nearly always, and without the lock that all connections share
            return self.all_held.change(before, self.size)

    def close(self) -> None:
        """Release all bytes: the connection has ended."""
        with self._lock:
            self._closed = True
            self.all_held.change(self.size, 0)
            self.size = 0
