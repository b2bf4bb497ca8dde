"""The in-process transport: redirect SDK calls for a simulated host to the simulation, without a network.

Any client that opens a TCP connection is led by sockets in memory (memory_sockets.py). For speed, `intercept` also
replaces the HTTP adapter of `requests`, `websocket.create_connection`, and pycolonies' slow signatures in pure Python,
each only if its package is installed. Leaving the context restores them.
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
from colonysim.http.http1 import REASONS, Headers, length_header, request_to
from colonysim.kernel.connections import Connection, ConnectionEnd, StreamRequest
from colonysim.kernel.pending import Lost, Pending
from colonysim.sdk import links, memory_sockets, threads
from colonysim.simulation.losses import TimedOut
from colonysim.simulation.simulation import Simulation
from colonysim.simulation.stock import PORT
from colonysim.web.application import PLAIN, Application, Parked
from colonysim.web.endpoint import read_request
from colonysim.wire import identity

_MOST_PRESIGNED: Final = 1000
LOCAL_HOSTS: Final = ("localhost", "127.0.0.1", "::1")
_PLAIN: Final = frozenset(("data", "json", "verify", "timeout"))
_DEFAULT_PORTS: Final = {"http": 80, "https": 443, "ws": 80, "wss": 443}
_UNREACHED: Final = ("partition", "restart")
"""Faults that keep a client from connecting; others strike requests and replies."""


@contextmanager
def intercept(sim: Simulation, host: str = "localhost", port: int = PORT) -> Iterator[None]:
    """Within the context, redirect calls of this process to `host:port` to the simulation. Other calls are unchanged.

    `localhost` also matches the loopback addresses. Threads that were started within the context belong to the
    simulation: afterwards their calls raise Lost, also where another context is open by then.
    """
    host = host.strip("[]").lower()
    hosts = LOCAL_HOSTS if host in LOCAL_HOSTS else (host,)

    @lru_cache(256)
    def matches(url: str) -> bool:
        parts = urlsplit(url)
        return parts.hostname in hosts and (parts.port or _DEFAULT_PORTS.get(parts.scheme)) == port

    way = _Way(Application(sim, outside=False), threads.Reach(sim, hosts, port), matches)
    route = links.Route(way.application, way.reach)
    with ExitStack() as patches:
        memory_sockets.open_route(route)
        patches.callback(memory_sockets.close_route, route)
        _patch_requests(patches, way)
        _patch_websocket(patches, way)
        _patch_signing(patches, way.application.endpoint.presigned)
        try:
            yield
        finally:
            way.reach.over = True


class _Way:
    """How calls for one host and port get to their simulation."""

    def __init__(self, application: Application, reach: threads.Reach, matches: Callable[[str], bool]) -> None:
        self.application = application
        self.reach = reach
        self.matches = matches


def _replace(patches: ExitStack, owner: Any, name: str, value: Any) -> None:
    """Set an attribute until the patches are undone."""
    patches.callback(setattr, owner, name, getattr(owner, name))
    setattr(owner, name, value)


# ---------------------------------------------------------------- requests
def _patch_requests(patches: ExitStack, way: _Way) -> None:
    try:
        import requests
    except ImportError:
        return
    matches, reach = way.matches, way.reach
    real = requests.adapters.HTTPAdapter.send

    def send(self: Any, request: Any, stream: bool = False, timeout: Any = None, *args: Any, **kwargs: Any) -> Any:
        if not matches(request.url) or _retries(self):
            return real(self, request, stream, timeout, *args, **kwargs)
        try:
            if threads.here.reach is not reach:
                threads.admit(reach)
            return _exchange(way.application, request, timeout)
        except Lost as lost:
            raise _as_requests_tell(lost, request) from None

    _replace(patches, requests.adapters.HTTPAdapter, "send", send)
    general = requests.api.request

    def request(method: str, url: Any, **kwargs: Any) -> Any:
        data: Any = kwargs.get("data")
        usual = isinstance(url, str) and isinstance(data, (str, bytes)) and kwargs.get("json") is None
        if not (usual and method.upper() == "POST" and kwargs.keys() <= _PLAIN and matches(url) and _is_api(url)):
            return general(method, url, **kwargs)
        try:
            if threads.here.reach is not reach:
                threads.admit(reach)
            return _post(way.application, url, data, kwargs.get("timeout"))
        except Lost as lost:
            raise _as_requests_tell(lost, _plain_request(method, url, data)) from None

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


def _retries(adapter: Any) -> bool:
    """Return whether an adapter of `requests` retries, which urllib3 does: it needs a connection."""
    retries = adapter.max_retries
    return bool(retries.total or retries.connect or retries.read or retries.status_forcelist)


class _Unreachable(Lost):
    """The client has given up connecting."""


def _as_requests_tell(lost: Lost, request: Any) -> Exception:
    """Return the exception of `requests` for a lost connection. It is a `Lost` as well."""
    kind = "ConnectTimeout" if isinstance(lost, _Unreachable) else None
    kind = kind or ("ReadTimeout" if isinstance(lost, TimedOut) else "ConnectionError")
    error: Exception = _lost_in_requests(kind)(str(lost), request=request)
    return error


@cache
def _lost_in_requests(kind: str) -> Any:
    import requests

    return type(kind, (getattr(requests.exceptions, kind), Lost), {"__module__": __name__})


def _await(application: Application, pending: Pending, timeout: Any) -> None:
    """Wait for a reply as long as a time-out of `requests` says: seconds, a pair of them, or urllib3's Timeout."""
    unreached = pending.call.verdict in _UNREACHED
    connect_s, read_s = _seconds(timeout)
    try:
        application.sim.wait(pending, connect_s if unreached else read_s)
    except TimedOut as late:
        raise (_Unreachable(str(late)) if unreached else late) from None


