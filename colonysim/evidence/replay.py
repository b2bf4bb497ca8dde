"""Replay a journal on a new core, without network or threads, up to the first difference."""

from __future__ import annotations

import hashlib
import re
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec

from colonysim.core import engine, policies
from colonysim.core.protocol import Answer, Delivery, Push, Request
from colonysim.core.records import ProcessState
from colonysim.core.registry import OPERATIONS
from colonysim.core.wording import show_count, show_size
from colonysim.core.world import World
from colonysim.evidence import journal
from colonysim.evidence.journal import JournalHeader
from colonysim.invariants import Invariants, InvariantViolation
from colonysim.kernel import snapshots
from colonysim.kernel.calls import ENCODER
from colonysim.kernel.clock import show_time
from colonysim.wire.vetting import decoder_of

BEFORE: Final = 8  # lines shown before a difference
MOST_HEADER_BYTES: Final = 65_536
MOST_LINE_BYTES: Final = 256 * 2**20
"""A journal with a longer line cannot be replayed. A request of 64 MiB fits, and usually a packed state of 1 GB."""
_SHOWN: Final = 1500  # characters shown of a line
_ID: Final = re.compile(r"[0-9a-f]{64}")


class BadJournal(ValueError):
    """The file is not a journal that can be replayed. The text says why, and how to fix it."""


class Difference(msgspec.Struct, frozen=True):
    """The first difference between a journal and its replay.

    `line`: its number in the file. `then` and `now`: the recorded line and the one of the replay. `process_id` and
    `story`: the process concerned and its timeline. `before`: the lines before, oldest first.
    """

    line: int
    then: str
    now: str
    process_id: str
    story: str
    before: list[str]

    def __str__(self) -> str:
        parts = [f"line {self.line} differs", f"  then: {self.then}", f"  now:  {self.now}"]
        if self.process_id:
            parts += [f"process {self.process_id} in the replay:", self.story]
        return "\n".join([*parts, "the lines before:", *(f"  {line}" for line in self.before)])


class Replayed(msgspec.Struct, frozen=True):
    """The result of a replay. `difference` is None if it gave the recorded lines.

    `lines`: number of lines replayed, with the header. `digest`: SHA-256 of the lines of the replay. `now_ns`: virtual
    time at its end. `problems`: broken invariants and exceptions, which the recording has as well.
    """

    lines: int
    digest: str
    seed: int
    now_ns: int
    problems: list[str]
    difference: Difference | None = None

    @property
    def same(self) -> bool:
        """Whether there is no difference."""
        return self.difference is None


# ---------------------------------------------------------------- readable lines
def show_line(line: bytes, name_of: Callable[[str], str] = lambda caller_id: caller_id[:8] or "nobody") -> str:
    """Format a line of a journal for people. `name_of` gives the name of a caller."""
    try:
        kind, at_ns, *rest = msgspec.json.decode(line)
        shown = _format_ask(rest, name_of) if kind == "ask" else _FORMATS.get(kind, str)(rest)
        text = f"{show_time(at_ns)}  {shown}"
    except (ValueError, TypeError, IndexError, msgspec.DecodeError):
        text = line.decode(errors="replace")
    return _cut(text)


def _format_ask(rest: list[Any], name_of: Callable[[str], str]) -> str:
    return f"ask {rest[0]} of {name_of(rest[1])}: {rest[2]}  {_json(_without_empty(rest[3]))}"


def _format_answer(rest: list[Any]) -> str:
    number, status, name, about = rest[0], rest[1], rest[2], rest[3]
    if about is None:
        return f"answer {number}: {status} {name}  {_json(rest[4])}"
    of = f" process {about[2]} {ProcessState(about[3]).name}," if len(about) > 2 else ""
    return f"answer {number}: {status} {name} {of} {show_size(about[0])} with checksum {about[1]:08x}"


def _without_empty(value: Any) -> Any:
    """Remove the empty fields of a message."""
    if not isinstance(value, dict):
        return value
    return {key: kept for key, each in value.items() if (kept := _without_empty(each)) not in (None, "", 0, [], {})}


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()


_FORMATS: Final[dict[str, Callable[[list[Any]], str]]] = {
    "answer": _format_answer,
    "push": lambda rest: _format_answer(rest).replace("answer", "push on stream", 1),
    "fire": lambda rest: f"due: {rest[0]}  {_json(rest[1])}",
    "abandon": lambda rest: f"the client of {rest[0]} closes its connection",
    "close": lambda rest: f"the client of stream {rest[0]} closes its connection",
    "hangup": lambda rest: f"the server closes stream {rest[0]}",
    "unblock": lambda rest: f"stream {rest[0]} ends",
    "catch up": lambda _: "the server handles the events that were due while it was down",
    "wakeups": lambda rest: f"wake-ups of parked calls: {rest[0]}",
    "lose memory": lambda _: "the server restarts",
    "move": lambda _: "the clock is moved manually",
    "mark": lambda _: "this state is marked for resets",
    "reset": lambda rest: "reset" + (f" with seed {rest[1]}" if rest[1] is not None else ""),
    "restore": lambda rest: f"restored from a snapshot of {show_count(len(rest[0]), 'character')}",
    "problem": lambda rest: f"{rest[0]}: {rest[1]}",
    "note": lambda rest: f"note  {_json(rest[0])}",
}


