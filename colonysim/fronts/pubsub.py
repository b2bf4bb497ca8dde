"""The WebSocket front: subscriptions on /pubsub (d-realtime-and-data 2.1, 2.2), without sockets."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Final, NamedTuple

from wsproto.frame_protocol import FrameDecoder, FrameProtocol, Opcode, ParseFailed
from wsproto.utilities import generate_accept_token

from colonysim.core.engine import refused
from colonysim.core.errors import Refusal
from colonysim.core.protocol import Answer, Hangup, Push
from colonysim.fronts.endpoint import Endpoint
from colonysim.fronts.http1 import HttpRequest
from colonysim.sim.connections import HANG_UP, Asked, Connection, HangUp
from colonysim.wire.codec import Codec, Dropped

PATH: Final = "/pubsub"
_CLOSE_CODES: Final = {*range(1000, 1004), *range(1007, 1015), *range(3000, 5000)}


def is_handshake(request: HttpRequest) -> bool:
    """Whether a request asks for a WebSocket of the one version that is spoken."""
    headers = request.headers
    tokens = [token.strip() for token in headers.get("connection", "").lower().split(",")]
    return (
        request.method == "GET"
        and request.path == PATH
        and "upgrade" in tokens
        and headers.get("upgrade", "").lower() == "websocket"
        and headers.get("sec-websocket-version") == "13"
        and bool(headers.get("sec-websocket-key"))
    )


def read_request(codec: Codec, body: bytes, binary: bool) -> Asked | HangUp | Answer | None:
    """The request in a message; an answer where it is refused, None where it is ignored."""
    try:
        incoming = codec.read_streamed(body)
    except Refusal as refusal:
        return refused(0, refusal)
    except Dropped:
        return HANG_UP
    return incoming if incoming is None else Asked(incoming.caller_id, incoming.message, incoming.has_nul, binary)


class _Frame(NamedTuple):
    """A whole message or a control frame."""

    opcode: Opcode
    payload: bytes


class Session(Connection):
    """One WebSocket connection of a client outside: bytes in, bytes out.

    `write` must not wait; `drop` closes the connection once all is written. Messages, pings and close frames
    wait for their turn behind a channel subscription, pushes do not.
    """

    def __init__(self, endpoint: Endpoint, write: Callable[[bytes], None], drop: Callable[[], None]) -> None:
        super().__init__(outside=True)
        self.endpoint = endpoint
        self.sim = endpoint.sim
        self._write = write
        self._drop = drop
        self._decoder = FrameDecoder(client=False)
        self._encoder = FrameProtocol(client=False, extensions=[])
        self._kind: Opcode | None = None  # of the message that is coming in
        self._parts: list[bytes] = []
        self._frames: deque[_Frame | HangUp] = deque()

    def open(self, request: HttpRequest) -> None:
        """Answer the handshake."""
        token = generate_accept_token(request.headers["sec-websocket-key"].encode("latin-1")).decode()
        lines = ("HTTP/1.1 101 Switching Protocols", "Upgrade: websocket", "Connection: Upgrade")
        self._write("\r\n".join((*lines, f"Sec-WebSocket-Accept: {token}\r\n\r\n")).encode("latin-1"))

    def receive(self, data: bytes) -> None:
        """Bytes have come from the client."""
        try:
            self._decoder.receive_bytes(data)
            while frame := self._decoder.process_buffer():
                payload = bytes(frame.payload) if isinstance(frame.payload, (bytes, bytearray)) else b""
                self._take(frame.opcode, payload, frame.frame_finished and frame.message_finished)
        except ParseFailed:
            self._frames.append(HANG_UP)  # not a word, as the reference
        self.sim.serve(self)

    def lost(self) -> None:
        """The client has gone."""
        self.sim.close_connection(self)

    def _take(self, opcode: Opcode, payload: bytes, finished: bool) -> None:
        if opcode.iscontrol():
            self._frames.append(_Frame(opcode, payload))
            return
        if (opcode is Opcode.CONTINUATION) is (self._kind is None):
            raise ParseFailed("a continuation of nothing, or a message within another")
        self._kind = self._kind or opcode
        self._parts.append(payload)
        if finished:
            self._frames.append(_Frame(self._kind, b"".join(self._parts)))
            self._kind, self._parts = None, []

    # ------------------------------------------------------------ for the simulation
    def next_request(self) -> Asked | HangUp | None:
        while self._frames:
            frame = self._frames.popleft()
            if isinstance(frame, HangUp):
                return frame
            if frame.opcode is Opcode.PING:
                self._write(bytes(self._encoder.pong(frame.payload)))
            elif frame.opcode is Opcode.CLOSE:
                return self._goodbye(frame.payload)
            elif frame.opcode is not Opcode.PONG:
                binary = frame.opcode is Opcode.BINARY
                asked = read_request(self.endpoint.codec, frame.payload, binary)
                if isinstance(asked, Answer):
                    self.deliver(asked, binary)
                elif asked is not None:
                    return asked
        return None

    def _goodbye(self, payload: bytes) -> HangUp:
        """Answer a close frame with its own code and no reason; one that must not be sent with nothing."""
        code = int.from_bytes(payload[:2]) if payload else None
        if code is None or (len(payload) >= 2 and code in _CLOSE_CODES):
            self._write(bytes(self._encoder.close(code)))
        return HANG_UP

    def deliver(self, delivery: Push | Answer | Hangup, binary: bool) -> None:
        self.sim.actors.hear_outside()
        if isinstance(delivery, Hangup):
            self._drop()
        else:
            body = self.endpoint.frame(delivery)
            self._write(bytes(self._encoder.send_data(body if binary else body.decode())))
