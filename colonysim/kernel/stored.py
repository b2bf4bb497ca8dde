"""A world as data: everything that it is, without what can be made again from the rest.

`stored_of` takes a world apart; `rebuilding` puts one together. Parked calls and the subscriptions of streams do
not stand here: whoever waited then is not there when the world comes back. docs/state.md tells the format.
"""

from __future__ import annotations

from functools import cache
from typing import Any, Final, Literal

import msgspec

from colonysim.core.events import (
    CLEANUP_RANK,
    CRON_RANK,
    GENERATOR_RANK,
    RELEASE_RANK,
    RETENTION_RANK,
    Cleanup,
    CronCheck,
    GeneratorCheck,
    PollOver,
    ReleaseTick,
    Retention,
    StreamOver,
    SubscriptionOver,
)
from colonysim.core.records import (
    BlueprintChange,
    Channels,
    Cron,
    Executor,
    Generator,
    Process,
    ProcessGraph,
    Snapshot,
)
from colonysim.core.settings import Settings
from colonysim.core.types import (
    Attribute,
    Blueprint,
    BlueprintDefinition,
    Colony,
    FileSpec,
    Function,
    FunctionSpec,
    Location,
    Log,
    User,
)
from colonysim.core.world import World
from colonysim.kernel import rows

RANKS: Final[dict[type, int]] = {
    ReleaseTick: RELEASE_RANK,
    GeneratorCheck: GENERATOR_RANK,
    CronCheck: CRON_RANK,
    Cleanup: CLEANUP_RANK,
    Retention: RETENTION_RANK,
}
"""The events that are stored, and the rank that each of them has on the agenda."""

EVENTS_OF_WAITERS: Final = (PollOver, StreamOver, SubscriptionOver)
"""Events that go with those who wait."""