def _cut(text: str) -> str:
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}… ({len(text):,} characters)"


# ---------------------------------------------------------------- lines of inputs
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
    """A scheduled event was due."""

    event: str
    about: msgspec.Raw


class Abandon(_Line, tag="abandon"):
    """The client of a parked request closed its connection."""

    ticket: int


class Close(_Line, tag="close"):
    """The client of a subscription closed its connection."""

    stream: int


class Move(_Line, tag="move"):
    """The clock was moved manually."""


class Mark(_Line, tag="mark"):
    """The state was marked for later resets."""


class Reset(_Line, tag="reset"):
    """The simulation was reset to the marked state or to an empty server, with a new seed if one is given."""

    marked: bool
    seed: int | None


class Restore(_Line, tag="restore"):
    """A snapshot was restored."""

    state: str


class Note(_Line, tag="note"):
    """A note that did not reach the core."""

    what: msgspec.Raw


class CatchUp(_Line, tag="catch up"):
    """The server handled the events that were due while it was down."""


class Wakeups(_Line, tag="wakeups"):
    """The way in which parked calls are woken was changed."""

    wakeups: str


class LoseMemory(_Line, tag="lose memory"):
    """The server restarted, and lost what it keeps in memory."""


Input = Ask | Fire | Abandon | Close | Move | Mark | Reset | Restore | Note | CatchUp | Wakeups | LoseMemory
_OUTPUTS: Final = ("answer", "push", "hangup", "unblock", "problem")
_INPUTS: Final = msgspec.json.Decoder(Input)


def _message(line: Ask) -> Any:
    row = OPERATIONS.get(line.name)
    if row is None:
        raise ValueError(f"this version has no message type {line.name!r}")
    return decoder_of(row.message).decode(line.message)


def read_header(line: bytes) -> JournalHeader:
    """Read the header of a journal from its first line. Raises BadJournal."""
    try:
        raw = msgspec.json.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raw = None
    if not isinstance(raw, dict) or raw.get("colonysim") != "journal":
        raise BadJournal("not a colonysim journal: line 1 is not a journal header")
    if raw.get("format") != journal.FORMAT:
        made = f"by colonysim {raw.get('version')}" if raw.get("version") else "by another version"
        raise BadJournal(
            f"the journal has format {raw.get('format')}, written {made}; this version reads format {journal.FORMAT}: "
            "replay it with the version that wrote it"
        )
    settings = raw.get("settings")
    policy = settings.get("policy") if isinstance(settings, dict) else None
    if isinstance(policy, str) and ":" in policy and policies.policy_of(policy) is None:
        raise BadJournal(
            f"the journal was recorded with the policy {policy!r}, which this process does not know: replay it in "
            "Python, after Simulation(policy=...) with that function, or after a run of its scenario"
        )
    try:
        return msgspec.convert(raw, JournalHeader)
    except msgspec.ValidationError as error:
        raise BadJournal(f"invalid journal header: {error}") from None


# ---------------------------------------------------------------- replaying
class _Output(NamedTuple):
    """An output of the replay: its line, and the delivery with the full body."""

    line: bytes
    delivery: Delivery | None = None

    def __str__(self) -> str:
        shown = show_line(self.line)
        if isinstance(self.delivery, (Answer, Push)) and (b",[" in self.line):
            shown += f"  {ENCODER.encode(self.delivery.body).decode(errors='replace')}"
        return shown


