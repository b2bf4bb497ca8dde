"""What shall happen later outside of the server: packets on their way, faults, sleepers, modelled executors.

It stands beside the world's agenda, which knows nothing of it; the two are merged by time. What is due at the
same moment happens in the server first.
"""

from __future__ import annotations

from collections.abc import Callable

from colonysim.core.agenda import Agenda, Event


class Later(Event, frozen=True, gc=True):
    """Something to do, and what to call it in `why`."""

    act: Callable[[], None]
    what: str = ""


class Timetable:
    """An agenda of calls, all made under the simulation's lock. They must not wait.

    While the server is `held` its own agenda stands still: it is down, and something here brings it back.
    """

    def __init__(self) -> None:
        self._agenda = Agenda()
        self.held = False

    def __len__(self) -> int:
        return len(self._agenda)

    def add(self, due_ns: int, act: Callable[[], None], what: str = "", rank: int = 0) -> int:
        """Do something at a time; the ticket returned takes it off again."""
        return self._agenda.add(due_ns, Later(act, what), rank)

    def cancel(self, ticket: int) -> bool:
        return self._agenda.cancel(ticket)

    def clear(self) -> None:
        """Nothing is to come any more."""
        self._agenda = Agenda()
        self.held = False

    def next_due(self, world_due_ns: int | None) -> int | None:
        """When something happens next, here or in the server, whose next event is due at `world_due_ns`."""
        due_ns = self._agenda.next_due()
        if world_due_ns is None or self.held:
            return due_ns
        return world_due_ns if due_ns is None else min(due_ns, world_due_ns)

    def take(self, world_due_ns: int | None, until_ns: int) -> tuple[int, Callable[[], None]] | None:
        """What is due here by then and before the server's next event; None where there is nothing."""
        due_ns = self._agenda.next_due()
        if due_ns is None or due_ns > until_ns:
            return None
        if world_due_ns is not None and world_due_ns <= due_ns and not self.held:
            return None
        entry = self._agenda.pop_due(until_ns)
        assert entry is not None
        assert isinstance(entry[1], Later)
        return due_ns, entry[1].act

    def entries(self) -> list[tuple[int, str]]:
        """When what is to come, in order."""
        return [(due_ns, event.what) for due_ns, _, event in self._agenda.entries() if isinstance(event, Later)]
