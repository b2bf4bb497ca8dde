"""Tables of what a server holds, for people: filtered, searched, sorted and paged.

`find` counts all records that match, but makes rows only of those on the page that is asked for. Without a search or a
sort order of its own, it looks at no other record where the server's indexes already know the number.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from itertools import islice
from typing import Any, Final, NamedTuple

import msgspec

from colonysim.core import registration
from colonysim.core.records import (
    APPROVED,
    PENDING,
    REJECTED,
    RUNNING,
    SECOND_NS,
    UNREGISTERED,
    WAITING,
    Cron,
    Executor,
    Generator,
    Process,
    ProcessGraph,
    ProcessState,
)
from colonysim.core.types import ZERO_TIME_NS
from colonysim.core.world import World
from colonysim.kernel.calls import Calls
from colonysim.kernel.kernel import Kernel
from colonysim.kernel.pending import LOST, Call
from colonysim.kernel.why_idle import name_of

MOST_ROWS: Final = 1000
"""Of one page."""
_HELD_SHOWN: Final = 5
_USERS_SHOWN: Final = 5

STATES: Final = {state.value: state.name.lower() for state in ProcessState}
EXECUTOR_STATES: Final = {
    PENDING: "pending",
    APPROVED: "approved",
    REJECTED: "rejected",
    UNREGISTERED: "unregistered",
}


class Query(msgspec.Struct, frozen=True):
    """What to show of a table. `fields`: exact values of columns.

    `search`: a text that one of the columns contains, or the beginning of an id: hexadecimal digits contain every word.
    `sort`: a column, by default the order in which the records were made, the latest first; `descending` reverses it.
    """

    offset: int = 0
    limit: int = 50
    search: str = ""
    sort: str = ""
    descending: bool = False
    fields: Mapping[str, str] = {}


class TablePage(msgspec.Struct, frozen=True):
    """One page of a table. `total`: how many records match the query, on all pages together. `now_ns`: when it was."""

    now_ns: int
    total: int
    offset: int
    rows: list[dict[str, Any]]


class _Shown(NamedTuple):
    """How the records of a table are shown.

    `source` gives the records in the order in which they were made, already restricted by the fields that it takes out
    of the query's. `columns` have the values for filters, search and sort orders; `searched` names those of the search.
    """

    source: Callable[[Kernel, dict[str, str]], Collection[Any]]
    columns: Mapping[str, Callable[[World, Any], Any]]
    filters: tuple[str, ...]
    searched: tuple[str, ...]
    row: Callable[[World, Any], dict[str, Any]]


def find(kernel: Kernel, name: str, query: Query) -> TablePage:
    """Return a page of the table of a name. Under the kernel's lock. Raises ValueError, with the fix."""
    if name not in TABLES:
        raise ValueError(f"there is no table {name[:60]!r}; there are {', '.join(TABLES)}")
    table, world = TABLES[name], kernel.world
    for field in query.fields:
        if field not in table.filters:
            raise ValueError(f"the table {name} has no filter {field!r}; it has {', '.join(table.filters)}")
    if query.sort and query.sort not in table.columns:
        raise ValueError(f"the table {name} cannot be sorted by {query.sort[:60]!r}; {', '.join(table.columns)} can be")
    fields = dict(query.fields)
    source = table.source(kernel, fields)
    wanted = slice(query.offset, query.offset + min(query.limit, MOST_ROWS))
    if not fields and not query.search and not query.sort:
        total, found = len(source), list(islice(_in_order(source, query), wanted.start, wanted.stop))
    else:
        total, found = _matching(world, table, source, fields, query, wanted)
    return TablePage(world.now_ns, total, query.offset, [table.row(world, record) for record in found])


def _in_order(source: Collection[Any], query: Query) -> Iterable[Any]:
    """The records from the latest to the first; the other way round if `descending` has no other order to reverse."""
    return source if query.descending and not query.sort else reversed(source)  # type: ignore[call-overload]


