"""The in-process transport: redirect SDK calls for a simulated host to the simulation, without a socket.

`intercept` replaces the HTTP adapter of `requests`, `websocket.create_connection`, and pycolonies' slow signatures
in pure Python, each only if its package is installed. Leaving the context restores them.
"""

from __future__ import annotations

import io
import sys
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from email.utils import formatdate
from functools import cache, lru_cache
from typing import Any, Final
from urllib.parse import urlsplit

from colonysim.core.protocol import Answer, Hangup, Push
from colonysim.core.records import SECOND_NS
from colonysim.kernel.connections import Connection, ConnectionEnd, StreamRequest
from colonysim.kernel.pending import Inbox
from colonysim.simulation.simulation import Simulation
from colonysim.simulation.stock import PORT
from colonysim.web.application import PLAIN, Application, NoReply, Parked
from colonysim.web.endpoint import read_request
from colonysim.web.http1 import REASONS, Headers, length_header, request_to
from colonysim.wire import identity

_MOST_PRESIGNED: Final = 1000
LOCAL_HOSTS: Final = ("localhost", "127.0.0.1", "::1")
_PLAIN: Final = frozenset(("data", "json", "verify", "timeout"))
_DEFAULT_PORTS: Final = {"http": 80, "https": 443, "ws": 80, "wss": 443}


@contextmanager
def intercept(sim: Simulation, host: str = "localhost", port: int = PORT) -> Iterator[None]:
    """Within the context, redirect calls of this process to `host:port` to the simulation. Other calls are unchanged.

    `localhost` also matches the loopback addresses.
    """
    host = host.strip("[]").lower()
    hosts = LOCAL_HOSTS if host in LOCAL_HOSTS else (host,)

    @lru_cache(256)
    def matches(url: str) -> bool:
        parts = urlsplit(url)
        return parts.hostname in hosts and (parts.port or _DEFAULT_PORTS.get(parts.scheme)) == port

    application = Application(sim, outside=False)
    with ExitStack() as patches:
        _patch_requests(patches, application, matches)
        _patch_websocket(patches, application, matches)
        _patch_signing(patches, application.endpoint.presigned)
        yield


def _replace(patches: ExitStack, owner: Any, name: str, value: Any) -> None:
    """Set an attribute until the patches are undone."""
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
        except NoReply:
            raise requests.exceptions.ConnectionError("the connection was lost", request=request) from None

    _replace(patches, requests.adapters.HTTPAdapter, "send", send)
    general = requests.api.request

    def request(method: str, url: Any, **kwargs: Any) -> Any:
        data: Any = kwargs.get("data")
        usual = isinstance(url, str) and isinstance(data, (str, bytes)) and kwargs.get("json") is None
        if not (usual and method.upper() == "POST" and kwargs.keys() <= _PLAIN and matches(url) and _is_api(url)):
            return general(method, url, **kwargs)
        try:
            return _post(application, url, data)
        except NoReply:
            raise requests.exceptions.ConnectionError("the connection was lost") from None

    patches.callback(_everywhere, "request", request, general)
    _everywhere("request", general, request)


def _plain_request(method: str, url: str, data: str | bytes) -> Any:
    """Prepare a request as `requests` does for a call without special options, but without creating a session."""
    import requests

    prepared = requests.PreparedRequest()
    body = data.encode() if isinstance(data, str) else data
    prepared.method, prepared.url, prepared.body = method.upper(), url, data
    prepared.headers = requests.utils.default_headers()
    prepared.headers["Content-Length"] = str(len(body))
    return prepared


@lru_cache(256)
def _is_api(url: str) -> bool:
    parts = urlsplit(url)
    return parts.path == "/api" and not parts.query


def _post(application: Application, url: str, data: str | bytes) -> Any:
    """Serve a plain POST to /api without building an HTTP request. Raises NoReply if a fault lost the reply."""
    outgoing = application.endpoint.exchange(data.encode() if isinstance(data, str) else data)
    if outgoing is None:
        raise NoReply
    response = _plain_response()()
    response.asked = url, data
    headers = [("Content-Type", PLAIN)] if outgoing.body else []
    return _fill(application, response, outgoing.status, headers, outgoing.body, url)


@cache
def _plain_response() -> Any:
    """Return the response class for plain requests, which prepares its `request` only when that is read."""
    import requests

    class Response(requests.Response):
        asked: tuple[str, str | bytes] | None = None

        def __reduce__(self) -> Any:
            return requests.Response, (), self.__getstate__()

        @property
        def request(self) -> Any:
            if self.asked is not None:
                self.__dict__["request"] = _plain_request("POST", *self.asked)
                self.asked = None
            return self.__dict__.get("request")

        @request.setter
        def request(self, value: Any) -> None:
            self.__dict__["request"] = value

    return Response


def _exchange(application: Application, request: Any) -> Any:
    """Serve a request of `requests`. Raises NoReply if a fault lost the reply."""
    import requests

    reply = application.respond(request_to(request.method, request.url, request.headers, _bytes_of(request.body)))
    if isinstance(reply, Parked):
        application.sim.wait(reply.pending)
        reply = application.finish(reply)
    content = b"" if request.method == "HEAD" else reply.body
    response = requests.Response()
    response.request = request
    _fill(application, response, reply.status, reply.headers, content, request.url)
    if not content and (request.method == "HEAD" or reply.status in (204, 304)):
        del response.headers["Content-Length"]
        if reply.body:
            response.headers["Content-Length"] = str(len(reply.body))  # of the body that is not sent
    return response


