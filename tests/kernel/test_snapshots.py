"""State files and snapshots: what is stored comes back as it was, and nothing else is ever read."""

from __future__ import annotations

import ast
import base64
import hashlib
import os
import subprocess
import sys
import zlib
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import rule

from colonysim import BadJournal, BadSnapshot, ColonyClient, Simulation, replay
from colonysim.conformance import player
from colonysim.conformance.targets import InProcess
from colonysim.core import engine
from colonysim.core.agenda import Agenda, Event
from colonysim.core.engine import OPERATIONS
from colonysim.core.protocol import Delivery, Message, Request
from colonysim.core.scheduling import Queues
from colonysim.core.settings import Settings
from colonysim.core.shares import Shares
from colonysim.core.tables import Subscriptions
from colonysim.core.world import World
from colonysim.evidence import journal
from colonysim.kernel import snapshots, stored
from colonysim.simulation import stock
from tests.properties.test_model import Histories

CASES = sorted(player.CASES.rglob("*.json"))
DAY_NS = 86_400 * 10**9
SETTINGS = Settings(timezone="Europe/Stockholm", retention=True, retention_policy_s=86_400)


def body_of(frozen: bytes) -> dict[str, Any]:
    """The world in a state, as JSON."""
    body: dict[str, Any] = msgspec.json.decode(frozen.split(b"\n", 3)[3])
    return body


def with_body(frozen: bytes, body: bytes) -> bytes:
    """The state with another world in it, whose checksum fits."""
    magic, head, layout, _ = frozen.split(b"\n", 3)
    return signed(magic, msgspec.json.decode(head)["version"], layout, body)


def signed(magic: bytes, version: str, layout: bytes, body: bytes) -> bytes:
    rest = layout + b"\n" + body
    checksum = hashlib.sha256(version.encode() + b"\n" + rest).hexdigest()
    header = {"version": version, "bytes": len(rest), "sha256": checksum}
    return b"\n".join((magic, msgspec.json.encode(header), rest))


def changed(frozen: bytes, **parts: Any) -> bytes:
    """The state with some parts replaced."""
    return with_body(frozen, msgspec.json.encode(body_of(frozen) | parts))


# ---------------------------------------------------------------- it goes on as if nothing had been
def requests_of(case: Path) -> list[tuple[int, Request]]:
    """What a recorded conversation asks of the server, and when."""
    sim = Simulation(SETTINGS, mode="manual")
    list(player.play(player.load_case(case), InProcess(sim)))
    found = []
    for call in sim.calls:
        if isinstance(call.message, Message):
            stream = call.number if OPERATIONS[call.payload_type].streamed else 0
            found.append((call.at_ns, Request(call.number, call.caller_id, call.message, False, stream)))
    return found


