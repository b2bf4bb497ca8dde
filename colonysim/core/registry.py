"""The tables of message types and timed events, with the functions that serve them.

The decorator on each serving function makes its row, so that a search for a wire name finds the message, its
access rule and its behaviour in one place.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeVar

import msgspec

from colonysim.core.access import AccessRule, Check
from colonysim.core.agenda import Event
from colonysim.core.protocol import Message
from colonysim.core.world import World

M = TypeVar("M", bound=Message)
T = TypeVar("T")
E = TypeVar("E", bound=Event)

Find = Callable[[World, str, M], T]
"""(world, caller id, message): returns the target of a message, or raises a refusal before any access rule."""

Serve = Callable[[World, str, M, T], Any]
"""(world, caller id, message, target): returns the body of the reply, or PARK."""


class Operation(msgspec.Struct, frozen=True):
    """How one message type is served. `invalid_json` and `wrong_msgtype` are the texts of decoding errors."""

    name: str
    message: type[Message]
    invalid_json: str
    wrong_msgtype: str
    find: Callable[[World, str, Any], Any] | None
    access: AccessRule
    check: Check
    serve: Callable[[World, str, Any, Any], Any]
    reply_type: str
    signed: bool
    streamed: bool
    null_crashes: bool
    decode_status: int

    @property
    def part(self) -> str:
        """The name of the module that serves it."""
        return self.serve.__module__.rsplit(".", 1)[-1]


OPERATIONS: Final[dict[str, Operation]] = {}
BY_MESSAGE: Final[dict[type[Message], Operation]] = {}
TIMERS: Final[dict[type[Event], Callable[[World, Any], None]]] = {}

_MISMATCH = "msg.MsgType does not match payloadType"


def operation(
    name: str,
    message: type[M],
    stem: str,
    *,
    access: AccessRule,
    find: Find[M, T] | None = None,
    mismatch: str | None = None,
    reply_type: str | None = None,
    signed: bool = True,
    streamed: bool = False,
    null_crashes: bool = True,
    decode_status: int = 400,
) -> Callable[[Serve[M, T]], Serve[M, T]]:
    """Register the function that serves a message type.

    `stem` begins the texts of both decoding errors; `mismatch` replaces the second one. `access` is the rule that a
    caller must meet, `find` looks up the target first. `streamed` types are served on /pubsub only. If
    `null_crashes`, a payload of `null` gives an empty 500. Raises ValueError if the type is registered already.
    """

    def register(serve: Serve[M, T]) -> Serve[M, T]:
        row = Operation(
            name=name,
            message=message,
            invalid_json=f"{stem}, invalid JSON",
            wrong_msgtype=mismatch or f"{stem}, {_MISMATCH}",
            find=find,
            access=access,
            check=access.check,
            serve=serve,
            reply_type=reply_type or name,
            signed=signed,
            streamed=streamed,
            null_crashes=null_crashes,
            decode_status=decode_status,
        )
        if name in OPERATIONS or message in BY_MESSAGE:
            raise ValueError(f"{name} is registered twice")
        OPERATIONS[name] = BY_MESSAGE[message] = row
        return serve

    return register


def timer(event: type[E]) -> Callable[[Callable[[World, E], None]], Callable[[World, E], None]]:
    """Register the function to call when an event of a type is due. Raises ValueError if there is one already."""

    def register(fire: Callable[[World, E], None]) -> Callable[[World, E], None]:
        if event in TIMERS:
            raise ValueError(f"{event.__name__} is registered twice")
        TIMERS[event] = fire
        return fire

    return register
