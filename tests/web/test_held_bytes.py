"""What all connections together may hold: half-sent bodies of many clients, and messages that wait on WebSockets."""

from __future__ import annotations

from contextlib import ExitStack

import pytest
from hypothesis import given
from hypothesis import strategies as st

from colonysim import ColonyClient, Simulation, WebServer
from colonysim.http.held_bytes import HeldBytes, Share
from colonysim.http.http1 import BadRequest, HttpReader
from colonysim.http.limits import Limits
from tests.serving import Wire, opened, signed

from .test_limits import HEAD, healthy
from .test_servers import until
from .test_websocket import TEXT, Socket, frame

GET_COLONY = signed("getcolonymsg", {"colonyname": "dev"})
LIMITS = Limits(held_bytes=100_000, connections=10)
"""5,000 bytes for each connection, and 50,000 for those that need more."""


def held(server: WebServer) -> HeldBytes:
    found: HeldBytes = getattr(server._loop, "held", None) or server._loop._server.held  # type: ignore[attr-defined]
    return found


def half_sent(size: int, declared: int = 50_000) -> bytes:
    return HEAD + b"Content-Length: %d\r\n\r\n" % declared + b"x" * size


# ---------------------------------------------------------------- readers that share
@given(st.lists(st.tuples(st.integers(0, 9), st.integers(1, 20_000)), max_size=40), st.booleans())
def test_readers_hold_no_more_than_the_limit_all_together(pieces: list[tuple[int, int]], chunked: bool) -> None:
    all_held = HeldBytes(LIMITS)
    shares = [Share(all_held) for _ in range(10)]
    readers = [HttpReader(LIMITS, share) for share in shares]
    refused: set[int] = set()
    for reader in readers:
        reader.feed(HEAD + (b"Transfer-Encoding: chunked\r\n\r\n" if chunked else b"Content-Length: 55000\r\n\r\n"))
        assert reader.next() is None
    for number, size in pieces:
        if number in refused:
            continue
        readers[number].feed(b"%x\r\n%b\r\n" % (size, b"x" * size) if chunked else b"x" * size)
        try:
            while readers[number].next() and not chunked:
                refused.add(number)  # the body is whole, and what comes next is no request
        except BadRequest:
            refused.add(number)
        assert sum(share.size for share in shares) <= LIMITS.held_bytes
    for share in shares:
        share.close()
    assert all_held.common_used == 0


def test_bytes_are_counted_from_the_first_to_the_answer() -> None:
    share = Share(HeldBytes(LIMITS))
    reader = HttpReader(LIMITS, share)
    reader.feed(half_sent(2_000, 3_000))
    assert reader.next() is None
    assert share.size == 2_000
    reader.feed(b"x" * 1_000 + b"GET /")
    assert reader.next() is not None
    assert share.size == 3_005
    assert reader.next() is None
    assert share.size == 5


def test_a_body_that_could_never_be_held_is_refused_before_it_comes() -> None:
    reader = HttpReader(LIMITS)
    reader.feed(half_sent(0, 55_001))
    with pytest.raises(BadRequest, match="with held_bytes=100000 one connection may hold 55000") as refused:
        reader.next()
    assert refused.value.status == 413


# ---------------------------------------------------------------- served
def test_large_bodies_that_are_half_sent_keep_no_small_request_out(sim: Simulation, kind: str) -> None:
    with WebServer(sim, kind=kind, limits=LIMITS) as server, ExitStack() as open_ones:
        large = open_ones.enter_context(Wire(server))
        large.send(half_sent(40_000))
        until(lambda: held(server).common_used > 34_000)
        with Wire(server) as other:
            other.send(half_sent(40_000))
            status, headers, body = other.reply()
            assert status.startswith(
                "HTTP/1.1 503 Service Unavailable: all connections together hold held_bytes=100000"
            )
            assert b"try again" in body
            assert headers["connection"] == "close"
        with Wire(server) as small:
            small.post(GET_COLONY)
            assert opened(small.reply()[2])["name"] == "dev"
        large.close()
        until(lambda: held(server).common_used == 0)
        with Wire(server) as again:
            again.send(half_sent(40_000))
            until(lambda: held(server).common_used > 34_000)
    assert server.errors == []


def test_a_body_is_released_with_its_answer(sim: Simulation, kind: str) -> None:
    body = GET_COLONY + b" " * 40_000
    with WebServer(sim, kind=kind, limits=LIMITS) as server, Wire(server) as wire, Wire(server) as other:
        for connection in (wire, other) * 3:
            connection.post(body)
            assert opened(connection.reply()[2])["name"] == "dev"
            until(lambda: held(server).common_used == 0)
    assert server.errors == []


def test_messages_that_are_half_sent_on_websockets_count_too(sim: Simulation, kind: str) -> None:
    with WebServer(sim, kind=kind, limits=LIMITS) as server:
        first, second = Socket(server), Socket(server)
        first.send(frame(TEXT, b"x" * 30_000)[:-1])
        until(lambda: held(server).common_used > 24_000)
        second.send(frame(TEXT, b"x" * 35_000)[:-1])
        assert second.recv() == (0, b"")
        first.close()
        second.close()
        until(lambda: held(server).common_used == 0)
        assert healthy(server)
    assert server.errors == []


def test_fifty_half_open_connections_are_bounded_to_twenty(sim: Simulation, kind: str) -> None:
    """Each sends half of a request; the server answers others all the while, and closes the oldest."""
    ColonyClient.stock(sim)
    limits = Limits(connections=20, held_bytes=200_000)
    with WebServer(sim, kind=kind, limits=limits) as server, ExitStack() as open_ones:
        wires = [open_ones.enter_context(Wire(server)) for _ in range(50)]
        for wire in wires[30:]:
            wire.send(half_sent(1_000))
        assert healthy(server)
        assert all(wire.closed() for wire in wires[:30])
        loop = server._loop
        admission = getattr(loop, "admission", None) or loop._server.admission  # type: ignore[attr-defined]
        assert len(admission) <= 20
        assert held(server).common_used <= held(server).common
    assert server.errors == []
