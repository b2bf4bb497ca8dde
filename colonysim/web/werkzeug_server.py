"""The default server: werkzeug's, which runs the WSGI application with a thread for each connection."""

from __future__ import annotations

import errno
import io
import queue
import selectors
import socket
import sys
import threading
import time
from collections.abc import Callable
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any, Final

from colonysim.extras import needed_for
from colonysim.http.admission import Admission, AllBusy
from colonysim.http.disconnects import DisconnectWatch
from colonysim.http.held_bytes import HeldBytes, Share
from colonysim.http.http1 import LINGER_IN_ALL_S, LINGER_S, BadRequest, Headers, HttpReader, HttpRequest, Reply, render
from colonysim.http.limits import Phase, ReadDeadline, connections_at_most
from colonysim.kernel.actors import OWN_THREAD_PREFIX
from colonysim.kernel.pending import Pending
from colonysim.web.application import Application, NoReply
from colonysim.web.changes import TICK_S, ChangeStream
from colonysim.web.websocket import Session, is_handshake

with needed_for("a web server with threads"):
    from werkzeug.serving import ThreadedWSGIServer, WSGIRequestHandler

if TYPE_CHECKING:
    from wsgiref.types import WSGIEnvironment

READ_BYTES = 65_536

_CLOSE_TIMEOUT_S: Final = 0.5
"""How long to wait for the threads of closed connections."""
_ACCEPT_RETRY_S: Final = 0.05
_OUT_OF_RESOURCES: Final = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}


class _Handler(WSGIRequestHandler):
    """Parses requests as the reference (Go's net/http) does, instead of as the standard library does."""

    server: _Server

    def setup(self) -> None:
        super().setup()
        self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, True)
        self.local = self.connection.getsockname()[0]
        self.limits = self.server.application.limits
        self.share = Share(self.server.held)
        self.reader = HttpReader(self.limits, self.share)
        self.read_deadline = ReadDeadline(self.limits)

    def finish(self) -> None:
        """Release what the connection held."""
        self.share.close()
        super().finish()

    def handle(self) -> None:
        """Serve the requests of the connection, in order."""
        admission = self.server.admission
        try:
            while (request := self._next_request()) and admission.begin_request(self.connection):
                request.remote, request.local = self.client_address[0], self.local
                if is_handshake(request):
                    self.connection.settimeout(None)
                    data = self.reader.remaining
                    self.reader.clear()
                    _Stream(self.server, self.connection, self.share).run(request, data)
                    return
                if (stream := self.server.application.changes(request)) is not None:
                    self._send_changes(stream)
                    return
                if not self._serve(request):
                    return
                admission.end_request(self.connection)
                self.read_deadline.restart()
        except BadRequest as bad:
            self._refuse(self.server.application.refuse(bad, self.client_address[0]))
        except (OSError, NoReply):
            pass  # the client has disconnected, or a fault drops the connection

    def _send(self, data: bytes) -> None:
        """Send data. Raises OSError if the client does not read it in time."""
        self.connection.settimeout(self.limits.reply_timeout_s)
        self.connection.sendall(data)

    def _refuse(self, reply: bytes) -> None:
        """Send a last reply; discard what the client is still sending."""
        until = time.monotonic() + LINGER_IN_ALL_S
        try:
            self._send(reply)
            self.connection.shutdown(socket.SHUT_WR)
            self.connection.settimeout(LINGER_S)
            while time.monotonic() < until and self.connection.recv(READ_BYTES):
                pass
        except OSError:
            pass  # the client has disconnected or timed out

    def _next_request(self) -> HttpRequest | None:
        """Return the next request, or None if the client has closed the connection or timed out."""
        reader = self.reader
        while (request := reader.next()) is None:
            self._send_interim_reply()
            now = time.monotonic()
            left_s = self.read_deadline.at(reader, now) - now
            try:
                self.connection.settimeout(max(left_s, 0.001))
                data = self.connection.recv(READ_BYTES) if left_s > 0 else None
            except TimeoutError:
                data = None
            if data is None:
                if timeout := reader.timeout_reply():
                    raise timeout
                return None
            reader.feed(data)
            if not data and reader.phase is not Phase.BODY:
                return None
        self._send_interim_reply()
        return request

    def _send_interim_reply(self) -> None:
        """Send the interim reply that the client waits for before it sends a body."""
        if self.reader.interim_reply:
            self._send(self.reader.interim_reply)
            self.reader.interim_reply = b""

    def _send_changes(self, stream: ChangeStream) -> None:
        """Send the stream of changes until one side closes the connection. Raises OSError if the client reads none."""
        self._send(stream.head)
        while True:
            if stream.due:
                self._send(stream.read())
            self.connection.settimeout(TICK_S)
            try:
                if not self.connection.recv(READ_BYTES):
                    return
            except TimeoutError:
                pass  # the client has nothing to say, as expected

    def _serve(self, request: HttpRequest) -> bool:
        """Answer a request. Returns whether the connection stays open."""
        sent: list[Any] = []

        def start_response(status: str, headers: Headers, exc_info: Any = None) -> Callable[[bytes], object]:
            sent[:] = [int(status.split()[0]), headers]
            return lambda data: None

        try:
            body = b"".join(self.server.app(self._environ(request), start_response))
        except NoReply:
            raise
        except BaseException as error:
            self.server.errors.append(error)
            request.keep = False
            sent, body = [500, []], b""
        self._send(render(Reply(sent[0], body, sent[1]), request))
        return request.keep

    def _environ(self, request: HttpRequest) -> WSGIEnvironment:
        """Create the WSGI environment of a request."""
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
            "colonysim.request": request,
        }
        for name, value in request.headers.items():
            environ[f"HTTP_{name.upper().replace('-', '_')}"] = value
        return environ

    def _wait(self, pending: Pending) -> None:
        """Wait for an answer; abandon the request if the client disconnects."""
        sim = self.server.application.sim
        with self.server.watching(self.connection, lambda: sim.abandon(pending)):
            pending.wait_outside()


