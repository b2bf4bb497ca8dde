"""The fast server: serves the application with one thread and one event loop for all connections."""

from __future__ import annotations

import asyncio
import errno
import socket
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

from colonysim.http.addresses import BACKLOG
from colonysim.http.admission import Admission, AllBusy
from colonysim.http.held_bytes import HeldBytes, Share
from colonysim.http.http1 import LINGER_IN_ALL_S, LINGER_S, BadRequest, HttpReader, HttpRequest, Reply, render
from colonysim.http.limits import Phase, ReadDeadline, connections_at_most
from colonysim.kernel.actors import OWN_THREAD_PREFIX
from colonysim.web.application import Application, NoReply, Parked, is_control
from colonysim.web.changes import TICK_S, ChangeStream
from colonysim.web.websocket import Session, is_handshake

_ACCEPTED_AT_ONCE: Final = 100
"""Connections that are accepted before those that they replace are closed."""
_AHEAD_BYTES: Final = 1_048_576
"""How much a client may send before its previous request is answered; then reading pauses."""


class _Timer:
    """Calls back after a deadline. Moving the deadline to a later time does not create a new timer."""

    __slots__ = ("_loop", "_timed_out", "_timer", "until")

    def __init__(self, loop: asyncio.AbstractEventLoop, timed_out: Callable[[], None]) -> None:
        self._loop, self._timed_out = loop, timed_out
        self._timer: asyncio.TimerHandle | None = None
        self.until: float | None = None

    def set(self, until: float) -> None:
        """Set the deadline, in seconds of the loop's clock."""
        self.until = until
        if self._timer is not None and until < self._timer.when():
            self.cancel()
            self.until = until
        if self._timer is None:
            self._timer = self._loop.call_at(until, self._check)

    def cancel(self) -> None:
        """Cancel the deadline and its timer."""
        self.until = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _check(self) -> None:
        self._timer = None
        if self.until is not None:
            if self._loop.time() < self.until:
                self._timer = self._loop.call_at(self.until, self._check)
            else:
                self._timed_out()


