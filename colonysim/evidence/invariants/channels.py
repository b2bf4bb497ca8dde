"""Channels: what one side says in order stays in order."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from colonysim.core.model import CANCELLED, FAILED, SUCCESS
from colonysim.core.protocol import Delivery
from colonysim.core.trace import Appended, Assignment, Transition
from colonysim.evidence.invariants.invariant import Invariant
from colonysim.evidence.invariants.ledger import Book, Ledger
from colonysim.evidence.invariants.violation import InvariantViolation


class Channels(Invariant):
    """Remembers the highest sequence number of each sender, and who has come to an end."""

    def __init__(self, ledger: Ledger) -> None:
        super().__init__(ledger)
        self.highest: dict[tuple[str, str, str], int] = {}
        self.ended: list[Book] = []  # in this step
        for process_id, channels in self.world.channels.items():
            for name, channel in channels.by_name.items():
                for entry in channel.log:
                    key = process_id, name, entry.sender_id
                    self.highest[key] = max(entry.sequence, self.highest.get(key, entry.sequence))

    def reads(self) -> dict[type, Callable[[Any], None]]:
        return {Appended: self.appended}

    def moved(self, step: Transition, book: Book) -> None:
        """The channels of a process go with its end, unless it only falls with another of its graph."""
        if step.new in (SUCCESS, FAILED, CANCELLED) and step.cause != "cascade":
            self.ended.append(book)
            self.stir()

    def step_over(self, deliveries: Sequence[Delivery]) -> None:
        self.stirred = False
        ended, self.ended = self.ended, []
        for book in ended:
            if book.process_id in self.world.channels:
                raise self.ledger.violation(book.process_id, "has come to its end, but its channels are still there")

    def assigned(self, entry: Assignment, book: Book) -> None:
        """Who runs a process is the party of its channels from then on."""
        channels = self.world.channels.get(entry.process_id)
        if channels is None or not book.holder:
            return
        for name, channel in channels.by_name.items():
            if channel.executor_id != book.holder:
                what = f"is held by {book.holder}, but its channel {name!r} is for {channel.executor_id or 'nobody'}"
                raise self.ledger.violation(entry.process_id, what)

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
