"""Agreement: the core's tables, queues and agenda agree with the records of all invariants."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from typing import Final

from colonysim.core.agenda import Event
from colonysim.core.events import CronCheck, GeneratorCheck, PollOver, ReleaseTick
from colonysim.core.records import RUNNING, STATE_NAMES, WAITING
from colonysim.invariants.invariant import Invariant, built_in
from colonysim.invariants.ledger import Ledger
from colonysim.invariants.limits import TimeLimits
from colonysim.invariants.polls import Polls
from colonysim.invariants.recurring import Crons, Generators
from colonysim.invariants.violation import InvariantViolation
from colonysim.kernel.clock import show_time

_SECOND_NS: Final = 1_000_000_000


@built_in
class Agreement(Invariant):
    """Compares everything that waits, runs or is planned, between two steps."""

    def __init__(self, ledger: Ledger) -> None:
        super().__init__(ledger)
        self.limits, self.polls = TimeLimits.of(ledger), Polls.of(ledger)
        self.crons, self.generators = Crons.of(ledger), Generators.of(ledger)

    def agree(self) -> None:
        self._states()
        self._queues()
        events: dict[type, list[tuple[int, Event]]] = {}
        entries = self.world.agenda.entries()
        if len(entries) != len(self.world.agenda):
            raise InvariantViolation(
                f"the agenda holds {len(self.world.agenda)} events, but {len(entries)} are pending"
            )
        for due_ns, _, event in entries:
            events.setdefault(type(event), []).append((due_ns, event))
        self._limits_on(events)
        self._polls_on(events)
        self._recurring_on(events)

    # ------------------------------------------------------------ tables
    def _states(self) -> None:
        """Compare the tables of states, and the processes that executors hold."""
        world, records = self.world, self.ledger.records
        for state in (WAITING, RUNNING):
            listed = [process_id for tables in world.by_state.values() for process_id in tables[state]]
            for process_id in listed:
                if process_id not in records or records[process_id].state != state:
                    raise self.ledger.violation(process_id, f"is listed as {STATE_NAMES[state]}, and is not")
        held = {holder: set(processes) for holder, processes in world.held_by.items() if processes}
        known = {holder: set(processes) for holder, processes in self.ledger.held.items() if processes}
        for holder in held.keys() | known.keys():
            wrong = held.get(holder, set()) ^ known.get(holder, set())
            if wrong:
                raise self.ledger.violation(min(wrong), f"is listed wrongly, or missing, among those of {holder}")

    def _queues(self) -> None:
        """Check that each waiting process is in its queue once, in order, or cannot be assigned."""
        queues, records = self.world.queues, self.ledger.records
        found: Counter[str] = Counter(queues.unassignable.keys())
        for pool in queues.pools.values():
            for run in pool.runs.values():
                waiting = [process.process_id for process in run.waiting()]
                if len(waiting) != run.live:
                    raise InvariantViolation(f"a queue counts {run.live} processes, and holds {len(waiting)}")
                found.update(waiting)
                places = [records[process_id].place for process_id in waiting if process_id in records]
                for one, other in pairwise(places):
                    if one is not None and other is not None and other < one:
                        what = f"stands before {other[2]} in a queue, and should stand behind it"
                        raise self.ledger.violation(one[2], what)
        for process_id, count in found.items():
            if count != 1 or process_id not in records or records[process_id].state != WAITING:
                raise self.ledger.violation(process_id, f"is in {count} queues, and should not be")
        if len(found) != self.ledger.waiting or len(queues) != self.ledger.waiting:
            for process_id, record in records.items():
                if record.state == WAITING and process_id not in found:
                    raise self.ledger.violation(process_id, "waits, but is in no queue")
            raise InvariantViolation(f"the queues count {len(queues)} waiting processes of {self.ledger.waiting}")

    # ------------------------------------------------------------ the agenda
    def _limits_on(self, events: dict[type, list[tuple[int, Event]]]) -> None:
        """Check that the release loop runs in each second in which it must find a limit."""
        planned = {
            event.second: due_ns for due_ns, event in events.get(ReleaseTick, ()) if isinstance(event, ReleaseTick)
        }
        for second, records in self.limits.due.items():
            for record in records.values():
                due_ns = second * _SECOND_NS + self.limits.phase_ns
                if planned.get(second) != due_ns:
                    what = f"has a limit that must be found at {show_time(due_ns)}, which is not on the agenda"
                    raise self.ledger.violation(record.process_id, what)

    def _polls_on(self, events: dict[type, list[tuple[int, Event]]]) -> None:
        planned = {event.ticket: due_ns for due_ns, event in events.get(PollOver, ()) if isinstance(event, PollOver)}
        parked = {ticket: poll.due_ns for ticket, poll in self.polls.parked.items()}
        if planned != parked or len(planned) != len(events.get(PollOver, ())):
            wrong = sorted(planned.items() ^ parked.items())
            raise InvariantViolation(f"the ends of assign calls on the agenda are not those that are parked: {wrong}")
        if self.world.queues.polls.keys() != parked.keys():
            others = sorted(set(self.world.queues.polls).symmetric_difference(parked))
            raise InvariantViolation(f"the queues list other assign calls than those that are parked: {others}")

    def _recurring_on(self, events: dict[type, list[tuple[int, Event]]]) -> None:
        """Check that each cron and generator that must act is on the agenda once, and no other."""
        crons = [(event.cron_id, due_ns) for due_ns, event in events.get(CronCheck, ()) if isinstance(event, CronCheck)]
        for cron_id, count in Counter(cron_id for cron_id, _ in crons).items():
            if count != 1 or cron_id not in self.crons.records:
                raise InvariantViolation(f"cron {cron_id} is on the agenda {count} times")
        planned = dict(crons)
        for cron_id, record in self.crons.records.items():
            if (deadline := record.deadline) is not None:
                due_ns = planned.get(cron_id)
                if due_ns is None or not (record.due_ns or 0) < due_ns <= deadline.latest_ns:
                    raise InvariantViolation(f"cron {record.cron.name!r} ({cron_id}) is not on the agenda in time")
        generators = [
            (event.generator_id, due_ns)
            for due_ns, event in events.get(GeneratorCheck, ())
            if isinstance(event, GeneratorCheck)
        ]
        for generator_id, count in Counter(generator_id for generator_id, _ in generators).items():
            waits = (found := self.generators.records.get(generator_id)) is not None and found.deadline is not None
            if count != 1 or not waits:
                raise InvariantViolation(f"generator {generator_id} is on the agenda {count} times")
        planned = dict(generators)
        for generator_id, one in self.generators.records.items():
            if (
                one.deadline is not None
                and not planned.get(generator_id, one.deadline.latest_ns + 1) <= one.deadline.latest_ns
            ):
                raise InvariantViolation(
                    f"generator {one.generator.name!r} ({generator_id}) is not on the agenda in time"
                )
