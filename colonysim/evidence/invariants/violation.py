"""How a broken invariant is told."""

from __future__ import annotations


class InvariantViolation(AssertionError):
    """The simulation did what it must never do. The text tells the story of what it happened to."""
