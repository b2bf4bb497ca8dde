"""Subscriptions on /pubsub over a socket: docs/protocol/d-realtime-and-data.md 2."""

from __future__ import annotations

import json
import socket
import struct
import threading
from collections.abc import Callable, Iterator

import pytest

from colonysim import AssignedProcess, ColonyClient, ExecutorClient, Simulation, WebServer
from colonysim.simulation import stock
from tests.serving import opened, signed

TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10
HANDSHAKE = (
    b"GET /pubsub HTTP/1.1\r\nHost: x\r\nConnection: keep-alive, Upgrade\r\nUpgrade: WebSocket\r\n"
    b"Sec-WebSocket-Version: 13 \r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)


def frame(opcode: int, payload: bytes = b"", *, masked: bool = True, fin: bool = True, reserved: int = 0) -> bytes:
    """A frame as a client sends it."""
    head = bytes([fin << 7 | reserved | opcode])
    mask = b"mask" if masked else b""
    size, bit = len(payload), masked << 7
    if size < 126:
        head += bytes([bit | size])
    elif size < 65_536:
        head += bytes([bit | 126]) + struct.pack("!H", size)
    else:
        head += bytes([bit | 127]) + struct.pack("!Q", size)
    hidden = bytes(byte ^ mask[place % 4] for place, byte in enumerate(payload)) if masked else payload
    return head + mask + hidden


class Socket:
    """A WebSocket on which bytes are sent as they stand."""

    def __init__(self, server: WebServer, with_it: bytes = b"") -> None:
        self.socket = socket.create_connection(("127.0.0.1", server.port), timeout=20)
        self.reader = self.socket.makefile("rb")
        self.socket.sendall(HANDSHAKE + with_it)
        self.head = b""
        while not self.head.endswith(b"\r\n\r\n"):
            self.head += self.reader.readline()

    def send(self, *frames: bytes) -> None:
        self.socket.sendall(b"".join(frames))

    def ask(self, body: bytes, opcode: int = TEXT) -> None:
        self.send(frame(opcode, body))

    def recv(self) -> tuple[int, bytes]:
        """Opcode and payload of the next frame; (0, b"") where the connection is closed."""
        head = self.reader.read(2)
        if len(head) < 2:
            return 0, b""
        assert head[0] & 0x80
        assert not head[1] & 0x80
        size = head[1]
        if size == 126:
            (size,) = struct.unpack("!H", self.reader.read(2))
        elif size == 127:
            (size,) = struct.unpack("!Q", self.reader.read(8))
        return head[0] & 15, self.reader.read(size)

    def body(self) -> object:
        """What the next frame holds."""
        opcode, payload = self.recv()
        assert opcode in (TEXT, BINARY)
        return opened(payload)

    def close(self) -> None:
        self.reader.close()
        self.socket.close()


@pytest.fixture
def connect(server: WebServer) -> Iterator[Callable[..., Socket]]:
    made: list[Socket] = []

    def connect(with_it: bytes = b"") -> Socket:
        made.append(Socket(server, with_it))
        return made[-1]

    yield connect
    for each in made:
        each.close()


@pytest.fixture
def talking(colony: ColonyClient, executor: ExecutorClient) -> AssignedProcess:
    """A process that runs and has a channel."""
    colony.submit("f", channels=["chat"])
    assigned = executor.assign()
    assert assigned is not None
    return assigned


def listen(process_id: str, state: int, timeout_s: int = 100) -> bytes:
    return signed(
        "subscribeprocessmsg",
        {"colonyname": "dev", "processid": process_id, "executortype": "", "state": state, "timeout": timeout_s},
    )


def listen_to_all(executor: ExecutorClient, state: int, timeout_s: int = 100) -> bytes:
    message = {"colonyname": "dev", "executortype": "cli", "state": state, "timeout": timeout_s}
    return signed("subscribeprocessesmsg", message, executor.private_key)


def listen_to_channel(process_id: str, timeout_s: int = 10) -> bytes:
    return signed("subscribechannelmsg", {"processid": process_id, "name": "chat", "afterseq": 0, "timeout": timeout_s})


def settled(sim: Simulation, subscriptions: int, channels: int = 0) -> None:
    """Wait until the server has so many subscriptions."""
    while (len(sim.world.subscriptions.all()), len(sim.world.channel_streams)) != (subscriptions, channels):
        threading.Event().wait(0.001)


def test_the_handshake_is_answered_with_nothing_but_what_it_needs(connect: Callable[..., Socket]) -> None:
    lines = connect().head.decode().splitlines()
    assert lines[0] == "HTTP/1.1 101 Switching Protocols"
    assert {line.split(":")[0] for line in lines[1:-1]} == {"Upgrade", "Connection", "Sec-WebSocket-Accept"}
    assert "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" in lines[-2]


@pytest.mark.parametrize(
    ("line", "instead"),
    [
        (b"Upgrade: WebSocket", b"Upgrade: h2c, websocket"),
        (b"Upgrade: WebSocket", b"Upgrade: h2c\r\nUpgrade: /bad, x\r\nUPGRADE:\tWEBSOCKET\t, y"),
        (b"Sec-WebSocket-Version: 13 ", b"Sec-WebSocket-Version: 8, 13"),
        (b"Sec-WebSocket-Version: 13 ", b"Sec-WebSocket-Version: 13, 8"),
        (b"Sec-WebSocket-Version: 13 ", b"Sec-WebSocket-Version: 8\r\nSec-WebSocket-Version: 13"),
        (b"Connection: keep-alive, Upgrade", b"Connection: close\r\nConnection: uPGRADE"),
        (b"Sec-WebSocket-Key: dGhl", b"Sec-WebSocket-Protocol: a, b\r\nSec-WebSocket-Key: dGhl"),
        (b"dGhlIHNhbXBsZSBub25jZQ==", b"dGhlIHNhbXBsZSBub25jZR=="),  # spare bits are not looked at
        (b"ZQ==\r\n", b"ZQ==\r\nSec-WebSocket-Key: another\r\n"),  # the first one counts
    ],
)
def test_lists_in_the_handshake_are_searched(server: WebServer, line: bytes, instead: bytes) -> None:
    assert line in HANDSHAKE
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as wire:
        wire.sendall(HANDSHAKE.replace(line, instead))
        assert wire.recv(4096).startswith(b"HTTP/1.1 101 ")


@pytest.mark.parametrize(
    ("line", "instead"),
    [
        (b"Upgrade: WebSocket", b"Upgrade: websocket/13"),
        (b"Upgrade: WebSocket", b"Upgrade: , websocket"),
        (b"Upgrade: WebSocket", b"Upgrade: h2c websocket"),
        (b"Upgrade: WebSocket", b"Upgrade: websockets"),
        (b"Sec-WebSocket-Version: 13 ", b"Sec-WebSocket-Version: 8, 130"),
        (b"Sec-WebSocket-Version: 13 ", b"Sec-WebSocket-Version: 013"),
        (b"Connection: keep-alive, Upgrade", b"Connection: keep-alive; Upgrade"),
        (b"dGhlIHNhbXBsZSBub25jZQ==", b""),
        (b"dGhlIHNhbXBsZSBub25jZQ==", b"dGhlIHNhbXBsZSBub25jZQ"),
        (b"dGhlIHNhbXBsZSBub25jZQ==", b"dGhlIHNhbXBsZSBub25jZQ==="),
        (b"dGhlIHNhbXBsZSBub25jZQ==", b"dGhlIHNhbXBsZSBub25jZWU="),  # 17 bytes
        (b"dGhlIHNhbXBsZSBub25jZQ==", b"dGhlIHNhbXBsZSBub25j"),  # 15 bytes
        (b"dGhlIHNhbXBsZSBub25jZQ==", b"dGhlIHNhbXBsZSBub25-ZQ=="),
        (b"dGhlIHNhbXBsZSBub25jZQ==", b"dGhlIHNhbXBsZSBu b25jZQ=="),
        (b"dGhlIHNhbXBsZSBub25jZQ==", b"dGhlIHNhbXBsZSBub25jZQ==, x"),
        (b"dGhlIHNhbXBsZSBub25jZQ==", b"x\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="),
        (b"dGhlIHNhbXBsZSBub25jZQ==", b"\xe9" * 16),
    ],
)
def test_other_lists_and_keys_in_the_handshake_are_a_bad_request(
    server: WebServer, line: bytes, instead: bytes
) -> None:
    assert line in HANDSHAKE
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as wire:
        wire.sendall(HANDSHAKE.replace(line, instead))
        reply = wire.recv(4096)
    assert reply.startswith(b"HTTP/1.1 400 Bad Request\r\n")
    assert b"Sec-Websocket-Version: 13\r\n" in reply
    assert reply.endswith(b"\r\n\r\nBad Request\n")


@pytest.mark.parametrize(
    "leave_out", [b"Upgrade: WebSocket\r\n", b"Sec-WebSocket-Version: 13 \r\n", b"Connection: keep-alive, Upgrade\r\n"]
)
def test_what_is_no_handshake_is_a_bad_request(server: WebServer, leave_out: bytes) -> None:
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as wire:
        wire.sendall(HANDSHAKE.replace(leave_out, b""))
        reply = wire.recv(4096)
    assert reply.startswith(b"HTTP/1.1 400 Bad Request\r\n")
    assert b"Sec-Websocket-Version: 13\r\n" in reply
    assert reply.endswith(b"Bad Request\n")


def test_an_old_client_without_a_host_is_let_in(server: WebServer) -> None:
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as wire:
        wire.sendall(HANDSHAKE.replace(b"HTTP/1.1", b"HTTP/1.0").replace(b"Host: x\r\n", b""))
        assert wire.recv(4096).startswith(b"HTTP/1.1 101 ")


def test_frames_that_come_with_the_handshake_are_read(connect: Callable[..., Socket]) -> None:
    assert connect(frame(PING, b"early")).recv() == (PONG, b"early")


def test_a_process_is_pushed_when_it_comes_into_its_state(
    connect: Callable[..., Socket], sim: Simulation, colony: ColonyClient, executor: ExecutorClient
) -> None:
    process = colony.submit("f")
    client = connect()
    client.ask(listen(process.id, 2))
    settled(sim, 1)
    assigned = executor.assign()
    assert assigned is not None
    assigned.close(["done"])
    body = client.body()
    assert isinstance(body, dict)
    assert (body["processid"], body["state"], body["out"]) == (process.id, 2, [])


def test_pushes_come_as_the_request_came(
    connect: Callable[..., Socket], sim: Simulation, colony: ColonyClient, executor: ExecutorClient
) -> None:
    client = connect()
    client.ask(listen_to_all(executor, 0), BINARY)
    settled(sim, 1)
    colony.submit("f")
    opcode, payload = client.recv()
    assert opcode == BINARY
    assert json.loads(payload)["payloadtype"] == "subscribeprocessmsg"


def test_each_event_goes_to_one_of_those_who_listen(
    connect: Callable[..., Socket], sim: Simulation, colony: ColonyClient, executor: ExecutorClient
) -> None:
    clients = [connect() for _ in range(3)]
    for number, client in enumerate(clients):
        client.ask(listen_to_all(executor, 0))
        settled(sim, number + 1)
    for name in "abcdef":
        colony.submit(name)
    heard = [[client.body()["spec"]["funcname"] for _ in range(2)] for client in clients]  # type: ignore[index]
    assert heard == [["a", "d"], ["b", "e"], ["c", "f"]]


def test_the_shortest_time_out_ends_the_whole_connection(
    connect: Callable[..., Socket], sim: Simulation, colony: ColonyClient, executor: ExecutorClient
) -> None:
    """And from that moment its other subscriptions swallow nothing."""
    first, second = connect(), connect()
    first.ask(listen_to_all(executor, 1, 1))
    first.ask(listen_to_all(executor, 0, 100))
    settled(sim, 2)
    second.ask(listen_to_all(executor, 0, 100))
    settled(sim, 3)
    sim.advance(1)
    assert first.recv() == (0, b"")
    for name in "abcd":
        colony.submit(name)
    assert [second.body()["spec"]["funcname"] for _ in range(4)] == list("abcd")  # type: ignore[index]


def test_a_channel_is_replayed_then_live_and_ends_with_an_empty_list(
    connect: Callable[..., Socket], sim: Simulation, talking: AssignedProcess
) -> None:
    talking.say("chat", b"before", 1)
    client = connect()
    client.ask(listen_to_channel(talking.id, 5))
    assert [entry["payload"] for entry in client.body()] == ["YmVmb3Jl"]  # type: ignore[attr-defined]
    talking.say("chat", b"live", 2)
    assert [entry["sequence"] for entry in client.body()] == [2]  # type: ignore[attr-defined]
    sim.advance(5)
    assert client.body() == []
    client.ask(listen_to_channel(talking.id, 0))
    assert len(client.body()) == 2  # type: ignore[arg-type]


def test_requests_wait_behind_a_channel_subscription_and_start_when_it_ends(
    connect: Callable[..., Socket], sim: Simulation, talking: AssignedProcess
) -> None:
    client = connect()
    client.send(*(frame(TEXT, listen_to_channel(talking.id, 5)) for _ in range(3)), frame(PING, b"late"))
    settled(sim, 0, 1)
    sim.advance(4)
    sim.advance(11)
    assert [client.body() for _ in range(3)] == [[], [], []]
    assert client.recv() == (PONG, b"late")
    assert sim.world.channel_streams == {}


def test_a_close_frame_behind_a_channel_subscription_is_answered_after_it(
    connect: Callable[..., Socket], sim: Simulation, talking: AssignedProcess
) -> None:
    client = connect()
    client.send(frame(TEXT, listen_to_channel(talking.id, 5)), frame(CLOSE, struct.pack("!H", 1000) + b"bye"))
    settled(sim, 0, 1)
    talking.say("chat", b"still", 1)
    assert [entry["sequence"] for entry in client.body()] == [1]  # type: ignore[attr-defined]
    sim.advance(5)
    assert client.body() == []
    assert client.recv() == (CLOSE, struct.pack("!H", 1000))
    assert client.recv() == (0, b"")


@pytest.mark.parametrize("end", ["close", "cancel"])
def test_the_end_of_a_process_is_silent_on_its_channels(
    connect: Callable[..., Socket], sim: Simulation, talking: AssignedProcess, end: str
) -> None:
    client = connect()
    client.ask(listen_to_channel(talking.id, 100))
    settled(sim, 0, 1)
    talking.close() if end == "close" else talking.cancel()
    settled(sim, 0, 0)
    client.send(frame(PING, b"there?"))
    assert client.recv() == (PONG, b"there?")


def test_the_removal_of_a_process_leaves_its_subscribers_waiting(
    connect: Callable[..., Socket], sim: Simulation, talking: AssignedProcess, colony: ColonyClient
) -> None:
    talking.fail("x")
    other = colony.submit("g", channels=["chat"])
    client = connect()
    client.ask(listen_to_channel(other.id, 5))
    settled(sim, 0, 1)
    other.remove()
    sim.advance(5)
    assert client.body() == []
    assert sim.world.channels == {}


@pytest.mark.parametrize("how", ["fin", "reset"])
def test_a_client_that_dies_gives_its_subscriptions_free(
    connect: Callable[..., Socket], sim: Simulation, talking: AssignedProcess, how: str
) -> None:
    """Also when it has sent something meanwhile."""
    client = connect()
    client.send(frame(TEXT, listen_to_channel(talking.id, 100_000)), frame(PING))
    client.ask(listen(talking.id, 2))
    settled(sim, 0, 1)
    if how == "reset":
        client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()
    settled(sim, 0, 0)
    assert not [entry for entry in sim.world.agenda.entries() if type(entry[2]).__name__ == "SubscriptionOver"]


@pytest.mark.parametrize(
    "bad",
    [
        frame(TEXT, b"nonsense"),
        frame(TEXT, b"null"),
        frame(TEXT, b"\xff\xfe{}"),
        frame(TEXT, b"") + frame(PING),
        bytes([0x81, 0xFF]) + b"\xff" * 8,  # a length of 2**63 and more
    ],
)
def test_what_makes_no_sense_ends_the_connection_without_a_word(connect: Callable[..., Socket], bad: bytes) -> None:
    client = connect()
    client.send(bad)
    assert client.recv() == (0, b"")


TEXT_BEGINS = frame(TEXT, b"{", fin=False)


@pytest.mark.parametrize(
    ("bad", "told"),
    [
        (frame(TEXT, b"{}", masked=False), "bad MASK"),
        (frame(PING, masked=False), "bad MASK"),
        (frame(TEXT, b"{}", reserved=0x40), "RSV1 set"),
        (frame(BINARY, b"{}", reserved=0x20), "RSV2 set"),
        (frame(PONG, b"", reserved=0x10), "RSV3 set"),
        *((frame(code, b"{}"), f"bad opcode {code}") for code in (3, 7, 11, 15)),
        (frame(0, b"{}"), "continuation after FIN"),
        (TEXT_BEGINS + frame(0, b"}") + frame(0, b"x"), ""),
        (TEXT_BEGINS + frame(TEXT, b"}"), "data before FIN"),
        (TEXT_BEGINS + frame(PING) + frame(BINARY, b"}", fin=False), "data before FIN"),
        (frame(PING, b"x" * 126), "len > 125 for control"),
        (frame(CLOSE, b"\x03\xe8" + b"x" * 200), "len > 125 for control"),
        (frame(PING, b"x", fin=False), "FIN not set on control"),
        (frame(CLOSE, b"", fin=False), "FIN not set on control"),
        *(
            (frame(CLOSE, struct.pack("!H", code)), f"bad close code {code}")
            for code in (0, 999, 1004, 1005, 1006, 1014, 1015, 1016, 2999, 5000, 65_535)
        ),
        (frame(CLOSE, struct.pack("!H", 1000) + b"\xff"), "invalid utf8 payload in close frame"),
        (frame(CLOSE, struct.pack("!H", 1000) + b"\xed\xa0\x80"), "invalid utf8 payload in close frame"),
        (frame(CLOSE, struct.pack("!H", 1005) + b"\xff"), "bad close code 1005"),
        (frame(3, b"", reserved=0x70, masked=False), "RSV1 set, RSV2 set, RSV3 set, bad opcode 3, bad MASK"),
        (frame(PING, b"x" * 126, fin=False, masked=False), "len > 125 for control, FIN not set on control, bad MASK"),
        (b"\x83\x00", "bad opcode 3, bad MASK"),  # told before the rest of the frame comes
        (b"\xc1\xff", "RSV1 set"),
    ],
)
def test_what_breaks_the_protocol_is_told_in_a_close_frame(
    connect: Callable[..., Socket], bad: bytes, told: str
) -> None:
    client = connect()
    client.send(bad)
    pong = (PONG, b"")
    answers = [answer for answer in iter(client.recv, (0, b"")) if answer != pong]
    assert answers == ([(CLOSE, struct.pack("!H", 1002) + told.encode())] if told else [])


def test_nothing_counts_after_what_breaks_the_protocol(
    connect: Callable[..., Socket], sim: Simulation, talking: AssignedProcess
) -> None:
    """Also when it has to wait for its turn behind a channel subscription."""
    client = connect()
    client.send(frame(TEXT, listen_to_channel(talking.id, 5)), frame(4), frame(PING, b"late"), frame(5))
    settled(sim, 0, 1)
    sim.advance(5)
    assert client.body() == []
    assert client.recv() == (CLOSE, struct.pack("!H", 1002) + b"bad opcode 4")
    assert client.recv() == (0, b"")


@pytest.mark.parametrize("payload", [b"", b"x"])
def test_a_close_frame_without_a_code_is_answered_with_an_empty_one(
    connect: Callable[..., Socket], payload: bytes
) -> None:
    client = connect()
    client.send(frame(CLOSE, payload))
    assert client.recv() == (CLOSE, b"")
    assert client.recv() == (0, b"")


def test_frames_that_come_byte_by_byte_are_read(
    connect: Callable[..., Socket], sim: Simulation, talking: AssignedProcess
) -> None:
    client = connect()
    for byte in frame(PING, b"p" * 125) + frame(TEXT, listen_to_channel(talking.id, 5)):
        client.send(bytes([byte]))
    assert client.recv() == (PONG, b"p" * 125)
    settled(sim, 0, 1)


@pytest.mark.parametrize("code", [1000, 1001, 1003, 1007, 1011, 1013, 3000, 4999])
def test_a_close_code_is_answered_with_itself(connect: Callable[..., Socket], code: int) -> None:
    client = connect()
    client.send(frame(CLOSE, struct.pack("!H", code)))
    assert client.recv() == (CLOSE, struct.pack("!H", code))
    assert client.recv() == (0, b"")


def test_bad_text_in_a_request_is_read_as_the_reference_reads_it(
    connect: Callable[..., Socket], sim: Simulation, talking: AssignedProcess
) -> None:
    body = listen_to_channel(talking.id)
    client = connect()
    client.ask(b'{"x":"\xff",' + body[1:])
    settled(sim, 0, 1)


def test_messages_in_parts_and_large_ones_are_put_together(
    connect: Callable[..., Socket], sim: Simulation, talking: AssignedProcess
) -> None:
    body = listen_to_channel(talking.id)
    padded = body[:-1] + b',"x":"' + b"y" * 300_000 + b'"}'
    client = connect()
    client.send(
        frame(TEXT, padded[:10], fin=False), frame(PING, b"between"), frame(0, padded[10:100], fin=False),
        frame(0, padded[100:]),
    )  # fmt: skip
    assert client.recv() == (PONG, b"between")
    settled(sim, 0, 1)


@pytest.mark.parametrize(
    ("request_body", "answer"),
    [
        (listen("zz", 0), {"status": 403, "message": "Invalid process with Id zz"}),
        (
            signed("subscribeprocessesmsg", {"executortype": "cli", "state": 0, "timeout": 1}),
            {"status": 403, "message": "executor not found"},
        ),
        (listen_to_channel("zz"), {"status": 404, "message": "Process not found"}),
    ],
)
def test_refusals_are_frames_and_the_connection_stays(
    connect: Callable[..., Socket], request_body: bytes, answer: object
) -> None:
    client = connect()
    client.ask(request_body)
    assert client.body() == answer
    client.send(frame(PING))
    assert client.recv() == (PONG, b"")


def test_other_messages_are_ignored(connect: Callable[..., Socket]) -> None:
    client = connect()
    client.ask(signed("getcoloniesmsg", {}, stock.USER_IDENTITY.private_key))
    client.send(frame(PING))
    assert client.recv() == (PONG, b"")


def test_five_hundred_subscribers_are_told(
    connect: Callable[..., Socket], sim: Simulation, talking: AssignedProcess
) -> None:
    clients = [connect() for _ in range(500)]
    for client in clients:
        client.ask(listen_to_channel(talking.id, 1000))
    settled(sim, 0, 500)
    talking.say("chat", b"all", 7)
    assert all(client.body()[0]["sequence"] == 7 for client in clients)  # type: ignore[index]


def test_stopping_ends_streams(sim: Simulation, kind: str, talking: AssignedProcess) -> None:
    server = WebServer(sim, kind=kind).start()
    client = Socket(server)
    client.ask(listen_to_channel(talking.id, 1000))
    settled(sim, 0, 1)
    server.stop()
    assert client.recv() == (0, b"")
    client.close()
    assert server.errors == []
