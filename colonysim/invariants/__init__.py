"""The invariants: properties that hold in every run, checked after each step against records of their own.

They read the core's history and its deliveries, never the indexes, ranks and counters that the core works with, so they
find errors in those. Each costs O(1) for each entry of the history, or O(log n) to keep an order. All tables are
compared with the records each time the number of entries has exceeded a multiple of the size of the tables.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

from colonysim.core.history import Assignment, Transition
from colonysim.core.protocol import Delivery, Request
from colonysim.core.records import WAITING, Process
from colonysim.core.world import World
from colonysim.invariants import agreement, channels, functions, graphs, recurring, retention, subscriptions
from colonysim.invariants.access import Access
from colonysim.invariants.executors import Executors
from colonysim.invariants.invariant import BUILT_IN, Invariant, Look
from colonysim.invariants.ledger import Ledger
from colonysim.invariants.limits import TimeLimits
from colonysim.invariants.order import Order
from colonysim.invariants.polls import Polls
from colonysim.invariants.violation import InvariantViolation, ServerRaised, TablesUnreadable

__all__ = ["Invariant", "InvariantViolation", "Invariants", "ServerRaised", "TablesUnreadable"]

MODULES: Final = (agreement, channels, functions, graphs, recurring, retention, subscriptions)
"""Modules of invariants that nothing here names. Importing them registers their classes."""

_LOOK_AT_LEAST_EVERY: Final = 1000  # entries of the history


class Invariants:
    """All invariants of one world. One pass over the history serves them all."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.ledger: Final = Ledger(world)
        self.deadlines: Final = self.ledger.deadlines
        self._look_at = _LOOK_AT_LEAST_EVERY
        self._happened = 0
        self._tables: list[dict[str, Process]] = []  # of processes by state, as `_count` has last found them
        self.all: Final = tuple(kind.of(self.ledger) for kind in BUILT_IN)
        # These four are called by name in `check`, for speed.
        self._limits, self._order = TimeLimits.of(self.ledger), Order.of(self.ledger)
        self._polls, self._executors = Polls.of(self.ledger), Executors.of(self.ledger)
        others = [each for each in self.all if each not in (self._limits, self._order)]
        moved = [each for each in others if type(each).moved is not Invariant.moved]
        assigned = [each for each in others if type(each).assigned is not Invariant.assigned]
        self._moved, self._assigned = [each.moved for each in moved], [each.assigned for each in assigned]
        self._read_all = not all(each.rare for each in moved + assigned)
        access = Access.of(self.ledger)
        self._known, self._access_asked = access.known, access.asked
        self._readers: dict[type, list[Callable[[Any], None]]] = {}
        for each in self.all:
            for kind, read in each.reads().items():
                self._readers.setdefault(kind, []).append(read)
            for asked, look in each.looks().items():
                access.further[asked] = _both(access.further[asked], look) if asked in access.further else look
        world.history = []

    def check(self, deliveries: Sequence[Delivery] = (), request: Request | None = None) -> None:
        """Check a step: the history since the last check, and its deliveries. Raises InvariantViolation.

        `request` is the request that caused the step, if any.
        """
        world, ledger, polls = self.world, self.ledger, self._polls
        try:
            if happened := world.history:
                world.history = []
                self._happened += len(happened)
                entry: Any
                for entry in happened:
                    kind = type(entry)
                    if kind is Transition:
                        if (record := ledger.moved(entry)) is not None:
                            self._limits.moved(entry, record)
                            if record.place is not None or entry.new == WAITING or self._order.counts_use:
                                self._order.moved(entry, record)
                            if (
                                record.special or polls.parked or world.functions or world.subscriptions.any
                                or self._read_all
                            ):  # fmt: skip
                                for moved in self._moved:
                                    moved(entry, record)
                    elif kind is Assignment:
                        if (record := ledger.records.get(entry.process_id)) is not None:
                            self._order.assigned(entry, record)
                            polls.given[entry.process_id] = entry.demand
                            self._executors.heard(entry)
                            if record.special or self._read_all:
                                for assigned in self._assigned:
                                    assigned(entry, record)
                    elif (reading := self._readers.get(kind)) is not None:
                        for read in reading:
                            read(entry)
            if request is not None:
                kinds = self._known.get(request.caller_id)
                look = self._access_asked if kinds is None else kinds.get(type(request.message), self._access_asked)
                if look is not None:
                    look(request, deliveries)
            if polls.given and not polls.checks_after_step:
                polls.answers(deliveries)
            if ledger.to_check_after_step or ledger.requeued:
                self._step_over(deliveries)
            present = sum(map(len, self._tables))
            if present != len(world.processes) or present != ledger.submitted - ledger.removed:
                self._count()
            if self.deadlines.next_ns < world.now_ns:
                self.deadlines.report_missed(world.now_ns)
            if self._happened > self._look_at:
                self._happened = 0
                self._agree()
        except InvariantViolation:
            raise
        except Exception as error:
            raise _unreadable(error) from error

    def _step_over(self, deliveries: Sequence[Delivery]) -> None:
        """Call `after_step` of the invariants that requested it, and check what requeued processes show."""
        ledger = self.ledger
        if ledger.to_check_after_step:
            for each in ledger.to_check_after_step:
                each.after_step(deliveries)
            ledger.to_check_after_step = [each for each in ledger.to_check_after_step if each.checks_after_step]
        requeued, ledger.requeued = ledger.requeued, []
        if not requeued:
            return
        from colonysim.invariants.shown_records import RecordComparison

        comparison = RecordComparison(self.ledger)
        for record in requeued:
            if record.state == WAITING:
                comparison.process(record)

    def _count(self) -> None:
        """Count the processes in all tables of states, also in those of new colonies. Errors: InvariantViolation."""
        world, ledger = self.world, self.ledger
        self._tables = [table for tables in world.by_state.values() for table in tables]
        present = sum(map(len, self._tables))
        if present != len(world.processes) or present != ledger.submitted - ledger.removed:
            raise ledger.lost(present)

    def at_rest(self) -> None:
        """Compare all tables with the records, between two steps. Raises InvariantViolation."""
        from colonysim.invariants.shown_records import RecordComparison  # not needed before the end

        try:
            if self.world.history:  # outside of a step, as when a client disconnects
                self.check()
            self._agree()
            RecordComparison(self.ledger).compare()
        except InvariantViolation:
            raise
        except Exception as error:
            raise _unreadable(error) from error

    def _agree(self) -> None:
        self._count()
        world = self.world
        size = self.ledger.waiting + len(world.agenda) + len(world.graphs) + len(world.executors)
        self._look_at = max(_LOOK_AT_LEAST_EVERY, 4 * size)
        for each in self.all:
            each.agree()

    def story(self, process_id: str) -> str:
        """Return the timeline of a process, in lines."""
        return self.ledger.story(process_id)

    def last_cause(self, process_id: str) -> str:
        """Return the cause of a process's last change of state; "" if it is not known."""
        record = self.ledger.records.get(process_id)
        return record.story[-1].cause if record is not None and record.story else ""


def _both(first: Look, second: Look) -> Look:
    def look(request: Request, deliveries: Sequence[Delivery]) -> None:
        first(request, deliveries)
        second(request, deliveries)

    return look


def _unreadable(error: Exception) -> TablesUnreadable:
    return TablesUnreadable(f"the tables cannot be compared with the records: {type(error).__name__}: {error}")
