"""Save the state of a served simulation to a file, at the end and periodically, and close its journal."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from colonysim.cli.console import FAILED, complain, fail
from colonysim.kernel.actors import OWN_THREAD_PREFIX

if TYPE_CHECKING:
    from colonysim.simulation.simulation import Simulation

_PERMISSIONS: Final = 0o666  # the umask applies
_LAST_REPLIES_S: Final = 1.0
"""Seconds between a journal error and the stop of the server, for the replies to requests that have taken effect."""

StatePath = Annotated[
    Path | None,
    typer.Option("--state", metavar="FILE", help="Read the state from this file at the start, write it at the end."),
]
StateEvery = Annotated[
    float | None,
    typer.Option(
        "--state-every",
        metavar="SECONDS",
        min=0.001,
        max=1e6,
        help="Write the state periodically as well, so that a killed server loses no more than this.",
    ),
]


class StateFile:
    """A file for the state of a simulation. A write that fails leaves the previous content.

    Raises OSError, with a text for the user, if the file cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._target = path.resolve()  # write() replaces the target of a symbolic link, not the link
        except RuntimeError:
            raise OSError(f"{path} is a link that leads to itself") from None
        self._fresh = self._target.with_name(self._target.name + ".new")
        folder = self._target.parent
        if self._target.is_dir():
            raise OSError(f"{path} is a folder: name a file in it")
        if self._target.exists() and not self._target.is_file():
            raise OSError(f"{path} is not a regular file")
        if not folder.is_dir():
            raise OSError(f"the folder {folder} does not exist: create it first")
        try:
            os.close(self._open())
            self._fresh.unlink()
        except OSError as error:
            raise OSError(f"{path} cannot be written: {error.strerror or error}") from None

    def read(self) -> bytes | None:
        """Return the content of the file; None if it does not exist yet. Raises OSError."""
        try:
            return self._target.read_bytes()
        except FileNotFoundError:
            return None

    def write(self, state: bytes) -> None:
        """Replace the content atomically, and sync it to the disk. Raises OSError, with the file's name."""
        try:
            self._write(state)
        except BaseException as error:
            with suppress(OSError):
                self._fresh.unlink(missing_ok=True)
            if isinstance(error, OSError):
                raise OSError(f"the state could not be written to {self.path}: {error.strerror or error}") from error
            raise

    def _write(self, state: bytes) -> None:
        with open(self._open(), "wb") as file:
            if self._target.exists():
                os.fchmod(file.fileno(), self._target.stat().st_mode & 0o777)
            file.write(state)
            file.flush()
            os.fsync(file.fileno())
        self._fresh.replace(self._target)
        folder = os.open(self._target.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def _open(self) -> int:
        """Open a temporary file beside the target, after removing one that a killed server has left."""
        self._fresh.unlink(missing_ok=True)
        return os.open(self._fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _PERMISSIONS)


def state_file(path: Path | None, every_s: float | None) -> StateFile | None:
    """Return the file of `--state`, if it is given. Exits with code 2 if it cannot be written."""
    if path is None:
        if every_s is not None:
            fail("--state-every needs --state FILE, the file to write the state to")
        return None
    try:
        return StateFile(path)
    except OSError as error:
        fail(f"--state: {error}")


# ---------------------------------------------------------------- while a server runs
@contextmanager
def saving(sim: Simulation, file: StateFile | None, every_s: float | None) -> Iterator[None]:
    """Save the state of a simulation every `every_s` seconds during the block, and at its end.

    If the journal fails under --journal-errors stop, this sends SIGTERM to the process. Exits with code 1 if that
    stopped the server, or if the state could not be saved at the end.
    """
    saver = _Saver(sim, file)
    if sim.journal is not None:
        sim.journal.flush()
        if sim.journal.stopped:  # the journal has printed the error
            raise typer.Exit(FAILED)
        sim.journal.on_error = saver.journal_failed
    ended = threading.Event()
    thread = threading.Thread(
        target=saver.save_every, args=(every_s, ended), name=f"{OWN_THREAD_PREFIX}state", daemon=True
    )
    if every_s is not None:
        thread.start()
    try:
        yield
    finally:
        ended.set()
        if every_s is not None:
            thread.join()
        succeeded = saver.end()
    if not succeeded:
        raise typer.Exit(FAILED)


class _Saver:
    """Saves a simulation, and reports errors on stderr, in `health` and on the page."""

    def __init__(self, sim: Simulation, file: StateFile | None) -> None:
        self._sim = sim
        self._file = file
        self._ending: threading.Timer | None = None

    def journal_failed(self) -> None:
        """Stop the server after an error of its journal, if --journal-errors stop asks for that.

        The journal has printed the error. The request that caused it has taken effect, so the server has a moment
        to answer it before the connections are closed.
        """
        if self._sim.journal is not None and self._sim.journal.stopped:
            main = threading.main_thread().ident or 0
            self._ending = threading.Timer(_LAST_REPLIES_S, signal.pthread_kill, (main, signal.SIGTERM))
            self._ending.daemon = True
            self._ending.start()

    def save(self) -> bool:
        """Write the state, if there is a file for it. Return False if that failed."""
        if self._file is None:
            return True
        failing = self._sim.observers.failing
        try:
            self._file.write(self._sim.snapshot())
        except (OSError, ValueError) as error:
            if failing.get("state") != str(error):
                complain(str(error))
            failing["state"] = str(error)
            return False
        failing.pop("state", None)
        return True

    def save_every(self, seconds: float | None, ended: threading.Event) -> None:
        """Write the state every `seconds` seconds until the server has ended."""
        while not ended.wait(seconds):
            self.save()

    def end(self) -> bool:
        """Close the journal and write the state. Return False if one of them failed."""
        journal = self._sim.journal
        if journal is not None:
            journal.on_error = lambda: None
            if self._ending is not None:
                self._ending.cancel()  # the server is ending already
            journal.close()
        saved = self.save()
        if journal is None or not journal.stopped:
            return saved
        rest = f"; the state is in {self._file.path}" if self._file is not None and saved else ""
        complain(f"stopped because of --journal-errors stop{rest}")
        return False
