"""Channels: messages are in order, and all subscribers get them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from colonysim.core.events import SubscriptionOver
from colonysim.core.history import Assignment, EntryAppended, Transition
from colonysim.core.protocol import Delivery, Push
from colonysim.core.records import CANCELLED, FAILED, SUCCESS, Channel
from colonysim.invariants.invariant import Invariant, built_in
from colonysim.invariants.ledger import Ledger, ProcessRecord
from colonysim.invariants.violation import InvariantViolation

_Line = tuple[str, int, int]
"""Sender, sequence number and arrival time of a message."""


@built_in
class ChannelOrder(Invariant):
    """Keeps the messages of each channel in order, the subscribers to notify, and the processes that have ended."""

    rare = True

    def __init__(self, ledger: Ledger) -> None:
        super().__init__(ledger)
        self.lines: dict[tuple[str, str], list[_Line]] = {}
        self.got_messages: list[tuple[str, str]] = []  # channels that got messages in this step
        self.ended: list[ProcessRecord] = []  # in this step
        for process_id, channels in self.world.channels.items():
            for name, channel in channels.by_name.items():
                self.lines[process_id, name] = _lines(channel)

    def reads(self) -> dict[type, Callable[[Any], None]]:
        return {EntryAppended: self.appended}

    def moved(self, step: Transition, record: ProcessRecord) -> None:
        """Expect the channels of an ended process to be dropped, unless it failed with another of its graph."""
        if record.process.spec.channels and step.new in (SUCCESS, FAILED, CANCELLED) and step.cause != "cascade":
            self.ended.append(record)
            self.request_check()

    def after_step(self, deliveries: Sequence[Delivery]) -> None:
        self.checks_after_step = False
        ended, self.ended = self.ended, []
        for record in ended:
            if record.process_id in self.world.channels:
                raise self.ledger.violation(record.process_id, "has ended, but its channels still exist")
        got_messages, self.got_messages = self.got_messages, []
        for process_id, name in got_messages:
            channels = self.world.channels.get(process_id)
            channel = channels.by_name.get(name) if channels is not None else None
            if channel is not None:
                self._check_pushes(process_id, name, channel, deliveries)

    def _check_pushes(self, process_id: str, name: str, channel: Channel, deliveries: Sequence[Delivery]) -> None:
        """Check that each subscriber was sent each message once."""
        pushed = Counter(each.stream for each in deliveries if type(each) is Push)
        for stream in channel.listeners:
            if pushed[stream] != 1:
                raise self._violation(process_id, name, f"sent a message {pushed[stream]} times to stream {stream}")

    def assigned(self, entry: Assignment, record: ProcessRecord) -> None:
        """Check that the executor of a process has become a party of its channels."""
        channels = self.world.channels.get(entry.process_id)
        if channels is None or not record.holder:
            return
        for name, channel in channels.by_name.items():
            if channel.executor_id != record.holder:
                what = f"is held by {record.holder}, but its channel {name!r} is for {channel.executor_id or 'nobody'}"
                raise self.ledger.violation(entry.process_id, what)

    def appended(self, step: EntryAppended) -> None:
        """Insert a message behind all others, except those of its sender with a higher sequence number.

        Quirk: it moves forward past one message at a time, until one of another sender that came earlier.
        """
        key = step.process_id, step.channel
        channels = self.world.channels.get(step.process_id)
        channel = channels.by_name.get(step.channel) if channels else None
        if channel is None:
            self.lines.pop(key, None)
            return
        lines = self.lines.setdefault(key, [])
        if len(channel.log) == 1:
            lines.clear()  # a previous channel of that name was dropped
        place = len(lines)
        while place and (
            step.sequence < lines[place - 1][1]
            if lines[place - 1][0] == step.sender_id
            else self.world.now_ns < lines[place - 1][2]
        ):
            place -= 1
        lines.insert(place, (step.sender_id, step.sequence, self.world.now_ns))
        if len(channel.log) != len(lines):
            raise self._violation(*key, f"has {len(channel.log)} messages, and {len(lines)} were sent")
        entry = channel.log[place]
        if (entry.sender_id, entry.sequence, entry.timestamp_ns) != lines[place]:
            what = f"should show message {step.sequence} of {step.sender_id} at place {place + 1}"
            raise self._violation(*key, f"{what}, and shows {entry.sequence} of {entry.sender_id} there")
        self.got_messages.append(key)
        self.request_check()

    def agree(self) -> None:
        """Check that no message is missing, and that each subscription has a stream and an end on the agenda."""
        world = self.world
        streams = {}
        for process_id, channels in world.channels.items():
            for name, channel in channels.by_name.items():
                if channel.log and _lines(channel) != self.lines.get((process_id, name)):
                    raise self._violation(process_id, name, "does not show what was sent, in its order")
                for stream, timer in channel.listeners.items():
                    streams[stream] = process_id, name
                    if world.agenda.event(timer) != SubscriptionOver(stream):
                        raise self._violation(process_id, name, f"has stream {stream} subscribed without an end")
        planned = [event.stream for _, _, event in world.agenda.entries() if isinstance(event, SubscriptionOver)]
        if sorted(planned) != sorted(streams):
            raise InvariantViolation(
                f"ends of channel subscriptions are planned for {planned}, not for {list(streams)}"
            )
        if streams != world.channel_streams:
            raise InvariantViolation(
                f"streams are subscribed to channels as {world.channel_streams}, and the channels list {streams}"
            )
        self.lines = {key: lines for key, lines in self.lines.items() if key[0] in world.channels}

    @staticmethod
    def _violation(process_id: str, name: str, what: str) -> InvariantViolation:
        return InvariantViolation(f"channel {name!r} of process {process_id} {what}")


def _lines(channel: Channel) -> list[_Line]:
    return [(entry.sender_id, entry.sequence, entry.timestamp_ns) for entry in channel.log]
