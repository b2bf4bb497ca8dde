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
from colonysim.invariants.deadlines import Deadline, Deadlines
from colonysim.invariants.invariant import Invariant
from colonysim.invariants.ledger import Ledger
from colonysim.invariants.violation import InvariantViolation
from colonysim.kernel.clock import show_span, show_time

_MILLISECOND_NS: Final = 1_000_000


class _CronBook(msgspec.Struct, eq=False):
    """When a cron should run next; None while it is held or has nothing to wait for."""

    cron: Cron
    due_ns: int | None = None
    deadline: Deadline | None = None
    ran_ns: int = ZERO_TIME_NS
    graph_id: str = ""  # what it started last, or what its client named
    first_look: bool = False  # whether it waits for a look that computes its next run and forgets `graph_id`


class Crons(Invariant):
    """Works out for itself when crons must run."""

    def __init__(self, ledger: Ledger, deadlines: Deadlines) -> None:
        super().__init__(ledger)
        self.slack_ns: Final = self.world.settings.cron_checker_period_ms * _MILLISECOND_NS + CHECK_DELAY_NS
        self.deadlines = deadlines
        self.books: dict[str, _CronBook] = {}
        for cron in self.world.crons.values():
            self.books[cron.cron_id] = _CronBook(cron, None, None, cron.last_run_ns, cron.previous_graph_id)
            if cron.cron_id not in self.world.stalled:
                self.armed(CronArmed(self.world.now_ns, cron.cron_id, cron.next_run_ns))

    def reads(self) -> dict[type, Callable[[Any], None]]:
        return {
            CronArmed: self.armed,
            CronIdle: self.idle,
            CronRan: self.ran,
            SourceStalled: self.held,
            SourceRemoved: self.gone,
        }

    def armed(self, step: CronArmed) -> None:
        """It runs at a time, at an interval from its last run where it has one; or that is found out next."""
        book = self.books.get(step.cron_id)
        if book is None:
            cron = self.world.crons.get(step.cron_id)
            if cron is None:  # came and went within one step
                return
            book = self.books[step.cron_id] = _CronBook(cron, graph_id=cron.previous_graph_id)
        self._disarm(book)
        if book.ran_ns == step.now_ns and book.cron.interval_s > 0:
            expected_ns = step.now_ns + book.cron.interval_s * SECOND_NS
            if step.next_run_ns != expected_ns:
                what = f"runs next at {show_time(step.next_run_ns)}, not after its interval at {show_time(expected_ns)}"
                raise self._violation(step.cron_id, what)
        if step.next_run_ns == ZERO_TIME_NS:
            book.first_look = True
            if book.cron.interval_s > 0:
                latest_ns = step.now_ns + self.slack_ns
                book.deadline = self.deadlines.add(latest_ns, self._missed, step.cron_id)
            return
        self._looked(book)
        book.due_ns = step.next_run_ns
        latest_ns = max(step.next_run_ns, step.now_ns) + self.slack_ns
        book.deadline = self.deadlines.add(latest_ns, self._missed, step.cron_id)

    def _disarm(self, book: _CronBook) -> None:
        self.deadlines.drop(book.deadline)
        book.due_ns = book.deadline = None

    def ran(self, step: CronRan) -> None:
        book = self.books.get(step.cron_id)
        if book is None:
            return
        if not step.asked:
            if book.due_ns is None:
                raise self._violation(step.cron_id, f"ran a second time for {show_time(book.ran_ns)}")
            if step.now_ns < book.due_ns:
                early = show_span(book.due_ns - step.now_ns)
                raise self._violation(step.cron_id, f"ran {early} before its time")
        previous = self.world.graphs.get(book.graph_id)
        if book.cron.wait_for_previous and previous is not None and previous.state not in (SUCCESS, FAILED):
            raise self._violation(step.cron_id, f"ran before its workflow {book.graph_id} had come to an end")
        graph, nodes = self.world.graphs.get(step.graph_id), book.cron.workflow.functionspecs or ()
        if graph is not None and len(graph.members) != len(nodes):
            raise self._violation(step.cron_id, f"started {len(graph.members)} processes for {len(nodes)} nodes")
        self._disarm(book)
        book.ran_ns, book.graph_id, book.first_look = step.now_ns, step.graph_id, False

    def held(self, step: SourceStalled) -> None:
        if (book := self.books.get(step.source_id)) is not None:
            self._disarm(book)

    def idle(self, step: CronIdle) -> None:
        if (book := self.books.get(step.cron_id)) is not None:
            if book.cron.interval_s > 0:
                raise self._violation(step.cron_id, "has an interval, and was found to have no time at which it runs")
            self._looked(book)

    @staticmethod
    def _looked(book: _CronBook) -> None:
        """The first look at a cron has forgotten the workflow that its client named.

        Source: docs/protocol/c-workflows.md 6.6.
        """
        if book.first_look:
            book.graph_id, book.first_look = "", False

    def gone(self, step: SourceRemoved) -> None:
        if (book := self.books.pop(step.source_id, None)) is not None:
            self._disarm(book)

    def _missed(self, cron_id: str) -> None:
        latest_ns = self.books[cron_id].deadline
        raise self._violation(cron_id, f"should have run by {show_time(latest_ns.latest_ns if latest_ns else 0)}")

    def _violation(self, cron_id: str, what: str) -> InvariantViolation:
        name = self.books[cron_id].cron.name
        return InvariantViolation(f"cron {name!r} ({cron_id}) {what}; it is {show_time(self.world.now_ns)}")


