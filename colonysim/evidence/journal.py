"""The history of a simulation: a line for each thing that went into the core or came out of it.

JSON Lines: a header, then an array for each line, its kind first. What went in stands there whole, so that
a replay can do it again. A short body stands there whole too; of a long one its size and checksum do, which
is enough to find the first difference, for a replay has the other side. Two runs with one seed have the same
lines, and so the same digest.
"""

from __future__ import annotations

import atexit
import hashlib
import os
import platform
import sys
import threading
import weakref
import zlib
from contextlib import suppress
from enum import StrEnum
from functools import partial
from os import PathLike
from typing import TYPE_CHECKING, Any, Final

import msgspec

from colonysim.core.protocol import EMPTY, Answer, Delivery, ErrorBody, Hangup, Push
from colonysim.core.records import Process
from colonysim.core.replies import AssignReply
from colonysim.core.settings import Settings
from colonysim.core.world import World
from colonysim.kernel.calls import ENCODER

if TYPE_CHECKING:
    from collections.abc import Callable
    from io import FileIO
    from pathlib import Path  # imported late: a simulation without a file does without

FORMAT: Final = 1
INLINE_BYTES: Final = 300
"""A body no longer than this is written whole."""

_BATCH: Final = 256  # entries of a stream that wait to be written at most
_LASTING: Final = (Process, AssignReply, ErrorBody)  # pictures nobody changes: they may be written later

Entry = tuple[Any, ...]


class JournalErrors(StrEnum):
    """What happens when the file of a journal cannot be written any more, as on a full disk."""

    CONTINUE = "continue"  # the simulation goes on without it
    STOP = "stop"  # it takes no more requests and lets no more time pass; what it holds can still be saved


class JournalFailed(RuntimeError):
    """The journal could not be written, and the simulation was asked to stop then."""


class Header(msgspec.Struct, frozen=True, kw_only=True):
    """The first line: what it is, and which server the history began with."""

    colonysim: str = "journal"
    format: int = FORMAT
    version: str
    python: str = ""
    seed: int
    mode: str
    start_ns: int
    """Virtual time at the beginning; the server is empty then. What filled it stands in the lines."""
    invariants: bool
    settings: Settings


def header(settings: Settings, mode: str, start_ns: int, invariants: bool) -> Header:
    """The header of a history that begins now."""
    return Header(
        version=sys.modules["colonysim"].__version__,  # the front door, which this layer does not import
        python=platform.python_version(),
        seed=settings.seed,
        mode=mode,
        start_ns=start_ns,
        invariants=invariants,
        settings=settings,
    )


_NO_BODY: Final = (None, EMPTY)


# ---------------------------------------------------------------- lines
def _body(body: Any) -> tuple[Any, ...]:
    """The end of a line that has a body: what the body is about, its size and checksum; or all of it."""
    if body is EMPTY:
        return _NO_BODY
    try:
        text = ENCODER.encode(body)
    except (ValueError, OverflowError, RecursionError, TypeError):
        text = ENCODER.encode(ascii(body))
    if len(text) <= INLINE_BYTES:
        return None, msgspec.Raw(text)
    process = body.process if isinstance(body, AssignReply) else body
    if isinstance(process, Process):
        return ((len(text), zlib.crc32(text), process.process_id, process.state),)
    return ((len(text), zlib.crc32(text)),)


def told_line(now_ns: int, delivery: Delivery) -> Entry:
    """The line of something that came out."""
    if isinstance(delivery, Answer):
        line = ("answer", now_ns, delivery.ticket, delivery.status, delivery.payload_type, *_body(delivery.body))
        if delivery.copies != 1:
            line = (*line, *(None,) * (7 - len(line)), delivery.copies)
        return line
    if isinstance(delivery, Push):
        return ("push", now_ns, delivery.stream, 200, delivery.payload_type, *_body(delivery.body))
    return ("hangup" if isinstance(delivery, Hangup) else "unblock", now_ns, delivery.stream)


def encode_lines(entries: list[Entry]) -> bytes:
    """Lines as bytes. A message that has no form in JSON leaves its description."""
    try:
        return ENCODER.encode_lines(entries)
    except (ValueError, OverflowError, RecursionError, TypeError):
        if len(entries) > 1:
            return b"".join(encode_lines([entry]) for entry in entries)
    (entry,) = entries
    parts = (part if part is None or isinstance(part, (int, str)) else ascii(part) for part in entry)
    return ENCODER.encode_lines([tuple(parts)])


def _path(path: str | PathLike[str]) -> Path:
    from pathlib import Path

    return Path(path)


