"""Lost connections as their clients see them: by a fault, or because the client stopped waiting."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from colonysim.core.protocol import Answer
from colonysim.core.records import SECOND_NS
from colonysim.core.wording import show_limit
from colonysim.kernel.kernel import Kernel
from colonysim.kernel.pending import Call, Lost, Pending


class TimedOut(Lost):
    """The client stopped waiting before a reply came; the request may or may not have taken effect."""


def loss(call: Call | None) -> str:
    """Describe a lost connection to its client, with the fault that struck, if one did."""
    if call is None or not call.fault:
        return "the connection was lost"
    return f"the connection was lost: fault {call.fault!r} ({call.verdict}) struck {call.payload_type}"


def loss_of(calls: Iterable[Call], number: int) -> str:
    """Describe the lost connection of the call with a number."""
    return loss(next((call for call in calls if call.number == number), None))


class ClientTimeout:
    """Abandons a request after `after_s` seconds of virtual time, unless it is cancelled. Not under the lock."""

    def __init__(self, kernel: Kernel, pending: Pending, after_s: float) -> None:
        self._kernel = kernel
        self._pending = pending
        self.has_struck = False
        with kernel.locked() as world:
            due_ns = world.now_ns + max(0, round(after_s * SECOND_NS))
            self._ticket = kernel.timetable.add(due_ns, self._strike, "a client's time-out")
            kernel.wake_mover()

    def _strike(self) -> None:
        if self._pending.answer is None:
            self.has_struck = True
            self._kernel.abandon(self._pending)

    def cancel(self) -> None:
        """Drop the time-out; nothing happens if it has struck."""
        with self._kernel.lock:
            self._kernel.timetable.cancel(self._ticket)


class Waits(Protocol):
    """What waits for answers: a Simulation."""

    kernel: Kernel

    def wait(self, pending: Pending) -> Answer: ...


def wait_for_a_while(sim: Waits, pending: Pending, timeout_s: float) -> Answer:
    """Wait for an answer for so many virtual seconds at most. Raises TimedOut then, and what `Simulation.wait` does."""
    timer = ClientTimeout(sim.kernel, pending, timeout_s)
    try:
        answer = sim.wait(pending)
    finally:
        timer.cancel()
    if timer.has_struck:
        raise TimedOut(f"no reply to {pending.call.payload_type} within {show_limit(timeout_s)} of virtual time")
    return answer
