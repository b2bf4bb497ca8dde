"""The HTTP front: a WSGI application, and a threaded test server to run it (a-foundation 1).

The application is plain WSGI and can be mounted anywhere; what the reference does below HTTP (keep-alive,
odd request lines, who hangs up) is in the server's request handler.
"""

from __future__ import annotations

import io
import socket
import sys
import threading
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote

from werkzeug.serving import DechunkedInput, ThreadedWSGIServer, WSGIRequestHandler

from colonysim.core.engine import refused
from colonysim.core.errors import Refusal
from colonysim.fronts import control
from colonysim.fronts.endpoint import Endpoint
from colonysim.fronts.hangups import HangupWatch
from colonysim.fronts.pubsub import Session, is_handshake
from colonysim.sim.actors import OWN_THREADS
from colonysim.sim.pending import Pending
from colonysim.sim.simulation import Simulation
from colonysim.wire.codec import Outgoing

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIEnvironment

PLAIN: Final = "text/plain; charset=utf-8"
REASONS: Final = {
    200: "OK", 204: "No Content", 301: "Moved Permanently", 307: "Temporary Redirect", 400: "Bad Request",
    403: "Forbidden", 404: "Not Found", 408: "Request Timeout", 409: "Conflict", 500: "Internal Server Error",
    503: "Service Unavailable",
}  # fmt: skip
PREFLIGHT: Final = [
    ("Access-Control-Allow-Methods", "GET,POST,PUT,PATCH,DELETE,HEAD,OPTIONS"),
    ("Access-Control-Allow-Headers", "Origin,Content-Length,Content-Type"),
    ("Access-Control-Max-Age", "43200"),
]
ROUTES: Final = {"/api": "POST", "/health": "GET", "/pubsub": "GET"}
CHUNKED_FROM_BYTES: Final = 2049
IDLE_S: Final = 120.0

Headers = list[tuple[str, str]]


class HangUp(ConnectionError):
    """The connection is to be closed without a reply."""


class Reply:
    """Status, headers and body of an HTTP reply."""

    def __init__(self, status: int, body: bytes = b"", headers: Headers | None = None) -> None:
        self.status = status
        self.body = body
        self.headers = headers or []


class Application:
    """The routes of the reference, and the control API under /colonysim/, as WSGI.

    `outside`: requests come from other processes. `control_from_anywhere`: the control API answers other
    machines too.
    """

    def __init__(self, sim: Simulation, *, outside: bool = True, control_from_anywhere: bool = False) -> None:
        self.sim = sim
        self.outside = outside
        self.endpoint = Endpoint(sim)
        self.control = control.Control(sim, from_anywhere=control_from_anywhere)
        self.hangups: HangupWatch | None = None

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        reply = self._reply(environ)
        start_response(f"{reply.status} {REASONS.get(reply.status, 'Unknown')}", reply.headers)
        return [reply.body] if reply.body and environ["REQUEST_METHOD"] != "HEAD" else []

    def _reply(self, environ: WSGIEnvironment) -> Reply:
        path, method = _path_of(environ), environ["REQUEST_METHOD"]
        if path.startswith("/colonysim/") or path == "/colonysim":
            status, body, kind = self.control.answer(method, path, environ)
            return Reply(status, body, [("Content-Type", kind)])
        if redirect := _redirect(path, method, environ.get("QUERY_STRING", "")):
            return redirect
        foreign = _foreign_origin(environ)
        if foreign and method == "OPTIONS":
            return Reply(204, b"", [("Access-Control-Allow-Origin", "*"), *PREFLIGHT])
        reply = self._route(path, method, environ)
        if foreign:
            reply.headers.append(("Access-Control-Allow-Origin", "*"))
        return reply

    def _route(self, path: str, method: str, environ: WSGIEnvironment) -> Reply:
        if ROUTES.get(path) != method:
            return Reply(404, b"404 page not found", [("Content-Type", "text/plain")])
        if path == "/health":
            return Reply(200, b"", [("Content-Type", PLAIN)])
        if path == "/pubsub":
            headers = [("Content-Type", PLAIN), ("Sec-Websocket-Version", "13"), ("X-Content-Type-Options", "nosniff")]
            return Reply(400, b"Bad Request\n", headers)
        return self._api(environ)

    def _api(self, environ: WSGIEnvironment) -> Reply:
        if problem := environ.get("colonysim.body_problem"):
            return _as_reply(self.endpoint.codec.write(refused(0, Refusal(400, problem))))
        body = _body_of(environ)
        begun = self.endpoint.begin(body, outside=self.outside)
        if isinstance(begun, Outgoing):
            return _as_reply(begun)
        pending, incoming = begun
        if pending.answer is None:
            self._park(pending, environ)
        outgoing = self.endpoint.finish(pending, incoming)
        if outgoing is None:
            raise HangUp
        return _as_reply(outgoing)

    def serve_stream(self, environ: WSGIEnvironment, connection: socket.socket) -> None:
        """Speak WebSocket on a connection until one side goes."""
        Session(self.sim, self.endpoint.codec, connection, self.hangups).run(environ)

    def _park(self, pending: Pending, environ: WSGIEnvironment) -> None:
        """Wait for an answer; a client that hangs up gives its place free."""
        connection = environ.get("werkzeug.socket")
        if self.hangups is None or connection is None:
            self.sim.wait(pending)
            return
        with self.hangups.watching(connection, lambda: self.sim.abandon(pending)):
            self.sim.wait_outside(pending)


