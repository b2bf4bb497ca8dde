"""Serves a simulation on a port, with a thread for each connection or with one event loop."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from enum import StrEnum
from typing import TYPE_CHECKING, Protocol

from colonysim.http.addresses import LOCALHOST, listen, url_of
from colonysim.http.limits import DEFAULTS, Limits
from colonysim.kernel.actors import OWN_THREAD_PREFIX

if TYPE_CHECKING:  # the command line needs the kinds before it needs a server
    from colonysim.simulation.simulation import Simulation
    from colonysim.web.application import Application


class ServerKind(StrEnum):
    """Which loop serves the connections. Both serve the same application and pass the same tests."""

    WERKZEUG = "werkzeug"  # a thread for each connection, on werkzeug's WSGI server
    ASYNCIO = "asyncio"  # one thread for all connections, several times as fast


class Loop(Protocol):
    """Serves listening sockets. `errors` are the exceptions of its threads."""

    errors: list[BaseException]

    def run(self) -> None:
        """Serve until `stop` is called from another thread."""

    def stop(self) -> None:
        """Close every connection and make `run` return."""

    def close(self) -> None:
        """Release the resources of a loop that never ran."""


class WebServer:
    """A server for a simulation, by default on both loopbacks of this machine. Port 0 picks a free port.

    `control_from_anywhere`: other machines may use the control API too, with `control_token`, which is generated if
    none is given. `listeners`: listening sockets to use instead of a port. Raises OSError, with the address, if it
    cannot be bound; ValueError for an invalid port, host, kind or token; MissingExtra if werkzeug or wsproto is not
    installed.
    """

    def __init__(
        self,
        sim: Simulation,
        host: str = LOCALHOST,
        port: int = 0,
        *,
        kind: ServerKind | str = ServerKind.WERKZEUG,
        control_from_anywhere: bool = False,
        control_token: str | None = None,
        limits: Limits = DEFAULTS,
        listeners: list[socket.socket] | None = None,
    ) -> None:
        from colonysim.web.application import Application
        from colonysim.web.control_access import ControlAccess

        self.sim = sim
        self.kind = ServerKind(kind)
        access = ControlAccess(from_anywhere=control_from_anywhere, token=control_token, host=host)
        self.control_token = access.token
        self.app = Application(sim, control_access=access, limits=limits)
        make_loop = _loop_of(self.kind)  # before a port is taken
        self._listeners = listeners or listen(host, port)
        self.host, self.port = host, self._listeners[0].getsockname()[1]
        self.url = url_of(self.host, self.port)
        self.app.endpoint.address = self.host, self.port
        self._loop = make_loop(self.app, self._listeners)
        self._thread: threading.Thread | None = None

    @property
    def errors(self) -> list[BaseException]:
        """The exceptions of the server's threads."""
        return self._loop.errors

    def log_requests(self, write: Callable[[str], object] | None = None) -> None:
        """Write a line for each request, by default on stderr."""
        from colonysim.web.access_log import AccessLog

        self.app.endpoint.access_log = AccessLog(self.sim, write)

    def start(self) -> WebServer:
        """Serve in a new thread. Raises RuntimeError if the server has been started already."""
        if self._thread is not None:
            raise RuntimeError(f"the server on {self.url} has been started already")
        self._thread = threading.Thread(target=self._loop.run, name=f"{OWN_THREAD_PREFIX}server", daemon=True)
        self._thread.start()
        return self

    def stop(self) -> None:
        """Close the port and every connection."""
        if self._thread is not None:
            self._loop.stop()
            self._thread.join()
        else:
            self._loop.close()
        for listener in self._listeners:
            listener.close()

    def __enter__(self) -> WebServer:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()


def _loop_of(kind: ServerKind) -> Callable[[Application, list[socket.socket]], Loop]:
    """Import the loop of a kind. Raises MissingExtra."""
    if kind is ServerKind.ASYNCIO:
        from colonysim.web.asyncio_server import AsyncioLoop

        return AsyncioLoop
    from colonysim.web.werkzeug_server import ThreadedLoop

    return ThreadedLoop
