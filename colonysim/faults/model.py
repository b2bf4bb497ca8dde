"""Faults as data: what may go wrong, to whom, when and how. The same structs in Python, JSON and YAML.

A fault is one struct with a `kind`. Faults of messages say *which* (`match`), *when* (`when`) and, by their kind,
*what*; faults of actors and of the server strike at a step of an actor (`when`) or at a time (`times`).
`Plan` is a set of faults; `read_faults` makes them from plain data. Nothing here acts: see network.py.
All times are seconds since the start of the run. What lasts needs an end: `until_s`, a count, or the plan's end.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Annotated, Any, ClassVar, Final, Literal, Protocol

from msgspec import Meta
from msgspec.structs import force_setattr, replace

from colonysim.core.values import BadValue, Value, read_value
from colonysim.faults.triggers import (
    After,
    BadFault,
    FaultNumber,
    Match,
    Names,
    Role,
    Times,
    When,
    as_names,
    check_window,
    fits,
)  # fmt: skip
from colonysim.kernel import randomness
from colonysim.kernel.randomness import MOST, AnySpan, NotNegative, Positive, Probability

__all__ = [
    "HAZARDS", "KINDS", "ActorFault", "After", "AnswerWith", "AnyFault", "BadFault", "ClockSkew", "Crash",
    "Delay", "Disconnect", "Duplicate", "Fault", "Hazard", "HazardName", "LoseReply", "LoseRequest",
    "Malformed", "Match", "MessageFault", "Names", "Partition", "Pause", "Plan", "Reorder", "Restart", "Role",
    "ServerFault", "SlowDown", "Span", "Swarm", "Times", "Victim", "When", "check_end", "fits",
    "kind_of", "named", "read_faults",
]  # fmt: skip

Span = AnySpan
"""Seconds: a number, `[least, most]`, or a distribution."""

HazardName = Literal["lossy_wakeup", "lost_signal", "pool_deadlock", "connection_leak", "retried_close", "double_close"]


# ---------------------------------------------------------------- what all faults have
class Fault(Value, frozen=True, kw_only=True, omit_defaults=True, tag_field="kind"):
    """A fault. `name` is unique in a plan, and the source of its chance; without one it is called by its kind."""

    kind: ClassVar[str] = ""

    name: str = ""
    enabled: bool = True

    @property
    def ends(self) -> bool:
        """Whether it comes to an end by itself."""
        return False


# ---------------------------------------------------------------- faults of messages
class MessageFault(Fault, frozen=True, kw_only=True):
    """Something happens to a request or its reply. The first fault that strikes a request decides."""

    match: Match = Match()
    when: When = When()

    @property
    def ends(self) -> bool:
        return self.when.ends


class LoseRequest(MessageFault, frozen=True, kw_only=True, tag="lose_request"):
    """The request never reaches the server; the client notices after `notice_s`."""

    notice_s: Span = 0.0


class LoseReply(MessageFault, frozen=True, kw_only=True, tag="lose_reply"):
    """The request takes effect, its reply is lost; the client notices `notice_s` after the server has replied."""

    notice_s: Span = 0.0


class Duplicate(MessageFault, frozen=True, kw_only=True, tag="duplicate"):
    """The request reaches the server `copies` times more, each `after_s` after the one before.

    The client gets the first reply.
    """

    copies: FaultNumber = 1
    after_s: Span = 0.0


class Delay(MessageFault, frozen=True, kw_only=True, tag="delay"):
    """The request, the reply, or each of both takes `by_s` longer."""

    by_s: Span
    what: Literal["request", "reply", "both"] = "request"


class Reorder(MessageFault, frozen=True, kw_only=True, tag="reorder"):
    """The request is held back until `past` later ones that match have overtaken it, `within_s` at most."""

    past: FaultNumber = 1
    within_s: Positive = 1.0


class AnswerWith(MessageFault, frozen=True, kw_only=True, tag="answer"):
    """The client gets this status and error text; the server has `served` the request all the same, or not."""

    status: Annotated[int, Meta(ge=400, le=599, extra={"fix": "errors have a status of 400 to 599"})]
    text: str
    served: bool = False


class Disconnect(MessageFault, frozen=True, kw_only=True, tag="disconnect"):
    """The connection breaks `after_s` after the request has reached the server.

    What has been answered by then has taken effect, what is parked is given up. A websocket loses all its
    subscriptions.
    """

    after_s: Span = 0.0


class Malformed(MessageFault, frozen=True, kw_only=True, tag="malformed"):
    """The request takes effect, the reply's body is `text` instead of JSON."""

    text: str = '{"payloadtype":"'


