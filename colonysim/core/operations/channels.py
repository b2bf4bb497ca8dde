"""Write to channels and read from them (docs/protocol/d-realtime-and-data.md 1)."""

from __future__ import annotations

from colonysim.core import channels, lookup
from colonysim.core.access import member, of_target
from colonysim.core.errors import Refusal
from colonysim.core.protocol import EMPTY, Empty, Message
from colonysim.core.records import Channel, Entry, Process
from colonysim.core.registry import operation
from colonysim.core.types import Int
from colonysim.core.world import World


def _channel(world: World, process: Process, name: str) -> Channel:
    channel = channels.find(world, process, name)
    if channel is None:
        raise Refusal(404, "Channel not found")
    return channel


class ChannelAppend(Message, frozen=True):
    """`payload` is sent as base64 text or as a list of byte values."""

    processid: str = ""
    name: str = ""
    sequence: Int = 0
    inreplyto: Int = 0
    payload: bytes | None = None
    payloadtype: str = ""


@operation(
    "channelappendmsg",
    ChannelAppend,
    "Failed to append to channel",
    find=lookup.process(404, "Process not found"),
    access=member(of_target),
)
def append(world: World, caller: str, message: ChannelAppend, process: Process) -> Empty:
    """Append an entry to a channel's log; sequence number and type are not checked."""
    channel = _channel(world, process, message.name)
    if message.payload is not None and len(message.payload) > channels.MAX_PAYLOAD_BYTES:
        raise Refusal(500, "message payload exceeds maximum size")
    if not channel.has_party(caller):
        raise Refusal(403, "Not authorized to write to channel")
    entry = Entry(
        message.sequence,
        message.inreplyto,
        world.now_ns,
        caller,
        message.payload,
        message.payloadtype or "data",
    )
    channels.append(world, process, message.name, channel, entry)
    return EMPTY


class ChannelRead(Message, frozen=True):
    """`afterseq` is a number of entries to skip, not a sequence number. A `limit` of 0 or less means no limit."""

    processid: str = ""
    name: str = ""
    afterseq: Int = 0
    limit: Int = 0


@operation(
    "channelreadmsg",
    ChannelRead,
    "Failed to read from channel",
    find=lookup.process(404, "Process not found"),
    access=member(of_target),
)
def read(world: World, caller: str, message: ChannelRead, process: Process) -> tuple[Entry, ...]:
    """Return entries of a channel's log."""
    channel = _channel(world, process, message.name)
    if not channel.has_party(caller):
        raise Refusal(403, "Not authorized to read from channel")
    channels.keep(world, process, message.name, channel)
    first = max(message.afterseq, 0)
    last = first + message.limit if message.limit > 0 else None
    return tuple(channel.log[first:last])