class StoredEvent(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """An event on the agenda, by the name of its type. `about` is what it names: an id, a second or nothing."""

    due_ns: int
    ticket: int
    event: str
    about: str | int | None


class Turn(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """The rank that the last process got which somebody had submitted."""

    colony: str
    initiator_id: str
    rank: int


class Tables(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """The processes of a colony by their states, in the order in which they came into them."""

    colony: str
    by_state: list[list[int]]


class Holding(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """What an executor runs, in the order in which it got them."""

    executor_id: str
    processes: list[int]


class Tick(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """A run of the release loop, the ticket of its event, and the processes that it will look at."""

    second: int
    ticket: int
    processes: list[int]


class AttributesOf(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """A process, and the attributes it has."""

    process: int
    attributes: list[int]


class Planned(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """The next run of the clean-up or of the retention."""

    ticket: int
    due_ns: int


class Stored(msgspec.Struct, kw_only=True):
    """A world. Processes, specs, attributes and executors are named by their places in their lists, from 0."""

    settings: Settings
    server_id: str
    started_ns: int
    now_ns: int
    wakeups: Literal["all", "one", "none"]
    ids_drawn: int
    last_serial: int
    last_file_number: int
    last_ticket: int
    agenda: list[StoredEvent]
    turn: int
    turns: list[Turn]

    colonies: list[Colony]
    users: list[User]
    executors: list[Executor]
    executors_by_id: list[list[int]]
    functions: list[Function]
    paused: list[str]

    specs: list[FunctionSpec]
    processes: list[Process]
    spec_of: list[int]
    """The spec of each process; processes with equal specs share one."""
    tables: list[Tables]
    held: list[Holding]
    ticks: list[Tick]
    beyond_scan_limit: list[int]
    attributes: list[Attribute]
    attribute_times: list[int]
    """When the first of the attributes were set, in nanoseconds; those beyond them stand in no table any more."""
    attributes_of: list[AttributesOf]
    logs: list[Log]
    cleanup: Planned | None
    retention: Planned | None

    graphs: list[ProcessGraph]
    crons: list[Cron]
    generators: list[Generator]
    stalled: list[str]
    channels: dict[str, Channels]

    files: list[FileSpec]
    snapshots: list[Snapshot]
    locations: list[Location]
    definitions: list[BlueprintDefinition]
    blueprints: list[Blueprint]
    blueprint_history: list[BlueprintChange]


class _Distinct:
    """Values that are written once however often they occur. Equal ones count as one, by their bytes."""

    def __init__(self, kind: type) -> None:
        self._pack = rows.codec(kind).pack or (lambda value: value)
        self._places: dict[int, int] = {}
        self._by_bytes: dict[bytes, int] = {}
        self.written: list[msgspec.Raw] = []

    def place(self, value: Any) -> int:
        """Where the value stands in the list."""
        place = self._places.get(id(value))
        if place is None:
            text = rows.encode(self._pack(value))
            place = self._by_bytes.setdefault(text, len(self.written))
            if place == len(self.written):
                self.written.append(msgspec.Raw(text))
            self._places[id(value)] = place
        return place


# ---------------------------------------------------------------- taking a world apart
def write(world: World) -> bytes:
    """The world as JSON. It is not changed. Errors: see `rows.encode`."""
    processes = list(world.processes.values())
    places = {process_id: place for place, process_id in enumerate(world.processes)}
    specs = _Distinct(FunctionSpec)
    spec_of = [specs.place(process.spec) for process in processes]
    packed: dict[str, Any] = {}
    for part in (
        _of_server(world),
        _of_members(world),
        _of_processes(world, processes, places),
        _of_other_tables(world),
    ):
        packed |= part
    packed = {name: _pack(name, value) for name, value in packed.items()}
    return rows.encode(packed | {"specs": specs.written, "spec_of": spec_of})


def _pack(name: str, value: Any) -> Any:
    pack = _codecs()[name].pack
    return value if pack is None else pack(value)


def _of_server(world: World) -> dict[str, Any]:
    agenda, shares = world.agenda, world.queues.shares
    due = [
        StoredEvent(due_ns, ticket, type(event).__name__, getattr(event, _about(type(event)), None))
        for due_ns, _, ticket, event in agenda.entries_with_tickets()
        if not isinstance(event, EVENTS_OF_WAITERS)
    ]
    turns = [Turn(colony, initiator_id, rank) for (colony, initiator_id), rank in shares.last_turns.items()]
    return {
        "settings": world.settings,
        "server_id": world.server_id,
        "started_ns": world.started_ns,
        "now_ns": world.now_ns,
        "wakeups": world.wakeups,
        "ids_drawn": world.ids_drawn,
        "last_serial": world.last_serial,
        "last_file_number": world.last_file_number,
        "last_ticket": agenda.last_ticket,
        "agenda": due,
        "turn": shares.turn,
        "turns": turns,
        "cleanup": world.cleanup and Planned(*world.cleanup),
        "retention": world.retention and Planned(*world.retention),
    }


def _about(kind: type) -> str:
    """The name of the one field that an event has, if it has any."""
    return next(iter(kind.__struct_fields__), "")  # type: ignore[attr-defined]


def _of_members(world: World) -> dict[str, Any]:
    executors = list(world.executors.values())
    places = {id(executor): place for place, executor in enumerate(executors)}
    return {
        "colonies": list(world.colonies.values()),
        "users": list(world.users.values()),
        "executors": executors,
        "executors_by_id": [[places[id(each)] for each in records] for records in world.executors_by_id.values()],
        "functions": list(world.functions.values()),
        "paused": list(world.paused),
    }


def _of_processes(world: World, processes: list[Process], places: dict[str, int]) -> dict[str, Any]:
    attributes = list(world.attributes.values())
    standing = {id(attribute): place for place, attribute in enumerate(attributes)}
    attributes_of = []
    for place, process in enumerate(processes):
        if process.attributes:
            for attribute in process.attributes:
                if id(attribute) not in standing:
                    standing[id(attribute)] = len(attributes)
                    attributes.append(attribute)
            attributes_of.append(AttributesOf(place, [standing[id(attribute)] for attribute in process.attributes]))
    return {
        "processes": processes,
        "tables": [
            Tables(colony, [[places[process_id] for process_id in table] for table in tables])
            for colony, tables in world.by_state.items()
        ],
        "held": [
            Holding(executor_id, [places[process_id] for process_id in held])
            for executor_id, held in world.held_by.items()
            if held
        ],
        "ticks": [
            Tick(second, world.tick_tickets[second], [places[process_id] for process_id in bucket])
            for second, bucket in world.release_ticks.items()
        ],
        "beyond_scan_limit": [places[process_id] for process_id in world.beyond_scan_limit],
        "attributes": attributes,
        "attribute_times": list(world.attribute_times.values()),
        "attributes_of": attributes_of,
        "logs": world.logs,
    }


def _of_other_tables(world: World) -> dict[str, Any]:
    return {
        "graphs": list(world.graphs.values()),
        "crons": list(world.crons.values()),
        "generators": list(world.generators.values()),
        "stalled": list(world.stalled),
        "channels": {key: channels for key, channels in world.channels.items() if key in world.processes},
        "files": list(world.files.values()),
        "snapshots": list(world.snapshots.values()),
        "locations": list(world.locations.values()),
        "definitions": list(world.definitions.values()),
        "blueprints": list(world.blueprints.values()),
        "blueprint_history": world.blueprint_history,
    }


# ---------------------------------------------------------------- reading it
def read(text: bytes | memoryview) -> Stored:
    """What `write` has written, each field checked against its type; nothing else is checked yet.

    Errors: msgspec.DecodeError, ValueError, RecursionError.
    """
    row = _decoder().decode(text)
    parts = {}
    for name, codec in _codecs().items():
        value = getattr(row, name)
        parts[name] = value if codec.unpack is None else codec.unpack(value)
    return Stored(**parts)


@cache
def _codecs() -> dict[str, rows.RowCodec]:
    return {field.name: rows.codec(field.type) for field in msgspec.structs.fields(Stored)}


@cache
def _decoder() -> msgspec.json.Decoder[Any]:
    fields = [(name, codec.wire) for name, codec in _codecs().items()]
    return rows.decoder(msgspec.defstruct("StoredRow", fields, kw_only=True, forbid_unknown_fields=True))


@cache
def layout() -> dict[str, list[str]]:
    """The definitions that a file was written by: two versions that agree on them read each other's files."""
    return rows.layout(Stored, *RANKS)