def _matching(
    world: World, table: _Shown, source: Collection[Any], fields: dict[str, str], query: Query, wanted: slice
) -> tuple[int, list[Any]]:
    """Return how many records match, and those on the page."""
    matches = _filter(world, table, _in_order(source, query), fields, query.search.lower())
    if query.sort:
        column, found = table.columns[query.sort], list(matches)
        pick = heapq.nlargest if query.descending else heapq.nsmallest
        return len(found), pick(wanted.stop, found, key=lambda record: column(world, record))[wanted]
    total, page = 0, []
    for record in matches:
        if wanted.start <= total < wanted.stop:
            page.append(record)
        total += 1
    return total, page


def _filter(world: World, table: _Shown, records: Iterable[Any], fields: dict[str, str], search: str) -> Iterator[Any]:
    tests = [(table.columns[name], value) for name, value in fields.items()]
    texts = [table.columns[name] for name in table.searched if name != "id"]
    id_of = table.columns["id"] if "id" in table.searched else None
    for record in records:
        if all(str(column(world, record)) == value for column, value in tests):
            if (
                not search
                or any(search in str(column(world, record)).lower() for column in texts)
                or (id_of is not None and id_of(world, record).startswith(search))
            ):
                yield record


def given_time(time_ns: int) -> int | None:
    """Return a time in nanoseconds since 1970; None for the unset time."""
    return None if time_ns == ZERO_TIME_NS else time_ns


# ---------------------------------------------------------------- processes and workflows
def _processes(kernel: Kernel, fields: dict[str, str]) -> Collection[Process]:
    """The processes of a workflow, or those of a colony in a state, which need not be looked for."""
    world = kernel.world
    if graph_id := fields.pop("workflow", ""):
        graph = world.graphs.get(graph_id)
        return [world.processes[each] for each in graph.members if each in world.processes] if graph else ()
    if "state" not in fields and "colony" not in fields:
        return world.processes.values()
    colony, state = fields.pop("colony", None), fields.pop("state", None)
    colonies = list(world.by_state) if colony is None else [colony] if colony in world.by_state else []
    states = [number for number, name in STATES.items() if state in (None, name)]
    parts = [world.processes_in(each, number) for each in colonies for number in states]
    if len(parts) == 1:
        return parts[0].values()
    return sorted((process for part in parts for process in part.values()), key=lambda process: process.serial)


def executor_name(world: World, process: Process) -> str:
    """Return the name of the executor that holds a process, or held it last; "" if none has."""
    return name_of(world, process.executor_id) if process.executor_id else ""


def process_row(world: World, process: Process) -> dict[str, Any]:
    """Return what a table shows of a process: times of an earlier attempt, which replies still have, are left out."""
    spec = process.spec
    return {
        "id": process.process_id,
        "state": STATES[process.state],
        "waits_for_parents": process.wait_for_parents,
        "colony": process.colony,
        "function": spec.funcname,
        "node": spec.nodename,
        "executor_type": spec.conditions.executortype,
        "executor": executor_name(world, process),
        "attempt": process.retries + 1,
        "priority": spec.priority,
        "submitted_ns": given_time(process.submitted_ns),
        "started_ns": given_time(process.started_ns) if process.state != WAITING else None,
        "ended_ns": given_time(process.ended_ns) if process.state > RUNNING else None,
        "workflow": process.graph_id,
    }


def _graphs(kernel: Kernel, fields: dict[str, str]) -> Collection[ProcessGraph]:
    return kernel.world.graphs.values()


def graph_row(world: World, graph: ProcessGraph) -> dict[str, Any]:
    """Return what a table shows of a workflow."""
    counts = dict.fromkeys(STATES.values(), 0)
    for each in graph.members:
        if process := world.processes.get(each):
            counts[STATES[process.state]] += 1
    return {
        "id": graph.graph_id,
        "state": STATES[graph.state],
        "colony": graph.colony,
        "initiator": graph.initiator_name,
        "processes": len(graph.members),
        "counts": counts,
        "submitted_ns": given_time(graph.submitted_ns),
        "started_ns": given_time(graph.started_ns),
        "ended_ns": given_time(graph.ended_ns) if graph.state > RUNNING else None,
    }


