"""A world as data, without what can be derived from the rest.

`write` converts a world; `rebuilding` puts one together. Parked calls and subscriptions are not stored, because their
connections are gone when the world is restored. The format is described in docs/state.md.
"""

from __future__ import annotations

from functools import cache
from typing import Any, Final, Literal

import msgspec

from colonysim.core import registration
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
"""The events that are stored, each with its rank on the agenda."""

EVENTS_OF_WAITERS: Final = (PollOver, StreamOver, SubscriptionOver)
"""Events of parked calls and subscriptions, which are not stored."""


class StoredEvent(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """An event on the agenda. `event` is the name of its type, `about` its only field: an id, a second or None."""

    due_ns: int
    ticket: int
    event: str
    about: str | int | None


class Turn(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """The rank of the last process that a submitter submitted."""

    colony: str
    initiator_id: str
    rank: int


class StoredSubmitter(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """What a policy has counted of a submitter; what runs is counted again from the processes."""

    colony: str
    initiator_id: str
    weight: float
    ended: int
    used: float


class StoredShares(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """The state of a policy that counts, with the memory of a user's own."""

    submitters: list[StoredSubmitter]
    used_by_all: float
    scaled_from_ns: int
    memory: dict[str, Any]


class Tables(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """The processes of a colony by state, each in the order in which they entered it."""

    colony: str
    by_state: list[list[int]]


class Holding(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """The processes that an executor runs, in order of assignment."""

    executor_id: str
    processes: list[int]


class Tick(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """A run of the release loop, the ticket of its event, and the processes that it will examine."""

    second: int
    ticket: int
    processes: list[int]


class AttributesOf(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """The attributes of a process."""

    process: int
    attributes: list[int]


class Planned(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """The next run of the clean-up or of the retention."""

    ticket: int
    due_ns: int


class Stored(msgspec.Struct, kw_only=True):
    """A world. Processes, specs, attributes and executors are referred to by their indexes in the lists, from 0."""

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
    shares: StoredShares

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
    """When the first attributes were set, in nanoseconds; further attributes are in no table any more."""
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
    """Values that are written once, however often they occur; values are equal if their bytes are."""

    def __init__(self, kind: type) -> None:
        self._pack = rows.codec(kind).pack or (lambda value: value)
        self._places: dict[int, int] = {}
        self._by_bytes: dict[bytes, int] = {}
        self.written: list[msgspec.Raw] = []

    def place(self, value: Any) -> int:
        """Return the index of a value in the list; adds it if it is new."""
        place = self._places.get(id(value))
        if place is None:
            text = rows.encode(self._pack(value))
            place = self._by_bytes.setdefault(text, len(self.written))
            if place == len(self.written):
                self.written.append(msgspec.Raw(text))
            self._places[id(value)] = place
        return place


# ---------------------------------------------------------------- writing
def write(world: World) -> bytes:
    """Convert a world to JSON, without changing it. Raises errors as `rows.encode`."""
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
        "shares": StoredShares(
            [StoredSubmitter(*whose, one.weight, one.ended, one.used) for whose, one in shares.submitters.items()],
            shares.used_by_all,
            shares.scaled_from_ns,
            shares.memory,
        ),
        "cleanup": world.cleanup and Planned(*world.cleanup),
        "retention": world.retention and Planned(*world.retention),
    }


def _about(kind: type) -> str:
    """Return the name of the only field of a kind of event; "" if it has none."""
    return next(iter(kind.__struct_fields__), "")  # type: ignore[attr-defined]


def _of_members(world: World) -> dict[str, Any]:
    executors = list(world.executors.values())
    places = {id(executor): place for place, executor in enumerate(executors)}
    return {
        "colonies": list(world.colonies.values()),
        "users": list(world.users.values()),
        "executors": [registration.picture(world, executor) for executor in executors],
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
        "logs": list(world.logs),
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


# ---------------------------------------------------------------- reading
def read(text: bytes | memoryview) -> Stored:
    """Read what `write` has written; checks each field against its type, and nothing else.

    Raises msgspec.DecodeError, ValueError or RecursionError.
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
    """Return the definitions by which files are written: versions with equal ones read each other's files."""
    return rows.layout(Stored, *RANKS)
