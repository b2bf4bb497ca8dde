"""Limits: each limit on running or waiting takes effect in time, and not too early."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from colonysim.core.history import Transition
from colonysim.core.protocol import Delivery
from colonysim.core.records import FAILED, NEW, RUNNING, SUCCESS, WAITING
from colonysim.core.wording import show_count, show_limit
from colonysim.invariants.deadlines import Deadline
from colonysim.invariants.invariant import Invariant, built_in
from colonysim.invariants.ledger import Ledger, ProcessRecord
from colonysim.kernel.clock import show_time

_SECOND_NS: Final = 1_000_000_000
_SCAN_LIMIT: Final = 1000
"""Quirk: the release loop examines only this many waiting processes, the first in order, and may miss the others
(docs/protocol/b-processes.md 5.5)."""
_BEYOND_SCAN_LIMIT: Final = -1


@built_in
class TimeLimits(Invariant):
    """Limits on execution and waiting. The release loop enforces them once a second, and compares whole seconds."""

    def __init__(self, ledger: Ledger) -> None:
        super().__init__(ledger)
        self.phase_ns = self.world.started_ns % _SECOND_NS
        self.due: dict[int, dict[str, ProcessRecord]] = {}  # by the second of the run that must find them
        self.runs: dict[int, Deadline] = {}
        self.beyond_scan_limit: dict[str, ProcessRecord] = {}  # overdue, but perhaps not examined by the loop
        self._most_runs = 1024
        self.crowded_ns = -1  # when too many waited last
        for record in ledger.records.values():
            limits, process = record.process.spec, record.process
            if record.state in (WAITING, RUNNING) and limits.maxwaittime not in (0, -1):
                record.wait_ns = process.wait_deadline_ns  # a running one may wait again
            if record.state == RUNNING and limits.maxexectime != -1:
                self._watch(record, process.exec_deadline_ns, self.world.now_ns)
            elif record.state == WAITING and limits.maxwaittime not in (0, -1):
                self._watch(record, record.wait_ns, self.world.now_ns)

    def moved(self, step: Transition, record: ProcessRecord) -> None:
        """Drop the limit of the previous state, and watch that of the new one."""
        now_ns, new = step.now_ns, step.new
        if second := record.watched:
            records = self.beyond_scan_limit if second == _BEYOND_SCAN_LIMIT else self.due[second]
            del records[step.process_id]
            record.watched = 0
        if new == SUCCESS:
            return
        if new == RUNNING:
            limit_s = record.process.spec.maxexectime
            if limit_s > 0:
                self._watch(record, now_ns + limit_s * _SECOND_NS, now_ns)
            elif limit_s != -1:  # Quirk: any other limit has passed immediately
                self._watch(record, 0, now_ns)
        elif new == WAITING:
            limit_s = record.process.spec.maxwaittime
            if limit_s not in (0, -1):
                if step.old == NEW or step.cause == "timeout":
                    record.wait_ns = now_ns + limit_s * _SECOND_NS if limit_s > 0 else 0
                self._watch(record, record.wait_ns, now_ns)
            if step.cause == "timeout":
                self._not_early(step, record, "maxexectime")
        elif new == FAILED:
            if step.cause == "ran too long":
                self._not_early(step, record, "maxexectime")
                if not -1 < record.process.spec.maxretries <= record.retries:
                    raise self.ledger.violation(
                        step.process_id, f"failed after {show_count(record.retries, 'retry')}, with some left"
                    )
            elif step.cause == "waited too long":
                self._not_early(step, record, "maxwaittime")
        if self.ledger.waiting >= _SCAN_LIMIT:
            self.crowded_ns = now_ns

    def _watch(self, record: ProcessRecord, limit_ns: int, now_ns: int) -> None:
        """Expect the first run in a later whole second to find it, or the next run if the limit has passed."""
        second = (limit_ns + 500) // _SECOND_NS + 1  # limits are kept to the microsecond
        if limit_ns < now_ns:
            second = max(second, (now_ns - self.phase_ns) // _SECOND_NS + 1)
        record.watched = second
        due = self.due.get(second)
        if due is None:
            due = self._run(second)
        due[record.process_id] = record

    def _run(self, second: int) -> dict[str, ProcessRecord]:
        """Expect a run of the loop that must find something. Runs that need not are dropped from time to time."""
        if len(self.due) >= self._most_runs:
            for idle in [other for other, records in self.due.items() if not records]:
                del self.due[idle]
                self.deadlines.drop(self.runs.pop(idle))
            self._most_runs = 2 * len(self.due) + 1024
        due = self.due[second] = {}
        self.runs[second] = self.deadlines.add(second * _SECOND_NS + self.phase_ns, self._passed, second)
        return due

    def _not_early(self, step: Transition, record: ProcessRecord, name: str) -> None:
        spec = record.process.spec
        limit_s = spec.maxexectime if name == "maxexectime" else spec.maxwaittime
        none = (-1,) if name == "maxexectime" else (0, -1)
        limit_ns = self._ran_until(record, step) if name == "maxexectime" else record.wait_ns
        if limit_s in none or step.now_ns // _SECOND_NS <= (limit_ns + 500) // _SECOND_NS:
            what = f"was ended by its {name} of {show_limit(limit_s)} before that was over"
            raise self.ledger.violation(step.process_id, what)

    def _ran_until(self, record: ProcessRecord, step: Transition) -> int:
        started_ns = next((one.now_ns for one in reversed(record.story) if one.new == RUNNING), 0)
        return started_ns + max(record.process.spec.maxexectime, 0) * _SECOND_NS

    # ------------------------------------------------------------ missed limits
    def _passed(self, second: int) -> None:
        """Check that a run of the loop has found all that it should."""
        run_ns = self.runs.pop(second).latest_ns
        if self.ledger.waiting > _SCAN_LIMIT:
            self.crowded_ns = self.world.now_ns
        for record in self.due.pop(second).values():
            if record.state == RUNNING or run_ns > self.crowded_ns:
                raise self._missed(record)
            record.watched = _BEYOND_SCAN_LIMIT
            self.beyond_scan_limit[record.process_id] = record
            self.request_check()

    def after_step(self, deliveries: Sequence[Delivery]) -> None:
        """Check the processes that the loop could not reach, once fewer wait."""
        self.checks_after_step = bool(self.beyond_scan_limit)
        if (
            self.beyond_scan_limit
            and self.ledger.waiting <= _SCAN_LIMIT
            and self._next_run(self.crowded_ns) < self.world.now_ns
        ):
            raise self._missed(next(iter(self.beyond_scan_limit.values())))

    def _next_run(self, after_ns: int) -> int:
        second = (after_ns - self.phase_ns) // _SECOND_NS + 1
        return second * _SECOND_NS + self.phase_ns

    def _missed(self, record: ProcessRecord) -> Exception:
        spec = record.process.spec
        runs = record.state == RUNNING
        limit = (
            f"maxexectime of {show_limit(spec.maxexectime)}"
            if runs
            else f"maxwaittime of {show_limit(spec.maxwaittime)}"
        )
        what = f"still {'runs' if runs else 'waits'} at {show_time(self.world.now_ns)}, past its {limit}"
        return self.ledger.violation(record.process_id, what)
