"""The fast server: one thread and one event loop for all connections, serving the same application."""

from __future__ import annotations

import asyncio
import errno
import socket
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

from colonysim.kernel.actors import OWN_THREADS
from colonysim.web.addresses import BACKLOG
from colonysim.web.admission import Admission, Full
from colonysim.web.application import Application, NoReply, Parked, is_control
from colonysim.web.held_bytes import HeldBytes, Share
from colonysim.web.http1 import LINGER_IN_ALL_S, LINGER_S, BadRequest, HttpReader, HttpRequest, Reply, render
from colonysim.web.limits import Patience, Phase, connections_at_most
from colonysim.web.websocket import Session, is_handshake

_ACCEPTED_AT_ONCE: Final = 100
"""Connections that are taken before those that have to go for them are closed."""
_AHEAD_BYTES: Final = 1_048_576
"""How much a client may send ahead of the answer to its request; reading goes on after that."""


class _Timer:
    """Gives up when a time is over that was not called off before. To begin anew costs no timer, only to run out."""

    __slots__ = ("_give_up", "_loop", "_timer", "until")

    def __init__(self, loop: asyncio.AbstractEventLoop, give_up: Callable[[], None]) -> None:
        self._loop, self._give_up = loop, give_up
        self._timer: asyncio.TimerHandle | None = None
        self.until: float | None = None

    def last(self, until: float) -> None:
        """From now on it lasts until then."""
        self.until = until
        if self._timer is not None and until < self._timer.when():
            self.end()
            self.until = until
        if self._timer is None:
            self._timer = self._loop.call_at(until, self._look)

    def end(self) -> None:
        """All is over: let go of the timer too."""
        self.until = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look(self) -> None:
        self._timer = None
        if self.until is not None:
            if self._loop.time() < self.until:
                self._timer = self._loop.call_at(self.until, self._look)
            else:
                self._give_up()


class _Connection(asyncio.Protocol):
    """One client. Requests are served one at a time; those that come early wait in the reader."""

    def __init__(self, server: AsyncioLoop) -> None:
        self.server = server
        self.app = server.app
        self.share = Share(server.held)
        self.reader = HttpReader(server.app.limits, self.share)
        self.busy = False
        self.clogged = False
        """Whether the client leaves its replies unread: then no more of its requests are served."""
        self.refused = False
        self.half_closed = False
        self.parked: Parked | None = None
        self.session: Session | None = None
        self.transport: asyncio.Transport
        self._patience = Patience(server.app.limits)
        self._timer = _Timer(server.loop, self._give_up)
        self._linger_until = 0.0

    # ------------------------------------------------------------ the loop calls
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
        self._go_on()
        if (self.busy or self.clogged) and self.reader.waiting_bytes > self.server.ahead_bytes:
            self.transport.pause_reading()

    def eof_received(self) -> bool:
        if self.busy and self.parked is None:
            self.half_closed = True  # it still wants to hear the answer of the control API
            return True
        in_body = self.reader.phase is Phase.BODY
        if self.session is None and in_body and not self.busy and not self.refused:
            self.reader.feed(b"")
            self._go_on()
        return False

    def pause_writing(self) -> None:
        if self.session is None:
            self.clogged = True
            self._timer.last(self.server.loop.time() + self.app.limits.reply_timeout_s)

    def resume_writing(self) -> None:
        if self.clogged:
            self.clogged = False
            self._timer.until = None
            self._go_on()

    def connection_lost(self, error: Exception | None) -> None:
        self.server.connections.discard(self)
        self.server.admission.leave(self)
        self.share.close()
        self._timer.end()
        if self.parked is not None:
            self.app.sim.abandon(self.parked.pending)
        if self.session is not None:
            self.session.lost()

    # ------------------------------------------------------------ requests
    def _go_on(self) -> None:
        """Serve what has come, as far as it goes."""
        try:
            while self._can_serve():
                request = self.reader.next()
                if self.reader.to_say:
                    self.transport.write(self.reader.to_say)
                    self.reader.to_say = b""
                if request is None:
                    self.transport.resume_reading()
                    self._expect_request()
                    return
                if not self.server.admission.begin(self):
                    return  # it has been given up for another connection
                self._timer.until = None
                self._serve(request)
                if not self.busy and self.session is None:
                    self._rest()
        except BadRequest as bad:
            self._refuse(bad.reply())

    def _can_serve(self) -> bool:
        return not (self.busy or self.clogged or self.refused or self.session or self.transport.is_closing())

    def _rest(self) -> None:
        self.server.admission.rest(self)
        self._patience.renew()

    def _serve(self, request: HttpRequest) -> None:
        request.remote, request.local = self.remote, self.local
        if is_handshake(request):
            self._upgrade(request)
            return
        if is_control(request.path):
            self.busy = True
            task = asyncio.ensure_future(self._control(request))
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
        """Wait without a thread until somebody brings the answer."""

        def answered() -> None:
            if self.transport.is_closing():
                return
            self.busy, self.parked = False, None
            self._answer(request, lambda: self.app.finish(parked))
            self._rest()
            self._go_on()

        self.busy, self.parked = True, parked
        if not self.app.sim.kernel.when_answered(parked.pending, lambda: self.server.soon(answered)):
            answered()

    async def _control(self, request: HttpRequest) -> None:
        """The control API may move time and wait for what comes of it: that is for another thread."""
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
            self._rest()
            self._go_on()
            if self.half_closed and not self.busy:
                self.transport.close()

    def _upgrade(self, request: HttpRequest) -> None:
        transport, soon = self.transport, self.server.soon
        self.session = session = Session(
            self.app.endpoint,
            lambda data: soon(lambda: self._push(data)),
            lambda: soon(transport.close),
            self.app.limits,
            self.share,
        )
        session.open(request)
        data = self.reader.left_over
        self.reader.clear()
        if data:
            self._guarded(lambda: session.receive(data))

    def _push(self, data: bytes) -> None:
        """Write to a WebSocket; a client that leaves too much unread loses the connection."""
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
        """The last word on a connection; what the client is still sending is read, and goes nowhere."""
        self.refused = True
        self.transport.write(reply)
        self.transport.write_eof()
        self._linger_until = self.server.loop.time() + LINGER_IN_ALL_S
        self._linger()

    def _linger(self) -> None:
        """Read on for a moment after a refusal, until the client stops sending."""
        self._timer.last(min(self.server.loop.time() + LINGER_S, self._linger_until))

    # ------------------------------------------------------------ patience
    def _expect_request(self) -> None:
        """A head has to come within one time, the rest of one that has begun within another, and so a body."""
        self._timer.last(self._patience.deadline(self.reader, self.server.loop.time()))

    def _give_up(self) -> None:
        if self.clogged:
            self.transport.abort()
        elif not self.refused and (too_slow := self.reader.too_slow()):
            self._refuse(too_slow.reply())
        else:
            self.transport.close()


