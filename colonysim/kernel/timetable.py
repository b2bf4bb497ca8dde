"""Calls that are planned outside of the server: packets on their way, faults that come by time, sleepers."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from colonysim.core import engine
from colonysim.core.agenda import Agenda, Event
from colonysim.core.protocol import Answer, Message
from colonysim.core.world import World
from colonysim.kernel.clock import LAST_NS
from colonysim.kernel.pending import Pending


class Later(Event, frozen=True, gc=True):
    """Something to do, and what to call it in `why`. `act` is called under the lock and must not wait."""

    act: Callable[[], object]
    what: str = ""


class Timetable:
    """Calls on the simulation's agenda of what is planned, which `planned` gives.

    While the server is `held` its own agenda stands still: it is down, and something planned brings it back.
    """

    def __init__(self, planned: Callable[[], Agenda]) -> None:
        self._planned = planned
        self.held = False

    def add(self, due_ns: int, act: Callable[[], object], what: str = "") -> int:
        """Do something at a time; the ticket returned takes it off again."""
        return self._planned().add(due_ns, Later(act, what))

    def cancel(self, ticket: int) -> bool:
        return self._planned().cancel(ticket)


class Planning:
    """The part of a simulation that merges what is planned outside of the server with the server's own agenda."""

    world: World
    _lock: threading.Lock
    _tickets: int
    _pending: dict[int, Pending]

    def __init__(self) -> None:
        self.planned = Agenda()
        self.events = 0  # that have happened in batches
        self.on_fault: Callable[[int, dict[str, Any]], None] | None = None
        self._happens: dict[type[Event], Callable[[Any], bool]] = {Later: _happen}
        self.timetable = Timetable(lambda: self.planned)

    def plan(self, due_ns: int, event: Event) -> int:
        """Put something on the agenda of those outside of the server; the ticket takes it off `planned` again."""
        return self.planned.add(due_ns, event)

    def on_planned(self, kind: type[Event], happen: Callable[[Any], bool]) -> None:
        """Have a kind of planned event happen in this way: it says whether somebody outside was told something.

        It is called under the lock, and asks by `ask_inside`.
        """
        self._happens[kind] = happen

    @property
    def calls_asked(self) -> int:
        """How many calls have been asked so far."""
        return self._tickets

    def run_batch(self, until_ns: int, stop: Callable[[], bool], most: int) -> bool:
        """Let up to `most` events happen that are due by then; False when `stop` says so, or nothing is left.

        For those who live on the agenda: nobody else is waited for. With nothing left, time goes on to the end.
        """
        fire = self._fire
        with self._lock:
            for count in range(most):
                if stop():
                    self.events += count
                    return False
                if fire(until_ns) is None:
                    self.events += count
                    self.world.now_ns = max(self.world.now_ns, until_ns)
                    return False
        self.events += most
        return True

    def _fire(self, until_ns: int) -> bool | None:
        raise TypeError("a simulation knows how to let things happen")

    def _ask(self, caller_id: str, message: Message) -> Answer | Pending:
        raise TypeError("a simulation knows how to ask")

    def ask_inside(self, caller_id: str, message: Message, told: Callable[[], None] | None = None) -> Answer | Pending:
        """Ask on behalf of somebody who lives on the agenda: in what a planned event does, and only there.

        The answer, or the request that is under way until it comes; `told` is called then.
        """
        asked = self._ask(caller_id, message)
        if type(asked) is Pending:
            asked.told = told
        return asked

    def abandon_inside(self, pending: Pending) -> None:
        """Whoever lives on the agenda has gone: nobody hears the answer, and a parked call gives its place free."""
        pending.told = None
        if self._pending.pop(pending.ticket, None) is not None:
            engine.abandon(self.world, pending.ticket)

    def _happen(self, due_ns: int) -> bool:
        event = self.planned.pop()
        self.world.now_ns = max(self.world.now_ns, due_ns)
        return self._happens[type(event)](event)

    def _due(self) -> int | None:
        """When something will happen of its own accord, in the server or outside of it; not after the year 9999."""
        planned_ns = self.planned.next_due()
        due_ns = None if self.timetable.held else self.world.next_due()
        if due_ns is None or (planned_ns is not None and planned_ns < due_ns):
            due_ns = planned_ns
        return None if due_ns is None or due_ns > LAST_NS else due_ns

    def _may_be_due(self, now_ns: int) -> bool:
        return self.world.agenda.may_be_due(now_ns) or self.planned.may_be_due(now_ns)


def _happen(later: Later) -> bool:
    """Do what was planned. Somebody outside may have been told something by that."""
    later.act()
    return True
