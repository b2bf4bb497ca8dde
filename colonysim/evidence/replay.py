"""A recorded history again, on a fresh core without network or threads, up to the first difference."""

from __future__ import annotations

import hashlib
import re
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec

from colonysim.core import engine
from colonysim.core.protocol import Answer, Delivery, Push, Request
from colonysim.core.records import ProcessState
from colonysim.core.registry import OPERATIONS
from colonysim.core.world import World
from colonysim.evidence import journal
from colonysim.evidence.invariants import Invariants, InvariantViolation
from colonysim.evidence.journal import Header
from colonysim.kernel import snapshots
from colonysim.kernel.calls import ENCODER
from colonysim.kernel.clock import show_time
from colonysim.kernel.vetting import decoder_of

BEFORE: Final = 8  # lines shown before a difference
MOST_HEADER_BYTES: Final = 65_536
MOST_LINE_BYTES: Final = 256 * 2**20
"""A journal with a longer line cannot be replayed: a request of 64 MiB fits, and a state of 1 GB mostly."""
_SHOWN: Final = 1500  # characters of a line that are shown
_ID: Final = re.compile(r"[0-9a-f]{64}")


class BadJournal(ValueError):
    """The file is no journal that can be replayed. The text says why, and what to do."""


class Difference(msgspec.Struct, frozen=True):
    """Where a replay parted from the record: both sides, the life of the process concerned, the lines before."""

    line: int
    then: str
    now: str
    process_id: str
    story: str
    before: list[str]

    def __str__(self) -> str:
        parts = [f"line {self.line} differs", f"  then: {self.then}", f"  now:  {self.now}"]
        if self.process_id:
            parts += [f"process {self.process_id}, as it was now:", self.story]
        return "\n".join([*parts, "the lines before:", *(f"  {line}" for line in self.before)])


class Replayed(msgspec.Struct, frozen=True):
    """What came of a replay. `difference` is None where all went as recorded, which `same` says."""

    lines: int
    digest: str
    seed: int
    now_ns: int
    problems: list[str]
    difference: Difference | None = None

    @property
    def same(self) -> bool:
        return self.difference is None


# ---------------------------------------------------------------- for people
def show_line(line: bytes) -> str:
    """A line of a journal for people."""
    try:
        kind, at_ns, *rest = msgspec.json.decode(line)
        said = f"{show_time(at_ns)}  {_SAID.get(kind, str)(rest)}"
    except (ValueError, TypeError, IndexError, msgspec.DecodeError):
        said = line.decode(errors="replace")
    return _cut(said)


def _asked(rest: list[Any]) -> str:
    return f"ask {rest[0]} of {rest[1][:8] or 'nobody'}: {rest[2]}  {_json(_told(rest[3]))}"


def _answered(rest: list[Any]) -> str:
    number, status, name, about = rest[0], rest[1], rest[2], rest[3]
    if about is None:
        return f"answer {number}: {status} {name}  {_json(rest[4])}"
    of = f" process {about[2]} {ProcessState(about[3]).name}," if len(about) > 2 else ""
    return f"answer {number}: {status} {name} {of} {about[0]} bytes with checksum {about[1]:08x}"


def _told(value: Any) -> Any:
    """A message without what is left empty in it."""
    if not isinstance(value, dict):
        return value
    return {key: told for key, each in value.items() if (told := _told(each)) not in (None, "", 0, [], {})}


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()


_SAID: Final[dict[str, Callable[[list[Any]], str]]] = {
    "ask": _asked,
    "answer": _answered,
    "push": lambda rest: _answered(rest).replace("answer", "push on stream", 1),
    "fire": lambda rest: f"falls due: {rest[0]}  {_json(rest[1])}",
    "abandon": lambda rest: f"the client of {rest[0]} hangs up",
    "close": lambda rest: f"the client of stream {rest[0]} goes",
    "hangup": lambda rest: f"the server hangs up stream {rest[0]}",
    "unblock": lambda rest: f"stream {rest[0]} is over",
    "catch up": lambda _: "all happens that the server has missed",
    "wakeups": lambda rest: f"parked calls are woken: {rest[0]}",
    "lose memory": lambda _: "the server starts anew",
    "move": lambda _: "time is moved by hand",
    "mark": lambda _: "a reset comes back to here",
    "reset": lambda rest: "reset" + (f" with seed {rest[1]}" if rest[1] is not None else ""),
    "restore": lambda rest: f"restored from a snapshot of {len(rest[0])} characters",
    "problem": lambda rest: f"{rest[0]}: {rest[1]}",
    "note": lambda rest: f"note  {_json(rest[0])}",
}


def _cut(text: str) -> str:
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}… ({len(text)} characters)"


# ---------------------------------------------------------------- what stands in a journal
class _Line(msgspec.Struct, array_like=True):
    at_ns: int