# ---------------------------------------------------------------- executors, crons, generators
def _executors(kernel: Kernel, fields: dict[str, str]) -> Collection[Executor]:
    return kernel.world.executors.values()


def _executor_row(world: World, executor: Executor) -> dict[str, Any]:
    held = world.held_by.get(executor.executor_id, {})
    return {
        "id": executor.executor_id,
        "name": executor.name,
        "type": executor.executor_type,
        "colony": executor.colony,
        "state": EXECUTOR_STATES[executor.state],
        "location": executor.location,
        "held": len(held),
        "holds": [
            {"id": process.process_id, "function": process.spec.funcname}
            for process in islice(held.values(), _HELD_SHOWN)
        ],
        "functions": len(world.functions_of.get((executor.colony, executor.name), ())),
        "heard_ns": given_time(registration.heard_ns(world, executor)),
    }


def _crons(kernel: Kernel, fields: dict[str, str]) -> Collection[Cron]:
    return kernel.world.crons.values()


def _cron_row(world: World, cron: Cron) -> dict[str, Any]:
    return {
        "id": cron.cron_id,
        "name": cron.name,
        "colony": cron.colony,
        "schedule": f"every {cron.interval_s} s" if cron.interval_s > 0 else cron.expression,
        "functions": [spec.funcname for spec in cron.workflow.functionspecs or ()],
        "next_ns": given_time(cron.next_run_ns),
        "last_ns": given_time(cron.last_run_ns),
        "waits_for_previous": cron.wait_for_previous,
        "stalled": cron.cron_id in world.stalled,
        "workflow": cron.previous_graph_id,
    }


def _generators(kernel: Kernel, fields: dict[str, str]) -> Collection[Generator]:
    return kernel.world.generators.values()


def _timeout_ns(generator: Generator) -> int | None:
    """When a generator starts its workflow although too few packs wait; None for never."""
    if generator.timeout_s <= 0 or not generator.queue or generator.first_pack_ns == ZERO_TIME_NS:
        return None
    return generator.first_pack_ns + generator.timeout_s * SECOND_NS


def _generator_row(world: World, generator: Generator) -> dict[str, Any]:
    return {
        "id": generator.generator_id,
        "name": generator.name,
        "colony": generator.colony,
        "functions": [spec.funcname for spec in generator.workflow.functionspecs or ()],
        "queued": len(generator.queue),
        "trigger": generator.trigger,
        "timeout_s": generator.timeout_s,
        "next_ns": _timeout_ns(generator),
        "last_ns": given_time(generator.last_run_ns),
        "stalled": generator.generator_id in world.stalled,
    }


# ---------------------------------------------------------------- colonies and events
def event_row(world: World, due_ns: int, event: Any) -> dict[str, Any]:
    """Return what the overview shows of an event that is due; `about` names its cron or generator."""
    about = getattr(event, "what", "")
    for table, field in ((world.crons, "cron_id"), (world.generators, "generator_id")):
        if (source := table.get(getattr(event, field, ""))) is not None:
            about = source.name
    return {"due_ns": due_ns, "event": type(event).__name__, "about": about}


def colony_row(world: World, name: str) -> dict[str, Any]:
    """Return what the overview shows of a colony."""
    tables_of_states = world.tables_of(name) if name in world.by_state else [()] * len(STATES)
    return {
        "name": name,
        "id": world.colonies[name].colonyid,
        "paused": name in world.paused,
        "executors": world.executors.count("colony", name),
        "processes": {name: len(tables_of_states[state]) for state, name in STATES.items()},
        "users": [{"id": user.userid, "name": user.name} for user in world.users.where("colony", name)[:_USERS_SHOWN]],
    }


