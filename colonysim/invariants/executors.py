"""Executors: those silent for too long are unregistered in time, none too early, and none keeps its processes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import msgspec

from colonysim.core import registration
from colonysim.core.events import Cleanup
from colonysim.core.history import Assignment, AssignTried, Enrolled, Unregistered
from colonysim.core.records import SECOND_NS, UNREGISTERED
from colonysim.core.storage import unparsable
from colonysim.core.types import ZERO_TIME_NS
from colonysim.invariants.deadlines import Deadline
from colonysim.invariants.invariant import Invariant, built_in
from colonysim.invariants.ledger import Ledger
from colonysim.invariants.violation import InvariantViolation
from colonysim.kernel.clock import show_time

_Key = tuple[str, str]


class _ExecutorRecord(msgspec.Struct, eq=False):
    """An executor, by colony and name, and when it last gave a sign of life."""

    key: _Key
    executor_id: str
    heard_ns: int
    deadline: Deadline | None = None


@built_in
class Executors(Invariant):
    """Checks the clean-up of stale executors. Any assign call is a sign of life.

    Source: docs/protocol/b-processes.md 4.6, 5.7.
    """

    def __init__(self, ledger: Ledger) -> None:
        super().__init__(ledger)
        settings = self.world.settings
        self.period_ns: Final = settings.cleanup_interval_s * SECOND_NS
        self.stale_ns: Final = settings.stale_executor_duration_s * SECOND_NS
        self.records: dict[_Key, _ExecutorRecord] = {}
        self.by_id: dict[str, list[_ExecutorRecord]] = {}
        self.unreadable: dict[_Key, None] = {}  # executors with unreadable names
        for executor in self.world.executors.values():
            now_ns, heard_ns = self.world.now_ns, registration.heard_ns(self.world, executor)
            self.enrolled(Enrolled(now_ns, executor.colony, executor.name, executor.executor_id, heard_ns))

    def reads(self) -> dict[type, Callable[[Any], None]]:
        return {
            AssignTried: self.heard,
            Enrolled: self.enrolled,
            Unregistered: self.unregistered,
        }

    def heard(self, entry: Assignment | AssignTried) -> None:
        """Note a sign of life, for all names of the executor's id."""
        for record in self.by_id.get(entry.demand.executor_id, ()):
            record.heard_ns = entry.now_ns
            if record.deadline is None:
                self._expect(record, entry.now_ns)

    def enrolled(self, entry: Enrolled) -> None:
        key = entry.colony, entry.name
        record = self.records.get(key)
        if record is None:
            record = self.records[key] = _ExecutorRecord(key, entry.executor_id, ZERO_TIME_NS)
            self.by_id.setdefault(entry.executor_id, []).append(record)
            if unparsable(entry.name, entry.colony):
                self.unreadable[key] = None
        elif record.executor_id != entry.executor_id:
            self.by_id[record.executor_id].remove(record)
            if not self.by_id[record.executor_id]:
                del self.by_id[record.executor_id]
            record.executor_id = entry.executor_id
            self.by_id.setdefault(entry.executor_id, []).append(record)
        if entry.heard_ns is not None:
            record.heard_ns = entry.heard_ns
        if record.heard_ns != ZERO_TIME_NS:
            self._expect(record, entry.now_ns)
        else:  # it is registered anew, and what it did before does not count
            self.deadlines.drop(record.deadline)
            record.deadline = None

    def _expect(self, record: _ExecutorRecord, now_ns: int) -> None:
        """Return when the first clean-up after it has become stale must find it."""
        self.deadlines.drop(record.deadline)
        record.deadline = self.deadlines.add(self._look_after(record, now_ns), self._passed, record)

    def _look_after(self, record: _ExecutorRecord, now_ns: int) -> int:
        stale_ns = max(record.heard_ns + self.stale_ns, now_ns)
        looks = (stale_ns - self.world.started_ns) // self.period_ns + 1
        return self.world.started_ns + looks * self.period_ns

    def _passed(self, record: _ExecutorRecord) -> None:
        """Check an executor that must be stale now, unless it has given a sign of life since."""
        assert record.deadline is not None
        run_ns, record.deadline = record.deadline.latest_ns, None
        executor = self.world.executors.get(record.key)
        if executor is None:  # its colony was removed
            self._forget(record)
        elif executor.state == UNREGISTERED or record.heard_ns == ZERO_TIME_NS:
            return
        elif record.heard_ns + self.stale_ns >= run_ns:
            self._expect(record, run_ns)
        elif self.unreadable:  # Quirk: one such name stops the clean-up of all executors until its colony is removed
            self.unreadable = {key: None for key in self.unreadable if key in self.world.executors}
            self._expect(record, self.world.now_ns)
        else:
            raise self._violation(record, f"is registered at {show_time(self.world.now_ns)}, last heard of at")

    def agree(self) -> None:
        """Check that one clean-up is on the agenda, in time for the first executor that may become stale."""
        world = self.world
        planned = [due_ns for due_ns, _, event in world.agenda.entries() if isinstance(event, Cleanup)]
        due_ns = None if world.cleanup is None else world.cleanup[1]
        if planned != ([] if due_ns is None else [due_ns]):
            raise InvariantViolation(f"clean-ups of executors are planned for {planned}, not for {due_ns}")
        for record in () if self.unreadable else self.records.values():
            executor = world.executors.get(record.key)
            if executor is None or executor.state == UNREGISTERED or record.deadline is None:
                continue
            latest_ns = self._look_after(record, world.now_ns)
            if due_ns is None or due_ns > max(latest_ns, record.deadline.latest_ns):
                raise self._violation(record, "may be found stale too late: it was last heard of at")

    def _forget(self, record: _ExecutorRecord) -> None:
        del self.records[record.key]
        self.by_id[record.executor_id].remove(record)
        if not self.by_id[record.executor_id]:
            del self.by_id[record.executor_id]

    def unregistered(self, entry: Unregistered) -> None:
        """Check that an executor was not unregistered as stale too early, and runs nothing any more."""
        record = self.records.get((entry.colony, entry.name))
        if record is None:
            return
        if entry.stale and record.heard_ns + self.stale_ns >= entry.now_ns:
            raise self._violation(record, f"was unregistered as stale at {show_time(entry.now_ns)}, last heard of at")
        for process_id in self.ledger.held.get(record.executor_id, ()):
            raise self.ledger.violation(process_id, f"is still assigned to {entry.name}, which is no longer registered")

    def _violation(self, record: _ExecutorRecord, what: str) -> InvariantViolation:
        colony, name = record.key
        return InvariantViolation(f"executor {name!r} of colony {colony!r} {what} {show_time(record.heard_ns)}")
