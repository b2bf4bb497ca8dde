"""The errors that report a broken invariant."""

from __future__ import annotations

from typing import ClassVar


class InvariantViolation(AssertionError):
    """The simulation did what it must never do. The text tells the story of what it happened to."""

    name: ClassVar[str] = "invariant"


class ServerRaised(InvariantViolation):
    """The simulated server raised an exception, which is the cause. It must answer whatever it is sent."""

    name: ClassVar[str] = "server raised"


class TablesUnreadable(InvariantViolation):
    """The server's tables are so wrong that comparing them with the records raised an exception, which is the cause."""

    name: ClassVar[str] = "tables unreadable"
