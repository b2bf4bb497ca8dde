"""The stream of server-sent events that keeps the page up to date.

Each event is the overview of the server (`GET /colonysim/overview`) after something has changed, so that a page knows
when to read again what it shows. Several changes between two looks are one event. Looking takes no lock, moves no time
and costs requests nothing; only the making of an event takes the lock, and its writing does not.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import msgspec

from colonysim.http.http1 import HttpRequest
from colonysim.simulation.simulation import Simulation
from colonysim.web.control_access import CONTROL_HEADERS

TICK_S: Final = 0.25
"""How long to wait between two looks, in real seconds: the most events a second is the inverse."""
EVENT_STREAM: Final = "text/event-stream"
_TICKS_OF_SILENCE: Final = 60
"""After so many looks without a change a comment is sent, so that a connection that is gone is noticed."""
_RETRY_MS: Final = 1000
"""How soon a page connects again after the connection has ended."""

_ENCODER: Final = msgspec.json.Encoder(enc_hook=repr)


class ChangeStream:
    """What one open page is told. `read` the next text after each TICK_S; the first one is the present state.

    `mark`: something besides the simulation whose change is told of.
    """

    def __init__(
        self, sim: Simulation, overview: Callable[[], dict[str, Any]], mark: Callable[[], object] = lambda: None
    ) -> None:
        self._sim = sim
        self._mark = mark
        self._overview = overview
        self._seen: Any = None
        self._silent = 0
        headers = "".join(f"{name}: {value}\r\n" for name, value in CONTROL_HEADERS)
        self.head = (
            f"HTTP/1.1 200 OK\r\nContent-Type: {EVENT_STREAM}\r\n{headers}Connection: close\r\n\r\n"
            f"retry: {_RETRY_MS}\n\n"
        ).encode()

    @property
    def due(self) -> bool:
        """Whether there is something to read: a change, or a sign of life after a long silence. Takes no lock."""
        self._silent += 1
        try:
            return self._silent >= _TICKS_OF_SILENCE or self._state() != self._seen
        except RuntimeError:  # a table is changing at this moment
            return True

    def read(self) -> bytes:
        """Return the next text to send."""
        self._silent = 0
        with self._sim.kernel.locked():
            state = self._state()
        if state == self._seen:
            return b": nothing has changed\n\n"
        self._seen = state
        return b"event: overview\ndata: %b\n\n" % _ENCODER.encode(self._overview())

    def _state(self) -> tuple[Any, ...]:
        """Return what differs after every change that a page shows: numbers that only grow, and states.

        Without the lock it may raise RuntimeError.
        """
        kernel, world, faults = self._sim.kernel, self._sim.kernel.world, self._sim.faults
        clock, actors = kernel.clock, list(kernel.actors.registered.values())
        return (
            world,
            self._mark(),
            *(world.now_ns, kernel.steps, kernel.events, kernel.calls_asked, world.settings.seed),
            *(clock.mode, clock.rate, clock.runs, len(kernel.problems), len(kernel.pending)),
            faults.all,
            sum(faults.counts.values()),
            tuple((actor.name, actor.waits_for) for actor in actors),
        )


def is_stream(request: HttpRequest) -> bool:
    """Whether a request asks for the stream, as EventSource does."""
    if request.path != "/colonysim/events" or request.method != "GET":
        return False
    return request.headers.get("accept", "").partition(",")[0].partition(";")[0].strip().lower() == EVENT_STREAM
