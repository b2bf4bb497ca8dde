"""The timetable: calls planned outside of the server, such as delayed messages, timed faults and sleeping programs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from colonysim.core.agenda import Agenda, Event


class PlannedCall(Event, frozen=True, gc=True):
    """A planned call, and its description in `why`. `act` is called under the kernel's lock and must not block."""

    act: Callable[[], object]
    what: str = ""


class Timetable:
    """An agenda beside the server's own. Used under the kernel's lock.

    While `server_down` is set, the server's own agenda stands still; a call planned here brings the server back.
    """

    def __init__(self) -> None:
        self.planned = Agenda()
        self.server_down = False
        self._handlers: dict[type[Event], Callable[[Any], bool]] = {PlannedCall: _act}

    def clear(self) -> None:
        """Drop all plans, because the world was replaced."""
        self.planned = Agenda()
        self.server_down = False

    def add(self, due_ns: int, act: Callable[[], object], what: str = "") -> int:
        """Plan a call at a time. Returns the ticket that cancels it."""
        return self.planned.add(due_ns, PlannedCall(act, what))

    def plan(self, due_ns: int, event: Event) -> int:
        """Plan an event of a kind that has a handler. Returns the ticket that cancels it."""
        return self.planned.add(due_ns, event)

    def cancel(self, ticket: int) -> bool:
        """Cancel a plan. Returns False if it has happened or been cancelled before."""
        return self.planned.cancel(ticket)

    def handle(self, kind: type[Event], handler: Callable[[Any], bool]) -> None:
        """Set the handler for planned events of a kind. It returns whether an actor learned of something.

        It is called under the kernel's lock, and sends requests by `Kernel.ask_inside`.
        """
        self._handlers[kind] = handler

    def fire_next(self) -> bool:
        """Run the next event. Call `planned.next_due` just before. Returns whether an actor learned of something."""
        event = self.planned.pop()
        return self._handlers[type(event)](event)


def _act(call: PlannedCall) -> bool:
    """Make a planned call, which may have reached an actor."""
    call.act()
    return True