class History:
    """A world with all that has come out of it, in lines."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.lines: list[bytes] = []

    def ask(self, asked: list[tuple[int, Request]]) -> None:
        for at_ns, request in asked:
            self.fire(at_ns)
            self.world.now_ns = max(self.world.now_ns, at_ns)
            self._told(engine.handle(self.world, request))

    def fire(self, until_ns: int, most: int = 1_000_000) -> None:
        while most and (deliveries := engine.fire_due(self.world, until_ns)) is not None:
            self._told(deliveries)
            most -= 1

    def lose_those_who_wait(self) -> None:
        world = self.world
        for ticket in list(world.queues.polls):
            engine.abandon(world, ticket)
        for stream in [s.stream for s in world.subscriptions.all()] + list(world.channel_streams):
            engine.close_stream(world, stream)

    def _told(self, deliveries: list[Delivery]) -> None:
        lines = [journal.output_line(self.world.now_ns, delivery) for delivery in deliveries]
        self.lines += journal.encode_lines(lines).split(b"\n")[:-1]


@pytest.mark.parametrize("case", CASES, ids=lambda path: path.stem)
def test_a_stored_world_goes_on_as_the_one_that_was_never_stored(case: Path) -> None:
    """Each recorded conversation is stored in the middle, at several places."""
    asked = requests_of(case)
    for share in (0.4, 0.8):
        middle = int(len(asked) * share)
        one = History(snapshots.new_world(SETTINGS))
        one.ask(asked[:middle])
        frozen = snapshots.dump(one.world)
        one.lose_those_who_wait()
        assert snapshots.dump(one.world) == frozen  # those who wait leave no trace
        other = History(snapshots.load(frozen))
        assert snapshots.dump(other.world) == frozen
        one.lines.clear()
        for history in (one, other):
            history.ask(asked[middle:])
            history.fire(history.world.now_ns + 3 * DAY_NS, most=300)
        assert one.lines == other.lines
        assert snapshots.dump(one.world) == snapshots.dump(other.world)


def test_the_recorded_conversations_fill_every_part_of_a_state() -> None:
    """Otherwise the test above would say little of some part."""
    filled: set[str] = set()
    for case in CASES:
        asked = requests_of(case)
        history = History(snapshots.new_world(SETTINGS))
        for each in asked:
            history.ask([each])
            body = msgspec.json.decode(stored.write(history.world))
            filled |= {name for name, value in body.items() if value}
    rest = {field.name for field in msgspec.structs.fields(stored.Stored)} - filled
    assert rest == {"turn", "turns", "beyond_scan_limit", "stalled"}  # of policies and of a moment: see the next test


class StoredHistories(Histories):
    """Random histories against a model, in which the server goes down now and then and comes back from its state."""

    @rule()
    def go_down_and_come_back(self) -> None:
        self.sim.restore(self.sim.snapshot())


TestStoredHistories = StoredHistories.TestCase
TestStoredHistories.settings = hypothesis_settings(max_examples=30, stateful_step_count=40, deadline=None)


NODE = {"nodename": "n", "funcname": "f", "conditions": {"colonyname": "dev", "executortype": "nobody"}}
WORKFLOW = msgspec.json.encode({"colonyname": "dev", "functionspecs": [NODE]}).decode()

SCHEMA = {"type": "object", "properties": {"size": {"type": "array", "items": {"type": "integer", "enum": [1, 2]}}}}
DEFINITION = {
    "kind": "Pump",
    "metadata": {"name": "pumps", "colonyname": "dev"},
    "spec": {"names": {"kind": "Pump"}, "schema": SCHEMA},
}


def rich_simulation(waiting: int = 1005) -> Simulation:
    """A simulation in which every part has something: shares, hidden processes, held crons, great numbers and all."""
    sim = Simulation(mode="manual", policy="fair", retention=True, cron_checker_period_ms=1)
    stock.install(sim)
    colony = ColonyClient.stock(sim)
    executor, other = colony.add_executor("t"), colony.add_executor("t")
    for number in range(waiting):  # the release loop looks at 1,000 of them
        colony.submit("f", [number], executortype="t", priority=1)
    colony.submit("f", executortype="t", maxwaittime=1, env={"k": "v"}, channels=["c"], kwargs={"n": [1, 2.5, None]})
    colony.submit("f", executortype="t", maxwaittime=2**31 - 1, priority=-50_000, cpu="1000m", mem="1Gi")
    colony.submit_workflow({"a": {"executortype": "t", "priority": 10**9}, "b": {"executortype": "t", "after": ["a"]}})
    taken = executor.assign()
    assert taken is not None
    taken.log("hello")
    taken.add_attribute("k", "v")
    executor.add_function("f")
    taken.close([2**64, "x"])
    held = other.assign()
    assert held is not None
    cron = {"name": "c", "colonyname": "dev", "interval": 1, "waitforprevprocessgraph": True}
    for kind, fields in (
        ("addcronmsg", {"cron": cron | {"workflowspec": WORKFLOW}}),
        ("addgeneratormsg", {"generator": {"name": "g", "colonyname": "dev", "trigger": 5, "workflowspec": WORKFLOW}}),
        ("addfilemsg", {"file": {"colonyname": "dev", "label": "/l", "name": "f", "size": 1}}),
        ("createsnapshotmsg", {"colonyname": "dev", "label": "/l", "name": "s"}),
        ("addlocationmsg", {"location": {"colonyname": "dev", "name": "hall", "long": 1.5, "lat": 2.5}}),
        ("addblueprintdefinitionmsg", {"blueprintdefinition": DEFINITION}),
        (
            "addblueprintmsg",
            {"blueprint": {"kind": "Pump", "metadata": {"name": "p", "colonyname": "dev"}, "spec": {}}},
        ),
    ):
        row = OPERATIONS[kind]
        message = msgspec.convert({"msgtype": kind} | fields, row.message)
        caller = colony if kind in ("addlocationmsg", "addblueprintdefinitionmsg") else colony.user
        assert sim.call(caller.id, message).ok, kind
    channel_of = next(process for process in sim.world.processes.values() if process.spec.channels)
    colony.user.process(channel_of.process_id).say("c", b"\0\xff", 1)
    colony.pause()
    sim.advance(10)
    world = sim.world
    assert world.beyond_scan_limit or waiting < 1000
    assert world.stalled
    assert world.queues.shares.last_turns
    return sim


@cache
def rich(waiting: int = 1005) -> bytes:
    """The state of that simulation."""
    return rich_simulation(waiting).snapshot()


def test_shares_hidden_processes_and_what_is_held_come_back_too() -> None:
    sim = rich_simulation()
    assert [name for name, value in body_of(rich()).items() if not value] == []
    one, other = History(sim.world), History(snapshots.load(rich()))
    for history in (one, other):
        history.world.history = history.world.inputs = None
        history.fire(history.world.now_ns + 3 * DAY_NS, most=3000)
    assert len(one.lines) == len(other.lines)
    assert snapshots.dump(one.world) == snapshots.dump(other.world)


def test_integers_of_more_than_64_bits_come_back_whole() -> None:
    sim = Simulation(mode="manual")
    process_id = ColonyClient.create(sim, "c").submit("f", executortype="t").id
    process = sim.world.processes[process_id]
    process.rank, process.output = 10**30, [-(10**40), {"n": 2**64}]
    back = snapshots.load(sim.snapshot()).processes[process_id]
    assert (back.rank, back.output) == (process.rank, process.output)


# ---------------------------------------------------------------- what is shared stays shared
def test_what_is_shared_comes_back_shared() -> None:
    sim = rich_simulation()
    world = snapshots.load(sim.snapshot())
    for process in world.processes.values():
        assert world.by_state[process.colony][process.state][process.process_id] is process
        for attribute in process.attributes:
            assert world.attributes[attribute.attributeid] is attribute
    for executor in world.executors.values():
        assert any(record is executor for record in world.executors_by_id[executor.executor_id])
    for bucket in [*world.release_ticks.values(), *world.held_by.values(), world.beyond_scan_limit]:
        assert all(world.processes[process_id] is process for process_id, process in bucket.items())
    assert all(world.processes[process.process_id] is process for process in world.queues.first(5000))
    assert len(world.queues) == len(sim.world.queues)
    assert world.logs.of_process.keys() == sim.world.logs.of_process.keys()


def test_equal_specs_are_written_once_and_come_back_as_one() -> None:
    sim = Simulation(mode="manual")
    colony = ColonyClient.create(sim, "c")
    for number in range(10):
        colony.submit("f", [number % 2], executortype="t")
    assert len(body_of(sim.snapshot())["specs"]) == 2
    first, _, third, *_ = snapshots.load(sim.snapshot()).processes.values()
    assert first.spec is third.spec
    assert [type(value) for value in first.spec.args or ()] == [int]


DERIVED = {
    World: {
        "agenda", "attribute_times", "attributes", "by_state", "executors_by_id", "function_ids", "functions_of",
        "held_by", "aging", "entries_made", "functions_in", "graphs_in", "changes_of", "last_heard_ns", "heard_apart", "cleanup_heap", "cleanup_entries", "executor_places", "places_given", "id_given", "ids_given", "unreadable_names", "beyond_scan_limit", "queues", "reached",
        "release_ticks", "tick_tickets", "users_by_id", "_ids", "_phase_ns", "_sweep_ticks_at",  # made again from what is stored
        "channel_streams", "inputs", "outbox", "request", "subscriptions", "history",  # of those who wait or look
    },
    Queues: {
        "exclusive", "policy", "pools", "unassignable", "_runs_made",  # made again from the settings and the processes
        "polls", "parked", "pause_polls", "shares", "usage",  # of those who wait; the shares are below
    },
    Agenda: {"heap", "_events", "last_ticket"},
    Shares: {
        "turn", "last_turns", "submitters", "used_by_all", "scaled_from_ns", "memory",  # see core/test_shares.py
        "rules", "now_ns", "running_since", "weight_of_all",  # made again from the settings, the world and the processes
    },
    Subscriptions: {
        "any", "_made", "_turns", "_of_stream", "_of_process", "_turn_of", "_keys", "_by_key", "_by_beginning", "_lengths",
    },
}  # fmt: skip


@pytest.mark.parametrize("made", [World(Settings(), 0), Queues(), Agenda(), Shares(), Subscriptions()], ids=type)
def test_everything_that_a_world_holds_is_stored_or_made_again(made: object) -> None:
    """An attribute that is new must come into the state, or into the list above with a reason."""
    parts = {field.name for field in msgspec.structs.fields(stored.Stored)}
    assert vars(made).keys() - parts == DERIVED[type(made)] - parts
    if isinstance(made, World):
        assert DERIVED[World] & parts == {
            "agenda", "attribute_times", "attributes", "executors_by_id", "beyond_scan_limit",
        }  # fmt: skip


def test_every_event_is_stored_or_goes_with_those_who_wait() -> None:
    kinds = {kind for kind in Event.__subclasses__() if kind.__module__ == "colonysim.core.events"}
    assert kinds == {*stored.RANKS, *stored.EVENTS_OF_WAITERS}
    assert all(len(kind.__struct_fields__) <= 1 for kind in stored.RANKS)


# ---------------------------------------------------------------- the bytes
def test_the_bytes_of_a_state_are_the_same_in_every_process() -> None:
    code = "from tests.kernel.test_snapshots import rich; import hashlib; print(hashlib.sha256(rich()).hexdigest())"
    digests = set()
    for hash_seed in ("0", "1"):
        environment = os.environ | {"PYTHONHASHSEED": hash_seed}
        words = [sys.executable, "-c", code]
        digests.add(subprocess.check_output(words, env=environment, cwd=Path(__file__).parents[2], text=True).strip())
    assert digests == {hashlib.sha256(rich()).hexdigest()}


def test_a_state_that_comes_back_has_the_same_bytes() -> None:
    assert snapshots.dump(snapshots.load(rich())) == rich()


def test_the_layout_names_every_field_that_is_stored() -> None:
    layout = stored.layout()
    assert "rank: int" in layout["Process"]
    assert "timer: int" in layout["Cron"]
    assert "cpu: str" in layout["Conditions"]
    assert "in_reply_to: int" in layout["Entry"]
    assert "second: int" in layout["ReleaseTick"]
    assert "seed: int" in layout["Settings"]
    assert not any("<" in text for fields in layout.values() for text in fields)


def with_layout(frozen: bytes, change: Callable[[dict[str, list[str]]], object]) -> bytes:
    """The state as another version would have written it, with another layout."""
    magic, _, text, body = frozen.split(b"\n", 3)
    layout = msgspec.json.decode(text)
    change(layout)
    return signed(magic, "0.7.3", msgspec.json.encode(layout), body)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda layout: layout["Process"].append("colour: str"), "Process.colour: str only there"),
        (lambda layout: layout["Process"].remove("rank: int"), "Process.rank: int only here"),
        (lambda layout: layout["Cron"].insert(0, layout["Cron"].pop()), "in another order"),
        (lambda layout: layout.pop("Entry"), r"Entry.sequence: int, .* and 3 more only here"),
    ],
)
def test_a_state_with_another_layout_is_refused_by_the_names_of_its_fields(
    change: Callable[[dict[str, list[str]]], object], said: str
) -> None:
    with pytest.raises(BadSnapshot, match=rf"written by colonysim 0.7.3, which has another layout \({said}\): use"):
        snapshots.load(with_layout(rich(), change))


@pytest.mark.parametrize(
    ("frozen", "said"),
    [
        (b"colonysim state 1\n" + b"\0" * 40, "format 1, a pickle that can run code, and is no longer read"),
        (b"colonysim state 3\n{}", "format 3; this version reads format 2: use the version that wrote it"),
        (b"colonysim state x\n", "not a colonysim state"),
        (b"\x80\x05", "not a colonysim state"),
        (b"", "not a colonysim state"),
        (b"colonysim state 2\n{}\n", "its header cannot be read"),
        (b"colonysim state 2\n" + b"{" * 10_000, "its header has no end"),
    ],
)
def test_other_formats_are_refused_by_name(frozen: bytes, said: str) -> None:
    with pytest.raises(BadSnapshot, match=said):
        snapshots.load(frozen)


def test_a_state_that_is_cut_off_anywhere_is_refused() -> None:
    small = Simulation(mode="manual").snapshot()
    for end in range(len(small)):
        with pytest.raises(BadSnapshot):
            snapshots.load(small[:end])


def test_a_state_with_any_byte_changed_is_refused() -> None:
    small = Simulation(mode="manual").snapshot()
    for place in range(len(small)):
        with pytest.raises(BadSnapshot):
            snapshots.load(small[:place] + bytes([small[place] ^ 1]) + small[place + 1 :])


def test_a_world_that_has_no_form_in_json_is_refused_when_it_is_stored() -> None:
    sim = Simulation(mode="manual")
    sim.world.paused["\ud800"] = None
    with pytest.raises(BadSnapshot, match=r"the state cannot be stored: .*surrogates"):
        sim.snapshot()


# ---------------------------------------------------------------- damaged and hostile states
@pytest.mark.parametrize("name", [field.name for field in msgspec.structs.fields(stored.Stored)])
def test_every_part_of_a_state_is_checked_against_its_type(name: str) -> None:
    for wrong in (1.5, {"": 1}, [{"": []}]):
        with pytest.raises(BadSnapshot, match=rf"\$\.{name}"):
            snapshots.load(changed(rich(), **{name: wrong}))
    body = body_of(rich())
    del body[name]
    with pytest.raises(BadSnapshot, match=f"missing required field `{name}`"):
        snapshots.load(with_body(rich(), msgspec.json.encode(body)))


def test_a_part_that_nobody_knows_is_refused() -> None:
    with pytest.raises(BadSnapshot, match="unknown field `more`"):
        snapshots.load(changed(rich(), more=1))


@pytest.mark.parametrize(
    "body",
    [b"[" * 100_000, b'{"settings":' * 100_000, b"", b"[]", b"\xff\xfe", b"9" * 100_000, b'{"now_ns":1e999}'],
)
def test_bodies_that_are_no_world_are_refused(body: bytes) -> None:
    with pytest.raises(BadSnapshot, match="cannot be read"):
        snapshots.load(with_body(rich(), body))


def test_arguments_that_nest_without_end_are_refused() -> None:
    specs = body_of(rich())["specs"]
    specs[0][2] = "deep"
    whole = msgspec.json.encode(body_of(rich()) | {"specs": specs})
    for depth in (100, 50_000):
        hostile = with_body(rich(), whole.replace(b'"deep"', b"[" * depth + b"]" * depth, 1))
        if depth == 100:
            snapshots.load(hostile)  # the place takes any value
            continue
        with pytest.raises(BadSnapshot, match="cannot be read"):
            snapshots.load(hostile)


def places_in(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The paths to everything in a value, a few of each long list."""
    yield path
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from places_in(inner, (*path, key))
    elif isinstance(value, list):
        for place in sorted({*range(min(len(value), 30)), *range(max(len(value) - 8, 0), len(value))}):
            yield from places_in(value[place], (*path, place))