class _Stream:
    """A WebSocket on two threads, one to read and one to write, because pushes must not block."""

    def __init__(self, server: _Server, connection: socket.socket, share: Share) -> None:
        self.connection = connection
        self._out: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._limits = server.application.limits
        self._unread_bytes = 0
        self._lock = threading.Lock()  # for the number above
        self.session = Session(server.application.endpoint, self._put, lambda: self._out.put(None), self._limits, share)

    def run(self, request: HttpRequest, data: bytes) -> None:
        """Run the session until one side closes it."""
        writer = threading.Thread(target=self._write, name=f"{OWN_THREAD_PREFIX}pushes", daemon=True)
        writer.start()
        try:
            self.session.open(request)
            if data:
                self.session.receive(data)
            while not self.session.closed and (data := self.connection.recv(READ_BYTES)):
                self.session.receive(data)
        except OSError:
            pass  # the connection ends without a close frame, as in the reference
        finally:
            self.session.disconnected()
            self._out.put(None)
            writer.join(self._limits.reply_timeout_s)
            _close(self.connection)  # if the client has not read everything
            writer.join()

    def _put(self, data: bytes) -> None:
        """Pass data to the writing thread; close the connection if the client leaves too much unread."""
        if self._count(len(data)) > self._limits.unread_bytes:
            _close(self.connection)
        else:
            self._out.put(data)

    def _count(self, size: int) -> int:
        with self._lock:
            self._unread_bytes += size
            return self._unread_bytes

    def _write(self) -> None:
        try:
            while (data := self._out.get()) is not None:
                self.connection.sendall(data)
                self._count(-len(data))
            self.connection.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass  # the client has disconnected


def _close(connection: socket.socket) -> None:
    """Close a connection that another thread may be using; that thread then sees its end."""
    try:
        connection.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass  # the client has closed it


