"""What a served simulation keeps on disk: its state, written at the end and every now and then, and its journal."""

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
from colonysim.kernel.actors import OWN_THREADS

if TYPE_CHECKING:
    from colonysim.simulation.simulation import Simulation

_PERMISSIONS: Final = 0o666  # less what the umask takes
_LAST_REPLIES_S: Final = 1.0
"""So long a server that its journal stops has for the replies to requests that have taken effect."""

StatePath = Annotated[
    Path | None,
    typer.Option("--state", metavar="FILE", help="File the state is read from at the start and written to at the end."),
]
StateEvery = Annotated[
    float | None,
    typer.Option(
        "--state-every",
        metavar="SECONDS",
        min=0.001,
        max=1e6,
        help="Write the state so often as well, so that a server that is killed loses no more than that.",
    ),
]


class StateFile:
    """A file that holds a state, or will. A write that fails leaves what was there, and nothing else.

    Errors: OSError that says what is wrong, where the file cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._target = path.resolve()  # a link stays a link
        except RuntimeError:
            raise OSError(f"{path} is a link that leads to itself") from None
        self._fresh = self._target.with_name(self._target.name + ".new")
        folder = self._target.parent
        if self._target.is_dir():
            raise OSError(f"{path} is a folder: name a file in it")
        if self._target.exists() and not self._target.is_file():
            raise OSError(f"{path} is no regular file")
        if not folder.is_dir():
            raise OSError(f"there is no folder {folder}: make it first")
        try:
            os.close(self._open())
            self._fresh.unlink()
        except OSError as error:
            raise OSError(f"{path} cannot be written: {error.strerror or error}") from None

    def read(self) -> bytes | None:
        """What the file holds; None where it is not there yet. Errors: OSError."""
        try:
            return self._target.read_bytes()
        except FileNotFoundError:
            return None

    def write(self, state: bytes) -> None:
        """Replace what the file holds as a whole, and see it on the disk. Errors: OSError, with the file's name."""
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
        """A new file beside the place; one that a killed server has left makes way for it."""
        self._fresh.unlink(missing_ok=True)
        return os.open(self._fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _PERMISSIONS)


def state_file(path: Path | None, every_s: float | None) -> StateFile | None:
    """The file that `--state` names; leaves where it cannot be one."""
    if path is None:
        if every_s is not None:
            fail("--state-every goes with --state: say which file takes the state")
        return None
    try:
        return StateFile(path)
    except OSError as error:
        fail(f"--state: {error}")


# ---------------------------------------------------------------- while a server runs
@contextmanager
def kept(sim: Simulation, file: StateFile | None, every_s: float | None) -> Iterator[None]:
    """Save the state of a simulation while it is served, and at the end, however that comes.

    Where the journal fails and is to stop the server, the process is asked to end as by SIGTERM. Leaves with exit
    code 1 where the server was stopped by that, or where the state could not be saved at the end.
    """
    keeper = _Keeper(sim, file)
    if sim.journal is not None:
        sim.journal.flush()
        if sim.journal.stopped:  # which has been told
            raise typer.Exit(FAILED)
        sim.journal.on_error = keeper.journal_failed
    ended = threading.Event()
    saving = threading.Thread(target=keeper.save_every, args=(every_s, ended), name=f"{OWN_THREADS}state", daemon=True)
    if every_s is not None:
        saving.start()
    try:
        yield
    finally:
        ended.set()
        if every_s is not None:
            saving.join()
        fine = keeper.end()
    if not fine:
        raise typer.Exit(FAILED)


class _Keeper:
    """Saves a simulation, and says what goes wrong with that: on stderr, in `health` and on the page."""

    def __init__(self, sim: Simulation, file: StateFile | None) -> None:
        self._sim = sim
        self._file = file
        self._ending: threading.Timer | None = None

    def journal_failed(self) -> None:
        """The journal has just said so on stderr; end the server where it shall not go on without one.

        The request that met the error has taken effect: it is answered before the connections are closed.
        """
        if self._sim.journal is not None and self._sim.journal.stopped:
            main = threading.main_thread().ident or 0
            self._ending = threading.Timer(_LAST_REPLIES_S, signal.pthread_kill, (main, signal.SIGTERM))
            self._ending.daemon = True
            self._ending.start()

    def save(self) -> bool:
        """Write the state, if there is a file for it: whether that went well."""
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
        """Write the state so often, until the server has ended."""
        while not ended.wait(seconds):
            self.save()

    def end(self) -> bool:
        """Write what is left of the journal, and the state: whether all went well."""
        journal = self._sim.journal
        if journal is not None:
            journal.on_error = lambda: None
            if self._ending is not None:
                self._ending.cancel()  # the server ends already
            journal.close()
        saved = self.save()
        if journal is None or not journal.stopped:
            return saved
        rest = f"; the state is in {self._file.path}" if self._file is not None and saved else ""
        complain(f"stopped, as --journal-errors stop asks{rest}")
        return False