class _GeneratorBook(msgspec.Struct, eq=False):
    """The arguments that wait, and when something must have been started; no deadline while there is nothing."""

    generator: Generator
    waiting: list[str]
    first_pack_ns: int
    ran_ns: int
    deadline: Deadline | None = None


class Generators(Invariant):
    """Keeps the arguments of generators, and works out when they must be used."""

    def __init__(self, ledger: Ledger, deadlines: Deadlines) -> None:
        super().__init__(ledger)
        self.slack_ns: Final = self.world.settings.generator_checker_period_ms * _MILLISECOND_NS + CHECK_DELAY_NS
        self.deadlines = deadlines
        self.books: dict[str, _GeneratorBook] = {}
        self._turns: Iterator[str] = iter(())
        for generator in self.world.generators.values():
            first_ns, last_ns = generator.first_pack_ns, generator.last_run_ns
            book = _GeneratorBook(generator, list(generator.queue), first_ns, last_ns)
            self.books[generator.generator_id] = book
            self.stir()
            if generator.generator_id not in self.world.stalled:
                self._expect(book, self.world.now_ns)

    def reads(self) -> dict[type, Callable[[Any], None]]:
        return {
            ArgumentsPacked: self.packed,
            GeneratorFired: self.fired,
            SourceStalled: self.held,
            SourceRemoved: self.gone,
        }

    def packed(self, step: ArgumentsPacked) -> None:
        book = self.books.get(step.generator_id)
        if book is None:
            generator = self.world.generators.get(step.generator_id)
            if generator is None:
                return
            book = _GeneratorBook(generator, [], ZERO_TIME_NS, ZERO_TIME_NS)
            self.books[step.generator_id] = book
            self.stir()
        if step.arguments and book.first_pack_ns == ZERO_TIME_NS:
            book.first_pack_ns = step.now_ns
        book.waiting += step.arguments
        self._expect(book, step.now_ns)

    def fired(self, step: GeneratorFired) -> None:
        """A full batch, or all that waits when the time is up, in the order in which it came."""
        book = self.books.get(step.generator_id)
        if book is None:
            return
        trigger, waiting = book.generator.trigger, len(book.waiting)
        if step.count > waiting or step.count > trigger:
            what = f"started a workflow with {step.count} arguments of {waiting}, in batches of {trigger}"
            raise self._violation(book, what)
        if step.count < trigger:
            up_ns = self._time_up(book)
            if up_ns is None or step.now_ns < up_ns or step.count != waiting:
                what = f"started a workflow with {step.count} arguments of {waiting} before its time was up"
                raise self._violation(book, what)
        batch = book.waiting[: step.count]
        del book.waiting[: step.count]
        self._got(book, step, batch)
        book.ran_ns = step.now_ns
        self._expect(book, step.now_ns)

    def _got(self, book: _GeneratorBook, step: GeneratorFired, batch: list[str]) -> None:
        """The roots of the workflow have the arguments."""
        graph, nodes = self.world.graphs.get(step.graph_id), book.generator.workflow.functionspecs or ()
        if graph is not None and len(graph.members) != len(nodes):
            raise self._violation(book, f"started {len(graph.members)} processes for {len(nodes)} nodes")
        for process_id in graph.roots if graph is not None else ():
            process = self.world.processes.get(process_id)
            if process is not None and list(process.spec.args or ()) != batch:
                what = f"started process {process_id} with {process.spec.args}, where {batch} had waited longest"
                raise self._violation(book, what)

    def _time_up(self, book: _GeneratorBook) -> int | None:
        """When fewer arguments than a batch are used. Quirk: after a whole second, from the last run."""
        timeout_s = book.generator.timeout_s
        if timeout_s <= 0 or book.generator.trigger <= 0:
            return None
        base_ns = book.first_pack_ns if book.ran_ns == ZERO_TIME_NS else book.ran_ns
        return ((base_ns + timeout_s * SECOND_NS) // SECOND_NS + 1) * SECOND_NS

    def _expect(self, book: _GeneratorBook, now_ns: int) -> None:
        generator = book.generator
        if book.waiting and 0 < generator.trigger <= len(book.waiting):
            if book.deadline is not None and book.deadline.latest_ns <= now_ns + self.slack_ns:
                return  # it must have acted by then anyway
            latest_ns = now_ns + self.slack_ns
        elif book.waiting and (up_ns := self._time_up(book)) is not None:
            latest_ns = max(up_ns, now_ns) + self.slack_ns
        else:
            self._forget(book)
            return
        self._forget(book)
        book.deadline = self.deadlines.add(latest_ns, self._missed, book)

    def _forget(self, book: _GeneratorBook) -> None:
        self.deadlines.drop(book.deadline)
        book.deadline = None

    def held(self, step: SourceStalled) -> None:
        if (book := self.books.get(step.source_id)) is not None:
            self._forget(book)

    def gone(self, step: SourceRemoved) -> None:
        if (book := self.books.pop(step.source_id, None)) is not None:
            self._forget(book)

    def step_over(self, deliveries: Sequence[Delivery]) -> None:
        """No argument is lost or doubled: looked at by turns."""
        self.stirred = bool(self.books)
        if self.books:
            generator_id = next(self._turns, "")
            if (book := self.books.get(generator_id)) is not None:
                self._compare(book)
            elif not generator_id:
                self._turns = iter(tuple(self.books))
                self._compare(self.books[next(self._turns)])

    def agree(self) -> None:
        for book in self.books.values():
            self._compare(book)

    def _compare(self, book: _GeneratorBook) -> None:
        waiting = len(book.generator.queue)
        if waiting != len(book.waiting):
            raise self._violation(book, f"has {waiting} arguments, but was given {len(book.waiting)}")

    def _missed(self, book: _GeneratorBook) -> None:
        assert book.deadline is not None
        waiting, trigger = len(book.waiting), book.generator.trigger
        why = "enough for a batch" if waiting >= trigger else "too few for a batch, but its time is up"
        what = f"holds {waiting} arguments, {why} since {show_time(book.deadline.latest_ns)}"
        raise self._violation(book, what)

    def _violation(self, book: _GeneratorBook, what: str) -> InvariantViolation:
        generator = book.generator
        named = f"generator {generator.name!r} ({generator.generator_id})"
        return InvariantViolation(f"{named} {what}; it is {show_time(self.world.now_ns)}")
