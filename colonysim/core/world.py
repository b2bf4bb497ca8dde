"""The state of a server: a value that can be copied, stored and compared.

Tables are dicts in order of insertion. Nothing here reads a clock or a global random source: the caller sets
`now_ns`, and ids are digests of the seed and a counter.
"""

from __future__ import annotations

import hashlib
from bisect import bisect_left
from collections.abc import Iterable
from typing import Any, Final

from msgspec.structs import replace

from colonysim.core import history
from colonysim.core.agenda import Agenda
from colonysim.core.events import RELEASE_RANK, ReleaseTick
from colonysim.core.policies import policy_of
from colonysim.core.protocol import NO_REQUEST, Delivery
from colonysim.core.records import (
    SECOND_NS,
    STATES,
    BlueprintChange,
    Channels,
    Cron,
    Executor,
    Generator,
    Process,
    ProcessGraph,
    Reached,
    Snapshot,
)
from colonysim.core.scheduling import Queues
from colonysim.core.settings import STOCK_SERVER_ID, Settings
from colonysim.core.shares import Shares
from colonysim.core.storage import unparsable
from colonysim.core.tables import ColonyTable, FileTable, IndexedTable, Logbook, NamedTable, Subscriptions, drop_key
from colonysim.core.types import (
    Attribute,
    Blueprint,
    BlueprintDefinition,
    Function,
    Location,
    Log,
    User,
)

_IDS_PER_BATCH: Final = 64


