"""The limits of a server on bytes, times and connections, each with a default."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from enum import Enum, auto
from typing import Annotated, Final, Protocol

from msgspec import Meta

from colonysim.core.values import BadValue, Value, read_texts

if sys.platform != "win32":
    import resource

MIB: Final = 1_048_576
BODY_BYTES_PER_S: Final = 65_536
"""Received bytes of a body that extend its time-out by one second."""
RESERVED_FILES: Final = 64
"""Open files that are reserved for the rest of the process."""

Bytes = Annotated[int, Meta(ge=1, le=2**50)]
Seconds = Annotated[float, Meta(gt=0, le=1e9)]


class Limits(Value, frozen=True, kw_only=True):
    """The limits of a server. The reference has only those of heads and of idle connections."""

    body_bytes: Bytes = 64 * MIB
    """Body of a request; a longer one is answered 413."""
    held_bytes: Bytes = 512 * MIB
    """Sent by all clients together and not yet processed: requests that are incomplete or being served, and messages
    that wait on WebSockets. Half of it is divided evenly among `connections`, as a guaranteed part of
    each. A request beyond it is answered 503, a body that could never fit 413; a WebSocket is closed."""
    control_body_bytes: Bytes = MIB
    """Body of a request to the control API; a longer one is answered 413."""
    control_depth: Annotated[int, Meta(ge=1, le=200)] = 32
    """Nesting depth of lists and objects in a body for the control API; a deeper one is answered 400."""
    head_bytes: Bytes = MIB + 4096
    """Request line and header fields together; a longer head is answered 431."""
    head_fields: Bytes = 1000
    """Header fields of a request; more are answered 431."""
    message_bytes: Bytes = 64 * MIB
    """Message on a WebSocket, and all messages that wait there together; more ends the connection."""
    unread_bytes: Bytes = 64 * MIB
    """What a client may leave unread on a WebSocket; more ends the connection."""
    header_timeout_s: Seconds = 10.0
    """From the first byte of a head to its last; a slower connection is closed."""
    idle_timeout_s: Seconds = 120.0
    """From a reply, or the connection, to the next request; a connection idle for longer is closed."""
    body_timeout_s: Seconds = 60.0
    """For a body, and a second more for each 64 KiB of it that have come; a slower one is answered 408."""
    reply_timeout_s: Seconds = 60.0
    """For a client to take a reply; a slower connection is closed."""
    connections: Annotated[int, Meta(ge=1, le=1_000_000)] = 2000
    """Connections at a time. A further one replaces the connection that has waited longest for a request; if every
    connection is busy, it is answered 503."""

    @classmethod
    def from_texts(cls, texts: Iterable[str]) -> Limits:
        """Read limits given as NAME=VALUE. Raises ValueError that names the limit and the fix."""
        fields: dict[str, str] = {}
        for text in texts:
            name, equals, value = text.partition("=")
            if not equals:
                raise ValueError(f"a limit is NAME=VALUE, such as body_bytes=100000000, not {text!r}")
            if (name := name.strip()) not in cls.__struct_fields__:
                raise BadValue(f"there is no limit {name!r}; the limits are {', '.join(cls.__struct_fields__)}")
            fields[name] = value.strip()
        return read_texts(cls, fields)


DEFAULTS: Final = Limits()


def connections_at_most(limits: Limits) -> int:
    """The limit of connections, reduced to what the limit of open files of this process permits."""
    if sys.platform == "win32":
        return limits.connections
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if files == resource.RLIM_INFINITY:
        return limits.connections
    return max(1, min(limits.connections, files - RESERVED_FILES))


# ---------------------------------------------------------------- time
class Phase(Enum):
    """What a connection is waiting for."""

    REQUEST = auto()  # nothing of it has been received
    HEAD = auto()
    BODY = auto()


class Reading(Protocol):
    """The progress of a reader in its current request."""

    phase: Phase
    body_bytes: int


class ReadDeadline:
    """Computes the deadline for the next bytes of a request. It reads no clock: callers pass the time in seconds."""

    __slots__ = ("_limits", "_phase", "_since")

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._phase: Phase | None = None
        self._since = 0.0

    def at(self, reading: Reading, now: float) -> float:
        """Return the time, on the clock of `now`, at which the connection times out."""
        if reading.phase is not self._phase:
            self._phase, self._since = reading.phase, now
        if reading.phase is Phase.REQUEST:
            return self._since + self._limits.idle_timeout_s
        if reading.phase is Phase.HEAD:
            return self._since + self._limits.header_timeout_s
        return self._since + self._limits.body_timeout_s + reading.body_bytes / BODY_BYTES_PER_S

    def restart(self) -> None:
        """Start again after a request has been answered."""
        self._phase = None
