"""The access log: one line for each request, for people who want to see what a server is asked."""

from __future__ import annotations

import sys
from collections.abc import Callable
from time import monotonic

import msgspec

from colonysim.core.protocol import Message
from colonysim.core.wording import show_seconds, show_span
from colonysim.http.http1 import BadRequest, HttpRequest
from colonysim.kernel.clock import show_time
from colonysim.kernel.pending import Call
from colonysim.kernel.why_idle import name_of
from colonysim.simulation.simulation import Simulation

CLOSED = "closed"
"""In place of a status: the connection was closed without a reply."""


class Exchange(msgspec.Struct):
    """A request under way; `began_s` is on the clock of this machine. If it is a call, `request.about` has the Call."""

    request: HttpRequest
    began_s: float


class AccessLog:
    """Writes a line when a request is answered: virtual time, what was asked, status, who asked, and how long it took.

    `write` takes a line; by default it is written to stderr.
    """

    def __init__(self, sim: Simulation, write: Callable[[str], object] | None = None) -> None:
        self._sim = sim
        self._write = write or _write

    def begin(self, request: HttpRequest) -> Exchange:
        """Note that a request has come."""
        return Exchange(request, monotonic())

    def end(self, exchange: Exchange, status: int | str) -> None:
        """Write the line of a request with the status of its reply, or with CLOSED."""
        request, call = exchange.request, exchange.request.about
        took = show_seconds(monotonic() - exchange.began_s)
        if not isinstance(call, Call):
            self._line(f"{request.method} {request.path}", status, request.remote or "unknown", took)
            return
        if call.answered_ns is not None and call.answered_ns > call.at_ns:
            took += f", {show_span(call.answered_ns - call.at_ns)} of virtual time"
        self._line(call.payload_type or "unreadable", status, self._name(call.caller_id), took)

    def refused(self, bad: BadRequest, remote: str) -> None:
        """Write the line of a request that is not HTTP, or is beyond the limits."""
        self._line(bad.line.partition(" ")[2], bad.status, remote or "unknown")

    def streamed(self, caller_id: str, message: Message) -> None:
        """Write the line of a request on a WebSocket, which is answered by pushes."""
        self._line(message.msgtype or type(message).__name__, "stream", self._name(caller_id))

    def _name(self, caller_id: str) -> str:
        with self._sim.kernel.lock:
            return name_of(self._sim.world, caller_id)

    def _line(self, what: str, status: int | str, who: str, took: str = "") -> None:
        text = f"{show_time(self._sim.world.now_ns)}  {what}  {status}  {who}" + (f"  {took}" if took else "")
        self._write("".join(each if each.isprintable() else repr(each)[1:-1] for each in text))


def _write(line: str) -> None:
    try:
        sys.stderr.write(f"{line}\n")
        sys.stderr.flush()
    except (OSError, ValueError):
        pass  # nobody reads stderr any more; the request is served all the same
