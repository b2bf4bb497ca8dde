"""Faults of actors: what may happen to programs and to simulated executors."""

from __future__ import annotations

from collections.abc import Sequence
from signal import Signals
from typing import Annotated, ClassVar, Literal, Protocol

import msgspec
from msgspec import Meta

from colonysim.core.records import SECOND_NS
from colonysim.faults.fault import FAULTS, Fault, Hit, KnownParts, Strike, is_zero, no_such_actor, why_no_chance
from colonysim.faults.triggers import BadFault, FaultNumber, Names, Span, Times, When, as_names, fits
from colonysim.kernel.randomness import AnyOffset, NotNegative, Positive, is_no_offset

TerminatingSignal = Literal["SIGTERM", "SIGINT", "SIGHUP", "SIGQUIT", "SIGUSR1", "SIGUSR2"]


class Victim(Protocol):
    """An actor that faults may strike: a program or a simulated executor. Added by `sim.faults.enlist(victim)`.

    All methods are called under the simulation's lock and must not wait. A victim calls `sim.faults.step(name)` at each
    of its steps, and `sim.faults.slowness(name)` and `sim.faults.skew_ns(name)` when it needs these values.
    """

    @property
    def name(self) -> str: ...

    @property
    def executor_type(self) -> str:
        """The executor type; "" if it is not an executor."""

    def crash(self, restart_after_s: float | None) -> None:
        """Die at once, and restart after some seconds; None: never."""

    def terminate(self, number: int, grace_s: float, restart_after_s: float | None) -> None:
        """End by the signal of this number, after `grace_s` at the latest. Restart as after `crash`."""

    def pause(self, until_ns: int) -> None:
        """Stop until a virtual time, in nanoseconds since 1970."""

    def resume(self) -> None:
        """Continue, if it is stopped."""


class Effect(msgspec.Struct):
    """The effect of a fault on one actor, from `since_ns` to `until_ns` (virtual time in nanoseconds since 1970).

    `hit` is the strike that began or prolonged it. `span_ns` is how long that lasts, as drawn from the fault's field
    `lasts`; None if the field is None, or if there is none.
    """

    fault: ActorFault
    hit: Hit
    since_ns: int
    until_ns: int
    span_ns: int | None

    @property
    def span_s(self) -> float | None:
        """How long it lasts, in seconds."""
        return None if self.span_ns is None else self.span_ns / SECOND_NS


class ActorFault(Fault, frozen=True, kw_only=True):
    """Base of the faults of actors. It strikes at their steps (`when`) or by itself (`times`).

    `actors` (names) and `executor_type` say which actors it concerns. A step is a request or a sleep; the fault strikes
    the actor that takes it. At `times`, `pick` of the concerned actors are drawn (None: all); with `times.mtbf_s` each
    of them fails on its own.

    A fault overrides `begin`, which changes the actor, and `end`, which undoes that; or `slowness` or `skew_ns`, which
    the actor calls while the effect lasts. The field named by `lasts` has the length of the effect.
    """

    actors: Names = ()
    executor_type: str = ""
    when: When | None = None
    times: Times | None = None
    pick: FaultNumber | None = 1

    decides: ClassVar[tuple[str, ...]] = ("begin", "slowness", "skew_ns")
    lasts: ClassVar[str] = "for_s"
    ends_with_process: ClassVar[bool] = False
    """Whether its effect ends when the actor's process dies: that of the process, not that of its machine."""
    kills: ClassVar[bool] = False
    """Whether it kills the actor's process."""

    def begin(self, actor: Victim, effect: Effect) -> None:
        """Begin the effect on an actor. Called under the simulation's lock."""

    def end(self, actor: Victim, others: Sequence[Effect]) -> None:
        """Undo the effect, because the fault was removed; `others`: effects of the same class that still last."""

    def slowness(self, effect: Effect) -> float | None:
        """Return by which factor the actor's own work takes longer; None if the fault does not change that."""
        return None

    def skew_ns(self, effect: Effect, now_ns: int) -> int | None:
        """Return how far the actor's clock is ahead of `now_ns`, in nanoseconds; None if it is not changed."""
        return None

    def offsets_ns(self, hit: Hit) -> dict[str, int]:
        """Return other values drawn in a strike, by the name of the field without `_s`, for the log."""
        return {}

    # ------------------------------------------------------------ which actors, and when
    def check(self) -> None:
        as_names(self, "actors")
        if (self.when is None) is (self.times is None):
            raise BadFault("a fault of an actor needs either `when` (at which of its steps) or `times`")
        if self.pick != 1 and self.times is not None and self.times.mtbf_s is not None:
            raise self.refused("pick", "leave it out beside times.mtbf_s, with which each actor fails on its own")

    def concerns(self, actor: Victim) -> bool:
        """Return whether it concerns an actor."""
        if self.executor_type and self.executor_type != actor.executor_type:
            return False
        return not self.actors or fits(self.actors, actor.name)

    @property
    def trigger(self) -> When | Times | None:
        return self.when or self.times

    @property
    def strikes_by_itself(self) -> bool:
        return self.times is not None

    def why_idle(self, seen: int, struck: int) -> str:
        if self.when is not None:
            return why_no_chance(self.when, seen, struck, "step", "was taken by an actor that it is about")
        return "its time came, and no actor that it is about was there" if struck else "its time did not come"

    def concerns_nobody(self, known: KnownParts) -> str:
        actors = [*known.executors, *known.programs]
        return no_such_actor(self.actors, self.executor_type, actors, "executor or program")

    def changes_nothing(self, known: KnownParts) -> str:
        span = getattr(self, self.lasts, None)
        return f"{self.lasts} is 0" if self.lasts == "for_s" and span is not None and is_zero(span) else ""

    def at_fixed_times(self, strikes: Sequence[Strike]) -> tuple[Fault, ...]:
        return tuple(
            self.with_spans_of(
                strike, when=None, times=Times(at_s=(strike.at_s,)), actors=(strike.actor,), executor_type="", pick=1
            )
            for strike in strikes
        )


