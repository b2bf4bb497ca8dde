"""The access log: one line a request, from both servers."""

from __future__ import annotations

import socket
import threading
from queue import SimpleQueue

import pytest
import requests
from websockets.sync.client import connect

from colonysim import ColonyClient, ExecutorClient, Simulation, WebServer
from tests.serving import signed
from tests.web.test_servers import until


@pytest.fixture
def log(server: WebServer) -> SimpleQueue[str]:
    """The lines of the log, in order."""
    lines: SimpleQueue[str] = SimpleQueue()
    server.log_requests(lines.put)
    return lines


def fields(line: str) -> list[str]:
    """Time, what, status and who of a line."""
    return line.split("  ")[:4]


def taken(log: SimpleQueue[str], count: int) -> list[str]:
    """The next lines; a client may get its reply before the line is written."""
    return [log.get(timeout=30) for _ in range(count)]


def test_a_request_is_a_line_with_what_status_and_who(
    server: WebServer, sim: Simulation, log: SimpleQueue[str]
) -> None:
    requests.post(f"{server.url}/api", data=signed("getcoloniesmsg", {}, sim.settings.server_key))
    requests.post(f"{server.url}/api", data=signed("getexecutorsmsg", {"colonyname": "dev"}))
    requests.post(f"{server.url}/api", data=signed("getexecutorsmsg", {"colonyname": "other"}))
    requests.post(f"{server.url}/api", data=b"{}")
    requests.get(f"{server.url}/health")
    requests.get(f"{server.url}/colonysim/health")
    lines = taken(log, 6)
    start = "2026-01-01 00:00:00"
    assert [fields(line) for line in lines] == [
        [start, "getcoloniesmsg", "200", "the server owner"],
        [start, "getexecutorsmsg", "200", "myuser"],
        [start, "getexecutorsmsg", "403", "myuser"],
        [start, "POST /api", "403", "127.0.0.1"],
        [start, "GET /health", "200", "127.0.0.1"],
        [start, "GET /colonysim/health", "200", "127.0.0.1"],
    ]


def test_a_parked_request_is_a_line_once_it_is_answered(
    server: WebServer, log: SimpleQueue[str], sim: Simulation, executor: ExecutorClient
) -> None:
    body = signed("assignprocessmsg", {"colonyname": "dev", "timeout": 30}, executor.identity.private_key)
    asking = threading.Thread(target=requests.post, args=(f"{server.url}/api", body))
    asking.start()
    until(lambda: bool(sim.kernel.pending))
    assert log.empty()
    sim.advance(30)
    asking.join()
    lines = taken(log, 1)
    (line,) = lines
    assert fields(line) == ["2026-01-01 00:00:30", "assignprocessmsg", "404", executor.name]
    assert line.endswith(", 30 s of virtual time")


def test_a_client_that_disconnects_leaves_a_line_too(
    server: WebServer, log: SimpleQueue[str], sim: Simulation, executor: ExecutorClient
) -> None:
    body = signed("assignprocessmsg", {"colonyname": "dev", "timeout": 30}, executor.identity.private_key)
    with pytest.raises(requests.ReadTimeout):
        requests.post(f"{server.url}/api", data=body, timeout=0.5)
    lines = taken(log, 1)
    assert fields(lines[0])[1:] == ["assignprocessmsg", "closed", executor.name]


def test_what_is_not_http_is_a_line(server: WebServer, log: SimpleQueue[str]) -> None:
    with socket.create_connection((server.host, server.port)) as connection:
        connection.sendall(b"GET / HTTP/9\r\n\r\n")
        while connection.recv(4096):
            pass
    assert fields(log.get(timeout=30))[2] in ("400", "505")


def test_a_websocket_is_a_line_and_so_is_each_request_on_it(
    server: WebServer, log: SimpleQueue[str], colony: ColonyClient
) -> None:
    subscription = {"colonyname": "dev", "executortype": "cli", "state": 0, "timeout": 10}
    with connect(f"{server.url.replace('http', 'ws')}/pubsub") as client:
        client.send(signed("subscribeprocessesmsg", subscription).decode())
        lines = taken(log, 2)
    assert [fields(line)[1:] for line in lines] == [
        ["GET /pubsub", "101", "127.0.0.1"],
        ["subscribeprocessesmsg", "stream", "myuser"],
    ]


def test_without_a_log_nothing_is_written(server: WebServer, capfd: pytest.CaptureFixture[str]) -> None:
    requests.get(f"{server.url}/health")
    assert capfd.readouterr() == ("", "")


def test_a_path_cannot_break_the_line(server: WebServer, log: SimpleQueue[str]) -> None:
    requests.get(f"{server.url}/a%0Ab%1b[31m")
    lines = taken(log, 1)
    assert lines[0].splitlines() == lines
    assert "\x1b" not in lines[0]
