"""What is planned outside of the server: packets on their way, faults that come by time, programs that sleep."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from colonysim.core.agenda import Agenda, Event


class PlannedCall(Event, frozen=True, gc=True):
    """A call to make later, and its name in `why`. `act` is called under the kernel's lock and must not wait."""

    act: Callable[[], object]
    what: str = ""


class Timetable:
    """An agenda beside the server's own. Called under the kernel's lock.

    While `server_down` is set, the server's own agenda stands still; a call planned here brings the server back.
    """

    def __init__(self) -> None:
        self.planned = Agenda()
        self.server_down = False
        self._handlers: dict[type[Event], Callable[[Any], bool]] = {PlannedCall: _act}

    def clear(self) -> None:
        """Drop all plans: another history begins."""
        self.planned = Agenda()
        self.server_down = False

    def add(self, due_ns: int, act: Callable[[], object], what: str = "") -> int:
        """Plan a call; the ticket returned cancels it."""
        return self.planned.add(due_ns, PlannedCall(act, what))

    def plan(self, due_ns: int, event: Event) -> int:
        """Plan an event of a kind that `on` was told of; the ticket returned cancels it."""
        return self.planned.add(due_ns, event)

    def cancel(self, ticket: int) -> bool:
        """Cancel a plan: False if it has happened or been cancelled before."""
        return self.planned.cancel(ticket)

    def handle(self, kind: type[Event], happen: Callable[[Any], bool]) -> None:
        """Handle planned events of a kind with `happen`, which returns whether anybody outside was told something.

        It is called under the kernel's lock and asks the server by `Kernel.ask_inside`.
        """
        self._handlers[kind] = happen

    def fire_next(self) -> bool:
        """Let the next event happen, which `planned.next_due()` has just told of: whether it told anybody."""
        event = self.planned.pop()
        return self._handlers[type(event)](event)


def _act(later: PlannedCall) -> bool:
    """Make a planned call. It may have told somebody something."""
    later.act()
    return True
