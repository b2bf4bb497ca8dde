"""The WebSocket front: subscriptions on /pubsub (d-realtime-and-data 2.1, 2.2)."""

from __future__ import annotations

import queue
import socket
import threading
from contextlib import nullcontext
from typing import TYPE_CHECKING, Final

from wsproto import ConnectionType, WSConnection
from wsproto.events import (
    AcceptConnection,
    BytesMessage,
    CloseConnection,
    Ping,
    Request,
    TextMessage,
)
from wsproto.utilities import LocalProtocolError, RemoteProtocolError

from colonysim.core.engine import refused
from colonysim.core.errors import Refusal
from colonysim.core.protocol import Delivery, Hangup, Push
from colonysim.fronts.hangups import HangupWatch
from colonysim.sim.pending import Stream
from colonysim.sim.simulation import Simulation
from colonysim.wire.codec import Codec, Dropped

if TYPE_CHECKING:
    from wsgiref.types import WSGIEnvironment

READ_BYTES: Final = 65_536


def is_handshake(environ: WSGIEnvironment) -> bool:
    """Whether a GET asks for a WebSocket of the one version that is spoken."""
    tokens = environ.get("HTTP_CONNECTION", "").lower().replace(" ", "").split(",")
    return (
        environ["REQUEST_METHOD"] == "GET"
        and "upgrade" in tokens
        and environ.get("HTTP_UPGRADE", "").lower() == "websocket"
        and environ.get("HTTP_SEC_WEBSOCKET_VERSION") == "13"
        and bool(environ.get("HTTP_SEC_WEBSOCKET_KEY"))
    )


class Session:
    """One WebSocket connection. Requests are read one by one; pushes go out by a thread of their own.

    Every request gets a stream of the simulation, so that its pushes come as it came, text or binary.
    """

    def __init__(self, sim: Simulation, codec: Codec, connection: socket.socket, hangups: HangupWatch | None) -> None:
        self.sim = sim
        self.codec = codec
        self.connection = connection
        self.hangups = hangups
        self._protocol = WSConnection(ConnectionType.SERVER)
        self._protocol_lock = threading.Lock()
        self._out: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._free = threading.Event()
        self._streams: list[Stream] = []
        self._parts: list[str | bytes] = []
        self._open = True

    def run(self, environ: WSGIEnvironment) -> None:
        """Speak until one side goes."""
        self.connection.settimeout(None)
        headers = [
            (name.removeprefix("HTTP_").replace("_", "-").lower().encode("latin-1"), value.encode("latin-1"))
            for name, value in environ.items()
            if name.startswith("HTTP_") and name not in ("HTTP_SEC_WEBSOCKET_EXTENSIONS", "HTTP_SEC_WEBSOCKET_PROTOCOL")
        ]
        self._protocol.initiate_upgrade_connection(headers, "/pubsub")
        writer = threading.Thread(target=self._write, name="colonysim-pushes", daemon=True)
        writer.start()
        try:
            self._handle_events()
            while self._open and (data := self.connection.recv(READ_BYTES)):
                with self._protocol_lock:
                    self._protocol.receive_data(data)
                self._handle_events()
        except (OSError, Dropped, RemoteProtocolError, LocalProtocolError):
            pass  # the connection ends without a word, as the reference's does
        finally:
            self._drop()
            for stream in self._streams:
                self.sim.close_stream(stream)
            writer.join()

    # ------------------------------------------------------------ in
    def _handle_events(self) -> None:
        with self._protocol_lock:
            events = list(self._protocol.events())
        for event in events:
            if isinstance(event, Request):
                self._send(AcceptConnection())
            elif isinstance(event, (TextMessage, BytesMessage)):
                self._parts.append(event.data if isinstance(event.data, str) else bytes(event.data))
                if event.message_finished:
                    self._message(isinstance(event, BytesMessage))
            elif isinstance(event, Ping):
                self._send(event.response())
            elif isinstance(event, CloseConnection):
                self._send(CloseConnection(code=event.code))
                self._out.put(None)
                self._open = False
                return

    def _message(self, binary: bool) -> None:
        """One request; a channel subscription keeps the next one waiting until it is over."""
        parts, self._parts = self._parts, []
        body = b"".join(part.encode("utf-8", "surrogatepass") if isinstance(part, str) else part for part in parts)
        try:
            incoming = self.codec.read_streamed(body)
        except Refusal as refusal:
            self._refuse(refusal, binary)
            return
        if incoming is None:
            return
        self._free.clear()
        stream = self.sim.open_stream(lambda delivery: self._deliver(delivery, binary))
        self._streams.append(stream)
        pending = self.sim.begin(
            incoming.caller_id, incoming.message, has_nul=incoming.has_nul, stream=stream.number, outside=True
        )
        if pending.answer is not None:
            self._frame(self.codec.write(pending.answer).body, binary)
            self.sim.close_stream(stream)
            self._streams.remove(stream)
        elif pending.call.payload_type == "subscribechannelmsg":
            self._wait_until_free()

    def _wait_until_free(self) -> None:
        gone = threading.Event()

        def hung_up() -> None:
            gone.set()
            self._free.set()

        with self.hangups.watching(self.connection, hung_up) if self.hangups else nullcontext():
            self._free.wait()
        if gone.is_set():
            raise Dropped

    def _refuse(self, refusal: Refusal, binary: bool) -> None:
        self._frame(self.codec.write(refused(0, refusal)).body, binary)

    # ------------------------------------------------------------ out
    def _deliver(self, delivery: Delivery, binary: bool) -> None:
        """Called by the simulation: nothing here may wait."""
        self.sim.actors.hear_outside()
        if isinstance(delivery, Push):
            self._frame(self.codec.write_push(delivery), binary)
        elif isinstance(delivery, Hangup):
            self._drop()
        else:
            self._free.set()

    def _frame(self, body: bytes, binary: bool) -> None:
        self._send(BytesMessage(data=body) if binary else TextMessage(data=body.decode()))

    def _send(self, event: object) -> None:
        with self._protocol_lock:
            try:
                self._out.put(self._protocol.send(event))  # type: ignore[arg-type]
            except LocalProtocolError:
                pass  # the other side has said goodbye meanwhile

    def _drop(self) -> None:
        self._open = False
        self._free.set()
        self._out.put(None)

    def _write(self) -> None:
        try:
            while (data := self._out.get()) is not None:
                self.connection.sendall(data)
            self.connection.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass  # nobody is there any more
