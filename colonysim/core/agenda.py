"""The agenda: future events, as data.

Events are frozen structs that refer to their subject by id, never callbacks, so that a world with its agenda can be
copied, stored and compared. Ties are broken by rank, then by order of entry.
"""

from __future__ import annotations

import heapq

import msgspec


class Event(msgspec.Struct, frozen=True, gc=False):
    """Base class of the events of agendas."""


class Agenda:
    """A heap of (due_ns, rank, ticket), and the events by ticket.

    `add`, `cancel`, `next_due` and `pop` are O(log n), amortised. The heap entry of a cancelled event stays until it
    reaches the top, or until such entries outnumber the others and the heap is rebuilt. Others may read `heap`, but
    not change it.
    """

    def __init__(self) -> None:
        self.heap: list[tuple[int, int, int]] = []
        self._events: dict[int, Event] = {}
        self.last_ticket = 0

    def __len__(self) -> int:
        return len(self._events)

    def add(self, due_ns: int, event: Event, rank: int = 0) -> int:
        """Add an event. Returns the ticket that cancels it."""
        self.last_ticket = ticket = self.last_ticket + 1
        self._events[ticket] = event
        heapq.heappush(self.heap, (due_ns, rank, ticket))
        return ticket

    def cancel(self, ticket: int) -> bool:
        """Remove an event. Returns False if it has happened or been cancelled before."""
        if self._events.pop(ticket, None) is None:
            return False
        if len(self.heap) > 2 * len(self._events) + 64:
            self.heap = [entry for entry in self.heap if entry[2] in self._events]
            heapq.heapify(self.heap)
        return True

    def next_due(self) -> int | None:
        """Return when the next event is due; None if there is none."""
        while self.heap:
            due_ns, _, ticket = self.heap[0]
            if ticket in self._events:
                return due_ns
            heapq.heappop(self.heap)
        return None

    def may_be_due(self, now_ns: int) -> bool:
        """Whether the first entry is due, even if its event has been cancelled. Cheaper than `next_due`."""
        return bool(self.heap) and self.heap[0][0] <= now_ns

    def pop(self) -> Event:
        """Remove and return the next event. Call `next_due` just before."""
        return self._events.pop(heapq.heappop(self.heap)[2])

    def peek(self) -> Event:
        """Return the next event, without removing it. Call `next_due` just before."""
        return self._events[self.heap[0][2]]

    def entries(self) -> list[tuple[int, int, Event]]:
        """Return (due_ns, rank, event) of all events, in the order in which they are due."""
        return [(due_ns, rank, event) for due_ns, rank, _, event in self.entries_with_tickets()]

    def entries_with_tickets(self) -> list[tuple[int, int, int, Event]]:
        """Return (due_ns, rank, ticket, event) of all events, in the order in which they are due."""
        live = sorted(entry for entry in self.heap if entry[2] in self._events)
        return [(*entry, self._events[entry[2]]) for entry in live]

    def event(self, ticket: int) -> Event | None:
        """Return the event of a ticket; None if it has happened or been cancelled."""
        return self._events.get(ticket)

    def load(self, entries: list[tuple[int, int, int, Event]], last_ticket: int) -> None:
        """Fill an empty agenda from the `entries_with_tickets` and the `last_ticket` of another one."""
        self._events = {ticket: event for _, _, ticket, event in entries}
        self.heap = sorted(entry[:3] for entry in entries)
        self.last_ticket = last_ticket