class Journal:
    """An event log of one simulation: in memory, or streamed to a file.

    In memory the entries are put in form when somebody looks, for mostly nobody does. A stream is written a
    few hundred lines at a time, whenever somebody outside of this process is answered, and at the end.

    A file that cannot be written any more ends at its last whole line, if that can be done: `error` then says why,
    a line on stderr as well, and `on_error` is called. Later lines count in the digest and go nowhere. Nothing is
    raised by that: what a request has done, it is answered for. Errors: OSError where the file cannot be begun.
    """

    def __init__(
        self,
        head: Header,
        path: str | PathLike[str] | None = None,
        errors: JournalErrors = JournalErrors.CONTINUE,
    ) -> None:
        self.header = head
        self.errors = errors
        self.error: OSError | None = None
        self.on_error: Callable[[], object] = lambda: None
        self.path = None if path is None else _path(path)
        self._digest = hashlib.sha256()
        self._waiting: list[Entry] = []
        self._forming = threading.Lock()
        self._written: list[bytes] = []
        self._file: FileIO | None = None
        self._whole_bytes = 0  # of the file, up to the end of its last whole line
        if self.path is not None:
            file = self.path.open("wb", buffering=0)
            try:
                self._write_all(file, ENCODER.encode(head) + b"\n")
            except OSError as error:
                file.close()
                error.filename = str(self.path)
                raise
            self._file = file
            self._at_exit = partial(_call, weakref.WeakMethod(self.close))
            atexit.register(self._at_exit)

    @property
    def stopped(self) -> bool:
        """Whether the simulation must not go on."""
        return self.error is not None and self.errors is JournalErrors.STOP

    @property
    def trouble(self) -> str:
        """What is wrong with the file, in a sentence; "" for nothing."""
        if self.error is None:
            return ""
        what = "the server takes no more requests" if self.stopped else "the server goes on without it"
        why = self.error.strerror or str(self.error)
        return f"the journal {self.path} cannot be written: {why}; it ends after {self._whole_bytes} bytes, and {what}"

    def require(self) -> None:
        """Go no further where the file has failed and nothing shall happen without one. Errors: JournalFailed."""
        if self.stopped:
            raise JournalFailed(self.trouble)

    # ------------------------------------------------------------ what went in
    def attach(self, world: World) -> None:
        """The engine writes what goes into this world right here."""
        world.inputs = self._waiting

    def moved(self, now_ns: int) -> None:
        """Time was moved by hand."""
        self._write(("move", now_ns))

    def marked(self, now_ns: int) -> None:
        """From now on a reset comes back to here."""
        self._write(("mark", now_ns))

    def reset(self, start_ns: int, marked: bool, seed: int | None) -> None:
        """Back to what was marked, or to an empty server."""
        self._write(("reset", start_ns, marked, seed))

    def restored(self, now_ns: int, packed: str) -> None:
        """Back to a snapshot, which stands in the line as `snapshots.pack` packs it."""
        self._write(("restore", now_ns, packed))

    # ------------------------------------------------------------ what came out, and what else there is to know
    def told(self, now_ns: int, deliveries: list[Delivery]) -> None:
        """What a step gave out."""
        for delivery in deliveries:
            if type(delivery) is Answer and (delivery.body is EMPTY or type(delivery.body) in _LASTING):
                self._waiting.append((None, now_ns, delivery))
            else:
                self._waiting.append(told_line(now_ns, delivery))
        if self.path is not None and len(self._waiting) >= _BATCH:
            self.flush()

    def problem(self, now_ns: int, error: Exception) -> None:
        """A step has broken an invariant, or off."""
        self._write(("problem", now_ns, type(error).__name__, str(error)))

    def noted(self, now_ns: int, what: dict[str, Any]) -> None:
        """Something to know that did not reach the core, such as a fault's verdict. A replay passes over it."""
        self._write(("note", now_ns, msgspec.Raw(ENCODER.encode(what))))

    # ------------------------------------------------------------ reading it
    def digest(self) -> str:
        """SHA-256 of all lines so far, the header apart."""
        self._put_in_form()
        return self._digest.hexdigest()

    @property
    def lines(self) -> list[bytes]:
        """All lines so far, the header apart."""
        self._put_in_form()
        if self.path is not None:
            return self.path.read_bytes().split(b"\n")[1:-1]
        return b"".join(self._written).split(b"\n")[:-1]

    def save(self, path: str | PathLike[str]) -> None:
        """Write the whole history to a file that can be replayed."""
        _path(path).write_bytes(b"\n".join((ENCODER.encode(self.header), *self.lines, b"")))

    def flush(self) -> None:
        """Write what waits to the file, if there is one."""
        if self.path is not None:
            self._put_in_form()

    def _put_in_form(self) -> None:
        with self._forming:
            waiting = self._waiting[:]
            del self._waiting[: len(waiting)]  # the engine writes to this very list, perhaps at this moment
            for start in range(0, len(waiting), _BATCH):
                batch = waiting[start : start + _BATCH]
                lines = [entry if entry[0] is not None else told_line(entry[1], entry[2]) for entry in batch]
                text = encode_lines(lines)
                self._digest.update(text)
                if self._file is not None:
                    try:
                        self._write_all(self._file, text)
                    except OSError as error:
                        self._fail(self._file, error)
                elif self.path is None:
                    self._written.append(text)

    def _write_all(self, file: FileIO, text: bytes) -> None:
        left = memoryview(text)
        while left:
            left = left[file.write(left) :]
        self._whole_bytes += len(text)

    def _fail(self, file: FileIO, error: OSError) -> None:
        """The file takes no more: cut off the line that is not whole, and say so once."""
        self.error, self._file = error, None
        atexit.unregister(self._at_exit)
        with suppress(OSError):  # a device or a pipe has no length
            os.ftruncate(file.fileno(), self._whole_bytes)
        with suppress(OSError):
            file.close()
        print(f"colonysim: {self.trouble}", file=sys.stderr, flush=True)
        self.on_error()

    def close(self) -> None:
        """Write what is left; a file takes no more after that. What goes wrong is told as ever, and not raised."""
        if self._file is not None:
            self._put_in_form()
        if (file := self._file) is not None:
            self._file = None
            atexit.unregister(self._at_exit)
            try:
                file.close()
            except OSError as error:
                self._fail(file, error)

    def __del__(self) -> None:
        if getattr(self, "_file", None) is not None:
            self.close()

    def _write(self, entry: Entry) -> None:
        self._waiting.append(entry)


def _call(method: weakref.WeakMethod[Any]) -> None:
    if (bound := method()) is not None:
        bound()
