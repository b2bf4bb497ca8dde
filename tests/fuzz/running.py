"""Fuzzing worlds: steps are drawn, taken and checked; the steps of a world that went wrong are made few.

A step is data, so that a finding can be taken again: ("api", body), ("frames", connection, bytes),
("advance", seconds), ("hang up", number).
"""

from __future__ import annotations

import base64
import json
import pickle
import random
import re
import signal
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final, NamedTuple

from colonysim import ColonyClient, Simulation
from colonysim.core.engine import OPERATIONS
from colonysim.core.registry import Operation
from colonysim.core.settings import STOCK_SERVER_KEY
from colonysim.core.world import World
from colonysim.invariants import ServerRaised
from colonysim.web.endpoint import Endpoint
from colonysim.web.websocket import Session
from colonysim.wire.codec import Outgoing
from colonysim.wire.identity import sign

from .drawing import Drawer, garbled, spoiled

Step = tuple[Any, ...]
KNOWN_STATUSES: Final = frozenset((200, 400, 403, 404, 408, 409, 500, 503))
MESSAGES_PER_WORLD: Final = 300
MOST_PROCESSES: Final = 120
MOST_EVENTS: Final = 20_000
"""So many events may happen while a world's clock moves by a minute."""
HANG_AFTER_S: Final = 30
TEXT_FRAME: Final = b"\x81"
_RARE: Final = frozenset(
    [
        "removecolonymsg",
        "changecolonyidmsg",
        "changeserveridmsg",
        "changeuseridmsg",
        "changeexecutoridmsg",
        "removeallprocessesmsg",
        "removeallprocessgraphsmsg",
        "removeusermsg",
        "removeexecutormsg",
        "rejectexecutormsg",
        "pauseassignmentsmsg",
    ]
)
_OFTEN: Final = frozenset(
    [
        "submitfuncspecmsg",
        "submitworkflowspecmsg",
        "assignprocessmsg",
        "closesuccessfulmsg",
        "closefailedmsg",
        "addchildmsg",
        "addblueprintmsg",
        "updateblueprintmsg",
    ]
)
NAMES: Final = tuple(sorted(OPERATIONS))
_WEIGHTS: Final = [0.15 if name in _RARE else 4.0 if name in _OFTEN else 1.0 for name in NAMES]
_UNPRINTABLE: Final = b"year outside of range [0,9999]"
"""What was asked for was done, only the reply cannot be printed: so it is in the reference.

Source: docs/protocol/a-foundation.md 2.7.
"""
_POLLED: Final = re.compile(r"\.(executors|last_heard_ns|heard_apart|cleanup\w*|agenda|queues)")
_REFUSALS_THAT_CHANGE: Final = {
    # A call for a process that gets none was served: the executor has been heard from, which moves its deadline, and
    # what the queues have kept of processes that are gone is dropped.
    b"No process available": _POLLED,
    b"Assignment timeout: ": _POLLED,
    b"No processes available: ": _POLLED,
    # Quirk: the output is written before the state is looked at.
    b" as successful": re.compile(r"\.(processes|by_state)\[.*\.output"),
    # Quirk: the generation is raised before the handler is looked for.
    b"Blueprint has no handler": re.compile(r"\.blueprints\[.*\.metadata\.generation"),
    # Quirk: what has a colon in its name is stored, and cannot be read for the reply
    # (docs/protocol/a-foundation.md 7.5).
    b"Failed to parse Executor name": re.compile(
        r"\.(unreadable_names|executors|executor_places|places_given|id_given|ids_given"
        r"|last_heard_ns|heard_apart|cleanup\w*|agenda)"
    ),
    b"addedUser is nil": re.compile(r"\.(unreadable_names|users)"),
    b"addedLocation is nil": re.compile(r"\.locations"),
    b"rate limit exceeded": re.compile(r"\.channels\[.*\.credit"),
    b"channel log is full": re.compile(r"\.channels\[.*\.credit"),
}
"""Texts of the refusals that change something, and all they may change."""


class Finding(NamedTuple):
    """What went wrong, and the steps in one world that lead there."""

    what: str
    detail: str
    steps: list[Step]


class Hang(Exception):
    """A step has not come to an end."""


class Wrong(Exception):
    """A step has broken a promise."""


# ---------------------------------------------------------------- state
def fingerprint(world: World) -> bytes:
    """All that the world is, but for what it has to tell observers. Equal bytes mean equal worlds."""
    trace, world.history = world.history, None
    try:
        return pickle.dumps(world, protocol=5)
    finally:
        world.history = trace


