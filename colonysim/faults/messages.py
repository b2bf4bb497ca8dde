"""Between clients and server: what faults do to requests, replies and pushes on their way.

One verdict is drawn for each request when it is sent, each fault from its own chance; the first fault that
strikes decides. All is called under the simulation's lock.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, Final

import msgspec

from colonysim.core import engine
from colonysim.core.operations.closing import CloseFailed, CloseSuccessful
from colonysim.core.protocol import EMPTY, Answer, ErrorBody, Push, Request
from colonysim.core.records import FAILED, SECOND_NS, SUCCESS, WAITING
from colonysim.core.registry import BY_MESSAGE
from colonysim.core.world import World
from colonysim.faults.model import (
    AnswerWith,
    Delay,
    Disconnect,
    Duplicate,
    Hazard,
    LoseReply,
    LoseRequest,
    Malformed,
    MessageFault,
    Partition,
    Reorder,
    Restart,
    fits,
    kind_of,
)
from colonysim.faults.rule import Rule, Subject
from colonysim.faults.tally import FaultTally
from colonysim.kernel.kernel import Kernel
from colonysim.kernel.pending import LOST, CorruptedBody, Pending

_CLOSES: Final = ("closesuccessfulmsg", "closefailedmsg")
_ID_CHANGES: Final = ("changeuseridmsg", "changeexecutoridmsg", "changecolonyidmsg")
_PROCESS_READS: Final = ("getprocessmsg", "getprocessesmsg", "getprocesshistmsg", "assignprocessmsg", *_CLOSES)
_STORELESS: Final = ("versionmsg",)


class _Held(msgspec.Struct, eq=False):
    """A request that is held back until so many others have overtaken it."""

    rule: Rule
    pending: Pending
    request: Request
    left: int
    timer: int = 0


class FaultyNetwork:
    """The faults of messages that are in force, partitions and outages, and what is on its way."""

    def __init__(self, kernel: Kernel, tally: FaultTally, heard: Callable[[str, int], None]) -> None:
        self.kernel = kernel
        self.tally = tally
        self.heard = heard  # told of the type and status of each answer of the server
        self.rules: dict[str, Rule] = {}
        self.cuts: dict[str, Rule] = {}  # partitions that are on
        self.outage: Rule | None = None  # the restart that keeps the server down
        self.hazards: dict[str, Rule] = {}  # those that are on, by the name of the hazard
        self.stopped_by: Rule | None = None  # the hazard that has stopped the server
        self._reads: deque[int] = deque()
        self._leaked = 0
        self._last_close = (-1, "", "", "")  # time, caller, process and type of the close that has come last
        self._held: list[_Held] = []

    @property
    def idle(self) -> bool:
        """Whether nothing is in force."""
        return not (self.rules or self.cuts or self.outage or self.hazards or self.stopped_by)

    def note(self, line: dict[str, Any]) -> None:
        """Count what a fault has done, and write it down."""
        self.tally.note(line)
        self.kernel.observer.note(line)

    # ------------------------------------------------------------ requests
    def send(self, pending: Pending, request: Request) -> None:
        """A client sends a request: let it arrive, now, later, more than once or not at all."""
        kernel, call = self.kernel, pending.call
        world = kernel.world
        pending.by = kernel.calling_program
        subject = Subject(world, request.caller_id, call.payload_type, request.message, pending.by)
        verdict = self._judge(subject, world.now_ns, bool(request.stream))  # also where nothing comes through
        rule = self._blocked(subject) or verdict
        overtaken = [
            held for held in self._held if isinstance(held.rule.fault, Reorder) and _matches(held.rule, subject)
        ]
        if rule is None:
            self._arrive(pending, request)
        else:
            self._apply(rule, pending, request)
        if rule is None or not isinstance(rule.fault, Reorder):
            for held in overtaken:
                self._overtake(held)

    def _blocked(self, subject: Subject) -> Rule | None:
        """The outage or partition that keeps a request from the server."""
        if self.outage is not None:
            return self.outage
        return self._cut_between(subject)

    def _cut_between(self, subject: Subject) -> Rule | None:
        return next((rule for rule in self.cuts.values() if cuts_off(rule.fault, subject)), None)

    def _cut_from(self, pending: Pending) -> Rule | None:
        """The partition that is now between the server and who has sent a request."""
        return self._cut_between(self._sender_of(pending)) if self.cuts else None

    def _sender_of(self, pending: Pending) -> Subject:
        call = pending.call
        message = None if isinstance(call.message, bytes) else call.message
        return Subject(self.kernel.world, call.caller_id, call.payload_type, message, pending.by)

    def _cut_short(self, rule: Rule, pending: Pending) -> None:
        """A partition takes a request or its reply; the client notices, if it still waits."""
        if pending.answer is None:
            assert isinstance(rule.fault, Partition)
            self._mark(rule, pending)
            self._lose_later(pending, rule.span_ns(rule.fault.notice_s))

    def _judge(self, subject: Subject, now_ns: int, stream: bool) -> Rule | None:
        """Ask every fault, so that each draws the same whatever the others say; the first that strikes decides."""
        verdict = None
        for rule in self.rules.values():
            fault = rule.fault
            assert isinstance(fault, MessageFault)
            if stream and _strikes_replies(fault):
                continue  # on a stream such faults strike the pushes
            if subject.fits(fault.match) and rule.strikes(fault.when, now_ns):
                verdict = verdict or rule
        return verdict

    def _apply(self, rule: Rule, pending: Pending, request: Request) -> None:
        fault, kernel = rule.fault, self.kernel
        self._mark(rule, pending)
        if isinstance(fault, (LoseRequest, Restart, Partition)):
            self._lose_later(pending, rule.span_ns(fault.notice_s))
        elif isinstance(fault, Delay) and fault.what != "reply":
            self._later(rule, lambda: self._arrive_late(pending, request), rule.span_ns(fault.by_s), "a late request")
        elif isinstance(fault, Reorder):
            held = _Held(rule, pending, request, fault.past)
            due_ns = kernel.world.now_ns + round(fault.within_s * SECOND_NS)
            held.timer = kernel.timetable.add(due_ns, lambda: self._let_go(held), "a request that is held back")
            self._held.append(held)
        elif isinstance(fault, AnswerWith) and not fault.served:
            kernel.answer(_error(pending.ticket, fault))
        else:
            self._arrive(pending, request)
            if isinstance(fault, Duplicate):
                self._repeat(rule, fault, pending, request)
            elif isinstance(fault, Disconnect):
                self._later(rule, lambda: self._break(pending, request.stream), rule.span_ns(fault.after_s), "a break")

    def _mark(self, rule: Rule, pending: Pending) -> None:
        """Write down what is done to a request."""
        pending.fault, call = rule, pending.call
        call.fault, call.verdict = rule.name, kind_of(rule.fault)
        sent = {"ask": pending.ticket, "type": call.payload_type, "caller": call.caller_id}
        self.note({"fault": rule.name, "kind": call.verdict, **sent})

    def _later(self, rule: Rule, act: Callable[[], object], span_ns: int, what: str) -> None:
        if span_ns <= 0:
            act()
        else:
            self.kernel.timetable.add(self.kernel.world.now_ns + span_ns, act, f"{what} ({rule.name})")

    def _arrive(self, pending: Pending, request: Request) -> None:
        """A request reaches the server, which may be one with weaknesses."""
        if self.hazards or self.stopped_by:
            name = pending.call.payload_type
            if self._swallows(name):
                assert self.stopped_by is not None
                self._mark(self.stopped_by, pending)
                return
            if name in _CLOSES and self._closes_twice(pending, request):
                return
            retried = self.hazards.get("retried_close")
            if retried is not None and name in _CLOSES and self._lucky(retried):
                self._mark(retried, pending)
                self._ghost(pending, request)
            if limited_by := self._set_wakeups():
                self._serve_with_few_wakeups(limited_by, request)
                return
        self.kernel.serve_delayed(request)

    def _closes_twice(self, pending: Pending, request: Request) -> bool:
        """Whether the other close of the same holder at this very instant is answered 200 as well.

        Nothing else comes of it: in the reference both have seen the process running, and one of them is written last.
        """
        world, name, message = self.kernel.world, pending.call.payload_type, request.message
        assert isinstance(message, (CloseSuccessful, CloseFailed))
        close = world.now_ns, request.caller_id, message.processid, name
        before, self._last_close = self._last_close, close
        rule, process = self.hazards.get("double_close"), world.processes.get(message.processid)
        if rule is None or process is None or before[:3] != close[:3] or before[3] == name:
            return False
        ended = process.state in (SUCCESS, FAILED) and process.ended_ns == world.now_ns
        if not ended or process.executor_id != request.caller_id or not self._lucky(rule):
            return False
        self._mark(rule, pending)
        self.kernel.answer(Answer(pending.ticket, 200, name, EMPTY))
        return True

    def _serve_with_few_wakeups(self, rule: Rule, request: Request) -> None:
        """Serve a request; the hazard struck where a process came to wait, and stayed, beside a parked call."""
        world = self.kernel.world
        parked, waiting = bool(world.queues.polls), _waiting(world)
        self.kernel.serve_delayed(request)
        if parked and _waiting(world) > waiting:
            self.tally.add(rule.name)

    def _arrive_late(self, pending: Pending, request: Request) -> None:
        """A request that has been under way reaches the server, whether its client still waits or not."""
        kernel = self.kernel
        self.note({"arrive": pending.ticket})
        if self.outage is not None:
            return self._lose_later(pending, 0)
        if (cut := self._cut_from(pending)) is not None:
            return self._cut_short(cut, pending)
        gone = not request.stream and pending.ticket not in kernel.pending
        if request.stream:
            if kernel.connections.request_of(request.stream) is None:
                return None
            kernel.pending[pending.ticket] = pending
        self._arrive(pending, request)
        if gone:
            engine.abandon(kernel.world, pending.ticket)
        elif request.stream:
            kernel.pending.pop(pending.ticket, None)
            if pending.answer is not None:
                kernel.connections.answer(request.stream, pending.answer)
        return None

    def _ghost(self, pending: Pending, request: Request) -> None:
        """The same request once more, for nobody."""
        ticket = self.kernel.new_ticket()
        self.note({"arrive": ticket, "copy_of": pending.ticket})
        stream = ticket if request.stream else 0
        self.kernel.serve_delayed(Request(ticket, request.caller_id, request.message, request.has_nul, stream))

    def _repeat(self, rule: Rule, fault: Duplicate, pending: Pending, request: Request) -> None:
        span_ns = rule.span_ns(fault.after_s)
        for number in range(1, fault.copies + 1):
            self._later(rule, lambda: self._arrive_again(pending, request), number * span_ns, "a copy")

    def _arrive_again(self, pending: Pending, request: Request) -> None:
        """A copy of a request reaches the server, if that is there and answers."""
        if self.outage or self._cut_from(pending) or self._swallows(pending.call.payload_type):
            self.note({"arrive": None, "copy_of": pending.ticket})
        else:
            self._ghost(pending, request)

    def _overtake(self, held: _Held) -> None:
        held.left -= 1
        if held.left <= 0 and held in self._held:
            self.kernel.timetable.cancel(held.timer)
            self._let_go(held)

    def _let_go(self, held: _Held) -> None:
        self._held.remove(held)
        self._arrive_late(held.pending, held.request)

    # ------------------------------------------------------------ replies
    def keeps(self, pending: Pending, answer: Answer) -> bool:
        """Whether a reply does not get to its client, now or at all; what does instead is arranged."""
        rule = pending.fault
        if (cut := self._cut_from(pending)) is not None:
            if rule is not cut:  # else its loss is arranged already
                self._cut_short(cut, pending)
            return True
        if rule is None:
            return False
        assert isinstance(rule, Rule)
        fault, kernel = rule.fault, self.kernel
        if isinstance(fault, (LoseReply, Partition)):
            self._lose_later(pending, rule.span_ns(fault.notice_s))
        elif isinstance(fault, Delay) and fault.what != "request":
            self._later(rule, lambda: self._come_late(pending, answer), rule.span_ns(fault.by_s), "a late reply")
        elif isinstance(fault, Malformed):
            kernel.answer(Answer(pending.ticket, 200, "garbled", CorruptedBody(fault.text)))
        elif isinstance(fault, AnswerWith):
            kernel.answer(_error(pending.ticket, fault))
        elif isinstance(fault, Disconnect) and rule.span_ns(fault.after_s) <= 0:
            kernel.answer(Answer(pending.ticket, LOST, "", None))
        else:
            return False
        return True

    def _come_late(self, pending: Pending, answer: Answer) -> None:
        """A reply that has been under way gets to its client."""
        if (cut := self._cut_from(pending)) is not None:
            self._cut_short(cut, pending)
        else:
            self.kernel.answer(answer)

    def takes(self, push: Push) -> bool:
        """Whether faults of replies strike a push; it is lost, late or garbled then."""
        world = self.kernel.world
        subject = self._subject_of(push.stream)
        if subject is None:
            return False
        verdict = None
        for rule in self.rules.values():
            fault = rule.fault
            assert isinstance(fault, MessageFault)
            if _strikes_replies(fault) and subject.fits(fault.match) and rule.strikes(fault.when, world.now_ns):
                verdict = verdict or rule
        if verdict is None:
            return False
        fault, connections = verdict.fault, self.kernel.connections
        self.note({"fault": verdict.name, "kind": kind_of(fault), "push": push.stream})
        if isinstance(fault, Delay):
            self._later(verdict, lambda: connections.deliver(push), verdict.span_ns(fault.by_s), "a late push")
        elif isinstance(fault, Malformed):
            connections.deliver(Push(push.stream, "garbled", CorruptedBody(fault.text)))
        return True

    def _subject_of(self, stream: int) -> Subject | None:
        """The request that has opened a stream."""
        asked = self.kernel.connections.request_of(stream)
        if asked is None:
            return None
        return Subject(self.kernel.world, asked.caller_id, BY_MESSAGE[type(asked.message)].name, asked.message)

    def _lose_later(self, pending: Pending, span_ns: int) -> None:
        rule = pending.fault
        assert isinstance(rule, Rule)
        self._later(rule, lambda: self._lose(pending), span_ns, "a loss noticed")

    def _lose(self, pending: Pending) -> None:
        """The client notices that nothing comes any more."""
        stream = pending.stream
        if stream:
            self.kernel.connections.disconnect(stream)
        self.kernel.answer(Answer(pending.ticket, LOST, "", None))

    def _break(self, pending: Pending, stream: int) -> None:
        """The connection breaks: the server gives up what is parked."""
        if pending.answer is None:
            engine.abandon(self.kernel.world, pending.ticket)
        if stream or pending.answer is None:
            self._lose(pending)

    # ------------------------------------------------------------ the server and its weaknesses
    def cut(self, rule: Rule) -> None:
        """A partition begins. Requests that are parked stay so, but nothing gets back to their clients."""
        self.cuts[rule.name] = rule
        parked = self.kernel.world.queues.polls
        for pending in list(self.kernel.pending.values()):
            if pending.ticket in parked and cuts_off(rule.fault, self._sender_of(pending)):
                self._cut_short(rule, pending)
        for stream in self.kernel.connections.all_streams():
            subject = self._subject_of(stream)
            if subject is not None and cuts_off(rule.fault, subject):
                self.tally.add(rule.name)
                self.kernel.connections.disconnect(stream)

    def forget(self) -> None:
        """The server starts anew: what has stopped it has gone, and all connections."""
        self.stopped_by = None
        self._leaked = 0
        self._reads.clear()

    def stop(self, rule: Rule) -> None:
        """A weakness has brought the server to a stand."""
        self.stopped_by = rule
        self.note({"fault": rule.name, "kind": "hazard", "stopped": True})

    def _swallows(self, name: str) -> bool:
        """Whether the server never answers a request, since it has no connection to its database left."""
        if name in _STORELESS:
            return False
        if self.stopped_by is None:
            if (rule := self.hazards.get("pool_deadlock")) and name in _PROCESS_READS and self._pool_is_full(rule):
                self.stop(rule)
            if (rule := self.hazards.get("connection_leak")) and self._leaks(rule, name):
                self.stop(rule)
        return self.stopped_by is not None

    def _pool_is_full(self, rule: Rule) -> bool:
        fault, reads, now_ns = _hazard(rule), self._reads, self.kernel.world.now_ns
        reads.append(now_ns)
        while now_ns - reads[0] > fault.window_s * SECOND_NS:
            reads.popleft()
        return len(reads) >= fault.pool_size and self._lucky(rule)

    def _leaks(self, rule: Rule, name: str) -> bool:
        if self._leaked >= _hazard(rule).pool_size:
            return True
        self._leaked += name in _ID_CHANGES
        return False

    def _lucky(self, rule: Rule) -> bool:
        return rule.chance.random() < _hazard(rule).probability

    def _set_wakeups(self) -> Rule | None:
        """How the server wakes parked calls, drawn for each request; gives the hazard that keeps it from it."""
        wakeups, limited_by = "all", None
        if (rule := self.hazards.get("lossy_wakeup")) and self._lucky(rule):
            wakeups, limited_by = "one", rule
        if (rule := self.hazards.get("lost_signal")) and self._lucky(rule):
            wakeups, limited_by = "none", rule
        engine.set_wakeups(self.kernel.world, wakeups)
        return limited_by


def _waiting(world: World) -> int:
    """How many processes wait, in all colonies."""
    return sum(len(tables[WAITING]) for tables in world.by_state.values())


def _matches(rule: Rule, subject: Subject) -> bool:
    return isinstance(rule.fault, MessageFault) and subject.fits(rule.fault.match)


def _strikes_replies(fault: MessageFault) -> bool:
    return isinstance(fault, (LoseReply, Malformed)) or (isinstance(fault, Delay) and fault.what == "reply")


def _hazard(rule: Rule) -> Hazard:
    assert isinstance(rule.fault, Hazard)
    return rule.fault


def _error(ticket: int, fault: AnswerWith) -> Answer:
    return Answer(ticket, fault.status, "error", ErrorBody(fault.status, fault.text))


def cuts_off(fault: Any, subject: Subject) -> bool:
    """Whether a partition is between the server and a caller."""
    if not isinstance(fault, Partition):
        return False
    if fault.executor_type and fault.executor_type != subject.executor_type:
        return False
    return not fault.actors or fits(fault.actors, *subject.names)
