"""The server's side of connections in memory: it serves the bytes of one client, in the client's own thread.

A pair of sockets carries the replies, so that the client's file descriptor becomes readable as that of any connection.
"""

from __future__ import annotations

import errno
import os
import socket
import threading
import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Self

import msgspec

from colonysim.core.protocol import Answer
from colonysim.core.records import SECOND_NS
from colonysim.http.http1 import BadRequest, HttpReader, HttpRequest, Reply, render
from colonysim.kernel.actors import OWN_THREAD_PREFIX, THREAD_THRESHOLD_S
from colonysim.kernel.pending import LOST, Call, Inbox, Lost, Pending, Waiter
from colonysim.sdk import threads
from colonysim.simulation.simulation import Simulation
from colonysim.web.application import Application, Parked

if TYPE_CHECKING:
    from colonysim.web.websocket import Session


class Route:
    """A simulated host and port, and the application that serves it."""

    def __init__(self, application: Application, reach: threads.Reach) -> None:
        self.application = application
        self.reach = reach
        self.links: dict[Link, None] = {}
        """The open connections, in the order in which they were opened."""
        self.address = ""
        self.watcher: threading.Thread | None = None
        self.stirred = threading.Event()
        """Set when the thread that moves time for silent clients must look again."""

    def leads(self, host: Any, port: Any) -> bool:
        """Return whether a connection to host and port leads here."""
        return port == self.reach.port and (host in self.reach.hosts or host == self.address)

    def close(self) -> None:
        """Break all connections."""
        for link in list(self.links):
            link.break_off()
        self.stirred.set()
        if self.watcher is not None:
            self.watcher.join()

    @property
    def has_silent_clients(self) -> bool:
        """Whether a client waits for something and does not say so, as event loops and selectors do."""
        return any(link.waits_silently for link in list(self.links))

    def watch(self) -> None:
        """Have time move while clients wait silently. Starts a thread, unless it runs already."""
        if self.watcher is None or not self.watcher.is_alive():
            self.watcher = threading.Thread(target=self._watch, name=f"{OWN_THREAD_PREFIX}watcher", daemon=True)
            self.watcher.start()

    def _watch(self) -> None:
        sim = self.application.sim
        while self.links:
            self.stirred.wait(THREAD_THRESHOLD_S)
            self.stirred.clear()
            if not self.has_silent_clients:
                continue
            with sim.driver.as_mover(self.stirred):
                while self.has_silent_clients:
                    try:
                        wait_s = sim.driver.pump()
                    except Exception as error:
                        sim.kernel.problems.append(error)
                        return
                    self.stirred.wait(wait_s)
                    self.stirred.clear()


class TimedWait(Waiter, eq=False):
    """A thread that waits until `done`, for at most some seconds of virtual time."""

    kernel: Any
    what: Any
    after_s: float | None = None
    passed: bool = False
    ticket: int = 0

    @property
    def done(self) -> bool:
        return self.passed or bool(self.what.done)

    def __enter__(self) -> Self:
        with self.kernel.locked() as world:
            self.what.waiting.append(self)
            if self.after_s is not None:
                due_ns = world.now_ns + round(self.after_s * SECOND_NS)
                self.ticket = self.kernel.timetable.add(due_ns, self._pass, "a client's time-out")
                self.kernel.wake_mover()
        return self

    def __exit__(self, *_: object) -> None:
        with self.kernel.locked():
            self.what.waiting.remove(self)
            if self.ticket:
                self.kernel.timetable.cancel(self.ticket)

    def _pass(self) -> None:
        self.passed = True
        self.wake()


def require_reachable(route: Route, timeout_s: float | None) -> None:
    """Raise what a client gets that a fault keeps from connecting, after the virtual time in which it notices.

    Raises TimeoutError if that takes longer than `timeout_s`, else ConnectionRefusedError; at once if it is 0, as it is
    for event loops.
    """
    sim = route.application.sim
    kernel = sim.kernel
    with kernel.locked():
        notice_s = None if kernel.network is None else kernel.network.unreachable_s(kernel.calling_program)
    if notice_s is None:
        return
    in_time = timeout_s is None or timeout_s == 0.0 or notice_s < timeout_s
    if timeout_s != 0.0:
        _pass(sim, notice_s if in_time else timeout_s or 0.0)
    if not in_time:
        raise TimeoutError("timed out")
    raise ConnectionRefusedError(errno.ECONNREFUSED, "a fault keeps the client from connecting")


