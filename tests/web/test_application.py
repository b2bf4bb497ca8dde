"""What happens on the connection: docs/protocol/a-foundation.md 1."""

from __future__ import annotations

import socket
import threading

import pytest

from colonysim import ColonyClient, Simulation, WebServer
from colonysim.core.errors import Refusal
from colonysim.core.registry import OPERATIONS
from colonysim.core.settings import STOCK_SERVER_KEY
from colonysim.http.limits import Limits
from colonysim.invariants import ServerRaised
from tests.serving import Wire, opened, signed

GET_COLONY = signed("getcolonymsg", {"colonyname": "dev"})


def test_a_connection_is_kept(wire: Wire) -> None:
    for _ in range(3):
        wire.post(GET_COLONY)
        status, headers, body = wire.reply()
        assert status == "HTTP/1.1 200 OK"
        assert "connection" not in headers
        assert opened(body)["name"] == "dev"


def test_requests_sent_at_once_are_answered_in_order(wire: Wire) -> None:
    for kind in ("getcolonymsg", "getusersmsg", "getcolonymsg"):
        wire.post(signed(kind, {"colonyname": "dev"}))
    assert [type(opened(wire.reply()[2])) for _ in range(3)] == [dict, list, dict]


def test_connection_close_is_honoured(wire: Wire) -> None:
    wire.post(GET_COLONY, "Connection: close")
    assert wire.reply()[1]["connection"] == "close"
    assert wire.closed()


def test_http_1_0_is_kept_only_where_asked(server: WebServer) -> None:
    for header, kept in (("", False), ("Connection: keep-alive\r\n", True)):
        with Wire(server) as wire:
            wire.send(f"GET /health HTTP/1.0\r\n{header}\r\n".encode())
            status, headers, _ = wire.reply()
            assert status == "HTTP/1.0 200 OK"
            assert headers.get("connection") == ("keep-alive" if kept else None)


@pytest.mark.parametrize("connection", ["", "Connection: close\r\n", "Connection: keep-alive\r\n"])
def test_http_1_0_is_never_told_that_the_connection_closes(server: WebServer, connection: str) -> None:
    """Not in refusals by the application either; a reply too long for a length of its own ends the connection."""
    for number in range(20):
        ColonyClient.stock(server.sim).add_user(f"user {number}")
    long_list = signed("getusersmsg", {"colonyname": "dev"})
    for body, status in ((GET_COLONY, 200), (b"nonsense", 400), (long_list, 200)):
        with Wire(server) as wire:
            wire.send(f"POST /api HTTP/1.0\r\n{connection}Content-Length: {len(body)}\r\n\r\n".encode() + body)
            stays = "keep-alive" in connection and body is not long_list
            head, _, sent = (wire.reader.read() if not stays else b"").partition(b"\r\n\r\n")
            if stays:
                line, headers, _ = wire.reply()
                assert (line.split()[1], headers["connection"]) == (str(status), "keep-alive")
            else:
                assert head.startswith(f"HTTP/1.0 {status} ".encode())
                assert b"connection" not in head.lower()
                assert (b"content-length" in head.lower()) is (body is not long_list)
                assert b"payload" in sent


def test_a_header_that_comes_twice_is_one_list(wire: Wire) -> None:
    wire.post(GET_COLONY, "Connection: keep-alive", "Connection: x, CLOSE")
    assert wire.reply()[1]["connection"] == "close"
    assert wire.closed()


def test_the_first_of_two_origins_counts(server: WebServer) -> None:
    for origins, foreign in (("http://x", "http://y"), False), (("http://y", "http://x"), True):
        with Wire(server) as wire:
            wire.post(GET_COLONY, *(f"Origin: {origin}" for origin in origins))
            assert ("access-control-allow-origin" in wire.reply()[1]) is foreign


def test_replies_have_a_date_and_no_server(wire: Wire) -> None:
    wire.post(GET_COLONY)
    assert set(wire.reply()[1]) == {"date", "content-type", "content-length"}


def test_longer_replies_come_in_chunks(wire: Wire, sim: Simulation) -> None:
    colony = ColonyClient.stock(sim)
    for number in range(20):
        colony.add_user(f"user {number}")
    wire.post(signed("getusersmsg", {"colonyname": "dev"}))
    _, headers, body = wire.reply()
    assert headers["transfer-encoding"] == "chunked"
    assert "content-length" not in headers
    assert len(opened(body)) == 21