def _differences(before: Any, after: Any, path: str = "", seen: set[tuple[int, int]] | None = None) -> Iterator[str]:
    """Where two worlds differ, value by value."""
    seen = set() if seen is None else seen
    if (id(before), id(after)) in seen:
        return
    seen.add((id(before), id(after)))
    if type(before) is not type(after):
        yield f"{path}: {before!r:.80} became {after!r:.80}"
    elif isinstance(before, dict):
        if list(before) != list(after):
            yield f"{path}: keys {list(before)!r:.200} became {list(after)!r:.200}"
        for key in before.keys() & after.keys():
            yield from _differences(before[key], after[key], f"{path}[{key!r:.20}]", seen)
    elif isinstance(before, (list, tuple)):
        if len(before) != len(after):
            yield f"{path}: {len(before)} items became {len(after)}"
        for place, pair in enumerate(zip(before, after, strict=False)):
            yield from _differences(*pair, f"{path}[{place}]", seen)
    elif (fields := _fields(before)) is not None:
        for name in fields:
            yield from _differences(getattr(before, name, None), getattr(after, name, None), f"{path}.{name}", seen)
    elif isinstance(before, random.Random):
        if before.getstate() != after.getstate():
            yield f"{path}: something was drawn"
    elif before != after:
        yield f"{path}: {before!r:.80} became {after!r:.80}"


def _fields(value: Any) -> list[str] | None:
    if isinstance(value, (str, bytes, int, float, frozenset, set, type(None), random.Random)):
        return None
    names = [name for cls in type(value).__mro__ for name in getattr(cls, "__slots__", ())]
    names += getattr(value, "__struct_fields__", ())
    names += vars(value) if hasattr(value, "__dict__") else ()
    return names or None


def changes(before: bytes, world: World) -> list[str]:
    """What differs from a fingerprint; equal values that are no longer one object are no difference."""
    after = fingerprint(world)
    return [] if before == after else list(_differences(pickle.loads(before), pickle.loads(after)))  # our own bytes


# ---------------------------------------------------------------- one world
class Player:
    """One world, its open connections and parked calls; `take` takes a step and checks what comes of it."""

    def __init__(self, signed: bool = False) -> None:
        self.sim = sim = Simulation(mode="manual", verify_signatures=signed, timezone="Europe/Stockholm", seed=7)
        self.endpoint = Endpoint(sim)
        self.keys: dict[str, str] = {}
        for name in ("c", "d"):
            colony = ColonyClient.create(sim, name)
            clients: list[Any] = [colony, colony.add_user("u1")]
            clients += (
                [colony.add_executor(kind, each) for kind, each in (("t", "e1"), ("t2", "e2"))] if name == "c" else []
            )
            self.keys |= {client.id: client.private_key for client in clients}
        self.keys[sim.world.server_id] = STOCK_SERVER_KEY
        self.pending: list[Any] = []
        self.sessions: dict[int, Session] = {}
        self.heard: list[bytes] = []
        self._before: bytes | None = None

    @property
    def world(self) -> World:
        return self.sim.world

    def take(self, step: Step) -> str:
        """Take a step: the status it was answered with, or what became of it. Errors: Wrong; whatever is a bug."""
        kind, *rest = step
        if kind == "api":
            return self._ask(*rest)
        if kind == "frames":
            return self._send(*rest)
        self._before = None
        if kind == "advance":
            steps = self.sim.kernel.steps
            self.sim.advance(rest[0], settle=False)
            if self.sim.kernel.steps - steps > MOST_EVENTS:
                raise Wrong(f"{self.sim.kernel.steps - steps} events in {rest[0]} s")
        elif self.pending:
            self.sim.abandon(self.pending.pop(rest[0] % len(self.pending)))
        return kind

    def _ask(self, body: bytes) -> str:
        before = self._before = self._before or fingerprint(self.world)
        begun = self.endpoint.begin(body, outside=False)
        if isinstance(begun, tuple):
            pending, incoming = begun
            if pending.answer is None:
                self.pending.append(pending)
                self._before = None
                return "parked"
            reply = self.endpoint.finish(pending, incoming)
        else:
            reply = begun
        assert reply is not None
        _check_reply(reply)
        if reply.status == 200 or _UNPRINTABLE in _message(reply):
            self._before = None
        else:
            allowed = next((where for text, where in _REFUSALS_THAT_CHANGE.items() if text in _message(reply)), None)
            self._unchanged(before, allowed)
        return str(reply.status)

    def _unchanged(self, before: bytes, allowed: re.Pattern[str] | None = None) -> None:
        found = changes(before, self.world)
        if allowed is not None:
            found = [change for change in found if not allowed.match(change)]
            self._before = None
        if found:
            raise Wrong(f"a refusal changed {len(found)} things: {'; '.join(found[:3])}")

    def _send(self, number: int, data: bytes) -> str:
        session = self.sessions.get(number)
        if session is None or session.closed:
            session = self.sessions[number] = Session(self.endpoint, self.heard.append, lambda: None)
        before, self._before = fingerprint(self.world), None
        self.heard.clear()
        had_streams = bool(session.streams)
        session.receive(data)
        if session.closed:
            return "closed"
        frames = b"".join(self.heard)
        if b'"error":true' in frames and not had_streams and not session.streams:
            self._unchanged(before)
            return "refused"
        return "subscribed" if session.streams else "silent"

    def end(self) -> None:
        """Hang up everywhere, and see that all is well. Errors: InvariantViolation."""
        for session in self.sessions.values():
            session.disconnected()
        self.sim.check()


