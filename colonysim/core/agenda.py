"""What shall happen later, as data.

Events are frozen structs that name what they are about by id, never callbacks, so that a world with
its agenda can be copied and compared. Ties are broken by rank, then by order of entry.
"""

from __future__ import annotations

import heapq

import msgspec


class Event(msgspec.Struct, frozen=True, gc=False):
    """Base of everything that may stand on the agenda."""


class Agenda:
    """A heap of (due_ns, rank, ticket) and the events that are still wanted.

    `add`, `cancel`, `next_due` and `pop` are O(log n). A cancelled event leaves its heap entry behind until it
    surfaces or until such entries outnumber the live ones, when the heap is rebuilt. Nobody else changes `heap`.
    """

    def __init__(self) -> None:
        self.heap: list[tuple[int, int, int]] = []
        self._events: dict[int, Event] = {}
        self.last_ticket = 0

    def __len__(self) -> int:
        return len(self._events)

    def add(self, due_ns: int, event: Event, rank: int = 0) -> int:
        """Put an event on the agenda; the ticket returned takes it off again."""
        self.last_ticket = ticket = self.last_ticket + 1
        self._events[ticket] = event
        heapq.heappush(self.heap, (due_ns, rank, ticket))
        return ticket

    def cancel(self, ticket: int) -> bool:
        """Take an event off; False if it has fallen due or been cancelled before."""
        if self._events.pop(ticket, None) is None:
            return False
        if len(self.heap) > 2 * len(self._events) + 64:
            self.heap = [entry for entry in self.heap if entry[2] in self._events]
            heapq.heapify(self.heap)
        return True

    def next_due(self) -> int | None:
        """When the next event falls due, or None when nothing is to come."""
        while self.heap:
            due_ns, _, ticket = self.heap[0]
            if ticket in self._events:
                return due_ns
            heapq.heappop(self.heap)
        return None

    def may_be_due(self, now_ns: int) -> bool:
        """Whether something stands on the agenda for now, cancelled or not; cheap."""
        return bool(self.heap) and self.heap[0][0] <= now_ns

    def pop(self) -> Event:
        """Take the event that `next_due` has just told of."""
        return self._events.pop(heapq.heappop(self.heap)[2])

    def peek(self) -> Event:
        """The event that `next_due` has just told of, left where it is."""
        return self._events[self.heap[0][2]]

    def entries(self) -> list[tuple[int, int, Event]]:
        """All (due_ns, rank, event) in the order in which they will fall due."""
        return [(due_ns, rank, event) for due_ns, rank, _, event in self.entries_with_tickets()]

    def entries_with_tickets(self) -> list[tuple[int, int, int, Event]]:
        """All (due_ns, rank, ticket, event) in the order in which they will fall due."""
        live = sorted(entry for entry in self.heap if entry[2] in self._events)
        return [(*entry, self._events[entry[2]]) for entry in live]

    def event(self, ticket: int) -> Event | None:
        """The event that a ticket stands for, or None where it stands on the agenda no more."""
        return self._events.get(ticket)

    def load(self, entries: list[tuple[int, int, int, Event]], last_ticket: int) -> None:
        """Fill an empty agenda with the `entries_with_tickets` and the `last_ticket` of another one."""
        self._events = {ticket: event for _, _, ticket, event in entries}
        self.heap = sorted(entry[:3] for entry in entries)
        self.last_ticket = last_ticket
