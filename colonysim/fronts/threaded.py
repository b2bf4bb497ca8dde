"""The server that users know: werkzeug's, with a thread for each connection, running the WSGI application."""

from __future__ import annotations

import io
import queue
import socket
import sys
import threading
import time
from collections.abc import Callable
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any, Final

from werkzeug.serving import ThreadedWSGIServer, WSGIRequestHandler

from colonysim.fronts.hangups import HangupWatch
from colonysim.fronts.http1 import (
    HEADER_TIMEOUT_S,
    IDLE_TIMEOUT_S,
    LINGER_S,
    BadRequest,
    Headers,
    HttpReader,
    HttpRequest,
    Reply,
    render,
)
from colonysim.fronts.pubsub import Session, is_handshake
from colonysim.fronts.web import Application, HangUp
from colonysim.sim.actors import OWN_THREADS
from colonysim.sim.pending import Pending

if TYPE_CHECKING:
    from wsgiref.types import WSGIEnvironment

READ_BYTES = 65_536


_CLOSING_S: Final = 0.5
_ACCEPT_AGAIN_S: Final = 0.05
"""How long the threads of connections that have been closed are waited for."""


class _Handler(WSGIRequestHandler):
    """Reads requests with the reference's ear for HTTP instead of the standard library's."""

    server: _Server

    def setup(self) -> None:
        super().setup()
        self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, True)
        self.reader = HttpReader()

    def handle(self) -> None:
        """All requests of the connection, in order."""
        try:
            while request := self._next_request():
                request.remote = self.client_address[0]
                if is_handshake(request):
                    _Stream(self.server, self.connection).run(request, self.reader.left_over)
                    return
                if not self._serve(request):
                    return
        except BadRequest as bad:
            self._refuse(bad.reply())
        except (OSError, HangUp):
            pass  # the client has gone meanwhile, or is to think that we have

    def _refuse(self, reply: bytes) -> None:
        """The last word on a connection; what the client is still sending is read, and goes nowhere."""
        until = time.monotonic() + LINGER_S
        try:
            self.connection.sendall(reply)
            self.connection.shutdown(socket.SHUT_WR)
            while (left_s := until - time.monotonic()) > 0:
                self.connection.settimeout(left_s)
                if not self.connection.recv(READ_BYTES):
                    return
        except OSError:
            pass  # it has stopped by itself, or never does

    def _next_request(self) -> HttpRequest | None:
        """The next request, or None where the client has said all it will in the time it has for it."""
        reader, head_since = self.reader, time.monotonic()
        begun = False
        while (request := reader.next()) is None:
            if reader.to_say:
                self.connection.sendall(reader.to_say)
                reader.to_say = b""
            if reader.in_head and not begun:
                begun, head_since = True, time.monotonic()
            if reader.in_body:
                self.connection.settimeout(None)
            elif begun:
                self.connection.settimeout(max(head_since + HEADER_TIMEOUT_S - time.monotonic(), 0.001))
            else:
                self.connection.settimeout(IDLE_TIMEOUT_S)
            data = self.connection.recv(READ_BYTES)
            reader.feed(data)
            if not data and not reader.in_body:
                return None
        self.connection.settimeout(None)
        if reader.to_say:
            self.connection.sendall(reader.to_say)
            reader.to_say = b""
        return request

    def _serve(self, request: HttpRequest) -> bool:
        """Answer a request; whether the connection is kept."""
        sent: list[Any] = []

        def start_response(status: str, headers: Headers, exc_info: Any = None) -> Callable[[bytes], object]:
            sent[:] = [int(status.split()[0]), headers]
            return lambda data: None

        try:
            body = b"".join(self.server.app(self._environ(request), start_response))
        except HangUp:
            raise
        except BaseException as error:
            self.server.errors.append(error)
            request.keep = False
            sent, body = [500, []], b""
        self.connection.sendall(render(Reply(sent[0], body, sent[1]), request))
        return request.keep

    def _environ(self, request: HttpRequest) -> WSGIEnvironment:
        """The request as WSGI has it."""
        environ: dict[str, Any] = {
            "REQUEST_METHOD": request.method,
            "SCRIPT_NAME": "",
            "PATH_INFO": request.path.encode("utf-8", "replace").decode("latin-1"),
            "QUERY_STRING": request.query,
            "SERVER_NAME": self.server.server_address[0],
            "SERVER_PORT": str(self.server.server_address[1]),
            "SERVER_PROTOCOL": f"HTTP/1.{request.minor}",
            "REMOTE_ADDR": request.remote,
            "CONTENT_LENGTH": str(len(request.body)),
            "CONTENT_TYPE": request.headers.get("content-type", ""),
            "wsgi.version": (1, 0),
            "wsgi.url_scheme": "http",
            "wsgi.input": io.BytesIO(request.body),
            "wsgi.errors": sys.stderr,
            "wsgi.multithread": True,
            "wsgi.multiprocess": False,
            "wsgi.run_once": False,
            "werkzeug.socket": self.connection,
            "colonysim.wait": self._wait,
            "colonysim.body_problem": request.problem,
        }
        for name, value in request.headers.items():
            environ[f"HTTP_{name.upper().replace('-', '_')}"] = value
        return environ

    def _wait(self, pending: Pending) -> None:
        """Wait for an answer; a client that hangs up gives its place free."""
        sim = self.server.application.sim
        with self.server.watching(self.connection, lambda: sim.abandon(pending)):
            sim.wait_outside(pending)


