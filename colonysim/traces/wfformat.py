"""WfFormat of WfCommons: one recorded run of a workflow, with its dependencies and run times.

Version 1.5 divides each process (a task there) between `workflow.specification` and `workflow.execution`; before, one
list `workflow.tasks` (`jobs` up to 1.2) had it all, with `runtimeInSeconds` (1.4) or `runtime`, and dependencies by
name or by id.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec

from colonysim.traces.files import document_of
from colonysim.traces.formats import trace_format
from colonysim.traces.record import (
    LONGEST_S,
    MOST_PROCESSORS,
    BadTrace,
    ReadTally,
    TraceRecord,
    in_range,
    processors_note,
    shortened,
)

_SOURCE: Final = "take an instance from WfCommons' WfInstances"
_BYTE: Final = re.compile(r"\(byte (\d+)\)")


class RecordedNode(msgspec.Struct, frozen=True):
    """One process of a recorded workflow. `machines`: the names of those that it ran on, if they are recorded."""

    name: str
    funcname: str
    after: tuple[str, ...]
    run_s: float
    processors: int = 1
    machines: tuple[str, ...] = ()


class RecordedWorkflow(msgspec.Struct, frozen=True):
    """A recorded workflow, with its processes in the order of the file."""

    name: str
    nodes: tuple[RecordedNode, ...]
    makespan_s: float

    @property
    def notes(self) -> list[str]:
        """Return notes on deviations from the recording."""
        return processors_note(sum(node.processors > 1 for node in self.nodes), len(self.nodes))

    def depth(self) -> int:
        """Return the number of processes in the longest chain."""
        depths: dict[str, int] = {}
        after = {node.name: node.after for node in self.nodes}
        for name in _in_order(after):
            depths[name] = 1 + max((depths[parent] for parent in after[name]), default=0)
        return max(depths.values(), default=0)


# ---------------------------------------------------------------- the files
class _Command(msgspec.Struct, frozen=True):
    program: str | None = None


class _Listed(msgspec.Struct, frozen=True):
    """A process: all of it up to 1.4, the planned part in 1.5."""

    id: str = ""
    name: str = ""
    parents: list[str] = []
    children: list[str] = []
    category: str | None = None
    runtime_s: float | None = msgspec.field(name="runtimeInSeconds", default=None)
    older_runtime_s: float | None = msgspec.field(name="runtime", default=None)
    command: _Command | None = None
    core_count: float | None = msgspec.field(name="coreCount", default=None)
    cores: float | None = None
    machines: list[str] | None = None
    machine: str | None = None

    @property
    def key(self) -> str:
        return self.id or self.name


class _Specification(msgspec.Struct, frozen=True):
    nodes: list[_Listed] = msgspec.field(name="tasks")


class _Execution(msgspec.Struct, frozen=True):
    nodes: list[_Listed] = msgspec.field(name="tasks")
    makespan_s: float | None = msgspec.field(name="makespanInSeconds", default=None)


class _Workflow(msgspec.Struct, frozen=True):
    specification: _Specification | None = None
    execution: _Execution | None = None
    listed: list[_Listed] | None = msgspec.field(name="tasks", default=None)
    jobs: list[_Listed] | None = None
    makespan_s: float | None = msgspec.field(name="makespanInSeconds", default=None)
    older_makespan_s: float | None = msgspec.field(name="makespan", default=None)


class _File(msgspec.Struct, frozen=True):
    workflow: _Workflow
    name: str | None = None


def read_workflow(path: Path) -> RecordedWorkflow:
    """Read the workflow of a file. Raises BadTrace."""
    file = _file(path)
    workflow = file.workflow
    if workflow.specification is not None and workflow.execution is not None:
        listed, ran = workflow.specification.nodes, workflow.execution.nodes
        makespan_s = workflow.execution.makespan_s
    else:
        found = workflow.listed if workflow.listed is not None else workflow.jobs
        if found is None:
            what = "has neither workflow.specification and workflow.execution (1.5) nor workflow.tasks (1.3, 1.4)"
            raise BadTrace(path, 0, f"is not WfFormat: it {what}", _SOURCE)
        listed = ran = found
        makespan_s = workflow.makespan_s if workflow.makespan_s is not None else workflow.older_makespan_s
    by_key = _by_key(path, listed, "workflow.tasks" if listed is ran else "workflow.specification")
    ran_by_key = by_key if listed is ran else _by_key(path, ran, "workflow.execution")
    for key in (*by_key, *ran_by_key):
        if key not in by_key or key not in ran_by_key:
            where = "workflow.execution" if key in by_key else "workflow.specification"
            raise BadTrace(path, 0, f"{shortened(key)} is missing in {where}", "every process needs its place in both")
    if not by_key:
        raise BadTrace(path, 0, "it has no processes", _SOURCE)
    after = _dependencies(path, by_key)
    nodes = tuple(_node(path, one, ran_by_key[key], tuple(after[key])) for key, one in by_key.items())
    return RecordedWorkflow(file.name or "", nodes, makespan_s or 0.0)


def _file(path: Path) -> _File:
    data = document_of(path)
    try:
        return msgspec.json.decode(data, type=_File)
    except msgspec.DecodeError as error:
        at = _BYTE.search(str(error))
        line = 1 + data.count(b"\n", 0, int(at[1])) if at else 0
        raise BadTrace(path, line, f"is not WfFormat: {error}", _SOURCE) from None
    except RecursionError:
        raise BadTrace(path, 0, "is not WfFormat: its JSON is nested too deeply", _SOURCE) from None


def _by_key(path: Path, listed: list[_Listed], where: str) -> dict[str, _Listed]:
    found: dict[str, _Listed] = {}
    for place, one in enumerate(listed):
        if not one.key:
            raise BadTrace(path, 0, f"{where}[{place}] has neither an id nor a name", "give each process an id")
        if one.key in found:
            raise BadTrace(path, 0, f"two processes in {where} are called {shortened(one.key)}", "give each its own id")
        found[one.key] = one
    return found


def _dependencies(path: Path, listed: dict[str, _Listed]) -> dict[str, dict[str, None]]:
    """Return the parents of each process, from its parents and the children of others. Raises BadTrace."""
    names = Counter(one.name for one in listed.values())
    by_name = {one.name: key for key, one in listed.items() if names[one.name] == 1}

    def resolved(said: str, by: str) -> str:
        key = said if said in listed else by_name.get(said)
        if key is None:
            why = "is the name of several processes" if names[said] > 1 else "is not a process of the file"
            raise BadTrace(
                path, 0, f"{shortened(said)}, which {shortened(by)} refers to, {why}", "refer to it by its id"
            )
        return key

    after: dict[str, dict[str, None]] = {key: {} for key in listed}
    for key, one in listed.items():
        for parent in one.parents:
            after[key][resolved(parent, key)] = None
        for child in one.children:
            after[resolved(child, key)][key] = None
    left = after.keys() - set(_in_order(after))
    if left:
        raise BadTrace(path, 0, f"its processes wait for each other: {_cycle(after, left)}", "take out one dependency")
    return after


def _in_order(after: dict[str, dict[str, None]] | dict[str, tuple[str, ...]]) -> list[str]:
    """Return the processes with parents before children. Leaves out those in a cycle and their descendants."""
    waits = {key: len(parents) for key, parents in after.items()}
    children: dict[str, list[str]] = {key: [] for key in after}
    for key, parents in after.items():
        for parent in parents:
            children[parent].append(key)
    order = [key for key, count in waits.items() if not count]
    for key in order:
        for child in children[key]:
            waits[child] -= 1
            if not waits[child]:
                order.append(child)
    return order


def _cycle(after: dict[str, dict[str, None]], left: set[str]) -> str:
    """Describe one cycle among processes that all wait: the first waits for the second, and so on."""
    here = next(key for key in after if key in left)
    seen: dict[str, None] = {}
    while here not in seen:
        seen[here] = None
        here = next(parent for parent in after[here] if parent in left)
    circle = [*list(seen)[list(seen).index(here) :], here]
    shown = circle if len(circle) <= 6 else [*circle[:5], "…", here]
    return " → ".join(key if len(key) <= 60 else key[:60] + "…" for key in shown)


def _node(path: Path, listed: _Listed, ran: _Listed, after: tuple[str, ...]) -> RecordedNode:
    run_s = ran.runtime_s if ran.runtime_s is not None else ran.older_runtime_s
    cores = ran.core_count if ran.core_count is not None else ran.cores
    try:
        if run_s is None:
            raise ValueError("runtimeInSeconds is missing")
        in_range(run_s, "runtimeInSeconds", LONGEST_S)
        in_range(1.0 if cores is None else cores, "coreCount", MOST_PROCESSORS)
    except ValueError as error:
        raise BadTrace(path, 0, f"process {shortened(listed.key)}: {error}", "give the recorded seconds") from None
    program = ran.command.program if ran.command is not None else None
    funcname = program or listed.category or listed.name or listed.id
    machines = tuple(ran.machines or ([ran.machine] if ran.machine else []))
    return RecordedNode(listed.key, funcname, after, run_s, max(1, int(cores or 1)), machines)


@trace_format("wfformat", ".json", workflow=True)
def read(path: Path, tally: ReadTally) -> Iterator[TraceRecord]:
    """Yield the processes of a workflow as if all were submitted at once, to summarise them."""
    for node in read_workflow(path).nodes:
        tally.rows += 1
        yield TraceRecord(0.0, node.run_s, processors=node.processors, funcname=node.funcname)