@FAULTS.kind
class Crash(ActorFault, frozen=True, kw_only=True, tag="crash"):
    """The actor dies at once, and restarts `restart_after_s` seconds later (None: never)."""

    restart_after_s: Span | None = None

    lasts: ClassVar[str] = "restart_after_s"
    is_on_while_it_lasts: ClassVar[bool] = False
    kills: ClassVar[bool] = True

    def begin(self, actor: Victim, effect: Effect) -> None:
        actor.crash(effect.span_s)


@FAULTS.kind
class Terminate(ActorFault, frozen=True, kw_only=True, tag="terminate"):
    """The actor gets a signal to end; if it has not ended `grace_s` seconds later, it dies as in a crash.

    A program handles the signal in its main thread, at its next step or while it waits; without a handler it dies at
    once, as simulated executors do. It restarts `restart_after_s` seconds after its end (None: never).
    """

    signal: TerminatingSignal = "SIGTERM"
    grace_s: NotNegative = 10.0
    restart_after_s: Span | None = None

    lasts: ClassVar[str] = "restart_after_s"
    is_on_while_it_lasts: ClassVar[bool] = False

    def begin(self, actor: Victim, effect: Effect) -> None:
        actor.terminate(Signals[self.signal], self.grace_s, effect.span_s)


@FAULTS.kind
class Pause(ActorFault, frozen=True, kw_only=True, tag="pause"):
    """The actor stops for `for_s` seconds, as after SIGSTOP, without noticing."""

    for_s: Span

    ends_with_process: ClassVar[bool] = True

    def begin(self, actor: Victim, effect: Effect) -> None:
        actor.pause(effect.until_ns)

    def end(self, actor: Victim, others: Sequence[Effect]) -> None:
        actor.resume()
        for other in others:
            actor.pause(other.until_ns)


@FAULTS.kind
class SlowDown(ActorFault, frozen=True, kw_only=True, tag="slow_down"):
    """The actor's own work (sleeps, service times) takes `factor` times as long, for `for_s` seconds."""

    factor: Positive
    for_s: Span

    def slowness(self, effect: Effect) -> float:
        return self.factor

    def changes_nothing(self, known: KnownParts) -> str:
        return super().changes_nothing(known) or ("factor is 1" if self.factor == 1 else "")


@FAULTS.kind
class ClockSkew(ActorFault, frozen=True, kw_only=True, tag="clock_skew"):
    """The actor's clock is `by_s` seconds fast and gains `drift` seconds a second, for `for_s` seconds.

    Below 0, the clock is slow, or loses time.
    """

    by_s: AnyOffset = 0.0
    drift: Annotated[float, Meta(gt=-1, le=1000)] = 0.0
    for_s: Span

    def skew_ns(self, effect: Effect, now_ns: int) -> int:
        by_s, since_ns = self.by_s, now_ns - effect.since_ns
        if isinstance(by_s, (int, float)):
            return round(by_s * SECOND_NS + self.drift * since_ns)
        return effect.hit.offset_ns(by_s, "by_s") + round(self.drift * since_ns)

    def offsets_ns(self, hit: Hit) -> dict[str, int]:
        return {} if isinstance(self.by_s, (int, float)) else {"by": hit.offset_ns(self.by_s, "by_s")}

    def changes_nothing(self, known: KnownParts) -> str:
        if nothing := super().changes_nothing(known):
            return nothing
        if is_no_offset(self.by_s) and self.drift == 0:
            return "by_s and drift are 0"
        if not any(fits(self.actors, name) for name, _ in known.programs):
            return "simulated executors never read a clock, only programs do"
        return ""
