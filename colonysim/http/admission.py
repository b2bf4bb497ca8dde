"""Limits the number of connections of a server, and chooses which one a new connection replaces."""

from __future__ import annotations

import threading
from typing import Generic, TypeVar

C = TypeVar("C")


class AllBusy(Exception):
    """Every connection is serving a request, so no other can be accepted."""


class Admission(Generic[C]):
    """The connections of a server, at most `limit`. Thread-safe.

    A connection waits for a request or is busy with one. A new connection above the limit replaces the connection
    that has waited longest without ever sending a request, or else the one that has been idle longest. A busy
    connection is never replaced, because its client could not learn whether the request took effect.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._lock = threading.Lock()
        self._unproven: dict[C, None] = {}  # no whole request received yet, oldest first
        self._idle: dict[C, None] = {}  # between two requests, oldest first
        self._busy: set[C] = set()

    def __len__(self) -> int:
        return len(self._unproven) + len(self._idle) + len(self._busy)

    def admit(self, connection: C) -> C | None:
        """Add a new connection; return the one to close for it, if any. Raises AllBusy if all are busy."""
        with self._lock:
            leaves = None
            if len(self) >= self.limit and (leaves := self._longest()) is None:
                raise AllBusy
            self._unproven[connection] = None
            return leaves

    def make_room(self) -> C | None:
        """Remove the connection that would be replaced next, and return it; None if all are busy or there is none."""
        with self._lock:
            return self._longest()

    def _longest(self) -> C | None:
        for waiting in (self._unproven, self._idle):
            if waiting:
                longest = next(iter(waiting))
                del waiting[longest]
                return longest
        return None

    def begin_request(self, connection: C) -> bool:
        """Mark a connection as busy. Returns False if it has been replaced already."""
        with self._lock:
            for waiting in (self._idle, self._unproven):
                if connection in waiting:
                    del waiting[connection]
                    self._busy.add(connection)
                    return True
            return False

    def end_request(self, connection: C) -> None:
        """Mark a connection as idle: its request has been answered."""
        with self._lock:
            if connection in self._busy:
                self._busy.remove(connection)
                self._idle[connection] = None

    def remove(self, connection: C) -> None:
        """Remove a connection that has been closed."""
        with self._lock:
            self._unproven.pop(connection, None)
            self._idle.pop(connection, None)
            self._busy.discard(connection)