def _fill(application: Application, response: Any, status: int, headers: Headers, content: bytes, url: str) -> Any:
    """Fill in a response as `requests` does; its date is in virtual time."""
    response.status_code, response.reason = status, REASONS.get(status, "")
    for name, value in (("Date", _date(application.sim.world.now_ns // SECOND_NS)), *headers, length_header(content)):
        response.headers[name] = value
    response.url, response.encoding = url, _encoding(response.headers.get("Content-Type"))
    response.raw = io.BytesIO(content)
    response._content = content
    return response


@lru_cache(16)
def _date(second: int) -> str:
    return formatdate(second, usegmt=True)


@lru_cache(16)
def _encoding(content_type: str | None) -> str | None:
    import requests

    found: str | None = requests.utils.get_encoding_from_headers({"content-type": content_type} if content_type else {})
    return found


def _bytes_of(body: Any) -> bytes:
    if body is None:
        return b""
    if isinstance(body, str):
        return body.encode()
    if hasattr(body, "read"):
        body = body.read()
    return body if isinstance(body, bytes) else b"".join(body)


# ---------------------------------------------------------------- websockets
class SimulatedSocket(Connection):
    """The result of `websocket.create_connection` inside `intercept`: send, recv and close, in virtual time."""

    def __init__(self, application: Application, closed_error: type[Exception]) -> None:
        super().__init__(outside=False)
        self.sim = application.sim
        self.endpoint = application.endpoint
        self._closed_error = closed_error
        self._inbox = Inbox()
        self._sent: deque[tuple[bytes, bool]] = deque()

    @property
    def connected(self) -> bool:
        """Whether the connection is open; it counts as open until all received frames have been read."""
        return not self.closed

    def send(self, payload: str | bytes, opcode: int = 1) -> int:
        """Send a request; the server reads it when no channel subscription blocks the connection."""
        if self.closed:
            raise self._closed_error("the connection is closed")
        body = payload.encode() if isinstance(payload, str) else payload
        self._sent.append((body, opcode == 2))
        self.sim.kernel.serve(self)
        return len(body)

    def send_binary(self, payload: bytes) -> int:
        """Send a request in a binary frame."""
        return self.send(payload, opcode=2)

    def recv(self) -> str | bytes:
        """Wait in virtual time for the next frame. Raises the real library's error if the connection is lost."""
        while True:
            if (frame := self.poll()) is not None:
                if frame == "":
                    raise self._closed_error("Connection to remote host was lost.")
                return frame
            self.sim.driver.wait_for(self._inbox, "a message on /pubsub")

    def poll(self) -> str | bytes | None:
        """Return the next frame; "" if the connection is closed, None if no frame has arrived."""
        if not self._inbox.items:
            return "" if self.closed else None
        delivery, binary = self._inbox.items.popleft()
        body = self.endpoint.frame(delivery)
        return body if binary else body.decode()

    def settimeout(self, timeout: float | None) -> None:
        """Accept and ignore a timeout: it would be in real time."""

    def close(self, *args: Any, **kwargs: Any) -> None:
        """Close the connection."""
        self.sim.kernel.close_connection(self)
        with self.sim.kernel.locked():
            self._inbox.closed = True
            self._inbox.wake()

    def __enter__(self) -> SimulatedSocket:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # ------------------------------------------------------------ called by the simulation
    def next_request(self) -> StreamRequest | ConnectionEnd | None:
        """Return the next request that can be decoded; answer the others at once."""
        while self._sent:
            body, binary = self._sent.popleft()
            asked = read_request(self.endpoint.codec, body, binary)
            if isinstance(asked, Answer):
                self.deliver(asked, binary)
            elif asked is not None:
                return asked
        return None

    def deliver(self, delivery: Push | Answer | Hangup, binary: bool) -> None:
        """Put a delivery into the inbox, and wake the thread that waits for it."""
        if isinstance(delivery, Hangup):
            self._inbox.closed = True
        else:
            self._inbox.items.append((delivery, binary))
        self._inbox.wake()


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

    patches.callback(_everywhere, "create_connection", create_connection, real)
    _everywhere("create_connection", real, create_connection)


def _everywhere(name: str, old: Any, new: Any) -> None:
    """Replace a function in all imported modules, because `from … import` copies the reference."""
    for module in list(sys.modules.values()):
        if getattr(module, "__dict__", {}).get(name) is old:
            setattr(module, name, new)


# ---------------------------------------------------------------- signatures
def _patch_signing(patches: ExitStack, presigned: dict[str, tuple[str, str]]) -> None:
    """Sign with libsecp256k1: pycolonies' pure Python takes about 10 ms for each of the same signatures.

    `presigned` passes payload and signer to the server's codec, which then need not recover the signer.
    """
    try:
        import crypto
    except ImportError:
        return
    if not hasattr(crypto, "ecdsa_raw_sign"):
        return  # another package of that name

    def sign(payload: str, private_key: str) -> str:
        signer = _signer(private_key)
        signature = signer.sign(payload)
        if len(presigned) >= _MOST_PRESIGNED:
            presigned.clear()
        presigned[signature] = (payload, signer.id)
        return signature

    _replace(patches, crypto, "sign", sign)
    _replace(patches, crypto, "get_id", lambda key: _signer(key).id)


@lru_cache(4096)
def _signer(private_key: str) -> identity.Signer:
    return identity.Signer(private_key)
