"""Determinise faults: replace a random fault by one fault for each time it struck, with fixed time and duration."""

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
    """One occurrence of a fault, `at_ns` nanoseconds after the start of the run.

    `actor`: the actor hit, or the caller of the request hit, which has type `type_name`. `span_ns`: its duration,
    if it has one.
    """

    fault: str
    at_ns: int
    actor: str
    type_name: str = ""
    span_ns: int | None = None


def read_strike(sim: Simulation, line: dict[str, Any]) -> Strike | None:
    """Make a strike from a line of the fault log at the time it is written; None if the line is not a strike."""
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


def determinised(fault: AnyFault, strikes: Sequence[Strike]) -> tuple[AnyFault, ...] | None:
    """Return a fault without randomness for each strike of a fault; None if its kind does not allow that."""
    if isinstance(fault, MessageFault):
        return tuple(_message(fault, key, len(list(same))) for key, same in groupby(strikes))
    if isinstance(fault, ActorFault):
        return tuple(_actor(fault, strike) for strike in strikes)
    if isinstance(fault, ServerFault):
        begun = [strike for strike in strikes if strike.span_ns is not None]  # the others are requests it affected
        return tuple(_server(fault, strike) for strike in begun)
    return None


def _name(fault: AnyFault, strike: Strike) -> str:
    """Return a name that is unique among the strikes of a run."""
    words = [fault.name, "at", f"{strike.at_ns / SECOND_NS:.9g}", strike.type_name, strike.actor]
    return " ".join(word for word in words if word)


def _message(fault: AnyFault, strike: Strike, count: int) -> AnyFault:
    """Return a fault that hits the first `count` messages of that type and caller from just before the strike."""
    assert isinstance(fault, MessageFault)
    match = fault.match
    if strike.type_name:
        match = replace(match, types=(strike.type_name,), callers=(strike.actor,) if strike.actor else match.callers)
    from_s = max(strike.at_ns - 1, 0) // 1000 / 1_000_000
    when = When(from_s=from_s, first=count)
    once: AnyFault = replace(fault, name=_name(fault, strike), match=match, when=when)
    return once


def _actor(fault: AnyFault, strike: Strike) -> AnyFault:
    times = Times(at_s=(strike.at_ns / SECOND_NS,))
    changed: dict[str, Any] = {"when": None, "times": times, "actors": (strike.actor,), "executor_type": "", "pick": 1}
    if strike.span_ns is not None:
        span = "restart_after_s" if isinstance(fault, Crash) else "for_s"
        changed[span] = strike.span_ns / SECOND_NS
    once: AnyFault = replace(fault, name=_name(fault, strike), **changed)
    return once


def _server(fault: AnyFault, strike: Strike) -> AnyFault:
    assert strike.span_ns is not None
    span = "down_s" if isinstance(fault, Restart) else "for_s"
    times = Times(at_s=(strike.at_ns / SECOND_NS,))
    once: AnyFault = replace(fault, name=_name(fault, strike), times=times, **{span: strike.span_ns / SECOND_NS})
    return once
