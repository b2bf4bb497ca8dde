"""Crons and generators: neither skip nor double, and no argument is lost."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

import msgspec

from colonysim.core.history import (
    ArgumentsPacked,
    CronArmed,
    CronIdle,
    CronRan,
    GeneratorFired,
    SourceRemoved,
    SourceStalled,
)
from colonysim.core.protocol import Delivery
from colonysim.core.records import FAILED, SECOND_NS, SUCCESS, Cron, Generator
from colonysim.core.recurring import CHECK_DELAY_NS
from colonysim.core.types import ZERO_TIME_NS
from colonysim.core.wording import show_span
from colonysim.invariants.deadlines import Deadline
from colonysim.invariants.invariant import Invariant, built_in
from colonysim.invariants.ledger import Ledger
from colonysim.invariants.violation import InvariantViolation
from colonysim.kernel.clock import show_time

_MILLISECOND_NS: Final = 1_000_000


class _CronRecord(msgspec.Struct, eq=False):
    """When a cron should run next; None while it is stalled or has nothing to wait for."""

    cron: Cron
    due_ns: int | None = None
    deadline: Deadline | None = None
    ran_ns: int = ZERO_TIME_NS
    graph_id: str = ""  # what it started last, or what its client named
    first_look: bool = False  # whether it waits for a look that computes its next run and forgets `graph_id`


@built_in
class Crons(Invariant):
    """Works out for itself when crons must run."""

    def __init__(self, ledger: Ledger) -> None:
        super().__init__(ledger)
        self.slack_ns: Final = self.world.settings.cron_checker_period_ms * _MILLISECOND_NS + CHECK_DELAY_NS
        self.records: dict[str, _CronRecord] = {}
        for cron in self.world.crons.values():
            self.records[cron.cron_id] = _CronRecord(cron, None, None, cron.last_run_ns, cron.previous_graph_id)
            if cron.cron_id not in self.world.stalled:
                self.armed(CronArmed(self.world.now_ns, cron.cron_id, cron.next_run_ns))

    def reads(self) -> dict[type, Callable[[Any], None]]:
        return {
            CronArmed: self.armed,
            CronIdle: self.idle,
            CronRan: self.ran,
            SourceStalled: self.stalled,
            SourceRemoved: self.gone,
        }

    def armed(self, step: CronArmed) -> None:
        """It runs at a time, at an interval from its last run where it has one; or that is found out next."""
        record = self.records.get(step.cron_id)
        if record is None:
            cron = self.world.crons.get(step.cron_id)
            if cron is None:  # came and went within one step
                return
            record = self.records[step.cron_id] = _CronRecord(cron, graph_id=cron.previous_graph_id)
        self._disarm(record)
        if record.ran_ns == step.now_ns and record.cron.interval_s > 0:
            expected_ns = step.now_ns + record.cron.interval_s * SECOND_NS
            if step.next_run_ns != expected_ns:
                what = f"runs next at {show_time(step.next_run_ns)}, not after its interval at {show_time(expected_ns)}"
                raise self._violation(step.cron_id, what)
        if step.next_run_ns == ZERO_TIME_NS:
            record.first_look = True
            if record.cron.interval_s > 0:
                latest_ns = step.now_ns + self.slack_ns
                record.deadline = self.deadlines.add(latest_ns, self._missed, step.cron_id)
            return
        self._first_check_done(record)
        record.due_ns = step.next_run_ns
        latest_ns = max(step.next_run_ns, step.now_ns) + self.slack_ns
        record.deadline = self.deadlines.add(latest_ns, self._missed, step.cron_id)

    def _disarm(self, record: _CronRecord) -> None:
        self.deadlines.drop(record.deadline)
        record.due_ns = record.deadline = None

    def ran(self, step: CronRan) -> None:
        record = self.records.get(step.cron_id)
        if record is None:
            return
        if not step.asked:
            if record.due_ns is None:
                raise self._violation(step.cron_id, f"ran a second time for {show_time(record.ran_ns)}")
            if step.now_ns < record.due_ns:
                early = show_span(record.due_ns - step.now_ns)
                raise self._violation(step.cron_id, f"ran {early} before its time")
        previous = self.world.graphs.get(record.graph_id)
        if record.cron.wait_for_previous and previous is not None and previous.state not in (SUCCESS, FAILED):
            raise self._violation(step.cron_id, f"ran before its workflow {record.graph_id} had ended")
        graph, nodes = self.world.graphs.get(step.graph_id), record.cron.workflow.functionspecs or ()
        if graph is not None and len(graph.members) != len(nodes):
            raise self._violation(step.cron_id, f"started {len(graph.members)} processes for {len(nodes)} nodes")
        self._disarm(record)
        record.ran_ns, record.graph_id, record.first_look = step.now_ns, step.graph_id, False

    def stalled(self, step: SourceStalled) -> None:
        if (record := self.records.get(step.source_id)) is not None:
            self._disarm(record)

    def idle(self, step: CronIdle) -> None:
        if (record := self.records.get(step.cron_id)) is not None:
            if record.cron.interval_s > 0:
                raise self._violation(step.cron_id, "has an interval, but no next run was found")
            self._first_check_done(record)

    @staticmethod
    def _first_check_done(record: _CronRecord) -> None:
        """Forget the previous workflow that the client named, as the first check of a cron does.

        Source: docs/protocol/c-workflows.md 6.6.
        """
        if record.first_look:
            record.graph_id, record.first_look = "", False

    def gone(self, step: SourceRemoved) -> None:
        if (record := self.records.pop(step.source_id, None)) is not None:
            self._disarm(record)

    def _missed(self, cron_id: str) -> None:
        latest_ns = self.records[cron_id].deadline
        raise self._violation(cron_id, f"should have run by {show_time(latest_ns.latest_ns if latest_ns else 0)}")

    def _violation(self, cron_id: str, what: str) -> InvariantViolation:
        name = self.records[cron_id].cron.name
        return InvariantViolation(f"cron {name!r} ({cron_id}) {what}; it is {show_time(self.world.now_ns)}")


class _GeneratorRecord(msgspec.Struct, eq=False):
    """The queued arguments of a generator, and the deadline for starting a workflow, if there is one."""

    generator: Generator
    waiting: list[str]
    first_pack_ns: int
    ran_ns: int
    deadline: Deadline | None = None


@built_in
class Generators(Invariant):
    """Keeps the arguments of generators, and computes when they must be used."""

    def __init__(self, ledger: Ledger) -> None:
        super().__init__(ledger)
        self.slack_ns: Final = self.world.settings.generator_checker_period_ms * _MILLISECOND_NS + CHECK_DELAY_NS
        self.records: dict[str, _GeneratorRecord] = {}
        self._turns: Iterator[str] = iter(())
        for generator in self.world.generators.values():
            first_ns, last_ns = generator.first_pack_ns, generator.last_run_ns
            record = _GeneratorRecord(generator, list(generator.queue), first_ns, last_ns)
            self.records[generator.generator_id] = record
            self.request_check()
            if generator.generator_id not in self.world.stalled:
                self._expect(record, self.world.now_ns)

    def reads(self) -> dict[type, Callable[[Any], None]]:
        return {
            ArgumentsPacked: self.packed,
            GeneratorFired: self.fired,
            SourceStalled: self.stalled,
            SourceRemoved: self.gone,
        }

    def packed(self, step: ArgumentsPacked) -> None:
        record = self.records.get(step.generator_id)
        if record is None:
            generator = self.world.generators.get(step.generator_id)
            if generator is None:
                return
            record = _GeneratorRecord(generator, [], ZERO_TIME_NS, ZERO_TIME_NS)
            self.records[step.generator_id] = record
            self.request_check()
        if step.arguments and record.first_pack_ns == ZERO_TIME_NS:
            record.first_pack_ns = step.now_ns
        record.waiting += step.arguments
        self._expect(record, step.now_ns)

    def fired(self, step: GeneratorFired) -> None:
        """Check a started workflow: for a full batch, or for all arguments after the timeout, in their order."""
        record = self.records.get(step.generator_id)
        if record is None:
            return
        trigger, waiting = record.generator.trigger, len(record.waiting)
        if step.count > waiting or step.count > trigger:
            what = f"started a workflow with {step.count} arguments of {waiting}, in batches of {trigger}"
            raise self._violation(record, what)
        if step.count < trigger:
            up_ns = self._time_up(record)
            if up_ns is None or step.now_ns < up_ns or step.count != waiting:
                what = f"started a workflow with {step.count} arguments of {waiting} before its time was up"
                raise self._violation(record, what)
        batch = record.waiting[: step.count]
        del record.waiting[: step.count]
        self._check_arguments(record, step, batch)
        record.ran_ns = step.now_ns
        self._expect(record, step.now_ns)

    def _check_arguments(self, record: _GeneratorRecord, step: GeneratorFired, batch: list[str]) -> None:
        """Check that the roots of the workflow got the arguments."""
        graph, nodes = self.world.graphs.get(step.graph_id), record.generator.workflow.functionspecs or ()
        if graph is not None and len(graph.members) != len(nodes):
            raise self._violation(record, f"started {len(graph.members)} processes for {len(nodes)} nodes")
        for process_id in graph.roots if graph is not None else ():
            process = self.world.processes.get(process_id)
            if process is not None and list(process.spec.args or ()) != batch:
                what = f"started process {process_id} with {process.spec.args}, where {batch} had waited longest"
                raise self._violation(record, what)

    def _time_up(self, record: _GeneratorRecord) -> int | None:
        """Return when arguments too few for a batch are used. Quirk: after a whole second, and from the last run."""
        timeout_s = record.generator.timeout_s
        if timeout_s <= 0 or record.generator.trigger <= 0:
            return None
        base_ns = record.first_pack_ns if record.ran_ns == ZERO_TIME_NS else record.ran_ns
        return ((base_ns + timeout_s * SECOND_NS) // SECOND_NS + 1) * SECOND_NS

    def _expect(self, record: _GeneratorRecord, now_ns: int) -> None:
        generator = record.generator
        if record.waiting and 0 < generator.trigger <= len(record.waiting):
            if record.deadline is not None and record.deadline.latest_ns <= now_ns + self.slack_ns:
                return  # the present deadline is early enough
            latest_ns = now_ns + self.slack_ns
        elif record.waiting and (up_ns := self._time_up(record)) is not None:
            latest_ns = max(up_ns, now_ns) + self.slack_ns
        else:
            self._forget(record)
            return
        self._forget(record)
        record.deadline = self.deadlines.add(latest_ns, self._missed, record)

    def _forget(self, record: _GeneratorRecord) -> None:
        self.deadlines.drop(record.deadline)
        record.deadline = None

    def stalled(self, step: SourceStalled) -> None:
        if (record := self.records.get(step.source_id)) is not None:
            self._forget(record)

    def gone(self, step: SourceRemoved) -> None:
        if (record := self.records.pop(step.source_id, None)) is not None:
            self._forget(record)

    def after_step(self, deliveries: Sequence[Delivery]) -> None:
        """Check that no argument of one generator, each in turn, is lost or doubled."""
        self.checks_after_step = bool(self.records)
        if self.records:
            generator_id = next(self._turns, "")
            if (record := self.records.get(generator_id)) is not None:
                self._compare(record)
            elif not generator_id:
                self._turns = iter(tuple(self.records))
                self._compare(self.records[next(self._turns)])

    def agree(self) -> None:
        for record in self.records.values():
            self._compare(record)

    def _compare(self, record: _GeneratorRecord) -> None:
        waiting = len(record.generator.queue)
        if waiting != len(record.waiting):
            raise self._violation(record, f"has {waiting} arguments, but was given {len(record.waiting)}")

    def _missed(self, record: _GeneratorRecord) -> None:
        assert record.deadline is not None
        waiting, trigger = len(record.waiting), record.generator.trigger
        why = "enough for a batch" if waiting >= trigger else "too few for a batch, but its time is up"
        what = f"holds {waiting} arguments, {why} since {show_time(record.deadline.latest_ns)}"
        raise self._violation(record, what)

    def _violation(self, record: _GeneratorRecord, what: str) -> InvariantViolation:
        generator = record.generator
        named = f"generator {generator.name!r} ({generator.generator_id})"
        return InvariantViolation(f"{named} {what}; it is {show_time(self.world.now_ns)}")
