"""Restores a world from stored data, with the indexes that are not stored.

The types of all fields have been checked before. Here every reference is checked, so that the parts of the world do
not contradict each other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, NoReturn, TypeVar

import msgspec

from colonysim.core import registration, retention
from colonysim.core.events import Cleanup, CronCheck, GeneratorCheck, ReleaseTick, Retention
from colonysim.core.records import REMOVED, RUNNING, STATES, WAITING, Process
from colonysim.core.scheduling import order_of
from colonysim.core.settings import Settings
from colonysim.core.shares import Submitter
from colonysim.core.tables import Named, NamedTable
from colonysim.core.world import World
from colonysim.kernel.stored import RANKS, Planned, Stored, StoredEvent

EVENTS: Final = {kind.__name__: kind for kind in RANKS}
FIRST_NS: Final = -62_135_596_800 * 10**9
LAST_NS: Final = 253_402_300_800 * 10**9
"""The years 1 to 9999: a clock beyond them cannot be shown."""

Key = TypeVar("Key")
Item = TypeVar("Item")
N = TypeVar("N", bound=Named)


class Contradiction(ValueError):
    """Two parts of a state contradict each other. The text says which."""


def _contradict(text: str) -> NoReturn:
    raise Contradiction(text)


def world_of(stored: Stored) -> World:
    """Restore a world, without parked calls and subscriptions. Raises Contradiction."""
    if not FIRST_NS <= stored.started_ns <= stored.now_ns < LAST_NS:
        _contradict("its time is before its start, or beyond the years 1 to 9999")
    if min(stored.ids_drawn, stored.last_serial, stored.last_file_number, stored.last_ticket) < 0:
        _contradict("a counter is below zero")
    settings = _settings(stored.settings)
    world = World(settings, stored.started_ns, stored.server_id)
    world.now_ns = stored.now_ns
    world.wakeups = stored.wakeups
    world.continue_ids_after(stored.ids_drawn)
    world.last_serial, world.last_file_number = stored.last_serial, stored.last_file_number
    _members(world, stored)
    _processes(world, stored)
    _logs_and_attributes(world, stored)
    _workflows(world, stored)
    _channels(world, stored)
    _data(world, stored)
    _agenda(world, stored)
    _queues(world, stored)
    retention.gather(world)
    return world


def _settings(settings: Settings) -> Settings:
    try:
        return settings.overridden()
    except ValueError as error:
        _contradict(f"its settings: {error}")


# ---------------------------------------------------------------- tables
def _table(items: Iterable[Item], key: Callable[[Item], Key], what: str) -> dict[Key, Item]:
    """Return items by key, in order. Raises Contradiction if two have the same key."""
    table: dict[Key, Item] = {}
    for item in items:
        name = key(item)
        if name in table:
            _contradict(f"there are two {what} {name!r}")
        table[name] = item
    return table


def _fill(table: NamedTable[N], items: list[N], key: Callable[[N], str], what: str) -> None:
    """Fill a table. Raises Contradiction if two items have the same id, or the same name in a colony."""
    _table(items, lambda item: (item.colony, item.name), f"{what} named")
    _set_each(table, _table(items, key, what))


def _set_each(table: dict[Key, Item], items: dict[Key, Item]) -> None:
    """Put items into a table with indexes, which takes them one at a time."""
    for key, item in items.items():
        table[key] = item


def _names(names: list[str], what: str) -> dict[str, None]:
    return dict.fromkeys(_table(names, str, what))


def _item_at(items: Sequence[Item], place: int, what: str) -> Item:
    """Return the item at an index. Raises Contradiction if there is none."""
    if not 0 <= place < len(items):
        _contradict(f"it refers to {what} {place}, but has only {len(items)}")
    return items[place]


def _members(world: World, stored: Stored) -> None:
    _set_each(world.colonies, _table(stored.colonies, lambda colony: colony.name, "colonies"))
    _table(stored.users, lambda user: (user.colonyname, user.name), "users")
    for user in stored.users:
        world.add_user(user)
    _set_each(world.executors, _table(stored.executors, lambda each: (each.colony, each.name), "executors"))
    seen = []
    for places in stored.executors_by_id:
        records = [_item_at(stored.executors, place, "executor") for place in places]
        ids = {record.executor_id for record in records}
        if len(ids) != 1 or records[0].executor_id in world.executors_by_id:
            _contradict("its index of executors by id is wrong")
        for record in records:
            registration.join_id(world, record)
        seen += places
    if sorted(seen) != list(range(len(stored.executors))):
        _contradict("its index of executors by id does not list each executor exactly once")
    for executor in stored.executors:
        registration.take_seat(world, executor)
    _table(stored.functions, lambda function: function.functionid, "functions")
    for function in stored.functions:
        world.add_function(function)
    world.paused = _names(stored.paused, "paused colonies")


# ---------------------------------------------------------------- processes
def _processes(world: World, stored: Stored) -> None:
    processes, specs = stored.processes, stored.specs
    if len(stored.spec_of) != len(processes):
        _contradict(f"it has {len(processes)} processes, but specs for {len(stored.spec_of)}")
    for process, place in zip(processes, stored.spec_of, strict=True):
        process.spec = _item_at(specs, place, "spec")
    world.processes = _table(processes, lambda process: process.process_id, "processes")
    _states(world, stored)
    _held(world, stored)
    for tick in stored.ticks:
        bucket = _listed(processes, tick.processes)
        if tick.second in world.release_ticks or any(process.timer_s != tick.second for process in bucket.values()):
            _contradict(f"the run of the release loop at second {tick.second} examines a process with another deadline")
        world.release_ticks[tick.second] = bucket
        world.tick_tickets[tick.second] = tick.ticket
    world.beyond_scan_limit = _listed(processes, stored.beyond_scan_limit)


def _listed(processes: list[Process], places: list[int]) -> dict[str, Process]:
    """Return the processes at some indexes, by id."""
    found = [_item_at(processes, place, "process") for place in places]
    return _table(found, lambda process: process.process_id, "processes listed as")


def _states(world: World, stored: Stored) -> None:
    """Restore the tables by colony and state. Each process must be in exactly one."""
    count = 0
    for tables in stored.tables:
        if len(tables.by_state) != len(STATES) or tables.colony in world.by_state:
            _contradict(f"colony {tables.colony!r} must have one table for each state")
        made = tuple(_listed(stored.processes, places) for places in tables.by_state)
        for state, table in zip(STATES, made, strict=True):
            count += len(table)
            if any(process.state != state or process.colony != tables.colony for process in table.values()):
                _contradict(f"a process is wrongly listed in colony {tables.colony!r} with state {state}")
        world.by_state[tables.colony] = made
    if count != len(stored.processes):
        _contradict(f"it has {len(stored.processes)} processes, but {count} in states from 0 to {REMOVED - 1}")


def _held(world: World, stored: Stored) -> None:
    """Restore what executors run: exactly the running processes."""
    count = 0
    for holding in stored.held:
        held = _listed(stored.processes, holding.processes)
        if holding.executor_id in world.held_by or any(
            process.state != RUNNING or process.executor_id != holding.executor_id for process in held.values()
        ):
            _contradict(f"executor {holding.executor_id!r} holds a process that it does not run")
        world.held_by[holding.executor_id] = held
        count += len(held)
    running = sum(len(tables[RUNNING]) for tables in world.by_state.values())
    if count != running:
        _contradict(f"{running} processes run, but executors hold {count}")


def _queues(world: World, stored: Stored) -> None:
    """Put the waiting processes into their queues, with their ranks."""
    shares = world.queues.shares
    shares.turn = stored.turn
    shares.last_turns = {(turn.colony, turn.initiator_id): turn.rank for turn in stored.turns}
    counted = stored.shares
    for one in counted.submitters:
        shares.submitters[one.colony, one.initiator_id] = Submitter(one.weight, 0, one.ended, one.used)
        shares.weight_of_all += one.weight
    shares.used_by_all, shares.scaled_from_ns = counted.used_by_all, counted.scaled_from_ns
    shares.memory = counted.memory
    shares.now_ns = world.now_ns
    if world.queues.usage is not None:
        for process in stored.processes:
            if process.state == RUNNING:
                shares.start(process, process.started_ns)
    waiting = [process for process in stored.processes if process.state == WAITING]
    waiting.sort(key=order_of)
    for process in waiting:
        world.queues.restore(process)


def _logs_and_attributes(world: World, stored: Stored) -> None:
    attributes = stored.attributes
    if len(stored.attribute_times) > len(attributes):
        _contradict(f"it has {len(attributes)} attributes, but times for {len(stored.attribute_times)}")
    timed = attributes[: len(stored.attribute_times)]
    _set_each(world.attributes, _table(timed, lambda attribute: attribute.attributeid, "attributes"))
    world.attribute_times = dict(zip(world.attributes, stored.attribute_times, strict=True))
    for each in stored.attributes_of:
        process = _item_at(stored.processes, each.process, "process")
        process.attributes = [_item_at(attributes, place, "attribute") for place in each.attributes]
    for log in stored.logs:
        if world.logs.last_ns is not None and log.timestamp <= world.logs.last_ns:
            _contradict("its logs are not in order of time")
        world.logs.add(log)


# ---------------------------------------------------------------- workflows, channels and data
def _workflows(world: World, stored: Stored) -> None:
    for graph in _table(stored.graphs, lambda graph: graph.graph_id, "graphs").values():
        world.add_graph(graph)
        counts = [0 for _ in STATES]
        for process_id in graph.members:
            process = world.processes.get(process_id)
            if process is None or process.graph_id != graph.graph_id:
                _contradict(f"graph {graph.graph_id} has a member {process_id!r} that is not one of its processes")
            counts[process.state] += 1
        if graph.counts != counts or graph.state not in STATES:
            _contradict(f"graph {graph.graph_id} counts its processes as {graph.counts}, not {counts}")
    for process in stored.processes:
        if (owner := world.graphs.get(process.graph_id)) and process.process_id not in owner.members:
            _contradict(f"process {process.process_id} is not a member of its graph")
    _fill(world.crons, stored.crons, lambda cron: cron.cron_id, "crons")
    _fill(world.generators, stored.generators, lambda generator: generator.generator_id, "generators")
    world.stalled = _names(stored.stalled, "held crons or generators")


def _channels(world: World, stored: Stored) -> None:
    for process_id in stored.channels:
        if process_id not in world.processes:
            _contradict(f"it has channels of a process {process_id!r} that does not exist")
    world.channels = stored.channels


def _data(world: World, stored: Stored) -> None:
    _set_each(world.files, _table(stored.files, lambda file: file.fileid, "files"))
    _fill(world.snapshots, stored.snapshots, lambda snapshot: snapshot.snapshot_id, "snapshots")
    _set_each(world.locations, _table(stored.locations, lambda each: (each.colonyname, each.name), "locations"))
    named = _colony_and_name
    _set_each(world.definitions, _table(stored.definitions, named, "definitions"))
    _set_each(world.blueprints, _table(stored.blueprints, named, "blueprints"))
    for change in stored.blueprint_history:
        world.add_change(change)


def _colony_and_name(described: Any) -> tuple[str, str]:
    return described.metadata.colonyname, described.metadata.name


# ---------------------------------------------------------------- the agenda
def _agenda(world: World, stored: Stored) -> None:
    entries = []
    for due in stored.agenda:
        event = _event(world, due)
        entries.append((due.due_ns, RANKS[type(event)], due.ticket, event))
    tickets = _table(entries, lambda entry: entry[2], "events with ticket")
    if any(not 0 < ticket <= stored.last_ticket for ticket in tickets):
        _contradict("an event has a ticket that was never issued")
    world.agenda.load(entries, stored.last_ticket)
    ticks = sum(isinstance(entry[3], ReleaseTick) for entry in entries)
    if ticks != len(stored.ticks):
        _contradict(f"the agenda has {ticks} runs of the release loop, not {len(stored.ticks)}")
    _timers(world, "cron", {cron.cron_id: cron.timer for cron in stored.crons}, CronCheck)
    _timers(world, "generator", {each.generator_id: each.timer for each in stored.generators}, GeneratorCheck)
    world.cleanup = _planned(world, stored.cleanup, Cleanup)
    world.retention = _planned(world, stored.retention, Retention)


def _event(world: World, due: StoredEvent) -> Any:
    """Restore an event. Raises Contradiction if its subject does not exist."""
    kind = EVENTS.get(due.event)
    if kind is None:
        _contradict(f"{due.event!r} is not a kind of event")
    about: Any = due.about
    if kind is ReleaseTick:
        known = world.tick_tickets.get(about) == due.ticket
    elif kind is CronCheck:
        known = about in world.crons
    elif kind is GeneratorCheck:
        known = about in world.generators
    else:
        known = about is None
    if not known:
        _contradict(f"the event {due.event} is about {about!r}, which does not exist")
    return kind() if about is None else kind(about)


def _timers(world: World, what: str, timers: dict[str, int], kind: type) -> None:
    """Check that each timer is a ticket of its own event, or of one that has happened."""
    for name, ticket in timers.items():
        event = world.agenda.event(ticket)
        if event is not None and (type(event) is not kind or msgspec.structs.astuple(event) != (name,)):
            _contradict(f"the {what} {name!r} has the timer of something else")


def _planned(world: World, planned: Planned | None, kind: type) -> tuple[int, int] | None:
    if planned is None:
        return None
    if type(world.agenda.event(planned.ticket)) is not kind:
        _contradict(f"the next {kind.__name__} is not on the agenda")
    return planned.ticket, planned.due_ns