@cache
def places() -> list[tuple[Any, ...]]:
    return [path for path in places_in(body_of(rich(3))) if path]


WRONG = st.sampled_from([None, True, -1, 0, 1, 2, 5, 10**9, -(10**30), 10**30, 0.5, "", "x", [], {}, [[]], "0" * 64])


@given(st.data())
@hypothesis_settings(max_examples=250, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_whatever_is_changed_in_a_state_it_is_refused_or_goes_on_without_an_error(data: st.DataObject) -> None:
    body = body_of(rich(3))
    for _ in range(data.draw(st.integers(1, 3))):
        path = data.draw(st.sampled_from(places()))
        try:
            holder: Any = body
            for step in path[:-1]:
                holder = holder[step]
            how = data.draw(st.sampled_from(["replace", "replace", "remove", "double", "swap"]))
            if how == "remove":
                del holder[path[-1]]
            elif how == "double" and isinstance(holder, list):
                holder.insert(path[-1], holder[path[-1]])
            elif how == "swap" and isinstance(holder, list):
                other = data.draw(st.integers(0, len(holder) - 1))
                holder[path[-1]], holder[other] = holder[other], holder[path[-1]]
            else:
                holder[path[-1]] = data.draw(WRONG)
        except (KeyError, IndexError, TypeError):
            continue  # what stood there has gone already
    sim = Simulation(mode="manual")
    try:
        sim.restore(with_body(rich(3), msgspec.json.encode(body)))
    except BadSnapshot:
        return
    world = sim.world
    history = History(world)
    history.fire(world.now_ns + 3 * DAY_NS, most=50)
    assert snapshots.dump(snapshots.load(snapshots.dump(world)))


# ---------------------------------------------------------------- in a journal
def journal_with(line: str, path: Path) -> Path:
    """A journal whose one line goes back to a snapshot."""
    sim = Simulation(mode="manual", journal=True)
    assert sim.journal is not None
    sim.journal.save(path)
    with path.open("ab") as file:
        file.write(msgspec.json.encode(["restore", sim.now_ns, line]) + b"\n")
    return path


def packed(content: bytes) -> str:
    return base64.b64encode(zlib.compress(content)).decode()


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (packed(b"\0" * (snapshots.ALWAYS_UNPACKED_BYTES + 1)), "unpacks to more than 16 MiB"),
        (packed(b"colonysim state 1\n" + b"\0" * 40), "format 1, a pickle that can run code"),
        (packed(b"")[:-8], "packed state is damaged"),
        (packed(b"x") + "AAAA", "packed state is damaged"),
        ("nonsense!", "packed state is damaged"),
        ("", "packed state is damaged: it is truncated"),
    ],
    ids=["bomb", "old", "cut off", "longer", "no Base64", "empty"],
)
def test_a_journal_with_a_bad_snapshot_in_it_is_refused(line: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(BadJournal, match=rf"line 2 cannot be replayed: .*{said}"):
        replay(journal_with(line, tmp_path / "run.jsonl"))


def test_a_journal_goes_back_to_any_state_that_was_written_into_it(tmp_path: Path) -> None:
    """Also to one that compresses so well that it might be taken for a bomb."""
    path = tmp_path / "run.jsonl"
    sim = Simulation(mode="manual", journal=path)
    colony = ColonyClient.create(sim, "c")
    colony.submit("f", ["x" * (snapshots.ALWAYS_UNPACKED_BYTES + 1000)], executortype="t")
    sim.restore(sim.snapshot())
    colony.submit("g", executortype="t")
    sim.restore(rich(3))
    sim.advance(100)
    assert sim.journal is not None
    digest = sim.journal.digest()
    sim.journal.close()
    replayed = replay(path)
    assert (str(replayed.difference or ""), replayed.digest) == ("", digest)


# ---------------------------------------------------------------- no pickle
CAN_RUN_CODE = {"pickle", "_pickle", "cPickle", "cloudpickle", "dill", "marshal", "shelve", "copyreg"}
RUNS_CODE = {
    "extensions.py": {"exec"},  # code that users name, which are Python files of their own
    "programs/surroundings.py": {"exec"},  # `sim.script`: a file of the user's own
    "stdlib/inplace.py": {"copyreg"},  # how replaced functions are written by pickle, which reads nothing
    "wire/vetting.py": {"eval"},  # checks written from the field names of our own messages, and nothing else
}


@pytest.mark.parametrize("path", sorted((Path(__file__).parents[2] / "colonysim").rglob("*.py")), ids=lambda p: p.stem)
def test_nothing_that_comes_from_outside_can_run_code(path: Path) -> None:
    """No pickle, no marshal, no evaluating, and YAML by its safe loader alone."""
    called, imported, attributes = set(), set(), set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            imported |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            imported.add(node.module.split(".")[0])
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            called.add(node.func.id)
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "yaml":
            attributes.add(node.attr)
    allowed = RUNS_CODE.get(path.relative_to(Path(__file__).parents[2] / "colonysim").as_posix(), set())
    assert imported & CAN_RUN_CODE | called & {"eval", "exec"} == allowed
    assert not attributes & {"load", "load_all", "full_load", "unsafe_load", "Loader", "UnsafeLoader", "FullLoader"}
