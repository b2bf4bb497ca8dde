"""Connections that stay open: they send requests, one at a time, and receive pushes.

Source: docs/protocol/d-realtime-and-data.md 2.2.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final, Protocol

import msgspec

from colonysim.core import engine
from colonysim.core.protocol import Answer, Hangup, Message, Push, Unblock
from colonysim.core.world import World

if TYPE_CHECKING:
    from colonysim.kernel.pending import Pending


class StreamRequest(msgspec.Struct, frozen=True):
    """A request on a connection. `binary`: it came in a binary frame, and so must its pushes go out."""

    caller_id: str
    message: Message
    has_nul: bool = False
    binary: bool = False


class ConnectionEnd:
    """Sentinel: the client closed the connection, or sent something that forces its end."""


CONNECTION_END: Final = ConnectionEnd()


class Connection(ABC):
    """The connection of one client: a source of requests and a sink for deliveries.

    Both methods are called under the kernel's lock and must not block. `streams` are its open subscriptions;
    `blocked_by` is the stream of the channel subscription that blocks further requests.
    """

    def __init__(self, *, outside: bool) -> None:
        self.outside = outside
        self.closed = False
        self.blocked_by = 0
        self.streams: dict[int, StreamRequest] = {}

    @abstractmethod
    def next_request(self) -> StreamRequest | ConnectionEnd | None:
        """Return the next request, or the end of the connection; None if nothing has been received."""

    @abstractmethod
    def deliver(self, delivery: Push | Answer | Hangup, binary: bool) -> None:
        """Send a delivery to the client. Nothing follows a Hangup."""


class RequestServer(Protocol):
    """The kernel, as connections see it."""

    world: World

    def new_ticket(self) -> int: ...

    def ask(self, caller_id: str, message: Message, has_nul: bool, stream: int, outside: bool) -> Answer | Pending: ...


class Connections:
    """All connections with open subscriptions, by the numbers of their streams. Call it under the kernel's lock."""

    def __init__(self, kernel: RequestServer) -> None:
        self._by_stream: dict[int, Connection] = {}
        self._kernel = kernel

    def __len__(self) -> int:
        return len(self._by_stream)

    def __iter__(self) -> Iterator[Connection]:
        return iter(self._by_stream.values())

    def serve(self, connection: Connection) -> None:
        """Serve the requests of a connection until none is left, or a channel subscription blocks the next one."""
        kernel = self._kernel
        while not connection.closed and connection.blocked_by not in kernel.world.channel_streams:
            asked = connection.next_request()
            if asked is None:
                return
            if isinstance(asked, ConnectionEnd):
                self.hang_up(connection)
                return
            stream = connection.blocked_by = kernel.new_ticket()
            self._by_stream[stream] = connection
            connection.streams[stream] = asked
            answer = kernel.ask(asked.caller_id, asked.message, asked.has_nul, stream, connection.outside)
            if type(answer) is Answer:
                self.answer(stream, answer)

    def deliver(self, delivery: Push | Hangup | Unblock) -> None:
        """Pass on what the core sends to a stream. After an Unblock, the connection's further requests are served."""
        connection = self._by_stream.get(delivery.stream)
        if connection is None:
            return
        if isinstance(delivery, Push):
            connection.deliver(delivery, connection.streams[delivery.stream].binary)
        elif isinstance(delivery, Hangup):
            self.hang_up(connection)
        else:
            del self._by_stream[delivery.stream], connection.streams[delivery.stream]
            self.serve(connection)

    def request_of(self, stream: int) -> StreamRequest | None:
        """Return the request that opened a stream; None if its connection has closed."""
        connection = self._by_stream.get(stream)
        return None if connection is None else connection.streams[stream]

    def all_streams(self) -> list[int]:
        """Return the numbers of all open streams."""
        return list(self._by_stream)

    def answer(self, stream: int, answer: Answer) -> None:
        """Pass on the answer to a request, which therefore is no subscription."""
        if (connection := self._by_stream.pop(stream, None)) is not None:
            connection.deliver(answer, connection.streams.pop(stream).binary)

    def disconnect(self, stream: int) -> None:
        """Break the connection of a stream."""
        if (connection := self._by_stream.get(stream)) is not None:
            self.hang_up(connection)

    def hang_up(self, connection: Connection) -> None:
        """Close a connection and its subscriptions, and tell the client."""
        if not connection.closed:
            self.close(connection)
            connection.deliver(Hangup(0), False)

    def close(self, connection: Connection) -> None:
        """Close the subscriptions of a connection whose client has gone."""
        connection.closed = True
        for number in connection.streams:
            engine.close_stream(self._kernel.world, number)
            del self._by_stream[number]
        connection.streams.clear()

    def hang_up_all(self) -> None:
        """Close all connections."""
        for connection in dict.fromkeys(self._by_stream.values()):
            self.hang_up(connection)