def _as_reply(outgoing: Outgoing) -> Reply:
    return Reply(outgoing.status, outgoing.body, [("Content-Type", PLAIN)] if outgoing.body else [])


def _path_of(environ: WSGIEnvironment) -> str:
    path: str = environ.get("PATH_INFO", "")
    return path.encode("latin-1").decode("utf-8", "replace")


def _body_of(environ: WSGIEnvironment) -> bytes:
    source = environ["wsgi.input"]
    length = environ.get("CONTENT_LENGTH") or "0"
    body: bytes = source.read() if environ.get("wsgi.input_terminated") else source.read(int(length))
    return body


def _redirect(path: str, method: str, query: str) -> Reply | None:
    """One slash too many behind a route leads back to it, with the route's own method only."""
    route = path[:-1]
    if not path.endswith("/") or ROUTES.get(route) != method:
        return None
    location = f"{route}?{query}" if query else route
    if method == "POST":
        return Reply(307, b"", [("Location", location)])
    page = f'<a href="{location}">Moved Permanently</a>.\n\n'.encode()
    return Reply(301, page, [("Content-Type", "text/html; charset=utf-8"), ("Location", location)])


def _foreign_origin(environ: WSGIEnvironment) -> bool:
    origin, host = environ.get("HTTP_ORIGIN"), environ.get("HTTP_HOST", "")
    return bool(origin) and origin not in (f"http://{host}", f"https://{host}")


# ---------------------------------------------------------------- the server
class _Handler(WSGIRequestHandler):
    """HTTP/1.1 with kept connections, and the reference's words for what is no HTTP."""

    protocol_version = "HTTP/1.1"
    timeout = IDLE_S
    disable_nagle_algorithm = True
    server: _Server

    def parse_request(self) -> bool:
        if not super().parse_request():
            return False
        self.path = self.requestline.split()[1]  # the base class would fold slashes
        if self.request_version >= "HTTP/1.1" and "Host" not in self.headers:
            self.send_error(400, "Bad Request: missing required Host header")
            return False
        return True

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        reason = message if message and message.startswith("Bad Request:") else None
        if code == 431:
            reason = "Request Header Fields Too Large"
        elif reason is None:
            code, reason = 400, "Bad Request"
        text = f"{code} {reason}"
        self.close_connection = True
        self.wfile.write(
            f"HTTP/1.1 {text}\r\nContent-Type: {PLAIN}\r\nConnection: close\r\n\r\n{text}".encode("latin-1")
        )

    def run_wsgi(self) -> None:
        environ = self.make_environ()
        if self.path.startswith("//"):  # no host: the path begins with two slashes
            environ["PATH_INFO"] = unquote(self.path.partition("?")[0], "latin-1")
        problem = self._read_body(environ)
        if problem:
            self.close_connection = True
            environ["colonysim.body_problem"] = problem
        try:
            if _path_of(environ) == "/pubsub" and is_handshake(environ):
                self.close_connection = True
                self.server.app.serve_stream(environ, self.connection)  # type: ignore[attr-defined]
            else:
                self._respond(environ)
        except HangUp:
            self.close_connection = True
        except OSError:
            self.close_connection = True  # the client has gone meanwhile
        except BaseException as error:
            self.close_connection = True
            self.server.report(error)
            self._send("500 Internal Server Error", [], b"")

    def _read_body(self, environ: WSGIEnvironment) -> str | None:
        """Take the whole body in; what is wrong with it, in the reference's words."""
        try:
            if environ.get("wsgi.input_terminated"):
                body = DechunkedInput(self.rfile).read()  # type: ignore[arg-type]
            else:
                length = int(environ.get("CONTENT_LENGTH") or 0)
                body = self.rfile.read(length)
                if len(body) < length:
                    return "unexpected EOF"
        except (OSError, ValueError):
            return "invalid byte in chunk length"
        environ["wsgi.input"] = io.BytesIO(body)
        environ["CONTENT_LENGTH"] = str(len(body))
        return None

    def _respond(self, environ: WSGIEnvironment) -> None:
        sent: list[Any] = []

        def start_response(status: str, headers: Headers, exc_info: Any = None) -> Callable[[bytes], object]:
            sent[:] = [status, headers]
            return lambda data: None

        body = b"".join(self.server.app(environ, start_response))
        self._send(sent[0], sent[1], body)

    def _send(self, status: str, headers: Headers, body: bytes) -> None:
        """One write for the whole reply."""
        lines = [f"HTTP/1.1 {status}", f"Date: {self.date_time_string()}"]
        lines += (f"{name}: {value}" for name, value in headers)
        bodiless = self.command == "HEAD" or status.startswith(("204", "304"))
        if len(body) >= CHUNKED_FROM_BYTES and self.request_version >= "HTTP/1.1":
            lines.append("Transfer-Encoding: chunked")
            body = b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
        elif not bodiless:
            lines.append(f"Content-Length: {len(body)}")
        if self.close_connection:
            lines.append("Connection: close")
        elif self.request_version < "HTTP/1.1":
            lines.append("Connection: keep-alive")
        head = "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n"
        self.wfile.write(head if bodiless else head + body)

    def log(self, type: str, message: str, *args: Any) -> None:
        return  # requests are in sim.calls; errors are reported to the server


