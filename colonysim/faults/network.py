"""The network between clients and server: executes the verdicts of faults on requests, replies and pushes.

Each fault is called for each request when it is sent, and has its own random numbers; the first that strikes decides.
Only `_deliver_request`, `keeps` and `takes` execute verdicts on messages. All methods are called under the simulation's
lock.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from types import UnionType

import msgspec

from colonysim.core import engine
from colonysim.core.protocol import Answer, ErrorBody, Push, Request
from colonysim.core.records import SECOND_NS
from colonysim.core.registry import BY_MESSAGE
from colonysim.faults.fault import Fault, asking
from colonysim.faults.hazards import WeakServer
from colonysim.faults.messages import MessageFault
from colonysim.faults.requests import ReplyInfo, RequestInfo
from colonysim.faults.rule import Rule
from colonysim.faults.server import ServerFault
from colonysim.faults.tally import FaultTally
from colonysim.faults.verdicts import (
    PASS,
    BadVerdict,
    Break,
    Corrupt,
    HoldBack,
    Late,
    Lose,
    Pass,
    Refuse,
    Repeat,
    ReplyVerdict,
    RequestVerdict,
)
from colonysim.kernel.kernel import Kernel
from colonysim.kernel.pending import LOST, CorruptedBody, Pending


class _Held(msgspec.Struct, eq=False):
    """A request that is held back until `left` others have overtaken it."""

    rule: Rule
    pending: Pending
    request: Request
    left: int
    timer: int = 0


class FaultyNetwork:
    """The active faults of messages, partitions and outages, and the messages that are delayed.

    `cuts` are the partitions that are on, `outage` the fault that keeps the server down, `server` has its weaknesses.
    """

    def __init__(self, kernel: Kernel, tally: FaultTally, heard: Callable[[str, int], None]) -> None:
        self.kernel = kernel
        self.tally = tally
        self.heard = heard  # called with the type and status of each answer of the server
        self.server = WeakServer(kernel, tally)
        self.rules: dict[str, Rule] = {}
        self.cuts: dict[str, Rule] = {}
        self.outage: Rule | None = None
        self._held: list[_Held] = []

    @property
    def idle(self) -> bool:
        """Whether nothing is at work."""
        return not (self.rules or self.cuts or self.outage or self.server.is_weak)

    # ------------------------------------------------------------ requests
    def send(self, pending: Pending, request: Request) -> None:
        """Send a request of a client: it arrives now, later, more than once or not at all."""
        kernel, call = self.kernel, pending.call
        world = kernel.world
        pending.by = kernel.calling_program
        info = RequestInfo(world, request.caller_id, call.payload_type, request.message, pending.by)
        rules: Iterable[Rule] = self.rules.values()
        if request.stream:
            rules = [rule for rule in rules if not _strikes_pushes(rule)]
        struck = self._first_that_strikes(info, rules)
        rule = self.outage or self._cut_between(info) or struck  # faults draw also where nothing gets through
        overtaken = [held for held in self._held if _concerns(held.rule, info)]
        verdict: RequestVerdict = PASS
        if rule is not None:
            self.tally.mark(rule, pending)
            verdict = self._verdict_on_request(rule, info)
        self._deliver_request(rule, verdict, pending, request)
        if not isinstance(verdict, HoldBack):
            for held in overtaken:
                self._overtake(held)

    def _verdict_on_request(self, rule: Rule, info: RequestInfo) -> RequestVerdict:
        fault = _decider(rule)
        with asking(fault, "on_request"):
            return fault.on_request(info, rule.hit(self.kernel.world.now_ns))

    def _verdict_on_reply(self, rule: Rule, reply: ReplyInfo) -> ReplyVerdict:
        fault = _decider(rule)
        with asking(fault, "on_reply"):
            return fault.on_reply(reply, rule.hit(self.kernel.world.now_ns))

    def _first_that_strikes(self, info: RequestInfo, rules: Iterable[Rule]) -> Rule | None:
        """Call every fault, so that none affects the random numbers of another. Returns the first that strikes."""
        first, now_ns = None, self.kernel.world.now_ns
        for rule in rules:
            fault = rule.fault
            assert isinstance(fault, MessageFault)
            try:
                concerns = fault.concerns(info)
            except Exception:  # asked about each request: nothing is set up unless something goes wrong
                with asking(fault, "concerns"):
                    raise
            if concerns and rule.strikes(fault.when, now_ns):
                first = first or rule
        return first

    def _deliver_request(self, rule: Rule | None, verdict: RequestVerdict, pending: Pending, request: Request) -> None:
        """Execute the verdict on a request. Raises BadVerdict."""
        if rule is None or isinstance(verdict, Pass):
            self.server.serve(pending, request)
            return
        match verdict:
            case Lose(notice_ns):
                self._lose_later(pending, notice_ns)
            case Late(by_ns):
                self._later(rule, lambda: self._arrive_late(pending, request), by_ns, "a late request")
            case HoldBack(past, within_ns):
                held = _Held(rule, pending, request, past)
                due_ns = self.kernel.world.now_ns + within_ns
                held.timer = self.kernel.timetable.add(
                    due_ns, lambda: self._let_go(held), "a request that is held back"
                )
                self._held.append(held)
            case Refuse(status, text):
                self.kernel.answer(_error(pending.ticket, status, text))
            case Repeat(copies, after_ns):
                self.server.serve(pending, request)
                for number in range(1, copies + 1):
                    self._later(rule, lambda: self._arrive_again(pending, request), number * after_ns, "a copy")
            case Break(after_ns):
                self.server.serve(pending, request)
                self._later(rule, lambda: self._break(pending, request.stream), after_ns, "a break")
            case _:
                raise _not_possible(rule.fault, "on_request", verdict, RequestVerdict)

    def _later(self, rule: Rule, act: Callable[[], object], span_ns: int, what: str) -> None:
        if span_ns <= 0:
            act()
        else:
            self.kernel.timetable.add(self.kernel.world.now_ns + span_ns, act, f"{what} ({rule.name})")

    def _arrive_late(self, pending: Pending, request: Request) -> None:
        """Deliver a delayed request, whether its client still waits or not."""
        kernel = self.kernel
        self.tally.write({"arrive": pending.ticket})
        if self.outage is not None:
            return self._lose_later(pending, 0)
        if (cut := self._cut_from(pending)) is not None:
            return self._cut_short(cut, pending)
        gone = not request.stream and pending.ticket not in kernel.pending
        if request.stream:
            if kernel.connections.request_of(request.stream) is None:
                return None
            kernel.pending[pending.ticket] = pending
        self.server.serve(pending, request)
        if gone:
            engine.abandon(kernel.world, pending.ticket)
        elif request.stream:
            kernel.pending.pop(pending.ticket, None)
            if pending.answer is not None:
                kernel.connections.answer(request.stream, pending.answer)
        return None

    def _arrive_again(self, pending: Pending, request: Request) -> None:
        """Deliver a copy of a request, if the server is up and answers."""
        if self.outage or self._cut_from(pending) or self.server.swallows(pending.call.payload_type):
            self.tally.write({"arrive": None, "copy_of": pending.ticket})
        else:
            self.server.serve_copy(pending, request)

    def _overtake(self, held: _Held) -> None:
        held.left -= 1
        if held.left <= 0 and held in self._held:
            self.kernel.timetable.cancel(held.timer)
            self._let_go(held)

    def _let_go(self, held: _Held) -> None:
        self._held.remove(held)
        self._arrive_late(held.pending, held.request)

    # ------------------------------------------------------------ replies and pushes
    def keeps(self, pending: Pending, answer: Answer) -> bool:
        """Execute the verdict on a reply: return whether it is kept from its client for now or for ever.

        What happens instead is arranged. Raises BadVerdict.
        """
        rule = pending.fault
        if (cut := self._cut_from(pending)) is not None:
            if rule is not cut:  # else its loss is arranged already
                self._cut_short(cut, pending)
            return True
        if rule is None:
            return False
        assert isinstance(rule, Rule)
        if not isinstance(rule.fault, (MessageFault, ServerFault)):
            return False
        kernel = self.kernel
        reply = ReplyInfo(pending.call.payload_type, answer.status, answer.payload_type, answer.body)
        verdict = self._verdict_on_reply(rule, reply)
        match verdict:
            case Pass():
                return False
            case Lose(notice_ns):
                self._lose_later(pending, notice_ns)
            case Late(by_ns):
                self._later(rule, lambda: self._come_late(pending, answer), by_ns, "a late reply")
            case Corrupt(text):
                kernel.answer(Answer(pending.ticket, 200, "garbled", CorruptedBody(text)))
            case Refuse(status, text):
                kernel.answer(_error(pending.ticket, status, text))
            case _:
                raise _not_possible(rule.fault, "on_reply", verdict, ReplyVerdict)
        return True

    def _come_late(self, pending: Pending, answer: Answer) -> None:
        """Deliver a delayed reply."""
        if (cut := self._cut_from(pending)) is not None:
            self._cut_short(cut, pending)
        else:
            self.kernel.answer(answer)

    def takes(self, push: Push) -> bool:
        """Execute the verdict on a push: return whether it is kept from its client for now or for ever.

        Raises BadVerdict.
        """
        info = self._subscription(push.stream)
        rules = [rule for rule in self.rules.values() if _strikes_pushes(rule)]
        rule = None if info is None else self._first_that_strikes(info, rules)
        if info is None or rule is None:
            return False
        self.tally.write({"fault": rule.name, "kind": rule.fault.kind, "push": push.stream})
        connections = self.kernel.connections
        reply = ReplyInfo(info.type_name, 200, push.payload_type, push.body, is_push=True)
        verdict = self._verdict_on_reply(rule, reply)
        match verdict:
            case Pass():
                return False
            case Lose():
                pass
            case Late(by_ns):
                self._later(rule, lambda: connections.deliver(push), by_ns, "a late push")
            case Corrupt(text):
                connections.deliver(Push(push.stream, "garbled", CorruptedBody(text)))
            case Refuse(status, text):
                connections.answer(push.stream, _error(0, status, text))
            case _:
                raise _not_possible(rule.fault, "on_reply", verdict, ReplyVerdict)
        return True

    def _subscription(self, stream: int) -> RequestInfo | None:
        """Return the request that has opened a stream."""
        asked = self.kernel.connections.request_of(stream)
        if asked is None:
            return None
        return RequestInfo(self.kernel.world, asked.caller_id, BY_MESSAGE[type(asked.message)].name, asked.message)

    # ------------------------------------------------------------ losses
    def _lose_later(self, pending: Pending, span_ns: int) -> None:
        rule = pending.fault
        assert isinstance(rule, Rule)
        self._later(rule, lambda: self._lose(pending), span_ns, "a loss noticed")

    def _lose(self, pending: Pending) -> None:
        """Notify the client that no answer will come."""
        stream = pending.stream
        if stream:
            self.kernel.connections.disconnect(stream)
        self.kernel.answer(Answer(pending.ticket, LOST, "", None))

    def _break(self, pending: Pending, stream: int) -> None:
        """Break the connection: the server drops a parked request."""
        if pending.answer is None:
            engine.abandon(self.kernel.world, pending.ticket)
        if stream or pending.answer is None:
            self._lose(pending)

    # ------------------------------------------------------------ partitions
    def cut(self, rule: Rule) -> None:
        """Begin a partition. Parked requests stay parked, but no answer reaches their clients."""
        self.cuts[rule.name] = rule
        parked = self.kernel.world.queues.polls
        for pending in list(self.kernel.pending.values()):
            if pending.ticket in parked and _cuts_off(rule, self._sender_of(pending)):
                self._cut_short(rule, pending)
        for stream in self.kernel.connections.all_streams():
            info = self._subscription(stream)
            if info is not None and _cuts_off(rule, info):
                self.tally.add(rule.name)
                self.kernel.connections.disconnect(stream)

    def unreachable_s(self, program: str) -> float | None:
        """Return in how many seconds a client that connects now notices that it cannot; None if it can.

        Who connects has not said who it is: partitions know only the name of its program.
        """
        info = RequestInfo(self.kernel.world, "", "", None, program)
        rule = self.outage or self._cut_between(info)
        if rule is None:
            return None
        self.tally.add(rule.name)
        verdict = self._verdict_on_request(rule, info)
        return verdict.notice_ns / SECOND_NS if isinstance(verdict, Lose) else 0.0

    def _cut_between(self, info: RequestInfo) -> Rule | None:
        return next((rule for rule in self.cuts.values() if _cuts_off(rule, info)), None)

    def _cut_from(self, pending: Pending) -> Rule | None:
        """Return the partition that is now between the server and the sender of a request."""
        return self._cut_between(self._sender_of(pending)) if self.cuts else None

    def _sender_of(self, pending: Pending) -> RequestInfo:
        call = pending.call
        message = None if isinstance(call.message, bytes) else call.message
        return RequestInfo(self.kernel.world, call.caller_id, call.payload_type, message, pending.by)

    def _cut_short(self, rule: Rule, pending: Pending) -> None:
        """Let a partition take a request or its reply; the client notices, if it still waits."""
        if pending.answer is None:
            self.tally.mark(rule, pending)
            verdict = self._verdict_on_request(rule, self._sender_of(pending))
            self._lose_later(pending, verdict.notice_ns if isinstance(verdict, Lose) else 0)


def _decider(rule: Rule) -> MessageFault | ServerFault:
    """Return the fault of a rule that has struck a message."""
    assert isinstance(rule.fault, (MessageFault, ServerFault))
    return rule.fault


def _strikes_pushes(rule: Rule) -> bool:
    return isinstance(rule.fault, MessageFault) and rule.fault.strikes_pushes


def _concerns(rule: Rule, info: RequestInfo) -> bool:
    with asking(rule.fault, "concerns"):
        return isinstance(rule.fault, MessageFault) and rule.fault.concerns(info)


def _cuts_off(rule: Rule, info: RequestInfo) -> bool:
    try:
        return isinstance(rule.fault, ServerFault) and rule.fault.cuts_off(info)
    except Exception:
        with asking(rule.fault, "cuts_off"):
            raise


def _error(ticket: int, status: int, text: str) -> Answer:
    return Answer(ticket, status, "error", ErrorBody(status, text))


def _not_possible(fault: Fault, method: str, verdict: object, possible: UnionType) -> BadVerdict:
    names = [kind.__name__ for kind in possible.__args__]
    listed = f"{', '.join(names[:-1])} or {names[-1]}"
    return BadVerdict(f"fault {fault.name!r}: {fault.kind}.{method} returned {verdict!r}; return {listed}")
