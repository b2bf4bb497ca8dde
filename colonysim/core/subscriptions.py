"""Subscriptions to changes of processes' states: docs/protocol/d-realtime-and-data.md 2.3 to 2.5."""

from __future__ import annotations

from typing import Any, Final

from colonysim.core.events import STREAM_RANK, StreamOver
from colonysim.core.protocol import Hangup, Push
from colonysim.core.records import SECOND_NS, Process, Subscription
from colonysim.core.world import World

PUSH_TYPE: Final = "subscribeprocessmsg"  # Quirk: the payload type of both kinds of subscription


def subscribe(world: World, stream: int, executor_type: str, state: int, process_id: str, timeout_s: int) -> None:
    """Subscribe a stream, until the timeout. `process_id` is "" for all processes of the executor type."""
    timer = world.agenda.add(world.now_ns + max(timeout_s, 0) * SECOND_NS, StreamOver(stream), STREAM_RANK)
    world.subscriptions.add(Subscription(stream, executor_type, state, process_id, timer))


def publish(world: World, process: Process, body: Any = None) -> None:
    """Push a process that has entered its state to all subscribers of it, and to one subscriber of its executor type.

    `process` must be a copy that does not change any more. `body` is pushed in its place, if given.
    """
    if body is None:
        body = process
    conditions, state = process.spec.conditions, process.state
    for subscription in world.subscriptions.of_process(process.process_id, conditions.executortype, state):
        world.outbox.append(Push(subscription.stream, PUSH_TYPE, body))
    # Quirk: type and state are matched as one text; if the process has no location, by its beginning.
    key = f"{conditions.executortype}{state}"
    if next_one := world.subscriptions.take_turn(key, exact=bool(conditions.locationname)):
        world.outbox.append(Push(next_one.stream, PUSH_TYPE, body))


def hang_up(world: World, stream: int) -> None:
    """Drop a connection and all its subscriptions."""
    forget_stream(world, stream)
    world.outbox.append(Hangup(stream))


def forget_stream(world: World, stream: int) -> None:
    """Drop the process subscriptions of a connection that has closed."""
    for subscription in world.subscriptions.forget_stream(stream):
        world.agenda.cancel(subscription.timer)
