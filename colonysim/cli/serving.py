"""What the commands that serve have in common: options that need each other, where they listen, when they stop."""

from __future__ import annotations

import math
import os
import signal
import socket
import threading
from collections.abc import Container, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import msgspec
import typer

from colonysim.cli.console import STOPPING, complain, fail
from colonysim.kernel.clock import Mode
from colonysim.web import addresses
from colonysim.web.limits import Limits
from colonysim.web.servers import ServerKind, WebServer

if TYPE_CHECKING:
    from colonysim.simulation.simulation import Simulation

Host = Annotated[
    str,
    typer.Option(help="Address to listen on: localhost for both loopbacks, 0.0.0.0 for all.", envvar="COLONYSIM_HOST"),
]
Anywhere = Annotated[
    bool, typer.Option("--control-from-anywhere", help="Let other machines use the control API, with a token.")
]
ControlToken = Annotated[
    str | None,
    typer.Option(
        "--control-token",
        help="Token that the control API asks for; made up with --control-from-anywhere where none is given.",
        envvar="COLONYSIM_CONTROL_TOKEN",
    ),
]
LimitOption = Annotated[
    list[str] | None,
    typer.Option(
        "--limit", metavar="NAME=VALUE", help="What clients may take, such as body_bytes.", envvar="COLONYSIM_LIMITS"
    ),
]


PREFIX: Final = "COLONYSIM_"
OTHER_VARIABLES: Final = {
    f"{PREFIX}{name}" for name in ("CLOCK", "CONTROL_TOKEN", "HOST", "LIMITS", "PORT", "SERVER", "TRACEBACK")
}
"""Variables of the environment that are read, settings apart."""


class Place(msgspec.Struct):
    """Where a command serves, and whom: all that can be wrong with it has been looked at."""

    host: str
    listeners: list[socket.socket]
    kind: ServerKind
    control_from_anywhere: bool
    control_token: str | None
    limits: Limits

    def __enter__(self) -> Place:
        return self

    def __exit__(self, *_: object) -> None:
        """Give the addresses back, also where nothing was served because something else was wrong."""
        for listener in self.listeners:
            listener.close()

    def server(self, sim: Simulation) -> WebServer:
        """The server of a simulation at this place."""
        return WebServer(
            sim,
            self.host,
            kind=self.kind,
            control_from_anywhere=self.control_from_anywhere,
            control_token=self.control_token,
            limits=self.limits,
            listeners=self.listeners,
        )

    def made_up_token(self, web: WebServer) -> str | None:
        """The token that has to be told, because nobody gave it."""
        return web.control_token if self.control_token is None else None


def take_place(host: str, port: int, kind: ServerKind, anywhere: bool, token: str | None, limit: Any) -> Place:
    """Listen, before anything is written; leave where a value makes no sense or the address cannot be had."""
    from colonysim.web.control_access import ControlAccess

    try:
        limits = Limits.from_texts(limit or ())
        ControlAccess(from_anywhere=anywhere, token=token, host=host)
        return Place(host, addresses.listen(host, port), kind, anywhere, token, limits)
    except ValueError as error:
        fail(str(error))
    except OSError as error:
        fail(error.strerror or str(error))


# ---------------------------------------------------------------- options that need each other
def rate_of(clock: Mode, rate: float | None) -> float:
    """The clock's rate; leave where it would be ignored."""
    if rate is not None and clock is not Mode.SCALED:
        fail(f"--rate goes with --clock scaled; with --clock {clock.value} it would have no effect")
    return 1.0 if rate is None else rate


def check_executor_options(executor: str | None, answer: str | None, takes_s: float | None) -> None:
    """Leave where an option of dev's executor makes no sense, or would be ignored."""
    if executor is None:
        for name, given in (("--answer", answer), ("--takes", takes_s)):
            if given is not None:
                fail(f"{name} goes with --executor TYPE, the executor it is about; without one it would have no effect")
    elif not executor.strip() or not executor.isprintable():
        fail(f"--executor takes the type of the executor, such as --executor cli, not {executor[:100]!r}")
    if takes_s is not None and not (math.isfinite(takes_s) and 0 <= takes_s <= threading.TIMEOUT_MAX):
        fail(f"--takes is a number of seconds from 0, not {takes_s}")


def say_what_is_unknown(known: Container[str]) -> None:
    """Say which variables of the environment look like settings and are none, such as misspelt ones."""
    for name in sorted(name for name in os.environ if name.startswith(PREFIX) and name not in OTHER_VARIABLES):
        if name.removeprefix(PREFIX).lower() not in known:
            complain(f"the variable {name} has no effect: see colonysim --settings for those that have one")


def say_what_the_state_decides(state: Path | None, given: Mapping[str, Any]) -> None:
    """Say which options have no effect because a state file is read: its own settings hold, and what is in it."""
    names = [name for name, value in given.items() if value]
    if names and state is not None and state.exists():
        effect = "has no effect" if len(names) == 1 else "have no effect"
        complain(f"{' and '.join(names)} {effect}: {state} is read, with the settings it was written with")


# ---------------------------------------------------------------- stopping
class StopRequest:
    """Whether a signal has asked the process to stop.

    The wait is for a byte that the system writes as the signal comes: a wait for an event would miss a signal that
    comes in the moment before it begins.
    """

    def __init__(self) -> None:
        self._asked = False
        self._read, self._written = socket.socketpair()
        self._written.setblocking(False)

    def wait(self) -> None:
        """Return once a signal has come; at once where it has come already."""
        while not self._asked:
            self._read.recv(1)

    @contextmanager
    def caught(self) -> Iterator[None]:
        """Catch SIGINT and SIGTERM meanwhile."""
        before = {number: signal.signal(number, self._heard) for number in STOPPING}
        wakes_before = signal.set_wakeup_fd(self._written.fileno(), warn_on_full_buffer=False)
        try:
            yield
        finally:
            signal.set_wakeup_fd(wakes_before)
            for number, handler in before.items():
                signal.signal(number, handler)
            self._read.close()
            self._written.close()

    def _heard(self, *_: object) -> None:
        if self._asked:
            for number in STOPPING:
                signal.signal(number, signal.SIG_DFL)
        self._asked = True


@contextmanager
def stop_signals() -> Iterator[StopRequest]:
    """Catch SIGINT and SIGTERM from here on.

    One may come twice, by two ways, as a terminal's to all of its processes and a wrapper's to this one; a third one
    ends the process as it stands.
    """
    request = StopRequest()
    with request.caught():
        yield request