class Ask(_Line, tag="ask"):
    """A request."""

    ticket: int
    caller_id: str
    name: str
    message: msgspec.Raw
    has_nul: bool = False
    stream: int = 0


class Fire(_Line, tag="fire"):
    """Something fell due."""

    event: str
    about: msgspec.Raw


class Abandon(_Line, tag="abandon"):
    """The client of a parked request hung up."""

    ticket: int


class Close(_Line, tag="close"):
    """The client of a subscription went."""

    stream: int


class Move(_Line, tag="move"):
    """Time was moved by hand."""


class Mark(_Line, tag="mark"):
    """A reset comes back to here."""


class Reset(_Line, tag="reset"):
    """Back to what was marked, or to an empty server; under another seed where one is given."""

    marked: bool
    seed: int | None


class Restore(_Line, tag="restore"):
    """Back to a snapshot."""

    state: str


class Note(_Line, tag="note"):
    """Something that did not reach the core."""

    what: msgspec.Raw


class CatchUp(_Line, tag="catch up"):
    """All happened that the server had missed while it was away."""


class Wakeups(_Line, tag="wakeups"):
    """Parked calls were woken in another way from then on."""

    wakeups: str


class LoseMemory(_Line, tag="lose memory"):
    """The server started anew."""


Input = Ask | Fire | Abandon | Close | Move | Mark | Reset | Restore | Note | CatchUp | Wakeups | LoseMemory
_TOLD: Final = ("answer", "push", "hangup", "unblock", "problem")
_INPUTS: Final = msgspec.json.Decoder(Input)


def _message(line: Ask) -> Any:
    row = OPERATIONS.get(line.name)
    if row is None:
        raise ValueError(f"there is no message type {line.name!r} in this version")
    return decoder_of(row.message).decode(line.message)


def read_header(line: bytes) -> Header:
    """The header of a journal. Errors: BadJournal."""
    try:
        raw = msgspec.json.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raw = None
    if not isinstance(raw, dict) or raw.get("colonysim") != "journal":
        raise BadJournal("this is no journal of colonysim: its first line is no header of one")
    if raw.get("format") != journal.FORMAT:
        made = f"by colonysim {raw.get('version')}" if raw.get("version") else "by another version"
        raise BadJournal(
            f"the journal has format {raw.get('format')}, written {made}; this version reads format {journal.FORMAT}: "
            "replay it with the version that wrote it"
        )
    try:
        return msgspec.convert(raw, Header)
    except msgspec.ValidationError as error:
        raise BadJournal(f"the journal's header cannot be read: {error}") from None


# ---------------------------------------------------------------- doing it again
class _Came(NamedTuple):
    """Something that came out: its line, and the whole of it where that is more."""

    line: bytes
    delivery: Delivery | None = None

    def __str__(self) -> str:
        shown = show_line(self.line)
        if isinstance(self.delivery, (Answer, Push)) and (b",[" in self.line):
            shown += f"  {ENCODER.encode(self.delivery.body).decode(errors='replace')}"
        return shown


