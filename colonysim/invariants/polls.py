"""Polls: no assign call stays parked beside a new process that it may have; the longest parked is served first."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Final

import msgspec

from colonysim.core.history import CallAbandoned, CallParked, PauseChanged, Transition
from colonysim.core.protocol import Answer, Delivery
from colonysim.core.records import SUCCESS, WAITING, Process
from colonysim.core.replies import AssignReply
from colonysim.core.scheduling import Demand
from colonysim.invariants.deadlines import Deadline
from colonysim.invariants.fitness import unfit
from colonysim.invariants.invariant import Invariant, built_in
from colonysim.invariants.ledger import Ledger, ProcessRecord
from colonysim.invariants.violation import InvariantViolation
from colonysim.kernel.clock import show_time

_SECOND_NS: Final = 1_000_000_000
_ANNOUNCED: Final = ("submit", "timeout")
"""Causes of waiting that are signalled to parked calls. Quirk: the removal of an executor is not."""

Size = tuple[int | None, int | None]
"""CPU and memory."""


class WaitingPoll(msgspec.Struct, eq=False):
    """A parked assign call. `turn`: its position by time of parking. `found_paused`: its last attempt met a pause."""

    ticket: int
    demand: Demand
    due_ns: int
    turn: int
    found_paused: bool
    deadline: Deadline | None = None


class _Pool:
    """The calls parked in one colony by executors of one type, the oldest first."""

    def __init__(self) -> None:
        self.by_location: dict[str, dict[Size, OrderedDict[int, WaitingPoll]]] = {}
        self.by_name: dict[str, dict[int, WaitingPoll]] = {}

    def add(self, poll: WaitingPoll) -> None:
        demand, ticket = poll.demand, poll.ticket
        if (by_size := self.by_location.get(demand.location)) is None:
            by_size = self.by_location[demand.location] = {}
        size = demand.cpu_milli, demand.memory_bytes
        if (polls := by_size.get(size)) is None:
            polls = by_size[size] = OrderedDict()  # a dict would look for its first call behind removed ones
        polls[ticket] = poll
        self.by_name.setdefault(demand.name, {})[ticket] = poll

    def drop(self, poll: WaitingPoll) -> None:
        demand, ticket = poll.demand, poll.ticket
        by_size, size = self.by_location[demand.location], (demand.cpu_milli, demand.memory_bytes)
        del by_size[size][ticket]
        if not by_size[size]:
            del by_size[size]
            if not by_size:
                del self.by_location[demand.location]
        named = self.by_name[demand.name]
        del named[ticket]
        if not named:
            del self.by_name[demand.name]

    def oldest(self, location: str) -> Iterator[WaitingPoll]:
        """Iterate over the oldest call of each size: of one location, or of each if there is none."""
        if location:
            places: Iterable[dict[Size, OrderedDict[int, WaitingPoll]]] = (self.by_location.get(location, {}),)
        else:
            places = self.by_location.values()
        return (next(iter(polls.values())) for by_size in places for polls in by_size.values())


@built_in
class Polls(Invariant):
    """All parked calls, from parking to their answers."""

    rare = True

    def __init__(self, ledger: Ledger) -> None:
        super().__init__(ledger)
        self.exclusive = self.world.settings.exclusive_assign
        self.parked: dict[int, WaitingPoll] = {}
        self.pools: dict[tuple[str, str], _Pool] = {}
        self.paused = dict(self.world.paused)
        self.given: dict[str, Demand] = {}  # in this step; each assignment is added to it directly
        self.announced: dict[str, ProcessRecord] = {}  # in this step
        self._succeeded: ProcessRecord | None = None  # the last one to
        self._resumed = ""
        self._turns = 0
        for poll in self.world.queues.polls.values():
            self._park(poll.ticket, poll.demand, None)

    def reads(self) -> dict[type, Callable[[Any], None]]:
        return {CallParked: self.park, CallAbandoned: self.abandoned, PauseChanged: self.pause}

    # ------------------------------------------------------------ parking
    def park(self, entry: CallParked) -> None:
        """Add a call that is parked, or stays parked after a pause has started or ended."""
        known = self.parked.get(entry.ticket)
        if known is not None:
            self._forget(known)
            self._park(entry.ticket, entry.demand, known)
        else:
            self._park(entry.ticket, entry.demand, None, entry.now_ns + entry.timeout_s * _SECOND_NS)

    def _park(self, ticket: int, demand: Demand, known: WaitingPoll | None, due_ns: int | None = None) -> None:
        self._turns += 1
        poll = WaitingPoll(ticket, demand, 0, self._turns, demand.colony in self.paused)
        if known is not None:
            poll.due_ns, due_ns = known.due_ns, known.due_ns or None
        if due_ns is not None:
            poll.due_ns = due_ns
            poll.deadline = self.deadlines.add(due_ns, self._unanswered, poll)
        self.parked[ticket] = poll
        self.request_check()
        whose = demand.colony, demand.executor_type
        if (pool := self.pools.get(whose)) is None:
            pool = self.pools[whose] = _Pool()
        pool.add(poll)

    def _forget(self, poll: WaitingPoll) -> None:
        del self.parked[poll.ticket]
        self.deadlines.drop(poll.deadline)
        whose = poll.demand.colony, poll.demand.executor_type
        pool = self.pools[whose]
        pool.drop(poll)
        if not pool.by_name:
            del self.pools[whose]

    def abandoned(self, entry: CallAbandoned) -> None:
        if (poll := self.parked.get(entry.ticket)) is not None:
            self._forget(poll)

    def pause(self, entry: PauseChanged) -> None:
        if entry.on:
            self.paused[entry.colony] = None
        else:
            self.paused.pop(entry.colony, None)
            self._resumed = entry.colony
            self.request_check()

    def moved(self, step: Transition, record: ProcessRecord) -> None:
        """While calls are parked, note a process that waits and must be signalled."""
        if not self.parked:
            return
        if step.new == SUCCESS:
            self._succeeded = record
        elif step.new == WAITING and not record.blocked:
            if step.cause in _ANNOUNCED or (step.old == WAITING and self._is_announced(record)):
                self.announced[record.process_id] = record

    def _is_announced(self, child: ProcessRecord) -> bool:
        """Whether a child whose parents have succeeded is signalled to parked calls.

        Quirk: not if its last parent has itself a parent that has not succeeded (one added in front of it).
        """
        parent = self._succeeded
        if parent is None or child.process_id not in parent.process.children:
            return False
        grandparents = (self.ledger.records.get(each) for each in parent.process.parents)
        return all(each is None or each.state == SUCCESS for each in grandparents)

    # ------------------------------------------------------------ after a step
    def after_step(self, deliveries: Sequence[Delivery]) -> None:
        if self.given or self.parked:
            self.answers(deliveries)
        if self.announced:
            announced, self.announced = self.announced, {}
            if self.world.wakeups == "all":  # no hazard loses them
                for record in announced.values():
                    if record.place is not None and record.process.colony not in self.paused:
                        self._nobody_waits_beside(record)
        if self._resumed:
            self._heard_of_resumption()
        self._succeeded = None
        self.checks_after_step = bool(self.parked)

    def answers(self, deliveries: Sequence[Delivery]) -> None:
        """Check that executors got the answers with their assignments, and parked calls the answers due to them."""
        given = self.given
        for answer in deliveries:
            if type(answer) is not Answer:
                continue
            body, demand = answer.body, None
            poll = self.parked.get(answer.ticket) if self.parked else None
            if type(body) is AssignReply:
                process_id = body.process.process_id
                if answer.status != 200:
                    raise self.ledger.violation(process_id, f"was given with status {answer.status}")
                demand = given.pop(process_id, None)
                if demand is None or (poll is not None and demand != poll.demand):
                    raise self.ledger.violation(
                        process_id, f"was sent to ticket {answer.ticket}, which it was not given to"
                    )
            if poll is not None:
                self._forget(poll)
                if demand is None:
                    self._ended(poll, answer)
                else:
                    self._in_turn(poll, self.announced.get(process_id))
        if given:
            process_id, demand = given.popitem()
            raise self.ledger.violation(process_id, f"was given to {demand.name}, which got no answer")

    def _ended(self, poll: WaitingPoll, answer: Answer) -> None:
        """Check the answer of a call that has timed out: the outcome of its last attempt."""
        now_ns = self.world.now_ns
        expected = 408 if poll.found_paused else 404
        if answer.status != expected or now_ns < poll.due_ns:
            what = f"was answered {answer.status} at {show_time(now_ns)}, not {expected} at {show_time(poll.due_ns)}"
            raise self._violation(poll, what)

    def _in_turn(self, poll: WaitingPoll, record: ProcessRecord | None) -> None:
        """Check that a new process went to the longest parked of the calls that may have it.

        Quirk: if several processes are signalled, as the children of one, a process that no call may have yet wakes a
        call all the same, which may then take another of them.
        """
        told_of = len(self._succeeded.process.children) if self._succeeded is not None else 1
        if record is None or self.world.wakeups != "all" or len(self.announced) > 1 or told_of > 1:
            return
        for other in self._woken_by(record.process):
            if other.turn < poll.turn and other.ticket < poll.ticket:
                what = f"was given to {poll.demand.name}, although {other.demand.name} has been parked for longer"
                raise self.ledger.violation(record.process_id, what)

    def _nobody_waits_beside(self, record: ProcessRecord) -> None:
        for poll in self._woken_by(record.process):
            what = f"waits, and {poll.demand.name}, which may have it, is parked and was not woken"
            raise self.ledger.violation(record.process_id, what)

    def _woken_by(self, process: Process) -> Iterator[WaitingPoll]:
        """Iterate over the calls that are signalled for a process: the oldest of each size, or all of a name.

        Quirk: for a process with a location, only calls whose location is spelled in the same case.
        """
        conditions = process.spec.conditions
        pool = self.pools.get((process.colony, conditions.executortype))
        if pool is None:
            return
        names, location = conditions.executornames or (), conditions.locationname
        candidates: Iterator[WaitingPoll]
        if names and (self.exclusive or list(names) != ["*"]):
            candidates = (poll for name in dict.fromkeys(names) for poll in pool.by_name.get(name, {}).values())
        else:
            candidates = pool.oldest(location)
        for poll in candidates:
            if (not location or location == poll.demand.location) and not poll.found_paused:
                if not unfit(process, poll.demand, self.exclusive):
                    yield poll

    def _heard_of_resumption(self) -> None:
        colony, self._resumed = self._resumed, ""
        for poll in self.parked.values():
            if poll.found_paused and poll.demand.colony == colony:
                raise self._violation(poll, "still waits for the end of a pause that is over")

    def _unanswered(self, poll: WaitingPoll) -> None:
        raise self._violation(poll, f"got no answer by {show_time(self.world.now_ns)}, although its timeout has passed")

    def _violation(self, poll: WaitingPoll, what: str) -> InvariantViolation:
        return InvariantViolation(f"the assign call {poll.ticket} of {poll.demand.name} {what}")