def test_a_chunked_request_is_read(wire: Wire) -> None:
    half = len(GET_COLONY) // 2
    wire.send(b"POST /api HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
    for part in (GET_COLONY[:half], GET_COLONY[half:], b""):
        wire.send(b"%x\r\n%b\r\n" % (len(part), part))
    assert opened(wire.reply()[2])["name"] == "dev"
    wire.post(GET_COLONY)
    assert opened(wire.reply()[2])["name"] == "dev"


def test_chunks_may_have_extensions_and_fields_behind_them(wire: Wire) -> None:
    head = b"POST /api HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    wire.send(head + b"%x;foo=bar\r\n%b\r\n0\r\nX-T: 1\r\n\r\n" % (len(GET_COLONY), GET_COLONY))
    assert opened(wire.reply()[2])["name"] == "dev"


@pytest.mark.parametrize("size", [b"zz", b"+5", b"0x5", b"1_0", b"", b"11111111111111111"])
def test_bad_chunks_are_told(wire: Wire, size: bytes) -> None:
    wire.send(b"POST /api HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n%b\r\n" % size)
    status, headers, body = wire.reply()
    assert status.startswith("HTTP/1.1 400")
    assert headers["connection"] == "close"
    assert opened(body)["message"] == "invalid byte in chunk length"


@pytest.mark.parametrize("part", [b"", b"5\r\nhel", b"5\r\nhello\r\n", b"a00000000\r\nhello", b"5\r\nhello\r\n0\r\n"])
def test_chunks_that_end_too_soon_are_told(wire: Wire, part: bytes) -> None:
    wire.send(b"POST /api HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n" + part)
    wire.socket.shutdown(socket.SHUT_WR)
    status, _, body = wire.reply()
    assert status.startswith("HTTP/1.1 400")
    assert opened(body)["message"] == "unexpected EOF"


def test_many_and_long_headers_and_queries_are_taken(wire: Wire) -> None:
    headers = [f"X-{number}: {'x' * 600}" for number in range(150)]
    wire.post(GET_COLONY, *headers, "X-Long: " + "x" * 70_000)
    assert opened(wire.reply()[2])["name"] == "dev"
    wire.send(b"GET /health?" + b"q" * 70_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n")
    assert wire.reply()[0] == "HTTP/1.1 200 OK"


def test_paths_are_unquoted_and_case_sensitive(wire: Wire) -> None:
    for target, status in {
        "/%68ealth": 200, "/health?a=1": 200, "http://elsewhere/health": 200, "/Health": 404, "//health": 404,
        "/health#f": 404, "*": 404, "/health/x": 404,
    }.items():  # fmt: skip
        wire.send(f"GET {target} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        assert wire.reply()[0].split()[1] == str(status), target


def test_a_request_that_comes_byte_by_byte_is_read(wire: Wire) -> None:
    request = b"POST /api HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%b" % (len(GET_COLONY), GET_COLONY)
    for place in range(len(request)):
        wire.send(request[place : place + 1])
    assert opened(wire.reply()[2])["name"] == "dev"


def test_bare_line_feeds_and_folded_headers_are_read(wire: Wire) -> None:
    wire.send(b"GET /health HTTP/1.1\nHost: x\nX-Folded: a\n b\n\n")
    assert wire.reply()[0] == "HTTP/1.1 200 OK"


def test_a_body_that_ends_too_soon_is_told(wire: Wire) -> None:
    wire.send(b"POST /api HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{}")
    wire.socket.shutdown(socket.SHUT_WR)
    status, _, body = wire.reply()
    assert status.startswith("HTTP/1.1 400")
    assert opened(body)["message"] == "unexpected EOF"


def test_expect_100_continue_is_answered(wire: Wire) -> None:
    wire.send(b"POST /api HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: %d\r\n\r\n" % len(GET_COLONY))
    assert wire.reply()[0] == "HTTP/1.1 100 Continue"
    wire.send(GET_COLONY)
    assert opened(wire.reply()[2])["name"] == "dev"


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"GET /health HTTP/1.1\r\n\r\n", "400 Bad Request: missing required Host header"),
        (b"nonsense\r\n\r\n", "400 Bad Request"),
        (b"GET /health FTP/1.1\r\n\r\n", "400 Bad Request"),
        (b"GET /health\r\nHost: x\r\n\r\n", "400 Bad Request"),
        (b"\r\nGET /health HTTP/1.1\r\nHost: x\r\n\r\n", "400 Bad Request"),
        (b"GET  /health HTTP/1.1\r\nHost: x\r\n\r\n", "400 Bad Request"),
        (b"GET\t/health\tHTTP/1.1\r\nHost: x\r\n\r\n", "400 Bad Request"),
        (b" GET /health HTTP/1.1\r\nHost: x\r\n\r\n", "400 Bad Request"),
        (b"POST api HTTP/1.1\r\nHost: x\r\n\r\n", "400 Bad Request"),
        (b"POST /api%zz HTTP/1.1\r\nHost: x\r\n\r\n", "400 Bad Request"),
        (b"G@T /api HTTP/1.1\r\nHost: x\r\n\r\n", "400 Bad Request"),
        (b"GET /health HTTP/2.0\r\nHost: x\r\n\r\n", "505 HTTP Version Not Supported: unsupported protocol version"),
        (b"GET /health HTTP/1.1\r\nHost: x\r\nno colon\r\n\r\n", "400 Bad Request"),
        *(
            (b"GET /health HTTP/1.1\r\nHost: x\r\n" + name + b": 1\r\n\r\n", "400 Bad Request: invalid header name")
            for name in (b"a b", b"a ", b"a  b c", b"Content-Length ")
        ),
        *(
            (b"GET /health HTTP/1.1\r\nHost: x\r\n" + line + b"\r\n\r\n", "400 Bad Request")
            for line in (
                b": 1",
                b"a\tb: 1",
                b"a\x00: 1",
                b"\xe9: 1",
                b"a(b): 1",
                b"a: \x00",
                b"a: \x7f",
                b"a: b\r\n \x01",
            )
        ),
        (b"GET /health HTTP/1.1\r\nHost : x\r\n\r\n", "400 Bad Request: missing required Host header"),
        (b"GET /health HTTP/1.1\r\nHost: x/y\r\na b: 1\r\n\r\n", "400 Bad Request: malformed Host header"),
        (b"GET /health HTTP/1.0\r\nHost: a b\r\n\r\n", "400 Bad Request: malformed Host header"),
        (b"GET /health HTTP/1.1\r\nHost: x\r\nHost: x\r\n\r\n", "400 Bad Request"),
        (b"GET /health HTTP/1.0\r\na b: 1\r\n\r\n", "400 Bad Request: invalid header name"),
        (b"POST /api HTTP/1.1\r\nHost: x\r\nContent-Length: abc\r\n\r\n", "400 Bad Request"),
        (b"POST /api HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\n", "400 Bad Request"),
        (b"POST /api HTTP/1.1\r\nHost: x\r\nContent-Length: +5\r\n\r\n", "400 Bad Request"),
        (b"POST /api HTTP/1.1\r\nHost: x\r\nContent-Length: 5, 5\r\n\r\n", "400 Bad Request"),
        (b"POST /api HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999999999\r\n\r\n", "400 Bad Request"),
        (b"POST /api HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n", "400 Bad Request"),
        (
            b"POST /api HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip\r\n\r\n",
            "501 Not Implemented: unsupported transfer encoding",
        ),
        (
            b"GET /health HTTP/1.1\r\nHost: x\r\n" + (b"X: " + b"x" * 20_000 + b"\r\n") * 60 + b"\r\n",
            "431 Request Header Fields Too Large",
        ),
    ],
)
def test_what_is_no_http_is_refused_and_the_connection_closed(
    server: WebServer, request_bytes: bytes, status: str
) -> None:
    with Wire(server) as wire:
        wire.send(request_bytes)
        line, headers, body = wire.reply()
        assert line == f"HTTP/1.1 {status}"
        assert headers["content-type"] == "text/plain; charset=utf-8"
        assert body.decode() == status


