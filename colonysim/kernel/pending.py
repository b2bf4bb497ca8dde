"""Requests that have no answer yet, and those who wait for them."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import Any, Final, final

import msgspec

from colonysim.core.protocol import Answer, Message, Push
from colonysim.kernel.actors import Actor

LOST: Final = 0
"""Status of a request whose connection was lost."""

UNKNOWN_OUTCOME: Final = frozenset((LOST, 502, 503, 504))
"""Statuses, of the client or of gateways, after which it is unknown whether the request took effect."""


class Call(msgspec.Struct, gc=False):
    """A request and its reply, for inspection. `status` is None while the request is pending."""

    number: int
    at_ns: int
    caller_id: str
    payload_type: str
    message: Message | bytes  # the raw body, if it could not be read
    status: int | None = None
    body: Any = None
    answered_ns: int | None = None
    fault: str = ""  # name and kind of the fault that hit it
    verdict: str = ""
    payload: bytes = b""  # the JSON text of the message, if it came as bytes and is short


class Lost(ConnectionError):
    """The connection was lost before the reply came; the request may or may not have taken effect."""


class CorruptedBody(msgspec.Struct, frozen=True):
    """The body of a reply that a `malformed` fault has replaced."""

    text: str


class Waiter(msgspec.Struct, kw_only=True, eq=False):
    """Something that a thread waits for. `event` is set when it may be done, or when the thread must check the driver.

    `actor` is who waits for it in this process; it counts as acting from the moment `wake` is called, not only when
    its thread gets to run.
    """

    made_event: threading.Event | None = None
    actor: Actor | None = None

    @property
    def event(self) -> threading.Event:
        """The event that wakes the waiting thread, created on first use."""
        if self.made_event is None:
            self.made_event = threading.Event()
        return self.made_event

    @property
    def done(self) -> bool:
        raise TypeError("a waiter knows when it is done")

    def wake(self) -> None:
        """Mark the waiting actor as acting, and wake its thread."""
        if self.actor is not None:
            self.actor.acts()
        if self.made_event is not None:
            self.made_event.set()


@final
class Pending(Waiter, eq=False):
    """A request that has been sent. `answer` is None until it comes.

    `on_answer` is called when it comes, under the kernel's lock and in the thread that delivers it. `stream` is the
    request's number on a connection, `by` the program that sent it, `fault` the rule that hit it.
    """

    ticket: int
    call: Call
    outside: bool = False
    answer: Answer | None = None
    on_answer: Callable[[], None] | None = None
    stream: int = 0
    by: str = ""
    fault: Any = None

    @property
    def done(self) -> bool:
        return self.answer is not None

    def wait_outside(self) -> None:
        """Wait for the answer to a client in another process, while another thread moves time."""
        event = self.event
        while self.answer is None:
            event.wait()

    def complete(self) -> None:
        """Wake the waiting thread and call `on_answer`: the answer has come."""
        self.wake()
        if self.on_answer is not None:
            self.on_answer()


class Inbox(Waiter, eq=False):
    """Deliveries on a connection that have not been read; `closed` once the connection has ended."""

    items: deque[tuple[Push | Answer, bool]] = msgspec.field(default_factory=deque)
    closed: bool = False

    @property
    def done(self) -> bool:
        return bool(self.items) or self.closed