class _Server(ThreadedWSGIServer):
    """A thread for each connection, and a list of connections so that all can be closed at once."""

    def __init__(self, listener: socket.socket, app: Application) -> None:
        host, port = listener.getsockname()[:2]
        super().__init__(host, port, app, _Handler, fd=listener.fileno())
        self.connections: dict[int, socket.socket] = {}
        self.errors: list[BaseException] = []

    def process_request(self, request: Any, client_address: Any) -> None:
        run = self.process_request_thread
        name = f"{OWN_THREADS}connection"
        threading.Thread(target=run, args=(request, client_address), name=name, daemon=True).start()

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        self.connections[request.fileno()] = request
        key = request.fileno()
        try:
            super().process_request_thread(request, client_address)
        finally:
            self.connections.pop(key, None)

    def report(self, error: BaseException) -> None:
        self.errors.append(error)

    def handle_error(self, request: Any, client_address: Any) -> None:
        error = sys.exc_info()[1]
        if error is not None and not isinstance(error, (OSError, HangUp)):
            self.report(error)


class WebServer:
    """A simulation on a port of this machine. Port 0 takes a free one.

    Errors: OSError that names the address where the port is taken.
    """

    def __init__(
        self,
        sim: Simulation,
        host: str = "127.0.0.1",
        port: int = 0,
        *,
        control_from_anywhere: bool = False,
    ) -> None:
        self.sim = sim
        self.app = Application(sim, control_from_anywhere=control_from_anywhere)
        self._listener = _listen(host, port)
        self.host, self.port = host, self._listener.getsockname()[1]
        self._server = _Server(self._listener, self.app)
        self._wakeup = threading.Event()
        self._stopping = False
        self._threads: list[threading.Thread] = []

    @property
    def url(self) -> str:
        host = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(self.host, self.host)
        return f"http://{host}:{self.port}"

    @property
    def errors(self) -> list[BaseException]:
        """What went wrong in the server's threads."""
        return self._server.errors

    def start(self) -> WebServer:
        """Serve in threads of its own. Errors: RuntimeError where it is running already."""
        if self._threads:
            raise RuntimeError(f"the server on {self.url} has been started already")
        self.app.hangups = HangupWatch()
        for run in (self._accept, self._drive):
            thread = threading.Thread(target=run, name=f"colonysim-{run.__name__[1:]}", daemon=True)
            thread.start()
            self._threads.append(thread)
        return self

    def stop(self) -> None:
        """Close the port and every connection."""
        self._stopping = True
        self._wakeup.set()
        for end in (self._listener, *list(self._server.connections.values())):
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass  # it was closed from the other side
        for thread in self._threads:
            thread.join()
        if self.app.hangups is not None:
            self.app.hangups.stop()
        self._server.server_close()
        self._listener.close()

    def __enter__(self) -> WebServer:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _accept(self) -> None:
        while not self._stopping:
            try:
                connection, address = self._listener.accept()
            except OSError:
                return
            self._server.process_request(connection, address)

    def _drive(self) -> None:
        """Move time on behalf of all who wait outside."""
        with self.sim.driven(self._wakeup):
            while not self._stopping:
                try:
                    wait_s = self.sim.pump()
                except Exception as error:
                    self._server.report(error)
                    wait_s = None
                self._wakeup.wait(wait_s)
                self._wakeup.clear()


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(1024)
    except OSError as error:
        listener.close()
        advice = "choose another port, or 0 for any free one"
        raise OSError(error.errno, f"cannot listen on {host}:{port}: {error.strerror}; {advice}") from None
    return listener
