"""The parts of a simulation above the kernel, as the kernel sees them.

Unless its docstring says otherwise, a method is called under the kernel's lock.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from colonysim.core.protocol import Answer, Delivery, Push, Request
from colonysim.kernel.pending import Pending


class Observer:
    """Sees each step and changes nothing. This base class ignores what it sees.

    While `recording` is set, it also sees steps of a world without a history. Once `halted` is set, `require` is called
    before each request, and raises an error.
    """

    recording = False
    halted = False

    def require(self) -> None:
        """Raise an error if no further step is allowed."""

    def look(self, deliveries: list[Delivery], request: Request | None = None) -> Exception | None:
        """Record a step: its deliveries, and its request if it had one. Returns the violation it caused, if any."""

    def raised(self, error: Exception, doing: str) -> None:
        """Record an exception of the server, and what it was doing. May raise a clearer exception."""

    def note(self, line: dict[str, Any]) -> None:
        """Record something that did not reach the server, such as the effect of a fault."""

    def problem(self, error: BaseException) -> None:
        """Record that a step has ended with an error."""

    def moved(self) -> None:
        """Record that time was moved by hand."""

    def marked(self) -> None:
        """Record that a reset will restore the present state."""

    def flush(self) -> None:
        """Write out what has been recorded, before a client in another process learns of it."""


class Network(Protocol):
    """The faults that messages meet on their way."""

    def send(self, pending: Pending, request: Request) -> None:
        """Send a request of a client to the server."""

    def heard(self, type_name: str, status: int) -> None:
        """Record that the server has answered a request of a type."""

    def keeps(self, pending: Pending, answer: Answer) -> bool:
        """Whether a fault delays or loses the answer, so that the kernel must not pass it on."""

    def takes(self, push: Push) -> bool:
        """Whether a fault delays or loses the push, so that the kernel must not pass it on."""

    def unreachable_s(self, program: str) -> float | None:
        """In how many seconds a client that connects now notices that it cannot; None if it can."""


class ProgramTurns(Protocol):
    """The programs of a simulation, which act in turn."""

    @property
    def ready(self) -> Sequence[Any]:
        """The programs that must act before time moves."""

    @property
    def acting(self) -> Any:
        """The program that acts now; None while time moves or a condition is evaluated."""

    @property
    def under_way(self) -> bool:
        """Whether a thread runs the programs."""

    @property
    def finished(self) -> bool:
        """Whether all programs that are expected to end have ended."""

    def run(self, limit_ns: int | None, done: Callable[[], bool], *, gives_way: bool = False) -> None:
        """Run the programs up to a time, or until `done()`. Not under the lock."""

    def run_to(self, limit_ns: int | None, done: Callable[[], bool], *, to_limit: bool = True) -> bool:
        """Run the programs, and move time up to the limit. Returns whether `done()` came first. Not under the lock."""

    def explain(self) -> list[str]:
        """Describe what each program is doing, one line each."""


class Settable(Protocol):
    """Something that wakes a thread: an event, or the loop of a server."""

    def set(self) -> None: ...


class Mover:
    """The thread that moves time, and what it waits for. Used under the kernel's lock.

    `event` wakes it, and is None while no thread moves time. If the clock follows real time, `planned_ns` is the due
    time for which it will wake by itself. While `asleep` is set, it stays idle until woken.
    """

    def __init__(self) -> None:
        self.event: Settable | None = None
        self.planned_ns: int | None = None
        self.asleep = False

    def misses(self, due_ns: int | None) -> bool:
        """Whether it would wake too late for an event at `due_ns`."""
        return due_ns is not None and (self.planned_ns is None or due_ns < self.planned_ns)

    def wake(self) -> None:
        """Wake the mover, if there is one."""
        self.asleep = False
        if self.event is not None:
            self.event.set()

    def replan(self) -> None:
        """Wake the mover to plan again, because the mode of the clock has changed or the world was replaced."""
        self.planned_ns = None
        if self.event is not None:
            self.event.set()