class _Connection(asyncio.Protocol):
    """The connection of one client. It serves one request at a time; later ones wait in the reader."""

    def __init__(self, server: AsyncioLoop) -> None:
        self.server = server
        self.app = server.app
        self.share = Share(server.held)
        self.reader = HttpReader(server.app.limits, self.share)
        self.busy = False
        self.write_blocked = False
        """Whether the client does not read its replies; meanwhile none of its requests is served."""
        self.refused = False
        self.half_closed = False
        self.streaming = False
        self.parked: Parked | None = None
        self.session: Session | None = None
        self.transport: asyncio.Transport
        self._read_deadline = ReadDeadline(server.app.limits)
        self._timer = _Timer(server.loop, self._timed_out)
        self._linger_until = 0.0

    # ------------------------------------------------------------ called by the event loop
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.remote = _address(transport, "peername")
        self.local = _address(transport, "sockname")
        if not self.server.admit(self):
            return
        self.server.connections.add(self)
        self._expect_request()

    def data_received(self, data: bytes) -> None:
        if self.refused:
            self._linger()
            return
        if self.session is not None:
            session = self.session
            self._guarded(lambda: session.receive(data))
            return
        self.reader.feed(data)
        self._serve_received()
        if (self.busy or self.write_blocked) and self.reader.waiting_bytes > self.server.ahead_bytes:
            self.transport.pause_reading()

    def eof_received(self) -> bool:
        if self.busy and self.parked is None and not self.streaming:
            self.half_closed = True  # the client still waits for the answer of the control API
            return True
        in_body = self.reader.phase is Phase.BODY
        if self.session is None and in_body and not self.busy and not self.refused:
            self.reader.feed(b"")
            self._serve_received()
        return False

    def pause_writing(self) -> None:
        if self.session is None:
            self.write_blocked = True
            self._timer.set(self.server.loop.time() + self.app.limits.reply_timeout_s)

    def resume_writing(self) -> None:
        if self.write_blocked:
            self.write_blocked = False
            self._timer.until = None
            self._serve_received()

    def connection_lost(self, error: Exception | None) -> None:
        self.server.connections.discard(self)
        self.server.admission.remove(self)
        self.share.close()
        self._timer.cancel()
        if self.parked is not None:
            self.app.abandon(self.parked)
        if self.session is not None:
            self.session.disconnected()

    # ------------------------------------------------------------ requests
    def _serve_received(self) -> None:
        """Serve the requests that have been received completely."""
        try:
            while self._can_serve():
                request = self.reader.next()
                if self.reader.interim_reply:
                    self.transport.write(self.reader.interim_reply)
                    self.reader.interim_reply = b""
                if request is None:
                    self.transport.resume_reading()
                    self._expect_request()
                    return
                if not self.server.admission.begin_request(self):
                    return  # another connection has replaced this one
                self._timer.until = None
                self._serve(request)
                if not self.busy and self.session is None:
                    self._become_idle()
        except BadRequest as bad:
            self._refuse(self.app.refuse(bad, self.remote))

    def _can_serve(self) -> bool:
        return not (self.busy or self.write_blocked or self.refused or self.session or self.transport.is_closing())

    def _become_idle(self) -> None:
        self.server.admission.end_request(self)
        self._read_deadline.restart()

    def _serve(self, request: HttpRequest) -> None:
        request.remote, request.local = self.remote, self.local
        if is_handshake(request):
            self._upgrade(request)
            return
        if is_control(request.path):
            self.busy = True
            stream = self.app.changes(request)
            self.streaming = stream is not None
            task = asyncio.ensure_future(self._control(request) if stream is None else self._send_changes(stream))
            self.server.tasks.add(task)
            task.add_done_callback(self.server.tasks.discard)
            return
        self._answer(request, lambda: self.app.respond(request))

    def _answer(self, request: HttpRequest, respond: Callable[[], Reply | Parked]) -> None:
        try:
            reply = respond()
        except NoReply:
            self.transport.abort()
            return
        except Exception as error:
            self.server.errors.append(error)
            request.keep = False
            reply = Reply(500)
        if isinstance(reply, Parked):
            self._park(request, reply)
            return
        self.transport.write(render(reply, request))
        if not request.keep:
            self.transport.close()

    def _park(self, request: HttpRequest, parked: Parked) -> None:
        """Wait for the answer without blocking a thread."""

        def answered() -> None:
            if self.transport.is_closing():
                return
            self.busy, self.parked = False, None
            self._answer(request, lambda: self.app.finish(parked))
            self._become_idle()
            self._serve_received()

        self.busy, self.parked = True, parked
        if not self.app.sim.kernel.when_answered(parked.pending, lambda: self.server.call_soon(answered)):
            answered()

    async def _control(self, request: HttpRequest) -> None:
        """Run a request of the control API in another thread, because it may move time and block."""
        loop = asyncio.get_running_loop()
        try:
            reply = await loop.run_in_executor(self.server.control, self.app.respond, request)
        except Exception as error:
            self.server.errors.append(error)
            request.keep = False
            reply = Reply(500)
        self.busy = False
        if not self.transport.is_closing():
            self._answer(request, lambda: reply)
            self._become_idle()
            self._serve_received()
            if self.half_closed and not self.busy:
                self.transport.close()

    async def _send_changes(self, stream: ChangeStream) -> None:
        """Send the stream of changes until one side closes the connection; a slow client is told of the last state."""
        loop = asyncio.get_running_loop()
        self.transport.write(stream.head)
        try:
            while not self.transport.is_closing():
                if not self.write_blocked and stream.due:
                    self.transport.write(await loop.run_in_executor(self.server.control, stream.read))
                await asyncio.sleep(TICK_S)
        except Exception as error:
            self.server.errors.append(error)
            self.transport.abort()

    def _upgrade(self, request: HttpRequest) -> None:
        transport, call_soon = self.transport, self.server.call_soon
        self.session = session = Session(
            self.app.endpoint,
            lambda data: call_soon(lambda: self._push(data)),
            lambda: call_soon(transport.close),
            self.app.limits,
            self.share,
        )
        session.open(request)
        data = self.reader.remaining
        self.reader.clear()
        if data:
            self._guarded(lambda: session.receive(data))

    def _push(self, data: bytes) -> None:
        """Write to a WebSocket; abort the connection if the client leaves too much unread."""
        self.transport.write(data)
        if self.transport.get_write_buffer_size() > self.app.limits.unread_bytes:
            self.transport.abort()

    def _guarded(self, do: Callable[[], object]) -> None:
        try:
            do()
        except ConnectionError:
            self.transport.abort()
        except Exception as error:
            self.server.errors.append(error)
            self.transport.abort()

    def _refuse(self, reply: bytes) -> None:
        """Send a last reply; discard what the client is still sending."""
        self.refused = True
        self.transport.write(reply)
        self.transport.write_eof()
        self._linger_until = self.server.loop.time() + LINGER_IN_ALL_S
        self._linger()

    def _linger(self) -> None:
        """Discard input for a short time after a refusal, until the client stops sending."""
        self._timer.set(min(self.server.loop.time() + LINGER_S, self._linger_until))

    # ------------------------------------------------------------ time-outs
    def _expect_request(self) -> None:
        """Set the deadline for the next bytes of a request."""
        self._timer.set(self._read_deadline.at(self.reader, self.server.loop.time()))

    def _timed_out(self) -> None:
        if self.write_blocked:
            self.transport.abort()
        elif not self.refused and (timeout := self.reader.timeout_reply()):
            self._refuse(self.app.refuse(timeout, self.remote))
        else:
            self.transport.close()


