"""The entry points of the core: requests, timed events and lost connections go in, deliveries come out.

This module alone defines the order of checks. The wire has checked envelope, signature, payload type, payload and
message type; here follow target, access rule, work and reply. If the world keeps a journal, each input is appended
to `world.inputs` before it is handled: a request as (None, time, request), which the journal turns into a line later,
all others as lines.
"""

from __future__ import annotations

from colonysim.core import channels, operations, recurring, subscriptions
from colonysim.core.errors import DoubleRefusal, Refusal, Silence
from colonysim.core.events import CronCheck, GeneratorCheck
from colonysim.core.history import CallAbandoned
from colonysim.core.protocol import NO_REQUEST, Answer, Delivery, ErrorBody, Park, Request
from colonysim.core.registry import BY_MESSAGE, OPERATIONS, TIMERS, Operation
from colonysim.core.usual import USUAL
from colonysim.core.world import World

__all__ = [
    "OPERATIONS",
    "abandon",
    "catch_up",
    "close_stream",
    "deliveries_after",
    "fire_due",
    "handle",
    "lose_memory",
    "operations",
    "refused",
    "serve",
    "set_wakeups",
]


def handle(world: World, request: Request) -> list[Delivery]:
    """Serve one request. Returns its answer, unless it is parked, followed by the deliveries that it caused."""
    answer = serve(world, request, BY_MESSAGE[type(request.message)])
    return deliveries_after(world, answer)


def deliveries_after(world: World, answer: Answer | None) -> list[Delivery]:
    """Return an answer, if there is one, followed by the pending deliveries, which are cleared."""
    deliveries = take_outbox(world) if world.outbox else []
    return deliveries if answer is None else [answer, *deliveries]


def serve(world: World, request: Request, row: Operation) -> Answer | None:
    """Serve one request, of which `row` is the operation. Returns its answer; None if it is parked.

    The deliveries that it caused are in `world.outbox` then: see `deliveries_after`.
    """
    caller_id, message, find = request.caller_id, request.message, row.find
    if (inputs := world.inputs) is not None:
        inputs.append((None, world.now_ns, request))
    world.request = request
    usual = USUAL.get(type(message))
    try:
        if usual is None or request.has_nul or (body := usual(world, caller_id, message)) is None:
            target = None if find is None else find(world, caller_id, message)
            row.check(world, caller_id, message, target)
            body = row.serve(world, caller_id, message, target)
    except Refusal as refusal:
        return refused(request.ticket, refusal)
    finally:
        world.request = NO_REQUEST
    if world.stalled:
        recurring.retry_stalled(world)
    return None if type(body) is Park else Answer(request.ticket, 200, row.reply_type, body)


def refused(ticket: int, refusal: Refusal) -> Answer:
    """Return the answer for a refusal."""
    if isinstance(refusal, Silence):
        return Answer(ticket, refusal.status, "", None)
    copies = 2 if isinstance(refusal, DoubleRefusal) else 1
    return Answer(ticket, refusal.status, "error", ErrorBody(refusal.status, refusal.text), copies)


def fire_due(world: World, until_ns: int) -> list[Delivery] | None:
    """Run the next event due by `until_ns`, at its own time. Returns its deliveries; None if no event is due."""
    due_ns = world.next_due()
    if due_ns is None or due_ns > until_ns:
        return None
    event = world.agenda.pop()
    world.now_ns = max(world.now_ns, due_ns)
    if world.inputs is not None:
        world.inputs.append(("fire", world.now_ns, type(event).__name__, event))
    TIMERS[type(event)](world, event)
    if world.stalled and not isinstance(event, (CronCheck, GeneratorCheck)):
        recurring.retry_stalled(world)
    return take_outbox(world)


def abandon(world: World, ticket: int) -> bool:
    """Drop a parked request whose client has hung up. Returns False if it is not parked."""
    poll = world.queues.unpark(ticket)
    if poll is None:
        return False
    if world.inputs is not None:
        world.inputs.append(("abandon", world.now_ns, ticket))
    world.agenda.cancel(poll.timer)
    world.note(CallAbandoned(ticket))
    return True


def close_stream(world: World, stream: int) -> None:
    """Drop the subscriptions of a stream that its client has closed."""
    if world.inputs is not None:
        world.inputs.append(("close", world.now_ns, stream))
    subscriptions.forget_stream(world, stream)
    channels.unsubscribe(world, stream)


def catch_up(world: World) -> list[Delivery]:
    """Run all events that were missed while the server was down; the journal records them as one input."""
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
    """Set which parked calls a change wakes: `all`, or `one` or `none` to simulate hazards of the reference."""
    if wakeups != world.wakeups:
        if world.inputs is not None:
            world.inputs.append(("wakeups", world.now_ns, wakeups))
        world.wakeups = wakeups


def lose_memory(world: World) -> None:
    """Forget what a restart loses: channels are in no database. The caller has dropped polls and streams before."""
    if world.inputs is not None:
        world.inputs.append(("lose memory", world.now_ns))
    world.channels.clear()


def take_outbox(world: World) -> list[Delivery]:
    """Return the pending deliveries and clear them."""
    outbox, world.outbox = world.outbox, []
    return outbox
