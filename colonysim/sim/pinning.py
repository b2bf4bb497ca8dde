"""Pins faults down: what has struck by chance becomes faults that strike once, each at its time and for as long."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import Any, NamedTuple

from msgspec.structs import replace

from colonysim.core.model import SECOND_NS
from colonysim.sim.faults import ActorFault, AnyFault, Crash, MessageFault, Restart, ServerFault, Times, When

_ASIDE = ("back", "healed", "on", "stopped", "push")


class Strike(NamedTuple):
    """One strike of a fault, counted from the start of the run. `span_ns` is how long it lasts, where it does."""

    fault: str
    at_ns: int
    actor: str
    span_ns: int | None

    @classmethod
    def read(cls, at_ns: int, line: dict[str, Any]) -> Strike | None:
        """From what is written down of a run; None for what is no strike."""
        if "fault" not in line or any(key in line for key in _ASIDE):
            return None
        spans = (line[key] for key in ("for_ns", "down_ns", "restart_after_ns") if line.get(key) is not None)
        return cls(line["fault"], at_ns, line.get("actor", ""), next(spans, None))


def pinned(fault: AnyFault, strikes: Sequence[Strike]) -> tuple[AnyFault, ...] | None:
    """The strikes of a fault as faults of their own; None where that cannot be said in other words."""
    if isinstance(fault, MessageFault):
        return tuple(_message(fault, list(same)) for _, same in groupby(strikes, lambda strike: strike.at_ns))
    if isinstance(fault, ActorFault):
        return tuple(_actor(fault, strike) for strike in strikes)
    if isinstance(fault, ServerFault):
        begun = [strike for strike in strikes if strike.span_ns is not None]  # not each request that was hit
        return tuple(_server(fault, strike) for strike in begun)
    return None


def _name(fault: AnyFault, strike: Strike) -> str:
    return f"{fault.name} at {strike.at_ns / SECOND_NS:.9g}" + (f" {strike.actor}" if strike.actor else "")


def _message(fault: AnyFault, strikes: list[Strike]) -> AnyFault:
    """From just before the time of the strike on, whatever comes first."""
    assert isinstance(fault, MessageFault)
    from_s = max(strikes[0].at_ns - 1, 0) // 1000 / 1_000_000
    pinned: AnyFault = replace(fault, name=_name(fault, strikes[0]), when=When(from_s=from_s, first=len(strikes)))
    return pinned


def _actor(fault: AnyFault, strike: Strike) -> AnyFault:
    times = Times(at_s=(strike.at_ns / SECOND_NS,))
    changed: dict[str, Any] = {"when": None, "times": times, "actors": (strike.actor,), "pick": None}
    if strike.span_ns is not None:
        span = "restart_after_s" if isinstance(fault, Crash) else "for_s"
        changed[span] = strike.span_ns / SECOND_NS
    pinned: AnyFault = replace(fault, name=_name(fault, strike), **changed)
    return pinned


def _server(fault: AnyFault, strike: Strike) -> AnyFault:
    assert strike.span_ns is not None
    span = "down_s" if isinstance(fault, Restart) else "for_s"
    times = Times(at_s=(strike.at_ns / SECOND_NS,))
    pinned: AnyFault = replace(fault, name=_name(fault, strike), times=times, **{span: strike.span_ns / SECOND_NS})
    return pinned
