"""Channels: what one side says in order stays in order."""

from __future__ import annotations

from colonysim.core.trace import Appended
from colonysim.core.world import World
from colonysim.sim.invariants.violation import InvariantViolation


class ChannelBooks:
    """Remembers the highest sequence number of each sender."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.highest: dict[tuple[str, str, str], int] = {}
        for process_id, channels in world.channels.items():
            for name, channel in channels.by_name.items():
                for entry in channel.log:
                    key = process_id, name, entry.sender_id
                    self.highest[key] = max(entry.sequence, self.highest.get(key, entry.sequence))

    def appended(self, step: Appended) -> None:
        """A message whose number is no lower than its sender's others stands behind all that were there."""
        channels = self.world.channels.get(step.process_id)
        channel = channels.by_name.get(step.channel) if channels else None
        key = step.process_id, step.channel, step.sender_id
        if channel is None:
            self.highest.pop(key, None)
            return
        if len(channel.log) == 1:
            self.highest.pop(key, None)
        highest = self.highest.get(key)
        if highest is not None and step.sequence < highest:
            return
        self.highest[key] = step.sequence
        last = channel.log[-1]
        if (last.sender_id, last.sequence) != (step.sender_id, step.sequence):
            raise InvariantViolation(
                f"channel {step.channel!r} of process {step.process_id}: message {step.sequence} of "
                f"{step.sender_id} came last and does not stand last, but before {last.sequence} of {last.sender_id}"
            )
