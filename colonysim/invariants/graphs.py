"""Graphs: their processes are complete and counted correctly, follow their parents, and fail together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import chain
from typing import Any, Final

import msgspec

from colonysim.core.history import Assignment, GraphEvaluated, Transition
from colonysim.core.operations.workflows import AddChild
from colonysim.core.protocol import Delivery, Message, Request
from colonysim.core.records import (
    CANCELLED,
    FAILED,
    NEW,
    REMOVED,
    RUNNING,
    SUCCESS,
    WAITING,
    Process,
    ProcessGraph,
    ProcessState,
)
from colonysim.core.types import ZERO_TIME_NS
from colonysim.invariants.invariant import Invariant, Look, built_in
from colonysim.invariants.ledger import Ledger, ProcessRecord
from colonysim.invariants.violation import InvariantViolation

_LOOKED_AT: Final = {RUNNING: "assign", SUCCESS: "close"}
"""After these changes a graph is evaluated; also after a failure that does not follow from another one."""


class _GraphRecord(msgspec.Struct, eq=False):
    """The processes of a graph, and their number in each state."""

    graph_id: str
    members: dict[str, ProcessRecord]
    counts: list[int]
    touched: bool = False
    unsettled: bool = False  # it must be evaluated
    falls: bool = False  # a process that has children failed
    lost: str = ""  # a process that was removed
    colony_gone: bool = False  # the colony of some of its processes was removed
    state: int = WAITING
    started_ns: int = ZERO_TIME_NS
    ended_ns: int = ZERO_TIME_NS


@built_in
class Graphs(Invariant):
    """Counts the processes of each graph by state."""

    rare = True

    def __init__(self, ledger: Ledger) -> None:
        super().__init__(ledger)
        self.records: dict[str, _GraphRecord] = {}
        self.touched: list[_GraphRecord] = []
        self.free: dict[str, ProcessRecord] = {}  # children in this step whose parents have all succeeded
        for record in ledger.records.values():
            if record.process.graph_id:
                graph = self._record_of(record.process.graph_id)
                graph.members[record.process_id] = record
                graph.counts[record.state] += 1
                record.pending = self._pending(record)
                if (known := self.world.graphs.get(graph.graph_id)) is not None:
                    graph.state, graph.started_ns, graph.ended_ns = known.state, known.started_ns, known.ended_ns

    def looks(self) -> dict[type[Message], Look]:
        return {AddChild: self.grown}

    def reads(self) -> dict[type, Callable[[Any], None]]:
        return {GraphEvaluated: self.settled}

    def _record_of(self, graph_id: str) -> _GraphRecord:
        graph = self.records.get(graph_id)
        if graph is None:
            graph = self.records[graph_id] = _GraphRecord(graph_id, {}, [0] * len(ProcessState))
        return graph

    def moved(self, step: Transition, record: ProcessRecord) -> None:
        """Read a change of state of a process in a graph."""
        if not record.process.graph_id:
            return
        old, new = step.old, step.new
        graph = self._record_of(record.process.graph_id)
        if old == NEW:
            graph.members[step.process_id] = record
            if step.cause == "add child":
                self._grown(record)
        else:
            graph.counts[old] -= 1
        if new == REMOVED:
            del graph.members[step.process_id]
            if step.cause == "colony removed":
                graph.colony_gone = True
            else:
                graph.lost = step.process_id
            if not graph.members:
                del self.records[graph.graph_id]
        else:
            graph.counts[new] += 1
            if _LOOKED_AT.get(new) == step.cause or (new == FAILED and step.cause != "cascade"):
                graph.unsettled = True
            if new == FAILED and step.cause != "cascade" and record.process.children:
                graph.falls = True
            if new == FAILED and step.cause == "cascade" and not graph.falls and not self._has_unreachable_nodes(graph):
                raise self._violation(graph, f"failed with {step.process_id}, although no process with children failed")
            if new == SUCCESS != old:
                self._succeeded(record)
        self._touch(graph)

    def _has_unreachable_nodes(self, record: _GraphRecord) -> bool:
        graph = self.world.graphs.get(record.graph_id)
        return graph is None or graph.has_unreachable_nodes

    def _touch(self, graph: _GraphRecord) -> None:
        if not graph.touched:
            graph.touched = True
            self.request_check()
            self.touched.append(graph)

    # ------------------------------------------------------------ parents and children
    def _pending(self, record: ProcessRecord) -> int:
        parents = (self.ledger.records.get(parent) for parent in dict.fromkeys(record.process.parents))
        return sum(1 for parent in parents if parent is not None and parent.state != SUCCESS)

    def _grown(self, child: ProcessRecord) -> None:
        """Note a child that was added in front of others, which may have one more parent to wait for."""
        for behind_id in child.process.children:
            if (behind := self.ledger.records.get(behind_id)) is not None:
                behind.pending = self._pending(behind)

    def _succeeded(self, record: ProcessRecord) -> None:
        for child_id in dict.fromkeys(record.process.children):
            child = self.ledger.records.get(child_id)
            if child is not None:
                child.pending -= 1
                if child.pending <= 0 and child.blocked:
                    self.free[child_id] = child

    def assigned(self, entry: Assignment, record: ProcessRecord) -> None:
        """Check that a child gets the outputs of its parents."""
        if not record.process.parents:
            return
        processes, process = self.world.processes, record.process
        outputs = (processes[parent].output for parent in process.parents if parent in processes)
        expected = list(chain.from_iterable(outputs))
        if list(process.input or ()) != expected:
            raise self.ledger.violation(entry.process_id, f"got {process.input}, where its parents put out {expected}")

    def grown(self, request: Request, deliveries: Sequence[Delivery]) -> None:
        """Check that a child was added where the request says."""
        message, added = request.message, getattr(deliveries[0], "body", None) if deliveries else None
        if not isinstance(message, AddChild) or not isinstance(added, Process):
            return
        child_id = added.process_id
        parent, child = self.ledger.records.get(message.parentprocessid), self.ledger.records.get(child_id)
        if parent is None or child is None:
            return
        children = parent.process.children
        if tuple(child.process.parents) != (message.parentprocessid,) or list(children[-1:]) != [child_id]:
            raise self.ledger.violation(child_id, f"was not added under {message.parentprocessid}")
        if message.insert and len(children) != 1:
            raise self.ledger.violation(child_id, "was to be inserted before all children of its parent, and was not")
        if message.childprocessid and not message.insert and tuple(child.process.children) != (message.childprocessid,):
            raise self.ledger.violation(child_id, f"was to come before {message.childprocessid}, and did not")

    # ------------------------------------------------------------ the graph as a whole
    def settled(self, step: GraphEvaluated) -> None:
        """Check the state of a graph that was evaluated: it follows from its processes, or it was cancelled."""
        record, graph = self.records.get(step.graph_id), self.world.graphs.get(step.graph_id)
        if record is None or graph is None:
            return
        record.unsettled = False
        if step.state not in (CANCELLED, _state_of(record.counts)) and not graph.has_unreachable_nodes:
            name = ProcessState(step.state).name
            if step.state == SUCCESS:
                others = sum(record.counts) - record.counts[SUCCESS]
                raise self._violation(record, f"has succeeded with {others} processes that have not")
            raise self._violation(record, f"was found {name}")
        if record.state == WAITING and step.state == RUNNING:
            record.started_ns = self.world.now_ns
        if step.state in (SUCCESS, FAILED, CANCELLED):
            record.ended_ns = self.world.now_ns
        record.state = step.state
        self._touch(record)

    def after_step(self, deliveries: Sequence[Delivery]) -> None:
        """Check every graph that has changed against its processes."""
        self.checks_after_step = False
        if self.free:
            free, self.free = self.free, {}
            for child in free.values():
                if child.blocked and not self._pending(child):
                    if child.state == WAITING:
                        raise self.ledger.violation(
                            child.process_id, "still waits for its parents, which all have succeeded"
                        )
                    child.blocked = False  # released after it had ended, which no entry of the history shows
        touched, self.touched = self.touched, []
        for record in touched:
            record.touched = False
            graph = self.world.graphs.get(record.graph_id)
            if graph is None:
                self._gone(record)
            else:
                self._consistent(record, graph)

    def _gone(self, record: _GraphRecord) -> None:
        """Check that all processes of a removed graph were removed."""
        for process_id in record.members:
            if not record.colony_gone:  # else processes in other colonies stay
                raise self.ledger.violation(process_id, f"still exists, but its graph {record.graph_id} does not")

    def _consistent(self, record: _GraphRecord, graph: ProcessGraph) -> None:
        if record.lost:
            raise self.ledger.violation(record.lost, f"was removed, but its graph {record.graph_id} still exists")
        if record.counts != graph.counts:
            raise self._violation(record, f"counts {graph.counts}")
        if record.unsettled:
            raise self._violation(record, "was not evaluated after one of its processes changed its state")
        times = graph.state, graph.started_ns, graph.ended_ns
        if not graph.has_unreachable_nodes and times != (record.state, record.started_ns, record.ended_ns):
            raise self._violation(record, f"shows state {graph.state} with times that it did not have")
        if graph.state == FAILED and not record.counts[FAILED]:
            raise self._violation(record, "has failed although none of its processes has")
        if record.falls:
            record.falls = False
            if record.counts[FAILED] != len(record.members) and not graph.has_unreachable_nodes:
                raise self._violation(record, "continues although a process that others depend on has failed")

    def agree(self) -> None:
        for record in self.records.values():
            graph = self.world.graphs.get(record.graph_id)
            if graph is not None and list(graph.members) != list(record.members):
                raise self._violation(record, f"lists {len(graph.members)} processes, not its {len(record.members)}")

    def _violation(self, record: _GraphRecord, what: str) -> InvariantViolation:
        counted = ", ".join(f"{record.counts[state]} {state.name}" for state in ProcessState if record.counts[state])
        return InvariantViolation(f"graph {record.graph_id} {what}; its processes are {counted or 'none'}")


def _state_of(counts: list[int]) -> int:
    """Return the state that follows from the states of the processes: docs/protocol/c-workflows.md 3.2."""
    waiting, running, success, failed, cancelled = counts
    if failed:
        return FAILED
    if cancelled:
        return CANCELLED
    if running or (success and waiting):
        return RUNNING
    return SUCCESS if success else WAITING
