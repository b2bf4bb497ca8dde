"""The base class of invariants, and the list of those that come with colonysim."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, Self, TypeAlias, TypeVar

from colonysim.core.history import Assignment, Transition
from colonysim.core.protocol import Delivery, Message, Request
from colonysim.invariants.ledger import Ledger, ProcessRecord

Look: TypeAlias = Callable[[Request, Sequence[Delivery]], None]
"""Checks a request and the deliveries of its step."""


class Invariant:
    """A property that must hold in every run, with records of its own.

    It reads the history, entry by entry. Records that start in the middle of a history are filled from the tables of
    the world, but from none of the core's indexes and counters. Each entry may cost O(1), or O(log n) to keep an order.
    All methods raise InvariantViolation if the property does not hold; `self.ledger.violation` creates one with the
    timeline of a process.

    `Simulation(invariants=[Own])` checks a subclass of your own beside those of colonysim; so do scenarios.
    """

    checks_after_step = False
    rare = False
    """Whether `moved` and `assigned` do nothing for most processes, so that for speed they may be left out.

    They are then called only for special records, and `moved` also while calls are parked, or while there are functions
    or subscriptions. Only for invariants of colonysim.
    """

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger
        self.world = ledger.world
        self.deadlines = ledger.deadlines

    @classmethod
    def of(cls, ledger: Ledger) -> Self:
        """Return the invariant of this class for the world of a ledger. It is created if there is none yet."""
        found: Self | None = ledger.invariants.get(cls)
        if found is None:
            found = ledger.invariants[cls] = cls(ledger)
        return found

    def reads(self) -> dict[type, Callable[[Any], None]]:
        """Return what to call for each kind of entry, except Transition and Assignment, which have own methods."""
        return {}

    def looks(self) -> dict[type[Message], Look]:
        """Return what to call with each request of a type, and with the deliveries of its step.

        Only for invariants of colonysim.
        """
        return {}

    def moved(self, step: Transition, record: ProcessRecord) -> None:
        """Read a change of state of a process; `record` is that of the ledger."""

    def assigned(self, entry: Assignment, record: ProcessRecord) -> None:
        """Read an assignment of a process; `record` is that of the ledger."""

    def request_check(self) -> None:
        """Have `after_step` called after this step, and after further ones while it keeps `checks_after_step` set."""
        if not self.checks_after_step:
            self.checks_after_step = True
            self.ledger.to_check_after_step.append(self)

    def after_step(self, deliveries: Sequence[Delivery]) -> None:
        """Check a step whose history has been read completely; `deliveries` are its results."""

    def agree(self) -> None:
        """Compare tables, indexes and agenda with the records. Linear in what waits and runs, so called rarely."""


BUILT_IN: Final[list[type[Invariant]]] = []
"""The invariants of colonysim, which are always checked."""

T = TypeVar("T", bound=type[Invariant])


def built_in(kind: T) -> T:
    """Register an invariant of colonysim."""
    BUILT_IN.append(kind)
    return kind


OwnKinds = Sequence[type[Invariant]]


def is_invariant(thing: Any) -> bool:
    """Whether a thing is a subclass of `Invariant`."""
    return isinstance(thing, type) and issubclass(thing, Invariant) and thing is not Invariant


def own_kinds(invariants: bool | OwnKinds) -> OwnKinds:
    """Return the classes among what was given for `invariants`. Raises ValueError for anything else."""
    if isinstance(invariants, bool):
        return ()
    if not isinstance(invariants, (list, tuple)):
        raise ValueError(f"invalid invariants={invariants!r}: expected True, False or a list of classes")
    for place, kind in enumerate(invariants):
        if not is_invariant(kind):
            raise ValueError(f"invalid invariants[{place}]={kind!r}: expected a subclass of Invariant")
    return tuple(invariants)
