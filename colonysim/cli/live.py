"""colonysim run --live: a page that shows a scenario while it runs, at a pace that people can follow."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated, Final, Self

import typer

from colonysim.cli.console import err, fail
from colonysim.cli.serving import stop_signals
from colonysim.core.records import SECOND_NS

if TYPE_CHECKING:
    from colonysim.scenarios.runner import Run
    from colonysim.web.servers import WebServer

Live = Annotated[bool, typer.Option("--live", help="Show the run on a page, and its end until Ctrl-C.")]
Rate = Annotated[
    float | None,
    typer.Option(
        min=0.001, max=1e9, help="With --live: virtual seconds per real second; else the storm takes a minute."
    ),
]
LivePort = Annotated[int | None, typer.Option("--port", min=0, max=65535, help="With --live: by default a free one.")]

READ_ONLY: Final = "a scenario runs here, and what comes from outside would make it another run; wait for its end"
_STORM_TAKES_S: Final = 60.0
"""Real seconds for a storm of known length, if no rate is given."""
_RATE: Final = 60.0
"""Virtual seconds per real second for other storms, if no rate is given."""
_GAP_S: Final = 0.001
"""How long the server may read at least, in real seconds, after each `_TURN_S` of the run."""
_TURN_S: Final = 0.02
_LONGEST_NAP_S: Final = 0.1


class Pace:
    """Holds a run back to `rate` virtual seconds per real second, and lets the web server read meanwhile."""

    def __init__(self, run: Run, rate: float) -> None:
        self._kernel = run.sim.kernel
        self._rate = rate
        self._start_ns = run.start_ns
        self._began = self._last_gap = time.monotonic()

    def __call__(self, until_ns: int) -> None:
        """Wait until the next event, if one is due by a time, is due in real time as well. Not under the lock."""
        with self._kernel.locked():
            due_ns = self._kernel.due()
        ahead_ns = 0 if due_ns is None or due_ns > until_ns else due_ns - self._start_ns
        until = self._began + ahead_ns / SECOND_NS / self._rate
        now = time.monotonic()
        while now < until:
            time.sleep(min(until - now, _LONGEST_NAP_S))
            self._last_gap = now = time.monotonic()
        if now > self._last_gap + _TURN_S:
            time.sleep(_GAP_S)
            self._last_gap = time.monotonic()


class LivePage:
    """The page of a run: `show` begins to serve it, `stay` keeps its end. Its context stops the server."""

    def __init__(self, rate: float | None, port: int) -> None:
        self._rate = rate
        self._port = port
        self._server: WebServer | None = None

    @classmethod
    def of(cls, live: bool, rate: float | None, port: int | None) -> Self | None:
        """Return what the options ask for; None for no page. Exits with code 2 if an option has no effect."""
        if live:
            return cls(rate, port or 0)
        for name, given in (("--rate", rate), ("--port", port)):
            if given is not None:
                fail(f"{name} needs --live: without the page it has no effect")
        return None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._server is not None:
            self._server.stop()

    def show(self, run: Run) -> None:
        """Serve the page of a run, which moves at a pace, and which nobody can change. Exits with code 2."""
        from colonysim.web.servers import ServerKind, WebServer

        if run.scenario.programs:
            fail("--live shows no scenario with programs: they stop the clock of this process, and its server with it")
        try:
            server = WebServer(run.sim, port=self._port, kind=ServerKind.ASYNCIO)
        except OSError as error:
            fail(error.strerror or str(error))
        server.app.control.read_only = READ_ONLY
        self._server = server.start()
        err.print(f"live at {server.url}/colonysim/", highlight=False, soft_wrap=True)
        storm_s = run.scenario.phases.storm_s
        usual = storm_s / _STORM_TAKES_S if storm_s else _RATE
        run.between = Pace(run, usual if self._rate is None else self._rate)

    def stay(self) -> None:
        """Serve the end of the run, which may be changed now, until Ctrl-C."""
        assert self._server is not None
        self._server.app.control.read_only = ""
        with stop_signals() as stop:
            err.print("the page shows the end of the run until Ctrl-C", highlight=False)
            stop.wait()
