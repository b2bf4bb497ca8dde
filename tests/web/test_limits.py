"""What clients may take of a server: bytes, times and connections. Both servers hold to the same bounds."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from hypothesis import given
from hypothesis import strategies as st

from colonysim import ColonyClient, ExecutorClient, Simulation, WebServer
from colonysim.http.http1 import BadRequest, HttpReader
from colonysim.http.limits import BODY_BYTES_PER_S, Limits, Phase, ReadDeadline, connections_at_most
from tests.serving import Wire, opened, signed

from .test_servers import assign, until
from .test_websocket import BINARY, PING, TEXT, Socket, frame, listen_to_channel, settled

CONTINUATION = 0
GET_COLONY = signed("getcolonymsg", {"colonyname": "dev"})
HEAD = b"POST /api HTTP/1.1\r\nHost: x\r\n"


def healthy(server: WebServer) -> bool:
    with Wire(server) as wire:
        wire.send(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
        return wire.reply()[0] == "HTTP/1.1 200 OK"


def flood(connection: socket.socket, data: bytes) -> None:
    """Send the same again and again, until the other side takes no more."""
    for _ in range(100_000):
        connection.sendall(data)


def refusal(reader: HttpReader) -> str:
    with pytest.raises(BadRequest) as refused:
        reader.next()
    return str(refused.value)


# ---------------------------------------------------------------- the reader
def test_a_body_of_a_gigabyte_is_refused_before_it_comes() -> None:
    reader = HttpReader()
    reader.feed(HEAD + b"Content-Length: 1000000000\r\n\r\n")
    assert "413" in refusal(reader)


@pytest.mark.parametrize(("size", "taken"), [(100, True), (101, False)])
def test_a_body_is_taken_up_to_the_limit(size: int, taken: bool) -> None:
    reader = HttpReader(Limits(body_bytes=100))
    reader.feed(HEAD + b"Content-Length: %d\r\n\r\n" % size + b"x" * size)
    if taken:
        request = reader.next()
        assert request is not None
        assert len(request.body) == size
    else:
        assert "this server takes body_bytes=100" in refusal(reader)


@given(st.lists(st.integers(1, 40), min_size=1, max_size=10))
def test_chunks_are_taken_up_to_the_limit_all_together(sizes: list[int]) -> None:
    reader = HttpReader(Limits(body_bytes=100))
    reader.feed(HEAD + b"Transfer-Encoding: chunked\r\n\r\n")
    for size in sizes:
        reader.feed(b"%x\r\n%b\r\n" % (size, b"x" * size))
    reader.feed(b"0\r\n\r\n")
    if sum(sizes) > 100:
        assert "413" in refusal(reader)
    else:
        request = reader.next()
        assert request is not None
        assert request.body == b"x" * sum(sizes)


def test_a_chunk_that_never_ends_is_refused_at_the_limit() -> None:
    reader = HttpReader(Limits(body_bytes=100))
    reader.feed(HEAD + b"Transfer-Encoding: chunked\r\n\r\nffffffff\r\n" + b"x" * 50)
    assert reader.next() is None
    reader.feed(b"x" * 51)
    assert "413" in refusal(reader)


def test_fields_behind_chunks_are_read_over_up_to_the_limit() -> None:
    reader = HttpReader(Limits(head_bytes=1000))
    reader.feed(HEAD + b"Transfer-Encoding: chunked\r\n\r\n0\r\n" + b"X: y\r\n" * 200)
    assert "431" in refusal(reader)


@pytest.mark.parametrize(("count", "taken"), [(9, True), (10, False)])
def test_header_fields_are_counted(count: int, taken: bool) -> None:
    reader = HttpReader(Limits(head_fields=10))
    reader.feed(b"GET / HTTP/1.1\r\nHost: x\r\n" + b"X: y\r\n" * count + b"\r\n")
    if taken:
        assert reader.next() is not None
    else:
        assert refusal(reader) == "431 Request Header Fields Too Large: more than 10 header fields"


@pytest.mark.parametrize("end", [b"", b"\r\n\r\n"])
def test_a_head_is_taken_up_to_the_limit(end: bytes) -> None:
    reader = HttpReader(Limits(head_bytes=100))
    reader.feed(b"GET /" + b"x" * 100 + end)
    assert refusal(reader) == "431 Request Header Fields Too Large"


@given(st.data())
def test_a_request_is_the_same_in_whatever_pieces_it_comes(data: st.DataObject) -> None:
    ends = data.draw(st.sampled_from([b"\r\n", b"\n"]))
    head = ends.join([b"POST /api HTTP/1.1", b"Host: x", b"Transfer-Encoding: chunked", b"", b""])
    whole = head + b"5;a=b\r\nhello\r\n1\r\n \r\n0\r\nX-T: 1\r\n\r\n" + HEAD + b"Content-Length: 5\r\n\r\nworld"
    cuts = sorted(data.draw(st.sets(st.integers(1, len(whole) - 1), max_size=12)))
    reader, bodies = HttpReader(), []
    for begin, end in zip([0, *cuts], [*cuts, len(whole)], strict=True):
        reader.feed(whole[begin:end])
        while request := reader.next():
            bodies.append(request.body)
    assert bodies == [b"hello ", b"world"]


# ---------------------------------------------------------------- time, on a clock that is given
LIMITS = Limits(idle_timeout_s=100, header_timeout_s=10, body_timeout_s=20)


def test_each_part_of_a_request_has_its_own_time() -> None:
    deadline, reader = ReadDeadline(LIMITS), HttpReader(LIMITS)

    def deadline_after(data: bytes, now: float) -> float:
        if data:
            reader.feed(data)
        assert reader.next() is None
        return deadline.at(reader, now)

    assert deadline_after(b"", 0) == 100
    assert deadline_after(b"", 5) == 100
    assert deadline_after(HEAD, 50) == 60
    assert deadline_after(b"X: y\r\n", 55) == 60  # a head that comes in drops gets no more time
    assert deadline_after(b"Content-Length: 1000000\r\n\r\n", 58) == 78
    assert reader.phase is Phase.BODY


def test_a_body_gets_more_time_as_it_comes() -> None:
    deadline, reader = ReadDeadline(LIMITS), HttpReader(LIMITS)
    reader.feed(HEAD + b"Content-Length: 1000000\r\n\r\n")
    assert reader.next() is None
    assert deadline.at(reader, 0) == 20
    reader.feed(b"x" * BODY_BYTES_PER_S * 3)
    assert reader.next() is None
    assert deadline.at(reader, 19) == 23
    reader.feed(b"x")
    assert reader.next() is None
    assert deadline.at(reader, 22) < 23.001


def test_idle_time_begins_anew_with_each_request() -> None:
    deadline, reader = ReadDeadline(LIMITS), HttpReader(LIMITS)
    assert deadline.at(reader, 0) == 100
    deadline.restart()
    assert deadline.at(reader, 90) == 190


# ---------------------------------------------------------------- served
def test_too_long_a_body_is_answered_and_the_connection_closed(sim: Simulation, kind: str) -> None:
    limits = Limits(body_bytes=len(GET_COLONY))
    with WebServer(sim, kind=kind, limits=limits) as server, Wire(server) as wire:
        wire.post(GET_COLONY)
        assert opened(wire.reply()[2])["name"] == "dev"
        wire.send(HEAD + b"Expect: 100-continue\r\nContent-Length: %d\r\n\r\n" % (len(GET_COLONY) + 1))
        status, headers, body = wire.reply()
        assert status.startswith("HTTP/1.1 413 Request Entity Too Large: a body of")
        assert headers["connection"] == "close"
        assert b"body_bytes" in body
        assert wire.closed()
    assert server.errors == []


def test_the_answer_to_too_long_a_body_is_heard_by_those_who_send_on(sim: Simulation, kind: str) -> None:
    with WebServer(sim, kind=kind, limits=Limits(body_bytes=100)) as server, Wire(server) as wire:
        wire.post(b"x" * 3_000_000)
        assert wire.reply()[0].startswith("HTTP/1.1 413")


def test_a_body_that_never_comes_is_answered_in_the_end(sim: Simulation, kind: str) -> None:
    with WebServer(sim, kind=kind, limits=Limits(body_timeout_s=0.01)) as server, Wire(server) as wire:
        wire.send(HEAD + b"Content-Length: 100\r\n\r\nhalf")
        status, headers, _ = wire.reply()
        assert status.startswith("HTTP/1.1 408 Request Timeout: 4 bytes of the body came")
        assert headers["connection"] == "close"
        assert wire.closed()
    assert server.errors == []


def test_a_poll_may_take_longer_than_all_these_times(sim: Simulation, kind: str) -> None:
    executor = ColonyClient.stock(sim).add_executor("cli")
    short = Limits(header_timeout_s=0.01, idle_timeout_s=5, body_timeout_s=0.01, reply_timeout_s=0.01)
    with WebServer(sim, kind=kind, limits=short) as server, Wire(server) as wire, Wire(server) as other:
        wire.post(assign(executor.private_key, 1000))
        until(lambda: len(sim.world.queues.polls) == 1)
        other.send(b"GET /heal")
        assert other.closed()  # its time is over, that of the poll is not
        sim.advance(1000)
        assert opened(wire.reply()[2])["message"] == "No process available for assignment"


def connection_threads() -> int:
    return sum(thread.name == "colonysim-connection" for thread in threading.enumerate())


@pytest.mark.parametrize("begun", [b"", b"POST /api HT", HEAD + b"Content-Length: 100\r\n\r\nhalf"])
def test_half_open_connections_keep_nobody_out(sim: Simulation, kind: str, begun: bytes) -> None:
    with WebServer(sim, kind=kind, limits=Limits(connections=5)) as server, ExitStack() as open_ones:
        for _ in range(60):
            wire = open_ones.enter_context(Wire(server))
            wire.send(begun)
        assert healthy(server)
        assert connection_threads() <= 5
        assert healthy(server)
    assert server.errors == []


def test_a_flood_ends_no_request_that_is_served(sim: Simulation, kind: str) -> None:
    colony = ColonyClient.stock(sim)
    executor = colony.add_executor("cli")
    with WebServer(sim, kind=kind, limits=Limits(connections=3)) as server, ExitStack() as open_ones:
        poll = open_ones.enter_context(Wire(server))
        poll.post(assign(executor.private_key, 1000))
        until(lambda: len(sim.world.queues.polls) == 1)
        for _ in range(30):
            open_ones.enter_context(Wire(server)).send(b"POST /api HT")
        assert healthy(server)
        process = colony.submit("f")
        assert opened(poll.reply()[2])["processid"] == process.id


def test_where_all_are_busy_one_more_is_told_so(sim: Simulation, kind: str) -> None:
    executor = ColonyClient.stock(sim).add_executor("cli")
    with WebServer(sim, kind=kind, limits=Limits(connections=2)) as server, ExitStack() as open_ones:
        polls = [open_ones.enter_context(Wire(server)) for _ in range(2)]
        for poll in polls:
            poll.post(assign(executor.private_key, 1000))
        until(lambda: len(sim.world.queues.polls) == 2)
        with Wire(server) as one_more:
            status = one_more.reply()[0]
            assert status == "HTTP/1.1 503 Service Unavailable: all 2 connections are busy; try again"
        polls[0].close()
        until(lambda: len(sim.world.queues.polls) == 1)
        until(lambda: healthy_or_full(server))
    assert server.errors == []


def healthy_or_full(server: WebServer) -> bool:
    """Whether a place is free; the thread of a connection that was hung up may need a moment to end."""
    try:
        return healthy(server)
    except OSError:
        return False


def test_clients_that_reset_at_once_leave_no_trace(
    sim: Simulation, kind: str, capfd: pytest.CaptureFixture[str]
) -> None:
    with WebServer(sim, kind=kind) as server:
        for begun in (
            b"",
            b"POST /api HT",
            HEAD + b"Content-Length: 9\r\n\r\n",
            b"nonsense\r\n\r\n",
            b"GET /health",
        ) * 20:
            wire = Wire(server)
            wire.send(begun)
            wire.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            wire.close()
        assert healthy(server)
    assert server.errors == []
    assert capfd.readouterr().err == ""


def test_a_client_that_reads_no_replies_is_not_served_for_ever(sim: Simulation, kind: str) -> None:
    """Some of the replies wait in the system; then its requests do, and in the end the connection is closed."""
    with WebServer(sim, kind=kind, limits=Limits(reply_timeout_s=0.05)) as server, Wire(server) as wire:
        wire.socket.settimeout(0.5)
        request = b"GET /colonysim/coverage HTTP/1.1\r\nHost: localhost\r\n\r\n" * 100
        with pytest.raises((TimeoutError, ConnectionError)):
            flood(wire.socket, request)
        assert healthy(server)
    assert server.errors == []


# ---------------------------------------------------------------- websockets
@pytest.fixture
def limited(sim: Simulation, kind: str) -> Iterator[WebServer]:
    """Messages of up to 2000 bytes, and hardly anything that is not read."""
    with WebServer(sim, kind=kind, limits=Limits(message_bytes=2000, unread_bytes=1000)) as server:
        yield server
        assert healthy(server)
    assert server.errors == []


@pytest.mark.parametrize(
    "frames",
    [
        [frame(TEXT, b"x" * 2001)],
        [frame(TEXT, b"x", fin=False), *[frame(CONTINUATION, b"x" * 100, fin=False)] * 20],
        [frame(BINARY, b"x" * 1999)[:4] + b"\x00" * 8 + b"x" * 5000],
        [b"\x81\xff" + (1 << 62).to_bytes(8) + b"mask" + b"x" * 3000],
    ],
    ids=["at once", "in parts", "more than it says", "a frame without end"],
)
def test_too_long_a_message_ends_the_connection(limited: WebServer, frames: list[bytes]) -> None:
    client = Socket(limited)
    client.send(*frames)
    assert client.recv() == (0, b"")
    client.close()


def test_messages_that_wait_behind_a_subscription_are_bounded(
    limited: WebServer, sim: Simulation, colony: ColonyClient, executor: ExecutorClient
) -> None:
    colony.submit("f", channels=["chat"])
    process = executor.assign()
    assert process is not None
    client = Socket(limited)
    client.ask(listen_to_channel(process.id))
    settled(sim, 0, 1)
    client.send(*[frame(PING)] * 40)
    assert client.recv() == (0, b"")
    client.close()


def test_a_client_that_leaves_its_pushes_unread_loses_the_connection(limited: WebServer) -> None:
    client = Socket(limited)
    pings = frame(PING, b"x" * 125) * 10
    client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    with pytest.raises(ConnectionError):
        flood(client.socket, pings)
    client.close()


# ---------------------------------------------------------------- as texts
def test_limits_are_read_from_texts() -> None:
    assert Limits.from_texts(["body_bytes=5", " idle_timeout_s = 0.5 "]) == Limits(body_bytes=5, idle_timeout_s=0.5)


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("body_bytes", "a limit is NAME=VALUE, such as body_bytes=100000000, not 'body_bytes'"),
        ("bodies=5", "there is no limit 'bodies'; the limits are body_bytes, "),
        ("body_bytes=0", "invalid body_bytes=0: must be at least 1"),
        ("body_bytes=many", "invalid body_bytes=many: expected int"),
        ("body_bytes=1.5", "invalid body_bytes=1.5: "),
        ("idle_timeout_s=0", "invalid idle_timeout_s=0: must be greater than 0"),
        ("idle_timeout_s=nan", "invalid idle_timeout_s=nan: "),
        ("idle_timeout_s=inf", "invalid idle_timeout_s=inf: "),
        ("connections=-1", "invalid connections=-1: must be at least 1"),
    ],
)
def test_a_limit_that_makes_no_sense_is_refused(text: str, error: str) -> None:
    with pytest.raises(ValueError, match=r".") as refused:
        Limits.from_texts([text])
    assert str(refused.value).startswith(error)


def test_a_server_takes_no_more_connections_than_it_may_have_files() -> None:
    resource = pytest.importorskip("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(soft, 1024), hard))
    try:
        assert connections_at_most(Limits(connections=100_000)) < 1024
        assert connections_at_most(Limits(connections=5)) == 5
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
