"""The journal of a simulation: a line for each input and output of the core.

The format is JSON Lines: a header, then an array for each line, which starts with its kind. Inputs are written in full,
so that they can be replayed. Of an output, a short body is written in full, and of a long one its size and checksum;
that is enough to find the first difference, because a replay has the other body. Two runs with the same seed have the
same lines and digest.
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

from colonysim.core.protocol import EMPTY, Answer, Delivery, Empty, ErrorBody, Hangup, Push, Request
from colonysim.core.records import Process
from colonysim.core.registry import BY_MESSAGE
from colonysim.core.replies import AssignReply
from colonysim.core.settings import Settings
from colonysim.core.world import World
from colonysim.kernel.calls import ENCODER

if TYPE_CHECKING:
    from collections.abc import Callable
    from io import FileIO
    from pathlib import Path  # slow to import, and only needed for a journal in a file

FORMAT: Final = 1
INLINE_BYTES: Final = 300
"""A body up to this length is written in full."""

_BATCH: Final = 256  # entries that are buffered before they are written to the file
_IMMUTABLE: Final = frozenset({Empty, Process, AssignReply, ErrorBody})
"""Types of bodies that nothing changes later. They, and requests, are encoded when they are needed."""

Entry = tuple[Any, ...]


class JournalErrors(StrEnum):
    """What a simulation does if the file of its journal cannot be written any more, as on a full disk."""

    CONTINUE = "continue"  # it continues without the journal
    STOP = "stop"  # it refuses requests and to advance time; its state can still be saved


class JournalFailed(RuntimeError):
    """The journal could not be written, and the simulation stopped, as JournalErrors.STOP asks."""


class JournalHeader(msgspec.Struct, frozen=True, kw_only=True):
    """The first line of a journal: its format, and the configuration of the simulation at the start."""

    colonysim: str = "journal"
    format: int = FORMAT
    version: str
    python: str = ""
    seed: int
    mode: str
    start_ns: int
    """Virtual start time. The server is empty then; the lines of the journal fill it."""
    invariants: bool
    settings: Settings


def header(settings: Settings, mode: str, start_ns: int, invariants: bool) -> JournalHeader:
    """Make the header of a new journal."""
    return JournalHeader(
        version=sys.modules["colonysim"].__version__,  # modules of this room must not import the package's façade
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
    """Return the last parts of a line with a body: (None, body), or ((size, CRC-32, process id, state),)."""
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


def request_line(now_ns: int, request: Request) -> Entry:
    """Return the entry for a request."""
    message = request.message
    line = ("ask", now_ns, request.ticket, request.caller_id, BY_MESSAGE[type(message)].name, message)
    return (*line, request.has_nul, request.stream) if request.has_nul or request.stream else line


def output_line(now_ns: int, delivery: Delivery) -> Entry:
    """Return the entry for an output of the core."""
    if isinstance(delivery, Answer):
        line = ("answer", now_ns, delivery.ticket, delivery.status, delivery.payload_type, *_body(delivery.body))
        if delivery.copies != 1:
            line = (*line, *(None,) * (7 - len(line)), delivery.copies)
        return line
    if isinstance(delivery, Push):
        return ("push", now_ns, delivery.stream, 200, delivery.payload_type, *_body(delivery.body))
    return ("hangup" if isinstance(delivery, Hangup) else "unblock", now_ns, delivery.stream)


def encode_lines(entries: list[Entry]) -> bytes:
    """Encode entries as lines of JSON. Parts of an entry that JSON cannot represent are written as text."""
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
    """The journal of one simulation, in memory or written to a file.

    In memory, entries are encoded when they are first read, which is rare. A file is written in batches, before each
    reply to a client outside of this process, and at the end.

    If the file cannot be written any more, it is truncated after its last complete line where possible, the error is
    stored in `error` and printed on stderr, `on_stop` is called if the simulation must stop, and `on_error` in any
    case. Later lines count in the digest only. Nothing is raised then, because the request in progress has taken
    effect and must be answered. Raises OSError if the file cannot be created.
    """

    def __init__(
        self,
        head: JournalHeader,
        path: str | PathLike[str] | None = None,
        errors: JournalErrors = JournalErrors.CONTINUE,
    ) -> None:
        self.header = head
        self.errors = errors
        self.error: OSError | None = None
        self.on_error: Callable[[], object] = lambda: None
        self.on_stop: Callable[[], object] = lambda: None
        self.path = None if path is None else _path(path)
        self._digest = hashlib.sha256()
        self._waiting: list[Entry | Answer] = []
        self._latest_ns = 0  # the time of the last input or note that was encoded
        self._encoding = threading.Lock()
        self._written: list[bytes] = []
        self._file: FileIO | None = None
        self._whole_bytes = 0  # size of the file up to the end of its last complete line
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
        """Whether the simulation must stop, because of an error with JournalErrors.STOP."""
        return self.error is not None and self.errors is JournalErrors.STOP

    @property
    def trouble(self) -> str:
        """The error of the file as a sentence; "" if there is none."""
        if self.error is None:
            return ""
        what = "the server refuses requests" if self.stopped else "the server continues without it"
        why = self.error.strerror or str(self.error)
        return f"the journal {self.path} cannot be written: {why}; it ends after {self._whole_bytes} bytes, and {what}"

    def require(self) -> None:
        """Raise JournalFailed if the simulation must stop."""
        if self.stopped:
            raise JournalFailed(self.trouble)

    # ------------------------------------------------------------ inputs
    def attach(self, world: World) -> None:
        """Let the engine append the inputs of this world to the buffer of the journal."""
        world.inputs = self._waiting

    def moved(self, now_ns: int) -> None:
        """Record that the clock was moved manually."""
        self._write(("move", now_ns))

    def marked(self, now_ns: int) -> None:
        """Record that this state is the one that later resets restore."""
        self._write(("mark", now_ns))

    def reset(self, start_ns: int, marked: bool, seed: int | None) -> None:
        """Record a reset to the marked state or to an empty server, with a new seed if one is given."""
        self._write(("reset", start_ns, marked, seed))

    def restored(self, now_ns: int, packed: str) -> None:
        """Record that a snapshot was restored, which `packed` contains (see `snapshots.pack`)."""
        self._write(("restore", now_ns, packed))

    # ------------------------------------------------------------ outputs and notes
    def delivered(self, now_ns: int, deliveries: list[Delivery]) -> None:
        """Record the outputs of a step of the core."""
        for delivery in deliveries:
            if type(delivery) is Answer and type(delivery.body) in _IMMUTABLE:
                self._waiting.append(delivery)  # at the time of the input that led to it, which stands before it
            else:
                self._waiting.append(output_line(now_ns, delivery))
        if self.path is not None and len(self._waiting) >= _BATCH:
            self.flush()

    def problem(self, now_ns: int, error: Exception) -> None:
        """Record that a step broke an invariant or raised an exception."""
        self._write(("problem", now_ns, type(error).__name__, str(error)))

    def noted(self, now_ns: int, what: dict[str, Any]) -> None:
        """Record something that did not reach the core, such as a strike of a fault. A replay ignores it."""
        self._write(("note", now_ns, msgspec.Raw(ENCODER.encode(what))))

    # ------------------------------------------------------------ reading
    def digest(self) -> str:
        """Return the SHA-256 of all lines so far, without the header, in hexadecimal."""
        self._encode_waiting()
        return self._digest.hexdigest()

    @property
    def lines(self) -> list[bytes]:
        """All lines so far, without the header."""
        self._encode_waiting()
        if self.path is not None:
            return self.path.read_bytes().split(b"\n")[1:-1]
        return b"".join(self._written).split(b"\n")[:-1]

    def save(self, path: str | PathLike[str]) -> None:
        """Write the whole journal to a file that can be replayed. Raises OSError."""
        _path(path).write_bytes(b"\n".join((ENCODER.encode(self.header), *self.lines, b"")))

    def flush(self) -> None:
        """Write the buffered entries to the file, if there is one."""
        if self.path is not None:
            self._encode_waiting()

    def _encode_waiting(self) -> None:
        """Encode the buffered entries, add them to the digest, and write them to the file or to memory."""
        with self._encoding:
            waiting = self._waiting[:]
            del self._waiting[: len(waiting)]  # not clear(): the engine may append to this list at the same time
            for start in range(0, len(waiting), _BATCH):
                batch = waiting[start : start + _BATCH]
                text = encode_lines([self._line(entry) for entry in batch])
                self._digest.update(text)
                if self._file is not None:
                    try:
                        self._write_all(self._file, text)
                    except OSError as error:
                        self._fail(self._file, error)
                elif self.path is None:
                    self._written.append(text)

    def _line(self, entry: Entry | Answer) -> Entry:
        if type(entry) is Answer:
            return output_line(self._latest_ns, entry)
        self._latest_ns = entry[1]
        return entry if entry[0] is not None else request_line(entry[1], entry[2])

    def _write_all(self, file: FileIO, text: bytes) -> None:
        left = memoryview(text)
        while left:
            left = left[file.write(left) :]
        self._whole_bytes += len(text)

    def _fail(self, file: FileIO, error: OSError) -> None:
        """Handle an error of the file: truncate an incomplete line, print the error, and call `on_error`."""
        self.error, self._file = error, None
        atexit.unregister(self._at_exit)
        with suppress(OSError):  # a device or a pipe cannot be truncated
            os.ftruncate(file.fileno(), self._whole_bytes)
        with suppress(OSError):
            file.close()
        if self.stopped:
            self.on_stop()
        print(f"colonysim: {self.trouble}", file=sys.stderr, flush=True)
        self.on_error()

    def close(self) -> None:
        """Write the buffered entries and close the file. Errors are handled as described for the class, not raised."""
        if self._file is not None:
            self._encode_waiting()
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
    """Call a method at exit if its object still exists."""
    if (bound := method()) is not None:
        bound()
