"""The in-process transport: SDK calls to a simulated host reach the simulation without a socket.

Inside `intercept` the HTTP adapter of `requests`, `websocket.create_connection` and the slow pure Python
signatures of pycolonies are replaced, each only if its package has been imported or can be; afterwards all is
as it was.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, Final
from urllib.parse import urlsplit

from colonysim import identity
from colonysim.core.engine import refused
from colonysim.core.errors import Refusal
from colonysim.core.protocol import Push, Unblock
from colonysim.fronts.web import Application, HangUp
from colonysim.sim.pending import Inbox, Stream
from colonysim.sim.simulation import Simulation
from colonysim.sim.stock import PORT
from colonysim.wire.codec import Dropped

LOCAL_HOSTS: Final = ("localhost", "127.0.0.1", "[::1]")
_DEFAULT_PORTS: Final = {"http": 80, "https": 443, "ws": 80, "wss": 443}


@contextmanager
def intercept(sim: Simulation, host: str = "localhost", port: int = PORT) -> Iterator[None]:
    """Lead all calls of this process to `host:port` to the simulation. Calls to other places go where they would.

    `localhost` stands for the loopback addresses too.
    """
    hosts = LOCAL_HOSTS if host in LOCAL_HOSTS else (host,)

    def matches(url: str) -> bool:
        parts = urlsplit(url)
        return parts.hostname in hosts and (parts.port or _DEFAULT_PORTS.get(parts.scheme)) == port

    application = Application(sim, outside=False)
    with ExitStack() as patches:
        _patch_requests(patches, application, matches)
        _patch_websocket(patches, application, matches)
        _patch_signing(patches)
        yield


def _replace(patches: ExitStack, owner: Any, name: str, value: Any) -> None:
    """Set an attribute until the patches are taken back."""
    patches.callback(setattr, owner, name, getattr(owner, name))
    setattr(owner, name, value)


# ---------------------------------------------------------------- requests
def _patch_requests(patches: ExitStack, application: Application, matches: Callable[[str], bool]) -> None:
    try:
        import requests
    except ImportError:
        return
    real = requests.adapters.HTTPAdapter.send

    def send(self: Any, request: Any, *args: Any, **kwargs: Any) -> Any:
        if not matches(request.url):
            return real(self, request, *args, **kwargs)
        try:
            return _exchange(application, request)
        except HangUp:
            raise requests.exceptions.ConnectionError("the connection was lost", request=request) from None

    _replace(patches, requests.adapters.HTTPAdapter, "send", send)


def _exchange(application: Application, request: Any) -> Any:
    """One request of `requests` through the WSGI application."""
    import requests

    parts = urlsplit(request.url)
    body = _bytes_of(request.body)
    environ: dict[str, Any] = {
        "REQUEST_METHOD": request.method,
        "PATH_INFO": parts.path or "/",
        "QUERY_STRING": parts.query,
        "CONTENT_LENGTH": str(len(body)),
        "REMOTE_ADDR": "127.0.0.1",
        "HTTP_HOST": parts.netloc,
        "wsgi.input": io.BytesIO(body),
    }
    environ |= {f"HTTP_{name.upper().replace('-', '_')}": value for name, value in request.headers.items()}
    response = requests.Response()

    def start_response(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Callable[[bytes], object]:
        response.status_code = int(status.split()[0])
        response.reason = status.partition(" ")[2]
        response.headers.update(headers)
        return lambda data: None

    content = b"".join(application(environ, start_response))
    response.url, response.request, response.encoding = request.url, request, "utf-8"
    response.raw = io.BytesIO(content)
    response._content = content
    return response


def _bytes_of(body: Any) -> bytes:
    if body is None:
        return b""
    if isinstance(body, str):
        return body.encode()
    if hasattr(body, "read"):
        body = body.read()
    return body if isinstance(body, bytes) else b"".join(body)


# ---------------------------------------------------------------- websockets
class SimulatedSocket:
    """What `websocket.create_connection` gives inside `intercept`: send, recv and close, in virtual time."""

    def __init__(self, application: Application, closed_error: type[Exception]) -> None:
        self.sim = application.sim
        self.codec = application.endpoint.codec
        self.connected = True
        self._closed_error = closed_error
        self._inbox = Inbox()
        self._frames: list[str | bytes] = []
        self._streams: list[tuple[Stream, bool]] = []
        self._blocked_by = 0
        self._queued: list[tuple[bytes, bool]] = []

    def send(self, payload: str | bytes, opcode: int = 1) -> int:
        """Send a request; it is read when no channel subscription is in the way."""
        body = payload.encode() if isinstance(payload, str) else payload
        if not self.connected:
            raise self._closed_error("the connection is closed")
        self._queued.append((body, opcode == 2))
        self._read_requests()
        return len(body)

    def send_binary(self, payload: bytes) -> int:
        return self.send(payload, opcode=2)

    def recv(self) -> str | bytes:
        """The next frame, however long it takes in virtual time. Errors: as the real one's for a lost connection."""
        while True:
            self._take_deliveries()
            if self._frames:
                return self._frames.pop(0)
            if self._inbox.closed or not self.connected:
                self.close()
                raise self._closed_error("Connection to remote host was lost.")
            self.sim.wait_for(self._inbox, "a message on /pubsub")

    def poll(self) -> str | bytes | None:
        """The next frame if there is one, "" where the connection is closed, None where nothing has come."""
        self._take_deliveries()
        if self._frames:
            return self._frames.pop(0)
        return "" if self._inbox.closed else None

    def settimeout(self, timeout: float | None) -> None:
        """Accepted and ignored: time outs of the client would be real time."""

    def close(self, *args: Any, **kwargs: Any) -> None:
        self.connected = False
        for stream, _ in self._streams:
            self.sim.close_stream(stream)
        self._streams.clear()

    def __enter__(self) -> SimulatedSocket:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _read_requests(self) -> None:
        while self._queued and not self._blocked_by:
            body, binary = self._queued.pop(0)
            try:
                incoming = self.codec.read_streamed(body)
            except Refusal as refusal:
                self._frame(self.codec.write(refused(0, refusal)).body, binary)
                continue
            except Dropped:
                self._inbox.closed = True
                return
            if incoming is None:
                continue
            stream = self.sim.open_stream(self._inbox.deliver)
            self._streams.append((stream, binary))
            pending = self.sim.begin(
                incoming.caller_id, incoming.message, has_nul=incoming.has_nul, stream=stream.number
            )
            if pending.answer is not None:
                self._frame(self.codec.write(pending.answer).body, binary)
                self.sim.close_stream(stream)
            elif pending.call.payload_type == "subscribechannelmsg":
                self._blocked_by = stream.number

    def _take_deliveries(self) -> None:
        while self._inbox.items:
            delivery = self._inbox.items.popleft()
            if isinstance(delivery, Push):
                binary = next((binary for s, binary in self._streams if s.number == delivery.stream), False)
                self._frame(self.codec.write_push(delivery), binary)
            elif isinstance(delivery, Unblock) and delivery.stream == self._blocked_by:
                self._blocked_by = 0
                self._read_requests()

    def _frame(self, body: bytes, binary: bool) -> None:
        self._frames.append(body if binary else body.decode())


def _patch_websocket(patches: ExitStack, application: Application, matches: Callable[[str], bool]) -> None:
    try:
        import websocket
    except ImportError:
        return
    real = websocket.create_connection

    def create_connection(url: str, *args: Any, **kwargs: Any) -> Any:
        if matches(url) and urlsplit(url).path == "/pubsub":
            return SimulatedSocket(application, websocket.WebSocketConnectionClosedException)
        return real(url, *args, **kwargs)

    for module in [websocket, *sys.modules.values()]:
        if getattr(module, "create_connection", None) is real:
            _replace(patches, module, "create_connection", create_connection)


# ---------------------------------------------------------------- signatures
def _patch_signing(patches: ExitStack) -> None:
    """pycolonies signs in pure Python, some 10 ms a call; the same signatures come from libsecp256k1."""
    try:
        import crypto
    except ImportError:
        return
    if not hasattr(crypto, "ecdsa_raw_sign"):
        return  # another package of that name
    _replace(patches, crypto, "sign", identity.sign)
    _replace(patches, crypto, "get_id", lambda key: identity.identity(key).id)
