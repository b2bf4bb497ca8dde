"""The errors that report a broken invariant."""

from __future__ import annotations

from typing import ClassVar


class InvariantViolation(AssertionError):
    """An invariant does not hold. The text has the timeline of the process concerned."""

    name: ClassVar[str] = "invariant"


class ServerRaised(InvariantViolation):
    """The simulated server raised an exception (`__cause__`), although it must answer every request."""

    name: ClassVar[str] = "server raised"


class TablesUnreadable(InvariantViolation):
    """The server's tables are so wrong that comparing them raised an exception (`__cause__`)."""

    name: ClassVar[str] = "tables unreadable"