class _Server(ThreadedWSGIServer):
    """A server with a thread for each connection, which can close all connections at once."""

    def __init__(self, listener: socket.socket, app: Application) -> None:
        host, port = listener.getsockname()[:2]
        super().__init__(host, port, app, _Handler, fd=listener.fileno())
        self.application = app
        self.threads: dict[socket.socket, threading.Thread] = {}
        self.admission: Admission[socket.socket] = Admission(connections_at_most(app.limits))
        self.held = HeldBytes(app.limits)
        self.errors: list[BaseException] = []
        self.watch: DisconnectWatch | None = None

    def watching(self, connection: socket.socket, gone: Callable[[], None]) -> Any:
        return self.watch.watching(connection, gone) if self.watch else nullcontext()

    def process_request(self, request: Any, client_address: Any) -> None:
        """Serve a new connection in a thread; it replaces another one if there are too many."""
        try:
            self._close_and_join(self.admission.admit(request))
            thread = threading.Thread(
                target=self._handle_connection,
                args=(request, client_address),
                name=f"{OWN_THREAD_PREFIX}connection",
                daemon=True,
            )
            self.threads[request] = thread
            thread.start()
        except AllBusy:
            self._reject(request, f"all {self.admission.limit} connections are busy; try again")
        except RuntimeError:  # the operating system refuses another thread
            self.threads.pop(request, None)
            self.admission.remove(request)
            self._reject(request, "no thread is left for another connection; try again")

    def make_room(self) -> bool:
        """Close the connection that has waited longest for a request. Returns False if there is none."""
        longest = self.admission.make_room()
        self._close_and_join(longest)
        return longest is not None

    def _close_and_join(self, connection: socket.socket | None) -> None:
        if connection is None:
            return
        _close(connection)
        if thread := self.threads.get(connection):
            thread.join(_CLOSE_TIMEOUT_S)  # so that there are never more threads than connections

    def _reject(self, connection: socket.socket, why: str) -> None:
        """Refuse a new connection with a reason, without waiting for the client."""
        try:
            connection.setblocking(False)
            connection.send(BadRequest(503, why).reply())
            connection.shutdown(socket.SHUT_WR)
            connection.recv(READ_BYTES)  # closing with unread bytes would lose the reply
        except OSError:
            pass  # the client has sent nothing yet, or has disconnected
        connection.close()

    def _handle_connection(self, request: Any, client_address: Any) -> None:
        try:
            self.process_request_thread(request, client_address)
        finally:
            self.admission.remove(request)
            self.threads.pop(request, None)

    def hang_up(self) -> None:
        """Close all connections."""
        for connection in list(self.threads):
            _close(connection)

    def handle_error(self, request: Any, client_address: Any) -> None:
        error = sys.exc_info()[1]
        if error is not None and not isinstance(error, OSError):
            self.errors.append(error)


class ThreadedLoop:
    """Accepts connections, and advances virtual time for the clients in other processes."""

    def __init__(self, app: Application, listeners: list[socket.socket]) -> None:
        self.app = app
        self._listeners = listeners
        self._server = _Server(listeners[0], app)
        self.errors = self._server.errors
        self._wakeup = threading.Event()
        self._waker, self._woken = socket.socketpair()  # ends the wait for connections
        self._stopping = False

    def run(self) -> None:
        """Serve until `stop` is called."""
        self._server.watch = DisconnectWatch()
        driver = threading.Thread(target=self._drive, name=f"{OWN_THREAD_PREFIX}driver", daemon=True)
        driver.start()
        with selectors.DefaultSelector() as selector:
            selector.register(self._woken, selectors.EVENT_READ)
            for listener in self._listeners:
                listener.setblocking(False)
                selector.register(listener, selectors.EVENT_READ, listener)
            while not self._stopping:
                for key, _ in selector.select():
                    if key.data is not None:
                        self._accept(key.data)
        driver.join()
        self._server.hang_up()  # including those accepted while `stop` closed the others
        self._server.watch.stop()
        until = time.monotonic() + _CLOSE_TIMEOUT_S
        for thread in list(self._server.threads.values()):
            thread.join(max(until - time.monotonic(), 0))
        self.close()

    def _accept(self, listener: socket.socket) -> None:
        try:
            connection, address = listener.accept()
        except OSError as error:
            if error.errno in _OUT_OF_RESOURCES and not self._server.make_room():
                time.sleep(_ACCEPT_RETRY_S)  # other parts of the process hold the files: wait until they close some
            return
        connection.setblocking(True)
        self._server.process_request(connection, address)

    def close(self) -> None:
        """Release the resources of a loop that never ran."""
        self._server.server_close()
        self._waker.close()
        self._woken.close()

    def stop(self) -> None:
        """Close every connection and make `run` return, from any thread."""
        self._stopping = True
        self._wakeup.set()
        try:
            self._waker.send(b"x")
        except OSError:
            pass  # a connection woke `run` first, and it has ended
        self._server.hang_up()

    def _drive(self) -> None:
        driver = self.app.sim.driver
        with driver.as_mover(self._wakeup):
            while not self._stopping:
                try:
                    wait_s = driver.pump()
                except Exception as error:
                    self.errors.append(error)
                    wait_s = None
                self._wakeup.wait(wait_s)
                self._wakeup.clear()
