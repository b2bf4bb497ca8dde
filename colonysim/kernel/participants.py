"""What takes part in a simulation above the kernel, as the kernel sees it.

Unless its docstring says otherwise, a method is called under the kernel's lock.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from colonysim.core.protocol import Answer, Delivery, Push, Request
from colonysim.kernel.pending import Pending


class Observer:
    """Sees each step and changes nothing. This one ignores what it sees; others override its methods.

    While `recording` is True it is shown steps also where the world keeps no history, and asked before each request.
    """

    recording = False

    def require(self) -> None:
        """Raise an error if nothing may happen any more."""

    def look(self, deliveries: list[Delivery], request: Request | None = None) -> Exception | None:
        """Take note of a step, of the request behind it if any, and of what it gave out; return what it has broken."""

    def raised(self, error: Exception, doing: str) -> None:
        """Take note that the server raised an exception while doing something; may raise a clearer one."""

    def note(self, line: dict[str, Any]) -> None:
        """Take note of something that did not reach the server, such as what a fault has done."""

    def problem(self, error: BaseException) -> None:
        """Take note that a step has ended with an error."""

    def moved(self) -> None:
        """Take note that time was moved by hand."""

    def flush(self) -> None:
        """Write down what has been noted: somebody outside of this process is about to learn of it."""


class Network(Protocol):
    """What faults do to messages on their way."""

    def send(self, pending: Pending, request: Request) -> None:
        """Take a request that a client sends."""

    def heard(self, type_name: str, status: int) -> None:
        """Take note that the server has answered a request of a type."""

    def keeps(self, pending: Pending, answer: Answer) -> bool:
        """Return whether the answer does not get to its client, now or at all."""

    def takes(self, push: Push) -> bool:
        """Return whether the push does not get to its client, now or at all."""


class ProgramTurns(Protocol):
    """Programs that act in turn."""

    @property
    def ready(self) -> Sequence[Any]:
        """Those that act before time moves on."""

    @property
    def acting(self) -> Any:
        """The one that acts just now, None while time moves or a condition is looked at."""

    @property
    def under_way(self) -> bool:
        """Whether somebody runs them."""

    @property
    def finished(self) -> bool:
        """Whether all that are expected to end have done so."""

    def run(self, limit_ns: int | None, done: Callable[[], bool], *, gives_way: bool = False) -> None:
        """Let them act, up to a time or until something is true. Not under the lock."""

    def run_to(self, limit_ns: int | None, done: Callable[[], bool], *, to_limit: bool = True) -> bool:
        """Let them act, and time go on to the limit: whether something was true before. Not under the lock."""

    def explain(self) -> list[str]:
        """What each of them is doing, in lines."""


class Settable(Protocol):
    """Something that can be woken: an event, or a server's loop."""

    def set(self) -> None: ...


class Mover:
    """The one that moves time, and what it waits for. Used under the kernel's lock.

    `event` wakes it, and is None while nobody moves time. `planned_ns` is when it looks again where the clock follows
    real time. While `asleep` is True it does not look again unless it is woken.
    """

    def __init__(self) -> None:
        self.event: Settable | None = None
        self.planned_ns: int | None = None
        self.asleep = False

    def misses(self, due_ns: int | None) -> bool:
        """Whether it would look too late, by real time, for what is due at `due_ns`."""
        return due_ns is not None and (self.planned_ns is None or due_ns < self.planned_ns)

    def wake(self) -> None:
        """Have it look again now, if there is one."""
        self.asleep = False
        if self.event is not None:
            self.event.set()

    def replan(self) -> None:
        """Have it look again with another plan: the clock's mode has changed, or another history has begun."""
        self.planned_ns = None
        if self.event is not None:
            self.event.set()
