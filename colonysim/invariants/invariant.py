"""What all invariants have in common."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from colonysim.core.history import Assignment, Transition
from colonysim.core.protocol import Delivery
from colonysim.invariants.ledger import Book, Ledger


class Invariant:
    """One thing that must hold whatever happens, with the books that it needs.

    It reads what has happened, entry by entry. Books that begin in the middle of a history take over the tables
    of the world as they are, but none of the core's indexes and counters. Each entry may cost O(1), or O(log n)
    where an order is kept. All methods raise InvariantViolation for what must not be.
    """

    stirred = False

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger
        self.world = ledger.world

    def reads(self) -> dict[type, Callable[[Any], None]]:
        """What to call for each kind of entry, Transition and Assignment apart: they have methods of their own."""
        return {}

    def moved(self, step: Transition, book: Book) -> None:
        """A process that the ledger knows has come into a state."""

    def assigned(self, entry: Assignment, book: Book) -> None:
        """A process that the ledger knows has been given to somebody who asked for work."""

    def stir(self) -> None:
        """Have `step_over` called at the end of the step, and of each further one while it leaves `stirred` set."""
        if not self.stirred:
            self.stirred = True
            self.ledger.stirred.append(self)

    def step_over(self, deliveries: Sequence[Delivery]) -> None:
        """All that one step has brought about has been read; `deliveries` are what came out of it."""

    def agree(self) -> None:
        """Compare the core's tables, indexes and agenda with the books; O(what waits and runs), so called seldom."""