# ---------------------------------------------------------------- faults of actors
class ActorFault(Fault, frozen=True, kw_only=True):
    """Something happens to programs or modelled executors.

    `actors` and `executor_type` say to which; of those that fit, `pick` are drawn each time (None: all).
    It strikes at steps (`when`; a step is a request or a sleep, and then strikes who takes it) or at `times`.
    """

    actors: Names = ()
    executor_type: str = ""
    when: When | None = None
    times: Times | None = None
    pick: FaultNumber | None = 1

    def check(self) -> None:
        as_names(self, "actors")
        if (self.when is None) is (self.times is None):
            raise BadFault("a fault of an actor needs either `when` (at which of its steps) or `times`")

    @property
    def ends(self) -> bool:
        trigger = self.when or self.times
        return trigger is not None and trigger.ends


class Crash(ActorFault, frozen=True, kw_only=True, tag="crash"):
    """The actor dies where it stands, and is started anew `restart_after_s` later (None: never)."""

    restart_after_s: Span | None = None


class Pause(ActorFault, frozen=True, kw_only=True, tag="pause"):
    """The actor stands still for so long, as under SIGSTOP; it does not notice."""

    for_s: Span


class SlowDown(ActorFault, frozen=True, kw_only=True, tag="slow_down"):
    """All that the actor does by itself (sleeps, service times) takes `factor` times as long, for so long."""

    factor: Positive
    for_s: Span


class ClockSkew(ActorFault, frozen=True, kw_only=True, tag="clock_skew"):
    """The actor's clock is `by_s` fast (below 0: slow) and gains `drift` seconds a second, for so long."""

    by_s: Annotated[float, Meta(ge=-MOST, le=MOST)] = 0.0
    drift: Annotated[float, Meta(gt=-1, le=1000)] = 0.0
    for_s: Span


class Victim(Protocol):
    """What faults strike: programs, modelled executors. Enlisted with `sim.faults.enlist(victim)`.

    All is called under the simulation's lock and must not wait. A victim tells `sim.faults.step(name)` of each of
    its steps, and asks `sim.faults.slowness(name)` and `sim.faults.skew_ns(name)` when it needs them.
    """

    @property
    def name(self) -> str: ...

    @property
    def executor_type(self) -> str:
        """ "" where it is no executor."""

    def crash(self, restart_after_s: float | None) -> None: ...

    def pause(self, until_ns: int) -> None: ...

    def resume(self) -> None:
        """Its pause, if there is one, ends now."""


# ---------------------------------------------------------------- faults of the server
class ServerFault(Fault, frozen=True, kw_only=True):
    """Something happens to the server, or between it and its clients, at `times`."""

    times: Times

    @property
    def ends(self) -> bool:
        return self.times.ends


class Restart(ServerFault, frozen=True, kw_only=True, tag="restart"):
    """The server goes and is back `down_s` later. All connections break, parked requests with them.

    What it keeps in memory only is lost: subscriptions and channels. Who calls it meanwhile notices after
    `notice_s`.
    """

    down_s: Span = 0.0
    notice_s: Span = 1.0


class Partition(ServerFault, frozen=True, kw_only=True, tag="partition"):
    """The actors (see Match.callers; none given: everybody) cannot reach the server for so long.

    Requests are lost, and so are the replies to those that were parked; the client notices after `notice_s`.
    """

    actors: Names = ()
    executor_type: str = ""
    for_s: Span
    notice_s: Span = 1.0

    def check(self) -> None:
        as_names(self, "actors")


HAZARDS: Final[dict[str, str]] = {
    "lossy_wakeup": "a process that comes to wait wakes one parked assign of its type, whether that may have it or not",
    "lost_signal": "a process that comes to wait wakes nobody",  # docs/protocol/b-processes.md 4.4
    "pool_deadlock": "`pool_size` reads of processes within `window_s` stop the server until it is restarted",
    "connection_leak": "after `pool_size` changes of ids nothing that needs storage is answered until a restart",
    "retried_close": "a close is sent once more by itself; the client gets the second reply",
    "double_close": "closes of both kinds by the holder at one instant may both get 200; only the first has counted",
}
"""The named hazards of the reference, all off unless a plan says so."""


