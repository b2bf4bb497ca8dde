"""Shown records: at rest, each field of a process, executor or index follows from the history."""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from itertools import chain
from typing import Any, Final

from colonysim.core import registration
from colonysim.core.history import Transition
from colonysim.core.lifecycle import RAN_TOO_LONG, WAITED_TOO_LONG
from colonysim.core.records import (
    CANCELLED,
    FAILED,
    NEW,
    RUNNING,
    SECOND_NS,
    SUCCESS,
    UNREGISTERED,
    WAITING,
    Process,
    ProcessGraph,
)
from colonysim.core.tables import IndexedTable
from colonysim.core.types import ZERO_TIME_NS
from colonysim.invariants.executors import Executors
from colonysim.invariants.invariant import Invariant
from colonysim.invariants.ledger import Ledger, ProcessRecord
from colonysim.invariants.violation import InvariantViolation
from colonysim.kernel.clock import show_time

_ERRORS: Final = {"ran too long": [RAN_TOO_LONG], "waited too long": [WAITED_TOO_LONG]}


class RecordComparison(Invariant):
    """Reads all tables, so it runs only when the whole server is checked, never during a run."""

    def __init__(self, ledger: Ledger) -> None:
        super().__init__(ledger)
        self.executors = Executors.of(ledger)

    def compare(self) -> None:
        """Compare every record of the server with those of the ledger. Raises InvariantViolation."""
        self._attributes()
        for record in self.ledger.records.values():
            self.process(record)
        self._tables_of_states()
        for graph in self.world.graphs.values():
            self._graph(graph)
        self._executors()
        self._indexes()

    # ------------------------------------------------------------ processes
    def process(self, record: ProcessRecord) -> None:
        """Compare one process with what has happened to it. Raises InvariantViolation."""
        process, story = record.process, record.story
        self._same(record, "state", process.state, record.state)
        self._same(record, "waitforparents", process.wait_for_parents, record.blocked)
        if self.world.processes.get(record.process_id) is not process:
            raise self.ledger.violation(record.process_id, "is another record than the one that was submitted")
        self._same(record, "retries", process.retries, record.retries)
        if process.state in (WAITING, RUNNING):
            self._same(record, "executor", process.executor_id, record.holder)
        if story and story[0].old == NEW:
            self._fields(record, _expected_fields(process, story))
        self._attributes_of(record)

    def _fields(self, record: ProcessRecord, told: dict[str, Any]) -> None:
        for field, expected in told.items():
            shown = getattr(record.process, field)
            self._same(record, field, list(shown or ()) if field == "errors" else shown, expected)

    def _same(self, record: ProcessRecord, field: str, shown: Any, expected: Any) -> None:
        if shown != expected:
            if field.endswith("_ns"):
                shown, expected = show_time(shown), show_time(expected)
            raise self.ledger.violation(record.process_id, f"shows {field} {shown!r}, not {expected!r}")

    def _attributes_of(self, record: ProcessRecord) -> None:
        """Check that attributes took the state at the last change. Quirk: not if the executor was removed."""
        if not record.process.attributes:
            return
        last = next((one for one in reversed(record.story) if one.cause != "parents succeeded"), None)
        takes = last is not None and last.old != NEW and last.cause != "executor removed"
        for attribute in record.process.attributes:
            key = attribute.attributeid
            if self.world.attributes.get(key) is not attribute:
                what = f"has an attribute {attribute.key!r} that is not the one in the table of attributes"
                raise self.ledger.violation(record.process_id, what)
            if takes and last is not None and self.world.attribute_times[key] < last.now_ns:
                self._same(record, f"the state of its attribute {attribute.key!r}", attribute.state, record.state)

    def _tables_of_states(self) -> None:
        """Check that each process is in the table of its colony and state, in the order of entering it."""
        for colony, tables in self.world.by_state.items():
            for state, table in enumerate(tables):
                latest_ns = ZERO_TIME_NS
                for process_id in table:
                    record = self.ledger.records.get(process_id)
                    if record is None or record.state != state or record.process.colony != colony:
                        raise self.ledger.violation(process_id, f"is listed among those of {colony!r} in state {state}")
                    came_ns = next(
                        (one.now_ns for one in reversed(record.story) if one.cause != "parents succeeded"), 0
                    )
                    if came_ns and came_ns < latest_ns:
                        raise self.ledger.violation(process_id, "is listed behind one that came into its state later")
                    latest_ns = max(latest_ns, came_ns)

    # ------------------------------------------------------------ graphs
    def _graph(self, graph: ProcessGraph) -> None:
        """Check the references between parents and children, and the times of graphs."""
        records = self.ledger.records
        members = {process_id: records[process_id] for process_id in graph.members if process_id in records}
        for record in members.values():
            process = record.process
            for child_id in process.children:
                child = records.get(child_id)
                if child is not None and process.process_id not in child.process.parents:
                    raise self.ledger.violation(child_id, f"does not know its parent {process.process_id}")
            for parent_id in process.parents:
                parent = records.get(parent_id)
                if parent is not None and process.process_id not in parent.process.children:
                    raise self.ledger.violation(parent_id, f"does not know its child {process.process_id}")
        if not _has_grown(members):
            self._parents_by_name(members)
        unreachable = graph.has_unreachable_nodes
        if unreachable is (len(self._reached(graph, members)) == len(members)) and not _has_grown(members):
            word = "has processes that no root leads to" if unreachable else "has none that no root leads to"
            raise InvariantViolation(f"graph {graph.graph_id} was found to be one that {word}, and is not")
        self._times_of(graph, list(members.values()))

    def _parents_by_name(self, members: dict[str, ProcessRecord]) -> None:
        """Check that the parents of a node are those that its spec names."""
        for record in members.values():
            process = record.process
            parents = [members[each].process.spec.nodename for each in process.parents if each in members]
            if sorted(parents) != sorted(process.spec.conditions.dependencies or ()):
                raise self.ledger.violation(
                    record.process_id, f"has the parents {parents}, which its spec does not name"
                )

    def _reached(self, graph: ProcessGraph, members: dict[str, ProcessRecord]) -> set[str]:
        reached: set[str] = set()
        ahead = [each for each in graph.roots if each in members]
        while ahead:
            process_id = ahead.pop()
            if process_id not in reached:
                reached.add(process_id)
                ahead += [each for each in members[process_id].process.children if each in members]
        return reached

    def _times_of(self, graph: ProcessGraph, members: list[ProcessRecord]) -> None:
        """Check that a graph started with the first of its processes, and ended with a change of one."""
        moves = [step for record in members for step in record.story]
        if not moves or any(not record.story or record.story[0].old != NEW for record in members):
            return
        starts = [step.now_ns for step in moves if step.new == RUNNING]
        ended = graph.state in (SUCCESS, FAILED, CANCELLED)
        times = {step.now_ns for step in moves}
        if graph.started_ns != ZERO_TIME_NS and graph.started_ns not in starts:
            raise InvariantViolation(f"graph {graph.graph_id} started when none of its processes did")
        if graph.state == RUNNING and graph.started_ns == ZERO_TIME_NS:
            raise InvariantViolation(f"graph {graph.graph_id} runs and has never started")
        if ended and graph.ended_ns == ZERO_TIME_NS:
            raise InvariantViolation(f"graph {graph.graph_id} has ended, but has no end time")
        if ended and graph.state != CANCELLED and graph.ended_ns not in times:
            raise InvariantViolation(f"graph {graph.graph_id} ended when nothing happened to its processes")

    # ------------------------------------------------------------ attributes
    def _attributes(self) -> None:
        world = self.world
        if world.attributes.keys() != world.attribute_times.keys():
            raise InvariantViolation("the attributes and the times at which they were added do not match")
        for attribute in world.attributes.values():
            process = world.processes.get(attribute.targetid)
            if process is not None and attribute not in process.attributes:
                what = f"does not show its attribute {attribute.key!r}"
                raise self.ledger.violation(process.process_id, what)

    # ------------------------------------------------------------ executors
    def _executors(self) -> None:
        world = self.world
        for key, executor in world.executors.items():
            record = self.executors.records.get(key)
            if record is None or record.executor_id != executor.executor_id:
                raise InvariantViolation(f"executor {executor.name!r} is listed under an id that it never had")
            if (heard_ns := registration.heard_ns(world, executor)) != record.heard_ns:
                heard, told = show_time(heard_ns), show_time(record.heard_ns)
                raise InvariantViolation(f"executor {executor.name!r} was last heard of at {told}, and shows {heard}")
            if executor.state == UNREGISTERED and world.functions_of.get(key):
                raise InvariantViolation(f"executor {executor.name!r} is no longer registered, but has functions")

    # ------------------------------------------------------------ indexes
    def _indexes(self) -> None:
        """Check that each index of a table lists exactly what the table holds."""
        world = self.world
        _alike(
            "executors by id", world.executors_by_id, ((e.executor_id, e.name) for e in world.executors.values()), _name
        )
        users = (((user.colonyname, user.userid), user.name) for user in world.users.values())
        _alike("users by id", world.users_by_id, users, _name)
        functions = (((f.colonyname, f.executorname), f.functionid) for f in world.functions.values())
        _alike("functions by executor", world.functions_of, functions, _itself)
        _alike(
            "functions by colony",
            world.functions_in,
            ((f.colonyname, f.functionid) for f in world.functions.values()),
            _itself,
        )
        graphs = (((graph.colony, graph.state), graph.graph_id) for graph in world.graphs.values())
        _alike("graphs by colony and state", world.graphs_in, graphs, _itself)
        logs = ((log.processid, id(log)) for log in world.logs if log.processid)
        _alike("logs by process", world.logs.of_process, logs, id)
        by_name = {name: list(chain.from_iterable(parts.values())) for name, parts in world.logs.of_executor.items()}
        _alike("logs by executor", by_name, ((log.executorname, id(log)) for log in world.logs), id)
        changes = ((change.blueprint.blueprintid, id(change)) for change in world.blueprint_history)
        _alike("changes by blueprint", world.changes_of, changes, id)
        for what, table in vars(world).items():
            if isinstance(table, IndexedTable):
                _alike_all(what, table)