def test_any_method_is_answered(wire: Wire) -> None:
    for method in ("BREW", "PATCH", "DELETE", "TRACE"):
        wire.send(f"{method} /api HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        status, _, body = wire.reply()
        assert (status, body) == ("HTTP/1.1 404 Not Found", b"404 page not found")


@pytest.mark.parametrize(
    "path", ["/api", "/health", "/pubsub", "/", "/api/", "/health/", "/pubsub/", "/nothing", "/api?a=1"]
)
@pytest.mark.parametrize("version", ["1.1", "1.0"])
def test_a_head_request_is_told_the_length_of_what_is_not_sent(server: WebServer, path: str, version: str) -> None:
    with Wire(server) as wire:
        wire.send(f"HEAD {path} HTTP/{version}\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        head, _, body = wire.reader.read().partition(b"\r\n\r\n")
    assert head.startswith(f"HTTP/{version} 404 Not Found".encode())
    assert head.count(b"Content-Length: 18") == 1
    assert b"Transfer-Encoding" not in head
    assert body == b""


def test_head_in_this_process_is_told_the_same(sim: Simulation) -> None:
    import requests

    from colonysim import intercept

    with intercept(sim):
        response = requests.head("http://localhost:50080/api")
    assert (response.status_code, response.headers["Content-Length"], response.content) == (404, "18", b"")


def test_a_head_request_has_no_body(wire: Wire) -> None:
    wire.send(b"HEAD /api HTTP/1.1\r\nHost: x\r\n\r\nGET /health HTTP/1.1\r\nHost: x\r\n\r\n")
    assert wire.reader.readline() == b"HTTP/1.1 404 Not Found\r\n"
    while wire.reader.readline().strip():
        pass
    assert wire.reply()[0] == "HTTP/1.1 200 OK"


def test_the_cluster_names_where_the_server_listens(server: WebServer, wire: Wire) -> None:
    wire.post(signed("getclustermsg", {}, STOCK_SERVER_KEY))
    body = opened(wire.reply()[2])
    assert body["nodes"] == [body["leader"]]
    assert (body["leader"]["host"], body["leader"]["apiport"]) == ("localhost", server.port)


# ---------------------------------------------------------------- long polls
def _poll(key: str, timeout_s: int = 1000) -> bytes:
    return signed("assignprocessmsg", {"colonyname": "dev", "timeout": timeout_s}, key)


def _wait_for(sim: Simulation, parked: int) -> None:
    while len(sim.world.queues.polls) != parked:
        threading.Event().wait(0.001)


def test_five_hundred_polls_starve_nobody_and_all_wake(server: WebServer, sim: Simulation) -> None:
    colony = ColonyClient.stock(sim)
    executor = colony.add_executor("cli")
    wires = [Wire(server) for _ in range(500)]
    body = _poll(executor.private_key)
    for wire in wires:
        wire.post(body)
    _wait_for(sim, 500)
    with Wire(server) as other:
        other.post(GET_COLONY)
        assert opened(other.reply()[2])["name"] == "dev"
        for _ in range(500):
            other.post(
                signed("submitfuncspecmsg", {"spec": {"conditions": {"colonyname": "dev", "executortype": "cli"}}})
            )
            assert other.reply()[0] == "HTTP/1.1 200 OK"
    got = {opened(wire.reply()[2])["processid"] for wire in wires}
    assert len(got) == 500
    for wire in wires:
        wire.close()


def test_who_hangs_up_gives_the_place_free(server: WebServer, sim: Simulation) -> None:
    colony = ColonyClient.stock(sim)
    executor = colony.add_executor("cli")
    with Wire(server) as gone:
        gone.post(_poll(executor.private_key))
        _wait_for(sim, 1)
    _wait_for(sim, 0)
    process = colony.submit("f")
    assert process.state == 0


def test_a_poll_ends_by_the_moved_clock(server: WebServer, sim: Simulation, wire: Wire) -> None:
    executor = ColonyClient.stock(sim).add_executor("cli")
    wire.post(_poll(executor.private_key, 10))
    _wait_for(sim, 1)
    sim.advance(10)
    assert opened(wire.reply()[2]) == {"status": 404, "message": "No process available for assignment"}


def test_stopping_closes_every_connection(sim: Simulation, kind: str) -> None:
    server = WebServer(sim, kind=kind).start()
    executor = ColonyClient.stock(sim).add_executor("cli")
    idle, parked = Wire(server), Wire(server)
    parked.post(_poll(executor.private_key))
    _wait_for(sim, 1)
    server.stop()
    assert idle.closed()
    assert parked.closed()
    idle.close()
    parked.close()
    with pytest.raises(OSError, match="refused"):
        Wire(server)


def test_a_taken_port_is_told(server: WebServer, sim: Simulation) -> None:
    with pytest.raises(OSError, match=f"cannot listen on 127.0.0.1:{server.port}: .*; choose another port"):
        WebServer(sim, port=server.port)


def test_a_server_is_started_once(server: WebServer) -> None:
    with pytest.raises(RuntimeError, match="has been started already"):
        server.start()


def test_time_goes_on_by_itself_when_all_wait(sim: Simulation, kind: str) -> None:
    sim.set_clock("auto")
    executor = ColonyClient.stock(sim).add_executor("cli")
    before = sim.now
    with WebServer(sim, kind=kind) as server, Wire(server) as wire:
        wire.post(_poll(executor.private_key, 3600))
        assert wire.reply()[0] == "HTTP/1.1 404 Not Found"
    assert (sim.now - before).total_seconds() == 3600


def test_a_client_that_says_it_acts_holds_time(sim: Simulation, kind: str) -> None:
    sim.set_clock("auto")
    executor = ColonyClient.stock(sim).add_executor("cli")
    sim.kernel.outside_actor("careful", waits=False)
    with WebServer(sim, kind=kind) as server, Wire(server) as wire, Wire(server) as control:
        wire.post(_poll(executor.private_key, 60))
        _wait_for(sim, 1)
        wire.socket.settimeout(0.2)
        with pytest.raises(TimeoutError):
            wire.socket.recv(1)
        wire.socket.settimeout(20)
        message = b'{"name":"careful","waits":true}'
        control.send(
            b"POST /colonysim/actors HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            b"Content-Length: %d\r\n\r\n%b" % (len(message), message)
        )
        assert control.reply()[0] == "HTTP/1.1 200 OK"
        wire.reader.close()
        wire.reader = wire.socket.makefile("rb")
        assert wire.reply()[0] == "HTTP/1.1 404 Not Found"


def test_errors_in_server_threads_are_kept_for_the_test(
    sim: Simulation, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from msgspec.structs import replace

    def broken(*_: object) -> None:
        raise ZeroDivisionError("planted")

    row = OPERATIONS["getcolonymsg"]
    monkeypatch.setitem(OPERATIONS, "getcolonymsg", row)
    from colonysim.core import registry

    monkeypatch.setitem(registry.BY_MESSAGE, row.message, replace(row, serve=broken))
    with WebServer(sim, kind=kind) as server, Wire(server) as wire:
        wire.post(GET_COLONY)
        assert wire.reply()[0] == "HTTP/1.1 500 Internal Server Error"
    assert [type(error) for error in server.errors] == [ServerRaised]
    assert isinstance(server.errors[0].__cause__, ZeroDivisionError)


def test_a_refusal_is_no_error_of_the_server(server: WebServer, wire: Wire) -> None:
    wire.post(b"nonsense")
    assert wire.reply()[0] == "HTTP/1.1 400 Bad Request"
    assert server.errors == []
    assert issubclass(Refusal, Exception)


@pytest.mark.parametrize(("sent", "limit"), [(b"POST /api HT", "header_timeout_s"), (b"", "idle_timeout_s")])
def test_a_silent_connection_is_closed_in_the_end(sim: Simulation, kind: str, sent: bytes, limit: str) -> None:
    """After 10 s in the middle of a header, after 120 s between requests; here sooner.

    Source: docs/protocol/a-foundation.md 1.3.
    """
    with WebServer(sim, kind=kind, limits=Limits(**{limit: 0.01})) as server, Wire(server) as wire:
        wire.send(sent)
        assert wire.closed()


def test_a_refusal_is_read_even_by_those_who_are_still_sending(wire: Wire) -> None:
    """More than a megabyte of header, and as much again behind it: the reply comes all the same."""
    wire.send(b"GET /health HTTP/1.1\r\nHost: x\r\nX: " + b"x" * 3_000_000)
    assert wire.reply()[0] == "HTTP/1.1 431 Request Header Fields Too Large"
    assert wire.closed()