def _address(transport: asyncio.Transport, side: str) -> str:
    """Return the address of one side of a connection, "" if it has been closed already."""
    address = transport.get_extra_info(side)
    return address[0] if address else ""


class AsyncioLoop:
    """The event loop. It also advances virtual time for the clients in other processes."""

    def __init__(self, app: Application, listeners: list[socket.socket]) -> None:
        self.app = app
        self.loop = asyncio.new_event_loop()
        self.loop.set_exception_handler(self._failed)
        self.admission: Admission[_Connection] = Admission(connections_at_most(app.limits))
        self.held = HeldBytes(app.limits)
        self.ahead_bytes = min(_AHEAD_BYTES, self.held.own)
        self.errors: list[BaseException] = []
        self.connections: set[_Connection] = set()
        self.tasks: set[asyncio.Future[None]] = set()
        self.control = ThreadPoolExecutor(thread_name_prefix=f"{OWN_THREAD_PREFIX}control")
        self._listeners = listeners
        self._thread = 0
        self._pump_timer: asyncio.TimerHandle | None = None
        self._stopped = asyncio.Event()

    def call_soon(self, do: Callable[[], object]) -> None:
        """Call `do` in the thread of the loop, from any thread."""
        if threading.get_ident() == self._thread:
            self.loop.call_soon(do)
            return
        try:
            self.loop.call_soon_threadsafe(do)
        except RuntimeError:
            pass  # the loop has been closed meanwhile

    def set(self) -> None:
        """Wake the driver of virtual time; the driver calls it as it would `threading.Event.set`."""
        self.call_soon(self._pump)

    def run(self) -> None:
        """Serve until `stop` is called."""
        self._thread = threading.get_ident()
        with self.app.sim.driver.as_mover(self):
            try:
                self.loop.run_until_complete(self._serve())
            finally:
                self.loop.close()

    def close(self) -> None:
        """Release the resources of a loop that never ran."""
        self.loop.close()

    def stop(self) -> None:
        """Close every connection and make `run` return, from any thread."""
        self.call_soon(lambda: self._stopped.set())

    async def _serve(self) -> None:
        servers = []
        for listener in self._listeners:
            servers.append(
                await self.loop.create_server(lambda: _Connection(self), sock=listener, backlog=_ACCEPTED_AT_ONCE)
            )
            listener.listen(BACKLOG)  # the system may queue more connections than are accepted at once
        self._pump()
        await self._stopped.wait()
        for server in servers:
            server.close()
        for connection in list(self.connections):
            connection.transport.abort()
        for task in list(self.tasks):
            task.cancel()
        await asyncio.sleep(0)
        self.control.shutdown(wait=False, cancel_futures=True)

    def admit(self, connection: _Connection) -> bool:
        """Admit a new connection, or answer it with 503 if all others are busy."""
        try:
            leaves = self.admission.admit(connection)
        except AllBusy:
            why = f"all {self.admission.limit} connections are busy; try again"
            connection.refused = True
            connection.transport.write(BadRequest(503, why).reply())
            connection.transport.close()
            return False
        if leaves is not None:
            leaves.transport.abort()
        return True

    def _failed(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """Record an exception that was raised outside of a request, instead of printing it."""
        error = context.get("exception")
        if isinstance(error, OSError):
            if error.errno in (errno.EMFILE, errno.ENFILE) and (longest := self.admission.make_room()) is not None:
                longest.transport.abort()
        elif isinstance(error, BaseException):
            self.errors.append(error)

    def _pump(self) -> None:
        """Let the driver advance virtual time, and call again when it asks for that."""
        if self._pump_timer is not None:
            self._pump_timer.cancel()
            self._pump_timer = None
        try:
            wait_s = self.app.sim.driver.pump()
        except Exception as error:
            self.errors.append(error)
            return
        if wait_s is not None:
            self._pump_timer = self.loop.call_later(wait_s, self._pump)