class Hazard(Fault, frozen=True, kw_only=True, tag="hazard"):
    """A weakness of the reference server that it shows by chance only (HAZARDS), on from `from_s` to `until_s`."""

    hazard: HazardName
    probability: Probability = 1.0
    from_s: NotNegative = 0.0
    until_s: NotNegative | None = None
    pool_size: FaultNumber = 100
    window_s: Positive = 0.01

    def check(self) -> None:
        check_window(self)

    @property
    def ends(self) -> bool:
        return self.until_s is not None


AnyFault = (
    LoseRequest
    | LoseReply
    | Duplicate
    | Delay
    | Reorder
    | AnswerWith
    | Disconnect
    | Malformed
    | Crash
    | Pause
    | SlowDown
    | ClockSkew
    | Restart
    | Partition
    | Hazard
)


# ---------------------------------------------------------------- plans
class Swarm(Value, frozen=True, kw_only=True, omit_defaults=True):
    """Which faults of a plan are active is drawn for each seed: each with probability `keep`, `at_least` so many."""

    keep: Probability = 0.5
    at_least: Annotated[int, Meta(ge=0, le=1_000_000_000)] = 1


class Plan(Value, frozen=True, kw_only=True, omit_defaults=True):
    """Faults for one run. At `until_s` all of them end, whatever they say themselves."""

    faults: tuple[AnyFault, ...] = ()
    until_s: Positive | None = None
    swarm: Swarm | None = None

    def check(self) -> None:
        force_setattr(self, "faults", named(self.faults))
        if self.until_s is None:
            for fault in self.faults:
                check_end(fault)

    def active(self, seed: int) -> tuple[AnyFault, ...]:
        """The faults that are on under a seed: all enabled ones, or those the swarm draws."""
        faults = [fault for fault in self.faults if fault.enabled]
        if self.swarm is None:
            return tuple(faults)
        draws = [(randomness.source(seed, f"swarm/{fault.name}").random(), fault) for fault in faults]
        drawn = sorted(draws, key=lambda draw: draw[0])
        count = max(sum(draw < self.swarm.keep for draw, _ in draws), self.swarm.at_least)
        kept = {fault.name for _, fault in drawn[:count]}
        return tuple(fault for fault in faults if fault.name in kept)


def named(faults: Iterable[AnyFault], taken: Iterable[str] = ()) -> tuple[AnyFault, ...]:
    """The faults, each with a name of its own. Errors: BadValue where a name is given twice."""
    names = dict.fromkeys(taken)
    result = []
    for fault in faults:
        name = fault.name
        if not name:
            kind = kind_of(fault)
            numbers = (kind if n == 1 else f"{kind}-{n}" for n in range(1, 1_000_000))
            name = next(candidate for candidate in numbers if candidate not in names)
            fault = replace(fault, name=name)
        elif name in names:
            raise fault.refused("name", "there is a fault of that name already; give it another")
        names[name] = None
        result.append(fault)
    return tuple(result)


def kind_of(fault: Fault) -> str:
    """The fault's kind, as files spell it."""
    return str(fault.__struct_config__.tag)


def check_end(fault: Fault) -> None:
    """Faults that strike again and again by themselves need an end. Errors: BadValue."""
    by_itself = isinstance(fault, (ServerFault, Hazard)) or (isinstance(fault, ActorFault) and fault.times is not None)
    if by_itself and not fault.ends:
        raise BadValue(
            f"fault {fault.name or kind_of(fault)!r} has no end: give it until_s or count, or the plan until_s"
        )


def read_faults(data: Sequence[Any] | Any) -> tuple[AnyFault, ...]:
    """Faults from plain data, as JSON and YAML give it: one or a list. Errors: BadValue with path and fix."""
    listed = data if isinstance(data, (list, tuple)) else [data]
    return tuple(_read(one, place) for place, one in enumerate(listed))


def _read(data: Any, place: int) -> AnyFault:
    try:
        fault: AnyFault = read_value(AnyFault, data)
        return fault
    except BadValue as error:
        name = data.get("name") if isinstance(data, dict) else None
        raise BadValue(f"fault {name or place!r}: {error}", error.path) from None


KINDS: Final[dict[str, type[Fault]]] = {
    str(one.__struct_config__.tag): one
    for one in (
        LoseRequest, LoseReply, Duplicate, Delay, Reorder, AnswerWith, Disconnect, Malformed,
        Crash, Pause, SlowDown, ClockSkew, Restart, Partition, Hazard,
    )
}  # fmt: skip
"""All kinds of faults by the name that files give them."""
