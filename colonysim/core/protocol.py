"""The core's inputs and outputs: requests, answers and pushed messages."""

from __future__ import annotations

from typing import Any, Final, final

import msgspec

from colonysim.core.types import Spec


class Message(Spec, frozen=True):
    """Base class of request messages. `msgtype` must equal the envelope's payload type."""

    msgtype: str = ""


class Request(msgspec.Struct, frozen=True, gc=False):
    """A message with its authenticated sender.

    `ticket` identifies the request in answers; `stream` is the connection it arrived on, if that stays open for
    pushed messages. `has_nul` says whether some text contains U+0000, which the reference's storage refuses.
    """

    ticket: int
    caller_id: str
    message: Message
    has_nul: bool = False
    stream: int = 0


NO_REQUEST: Final = Request(0, "", Message())


class ErrorBody(msgspec.Struct, frozen=True, gc=False):
    """The body of an error reply."""

    status: int
    message: str


class Empty(msgspec.Struct, frozen=True, gc=False):
    """The body `{}` of a reply without data."""


EMPTY: Final = Empty()


class Echo(msgspec.Struct, frozen=True, gc=False):
    """A body that repeats the request's payload, byte for byte."""


ECHO: Final = Echo()


@final
class Answer(msgspec.Struct, frozen=True, gc=False):
    """The answer to one request.

    `payload_type` is `error` for refusals (the body is then a `ErrorBody`) and "" for replies without an envelope.
    `copies` is 2 for the doubled error of the log calls.
    """

    ticket: int
    status: int
    payload_type: str
    body: Any
    copies: int = 1

    @property
    def ok(self) -> bool:
        """Whether the request succeeded."""
        return self.status == 200 and self.payload_type != "error"


class Push(msgspec.Struct, frozen=True, gc=False):
    """A message that the server sends on a stream without being asked for each one."""

    stream: int
    payload_type: str
    body: Any


class Hangup(msgspec.Struct, frozen=True, gc=False):
    """The server closes a stream without notice."""

    stream: int


class Unblock(msgspec.Struct, frozen=True, gc=False):
    """A channel subscription has ended: the stream's next request may be read."""

    stream: int


Delivery = Answer | Push | Hangup | Unblock
"""An output of the core; outputs are delivered in order."""


class Park(msgspec.Struct, frozen=True, gc=False):
    """Returned in place of a body: the request stays in the world and is answered later."""


PARK: Final = Park()
