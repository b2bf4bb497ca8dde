"""Workflows: from a spec to a graph of processes, and what one process's end does to the others.

The reference walks the whole graph at every step (docs/protocol/c-workflows.md 3.2). Here each process carries the
number of parents it still waits for and each graph the number of its processes by state, so that a step costs
as much as the process has children; the answers are those of the walk.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import chain
from typing import Any

from msgspec.structs import replace

from colonysim.core import channels, intake, transitions
from colonysim.core.errors import Refusal
from colonysim.core.history import GraphEvaluated
from colonysim.core.intake import Initiator
from colonysim.core.records import CANCELLED, FAILED, RUNNING, STATES, SUCCESS, WAITING, Process, ProcessGraph, Reached
from colonysim.core.types import FunctionSpec, WorkflowSpec
from colonysim.core.world import World

UNKNOWN_DEPENDENCY = (
    "Failed to submit workflow, invalid dependencies, are you depending on a nodename that does not exits?"
)


# ---------------------------------------------------------------- making one
def check_names(spec: WorkflowSpec) -> None:
    """Refuse nodes without a name or with another's: 500, the first one in the list decides."""
    seen: dict[str, None] = {}
    for function_spec in spec.functionspecs or ():
        if not function_spec.nodename:
            raise Refusal(500, "Nodename is missing, check function spec for errors")
        if function_spec.nodename in seen:
            raise Refusal(500, f"Duplicate nodename: {function_spec.nodename}")
        seen[function_spec.nodename] = None


def check_dependencies(spec: WorkflowSpec, status: int) -> None:
    names = {function_spec.nodename for function_spec in spec.functionspecs or ()}
    for function_spec in spec.functionspecs or ():
        if not names.issuperset(function_spec.conditions.dependencies or ()):
            raise Refusal(status, UNKNOWN_DEPENDENCY)


def build(world: World, spec: WorkflowSpec, initiator: Initiator) -> tuple[ProcessGraph, list[Process]]:
    """The graph of a spec and its processes, in no table yet. Everything that can be refused is refused here."""
    check_names(spec)
    check_dependencies(spec, 500)
    try:
        nodes = [intake.checked(world, _node_spec(node, spec.colonyname)) for node in spec.functionspecs or ()]
    except Refusal as refusal:
        raise Refusal(500, "Failed to submit workflow, failed to add process") from refusal
    who, name = initiator.caller_id, initiator.name
    graph = ProcessGraph(world.new_id(), world.next_serial(), spec.colonyname, who, name, world.now_ns)
    processes: dict[str, Process] = {}
    for node, resources in nodes:
        process = intake.make_process(world, node, resources, spec.colonyname, initiator)
        process.graph_id = graph.graph_id
        processes[node.nodename] = process
    children: dict[str, list[str]] = {name: [] for name in processes}
    for process in processes.values():
        dependencies = process.spec.conditions.dependencies or ()
        process.parents = tuple(processes[parent].process_id for parent in dependencies)
        process.pending_parents = len(process.parents)
        process.wait_for_parents = bool(process.parents)
        for parent in dependencies:
            children[parent].append(process.process_id)
    for name, process in processes.items():
        process.children = tuple(children[name])
    graph.roots = tuple(p.process_id for p in processes.values() if not p.parents)
    return graph, list(processes.values())


def _node_spec(spec: FunctionSpec, colony: str) -> FunctionSpec:
    """A node's spec as it is stored: in the workflow's colony, without a time limit where none is given."""
    conditions = spec.conditions
    if conditions.colonyname != colony:
        conditions = replace(conditions, colonyname=colony)
    return replace(spec, conditions=conditions, maxexectime=spec.maxexectime or -1)


def enter(world: World, graph: ProcessGraph, processes: list[Process]) -> None:
    """A graph and its processes come into the tables."""
    world.graphs[graph.graph_id] = graph
    graph.members = {process.process_id: None for process in processes}
    for process in processes:
        intake.enter(world, process, "submit")
    graph.counts = [len(processes), *(0 for _ in STATES[1:])]
    graph.has_unreachable_nodes = sum(1 for _ in walk(world, graph)) < len(processes)


# ---------------------------------------------------------------- looking at one
def walk(world: World, graph: ProcessGraph) -> Iterator[Process]:
    """Depth first from the roots in their order, each process once, before its children."""
    seen: dict[str, None] = {}
    stack = list(reversed(graph.roots))
    while stack:
        process_id = stack.pop()
        if process_id in seen:
            continue
        seen[process_id] = None
        process = world.processes.get(process_id)
        if process is None:
            continue
        yield process
        stack.extend(reversed(process.children))


def _state_of(counts: list[int]) -> int:
    if counts[FAILED]:
        return FAILED
    if counts[CANCELLED]:
        return CANCELLED
    if counts[SUCCESS] or counts[RUNNING]:
        return RUNNING if counts[WAITING] or counts[RUNNING] else SUCCESS
    return WAITING


def evaluate(world: World, graph: ProcessGraph, state: int | None = None) -> None:
    """Store the graph's state. Quirk: the end time moves each time a graph at its end is looked at again."""
    if state is None:
        state = _walked_state(world, graph) if graph.has_unreachable_nodes else _state_of(graph.counts)
    if graph.state == WAITING and state == RUNNING:
        graph.started_ns = world.now_ns
    if state in (SUCCESS, FAILED, CANCELLED):
        graph.ended_ns = world.now_ns
    graph.state = state
    world.note(GraphEvaluated(graph.graph_id, state))


