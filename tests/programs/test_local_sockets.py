"""Sockets between threads of one program are waited for in virtual time, as a health endpoint needs."""

from __future__ import annotations

import http.server
import socket
import threading
import time
import urllib.request
from collections.abc import Callable

import pytest

from tests.programs.running import ran
from tests.programs.serving import START


def now() -> float:
    """Seconds since the simulation began."""
    return time.time() - START.timestamp()


def _receives() -> None:
    one, other = socket.socketpair()
    with one, other:
        threading.Timer(3, other.sendall, [b"hello"]).start()
        assert one.recv(10) == b"hello"


def _receives_into() -> None:
    one, other = socket.socketpair()
    with one, other:
        threading.Timer(3, other.sendall, [b"hello\n"]).start()
        assert one.makefile("rb").readline() == b"hello\n"


def _times_out() -> None:
    one, other = socket.socketpair()
    with one, other:
        one.settimeout(3)
        with pytest.raises(TimeoutError, match="timed out"):
            one.recv(10)
        one.setblocking(False)
        with pytest.raises(BlockingIOError):
            one.recv(10)


def _accepts_nobody() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(3)
        with pytest.raises(TimeoutError):
            server.accept()


def _serves() -> None:
    def serve() -> None:
        client, _ = server.accept()
        with client:
            asked = client.recv(10)
            time.sleep(2)
            client.sendall(asked[::-1])

    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=serve).start()
        time.sleep(1)
        with socket.create_connection(server.getsockname()) as client:
            client.sendall(b"abc")
            assert client.recv(10) == b"cba"


class _Health(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        time.sleep(1)
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"healthy")

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def _has_a_health_endpoint() -> None:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Health) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.5,))
        thread.start()
        time.sleep(1.75)
        with urllib.request.urlopen(f"http://127.0.0.1:{server.server_port}/") as reply:
            assert reply.read() == b"healthy"
        assert now() == 2.75
        server.shutdown()
        thread.join()
        time.sleep(3 - now())


@pytest.mark.parametrize(
    "code", [_receives, _receives_into, _times_out, _accepts_nobody, _serves, _has_a_health_endpoint]
)
def test_sockets_of_a_program_wait_in_virtual_time(code: Callable[[], None]) -> None:
    first, again = ran(lambda: (code(), now())[1], name="p"), ran(lambda: (code(), now())[1], name="p")
    assert first.result == again.result == 3
