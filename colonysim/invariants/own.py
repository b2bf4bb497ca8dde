"""Users' own invariants: subclasses of `Invariant`, checked after each step beside those of colonysim."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

from colonysim.core.history import Assignment, Entry, Transition
from colonysim.core.protocol import Delivery, Request
from colonysim.core.world import World
from colonysim.extensions import BadCode, Registry, error_line, reference
from colonysim.invariants import Invariant, Invariants, InvariantViolation
from colonysim.invariants.invariant import OwnKinds, is_invariant

INVARIANTS: Final[Registry[type[Invariant]]] = Registry(
    "invariants", "subclass of Invariant", "invariants", is_invariant
)
"""Users' own invariants by name: those of installed packages, and code named in a scenario."""


class InvariantsWithOwn(Invariants):
    """The invariants of one world, and a user's own, which see each step after the others have passed it.

    Their methods get the `record` of a process as it is after the step. `after_step` is called after each step, and
    `agree` when the simulation is checked as a whole.
    """

    def __init__(self, world: World, kinds: OwnKinds) -> None:
        super().__init__(world)
        self.own: list[tuple[str, Invariant, dict[type, Callable[[Any], None]]]] = []
        for kind in kinds:
            with _naming(reference(kind)):
                one = kind(self.ledger)
                self.own.append((reference(kind), one, one.reads()))

    def check(self, deliveries: Sequence[Delivery] = (), request: Request | None = None) -> None:
        happened = self.world.history or []
        super().check(deliveries, request)
        for name, one, reads in self.own:
            with _naming(name):
                self._show(one, reads, happened)
                one.after_step(deliveries)

    def _show(self, one: Invariant, reads: dict[type, Any], happened: list[Entry]) -> None:
        records = self.ledger.records
        for entry in happened:
            if type(entry) in reads:
                reads[type(entry)](entry)
            if isinstance(entry, (Transition, Assignment)) and (record := records.get(entry.process_id)) is not None:
                if isinstance(entry, Transition):
                    one.moved(entry, record)
                else:
                    one.assigned(entry, record)

    def at_rest(self) -> None:
        happened = self.world.history or []
        super().at_rest()
        for name, one, reads in self.own:
            with _naming(name):
                self._show(one, reads, happened)
                one.agree()


@contextmanager
def _naming(name: str) -> Iterator[None]:
    """Name the invariant of a user that raises an exception. Raises BadCode, or the InvariantViolation itself."""
    try:
        yield
    except InvariantViolation:
        raise
    except Exception as error:
        raise BadCode(f"invariant {name} raises {error_line(error)}") from error