def _walked_state(world: World, graph: ProcessGraph) -> int:
    """The state of a graph with unreachable nodes, by the reference's walk (docs/protocol/c-workflows.md 3.2).

    An unreachable process may fail and take its reachable children with it, and a new child may make nodes reachable.
    Until one of these happens, another walk would reach the same nodes; their states are counted meanwhile.
    """
    if (known := world.reached.get(graph.graph_id)) is not None:
        return _state_of(known.counts)
    reached = list(walk(world, graph))
    counts = [0 for _ in STATES]
    failed = False
    for process in reached:
        counts[process.state] += 1  # Quirk: before what its parents do to it
        parents = [world.processes[parent] for parent in process.parents if parent in world.processes]
        if not failed and any(parent.state == FAILED for parent in parents):
            failed = True
            _fail_all(world, reached)
            graph.state, graph.ended_ns = FAILED, world.now_ns
        if process.wait_for_parents and all(parent.state == SUCCESS for parent in parents):
            transitions.release(world, process)
    found = Reached({process.process_id: None for process in reached}, [0 for _ in STATES])
    for process in reached:
        found.counts[process.state] += 1
    world.reached[graph.graph_id] = found
    return _state_of(counts)


def _fail_all(world: World, processes: list[Process]) -> None:
    for process in processes:
        if process.state != FAILED:
            transitions.fail_with_parent(world, process)


# ---------------------------------------------------------------- what follows from one process
def on_assigned(world: World, process: Process) -> None:
    """A process of a graph runs: its input is what its parents have put out, flattened one level."""
    if graph := world.graphs.get(process.graph_id):
        evaluate(world, graph)
    if process.parents:
        outputs = (world.processes[parent].output for parent in process.parents if parent in world.processes)
        process.input = list(chain.from_iterable(outputs)) or None  # Quirk: null, not [], where nothing came


def on_succeeded(world: World, process: Process, again: bool) -> list[Process]:
    """A process of a graph has succeeded: release the children that waited for it alone.

    Returns those that are signalled, in their order. Quirk: also children that wait for other parents still, but
    none where a parent of the process itself has not succeeded, as one that was added in front of it.
    """
    children = []
    for child_id, times in Counter(process.children).items():
        if (child := world.processes.get(child_id)) is None:
            continue
        children.append(child)
        if not again:
            child.pending_parents -= times
            if not child.pending_parents and child.wait_for_parents:
                transitions.release(world, child)
    if graph := world.graphs.get(process.graph_id):
        evaluate(world, graph)
    parents = (world.processes.get(parent) for parent in process.parents)
    if any(parent is not None and parent.state != SUCCESS for parent in parents):
        return []
    return [child for child in children if child.state == WAITING]


def on_failed(world: World, process: Process) -> None:
    """A process of a graph has failed. Quirk: if it has children, every process of the graph fails with it."""
    graph = world.graphs.get(process.graph_id)
    if graph is None:
        return
    if not graph.has_unreachable_nodes:
        if process.children:
            _fail_all(world, list(walk(world, graph)))
    elif known := world.reached.get(graph.graph_id):
        all_failed = known.counts[FAILED] == len(known.members)
        if not all_failed and any(child_id in known.members for child_id in process.children):
            del world.reached[graph.graph_id]
    evaluate(world, graph)


def cancel(world: World, graph: ProcessGraph) -> None:
    """Cancel what waits or runs; a graph already at its end becomes cancelled as well."""
    for process in list(walk(world, graph)):
        if process.state in (WAITING, RUNNING):
            transitions.cancel(world, process)
            channels.drop(world, process)
    evaluate(world, graph, CANCELLED)


def remove(world: World, graph: ProcessGraph) -> None:
    """Remove a graph with all its processes, whatever they are doing, and their attributes."""
    for process_id in list(graph.members):
        if process := world.processes.get(process_id):
            transitions.leave(world, process, "remove")
            for attribute in process.attributes:
                world.drop_attribute(attribute.attributeid)
            channels.drop_unless_subscribed(world, process)
    del world.graphs[graph.graph_id]


# ---------------------------------------------------------------- growing one
def add_child(world: World, parent: Process, child: Process, before: Process | None, insert: bool) -> None:
    """Hang a new process under a running one: docs/protocol/c-workflows.md 4.3.

    With `insert` it comes between the parent and all its children, otherwise beside them and, where
    `before` is given, in front of that process.
    """
    child.graph_id = parent.graph_id
    child.parents = (parent.process_id,)
    child.pending_parents = 1
    child.wait_for_parents = True
    if insert:
        child.children = parent.children
        for old_id in dict.fromkeys(parent.children):
            old = world.processes[old_id]
            times = old.parents.count(parent.process_id)
            left = tuple(i for i in old.parents if i != parent.process_id)
            old.parents = left + (child.process_id,) * times
        parent.children = (child.process_id,)
    else:
        parent.children += (child.process_id,)
        if before is not None:
            child.children = (before.process_id,)
            before.parents += (child.process_id,)
            before.pending_parents += 1
    graph = world.graphs[parent.graph_id]
    graph.members[child.process_id] = None
    graph.counts[WAITING] += 1
    if (known := world.reached.get(graph.graph_id)) and parent.process_id in known.members:
        known.members[child.process_id] = None
        known.counts[WAITING] += 1
        if before is not None and before.process_id not in known.members:
            del world.reached[graph.graph_id]
    intake.enter(world, child, "add child")


def last_outputs(world: World, graph: ProcessGraph) -> list[Any]:
    """What the leaves of a graph have put out, in the order of the walk."""
    leaves = (process for process in walk(world, graph) if not process.children)
    return list(chain.from_iterable(leaf.output for leaf in leaves))
