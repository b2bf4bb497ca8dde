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
    subscription = Subscription(stream, executor_type, state, process_id, timer)
    if process_id:
        world.subscriptions.of_process.setdefault(process_id, []).append(subscription)
    else:
        world.subscriptions.general.append(subscription)
    world.subscriptions.count()


def publish(world: World, picture: Process, shown: Any = None) -> None:
    """A process has come into its state: tell all who wait for this process and one who waits for its type.

    `picture` is what they get to see, in the form of `shown` where that is given; it must not change any more.
    """
    body = shown or picture
    subscriptions = world.subscriptions
    executor_type, state = picture.spec.conditions.executortype, picture.state
    for subscription in subscriptions.of_process.get(picture.process_id, ()):
        if subscription.executor_type == executor_type and subscription.state == state:
            world.outbox.append(Push(subscription.stream, PUSH_TYPE, body))
    for place, subscription in enumerate(subscriptions.general):
        if _matches(subscription, executor_type, state, picture.spec.conditions.locationname):
            subscriptions.general.append(subscriptions.general.pop(place))
            world.outbox.append(Push(subscription.stream, PUSH_TYPE, body))
            return


def _matches(subscription: Subscription, executor_type: str, state: int, location: str) -> bool:
    """Quirk: type and state are matched as one text, by its beginning where the process has no location."""
    wanted, key = f"{executor_type}{state}", f"{subscription.executor_type}{subscription.state}"
    return key == wanted if location else key.startswith(wanted)


def hang_up(world: World, stream: int) -> None:
    """Drop a connection and all its subscriptions."""
    forget_stream(world, stream)
    world.outbox.append(Hangup(stream))


def forget_stream(world: World, stream: int) -> None:
    """A connection has gone: take out its process subscriptions."""
    subscriptions = world.subscriptions
    gone = [s for s in subscriptions.general if s.stream == stream]
    subscriptions.general = [s for s in subscriptions.general if s.stream != stream]
    for process_id, listed in list(subscriptions.of_process.items()):
        gone += [s for s in listed if s.stream == stream]
        if left := [s for s in listed if s.stream != stream]:
            subscriptions.of_process[process_id] = left
        else:
            del subscriptions.of_process[process_id]
    subscriptions.count()
    for subscription in gone:
        world.agenda.cancel(subscription.timer)
