"""One row for each message type and for each kind of event on the agenda.

A row is made by the decorator on the function that serves it, so that grepping a wire name lands on the
message, the rule and the behaviour at once.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeVar

import msgspec

from colonysim.core.access import Check, Rule
from colonysim.core.agenda import Event
from colonysim.core.protocol import Message
from colonysim.core.world import World

M = TypeVar("M", bound=Message)
T = TypeVar("T")
E = TypeVar("E", bound=Event)

Find = Callable[[World, str, M], T]
"""(world, caller id, message): the target of a message, or a refusal that comes before all rules."""

Serve = Callable[[World, str, M, T], Any]
"""(world, caller id, message, target): the body of the reply, or PARK."""


class Operation(msgspec.Struct, frozen=True):
    """How one message type is served. Texts are the refusals of a message that cannot be decoded."""

    name: str
    message: type[Message]
    invalid_json: str
    wrong_msgtype: str
    find: Callable[[World, str, Any], Any] | None
    access: Rule
    check: Check
    serve: Callable[[World, str, Any, Any], Any]
    reply_type: str
    signed: bool
    streamed: bool
    null_crashes: bool
    decode_status: int

    @property
    def part(self) -> str:
        """The file that serves it."""
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
    access: Rule,
    find: Find[M, T] | None = None,
    mismatch: str | None = None,
    reply_type: str | None = None,
    signed: bool = True,
    streamed: bool = False,
    null_crashes: bool = True,
    decode_status: int = 400,
) -> Callable[[Serve[M, T]], Serve[M, T]]:
    """Register the function that serves a message type.

    `stem` begins both decoding errors; `mismatch` is the whole text of the second where it differs.
    `streamed` types are served on /pubsub only. `null_crashes`: a payload of `null` gives an empty 500.
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
    """Register the function that is called when an event of that type falls due."""

    def register(fire: Callable[[World, E], None]) -> Callable[[World, E], None]:
        if event in TIMERS:
            raise ValueError(f"{event.__name__} is registered twice")
        TIMERS[event] = fire
        return fire

    return register
