"""Targets that cases are played against: a simulation in this process, or any server over HTTP."""

from __future__ import annotations

import http.client
import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final, Protocol
from urllib.parse import urlsplit

from colonysim.conformance.comparison import seconds_of
from colonysim.http.http1 import request_to
from colonysim.sdk.intercept import SimulatedSocket
from colonysim.simulation.simulation import Simulation
from colonysim.web.application import Application, Parked
from colonysim.wire.codec import Outgoing

REPLY_WITHIN_S: Final = 120.0
RECORDED_START: Final = "2026-11-28T09:00:00Z"
"""Virtual start time for recorded cases: the season of the recording. Cases with crons compare the next run without
its year (`yearly 01-01T00:00:00+01:00`); started in January, a cron for each day of January would run on 2 January."""
_PUSHED_WITHIN_S: Final = 0.3
_DELIVERED_WITHIN_S: Final = 0.15  # a message that the server does not record has arrived after this real time
_SUBSCRIBED_WITHIN_S: Final = 0.3  # no reply confirms a subscription: the cases were recorded with this pause


class TargetReply:
    """Status, text and headers (names in lower case) of an HTTP reply."""

    def __init__(self, status: int, text: str, headers: Mapping[str, str]) -> None:
        self.status = status
        self.text = text
        self.headers = {name.lower(): value for name, value in headers.items()}


class AwaitedReply(Protocol):
    """A reply that has not been received yet."""

    def wait(self, patience_s: float) -> TargetReply | None:
        """Return the reply, or None if it does not come within `patience_s` seconds of real time."""


class Socket(Protocol):
    """A connection to /pubsub."""

    def send(self, body: bytes, binary: bool) -> None:
        """Send a text or binary message."""

    def receive(self, within_s: float) -> bytes | str | None:
        """Return the next message, "" if the connection is closed, None if nothing comes within `within_s` seconds."""

    def close(self) -> None:
        """Close the connection."""


class Target(Protocol):
    """A server that cases are played against."""

    def now(self) -> float:
        """Return the server's time in seconds since 1970."""

    def sleep(self, seconds: float) -> None:
        """Let this much of the server's time pass."""

    def reset(self) -> None:
        """Restore the server's initial state, if it can."""

    def request(self, method: str, path: str, body: bytes | None, headers: Mapping[str, str]) -> TargetReply:
        """Send a request and wait for its reply."""

    def begin(self, method: str, path: str, body: bytes, headers: Mapping[str, str]) -> AwaitedReply:
        """Send a request without waiting for its reply."""

    def connect(self) -> Socket:
        """Open a WebSocket connection to /pubsub."""


# ---------------------------------------------------------------- in this process
def simulation_for_cases(timezone: str = "Europe/Stockholm") -> Simulation:
    """Create a simulation with a manual clock that starts at the time the recorded cases expect."""
    return Simulation(mode="manual", timezone=timezone, start=RECORDED_START)


class InProcess:
    """A simulation with a manual clock, called without a socket. Methods: see `Target`."""

    def __init__(self, sim: Simulation) -> None:
        self.sim = sim
        self.app = Application(sim, outside=False)

    def now(self) -> float:
        return self.sim.now_ns / 1e9

    def sleep(self, seconds: float) -> None:
        self.sim.advance(seconds, settle=False)

    def reset(self) -> None:
        self.sim.reset()

    def request(self, method: str, path: str, body: bytes | None, headers: Mapping[str, str]) -> TargetReply:
        reply = self.app.respond(request_to(method, path, headers, body or b""))
        if isinstance(reply, Parked):
            self.sim.wait(reply.pending)
            reply = self.app.finish(reply)
        content = b"" if method == "HEAD" else reply.body
        return TargetReply(reply.status, content.decode("utf-8", "replace"), dict(reply.headers))

    def begin(self, method: str, path: str, body: bytes, headers: Mapping[str, str]) -> AwaitedReply:
        begun = self.app.endpoint.begin(body, outside=False)
        return _InProcessReply(self.app, begun)

    def connect(self) -> Socket:
        return _InProcessSocket(SimulatedSocket(self.app, ConnectionError), self)


class _InProcessReply:
    def __init__(self, app: Application, begun: Any) -> None:
        self._app = app
        self._begun = begun

    def wait(self, patience_s: float) -> TargetReply | None:
        outgoing: Outgoing | None
        if isinstance(self._begun, Outgoing):
            outgoing = self._begun
        else:
            pending, incoming = self._begun
            if pending.answer is None:
                return None
            outgoing = self._app.endpoint.finish(pending, incoming)
        if outgoing is None:
            raise ConnectionError("the connection was lost")
        return TargetReply(outgoing.status, outgoing.body.decode("utf-8", "replace"), {})


