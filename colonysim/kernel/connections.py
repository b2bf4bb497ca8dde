"""Connections that stay open: requests come in one at a time, and pushes go out.

Source: docs/protocol/d-realtime-and-data.md 2.2.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Final

import msgspec

from colonysim.core import engine
from colonysim.core.protocol import Answer, Delivery, Hangup, Message, Push
from colonysim.core.world import World


class StreamRequest(msgspec.Struct, frozen=True):
    """A request on a connection, and whether it came, and wants its pushes, in binary."""

    caller_id: str
    message: Message
    has_nul: bool = False
    binary: bool = False


class ConnectionEnd:
    """What a connection has to say last: the client goes, or has sent what ends the connection."""


CONNECTION_END: Final = ConnectionEnd()


class Connection(ABC):
    """One client's connection: a source of requests and a sink for what the server sends.

    Both are called under the simulation's lock and must not wait. `streams` are its subscriptions that are
    open, `blocked_by` the channel subscription that keeps its further requests waiting.
    """

    def __init__(self, *, outside: bool) -> None:
        self.outside = outside
        self.closed = False
        self.blocked_by = 0
        self.streams: dict[int, StreamRequest] = {}

    @abstractmethod
    def next_request(self) -> StreamRequest | ConnectionEnd | None:
        """The next request that has come; None where there is none yet."""

    @abstractmethod
    def deliver(self, delivery: Push | Answer | Hangup, binary: bool) -> None:
        """Take what the server sends. After a Hangup nothing more comes."""


class Connections:
    """All connections with open subscriptions, by the numbers of those. Called under the kernel's lock."""

    def __init__(self, world: World) -> None:
        self._by_stream: dict[int, Connection] = {}
        self._world = world

    def replace_world(self, world: World) -> None:
        """End subscriptions in this world from now on: another history begins."""
        self._world = world

    def __len__(self) -> int:
        return len(self._by_stream)

    def open(self, connection: Connection, stream: int, asked: StreamRequest) -> None:
        """Number a request on a connection; it is a subscription, unless `answer` brings an answer to it."""
        connection.blocked_by = stream
        self._by_stream[stream] = connection
        connection.streams[stream] = asked

    def deliver(self, delivery: Delivery) -> Connection | None:
        """Pass on what the core sends; the connection that may go on with its next request, if any."""
        if isinstance(delivery, Answer) or (connection := self._by_stream.get(delivery.stream)) is None:
            return None
        if isinstance(delivery, Push):
            connection.deliver(delivery, connection.streams[delivery.stream].binary)
            return None
        if isinstance(delivery, Hangup):
            self.hang_up(connection)
            return None
        del self._by_stream[delivery.stream], connection.streams[delivery.stream]
        return connection

    def request_of(self, stream: int) -> StreamRequest | None:
        """What a stream was asked for; None where its connection is gone."""
        connection = self._by_stream.get(stream)
        return None if connection is None else connection.streams[stream]

    def all_streams(self) -> list[int]:
        """The numbers of all streams that are open."""
        return list(self._by_stream)

    def answer(self, stream: int, answer: Answer) -> None:
        """Pass on the answer to a request, which has not subscribed to anything then."""
        if (connection := self._by_stream.pop(stream, None)) is not None:
            connection.deliver(answer, connection.streams.pop(stream).binary)

    def disconnect(self, stream: int) -> None:
        """The connection of a stream breaks."""
        if (connection := self._by_stream.get(stream)) is not None:
            self.hang_up(connection)

    def hang_up(self, connection: Connection) -> None:
        """The server drops a connection with all its subscriptions."""
        if not connection.closed:
            self.close(connection)
            connection.deliver(Hangup(0), False)

    def close(self, connection: Connection) -> None:
        """The client has gone."""
        connection.closed = True
        for number in connection.streams:
            engine.close_stream(self._world, number)
            del self._by_stream[number]
        connection.streams.clear()

    def hang_up_all(self) -> None:
        """The server goes."""
        for connection in dict.fromkeys(self._by_stream.values()):
            self.hang_up(connection)
