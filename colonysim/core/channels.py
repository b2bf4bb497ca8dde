"""Channels: append-only logs between the submitter of a process and its executor, in memory only.

Source: docs/protocol/d-realtime-and-data.md 1.
"""

from __future__ import annotations

from bisect import bisect_right
from typing import Final

from colonysim.core.errors import Refusal
from colonysim.core.events import STREAM_RANK, SubscriptionOver
from colonysim.core.history import EntryAppended
from colonysim.core.protocol import Push, Unblock
from colonysim.core.records import FAILED, SECOND_NS, SUCCESS, Channel, Channels, Entry, Process
from colonysim.core.world import World

MAX_CHANNELS: Final = 100
MAX_ENTRIES: Final = 10_000
MAX_PAYLOAD_BYTES: Final = 10_485_760


def create(world: World, process: Process) -> None:
    """Create a channel for each declared name, up to the limit."""
    for name in process.spec.channels or ():
        _add(world, process, name)


def assigned(world: World, process: Process) -> None:
    """Make the executor of a process a party of its channels, in place of the previous one."""
    if channels := world.channels.get(process.process_id):
        for channel in channels.by_name.values():
            channel.executor_id = process.executor_id


def drop_unless_subscribed(world: World, process: Process) -> None:
    """Drop the channels of a removed process. Quirk: if any has subscribers, all stay until their timeouts."""
    channels = world.channels.get(process.process_id)
    if channels is not None and not any(channel.listeners for channel in channels.by_name.values()):
        del world.channels[process.process_id]


def drop(world: World, process: Process) -> None:
    """Drop all channels of a process, with logs and subscriptions. Subscribers are not notified."""
    channels = world.channels.pop(process.process_id, None)
    if channels is None:
        return
    for channel in channels.by_name.values():
        for stream, timer in channel.listeners.items():
            world.agenda.cancel(timer)
            del world.channel_streams[stream]
            world.outbox.append(Unblock(stream))


def find(world: World, process: Process, name: str) -> Channel | None:
    """Return a channel. One that is declared but missing is created, unless its process has ended; then `keep` it.

    Refusals: 500 if the process has too many channels.
    """
    channels = world.channels.get(process.process_id)
    if channels is not None and (channel := channels.by_name.get(name)):
        return channel
    if process.state in (SUCCESS, FAILED) or name not in (process.spec.channels or ()):
        return None
    if channels is not None and len(channels.by_name) >= MAX_CHANNELS:
        raise Refusal(500, "process has too many channels")
    return Channel(process.initiator_id, process.executor_id)


def keep(world: World, process: Process, name: str, channel: Channel) -> None:
    """Store a channel that `find` returned."""
    if (channels := world.channels.get(process.process_id)) is None:
        channels = world.channels[process.process_id] = Channels()
    channels.by_name[name] = channel


def append(world: World, process: Process, name: str, channel: Channel, entry: Entry) -> None:
    """Insert an entry into a log, and push it to every subscriber.

    Refusals: 500 if the process has used up its rate, or if the log is full (which also costs a token).
    """
    keep(world, process, name, channel)
    if not world.channels[process.process_id].take_token(world.now_ns):
        raise Refusal(500, "rate limit exceeded")
    log = channel.log
    if len(log) >= MAX_ENTRIES:
        raise Refusal(500, "channel log is full")
    log.insert(_place(channel, entry), entry)
    world.note(EntryAppended(process.process_id, name, entry.sender_id, entry.sequence))
    for stream in channel.listeners:
        world.outbox.append(Push(stream, "subscribechannelmsg", (entry,)))


def _place(channel: Channel, entry: Entry) -> int:
    """Find the place of a new entry: ordered by time between senders, by sequence within one sender's turn.

    The entry is newer than the whole log, so it goes behind the last entry of another sender.
    """
    log = channel.log
    if not log or log[-1].sender_id != entry.sender_id:
        channel.last_turn = len(log)
        return len(log)
    first = channel.last_turn
    if first is None:
        first = len(log)
        while first and log[first - 1].sender_id == entry.sender_id:
            first -= 1
        channel.last_turn = first
    return bisect_right(log, entry.sequence, first, key=_sequence)


def _sequence(entry: Entry) -> int:
    return entry.sequence


def subscribe(world: World, process_id: str, name: str, channel: Channel, stream: int, timeout_s: int) -> None:
    """Push further entries of a channel to a stream, until the timeout."""
    due_ns = world.now_ns + max(timeout_s, 0) * SECOND_NS
    channel.listeners[stream] = world.agenda.add(due_ns, SubscriptionOver(stream), STREAM_RANK)
    world.channel_streams[stream] = (process_id, name)


def unsubscribe(world: World, stream: int) -> bool:
    """End the channel subscription of a stream. Returns False if it has none."""
    place = world.channel_streams.pop(stream, None)
    if place is None:
        return False
    process_id, name = place
    channels = world.channels[process_id]
    timer = channels.by_name[name].listeners.pop(stream)
    world.agenda.cancel(timer)
    if process_id not in world.processes and not any(channel.listeners for channel in channels.by_name.values()):
        del world.channels[process_id]
    return True


def _add(world: World, process: Process, name: str) -> bool:
    channels = world.channels.get(process.process_id)
    if channels is None:
        channels = world.channels[process.process_id] = Channels()
    if name in channels.by_name:
        return True
    if len(channels.by_name) >= MAX_CHANNELS:
        return False
    channels.by_name[name] = Channel(process.initiator_id, process.executor_id)
    return True
