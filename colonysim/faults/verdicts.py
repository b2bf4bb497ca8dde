"""What a fault may decide: about a request, about a reply or push, and about the server.

The vocabulary is closed. `network.py` carries out the verdicts on messages and `injector.py` those on the server, each
in one place. Spans are whole nanoseconds; a fault draws them with `Hit.span_ns`.
"""

from __future__ import annotations

from typing import Final

import msgspec

from colonysim.extensions import BadCode


class Verdict(msgspec.Struct, frozen=True):
    """Base of the verdicts. Errors: ValueError for a number that is not whole or is below 0, and for no text."""

    def __post_init__(self) -> None:
        for name in self.__struct_fields__:
            value = getattr(self, name)
            if name == "text":
                if not isinstance(value, str):
                    raise ValueError(f"invalid text={value!r}: expected a text")
            elif type(value) is not int or value < 0:
                raise ValueError(f"invalid {name}={value!r}: expected a whole number, at least 0")
            elif name == "status" and not 400 <= value <= 599:
                raise ValueError(f"invalid status={value}: errors have a status of 400 to 599")


class Pass(Verdict, frozen=True):
    """The message goes on as if there were no fault."""


class Lose(Verdict, frozen=True):
    """The message does not arrive; the client notices `notice_ns` later. Nobody notices that a push is lost."""

    notice_ns: int = 0


class Late(Verdict, frozen=True):
    """The message arrives `by_ns` later."""

    by_ns: int


class Refuse(Verdict, frozen=True):
    """The client gets an error with this status and text instead. A request so refused never reaches the server."""

    status: int
    text: str


class Corrupt(Verdict, frozen=True):
    """The client gets `text` instead of the JSON of a reply or push."""

    text: str


class HoldBack(Verdict, frozen=True):
    """The request waits until `past` later ones that the fault is about have overtaken it, `within_ns` at most."""

    past: int
    within_ns: int


class Repeat(Verdict, frozen=True):
    """The request arrives, and `copies` times more, each `after_ns` after the one before; the first is answered."""

    copies: int
    after_ns: int = 0


class Break(Verdict, frozen=True):
    """The request arrives, and the connection breaks `after_ns` later: what is parked by then is given up."""

    after_ns: int = 0


class GoDown(Verdict, frozen=True):
    """The server restarts: all connections break, what it keeps in memory is lost, and it is back after `for_ns`."""

    for_ns: int


class CutOff(Verdict, frozen=True):
    """For `for_ns`, those callers whom the fault cuts off (`ServerFault.cuts_off`) cannot reach the server."""

    for_ns: int


PASS: Final = Pass()

RequestVerdict = Pass | Lose | Late | Refuse | HoldBack | Repeat | Break
ReplyVerdict = Pass | Lose | Late | Refuse | Corrupt
ServerVerdict = GoDown | CutOff


class BadVerdict(BadCode):
    """A fault decided something that cannot be done there. The text names the fault, its method and what may be."""
