"""Faults of messages: of a request, its reply, and the pushes of a subscription."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import Annotated, ClassVar, Literal

from msgspec import Meta
from msgspec.structs import replace

from colonysim.core.wording import show_list
from colonysim.faults.fault import (
    FAULTS,
    Fault,
    Hit,
    KnownParts,
    Strike,
    is_zero,
    may_be_ids,
    one_of,
    why_no_chance,
)
from colonysim.faults.requests import ReplyInfo, RequestInfo
from colonysim.faults.triggers import FaultNumber, Match, Span, When, fits
from colonysim.faults.verdicts import (
    PASS,
    Break,
    Corrupt,
    HoldBack,
    Late,
    Lose,
    Refuse,
    Repeat,
    ReplyVerdict,
    RequestVerdict,
)


class MessageFault(Fault, frozen=True, kw_only=True):
    """Base of the faults of messages. The first fault that strikes a request decides what happens to it.

    A fault overrides `on_request`, `on_reply` or both: they are asked about each request that it strikes and about the
    reply to it, and return a verdict. A fault that overrides `on_reply` alone strikes the pushes of subscriptions too.
    """

    match: Match = Match()
    when: When = When()

    decides: ClassVar[tuple[str, ...]] = ("on_request", "on_reply")

    def on_request(self, request: RequestInfo, hit: Hit) -> RequestVerdict:
        """Decide what happens to a request that was just sent. Called under the simulation's lock."""
        return PASS

    def on_reply(self, reply: ReplyInfo, hit: Hit) -> ReplyVerdict:
        """Decide what happens to the reply, or to a push. The request has taken effect. Called under the lock."""
        return PASS

    def concerns(self, request: RequestInfo) -> bool:
        """Return whether it concerns a request; its trigger counts only such requests."""
        return request.fits(self.match)

    @property
    def strikes_pushes(self) -> bool:
        """Whether on a WebSocket it strikes the pushes, and not the request that subscribes."""
        return type(self).on_request is MessageFault.on_request

    @property
    def trigger(self) -> When:
        return self.when

    @property
    def window(self) -> When:
        return self.when

    @property
    def strikes_by_itself(self) -> bool:
        return False

    def why_idle(self, seen: int, struck: int) -> str:
        return why_no_chance(self.when, seen, struck, "request", "that it is about was sent")

    def concerns_nobody(self, known: KnownParts) -> str:
        match = self.match
        if known.programs or may_be_ids(match.callers):
            return ""  # only the run shows who sends what
        if match.colony and match.colony != known.colony:
            return f"there is no colony {match.colony!r}; the colony is {known.colony}"
        if match.types and not any(fits(match.types, one.type_name) for one in known.requests):
            sent = show_list(dict.fromkeys(one.type_name for one in known.requests))
            return f"nobody sends {one_of(match.types)}; the requests sent are {sent}"
        if match.executor_type and match.executor_type not in [type_name for _, type_name in known.executors]:
            types = show_list(dict.fromkeys(type_name for _, type_name in known.executors))
            return f"no executor has the type {match.executor_type!r}; the executors have {types}"
        if not any(one.fits(match) for one in known.requests):
            return "no client that fits its match sends a request that fits it"
        after = self.when.after
        if after is not None and not any(fits(after.type, one.type_name) for one in known.requests):
            return f"it waits for {after.type}, which nobody sends"
        return ""

    def at_fixed_times(self, strikes: Sequence[Strike]) -> tuple[Fault, ...]:
        return tuple(self._repeated(strike, len(list(same))) for strike, same in groupby(strikes))

    def _repeated(self, strike: Strike, count: int) -> Fault:
        """Return a fault that hits the first `count` messages of that type and caller from just before the strike."""
        match = self.match
        if strike.type_name:
            callers = (strike.actor,) if strike.actor else match.callers
            match = replace(match, types=(strike.type_name,), callers=callers)
        from_s = max(strike.at_ns - 1, 0) // 1000 / 1_000_000
        return self.with_spans_of(strike, match=match, when=When(from_s=from_s, first=count))