def _check_reply(reply: Outgoing) -> None:
    if reply.status not in KNOWN_STATUSES:
        raise Wrong(f"answered with the unknown status {reply.status}")
    if not reply.body:
        if reply.status not in (200, 500):
            raise Wrong(f"{reply.status} with an empty body")
    elif reply.body.count(b'{"payloadtype"') == 1:
        envelope = json.loads(reply.body)
        shown = json.loads(base64.b64decode(envelope["payload"]).decode("utf-8", "replace"))  # an echo is as it came
        if envelope["error"] is not (envelope["payloadtype"] == "error") or envelope["error"] is not (
            reply.status != 200
        ):
            raise Wrong(f"{reply.status} in an envelope that says otherwise: {reply.body!r:.200}")
        if envelope["error"] and (shown["status"] != reply.status or not shown["message"]):
            raise Wrong(f"{reply.status} with the failure {shown!r:.200}")


def _message(reply: Outgoing) -> bytes:
    return base64.b64decode(json.loads(reply.body)["payload"]) if reply.body.count(b'{"payloadtype"') == 1 else b""


# ---------------------------------------------------------------- drawing steps
class _Source:
    """Draws the steps of one world, as it is when each of them is taken."""

    def __init__(self, rng: random.Random, player: Player, signed: bool) -> None:
        self.rng, self.player, self.signed = rng, player, signed

    def step(self) -> tuple[str, Step]:
        """The message type, "" for none, and the step."""
        rng = self.rng
        if rng.random() < 0.06:
            if rng.random() < 0.3:
                return "", ("hang up", rng.randrange(8))
            return "", ("advance", rng.choice((0.001, 0.5, 1, 1, 5, 60)))
        name = rng.choices(NAMES, _WEIGHTS)[0]
        row = OPERATIONS[name]
        message = Drawer(rng, self.player.world).message(row)
        caller = self._caller(row, message)
        text = (spoiled(rng, message) if rng.random() < 0.4 else json.dumps(message)).encode("utf-8", "surrogatepass")
        if rng.random() < 0.08:
            text = garbled(rng, text)
        body = self._envelope(name, text, caller)
        if row.streamed:
            return name, ("frames", rng.randrange(3), self._frame(body))
        return name, ("api", body)

    def _caller(self, row: Operation, message: dict[str, Any]) -> str:
        world, rng, rule = self.player.world, self.rng, row.access.name
        everybody = [world.server_id, *(colony.colonyid for colony in world.colonies.values()), *world.executors_by_id]
        everybody += [user_id for _, user_id in world.users_by_id]
        if rng.random() < 0.1:
            return rng.choice([*everybody, "f" * 64, ""])
        if rule.startswith("server owner"):
            return world.server_id
        if "owner" in rule and (rule.startswith("colony") or rng.random() < 0.5) and "c" in world.colonies:
            return world.colonies["c"].colonyid
        held = message.get("processid") or message.get("parentprocessid")
        held = held or (message.get("attribute") or {}).get("targetid")
        process = world.processes.get(held) if isinstance(held, str) else None
        if process is not None and process.executor_id and rng.random() < 0.9:
            return process.executor_id
        members = [key for key, found in world.executors_by_id.items() if found[0].colony == "c"]
        if "assign" in row.name and members:
            return rng.choice(members)
        members += [user_id for colony, user_id in world.users_by_id if colony == "c"] * 2
        return rng.choice(members or everybody)

    def _envelope(self, name: str, text: bytes, caller: str) -> bytes:
        rng = self.rng
        payload = base64.b64encode(text).decode()
        if rng.random() < 0.02:
            payload = garbled(rng, payload.encode()).decode("latin-1")
        key = self.player.keys.get(caller)
        signature = sign(payload, key) if self.signed and key else caller
        envelope = {"payloadtype": name, "payload": payload, "signature": signature}
        if rng.random() < 0.02:
            return spoiled(rng, envelope).encode("utf-8", "surrogatepass")
        body = json.dumps(envelope).encode()
        return garbled(rng, body) if rng.random() < 0.02 else body

    def _frame(self, body: bytes) -> bytes:
        """A message as a client sends it, mostly in one frame; the mask is all zeros."""
        size = len(body)
        head = (
            bytes([0x80 | size])
            if size < 126
            else b"\xfe" + size.to_bytes(2)
            if size < 65_536
            else b"\xff" + size.to_bytes(8)
        )
        framed = TEXT_FRAME + head + bytes(4) + body
        return garbled(self.rng, framed) if self.rng.random() < 0.05 else framed


