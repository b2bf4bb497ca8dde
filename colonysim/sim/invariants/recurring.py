"""Crons and generators: neither skip nor double."""

from __future__ import annotations

from typing import Final

import msgspec
from sortedcontainers import SortedList

from colonysim.core.model import Cron
from colonysim.core.recurring import CHECK_DELAY_NS
from colonysim.core.specs import ZERO_TIME_NS
from colonysim.core.trace import CronArmed, CronRan, Fired, Gone, Held, Packed
from colonysim.core.world import World
from colonysim.sim.clock import show_span, show_time
from colonysim.sim.invariants.violation import InvariantViolation

_MILLISECOND_NS: Final = 1_000_000


class _CronBook(msgspec.Struct):
    """When a cron should run next; None while it is held or has nothing to wait for."""

    due_ns: int | None = None
    latest_ns: int = 0
    ran_ns: int = ZERO_TIME_NS


class _GeneratorBook(msgspec.Struct):
    """How many arguments wait, and when a full batch must have been started; None while there is none."""

    waiting: int = 0
    latest_ns: int | None = None


class RecurringBooks:
    """Works out for itself when crons and generators must act."""

    def __init__(self, world: World) -> None:
        self.world = world
        settings = world.settings
        self._cron_slack_ns = settings.cron_checker_period_ms * _MILLISECOND_NS + CHECK_DELAY_NS
        self._generator_slack_ns = settings.generator_checker_period_ms * _MILLISECOND_NS + CHECK_DELAY_NS
        self.crons: dict[str, _CronBook] = {}
        self.generators: dict[str, _GeneratorBook] = {}
        self._deadlines: SortedList[tuple[int, str]] = SortedList()
        self._full: dict[str, None] = {}  # in the order in which they must act
        for cron in world.crons.values():
            self._adopt(cron)
        for generator in world.generators.values():
            self.packed(Packed(world.now_ns, generator.generator_id, len(generator.queue)))
            if generator.generator_id in world.stalled:
                self.held(Held(generator.generator_id))

    def _adopt(self, cron: Cron) -> None:
        if cron.cron_id in self.world.stalled or cron.next_run_ns == ZERO_TIME_NS:
            self.crons[cron.cron_id] = _CronBook()
        else:
            self.armed(CronArmed(self.world.now_ns, cron.cron_id, cron.next_run_ns))

    # ------------------------------------------------------------ crons
    def armed(self, step: CronArmed) -> None:
        book = self.crons.setdefault(step.cron_id, _CronBook())
        self._disarm(step.cron_id, book)
        if step.next_run_ns == ZERO_TIME_NS:
            return
        book.due_ns = step.next_run_ns
        book.latest_ns = max(step.next_run_ns, step.now_ns) + self._cron_slack_ns
        self._deadlines.add((book.latest_ns, step.cron_id))

    def _disarm(self, cron_id: str, book: _CronBook) -> None:
        if book.due_ns is not None:
            self._deadlines.remove((book.latest_ns, cron_id))
            book.due_ns = None

    def ran(self, step: CronRan) -> None:
        book = self.crons[step.cron_id]
        if not step.asked:
            if book.due_ns is None:
                raise self._violation(step.cron_id, f"ran a second time for {show_time(book.ran_ns)}")
            if step.now_ns < book.due_ns:
                early = show_span(book.due_ns - step.now_ns)
                raise self._violation(step.cron_id, f"ran {early} before its time")
        self._disarm(step.cron_id, book)
        book.ran_ns = step.now_ns

    # ------------------------------------------------------------ generators
    def packed(self, step: Packed) -> None:
        book = self.generators.setdefault(step.generator_id, _GeneratorBook())
        book.waiting += step.count
        self._expect(step.generator_id, book, step.now_ns)

    def fired(self, step: Fired) -> None:
        book = self.generators[step.generator_id]
        trigger = self.world.generators[step.generator_id].trigger
        book.waiting -= step.count
        if book.waiting < 0 or step.count > trigger:
            what = f"started a workflow with {step.count} arguments of {book.waiting + step.count}, in batches of"
            raise self._violation(step.generator_id, f"{what} {trigger}")
        self._forget(step.generator_id, book)
        self._expect(step.generator_id, book, self.world.now_ns)

    def _expect(self, generator_id: str, book: _GeneratorBook, now_ns: int) -> None:
        generator = self.world.generators.get(generator_id)
        if generator is not None and 0 < generator.trigger <= book.waiting and book.latest_ns is None:
            book.latest_ns = now_ns + self._generator_slack_ns
            self._full[generator_id] = None

    def _forget(self, generator_id: str, book: _GeneratorBook) -> None:
        book.latest_ns = None
        self._full.pop(generator_id, None)

    # ------------------------------------------------------------ both
    def held(self, step: Held) -> None:
        if cron := self.crons.get(step.source_id):
            self._disarm(step.source_id, cron)
        if generator := self.generators.get(step.source_id):
            self._forget(step.source_id, generator)

    def gone(self, step: Gone) -> None:
        self.held(Held(step.source_id))
        self.crons.pop(step.source_id, None)
        self.generators.pop(step.source_id, None)

    def nothing_overdue(self) -> None:
        """Whoever must act first has not missed its time, and no argument is lost."""
        now_ns = self.world.now_ns
        if self._deadlines and self._deadlines[0][0] < now_ns:
            latest_ns, cron_id = self._deadlines[0]
            raise self._violation(cron_id, f"should have run by {show_time(latest_ns)}")
        if generator_id := next(iter(self._full), ""):
            book, generator = self.generators[generator_id], self.world.generators[generator_id]
            if book.latest_ns is not None and book.latest_ns < now_ns:
                what = f"holds {book.waiting} arguments, enough for a batch since {show_time(book.latest_ns)}"
                raise self._violation(generator_id, what)
            if book.waiting != len(generator.queue):
                what = f"has {len(generator.queue)} arguments, but was given {book.waiting}"
                raise self._violation(generator_id, what)

    def _violation(self, source_id: str, what: str) -> InvariantViolation:
        source = self.world.crons.get(source_id) or self.world.generators.get(source_id)
        kind = "cron" if source_id in self.crons else "generator"
        name = f" {source.name!r}" if source else ""
        return InvariantViolation(f"{kind}{name} ({source_id}) {what}; it is {show_time(self.world.now_ns)}")