class Player:
    """Replays a journal on a core, one line at a time."""

    def __init__(self, head: JournalHeader) -> None:
        self.head = head
        self.settings = head.settings
        self.problems: list[str] = []
        self.digest = hashlib.sha256()
        self._marked: bytes | None = None
        self._outputs: deque[_Output] = deque()  # of the last inputs, not yet compared
        self._begin(snapshots.new_world(self.settings, head.start_ns))

    def _begin(self, world: World) -> None:
        self.world = world
        self.settings = world.settings
        self.invariants = Invariants(world)

    def take(self, line: bytes) -> str | None:
        """Replay a line that is an input, or compare one that is an output.

        Returns None, or for a difference what the replay has in place of the line. Raises ValueError for a line that
        cannot be read.
        """
        kind = line[2 : line.find(b'"', 2)].decode(errors="replace")
        if kind in _OUTPUTS:
            if not self._outputs:
                return "no further output"
            output = self._outputs.popleft()
            self.digest.update(output.line + b"\n")
            return None if output.line == line else str(output)
        if kind != "note" and self._outputs:
            return str(self._outputs[0])
        self.digest.update(line + b"\n")
        return self._do(_INPUTS.decode(line), line)

    def left(self) -> str | None:
        """Return the first output of the replay that the journal does not contain, if there is one."""
        return str(self._outputs[0]) if self._outputs else None

    def _do(self, line: Input, text: bytes) -> str | None:
        if isinstance(line, Note):
            return None
        if isinstance(line, Fire):
            return self._fire(line, text)
        if isinstance(line, Reset):
            self._reset(line)
            return None
        if isinstance(line, Restore):
            self._begin(snapshots.load(snapshots.unpack(line.state)))
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
            self._marked = snapshots.dump(world)
        return None

    def _fire(self, line: Fire, text: bytes) -> str | None:
        world = self.world
        due_ns = world.next_due()
        if due_ns is None:
            return "nothing is due"
        event = world.agenda.peek()
        fires_ns = max(due_ns, world.now_ns)
        (now,) = _lines([("fire", fires_ns, type(event).__name__, event)])
        if now != text:
            return show_line(now)
        self._step(lambda: engine.fire_due(world, fires_ns) or [])
        return None

    def _reset(self, line: Reset) -> None:
        marked = self._marked if line.marked else None
        world = snapshots.load(marked) if marked else snapshots.new_world(self.settings, line.at_ns)
        if line.seed is not None:
            world.reseed(line.seed)
        self.problems.clear()
        self._begin(world)

    def _step(self, do: Callable[[], list[Delivery]], request: Request | None = None) -> None:
        """Run one step of the core, and collect its outputs."""
        world = self.world
        try:
            deliveries = do()
        except Exception as error:
            self._problem(error)
            return
        lines = _lines([journal.output_line(world.now_ns, delivery) for delivery in deliveries])
        self._outputs.extend(map(_Output, lines, deliveries))
        try:
            self.invariants.check(deliveries, request)
        except InvariantViolation as violation:
            if self.head.invariants:
                self._problem(violation)

    def _problem(self, error: Exception) -> None:
        self.problems.append(str(error))
        (line,) = _lines([("problem", self.world.now_ns, type(error).__name__, str(error))])
        self._outputs.append(_Output(line))


def _lines(entries: list[journal.Entry]) -> list[bytes]:
    return journal.encode_lines(entries).split(b"\n")[:-1]


# ---------------------------------------------------------------- a whole file
def replay(
    path: str | Path, *, until: int | None = None, progress: Callable[[int, int], None] | None = None
) -> Replayed:
    """Replay a journal from a file, up to line `until` (1 is the header), and stop at the first difference.

    `progress` is called periodically with the number of bytes and of lines read. Raises BadJournal, OSError.
    """
    return play(path, until=until, progress=progress)[0]


def play(
    path: str | Path,
    *,
    until: int | None = None,
    progress: Callable[[int, int], None] | None = None,
    look: Callable[[bytes], None] = lambda line: None,
) -> tuple[Replayed, Player]:
    """Replay a journal as `replay` does, and return the player as well, with the world at the end.

    `look` is called with each line that was replayed.
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
                return _result(player, number, _difference(player, number, show_line(text), now, before)), player
            before.append(text)
            look(text)
            if progress is not None and number % 1000 == 0:
                progress(read, number)
    if until is None and (now := player.left()) is not None:
        end = "end of the journal"
        return _result(player, number + 1, _difference(player, number + 1, end, now, before)), player
    return _result(player, number, None), player


def _numbered(file: Any, until: int | None) -> Iterator[tuple[int, bytes]]:
    """Yield the lines after the header with their numbers. Raises BadJournal for a line too long or incomplete."""
    for number, line in enumerate(iter(lambda: file.readline(MOST_LINE_BYTES + 1), b""), 2):
        if until is not None and number > until:
            return
        if len(line) > MOST_LINE_BYTES:
            raise BadJournal(
                f"line {number} has more than {MOST_LINE_BYTES:,} bytes; --until {number - 1} replays the lines before"
            )
        if not line.endswith(b"\n"):
            raise BadJournal(
                f"line {number}, the last one, is incomplete: its writer was stopped while writing it; "
                f"--until {number - 1} replays the lines before"
            )
        yield number, line


def _result(player: Player, lines: int, difference: Difference | None) -> Replayed:
    digest = player.digest.hexdigest()
    return Replayed(lines, digest, player.head.seed, player.world.now_ns, list(player.problems), difference)


def _difference(player: Player, number: int, then: str, now: str, before: deque[bytes]) -> Difference:
    process_id = _process_in(player, now, then, *(line.decode(errors="replace") for line in list(before)[:-4:-1]))
    story = player.invariants.story(process_id) if process_id else ""
    return Difference(number, _cut(then), _cut(now), process_id, story, [show_line(line) for line in before])


def _process_in(player: Player, *texts: str) -> str:
    """Return the first id in the texts that belongs to a process."""
    for text in texts:
        for process_id in _ID.findall(text):
            if process_id in player.world.processes:
                return str(process_id)
    return ""
