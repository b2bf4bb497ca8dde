"""Where a server listens, and what is said where it cannot."""

from __future__ import annotations

import socket

import pytest

from colonysim import Simulation, WebServer
from colonysim.http.addresses import listen, url_of


def status_at(address: str, port: int) -> bytes:
    with socket.create_connection((address, port), timeout=20) as connection:
        connection.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        return connection.makefile("rb").readline()


@pytest.fixture
def ipv6() -> None:
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        pytest.skip("this machine has no ::1")


@pytest.mark.usefixtures("ipv6")
def test_both_loopbacks_are_served_at_one_port(sim: Simulation, kind: str) -> None:
    with WebServer(sim, kind=kind) as server:
        assert server.url == f"http://127.0.0.1:{server.port}"
        for address in ("127.0.0.1", "::1"):
            assert status_at(address, server.port) == b"HTTP/1.1 200 OK\r\n"
    for address in ("127.0.0.1", "::1"):
        with pytest.raises(ConnectionRefusedError):
            status_at(address, server.port)


@pytest.mark.usefixtures("ipv6")
@pytest.mark.parametrize(("host", "other"), [("127.0.0.1", "::1"), ("::1", "127.0.0.1")])
def test_an_address_that_is_given_is_the_only_one(sim: Simulation, kind: str, host: str, other: str) -> None:
    with WebServer(sim, host, kind=kind) as server:
        assert status_at(host, server.port) == b"HTTP/1.1 200 OK\r\n"
        with pytest.raises(ConnectionRefusedError):
            status_at(other, server.port)


@pytest.mark.usefixtures("ipv6")
def test_a_port_that_only_one_loopback_has_free_is_refused_and_left_free() -> None:
    with socket.socket(socket.AF_INET6) as taken:
        taken.bind(("::1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(OSError, match=rf"cannot listen on \[::1\]:{port}: .* in use; choose another port, or 0"):
            listen("localhost", port)
    for listener in listen("LocalHost", port):
        listener.close()


@pytest.mark.parametrize("port", [-1, 65_536, 70_000, 99_999, 1 << 64])
@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
def test_a_port_that_does_not_exist_is_refused(sim: Simulation, host: str, port: int) -> None:
    with pytest.raises(ValueError, match=f"invalid port={port}: expected 1 to 65535, or 0 for any free port"):
        WebServer(sim, host, port)


@pytest.mark.parametrize("host", ["", "  ", "a..b", "x" * 300, "a\0b", "no host", "127.0.0.1:80", "[::1]", "1.2.3.4.5"])
def test_a_host_that_is_none_is_refused(host: str) -> None:
    with pytest.raises(
        (OSError, ValueError), match=r"give an address of this machine, such as localhost, 127\.0\.0\.1"
    ):
        listen(host, 0)


def test_an_address_of_another_machine_is_refused() -> None:
    with pytest.raises(OSError, match=r"cannot listen on 192\.0\.2\.1:0: .*; give an address of this machine"):
        listen("192.0.2.1", 0)


@pytest.mark.parametrize(
    ("host", "url"),
    [("localhost", "127.0.0.1"), ("0.0.0.0", "127.0.0.1"), ("::", "[::1]"), ("::1", "[::1]"), ("box", "box")],
)
def test_the_url_is_one_that_this_machine_reaches(host: str, url: str) -> None:
    assert url_of(host, 5) == f"http://{url}:5"
