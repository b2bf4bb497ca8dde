"""Requests under way and open streams."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import Any, Final, final

import msgspec

from colonysim.core.protocol import Answer, Message, Push
from colonysim.kernel.actors import Actor

LOST: Final = 0
"""Status of an answer that never comes: the connection is lost."""

UNKNOWN_OUTCOME: Final = frozenset((LOST, 502, 503, 504))
"""Statuses, of the client or of gateways, after which nobody knows whether a request took effect."""


class Call(msgspec.Struct, gc=False):
    """What was asked, by whom, and what came of it. `status` is None while the request is parked."""

    number: int
    at_ns: int
    caller_id: str
    payload_type: str
    message: Message | bytes  # the body as it came, where it could not be read
    status: int | None = None
    body: Any = None
    answered_ns: int | None = None
    fault: str = ""  # the fault that struck it, and its kind
    verdict: str = ""


class Lost(ConnectionError):
    """The connection was lost before the reply came: the request may have taken effect, or not."""


class CorruptedBody(msgspec.Struct, frozen=True):
    """A reply's body that has become something else on its way."""

    text: str


class Waiter(msgspec.Struct, kw_only=True, eq=False):
    """Something that is waited for. `event` is set when it may be there, or when it is time to look around.

    `actor` is who waits for it in this process; it counts as acting from the moment `wake` is called, not only when
    its thread gets to run.
    """

    made_event: threading.Event | None = None
    actor: Actor | None = None

    @property
    def event(self) -> threading.Event:
        if self.made_event is None:
            self.made_event = threading.Event()
        return self.made_event

    @property
    def done(self) -> bool:
        raise TypeError("a waiter knows when it is done")

    def wake(self) -> None:
        if self.actor is not None:
            self.actor.acts()
        if self.made_event is not None:
            self.made_event.set()


@final
class Pending(Waiter, eq=False):
    """A request under way. `answer` is None until it comes.

    `on_answer` is called when it comes, under the simulation's lock and in whatever thread brings it. `stream` is
    that of the request, `by` the program that asked, `fault` the rule that has struck it.
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
        """Wait for the answer on behalf of a client outside, where another thread moves time."""
        event = self.event
        while self.answer is None:
            event.wait()

    def complete(self) -> None:
        """The answer has come: tell whoever waits for it."""
        self.wake()
        if self.on_answer is not None:
            self.on_answer()


class Inbox(Waiter, eq=False):
    """What has been delivered on a connection and not been taken yet; `closed` once the server has hung up."""

    items: deque[tuple[Push | Answer, bool]] = msgspec.field(default_factory=deque)
    closed: bool = False

    @property
    def done(self) -> bool:
        return bool(self.items) or self.closed
