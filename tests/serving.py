"""A served simulation, and raw sockets to speak to it: fixtures and helpers for several folders of tests."""

from __future__ import annotations

import base64
import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from colonysim import ColonyClient, ExecutorClient, Simulation, WebServer, replay
from colonysim.simulation import stock
from colonysim.wire import identity


@pytest.fixture
def sim() -> Simulation:
    simulation = Simulation(mode="manual", journal=True)
    stock.install(simulation)
    return simulation


@pytest.fixture
def colony(sim: Simulation) -> ColonyClient:
    return ColonyClient.stock(sim)


@pytest.fixture
def executor(colony: ColonyClient) -> ExecutorClient:
    return colony.add_executor("cli")


@pytest.fixture(params=["werkzeug", "asyncio"])
def kind(request: pytest.FixtureRequest) -> str:
    """Both servers serve the same and pass the same tests."""
    kind: str = request.param
    return kind


@pytest.fixture
def server(sim: Simulation, kind: str, tmp_path: Path) -> Iterator[WebServer]:
    """A server in which nothing goes wrong, and whose history can be replayed word for word."""
    with WebServer(sim, kind=kind) as server:
        yield server
    assert server.errors == []
    assert sim.journal is not None
    sim.journal.save(tmp_path / "served.jsonl")
    assert str(replay(tmp_path / "served.jsonl").difference or "") == ""


def signed(kind: str, message: dict[str, Any], key: str = stock.USER_IDENTITY.private_key) -> bytes:
    """The body of a signed request."""
    payload = base64.b64encode(json.dumps({"msgtype": kind} | message).encode()).decode()
    envelope = {"payloadtype": kind, "payload": payload, "signature": identity.sign(payload, key)}
    return json.dumps(envelope).encode()


def opened(reply: bytes | str) -> Any:
    """The body in a reply's envelope."""
    return json.loads(base64.b64decode(json.loads(reply)["payload"]))


class Wire:
    """A connection on which bytes are sent as they stand."""

    def __init__(self, server: WebServer) -> None:
        self.socket = socket.create_connection(("127.0.0.1", server.port), timeout=20)
        self.reader = self.socket.makefile("rb")

    def send(self, text: bytes) -> None:
        self.socket.sendall(text)

    def post(self, body: bytes, *headers: str) -> None:
        lines = ["POST /api HTTP/1.1", "Host: x", f"Content-Length: {len(body)}", *headers, "", ""]
        self.send("\r\n".join(lines).encode() + body)

    def reply(self) -> tuple[str, dict[str, str], bytes]:
        """Status line, headers and body of the next reply."""
        status = self.reader.readline().decode().strip()
        headers: dict[str, str] = {}
        while line := self.reader.readline().decode().strip():
            name, _, value = line.partition(": ")
            headers[name.lower()] = value
        if headers.get("transfer-encoding") == "chunked":
            body = b""
            while size := int(self.reader.readline(), 16):
                body += self.reader.read(size)
                self.reader.readline()
            self.reader.readline()
            return status, headers, body
        if "content-length" in headers:
            return status, headers, self.reader.read(int(headers["content-length"]))
        return status, headers, b"" if headers.get("connection") != "close" else self.reader.read()

    def closed(self) -> bool:
        """Whether the other side has closed; waits for it."""
        return self.reader.read(1) == b""

    def close(self) -> None:
        self.reader.close()
        self.socket.close()

    def __enter__(self) -> Wire:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


@pytest.fixture
def wire(server: WebServer) -> Iterator[Wire]:
    with Wire(server) as wire:
        yield wire
