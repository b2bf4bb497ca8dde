"""WfFormat of WfCommons: one recorded run of a workflow, with what depends on what and how long it took."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec

from colonysim.sim.traces.record import BadTrace, TraceRecord, lines_of


class RecordedNode(msgspec.Struct, frozen=True):
    """One process of a recorded workflow."""

    name: str
    funcname: str
    after: tuple[str, ...]
    run_s: float


class RecordedWorkflow(msgspec.Struct, frozen=True):
    """A workflow as it ran, its processes in the order of the file."""

    name: str
    nodes: tuple[RecordedNode, ...]
    makespan_s: float

    def depth(self) -> int:
        """The number of processes in the longest chain of them."""
        after = {node.name: node.after for node in self.nodes}
        known: dict[str, int] = {}
        for name in after:
            path = [name]
            while path:
                waits = [parent for parent in after[path[-1]] if parent not in known]
                if waits and len(path) <= len(after):
                    path.append(waits[0])
                else:
                    last = path.pop()
                    known[last] = 1 + max((known.get(parent, 0) for parent in after[last]), default=0)
        return max(known.values(), default=0)


class _Listed(msgspec.Struct, frozen=True):
    id: str
    name: str = ""
    parents: list[str] = []
    children: list[str] = []


class _Specification(msgspec.Struct, frozen=True):
    nodes: list[_Listed] = msgspec.field(name="tasks")


class _Command(msgspec.Struct, frozen=True):
    program: str = ""


class _Ran(msgspec.Struct, frozen=True):
    id: str
    run_s: float = msgspec.field(name="runtimeInSeconds")
    command: _Command = _Command()


class _Execution(msgspec.Struct, frozen=True):
    nodes: list[_Ran] = msgspec.field(name="tasks")
    makespan_s: float = msgspec.field(name="makespanInSeconds", default=0.0)


class _Workflow(msgspec.Struct, frozen=True):
    specification: _Specification
    execution: _Execution


class _File(msgspec.Struct, frozen=True):
    workflow: _Workflow
    name: str = ""


def read_workflow(path: Path) -> RecordedWorkflow:
    """The workflow of a file. Errors: BadTrace."""
    try:
        file = msgspec.json.decode("".join(lines_of(path)), type=_File)
    except msgspec.DecodeError as error:
        raise BadTrace(
            path, 0, f"is no WfFormat 1.5: {error}", "take an instance from WfCommons' WfInstances"
        ) from None
    ran = {node.id: node for node in file.workflow.execution.nodes}
    listed = {node.id: node for node in file.workflow.specification.nodes}
    after: dict[str, dict[str, None]] = {node_id: {} for node_id in listed}
    for node in listed.values():
        for parent in node.parents:
            after[node.id][parent] = None
        for child in node.children:
            after.setdefault(child, {})[node.id] = None
    for node_id in (*after, *(parent for parents in after.values() for parent in parents)):
        if node_id not in listed or node_id not in ran:
            where = "workflow.execution" if node_id in listed else "workflow.specification"
            raise BadTrace(path, 0, f"{node_id!r} is missing in {where}", "every process needs its place in both")
    nodes = tuple(
        RecordedNode(
            node.id,
            ran[node.id].command.program or node.name or node.id,
            tuple(after[node.id]),
            max(0.0, ran[node.id].run_s),
        )
        for node in listed.values()
    )
    return RecordedWorkflow(file.name, nodes, file.workflow.execution.makespan_s)


def read(path: Path) -> Iterator[TraceRecord]:
    """The processes of a workflow as if all were submitted at once, for a look at what they take."""
    for node in read_workflow(path).nodes:
        yield TraceRecord(0.0, node.run_s, funcname=node.funcname)
