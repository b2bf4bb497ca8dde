"""What goes into the core and what comes out of it."""

from __future__ import annotations

from typing import Any, Final, final

import msgspec

from colonysim.core.specs import Spec


class Message(Spec, frozen=True):
    """Base of all request messages. `msgtype` must repeat the envelope's payload type."""

    msgtype: str = ""


class Request(msgspec.Struct, frozen=True, gc=False):
    """A message whose sender is known.

    `ticket` names the request in answers, `stream` the connection it came over where that stays open for
    pushes. `has_nul` says that some text holds U+0000, which the reference's storage refuses.
    """

    ticket: int
    caller_id: str
    message: Message
    has_nul: bool = False
    stream: int = 0


NO_REQUEST: Final = Request(0, "", Message())


class Failure(msgspec.Struct, frozen=True, gc=False):
    """The body of an error reply."""

    status: int
    message: str


class Empty(msgspec.Struct, frozen=True, gc=False):
    """The body `{}` of a reply without data."""


EMPTY: Final = Empty()


class Echo(msgspec.Struct, frozen=True, gc=False):
    """The body that repeats the request's payload, byte for byte."""


ECHO: Final = Echo()


@final
class Answer(msgspec.Struct, frozen=True, gc=False):
    """What one request is answered with.

    `payload_type` is `error` for refusals (the body then is a `Failure`) and "" for replies without an
    envelope. `copies` is 2 for the doubled error of the log calls.
    """

    ticket: int
    status: int
    payload_type: str
    body: Any
    copies: int = 1

    @property
    def ok(self) -> bool:
        return self.status == 200 and self.payload_type != "error"


class Push(msgspec.Struct, frozen=True, gc=False):
    """A message sent on a stream of its own accord."""

    stream: int
    payload_type: str
    body: Any


class Hangup(msgspec.Struct, frozen=True, gc=False):
    """The server drops a stream without a word."""

    stream: int


class Unblock(msgspec.Struct, frozen=True, gc=False):
    """A channel subscription is over: the stream's next request may be read."""

    stream: int


Delivery = Answer | Push | Hangup | Unblock
"""What comes out of the core, in order."""


class Park(msgspec.Struct, frozen=True, gc=False):
    """Not yet: the request waits in the world and is answered later."""


PARK: Final = Park()