@FAULTS.kind
class LoseRequest(MessageFault, frozen=True, kw_only=True, tag="lose_request"):
    """The request never reaches the server; the client notices after `notice_s` seconds."""

    notice_s: Span = 0.0

    def on_request(self, request: RequestInfo, hit: Hit) -> RequestVerdict:
        return Lose(hit.span_ns(self.notice_s))


@FAULTS.kind
class LoseReply(MessageFault, frozen=True, kw_only=True, tag="lose_reply"):
    """The request takes effect, its reply is lost; the client notices `notice_s` seconds after the server replied."""

    notice_s: Span = 0.0

    def on_reply(self, reply: ReplyInfo, hit: Hit) -> ReplyVerdict:
        return Lose(hit.span_ns(self.notice_s))


@FAULTS.kind
class Duplicate(MessageFault, frozen=True, kw_only=True, tag="duplicate"):
    """The request reaches the server `copies` more times, each `after_s` seconds after the one before.

    The client gets the first reply.
    """

    copies: FaultNumber = 1
    after_s: Span = 0.0

    def on_request(self, request: RequestInfo, hit: Hit) -> RequestVerdict:
        return Repeat(self.copies, hit.span_ns(self.after_s))


@FAULTS.kind
class Delay(MessageFault, frozen=True, kw_only=True, tag="delay"):
    """The request, the reply, or each of both takes `by_s` seconds longer."""

    by_s: Span
    what: Literal["request", "reply", "both"] = "request"

    def on_request(self, request: RequestInfo, hit: Hit) -> RequestVerdict:
        return PASS if self.what == "reply" else Late(hit.span_ns(self.by_s))

    def on_reply(self, reply: ReplyInfo, hit: Hit) -> ReplyVerdict:
        return PASS if self.what == "request" else Late(hit.span_ns(self.by_s))

    @property
    def strikes_pushes(self) -> bool:
        return self.what == "reply"

    def changes_nothing(self, known: KnownParts) -> str:
        return "by_s is 0" if is_zero(self.by_s) else ""


@FAULTS.kind
class Reorder(MessageFault, frozen=True, kw_only=True, tag="reorder"):
    """The request is held back until `past` later ones that match have overtaken it, `within_s` seconds at most."""

    past: FaultNumber = 1
    within_s: Span = 1.0

    def check(self) -> None:
        if is_zero(self.within_s):
            raise self.refused("within_s", "must be greater than 0")

    def on_request(self, request: RequestInfo, hit: Hit) -> RequestVerdict:
        return HoldBack(self.past, hit.span_ns(self.within_s))


@FAULTS.kind
class AnswerWith(MessageFault, frozen=True, kw_only=True, tag="answer"):
    """The client gets this HTTP status and error text; `served`: whether the request takes effect nevertheless."""

    status: Annotated[int, Meta(ge=400, le=599, extra={"fix": "errors have a status of 400 to 599"})]
    text: str
    served: bool = False

    def on_request(self, request: RequestInfo, hit: Hit) -> RequestVerdict:
        return PASS if self.served else Refuse(self.status, self.text)

    def on_reply(self, reply: ReplyInfo, hit: Hit) -> ReplyVerdict:
        return Refuse(self.status, self.text)


@FAULTS.kind
class Disconnect(MessageFault, frozen=True, kw_only=True, tag="disconnect"):
    """The connection breaks `after_s` seconds after the request has reached the server.

    A request that was answered by then has taken effect; a parked one is dropped. A WebSocket loses all its
    subscriptions.
    """

    after_s: Span = 0.0

    def on_request(self, request: RequestInfo, hit: Hit) -> RequestVerdict:
        return Break(hit.span_ns(self.after_s))

    def on_reply(self, reply: ReplyInfo, hit: Hit) -> ReplyVerdict:
        return Lose() if hit.span_ns(self.after_s) <= 0 else PASS


@FAULTS.kind
class Malformed(MessageFault, frozen=True, kw_only=True, tag="malformed"):
    """The request takes effect, the reply's body is `text` instead of JSON."""

    text: str = '{"payloadtype":"'

    def on_reply(self, reply: ReplyInfo, hit: Hit) -> ReplyVerdict:
        return Corrupt(self.text)
