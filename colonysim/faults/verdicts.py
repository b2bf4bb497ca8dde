"""What a fault may decide: about a request, about a reply or push, and about the server.

The vocabulary is closed. `network.py` carries out the verdicts on messages and `injector.py` those on the server, each
in one place. Spans are whole nanoseconds; a fault draws them with `Hit.span_ns`.
"""

from __future__ import annotations

from typing import Final

import msgspec

from colonysim.extensions import BadCode


class Pass(msgspec.Struct, frozen=True):
    """The message goes on as if there were no fault."""


class Lose(msgspec.Struct, frozen=True):
    """The message does not arrive; the client notices `notice_ns` later. Nobody notices that a push is lost."""

    notice_ns: int = 0


class Late(msgspec.Struct, frozen=True):
    """The message arrives `by_ns` later."""

    by_ns: int


class Refuse(msgspec.Struct, frozen=True):
    """The client gets an error with this status and text instead. A request so refused never reaches the server."""

    status: int
    text: str


class Corrupt(msgspec.Struct, frozen=True):
    """The client gets `text` instead of the JSON of a reply or push."""

    text: str


class HoldBack(msgspec.Struct, frozen=True):
    """The request waits until `past` later ones that the fault is about have overtaken it, `within_ns` at most."""

    past: int
    within_ns: int


class Repeat(msgspec.Struct, frozen=True):
    """The request arrives, and `copies` times more, each `after_ns` after the one before; the first is answered."""

    copies: int
    after_ns: int = 0


class Break(msgspec.Struct, frozen=True):
    """The request arrives, and the connection breaks `after_ns` later: what is parked by then is given up."""

    after_ns: int = 0


class GoDown(msgspec.Struct, frozen=True):
    """The server restarts: all connections break, what it keeps in memory is lost, and it is back after `for_ns`."""

    for_ns: int


class CutOff(msgspec.Struct, frozen=True):
    """For `for_ns`, those callers whom the fault cuts off (`ServerFault.cuts_off`) cannot reach the server."""

    for_ns: int


PASS: Final = Pass()

RequestVerdict = Pass | Lose | Late | Refuse | HoldBack | Repeat | Break
ReplyVerdict = Pass | Lose | Late | Refuse | Corrupt
ServerVerdict = GoDown | CutOff


class BadVerdict(BadCode):
    """A fault decided something that cannot be done there. The text names the fault, its method and what may be."""