# ---------------------------------------------------------------- many worlds
@contextmanager
def _watched(watch: bool) -> Iterator[Callable[[], None]]:
    """Gives a call that starts the watch anew; what lasts longer than HANG_AFTER_S is a Hang."""

    def hang(*_: object) -> None:
        raise Hang(f"no end after {HANG_AFTER_S} s")

    if not watch:
        yield lambda: None
        return
    old = signal.signal(signal.SIGALRM, hang)
    try:
        yield lambda: void(signal.setitimer(signal.ITIMER_REAL, HANG_AFTER_S))
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, old)


def void(_: object) -> None:
    """Nothing comes of it."""


class Fuzzer:
    """Sends messages to worlds; `counts` by type and what became of them, and `findings`, each with few steps."""

    def __init__(self, seed: int, *, watch: bool = False) -> None:
        self.seed = seed
        self.counts: Counter[tuple[str, str]] = Counter()
        self.findings: list[Finding] = []
        self.worlds = self.messages = self.signed = self.events = 0
        self._watch = watch

    def run(self, messages: int, most_findings: int = 5) -> None:
        """Send so many messages, in as many worlds as that takes, or until so many things went wrong."""
        while self.messages < messages and len(self.findings) < most_findings:
            self._one_world(min(MESSAGES_PER_WORLD, messages - self.messages))

    def _one_world(self, messages: int) -> None:
        rng = random.Random(f"{self.seed} {self.worlds}")
        self.worlds += 1
        signed = rng.random() < 0.05
        player, steps = Player(signed), []
        source = _Source(rng, player, signed)
        with _watched(self._watch) as again:
            try:
                while messages and len(player.world.processes) < MOST_PROCESSES:
                    again()
                    name, step = source.step()
                    steps.append(step)
                    status = player.take(step)
                    if name:
                        messages -= 1
                        self.messages += 1
                        self.signed += signed
                        self.counts[name, status] += 1
                player.end()
            except Exception as error:
                self._found(error, steps, signed)
        self.events += player.sim.kernel.steps

    def _found(self, error: Exception, steps: list[Step], signed: bool) -> None:
        self.messages += 1
        self.counts["(findings)", type(error).__name__] += 1
        what = _kind_of(error)
        detail = str(error) if isinstance(error, Wrong) else "".join(traceback.format_exception(error))
        self.findings.append(
            Finding(what, detail, fewer(steps, what, signed) if not isinstance(error, Hang) else steps[-1:])
        )


def _kind_of(error: Exception) -> str:
    """What went wrong, so that another run can be compared: its type, and where."""
    if isinstance(error, Wrong):
        return f"Wrong {str(error).partition(':')[0]}"
    if isinstance(error, ServerRaised) and isinstance(error.__cause__, Exception):
        error = error.__cause__
    last = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__} in {last.name}"


def _outcome(steps: list[Step], signed: bool) -> str:
    player = Player(signed)
    try:
        for step in steps:
            player.take(step)
        player.end()
    except Exception as error:
        return _kind_of(error)
    return ""


def fewer(steps: list[Step], what: str, signed: bool, most_runs: int = 200) -> list[Step]:
    """Few steps after which the same goes wrong: larger and smaller parts are left out while it still does."""
    size = len(steps) // 2
    while size and most_runs:
        place = 0
        while place < len(steps) and most_runs:
            most_runs -= 1
            tried = steps[:place] + steps[place + size :]
            if _outcome(tried, signed) == what:
                steps = tried
            else:
                place += size
        size //= 2
    return steps
