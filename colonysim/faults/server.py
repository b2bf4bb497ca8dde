"""Faults of the server: it goes away, or somebody cannot reach it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from colonysim.faults.fault import FAULTS, Fault, Hit, KnownParts, Strike, is_zero, may_be_ids, no_such_actor
from colonysim.faults.requests import ReplyInfo, RequestInfo
from colonysim.faults.triggers import Names, Span, Times, as_names, fits
from colonysim.faults.verdicts import (
    PASS,
    CutOff,
    GoDown,
    Lose,
    ReplyVerdict,
    RequestVerdict,
    ServerVerdict,
)


class ServerFault(Fault, frozen=True, kw_only=True):
    """Base of the faults of the server, or of the way to it. It strikes by itself at `times`.

    A fault overrides `strike`, which returns a verdict, and `on_request`, which says what becomes of a request that is
    sent while the effect lasts.
    """

    times: Times

    decides: ClassVar[tuple[str, ...]] = ("strike",)
    lasts: ClassVar[str] = "for_s"

    def strike(self, hit: Hit) -> ServerVerdict:
        """Decide what happens to the server. Called under the simulation's lock."""
        raise TypeError(f"{type(self).__name__} does not define `strike`")

    def on_request(self, request: RequestInfo, hit: Hit) -> RequestVerdict:
        """Decide what happens to a request that cannot reach the server."""
        return Lose()

    def on_reply(self, reply: ReplyInfo, hit: Hit) -> ReplyVerdict:
        """Decide what happens to the reply to a request that the fault has struck, if one comes after all."""
        return PASS

    def cuts_off(self, request: RequestInfo) -> bool:
        """Return whether it keeps the sender of a request from the server, where its verdict is CutOff."""
        return True

    @property
    def trigger(self) -> Times:
        return self.times

    def at_fixed_times(self, strikes: Sequence[Strike]) -> tuple[Fault, ...]:
        begun = [strike for strike in strikes if strike.spans_ns]  # the others are requests that it struck
        return tuple(self.with_spans_of(strike, times=Times(at_s=(strike.at_s,))) for strike in begun)


@FAULTS.kind
class Restart(ServerFault, frozen=True, kw_only=True, tag="restart"):
    """The server goes and is back `down_s` seconds later. All connections break, parked requests with them.

    What it keeps in memory only is lost: subscriptions and channels. Who calls it meanwhile notices after
    `notice_s` seconds.
    """

    down_s: Span = 0.0
    notice_s: Span = 1.0

    lasts: ClassVar[str] = "down_s"

    def strike(self, hit: Hit) -> ServerVerdict:
        return GoDown(hit.span_ns(self.down_s))

    def on_request(self, request: RequestInfo, hit: Hit) -> RequestVerdict:
        return Lose(hit.span_ns(self.notice_s))


@FAULTS.kind
class Partition(ServerFault, frozen=True, kw_only=True, tag="partition"):
    """The actors (names or ids of callers; none given: everybody) cannot reach the server for `for_s` seconds.

    Requests are lost, and so are the replies to those that were parked; the client notices after `notice_s` seconds.
    """

    actors: Names = ()
    executor_type: str = ""
    for_s: Span
    notice_s: Span = 1.0

    counts_messages: ClassVar[bool] = True

    def check(self) -> None:
        as_names(self, "actors")

    def strike(self, hit: Hit) -> ServerVerdict:
        return CutOff(hit.span_ns(self.for_s))

    def on_request(self, request: RequestInfo, hit: Hit) -> RequestVerdict:
        return Lose(hit.span_ns(self.notice_s))

    def on_reply(self, reply: ReplyInfo, hit: Hit) -> ReplyVerdict:
        return Lose(hit.span_ns(self.notice_s))

    def cuts_off(self, request: RequestInfo) -> bool:
        if self.executor_type and self.executor_type != request.executor_type:
            return False
        return not self.actors or fits(self.actors, *request.names)

    def why_idle(self, seen: int, struck: int) -> str:
        return "none of the actors that it cuts off called the server meanwhile" if struck else "its time did not come"

    def concerns_nobody(self, known: KnownParts) -> str:
        if known.programs or may_be_ids(self.actors):
            return ""  # only the run shows who sends what
        callers = [*known.executors, *((name, "") for name in known.users)]
        return no_such_actor(self.actors, self.executor_type, callers, "executor or user")

    def changes_nothing(self, known: KnownParts) -> str:
        return "for_s is 0" if is_zero(self.for_s) else ""
