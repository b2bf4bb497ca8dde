"""Explains why nothing happens: what each actor is doing, and what is due."""

from __future__ import annotations

from contextlib import suppress
from itertools import islice
from typing import Final

from colonysim.core.agenda import Agenda, Event
from colonysim.core.events import ReleaseTick
from colonysim.core.wording import show_count, show_span
from colonysim.core.world import World
from colonysim.kernel.actors import Actors
from colonysim.kernel.clock import LAST_NS, Clock, show_time
from colonysim.kernel.pending import Pending

_SHOWN: Final = 8


def explain(
    world: World, planned: Agenda, clock: Clock, actors: Actors, pending: list[Pending], programs: list[str]
) -> str:
    """List who acts, who waits for what and since when, what programs do, and what is due next; changes nothing."""
    lines = [f"the clock is {clock.mode.value} and stands at {show_time(world.now_ns)} UTC"]
    lines += (f"  {actor.name} acts" for actor in actors.busy())
    for actor in actors.blocked():
        lines.append(f"  {actor.name} waits for {actor.waits_for}, for {show_span(world.now_ns - actor.since_ns)}")
    lines += programs[:_SHOWN]
    if len(programs) > _SHOWN:
        lines.append(f"  and {show_count(len(programs) - _SHOWN, 'more program')}")
    calls = [request.call for request in pending]
    for call in islice(calls, _SHOWN):
        who = name_of(world, call.caller_id)
        lines.append(f"  parked: {call.payload_type} of {who}, for {show_span(world.now_ns - call.at_ns)}")
    if len(calls) > _SHOWN:
        lines.append(f"  and {show_count(len(calls) - _SHOWN, 'more parked request')}")
    lines += _due(world, planned)
    if clock.mode.value == "manual":
        lines.append("time moves only by advance(); mode='auto' lets it move when all wait")
    return "\n".join(lines)


def due_events(world: World, planned: Agenda) -> list[tuple[int, Event]]:
    """Return the events of the server and of the timetable, in order, without runs that examine nothing."""
    entries = [(due_ns, event) for due_ns, _, event in world.agenda.entries() if not _is_empty(world, event)]
    entries += ((due_ns, event) for due_ns, _, event in planned.entries())
    return sorted(entries, key=lambda entry: entry[0])


def _is_empty(world: World, event: Event) -> bool:
    """Whether an event is a run of the release loop that has nothing to examine."""
    return isinstance(event, ReleaseTick) and not world.release_ticks[event.second]


def _due(world: World, planned: Agenda) -> list[str]:
    entries = due_events(world, planned)
    if not entries:
        return ["  nothing is due, ever"]
    lines = [
        f"  due in {show_span(due_ns - world.now_ns)}: {getattr(event, 'what', '') or type(event).__name__}"
        f"{' (never: time ends with the year 9999)' * (due_ns > LAST_NS)}"
        for due_ns, event in islice(entries, _SHOWN)
    ]
    if len(entries) > _SHOWN:
        lines.append(f"  and {len(entries) - _SHOWN:,} more")
    return lines


def name_of(world: World, caller_id: str) -> str:
    """Return the name of a caller: of an executor, a user or an owner; else the first characters of its id."""
    if records := world.executors_by_id.get(caller_id):
        return records[0].name
    for (_, user_id), users in world.users_by_id.items():
        if user_id == caller_id:
            return users[0].name
    if caller_id == world.server_id:
        return "the server owner"
    with suppress(KeyError):
        return f"the owner of {world.colonies.oldest(caller_id).name}"
    return caller_id[:8] or "nobody"