def _has_grown(members: dict[str, ProcessRecord]) -> bool:
    """Whether a child was added, which may lead to nodes that no root led to before."""
    return any(not record.story or record.story[0].cause == "add child" for record in members.values())


def _expected_fields(process: Process, story: list[Transition]) -> dict[str, Any]:
    """Return the fields that a process must show after its history (docs/protocol/b-processes.md 5)."""
    spec = process.spec
    started_ns = ended_ns = exec_ns = ZERO_TIME_NS
    submitted_ns = story[0].now_ns
    wait_ns = submitted_ns + spec.maxwaittime * SECOND_NS if spec.maxwaittime > 0 else ZERO_TIME_NS
    assigned, errors = False, None
    for step in story[1:]:
        now_ns = step.now_ns
        if step.new == RUNNING:
            assigned, started_ns = True, now_ns
            if spec.maxexectime > 0:
                exec_ns = now_ns + spec.maxexectime * SECOND_NS
        elif step.cause == "timeout":
            assigned, ended_ns = False, now_ns
            if spec.maxwaittime > 0:
                wait_ns = now_ns + spec.maxwaittime * SECOND_NS
        elif step.cause == "executor removed":
            assigned, started_ns, ended_ns = False, ZERO_TIME_NS, ZERO_TIME_NS
        elif step.new in (SUCCESS, FAILED, CANCELLED) and step.cause != "cascade":
            ended_ns = now_ns
            errors = _ERRORS.get(step.cause, errors)
    told: dict[str, Any] = {
        "submitted_ns": submitted_ns,
        "started_ns": started_ns,
        "ended_ns": ended_ns,
        "wait_deadline_ns": wait_ns,
        "exec_deadline_ns": exec_ns,
        "is_assigned": assigned,
    }
    return told if errors is None else told | {"errors": errors}


def _name(record: Any) -> str:
    name: str = record.name
    return name


def _itself(record: Any) -> Any:
    return record


def _alike_all(what: str, table: IndexedTable[Any, Any]) -> None:
    """Check the indexes of a table."""
    for name, (value_of, keys) in table.indexes.items():
        _alike(f"{what} by {name}", keys, ((value_of(item), key) for key, item in table.items()), _itself)


def _alike(what: str, index: dict[Any, Any], table: Iterable[tuple[Hashable, Any]], named: Any) -> None:
    """Check that an index lists the same as its table."""
    expected: dict[Any, list[Any]] = {}
    for key, name in table:
        expected.setdefault(key, []).append(name)
    for key in expected.keys() | index.keys():
        listed = [named(each) for each in index.get(key, ())]
        if sorted(listed) != sorted(expected.get(key, [])):
            raise InvariantViolation(f"the {what} list {listed} under {key!r}, and not {expected.get(key, [])}")