# ---------------------------------------------------------------- calls
def _calls(kernel: Kernel, fields: dict[str, str]) -> Calls:
    return kernel.calls


def call_row(world: World, call: Call) -> dict[str, Any]:
    """Return what a table shows of a call. `status` is None while it waits for its answer, 0 if that was lost."""
    return {
        "number": call.number,
        "at_ns": call.at_ns,
        "caller": name_of(world, call.caller_id),
        "type": call.payload_type,
        "status": call.status,
        "answer": _outcome(call),
        "answered_ns": call.answered_ns,
        "fault": call.fault,
        "verdict": call.verdict,
    }


def _outcome(call: Call) -> str:
    if call.status is None:
        return "waiting"
    return "lost" if call.status == LOST else "answered" if call.status < 400 else "refused"


def _reads(*names: str) -> dict[str, Callable[[World, Any], Any]]:
    """Columns that are fields of the record."""
    return {name: _reader(name) for name in names}


def _reader(name: str) -> Callable[[World, Any], Any]:
    return lambda world, record: getattr(record, name)


TABLES: Final[dict[str, _Shown]] = {
    "processes": _Shown(
        _processes,
        {
            "id": lambda world, process: process.process_id,
            "state": lambda world, process: STATES[process.state],
            "colony": lambda world, process: process.colony,
            "function": lambda world, process: process.spec.funcname,
            "node": lambda world, process: process.spec.nodename,
            "executor": executor_name,
            "executor_type": lambda world, process: process.spec.conditions.executortype,
            "attempt": lambda world, process: process.retries,
            "priority": lambda world, process: process.spec.priority,
            "submitted": lambda world, process: process.serial,
            "started": lambda world, process: process.started_ns,
            "ended": lambda world, process: process.ended_ns,
        },
        ("state", "colony", "function", "executor", "executor_type", "workflow"),
        ("id", "function", "node", "executor", "executor_type"),
        process_row,
    ),
    "workflows": _Shown(
        _graphs,
        {
            "id": lambda world, graph: graph.graph_id,
            "state": lambda world, graph: STATES[graph.state],
            "colony": lambda world, graph: graph.colony,
            "initiator": lambda world, graph: graph.initiator_name,
            "processes": lambda world, graph: len(graph.members),
            "submitted": lambda world, graph: graph.serial,
            "ended": lambda world, graph: graph.ended_ns,
        },
        ("state", "colony"),
        ("id", "initiator"),
        graph_row,
    ),
    "executors": _Shown(
        _executors,
        _reads("name", "colony", "location")
        | {
            "id": lambda world, executor: executor.executor_id,
            "type": lambda world, executor: executor.executor_type,
            "state": lambda world, executor: EXECUTOR_STATES[executor.state],
            "held": lambda world, executor: len(world.held_by.get(executor.executor_id, ())),
            "heard": registration.heard_ns,
        },
        ("state", "colony", "type"),
        ("id", "name", "type", "location"),
        _executor_row,
    ),
    "crons": _Shown(
        _crons,
        _reads("name", "colony")
        | {"next": lambda world, cron: cron.next_run_ns, "last": lambda world, cron: cron.last_run_ns},
        ("colony",),
        ("name",),
        _cron_row,
    ),
    "generators": _Shown(
        _generators,
        _reads("name", "colony")
        | {"queued": lambda world, one: len(one.queue), "last": lambda world, one: one.last_run_ns},
        ("colony",),
        ("name",),
        _generator_row,
    ),
    "calls": _Shown(
        _calls,
        _reads("number", "fault")
        | {
            "type": lambda world, call: call.payload_type,
            "caller": lambda world, call: name_of(world, call.caller_id),
            "status": lambda world, call: -1 if call.status is None else call.status,
            "answer": lambda world, call: _outcome(call),
        },
        ("type", "caller", "answer", "fault"),
        ("type", "caller", "fault"),
        call_row,
    ),
}
"""All tables by name."""