class _Stream:
    """A WebSocket on a thread: reads in this one, writes in another, for pushes must not wait."""

    def __init__(self, server: _Server, connection: socket.socket) -> None:
        self.connection = connection
        self._out: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self.session = Session(server.application.endpoint, self._out.put, lambda: self._out.put(None))

    def run(self, request: HttpRequest, data: bytes) -> None:
        """Speak until one side goes."""
        writer = threading.Thread(target=self._write, name=f"{OWN_THREADS}pushes", daemon=True)
        writer.start()
        try:
            self.session.open(request)
            if data:
                self.session.receive(data)
            while not self.session.closed and (data := self.connection.recv(READ_BYTES)):
                self.session.receive(data)
        except OSError:
            pass  # the connection ends without a word, as the reference's does
        finally:
            self.session.lost()
            self._out.put(None)
            writer.join()

    def _write(self) -> None:
        try:
            while (data := self._out.get()) is not None:
                self.connection.sendall(data)
            self.connection.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass  # nobody is there any more


class _Server(ThreadedWSGIServer):
    """A thread for each connection, and a list of connections so that all can be closed at once."""

    def __init__(self, listener: socket.socket, app: Application) -> None:
        host, port = listener.getsockname()[:2]
        super().__init__(host, port, app, _Handler, fd=listener.fileno())
        self.application = app
        self.connections: dict[int, socket.socket] = {}
        self.threads: dict[int, threading.Thread] = {}
        self.errors: list[BaseException] = []
        self.watch: HangupWatch | None = None

    def watching(self, connection: socket.socket, gone: Callable[[], None]) -> Any:
        return self.watch.watching(connection, gone) if self.watch else nullcontext()

    def process_request(self, request: Any, client_address: Any) -> None:
        key, name = request.fileno(), f"{OWN_THREADS}connection"
        thread = threading.Thread(target=self._converse, args=(key, request, client_address), name=name, daemon=True)
        self.connections[key], self.threads[key] = request, thread
        thread.start()

    def _converse(self, key: int, request: Any, client_address: Any) -> None:
        try:
            self.process_request_thread(request, client_address)
        finally:
            if self.threads.get(key) is threading.current_thread():
                self.connections.pop(key, None)
                self.threads.pop(key, None)

    def hang_up(self) -> None:
        """Close all connections, from this side."""
        for connection in list(self.connections.values()):
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass  # it was closed from the other side

    def handle_error(self, request: Any, client_address: Any) -> None:
        error = sys.exc_info()[1]
        if error is not None and not isinstance(error, OSError):
            self.errors.append(error)


class ThreadedLoop:
    """Takes connections, and moves time on behalf of all who wait outside."""

    def __init__(self, app: Application, listener: socket.socket) -> None:
        self.app = app
        self._listener = listener
        self._server = _Server(listener, app)
        self.errors = self._server.errors
        self._wakeup = threading.Event()
        self._stopping = False

    def run(self) -> None:
        self._server.watch = HangupWatch()
        driver = threading.Thread(target=self._drive, name=f"{OWN_THREADS}driver", daemon=True)
        driver.start()
        while not self._stopping:
            try:
                connection, address = self._listener.accept()
            except OSError as error:
                if self._stopping or self._listener.fileno() < 0:
                    break
                self.errors.append(error)  # such as too many open files: that passes
                time.sleep(_ACCEPT_AGAIN_S)
                continue
            self._server.process_request(connection, address)
        driver.join()
        self._server.hang_up()  # also what has come while `stop` did so
        self._server.watch.stop()
        until = time.monotonic() + _CLOSING_S
        for thread in list(self._server.threads.values()):
            thread.join(max(until - time.monotonic(), 0))
        self._server.server_close()

    def close(self) -> None:
        """Give free what a loop that never ran has taken."""
        self._server.server_close()

    def stop(self) -> None:
        self._stopping = True
        self._wakeup.set()
        try:
            self._listener.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass  # it is closed
        self._server.hang_up()

    def _drive(self) -> None:
        driver = self.app.sim.driver
        with driver.taken_over(self._wakeup):
            while not self._stopping:
                try:
                    wait_s = driver.pump()
                except Exception as error:
                    self.errors.append(error)
                    wait_s = None
                self._wakeup.wait(wait_s)
                self._wakeup.clear()
