"""The HTTP application: answers each route, for every server and as a WSGI application.

Source: docs/protocol/a-foundation.md 1.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Final

import msgspec

from colonysim.core.engine import refused
from colonysim.core.errors import Refusal
from colonysim.http.http1 import PLAIN, REASONS, BadRequest, Headers, HttpRequest, Reply, first_of
from colonysim.http.limits import DEFAULTS, Limits
from colonysim.kernel.pending import Lost, Pending
from colonysim.simulation.losses import loss
from colonysim.simulation.simulation import Simulation
from colonysim.web import control
from colonysim.web.access_log import CLOSED, Exchange
from colonysim.web.changes import ChangeStream
from colonysim.web.control_access import ControlAccess
from colonysim.web.endpoint import Endpoint
from colonysim.wire.codec import Incoming, Outgoing

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIEnvironment

PREFLIGHT: Final = [
    ("Access-Control-Allow-Methods", "GET,POST,PUT,PATCH,DELETE,HEAD,OPTIONS"),
    ("Access-Control-Allow-Headers", "Origin,Content-Length,Content-Type"),
    ("Access-Control-Max-Age", "43200"),
]
ROUTES: Final = {"/api": "POST", "/health": "GET", "/pubsub": "GET"}


class NoReply(Lost):
    """The server must close the connection without a reply."""


class Parked(msgspec.Struct):
    """The reply of a parked request: once `pending` is answered, `Application.finish` creates the reply."""

    pending: Pending
    incoming: Incoming
    foreign: bool
    exchange: Exchange | None = None  # for the access log, if there is one


class Application:
    """The routes of the reference, and the control API under /colonysim/.

    Servers call `respond`; any WSGI server can run it too. `outside`: requests come from other processes.
    `control_access`: which clients may use the control API, by default those on this machine.
    """

    def __init__(
        self,
        sim: Simulation,
        *,
        outside: bool = True,
        control_access: ControlAccess | None = None,
        limits: Limits = DEFAULTS,
    ) -> None:
        self.sim = sim
        self.outside = outside
        self.limits = limits
        self.endpoint = Endpoint(sim)
        self.control = control.Control(sim, control_access, limits)

    # ------------------------------------------------------------ requests
    def respond(self, request: HttpRequest) -> Reply | Parked:
        """Answer a request, or park it. Raises NoReply if the connection must be closed instead."""
        log = self.endpoint.access_log
        if log is None:
            return self._respond(request)
        exchange = log.begin(request)
        try:
            reply = self._respond(request)
        except NoReply:
            self._log_end(exchange, CLOSED)
            raise
        if isinstance(reply, Parked):
            reply.exchange = exchange
        else:
            self._log_end(exchange, reply.status)
        return reply

    def finish(self, parked: Parked) -> Reply:
        """Create the reply of a parked request that has been answered. Raises NoReply."""
        try:
            reply = self._finish(parked)
        except NoReply:
            self._log_end(parked.exchange, CLOSED)
            raise
        self._log_end(parked.exchange, reply.status)
        return reply

    def abandon(self, parked: Parked) -> None:
        """Drop a parked request whose client has disconnected."""
        self.sim.abandon(parked.pending)
        self._log_end(parked.exchange, CLOSED)

    def changes(self, request: HttpRequest) -> ChangeStream | None:
        """Return the stream of changes if a request asks for it, and may; None otherwise: `respond` says why not."""
        stream = self.control.stream(request)
        if stream is not None and (log := self.endpoint.access_log) is not None:
            log.end(log.begin(request), 200)
        return stream

    def refuse(self, bad: BadRequest, remote: str) -> bytes:
        """Return the last reply to a client that sent no proper request."""
        if (log := self.endpoint.access_log) is not None:
            log.refused(bad, remote)
        return bad.reply()

    def _log_end(self, exchange: Exchange | None, status: int | str) -> None:
        log = self.endpoint.access_log
        if log is not None and exchange is not None:
            log.end(exchange, status)

    def _respond(self, request: HttpRequest) -> Reply | Parked:
        path, method = request.path, request.method
        if is_control(path):
            return self.control.reply(request)
        if redirect := _redirect(path, method, request.query):
            return redirect
        foreign = _is_foreign(request.headers)
        if foreign and method == "OPTIONS":
            return Reply(204, b"", [("Access-Control-Allow-Origin", "*"), *PREFLIGHT])
        reply = self._route(request)
        if isinstance(reply, Parked):
            reply.foreign = foreign
        elif foreign:
            reply.headers.append(("Access-Control-Allow-Origin", "*"))
        return reply

    def _finish(self, parked: Parked) -> Reply:
        outgoing = self.endpoint.finish(parked.pending, parked.incoming)
        if outgoing is None:
            raise NoReply(loss(parked.pending.call))
        reply = _as_reply(outgoing)
        if parked.foreign:
            reply.headers.append(("Access-Control-Allow-Origin", "*"))
        return reply

    def _route(self, request: HttpRequest) -> Reply | Parked:
        path = request.path
        if ROUTES.get(path) != request.method:
            return Reply(404, b"404 page not found", [("Content-Type", "text/plain")])
        if path == "/health":
            return Reply(200, b"", [("Content-Type", PLAIN)])
        if path == "/pubsub":
            headers = [("Content-Type", PLAIN), ("Sec-Websocket-Version", "13"), ("X-Content-Type-Options", "nosniff")]
            return Reply(400, b"Bad Request\n", headers)
        if request.problem:
            return _as_reply(self.endpoint.codec.write(refused(0, Refusal(400, request.problem))))
        begun = self.endpoint.begin(request.body, outside=self.outside)
        if isinstance(begun, Outgoing):
            return _as_reply(begun)
        parked = Parked(*begun, False)
        request.about = parked.pending.call
        return parked if parked.pending.answer is None else self._finish(parked)

    # ------------------------------------------------------------ as WSGI
    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        try:
            request = environ.get("colonysim.request") or request_of(environ, self.limits.body_bytes)
        except BadRequest as bad:
            start_response(f"{bad.status} {REASONS[bad.status]}", [("Content-Type", PLAIN)])
            return [bad.line.encode()]
        reply = self.respond(request)
        if isinstance(reply, Parked):
            wait: Callable[[Pending], Any] = environ.get("colonysim.wait", self.sim.wait)
            wait(reply.pending)
            reply = self.finish(reply)
        if request.method == "HEAD" and reply.body:
            reply.headers.append(("Content-Length", str(len(reply.body))))
            reply.body = b""
        start_response(f"{reply.status} {REASONS.get(reply.status, 'Unknown')}", reply.headers)
        return [reply.body] if reply.body else []


def is_control(path: str) -> bool:
    """Whether a path belongs to the control API, whose requests may block."""
    return path.startswith("/colonysim/") or path == "/colonysim"


def _as_reply(outgoing: Outgoing) -> Reply:
    return Reply(outgoing.status, outgoing.body, [("Content-Type", PLAIN)] if outgoing.body else [])


def _redirect(path: str, method: str, query: str) -> Reply | None:
    """Redirect a path with one extra trailing slash to its route, for the method of the route only."""
    if not path.endswith("/"):
        return None
    route = path[:-1]
    if ROUTES.get(route) != method:
        return None
    location = f"{route}?{query}" if query else route
    if method == "POST":
        return Reply(307, b"", [("Location", location)])
    page = f'<a href="{location}">Moved Permanently</a>.\n\n'.encode()
    return Reply(301, page, [("Content-Type", "text/html; charset=utf-8"), ("Location", location)])


def _is_foreign(headers: dict[str, str]) -> bool:
    origin = first_of(headers.get("origin", ""))
    if not origin:
        return False
    host = headers.get("host", "")
    return origin not in (f"http://{host}", f"https://{host}")


# ---------------------------------------------------------------- requests from WSGI
def request_of(environ: WSGIEnvironment, body_bytes: int = DEFAULTS.body_bytes) -> HttpRequest:
    """Read the request of a WSGI environment. Raises BadRequest if its body is longer than `body_bytes`."""
    path: str = environ.get("PATH_INFO", "")
    headers = {key[5:].replace("_", "-").lower(): value for key, value in environ.items() if key.startswith("HTTP_")}
    if kind := environ.get("CONTENT_TYPE"):
        headers["content-type"] = kind
    source = environ["wsgi.input"]
    length = body_bytes + 1 if environ.get("wsgi.input_terminated") else _length(environ)
    body = source.read(min(length, body_bytes + 1))
    if len(body) > body_bytes:
        raise BadRequest(413, f"the body is longer than the limit body_bytes={body_bytes}")
    return HttpRequest(
        environ["REQUEST_METHOD"],
        path.encode("latin-1").decode("utf-8", "replace"),
        environ.get("QUERY_STRING", ""),
        headers,
        body=body,
        remote=environ.get("REMOTE_ADDR", ""),
    )


def _length(environ: WSGIEnvironment) -> int:
    length = environ.get("CONTENT_LENGTH") or "0"
    return int(length) if length.isdecimal() else 0


__all__ = [
    "PLAIN",
    "Application",
    "Headers",
    "HttpRequest",
    "NoReply",
    "Parked",
    "Reply",
    "is_control",
    "request_of",
]  # fmt: skip