class World:
    """The tables, indexes, parked requests, agenda and ids of one server."""

    def __init__(self, settings: Settings, start_ns: int, server_id: str = STOCK_SERVER_ID) -> None:
        self.settings = settings
        self.now_ns = self.started_ns = start_ns
        self.server_id = server_id
        self.agenda = Agenda()
        self.outbox: list[Delivery] = []
        self.request = NO_REQUEST
        self.history: list[history.Entry] | None = None
        self.inputs: list[Any] | None = None  # inputs for the journal, if one is kept
        self.wakeups = "all"  # "one" or "none": hazards of the reference, see lifecycle

        self.colonies = ColonyTable()
        self.users: IndexedTable[tuple[str, str], User] = IndexedTable(colony=("colonyname",))
        self.users_by_id: dict[tuple[str, str], list[User]] = {}
        self.unreadable_names = 0  # number of users and executors with unreadable names, see storage.unparsable
        self.executors: IndexedTable[tuple[str, str], Executor] = IndexedTable(colony=("colony",))
        self.executors_by_id: dict[str, list[Executor]] = {}
        self.last_heard_ns: dict[str, int] = {}  # by executor id, when it last gave a sign of life, see registration
        self.heard_apart: dict[str, dict[tuple[str, str], Executor]] = {}  # by id, those that did not give that sign
        self.cleanup_heap: list[tuple[int, int, tuple[str, str]]] = []  # a heap of what the clean-up looks at
        self.cleanup_entries: dict[tuple[str, str], tuple[int, int]] = {}  # how executors stand in it: time and place
        self.executor_places: dict[tuple[str, str], int] = {}  # the order in which executors were registered
        self.id_given: dict[tuple[str, str], int] = {}  # the order in which they got their ids
        self.places_given = self.ids_given = 0
        self.functions: dict[str, Function] = {}
        self.functions_in: dict[str, dict[str, None]] = {}  # by colony
        self.functions_of: dict[tuple[str, str], dict[str, None]] = {}  # by colony and executor
        self.function_ids: dict[tuple[str, str, str], dict[str, None]] = {}  # by colony, executor and name
        self.paused: dict[str, None] = {}

        self.processes: dict[str, Process] = {}
        self.by_state: dict[str, tuple[dict[str, Process], ...]] = {}
        self.attributes: IndexedTable[str, Attribute] = IndexedTable(
            colony=("targetcolonyname",), state=("targetcolonyname", "state", "targetprocessgraphid")
        )
        self.attribute_times: dict[str, int] = {}
        self.logs = Logbook()
        policy = policy_of(settings.policy)
        assert policy is not None  # the settings have been checked
        shares = Shares(settings.policy_rules)
        self.queues = Queues(settings.exclusive_assign, policy.rank, shares, policy.counts)
        self.held_by: dict[str, dict[str, Process]] = {}
        self.release_ticks: dict[int, dict[str, Process]] = {}
        self.tick_tickets: dict[int, int] = {}
        self.beyond_scan_limit: dict[str, Process] = {}  # waiting too long already
        self.retention: tuple[int, int] | None = None
        self.aging: list[tuple[int, int, str, str]] = []  # a heap, see retention
        self.entries_made = 0  # in it
        self.cleanup: tuple[int, int] | None = None  # ticket and due time in ns of the next clean-up

        self._empty_tables_of_data()

        self._phase_ns = start_ns % SECOND_NS
        self._sweep_ticks_at = 1024
        self.last_serial = 0
        self.ids_drawn = 0
        self._ids: list[str] = []

    def _empty_tables_of_data(self) -> None:
        self.graphs: dict[str, ProcessGraph] = {}
        self.graphs_in: dict[tuple[str, int], dict[str, None]] = {}  # by colony and state
        self.reached: dict[str, Reached] = {}  # by graph with unreachable nodes: what the last walk reached
        self.crons: NamedTable[Cron] = NamedTable()
        self.generators: NamedTable[Generator] = NamedTable()
        self.stalled: dict[str, None] = {}  # ids of crons and generators whose workflow could not be started
        self.files = FileTable()
        self.last_file_number = 0
        self.snapshots: NamedTable[Snapshot] = NamedTable()
        self.locations: IndexedTable[tuple[str, str], Location] = IndexedTable(colony=("colonyname",))
        self.definitions: IndexedTable[tuple[str, str], BlueprintDefinition] = IndexedTable(
            colony=("metadata.colonyname",),
            kind=("metadata.colonyname", "spec.names.kind"),
            id=("blueprintdefinitionid",),
        )
        self.blueprints: IndexedTable[tuple[str, str], Blueprint] = IndexedTable(
            colony=("metadata.colonyname",),
            kind=("metadata.colonyname", "kind"),
            place=("metadata.colonyname", "kind", "metadata.locationname"),
            id=("blueprintid",),
        )
        self.blueprint_history: list[BlueprintChange] = []
        self.changes_of: dict[str, list[BlueprintChange]] = {}  # by the id of the blueprint
        self.channels: dict[str, Channels] = {}
        self.channel_streams: dict[int, tuple[str, str]] = {}
        self.subscriptions = Subscriptions()

    # ------------------------------------------------------------ ids and counters
    def new_id(self) -> str:
        """Return a new id: 64 lower-case hex digits, unique in this world."""
        if not self._ids:
            self._draw_ids()
        self.ids_drawn += 1
        return self._ids.pop()

    def _draw_ids(self) -> None:
        """Generate the rest of the current batch of ids, in reverse order."""
        batch, place = divmod(self.ids_drawn, _IDS_PER_BATCH)
        digits = hashlib.shake_256(f"{self.settings.seed}/{batch}".encode()).hexdigest(32 * _IDS_PER_BATCH)
        self._ids = [digits[start : start + 64] for start in range(64 * place, 64 * _IDS_PER_BATCH, 64)]
        self._ids.reverse()

    def reseed(self, seed: int) -> None:
        """Draw further ids from another seed."""
        self.settings = replace(self.settings, seed=seed)
        self._draw_ids()

    def continue_ids_after(self, ids_drawn: int) -> None:
        """Continue the sequence of ids after the first `ids_drawn` ones."""
        self.ids_drawn = ids_drawn
        self._draw_ids()

    def next_serial(self) -> int:
        """Return a number larger than all before it, which records the order of creation."""
        self.last_serial = serial = self.last_serial + 1
        return serial

    def note(self, entry: history.Entry) -> None:
        """Append an entry to the history, if one is kept."""
        if self.history is not None:
            self.history.append(entry)

    # ------------------------------------------------------------ processes by colony and state
    def processes_in(self, colony: str, state: int) -> dict[str, Process]:
        """Return the processes of a colony in one state, by id, in the order in which they entered it."""
        return self.tables_of(colony)[state]

    def tables_of(self, colony: str) -> tuple[dict[str, Process], ...]:
        """Return the processes of a colony, in one table for each state."""
        tables = self.by_state.get(colony)
        if tables is None:
            tables = self.by_state[colony] = tuple({} for _ in STATES)
        return tables

    # ------------------------------------------------------------ users
    def add_user(self, user: User) -> None:
        """Add a user to the tables."""
        self.users[user.colonyname, user.name] = user
        self.users_by_id.setdefault((user.colonyname, user.userid), []).append(user)
        self.unreadable_names += unparsable(user.name, user.colonyname)

    def drop_user(self, user: User) -> None:
        """Remove a user from the tables."""
        del self.users[user.colonyname, user.name]
        same_id = self.users_by_id[user.colonyname, user.userid]
        same_id.remove(user)
        if not same_id:
            del self.users_by_id[user.colonyname, user.userid]
        self.unreadable_names -= unparsable(user.name, user.colonyname)

    def change_user_ids(self, colony: str, old_id: str, new_id: str) -> None:
        """Give all users of a colony with one id another id."""
        for user in list(self.users_by_id[colony, old_id]):
            self.drop_user(user)
            self.add_user(replace(user, userid=new_id))

    def drop_executor(self, executor: Executor) -> None:
        """Remove an executor's record from the tables."""
        key = executor.colony, executor.name
        del self.executors[key], self.executor_places[key]
        self.cleanup_entries.pop(key, None)
        self.unreadable_names -= unparsable(executor.name, executor.colony)
        self.forget_id(executor)

    def forget_id(self, executor: Executor) -> None:
        """Take an executor's record out of those with its id."""
        executor_id, key = executor.executor_id, (executor.colony, executor.name)
        strays, same_id = self.heard_apart.get(executor_id, {}), self.executors_by_id[executor_id]
        del same_id[bisect_left(same_id, self.id_given[key], key=lambda each: self.id_given[each.colony, each.name])]
        del self.id_given[key]
        if strays.pop(key, None) is not None and not strays:
            del self.heard_apart[executor_id]
        if not same_id:
            del self.executors_by_id[executor_id]
            self.last_heard_ns.pop(executor_id, None)

    # ------------------------------------------------------------ functions
    def functions_named(self, colony: str, executor_name: str, name: str) -> list[Function]:
        """Return an executor's registered functions of one name."""
        return [self.functions[each] for each in self.function_ids.get((colony, executor_name, name), ())]

    def add_function(self, function: Function) -> None:
        """Add a registered function to the tables."""
        executor = function.colonyname, function.executorname
        self.functions[function.functionid] = function
        self.functions_in.setdefault(function.colonyname, {})[function.functionid] = None
        self.functions_of.setdefault(executor, {})[function.functionid] = None
        self.function_ids.setdefault((*executor, function.funcname), {})[function.functionid] = None

    def drop_function(self, function: Function) -> None:
        """Remove a registered function from the tables."""
        executor, function_id = (function.colonyname, function.executorname), function.functionid
        del self.functions[function_id]
        drop_key(self.functions_in, function.colonyname, function_id)
        drop_key(self.functions_of, executor, function_id)
        drop_key(self.function_ids, (*executor, function.funcname), function_id)

    def drop_functions(self, colony: str, executor_name: str) -> None:
        """Remove all registered functions of an executor."""
        for function_id in list(self.functions_of.get((colony, executor_name), ())):
            self.drop_function(self.functions[function_id])

    # ------------------------------------------------------------ attributes and logs
    def drop_attribute(self, attribute_id: str) -> None:
        """Remove an attribute from the tables, but not from its process."""
        if attribute_id in self.attributes:
            del self.attributes[attribute_id], self.attribute_times[attribute_id]

    def remove_attributes(self, attributes: Iterable[Attribute]) -> None:
        """Remove attributes from the tables and from their processes, if those still exist."""
        gone = {attribute.attributeid: attribute.targetid for attribute in attributes}
        for attribute_id in gone:
            self.drop_attribute(attribute_id)
        for process_id in dict.fromkeys(gone.values()):
            if process := self.processes.get(process_id):
                process.attributes = [a for a in process.attributes if a.attributeid not in gone] or ()

    def add_log(self, log: Log) -> None:
        """Add a log line; if time has not advanced, one nanosecond after the last, so that `since` does not miss it."""
        last_ns = self.logs.last_ns
        if last_ns is not None and log.timestamp <= last_ns:
            log = replace(log, timestamp=last_ns + 1)
        self.logs.add(log)

    # ------------------------------------------------------------ graphs and blueprints
    def add_graph(self, graph: ProcessGraph) -> None:
        """Add a graph to the tables."""
        self.graphs[graph.graph_id] = graph
        self.graphs_in.setdefault((graph.colony, graph.state), {})[graph.graph_id] = None

    def drop_graph(self, graph: ProcessGraph) -> None:
        """Remove a graph from the tables, but not its processes."""
        del self.graphs[graph.graph_id]
        drop_key(self.graphs_in, (graph.colony, graph.state), graph.graph_id)
        self.reached.pop(graph.graph_id, None)

    def graphs_of(self, colony: str, *states: int) -> list[ProcessGraph]:
        """Return the graphs of a colony in some states, by default in all."""
        return [self.graphs[each] for state in states or STATES for each in self.graphs_in.get((colony, state), ())]

    def add_change(self, change: BlueprintChange) -> None:
        """Add an entry to the history of blueprints."""
        self.blueprint_history.append(change)
        self.changes_of.setdefault(change.blueprint.blueprintid, []).append(change)

    # ------------------------------------------------------------ the release loop's ticks
    def next_tick_s(self) -> int:
        """Return the number of the release loop's next run; it runs once a second from the server's start."""
        return (self.now_ns - self._phase_ns) // SECOND_NS + 1

    def add_tick(self, second: int) -> dict[str, Process]:
        """Schedule a run of the release loop. Returns the table of processes that it will examine, empty at first."""
        if len(self.release_ticks) >= self._sweep_ticks_at:
            for idle in [s for s, bucket in self.release_ticks.items() if not bucket]:
                self.agenda.cancel(self.tick_tickets[idle])
                self.take_tick(idle)
            self._sweep_ticks_at = 2 * len(self.release_ticks) + 1024
        bucket = self.release_ticks[second] = {}
        due_ns = second * SECOND_NS + self._phase_ns
        self.tick_tickets[second] = self.agenda.add(due_ns, ReleaseTick(second), RELEASE_RANK)
        return bucket

    def take_tick(self, second: int) -> dict[str, Process]:
        """Remove a run of the release loop. Returns the processes that it was to examine."""
        del self.tick_tickets[second]
        return self.release_ticks.pop(second)

    def next_due(self) -> int | None:
        """Return when the next event is due, or None. Drops runs of the release loop with nothing to examine."""
        agenda = self.agenda
        while (due_ns := agenda.next_due()) is not None:
            event = agenda.peek()
            if not isinstance(event, ReleaseTick) or self.release_ticks[event.second]:
                break
            agenda.cancel(self.tick_tickets[event.second])
            self.take_tick(event.second)
        return due_ns
