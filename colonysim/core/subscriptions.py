"""Who is told of a change of state: docs/protocol/d-realtime-and-data.md 2.3 to 2.5."""

from __future__ import annotations

from typing import Any, Final

from colonysim.core.events import STREAM_RANK, StreamOver
from colonysim.core.protocol import Hangup, Push
from colonysim.core.records import SECOND_NS, Process, Subscription
from colonysim.core.world import World

PUSH_TYPE: Final = "subscribeprocessmsg"  # Quirk: the payload type of both kinds of subscription


def subscribe(world: World, stream: int, executor_type: str, state: int, process_id: str, timeout_s: int) -> None:
    """Register a stream until its time is up."""
    timer = world.agenda.add(world.now_ns + max(timeout_s, 0) * SECOND_NS, StreamOver(stream), STREAM_RANK)
    world.subscriptions.add(Subscription(stream, executor_type, state, process_id, timer))


def publish(world: World, picture: Process, shown: Any = None) -> None:
    """A process has come into its state: tell all who wait for this process and one who waits for its type.

    `picture` is what they get to see, in the form of `shown` where that is given; it must not change any more.
    """
    body = shown or picture
    conditions, state = picture.spec.conditions, picture.state
    for subscription in world.subscriptions.of_process(picture.process_id, conditions.executortype, state):
        world.outbox.append(Push(subscription.stream, PUSH_TYPE, body))
    # Quirk: type and state are matched as one text, by its beginning where the process has no location.
    key = f"{conditions.executortype}{state}"
    if told := world.subscriptions.take_turn(key, exact=bool(conditions.locationname)):
        world.outbox.append(Push(told.stream, PUSH_TYPE, body))


def hang_up(world: World, stream: int) -> None:
    """Drop a connection and all its subscriptions."""
    forget_stream(world, stream)
    world.outbox.append(Hangup(stream))


def forget_stream(world: World, stream: int) -> None:
    """A connection has gone: take out its process subscriptions."""
    for subscription in world.subscriptions.forget_stream(stream):
        world.agenda.cancel(subscription.timer)
