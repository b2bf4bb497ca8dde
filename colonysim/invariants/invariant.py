"""What all invariants have in common."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from colonysim.core.history import Assignment, Transition
from colonysim.core.protocol import Delivery
from colonysim.invariants.ledger import Ledger, ProcessRecord


class Invariant:
    """A property that must hold in every run, with records of its own.

    It reads what has happened, entry by entry. Records that begin in the middle of a history take over the tables
    of the world as they are, but none of the core's indexes and counters. Each entry may cost O(1), or O(log n)
    where an order is kept. All methods raise InvariantViolation for what must not be; `self.ledger.violation` makes one
    with the timeline of a process.

    `Simulation(invariants=[Own])` checks a subclass of your own beside those of colonysim; so do scenarios.
    """

    checks_after_step = False

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger
        self.world = ledger.world

    def reads(self) -> dict[type, Callable[[Any], None]]:
        """What to call for each kind of entry, Transition and Assignment apart: they have methods of their own."""
        return {}

    def moved(self, step: Transition, record: ProcessRecord) -> None:
        """A process that the ledger knows has come into a state."""

    def assigned(self, entry: Assignment, record: ProcessRecord) -> None:
        """A process that the ledger knows has been given to somebody who asked for work."""

    def request_check(self) -> None:
        """Have `after_step` called after this step, and after further ones while it keeps `checks_after_step` set."""
        if not self.checks_after_step:
            self.checks_after_step = True
            self.ledger.to_check_after_step.append(self)

    def after_step(self, deliveries: Sequence[Delivery]) -> None:
        """All that one step has brought about has been read; `deliveries` are what came out of it."""

    def agree(self) -> None:
        """Compare the core's tables, indexes and agenda with the records; O(what waits and runs), so called seldom."""


OwnKinds = Sequence[type[Invariant]]


def is_invariant(thing: Any) -> bool:
    """Whether a thing is a subclass of `Invariant`."""
    return isinstance(thing, type) and issubclass(thing, Invariant) and thing is not Invariant


def own_kinds(invariants: bool | OwnKinds) -> OwnKinds:
    """Return the classes among what was given for `invariants`. Errors: ValueError for anything else."""
    if isinstance(invariants, bool):
        return ()
    if not isinstance(invariants, (list, tuple)):
        raise ValueError(f"invalid invariants={invariants!r}: expected True, False or a list of classes")
    for place, kind in enumerate(invariants):
        if not is_invariant(kind):
            raise ValueError(f"invalid invariants[{place}]={kind!r}: expected a subclass of Invariant")
    return tuple(invariants)
