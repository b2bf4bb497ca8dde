"""WebSocket sessions: subscriptions on /pubsub (docs/protocol/d-realtime-and-data.md 2.1, 2.2), without sockets."""

from __future__ import annotations

import base64
from collections import deque
from collections.abc import Callable
from itertools import takewhile
from typing import Final

from colonysim.core.protocol import Answer, Hangup, Push
from colonysim.extras import needed_for
from colonysim.http.frames import MAX_CONTROL_BYTES, PROTOCOL_ERROR, Frame, FrameReader, ProtocolViolation, close_code
from colonysim.http.held_bytes import HeldBytes, Share
from colonysim.http.http1 import HttpRequest, first_of, is_token, lines_of
from colonysim.http.limits import DEFAULTS, Limits
from colonysim.kernel.connections import CONNECTION_END, Connection, ConnectionEnd, StreamRequest
from colonysim.web.endpoint import Endpoint, read_request

with needed_for("a web server"):
    from wsproto.frame_protocol import FrameProtocol, Opcode
    from wsproto.utilities import generate_accept_token

PATH: Final = "/pubsub"
_REASON_BYTES: Final = MAX_CONTROL_BYTES - 2
_FRAME_BYTES: Final = 128
"""Memory that a frame takes in addition to its payload."""


def is_handshake(request: HttpRequest) -> bool:
    """Whether a request is a WebSocket handshake of the supported version."""
    headers = request.headers
    return (
        request.method == "GET"
        and request.path == PATH
        and _lists(headers.get("connection", ""), "upgrade")
        and _lists(headers.get("upgrade", ""), "websocket")
        and _lists(headers.get("sec-websocket-version", ""), "13")
        and _is_key(first_of(headers.get("sec-websocket-key", "")))
    )


def _lists(value: str, wanted: str) -> bool:
    """Whether a header's list has a token, in any case.

    Quirk: each line of the header is read up to its first item that is no token, such as an empty one.
    """
    return any(_line_lists(line, wanted) for line in lines_of(value))


def _line_lists(line: str, wanted: str) -> bool:
    tokens = takewhile(is_token, (item.strip(" \t") for item in line.split(",")))
    return any(token.lower() == wanted for token in tokens)


def _is_key(text: str) -> bool:
    """Whether a text is the base64 of 16 bytes."""
    try:
        return len(base64.b64decode(text, validate=True)) == 16
    except ValueError:
        return False


class Session(Connection):
    """A WebSocket connection of a client, by default one in another process, as bytes.

    `write` must not block; `drop` closes the connection once everything is written. Messages, pings and close frames
    queue behind a channel subscription, pushes do not. A message beyond the limits ends the connection without a
    close frame.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        write: Callable[[bytes], None],
        drop: Callable[[], None],
        limits: Limits = DEFAULTS,
        share: Share | None = None,
        *,
        outside: bool = True,
    ) -> None:
        super().__init__(outside=outside)
        self.endpoint = endpoint
        self.sim = endpoint.sim
        self._write = write
        self._drop = drop
        self._reader = FrameReader()
        self._encoder = FrameProtocol(client=False, extensions=[])
        self._frames: deque[Frame | ProtocolViolation] = deque()
        self._broken = False
        self._limit = limits.message_bytes
        self._share = share or Share(HeldBytes(limits))
        self._received_bytes = 0  # of all frames; changed by the receiving thread only
        self._processed_bytes = 0  # of the frames that were processed; changed under the simulation's lock

    def open(self, request: HttpRequest) -> None:
        """Answer the handshake."""
        if (log := self.endpoint.access_log) is not None:
            log.end(log.begin(request), 101)
        token = generate_accept_token(first_of(request.headers["sec-websocket-key"]).encode("latin-1")).decode()
        lines = ("HTTP/1.1 101 Switching Protocols", "Upgrade: websocket", "Connection: Upgrade")
        self._write("\r\n".join((*lines, f"Sec-WebSocket-Accept: {token}\r\n\r\n")).encode("latin-1"))

    def receive(self, data: bytes) -> None:
        """Process bytes from the client. Everything after a protocol violation is ignored.

        Raises ConnectionError if more bytes wait than the limits allow.
        """
        received_bytes, partial_bytes = self._received_bytes, self._reader.waiting_bytes
        if not self._broken:
            self._reader.feed(data)
            try:
                while frame := self._reader.next():
                    self._frames.append(frame)
                    self._received_bytes += len(frame.payload) + _FRAME_BYTES
            except ProtocolViolation as violation:
                self._broken = True
                self._frames.append(violation)
        if self._reader.waiting_bytes + self._received_bytes - self._processed_bytes > self._limit:
            raise ConnectionAbortedError(f"more than {self._limit} bytes wait on a WebSocket")
        if not self._share.change(self._received_bytes - received_bytes + self._reader.waiting_bytes - partial_bytes):
            raise ConnectionAbortedError("all connections together hold more bytes than held_bytes allows")
        self.sim.kernel.serve(self)

    def disconnected(self) -> None:
        """Close the session: the client has disconnected."""
        self.sim.kernel.close_connection(self)

    # ------------------------------------------------------------ for the simulation
    def next_request(self) -> StreamRequest | ConnectionEnd | None:
        while self._frames:
            frame = self._frames.popleft()
            if isinstance(frame, ProtocolViolation):
                return self._report_violation(frame)
            self._processed_bytes += len(frame.payload) + _FRAME_BYTES
            self._share.change(-len(frame.payload) - _FRAME_BYTES)
            if frame.opcode is Opcode.PING:
                self._write(bytes(self._encoder.pong(frame.payload)))
            elif frame.opcode is Opcode.CLOSE:
                return self._answer_close(frame.payload)
            elif frame.opcode is not Opcode.PONG:
                binary = frame.opcode is Opcode.BINARY
                asked = read_request(self.endpoint.codec, frame.payload, binary)
                if isinstance(asked, Answer):
                    self.deliver(asked, binary)
                elif asked is not None:
                    self._log(asked)
                    return asked
        return None

    def _log(self, asked: StreamRequest | ConnectionEnd) -> None:
        if (log := self.endpoint.access_log) is not None and isinstance(asked, StreamRequest):
            log.streamed(asked.caller_id, asked.message)

    def _answer_close(self, payload: bytes) -> ConnectionEnd:
        """Answer a close frame with its own code and no reason."""
        try:
            code = close_code(payload)
        except ProtocolViolation as violation:
            return self._report_violation(violation)
        self._write(bytes(self._encoder.close(code)))
        return CONNECTION_END

    def _report_violation(self, violation: ProtocolViolation) -> ConnectionEnd:
        """Send a close frame that describes the violation, then hang up."""
        if text := str(violation):
            self._write(bytes(self._encoder.close(PROTOCOL_ERROR, text[:_REASON_BYTES])))
        return CONNECTION_END

    def deliver(self, delivery: Push | Answer | Hangup, binary: bool) -> None:
        if self.outside:
            self.sim.kernel.actors.note_outside_activity()
        if isinstance(delivery, Hangup):
            self._drop()
        else:
            body = self.endpoint.frame(delivery)
            self._write(bytes(self._encoder.send_data(body if binary else body.decode())))