def _seconds(timeout: Any) -> tuple[float | None, float | None]:
    """Return the time-outs for connecting and for reading. Raises ValueError for what `requests` refuses too."""
    if timeout is None:
        return None, None
    if isinstance(timeout, tuple):
        if len(timeout) != 2:
            raise ValueError(f"Invalid timeout {timeout}. Pass a (connect, read) timeout tuple, or a single float")
        return timeout
    if hasattr(timeout, "read_timeout"):
        import urllib3

        read_s = timeout.total if isinstance(timeout.total, (int, float)) else timeout.read_timeout
        own = (timeout.connect_timeout, read_s)
        unlimited = urllib3.util.timeout.Timeout.DEFAULT_TIMEOUT
        connect_s, read_s = (None if value is unlimited else value for value in own)
        return connect_s, read_s
    return timeout, timeout


def _post(application: Application, url: str, data: str | bytes, timeout: Any = None) -> Any:
    """Serve a plain POST to /api without building an HTTP request. Raises Lost if the reply is lost or late."""
    body = data.encode() if isinstance(data, str) else data
    outgoing = application.endpoint.exchange(body, lambda pending: _await(application, pending, timeout))
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


def _exchange(application: Application, request: Any, timeout: Any) -> Any:
    """Serve a request of `requests`. Raises Lost if the reply is lost or late."""
    import requests

    reply = application.respond(request_to(request.method, request.url, request.headers, _bytes_of(request.body)))
    if isinstance(reply, Parked):
        _await(application, reply.pending, timeout)
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

    def __init__(
        self,
        application: Application,
        closed_error: type[Exception],
        late_error: type[Exception] = TimeoutError,
        timeout_s: float | None = None,
        reach: threads.Reach | None = None,
    ) -> None:
        super().__init__(outside=False)
        self.sim = application.sim
        self.endpoint = application.endpoint
        self._closed_error = closed_error
        self._late_error = late_error
        self._timeout_s = timeout_s
        self._reach = reach
        self._inbox = links.WatchedInbox()
        self._sent: deque[tuple[bytes, bool]] = deque()

    @property
    def connected(self) -> bool:
        """Whether the connection is open; it counts as open until all received frames have been read."""
        return not self.closed

    def send(self, payload: str | bytes, opcode: int = 1) -> int:
        """Send a request; the server reads it when no channel subscription blocks the connection."""
        if self.closed:
            raise self._closed_error("the connection is closed")
        self._admit()
        body = payload.encode() if isinstance(payload, str) else payload
        self._sent.append((body, opcode == 2))
        self.sim.kernel.serve(self)
        return len(body)

    def send_binary(self, payload: bytes) -> int:
        """Send a request in a binary frame."""
        return self.send(payload, opcode=2)

    def recv(self) -> str | bytes:
        """Wait in virtual time for the next frame.

        Raises the real library's errors if the connection is lost, and after the time-out if there is one.
        """
        self._admit()
        with links.TimedWait(kernel=self.sim.kernel, what=self._inbox, after_s=self._timeout_s) as deadline:
            while True:
                if (frame := self.poll()) is not None:
                    if frame == "":
                        raise self._closed_error("Connection to remote host was lost.")
                    return frame
                if deadline.passed:
                    raise self._late_error("Connection timed out")
                self.sim.driver.wait_for(deadline, "a message on /pubsub")

    def _admit(self) -> None:
        """Raises the library's error for a thread whose own simulation is over."""
        if self._reach is not None and threads.here.reach is not self._reach:
            try:
                threads.admit(self._reach)
            except Lost as lost:
                raise self._closed_error(str(lost)) from None

    def poll(self) -> str | bytes | None:
        """Return the next frame; "" if the connection is closed, None if no frame has arrived."""
        if not self._inbox.items:
            return "" if self.closed else None
        delivery, binary = self._inbox.items.popleft()
        body = self.endpoint.frame(delivery)
        return body if binary else body.decode()

    def settimeout(self, timeout: float | None) -> None:
        """Set how many seconds of virtual time `recv` waits."""
        self._timeout_s = timeout

    def gettimeout(self) -> float | None:
        """Return how many seconds of virtual time `recv` waits, None for any time."""
        return self._timeout_s

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


def _patch_websocket(patches: ExitStack, way: _Way) -> None:
    try:
        import websocket
    except ImportError:
        return
    real = websocket.create_connection

    def create_connection(url: str, timeout: float | None = None, *args: Any, **kwargs: Any) -> Any:
        if way.matches(url) and urlsplit(url).path == "/pubsub":
            timeout_s = websocket.getdefaulttimeout() if timeout is None else timeout
            lost, late = websocket.WebSocketConnectionClosedException, websocket.WebSocketTimeoutException
            return SimulatedSocket(way.application, lost, late, timeout_s, way.reach)
        return real(url, timeout, *args, **kwargs)

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
