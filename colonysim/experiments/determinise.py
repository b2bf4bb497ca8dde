"""Pins faults down: what has struck by chance becomes faults that strike once, each at its time and for as long."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import Any, NamedTuple

from msgspec.structs import replace

from colonysim.core.records import SECOND_NS
from colonysim.faults.model import ActorFault, AnyFault, Crash, MessageFault, Restart, ServerFault, Times, When
from colonysim.simulation.simulation import Simulation

_ASIDE = ("back", "healed", "on", "stopped", "push")


class Strike(NamedTuple):
    """One strike of a fault, counted from the start of the run.

    `actor` is whom it struck, or whose request, of type `type_name`; `span_ns` how long it lasts, where it does.
    """

    fault: str
    at_ns: int
    actor: str
    type_name: str = ""
    span_ns: int | None = None


def read_strike(sim: Simulation, line: dict[str, Any]) -> Strike | None:
    """From what is written down of a run when it happens; None for what is no strike."""
    if "fault" not in line or any(key in line for key in _ASIDE):
        return None
    world = sim.world
    spans = (line[key] for key in ("for_ns", "down_ns", "restart_after_ns") if line.get(key) is not None)
    actor, type_name = line.get("actor", ""), ""
    if "ask" in line:
        type_name = line["type"]
        acting = sim.kernel.programs.acting if sim.kernel.programs is not None else None
        records = world.executors_by_id.get(line["caller"])
        actor = acting.name if acting is not None else records[0].name if records else ""
    return Strike(line["fault"], world.now_ns - world.started_ns, actor, type_name, next(spans, None))


def pinned(fault: AnyFault, strikes: Sequence[Strike]) -> tuple[AnyFault, ...] | None:
    """The strikes of a fault as faults of their own; None where that cannot be said in other words."""
    if isinstance(fault, MessageFault):
        return tuple(_message(fault, key, len(list(same))) for key, same in groupby(strikes))
    if isinstance(fault, ActorFault):
        return tuple(_actor(fault, strike) for strike in strikes)
    if isinstance(fault, ServerFault):
        begun = [strike for strike in strikes if strike.span_ns is not None]  # not each request that was hit
        return tuple(_server(fault, strike) for strike in begun)
    return None


def _name(fault: AnyFault, strike: Strike) -> str:
    """A name that differs for all strikes of a run."""
    words = [fault.name, "at", f"{strike.at_ns / SECOND_NS:.9g}", strike.type_name, strike.actor]
    return " ".join(word for word in words if word)


def _message(fault: AnyFault, strike: Strike, count: int) -> AnyFault:
    """From just before the time of the strike on, whatever comes first of that type and caller."""
    assert isinstance(fault, MessageFault)
    match = fault.match
    if strike.type_name:
        match = replace(match, types=(strike.type_name,), callers=(strike.actor,) if strike.actor else match.callers)
    from_s = max(strike.at_ns - 1, 0) // 1000 / 1_000_000
    when = When(from_s=from_s, first=count)
    pinned: AnyFault = replace(fault, name=_name(fault, strike), match=match, when=when)
    return pinned


def _actor(fault: AnyFault, strike: Strike) -> AnyFault:
    times = Times(at_s=(strike.at_ns / SECOND_NS,))
    changed: dict[str, Any] = {"when": None, "times": times, "actors": (strike.actor,), "executor_type": "", "pick": 1}
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