class Player:
    """A core to which a history happens once more, a line at a time."""

    def __init__(self, head: Header) -> None:
        self.head = head
        self.settings = head.settings
        self.problems: list[str] = []
        self.digest = hashlib.sha256()
        self._marked: bytes | None = None
        self._expected: deque[_Came] = deque()
        self._begin(snapshots.begin(self.settings, head.start_ns))

    def _begin(self, world: World) -> None:
        self.world = world
        self.settings = world.settings
        self.books = Invariants(world)

    def take(self, line: bytes) -> str | None:
        """Let a line happen, or compare it with what has just come out: what there is in its place, if another.

        Errors: ValueError for a line that cannot be read.
        """
        kind = line[2 : line.find(b'"', 2)].decode(errors="replace")
        if kind in _TOLD:
            if not self._expected:
                return "nothing came out any more"
            came = self._expected.popleft()
            self.digest.update(came.line + b"\n")
            return None if came.line == line else str(came)
        if kind != "note" and self._expected:
            return str(self._expected[0])
        self.digest.update(line + b"\n")
        return self._do(_INPUTS.decode(line), line)

    def left(self) -> str | None:
        """What came out and does not stand in the journal any more."""
        return str(self._expected[0]) if self._expected else None

    def _do(self, line: Input, text: bytes) -> str | None:
        if isinstance(line, Note):
            return None
        if isinstance(line, Fire):
            return self._fire(line, text)
        if isinstance(line, Reset):
            self._reset(line)
            return None
        if isinstance(line, Restore):
            self._begin(snapshots.thaw(snapshots.unpack(line.state)))
            return None
        world = self.world
        world.now_ns = max(world.now_ns, line.at_ns)
        if isinstance(line, Ask):
            request = Request(line.ticket, line.caller_id, _message(line), line.has_nul, line.stream)
            self._step(lambda: engine.handle(world, request), request)
        elif isinstance(line, Abandon):
            engine.abandon(world, line.ticket)
        elif isinstance(line, Close):
            engine.close_stream(world, line.stream)
        elif isinstance(line, CatchUp):
            self._step(lambda: engine.catch_up(world))
        elif isinstance(line, Wakeups):
            engine.set_wakeups(world, line.wakeups)
        elif isinstance(line, LoseMemory):
            engine.lose_memory(world)
        elif isinstance(line, Mark):
            self._marked = snapshots.freeze(world)
        return None

    def _fire(self, line: Fire, text: bytes) -> str | None:
        world = self.world
        due_ns = world.next_due()
        if due_ns is None:
            return "nothing is due any more"
        event = world.agenda.peek()
        fires_ns = max(due_ns, world.now_ns)
        (now,) = _lines([("fire", fires_ns, type(event).__name__, event)])
        if now != text:
            return show_line(now)
        self._step(lambda: engine.fire_due(world, fires_ns) or [])
        return None

    def _reset(self, line: Reset) -> None:
        marked = self._marked if line.marked else None
        world = snapshots.thaw(marked) if marked else snapshots.begin(self.settings, line.at_ns)
        if line.seed is not None:
            world.reseed(line.seed)
        self.problems.clear()
        self._begin(world)

    def _step(self, do: Callable[[], list[Delivery]], request: Request | None = None) -> None:
        """One step of the core, and what came out of it."""
        world = self.world
        try:
            deliveries = do()
        except Exception as error:
            self._problem(error)
            return
        lines = _lines([journal.told_line(world.now_ns, delivery) for delivery in deliveries])
        self._expected.extend(map(_Came, lines, deliveries))
        try:
            self.books.check(deliveries, request)
        except InvariantViolation as violation:
            if self.head.invariants:
                self._problem(violation)

    def _problem(self, error: Exception) -> None:
        self.problems.append(str(error))
        (line,) = _lines([("problem", self.world.now_ns, type(error).__name__, str(error))])
        self._expected.append(_Came(line))


def _lines(entries: list[journal.Entry]) -> list[bytes]:
    return journal.encode_lines(entries).split(b"\n")[:-1]


# ---------------------------------------------------------------- a whole file
def replay(
    path: str | Path, *, until: int | None = None, progress: Callable[[int, int], None] | None = None
) -> Replayed:
    """Replay a journal from a file, up to line `until` of it, and stop at the first difference.

    `progress` is told now and then how many bytes have been read, and of how many lines. Errors: BadJournal,
    OSError.
    """
    read, number = 0, 1
    before: deque[bytes] = deque(maxlen=BEFORE)
    with Path(path).open("rb") as file:
        first = file.readline(MOST_HEADER_BYTES)
        player = Player(read_header(first))
        read += len(first)
        for number, line in _numbered(file, until):
            read += len(line)
            text = line[:-1]
            try:
                now = player.take(text)
            except Exception as error:
                raise BadJournal(f"line {number} cannot be replayed: {error}\n  {show_line(text)}") from error
            if now is not None:
                return _result(player, number, _difference(player, number, show_line(text), now, before))
            before.append(text)
            if progress is not None and number % 1000 == 0:
                progress(read, number)
    if until is None and (now := player.left()) is not None:
        gone = "nothing more came out"
        return _result(player, number + 1, _difference(player, number + 1, gone, now, before))
    return _result(player, number, None)


def _numbered(file: Any, until: int | None) -> Iterator[tuple[int, bytes]]:
    """The lines after the header, with their numbers. Errors: BadJournal for one that is too long or cut off."""
    for number, line in enumerate(iter(lambda: file.readline(MOST_LINE_BYTES + 1), b""), 2):
        if until is not None and number > until:
            return
        if len(line) > MOST_LINE_BYTES:
            raise BadJournal(
                f"line {number} has more than {MOST_LINE_BYTES:,} bytes; --until {number - 1} replays what is before it"
            )
        if not line.endswith(b"\n"):
            raise BadJournal(
                f"line {number}, the last one, is cut off: whoever wrote it was stopped in the middle; "
                f"--until {number - 1} replays what is before it"
            )
        yield number, line


def _result(player: Player, lines: int, difference: Difference | None) -> Replayed:
    digest = player.digest.hexdigest()
    return Replayed(lines, digest, player.head.seed, player.world.now_ns, list(player.problems), difference)


def _difference(player: Player, number: int, then: str, now: str, before: deque[bytes]) -> Difference:
    process_id = _process_in(player, now, then, *(line.decode(errors="replace") for line in list(before)[:-4:-1]))
    story = player.books.story(process_id) if process_id else ""
    return Difference(number, _cut(then), _cut(now), process_id, story, [show_line(line) for line in before])


def _process_in(player: Player, *texts: str) -> str:
    """The first process that is spoken of."""
    for text in texts:
        for process_id in _ID.findall(text):
            if process_id in player.world.processes:
                return str(process_id)
    return ""
