"""Subscriptions, which are served on /pubsub only (docs/protocol/d-realtime-and-data.md 2)."""

from __future__ import annotations

from typing import Final

from colonysim.core import channels, subscriptions
from colonysim.core.access import AccessRule, anyone, member, of_target
from colonysim.core.errors import Refusal
from colonysim.core.events import StreamOver, SubscriptionOver
from colonysim.core.protocol import PARK, Message, Park, Push, Unblock
from colonysim.core.records import Process
from colonysim.core.registry import operation, timer
from colonysim.core.types import Int, Int64
from colonysim.core.world import World

DEFAULT_CHANNEL_TIMEOUT_S: Final = 30
_MISMATCH: Final = "msg.msgType does not match rpcMsg.PayloadType"


class SubscribeProcesses(Message, frozen=True):
    """`timeout` is how long the subscription lasts, in seconds."""

    colonyname: str = ""  # accepted and ignored
    executortype: str = ""
    state: Int = 0
    timeout: Int = 0


def _is_executor(world: World, caller: str, message: SubscribeProcesses, _: None) -> None:
    if caller not in world.executors_by_id:
        raise Refusal(403, "executor not found")


@operation(
    "subscribeprocessesmsg",
    SubscribeProcesses,
    "Failed to subscribe to processes",
    mismatch=f"Failed to subscribe to processes, {_MISMATCH}",
    decode_status=403,
    access=AccessRule("executor of any colony", _is_executor),
    streamed=True,
)
def subscribe_processes(world: World, caller: str, message: SubscribeProcesses, _: None) -> Park:
    """Subscribe to processes of a type that enter a state; subscribers take turns. Quirk: of any colony."""
    stream = world.request.stream
    subscriptions.subscribe(world, stream, message.executortype, message.state, "", message.timeout)
    return PARK


class SubscribeProcess(Message, frozen=True):
    colonyname: str = ""  # accepted and ignored
    processid: str = ""
    executortype: str = ""
    state: Int = 0
    timeout: Int = 0


def _process(world: World, caller: str, message: SubscribeProcess) -> Process:
    process = world.processes.get(message.processid)
    if process is None:
        raise Refusal(403, f"Invalid process with Id {message.processid}")
    return process


@operation(
    "subscribeprocessmsg",
    SubscribeProcess,
    "Failed to subscribe to process",
    mismatch=f"Failed to subscribe to process, {_MISMATCH}",
    decode_status=403,
    find=_process,
    access=anyone,
    streamed=True,
)
def subscribe_process(world: World, caller: str, message: SubscribeProcess, process: Process) -> Park:
    """Subscribe to one process entering a state; if it is in that state already, push at once."""
    stream = world.request.stream
    executor_type = message.executortype or process.spec.conditions.executortype
    subscriptions.subscribe(world, stream, executor_type, message.state, process.process_id, message.timeout)
    if process.state == message.state:
        world.outbox.append(Push(stream, subscriptions.PUSH_TYPE, process.stable_copy()))
    return PARK


@timer(StreamOver)
def stream_over(world: World, event: StreamOver) -> None:
    """End a process subscription. Quirk: the server drops the connection with all its subscriptions."""
    subscriptions.hang_up(world, event.stream)
    channels.unsubscribe(world, event.stream)


class SubscribeChannel(Message, frozen=True):
    """`afterseq` is a number of entries to skip in the replay; a `timeout` of 0 means 30 seconds."""

    processid: str = ""
    name: str = ""
    afterseq: Int64 = 0
    timeout: Int = 0


def _process_of_channel(world: World, caller: str, message: SubscribeChannel) -> Process:
    process = world.processes.get(message.processid)
    if process is None:
        raise Refusal(404, "Process not found")
    return process


@operation(
    "subscribechannelmsg",
    SubscribeChannel,
    "Failed to subscribe to channel",
    mismatch="Failed to subscribe to channel, msg.MsgType does not match rpcMsg.PayloadType",
    find=_process_of_channel,
    access=member(of_target),
    streamed=True,
)
def subscribe_channel(world: World, caller: str, message: SubscribeChannel, process: Process) -> Park:
    """Push the log, then each new entry, then an empty frame. The stream's other requests wait until the end."""
    try:
        channel = channels.find(world, process, message.name)
    except Refusal:
        channel = None  # the process has too many channels
    if channel is None:
        raise Refusal(404, "Channel not found")
    if not channel.has_party(caller):
        raise Refusal(403, "Not authorized to subscribe to channel")
    channels.keep(world, process, message.name, channel)
    stream = world.request.stream
    if replay := tuple(channel.log[max(message.afterseq, 0) :]):
        world.outbox.append(Push(stream, "subscribechannelmsg", replay))
    timeout_s = message.timeout or DEFAULT_CHANNEL_TIMEOUT_S
    channels.subscribe(world, process.process_id, message.name, channel, stream, timeout_s)
    return PARK


@timer(SubscriptionOver)
def subscription_over(world: World, event: SubscriptionOver) -> None:
    """End a channel subscription: push an empty frame, and let the stream's next request be read."""
    if channels.unsubscribe(world, event.stream):
        world.outbox.append(Push(event.stream, "subscribechannelmsg", ()))
        world.outbox.append(Unblock(event.stream))
