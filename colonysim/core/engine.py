"""The one door of the core: requests, events and hang-ups go in, deliveries come out.

The order of checks is written here once. Envelope, signature, payload type, payload and message type have
been checked where the bytes were; what is left is find the target, access, work, reply. What goes in is
written to `world.inputs` before anything is done with it, where a journal is kept.
"""

from __future__ import annotations

from colonysim.core import channels, operations, recurring, subscriptions
from colonysim.core.errors import DoubleRefusal, Refusal, Silence
from colonysim.core.events import CronCheck, GeneratorCheck
from colonysim.core.protocol import NO_REQUEST, Answer, Delivery, Failure, Park, Request
from colonysim.core.registry import BY_MESSAGE, OPERATIONS, TIMERS
from colonysim.core.trace import Abandoned
from colonysim.core.world import World

__all__ = [
    "OPERATIONS",
    "abandon",
    "catch_up",
    "close_stream",
    "fire_due",
    "handle",
    "lose_memory",
    "operations",
    "refused",
    "set_wakeups",
]


def handle(world: World, request: Request) -> list[Delivery]:
    """Serve one request. The answer to it comes first, unless it is parked; then what it woke."""
    caller_id, message = request.caller_id, request.message
    row = BY_MESSAGE[type(message)]
    find = row.find
    if world.inputs is not None:
        line = ("ask", world.now_ns, request.ticket, caller_id, row.name, message)
        extra = (request.has_nul, request.stream) if request.has_nul or request.stream else ()
        world.inputs.append(line + extra)
    world.request = request
    try:
        target = None if find is None else find(world, caller_id, message)
        row.check(world, caller_id, message, target)
        body = row.serve(world, caller_id, message, target)
    except Refusal as refusal:
        return [refused(request.ticket, refusal)]
    finally:
        world.request = NO_REQUEST
    if world.stalled:
        recurring.reconsider(world)
    if type(body) is Park:
        return take_outbox(world) if world.outbox else []
    answer = Answer(request.ticket, 200, row.reply_type, body)
    if world.outbox:
        return [answer, *take_outbox(world)]
    return [answer]


def refused(ticket: int, refusal: Refusal) -> Answer:
    """The answer that a refusal gives."""
    if isinstance(refusal, Silence):
        return Answer(ticket, refusal.status, "", None)
    copies = 2 if isinstance(refusal, DoubleRefusal) else 1
    return Answer(ticket, refusal.status, "error", Failure(refusal.status, refusal.text), copies)


def fire_due(world: World, until_ns: int) -> list[Delivery] | None:
    """Let the next event happen that is due by then, at its own time; None when there is none."""
    due_ns = world.next_due()
    if due_ns is None or due_ns > until_ns:
        return None
    event = world.agenda.pop()
    world.now_ns = max(world.now_ns, due_ns)
    if world.inputs is not None:
        world.inputs.append(("fire", world.now_ns, type(event).__name__, event))
    TIMERS[type(event)](world, event)
    if world.stalled and not isinstance(event, (CronCheck, GeneratorCheck)):
        recurring.reconsider(world)
    return take_outbox(world)


def abandon(world: World, ticket: int) -> bool:
    """The client of a parked request has hung up; False if the request is not parked."""
    poll = world.queues.unpark(ticket)
    if poll is None:
        return False
    if world.inputs is not None:
        world.inputs.append(("abandon", world.now_ns, ticket))
    world.agenda.cancel(poll.timer)
    world.note(Abandoned(ticket))
    return True


def close_stream(world: World, stream: int) -> None:
    """The client of a stream has gone."""
    if world.inputs is not None:
        world.inputs.append(("close", world.now_ns, stream))
    subscriptions.forget_stream(world, stream)
    channels.unsubscribe(world, stream)


def catch_up(world: World) -> list[Delivery]:
    """The server has been away: all happens at once that it has missed, and counts as one step."""
    inputs, world.inputs = world.inputs, None
    if inputs is not None:
        inputs.append(("catch up", world.now_ns))
    deliveries: list[Delivery] = []
    try:
        while (more := fire_due(world, world.now_ns)) is not None:
            deliveries += more
    finally:
        world.inputs = inputs
    return deliveries


def set_wakeups(world: World, wakeups: str) -> None:
    """Which of the parked calls a change wakes from now on: `all`, or `one` or `none` as a hazard of the reference."""
    if wakeups != world.wakeups:
        if world.inputs is not None:
            world.inputs.append(("wakeups", world.now_ns, wakeups))
        world.wakeups = wakeups


def lose_memory(world: World) -> None:
    """The server starts anew: channels stand in no database. Its polls and streams have been given up before."""
    if world.inputs is not None:
        world.inputs.append(("lose memory", world.now_ns))
    world.channels.clear()


def take_outbox(world: World) -> list[Delivery]:
    outbox, world.outbox = world.outbox, []
    return outbox