def _address(transport: asyncio.Transport, side: str) -> str:
    """The address of one side of a connection; empty where it has gone already."""
    address = transport.get_extra_info(side)
    return address[0] if address else ""


class AsyncioLoop:
    """The loop, which also moves time on behalf of all who wait outside."""

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
        self.control = ThreadPoolExecutor(thread_name_prefix=f"{OWN_THREADS}control")
        self._listeners = listeners
        self._thread = 0
        self._pump_timer: asyncio.TimerHandle | None = None
        self._stopped = asyncio.Event()

    def soon(self, do: Callable[[], object]) -> None:
        """Do something in the loop's thread, from whichever."""
        if threading.get_ident() == self._thread:
            self.loop.call_soon(do)
            return
        try:
            self.loop.call_soon_threadsafe(do)
        except RuntimeError:
            pass  # the loop has been closed meanwhile

    def set(self) -> None:
        """There is something to look at for the one who moves time."""
        self.soon(self._pump)

    def run(self) -> None:
        self._thread = threading.get_ident()
        with self.app.sim.driver.taken_over(self):
            try:
                self.loop.run_until_complete(self._serve())
            finally:
                self.loop.close()

    def close(self) -> None:
        """Give free what a loop that never ran has taken."""
        self.loop.close()

    def stop(self) -> None:
        self.soon(lambda: self._stopped.set())

    async def _serve(self) -> None:
        servers = []
        for listener in self._listeners:
            servers.append(
                await self.loop.create_server(lambda: _Connection(self), sock=listener, backlog=_ACCEPTED_AT_ONCE)
            )
            listener.listen(BACKLOG)  # the system may keep more of them waiting than are taken at once
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
        """Find a place for a new connection, or turn it away."""
        try:
            leaves = self.admission.admit(connection)
        except Full:
            why = f"all of {self.admission.limit} connections are busy; try again"
            connection.refused = True
            connection.transport.write(BadRequest(503, why).reply())
            connection.transport.close()
            return False
        if leaves is not None:
            leaves.transport.abort()
        return True

    def _failed(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """Something went wrong outside of a request. Nothing of it goes to stderr."""
        error = context.get("exception")
        if isinstance(error, OSError):
            if error.errno in (errno.EMFILE, errno.ENFILE) and (longest := self.admission.make_room()) is not None:
                longest.transport.abort()
        elif isinstance(error, BaseException):
            self.errors.append(error)

    def _pump(self) -> None:
        """Let time pass, and look again when the driver says so."""
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
