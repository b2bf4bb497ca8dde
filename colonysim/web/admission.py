"""Which connections a server keeps where there are more than it may have: a bound, and who goes for a new one."""

from __future__ import annotations

import threading
from typing import Generic, TypeVar

C = TypeVar("C")


class Full(Exception):
    """Every connection is busy with a request, so there is no place for another one."""


class Admission(Generic[C]):
    """The connections of a server, at most `limit`. May be used by several threads.

    A connection waits for a request or is busy with one. For a new one above the limit, the one goes that has waited
    longest without ever having sent a request, or else the one that has been idle for longest. A connection whose
    request has begun to take effect never goes: its client would not learn of it.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._lock = threading.Lock()
        self._unproven: dict[C, None] = {}  # never sent a whole request, longest first
        self._idle: dict[C, None] = {}  # between two requests, longest first
        self._busy: set[C] = set()

    def __len__(self) -> int:
        return len(self._unproven) + len(self._idle) + len(self._busy)

    def admit(self, connection: C) -> C | None:
        """Take in a new connection; return the one that has to be closed for it, if any. Errors: Full."""
        with self._lock:
            leaves = None
            if len(self) >= self.limit and (leaves := self._longest()) is None:
                raise Full
            self._unproven[connection] = None
            return leaves

    def make_room(self) -> C | None:
        """Give up the connection that goes first, and return it; None where all are busy or there is none."""
        with self._lock:
            return self._longest()

    def _longest(self) -> C | None:
        for waiting in (self._unproven, self._idle):
            if waiting:
                longest = next(iter(waiting))
                del waiting[longest]
                return longest
        return None

    def begin(self, connection: C) -> bool:
        """A request has come: its connection stays until it rests. False where it has been given up before."""
        with self._lock:
            for waiting in (self._idle, self._unproven):
                if connection in waiting:
                    del waiting[connection]
                    self._busy.add(connection)
                    return True
            return False

    def rest(self, connection: C) -> None:
        """Its request has been answered: it waits for the next."""
        with self._lock:
            if connection in self._busy:
                self._busy.remove(connection)
                self._idle[connection] = None

    def leave(self, connection: C) -> None:
        """It has been closed."""
        with self._lock:
            self._unproven.pop(connection, None)
            self._idle.pop(connection, None)
            self._busy.discard(connection)
