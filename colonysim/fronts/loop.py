"""The fast server: one thread and one event loop for all connections, serving the same application."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from colonysim.fronts.http1 import (
    HEADER_TIMEOUT_S,
    IDLE_TIMEOUT_S,
    LINGER_S,
    BadRequest,
    HttpReader,
    HttpRequest,
    Reply,
    render,
)
from colonysim.fronts.pubsub import Session, is_handshake
from colonysim.fronts.web import Application, HangUp, Parked, is_control
from colonysim.sim.actors import OWN_THREADS


class _Patience:
    """Gives up when a time is over that was not called off before. To begin anew costs no timer, only to run out."""

    __slots__ = ("_give_up", "_loop", "_timer", "until")

    def __init__(self, loop: asyncio.AbstractEventLoop, give_up: Callable[[], None]) -> None:
        self._loop, self._give_up = loop, give_up
        self._timer: asyncio.TimerHandle | None = None
        self.until: float | None = None

    def last(self, seconds: float) -> None:
        """From now on it lasts so long."""
        self.until = until = self._loop.time() + seconds
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
        self.reader = HttpReader()
        self.busy = False
        self.refused = False
        self.half_closed = False
        self.parked: Parked | None = None
        self.session: Session | None = None
        self.transport: asyncio.Transport
        self._patience = _Patience(server.loop, self._give_up)
        self._patience_is_for_head = False

    # ------------------------------------------------------------ the loop calls
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.remote: str = transport.get_extra_info("peername")[0]
        self.server.connections.add(self)
        self._expect_request()

    def data_received(self, data: bytes) -> None:
        if self.refused:
            return
        if self.session is not None:
            session = self.session
            self._guarded(lambda: session.receive(data))
            return
        self.reader.feed(data)
        self._go_on()

    def eof_received(self) -> bool:
        if self.busy and self.parked is None:
            self.half_closed = True  # it still wants to hear the answer of the control API
            return True
        if self.session is None and self.reader.in_body and not self.busy and not self.refused:
            self.reader.feed(b"")
            self._go_on()
        return False

    def connection_lost(self, error: Exception | None) -> None:
        self.server.connections.discard(self)
        self._patience.end()
        if self.parked is not None:
            self.app.sim.abandon(self.parked.pending)
        if self.session is not None:
            self.session.lost()

    # ------------------------------------------------------------ requests
    def _go_on(self) -> None:
        """Serve what has come, as far as it goes."""
        try:
            while not self.busy and self.session is None and not self.transport.is_closing():
                request = self.reader.next()
                if self.reader.to_say:
                    self.transport.write(self.reader.to_say)
                    self.reader.to_say = b""
                if request is None:
                    self._expect_request()
                    return
                self._patience.until = None
                self._serve(request)
        except BadRequest as bad:
            self._refuse(bad.reply())

    def _serve(self, request: HttpRequest) -> None:
        request.remote = self.remote
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
        except HangUp:
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
            self._go_on()

        self.busy, self.parked = True, parked
        if not self.app.sim.when_answered(parked.pending, lambda: self.server.soon(answered)):
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
            self._go_on()
            if self.half_closed and not self.busy:
                self.transport.close()

    def _upgrade(self, request: HttpRequest) -> None:
        transport, soon = self.transport, self.server.soon
        self.session = session = Session(
            self.app.endpoint, lambda data: soon(lambda: transport.write(data)), lambda: soon(transport.close)
        )
        session.open(request)
        if data := self.reader.left_over:
            self._guarded(lambda: session.receive(data))

    def _guarded(self, do: Callable[[], object]) -> None:
        try:
            do()
        except Exception as error:
            self.server.errors.append(error)
            self.transport.abort()

    def _refuse(self, reply: bytes) -> None:
        """The last word on a connection; what the client is still sending is read, and goes nowhere."""
        self._patience.until = None
        self.refused = True
        self.transport.write(reply)
        self.transport.write_eof()
        self._patience.last(LINGER_S)

    # ------------------------------------------------------------ patience
    def _expect_request(self) -> None:
        """A head has to come within one time, the rest of one that has begun within another."""
        if self.reader.in_body:
            self._patience.until = None
            return
        if self._patience.until is None or self._patience_is_for_head is not self.reader.in_head:
            self._patience_is_for_head = self.reader.in_head
            self._patience.last(HEADER_TIMEOUT_S if self.reader.in_head else IDLE_TIMEOUT_S)

    def _give_up(self) -> None:
        self.transport.close()


class AsyncioLoop:
    """The loop, which also moves time on behalf of all who wait outside."""

    def __init__(self, app: Application, listener: socket.socket) -> None:
        self.app = app
        self.loop = asyncio.new_event_loop()
        self.errors: list[BaseException] = []
        self.connections: set[_Connection] = set()
        self.tasks: set[asyncio.Future[None]] = set()
        self.control = ThreadPoolExecutor(thread_name_prefix=f"{OWN_THREADS}control")
        self._listener = listener
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
        server = await self.loop.create_server(lambda: _Connection(self), sock=self._listener, backlog=1024)
        self._pump()
        await self._stopped.wait()
        server.close()
        for connection in list(self.connections):
            connection.transport.abort()
        for task in list(self.tasks):
            task.cancel()
        await asyncio.sleep(0)
        self.control.shutdown(wait=False, cancel_futures=True)

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
