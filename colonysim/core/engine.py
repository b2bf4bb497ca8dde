"""The one door of the core: requests, events and hang-ups go in, deliveries come out.

The order of checks is written here once. Envelope, signature, payload type, payload and message type have
been checked where the bytes were; what is left is find the target, access, work, reply.
"""

from __future__ import annotations

from colonysim.core import channels, operations, recurring, subscriptions
from colonysim.core.errors import DoubleRefusal, Refusal, Silence
from colonysim.core.events import CronCheck, GeneratorCheck
from colonysim.core.protocol import NO_REQUEST, Answer, Delivery, Failure, Park, Request
from colonysim.core.registry import BY_MESSAGE, OPERATIONS, TIMERS
from colonysim.core.world import World

__all__ = ["OPERATIONS", "abandon", "close_stream", "fire_due", "handle", "operations", "refused"]


def handle(world: World, request: Request) -> list[Delivery]:
    """Serve one request. The answer to it comes first, unless it is parked; then what it woke."""
    caller_id, message = request.caller_id, request.message
    row = BY_MESSAGE[type(message)]
    find = row.find
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
    entry = world.agenda.pop_due(until_ns)
    assert entry is not None
    world.now_ns = max(world.now_ns, due_ns)
    event = entry[1]
    TIMERS[type(event)](world, event)
    if world.stalled and not isinstance(event, (CronCheck, GeneratorCheck)):
        recurring.reconsider(world)
    return take_outbox(world)


def abandon(world: World, ticket: int) -> bool:
    """The client of a parked request has hung up; False if the request is not parked."""
    poll = world.queues.unpark(ticket)
    if poll is None:
        return False
    world.agenda.cancel(poll.timer)
    return True


def close_stream(world: World, stream: int) -> None:
    """The client of a stream has gone."""
    subscriptions.forget_stream(world, stream)
    channels.unsubscribe(world, stream)


def take_outbox(world: World) -> list[Delivery]:
    outbox, world.outbox = world.outbox, []
    return outbox