def _pass(sim: Simulation, seconds: float) -> None:
    """Wait for so much virtual time, as for a reply that is lost then."""
    kernel = sim.kernel
    with kernel.locked() as world:
        ticket = kernel.new_ticket()
        pending = kernel.pending[ticket] = Pending(ticket, Call(ticket, world.now_ns, "", "connect", b""))
        lost = Answer(ticket, LOST, "", None)
        due_ns = world.now_ns + round(seconds * SECOND_NS)
        kernel.timetable.add(due_ns, lambda: kernel.answer(lost), "an attempt to connect ends")
        kernel.wake_mover()
    sim.driver.wait_for(pending, "a connection")


class WatchedInbox(Inbox, eq=False):
    """An inbox that somebody may wait for with a time-out."""

    waiting: list[Waiter] = msgspec.field(default_factory=list)

    def wake(self) -> None:
        """Wake all waiting threads."""
        for waiter in self.waiting:
            waiter.wake()


class Link:
    """The server's side of one connection."""

    def __init__(self, route: Route, client: socket.socket) -> None:
        self.route = route
        self.app = route.application
        self.sim = route.application.sim
        theirs, self._end = socket.socketpair()
        with theirs:
            os.dup2(theirs.fileno(), client.fileno(), inheritable=False)
        client.settimeout(client.gettimeout())  # the new descriptor must block, or not, as the old one did
        self._end.setblocking(False)
        self._client = weakref.ref(client)
        self._backlog = bytearray()
        self._unread = 0
        self._lock = threading.Lock()
        self.waiting: list[TimedWait] = []
        """The threads that wait to read; changed under the kernel's lock."""
        self._reader = HttpReader(self.app.limits)
        self._parked: Parked | None = None
        self._session: Session | None = None
        self._closing = self._closed = False
        self._program: Any = None
        route.links[self] = None

    @property
    def done(self) -> bool:
        """Whether the client need not wait to read: there are bytes, or the connection is closed."""
        return self._unread > 0 or self._closed

    @property
    def waits_silently(self) -> bool:
        """Whether the client waits for a reply or for messages, and not by a call that blocks."""
        waits = not self._closed and (self._parked is not None or self._session is not None)
        return waits and not self.waiting and self._program is None

    # ------------------------------------------------------------ called by the client
    def receive(self, data: bytes) -> None:
        """Serve what the client has sent. Raises BrokenPipeError if the connection is closed, Lost by `threads`."""
        if self._closing or self._closed:
            raise BrokenPipeError(errno.EPIPE, "the connection is closed")
        if threads.here.reach is not self.route.reach:
            threads.admit(self.route.reach)
        self._belong_to(self.sim.kernel.actors.this_thread().program)
        if (session := self._session) is not None:
            self._guarded(lambda: session.receive(data))
            return
        self._reader.feed(data)
        self._serve()

    def _belong_to(self, thread: Any) -> None:
        """Note whose the connection is: that of the thread of a program, or that of a client outside (None)."""
        program = None if thread is None else thread.program
        if program is not self._program:
            if self._program is not None:
                self._program.links.pop(self, None)
            self._program = program
            if program is not None:
                program.links[self] = None

    def wait(self, timeout_s: float | None) -> None:
        """Wait in virtual time until the client can read. Raises TimeoutError after `timeout_s` seconds of it."""
        if timeout_s == 0.0 or self.done:
            return
        if threads.here.reach is not self.route.reach:
            threads.admit(self.route.reach)
        with TimedWait(kernel=self.sim.kernel, what=self, after_s=timeout_s) as deadline:
            self.sim.driver.wait_for(deadline, "a reply on a connection")
        if not self.done:
            raise TimeoutError("timed out")

    def taken(self, size: int) -> None:
        """Note that the client has read so many bytes, and send more if more wait."""
        with self._lock:
            self._unread -= size
            self._flush()

    def leave(self) -> None:
        """Take note that the client has closed the connection."""
        if self._closed:
            return
        self._end_now()
        if self._parked is not None:
            self.sim.abandon(self._parked.pending)
        if self._session is not None:
            self._session.disconnected()
        self._wake()

    def cut(self) -> None:
        """Take note, under the kernel's lock, that the program whose connection this is has ended."""
        if self._closed:
            return
        self._end_now()
        if self._parked is not None:
            self.sim.kernel.abandon(self._parked.pending)
        if self._session is not None and not self._session.closed:
            self.sim.kernel.connections.close(self._session)

    def close_client(self) -> None:
        """Close the client's socket, whose program has ended."""
        if (client := self._client()) is not None:
            client.close()

    def refuse(self) -> None:
        """Answer what is no HTTP. The client may go on to send, as it does before it reads the answer."""
        self._write(BadRequest(400).reply())
        self._end.shutdown(socket.SHUT_WR)

    def break_off(self) -> None:
        """Close the connection from the server's side, because the simulation can be reached no more."""
        self.leave()

    # ------------------------------------------------------------ requests
    def _serve(self) -> None:
        """Serve the requests that have come completely, one after the other."""
        try:
            while self._parked is None and self._session is None and not self._closing:
                request = self._reader.next()
                if self._reader.interim_reply:
                    self._write(self._reader.interim_reply)
                    self._reader.interim_reply = b""
                if request is None:
                    return
                request.remote = request.local = "127.0.0.1"
                self._answer(request)
        except BadRequest as bad:
            self._write(bad.reply())
            self._hang_up()

    def _answer(self, request: HttpRequest) -> None:
        if request.path == "/pubsub" and request.headers.get("upgrade"):
            from colonysim.web.websocket import is_handshake

            if is_handshake(request):
                self._upgrade(request)
                return
        try:
            reply = self.app.respond(request)
            if isinstance(reply, Parked):
                self._park(request, reply)
            else:
                self._send(request, reply)
        except Lost:
            self._hang_up()
        self._wake()

    def _send(self, request: HttpRequest, reply: Reply) -> None:
        self._write(render(reply, request))
        if not request.keep:
            self._hang_up()

    def _park(self, request: HttpRequest, parked: Parked) -> None:
        """Send the reply when there is one."""

        def answered() -> None:  # under the kernel's lock, unless the answer is there at once
            self._parked = None
            if self._closed:
                return
            try:
                self._send(request, self.app.finish(parked))
            except Lost:
                self._hang_up()
            for waiter in self.waiting:
                waiter.wake()
            self.route.stirred.set()

        self._parked = parked
        if not self.sim.kernel.when_answered(parked.pending, answered):
            answered()
        elif self._program is None:
            self.route.watch()

    def _upgrade(self, request: HttpRequest) -> None:
        from colonysim.web.websocket import Session

        def push(data: bytes) -> None:
            self._write(data)
            for waiter in self.waiting:
                waiter.wake()

        def drop() -> None:
            self._hang_up()
            for waiter in self.waiting:
                waiter.wake()

        self._session = session = Session(self.app.endpoint, push, drop, self.app.limits, outside=False)
        with self.sim.kernel.locked():
            session.open(request)
        if rest := self._reader.remaining:
            self._guarded(lambda: session.receive(rest))
        self._reader.clear()
        if self._program is None:
            self.route.watch()

    def _guarded(self, do: Callable[[], object]) -> None:
        try:
            do()
        except ConnectionError:
            self._hang_up()
            self._wake()

    # ------------------------------------------------------------ bytes for the client
    def _write(self, data: bytes) -> None:
        with self._lock:
            self._backlog += data
            self._flush()

    def _flush(self) -> None:
        """Move as much of the backlog to the client as its descriptor takes. Under `_lock`."""
        while self._backlog and not self._closed:
            try:
                sent = self._end.send(self._backlog)
            except BlockingIOError:
                return
            except OSError:
                break
            self._unread += sent
            del self._backlog[:sent]
        if self._closing and not self._closed:
            self._closed = True
            self._end.close()
            self.route.links.pop(self, None)
            if self._program is not None:
                self._program.links.pop(self, None)

    def _hang_up(self) -> None:
        """Close the connection once the client has read everything."""
        with self._lock:
            self._closing = True
            self._flush()

    def _end_now(self) -> None:
        with self._lock:
            self._backlog.clear()
            self._closing = True
            self._flush()

    def _wake(self) -> None:
        """Wake the threads that wait for bytes. Not under the kernel's lock."""
        if self.waiting:
            with self.sim.kernel.locked():
                for waiter in self.waiting:
                    waiter.wake()
        self.route.stirred.set()