class _InProcessSocket:
    def __init__(self, simulated: SimulatedSocket, target: InProcess) -> None:
        self._simulated = simulated
        self._target = target

    def send(self, body: bytes, binary: bool) -> None:
        self._simulated.send(body, 2 if binary else 1)
        self._target.sleep(_SUBSCRIBED_WITHIN_S)

    def receive(self, within_s: float) -> bytes | str | None:
        frame = self._simulated.poll()
        if frame is None:
            self._target.sleep(within_s)
            frame = self._simulated.poll()
        return frame

    def close(self) -> None:
        self._simulated.close()


# ---------------------------------------------------------------- over HTTP
class Http:
    """A server over HTTP. With `virtual` its clock is moved through the control API; otherwise its time is real.

    Methods: see `Target`. Raises ValueError if `url` is not the address of an HTTP server.
    """

    def __init__(self, url: str, virtual: bool) -> None:
        try:
            parts = urlsplit(url if "//" in url else f"//{url}")
            host, port = parts.hostname, parts.port or 80
            served = parts.scheme in ("", "http")
        except ValueError:
            host, port, served = None, 0, False
        if host is None or not served:
            raise ValueError(f"invalid server address {url!r}: write it like http://127.0.0.1:50080")
        self.host, self.port, self.virtual = host, port, virtual

    def now(self) -> float:
        if not self.virtual:
            return time.time()
        return seconds_of(json.loads(self.request("GET", "/colonysim/clock", None, {}).text)["now"])

    def sleep(self, seconds: float) -> None:
        if not self.virtual:
            time.sleep(seconds)
            return
        self._control("/colonysim/clock/advance", {"seconds": seconds})

    def reset(self) -> None:
        if self.virtual:
            self._control("/colonysim/reset", {})

    def _control(self, path: str, body: dict[str, Any]) -> None:
        reply = self.request("POST", path, json.dumps(body).encode(), {"Content-Type": "application/json"})
        if reply.status != 200:
            raise RuntimeError(f"{path} answered {reply.status}: {reply.text}")

    def request(self, method: str, path: str, body: bytes | None, headers: Mapping[str, str]) -> TargetReply:
        connection = http.client.HTTPConnection(self.host, self.port, timeout=REPLY_WITHIN_S)
        chunked = headers.get("Transfer-Encoding") == "chunked"
        try:
            content = iter([body]) if chunked and body is not None else body
            connection.request(method, path, content, dict(headers), encode_chunked=chunked)
            reply = connection.getresponse()
            return TargetReply(reply.status, reply.read().decode("utf-8", "replace"), dict(reply.headers))
        finally:
            connection.close()

    def begin(self, method: str, path: str, body: bytes, headers: Mapping[str, str]) -> AwaitedReply:
        with self.delivered():
            return _BackgroundRequest(lambda: self.request(method, path, body, headers))

    @contextmanager
    def delivered(self) -> Iterator[None]:
        """Wait at the end of the block until the server has received what the block sent."""
        if not self.virtual:
            yield
            time.sleep(_DELIVERED_WITHIN_S)
            return
        before = self._calls()
        yield
        deadline = time.monotonic() + _DELIVERED_WITHIN_S
        while self._calls() == before and time.monotonic() < deadline:
            time.sleep(0.001)

    def _calls(self) -> int:
        """Return the number of the last request that the server received."""
        calls = json.loads(self.request("GET", "/colonysim/calls?limit=1", None, {}).text)
        return calls[0]["number"] if calls else 0

    def connect(self) -> Socket:
        return _HttpSocket(self)


class _BackgroundRequest:
    def __init__(self, ask: Callable[[], TargetReply]) -> None:
        self._replies: list[TargetReply] = []
        self._thread = threading.Thread(target=lambda: self._replies.append(ask()), daemon=True)
        self._thread.start()

    def wait(self, patience_s: float) -> TargetReply | None:
        self._thread.join(patience_s)
        return self._replies[0] if self._replies else None


class _HttpSocket:
    def __init__(self, target: Http) -> None:
        import websocket

        self._errors = websocket
        self._target = target
        self._socket = websocket.create_connection(f"ws://{target.host}:{target.port}/pubsub", timeout=10)

    def send(self, body: bytes, binary: bool) -> None:
        try:
            with self._target.delivered():
                self._socket.send(body if binary else body.decode(), 2 if binary else 1)
        except (self._errors.WebSocketException, OSError):
            return  # the server closed the connection: the next receive() reports it
        self._target.sleep(_SUBSCRIBED_WITHIN_S)

    def receive(self, within_s: float) -> bytes | str | None:
        try:
            if not self._target.virtual:
                return self._receive(within_s)
            self._target.now()  # the server answers this after it has pushed the events of earlier requests
            frame = self._receive(_PUSHED_WITHIN_S)
            if frame is None:
                self._target.sleep(within_s)
                frame = self._receive(_PUSHED_WITHIN_S)
        except (self._errors.WebSocketConnectionClosedException, ConnectionError):
            return ""
        return frame

    def _receive(self, patience_s: float) -> bytes | str | None:
        self._socket.settimeout(patience_s)
        try:
            frame: bytes | str = self._socket.recv()
        except self._errors.WebSocketTimeoutException:
            return None
        return frame

    def close(self) -> None:
        self._socket.close()
