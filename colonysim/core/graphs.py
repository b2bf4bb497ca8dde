"""Workflows: builds the graph of processes of a spec, and applies the end of a process to the others of its graph.

The reference walks the whole graph at every step (docs/protocol/c-workflows.md 3.2). Here each process counts the
parents that have not succeeded, and each graph counts its processes by state, so the cost of a step is proportional to
the children of one process. The results are those of the walk.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import chain
from typing import Any

from msgspec.structs import replace

from colonysim.core import channels, intake, retention, transitions
from colonysim.core.errors import Refusal
from colonysim.core.history import GraphEvaluated
from colonysim.core.intake import Initiator
from colonysim.core.records import CANCELLED, FAILED, RUNNING, STATES, SUCCESS, WAITING, Process, ProcessGraph, Reached
from colonysim.core.tables import drop_key
from colonysim.core.types import FunctionSpec, WorkflowSpec
from colonysim.core.world import World

UNKNOWN_DEPENDENCY = (
    "Failed to submit workflow, invalid dependencies, are you depending on a nodename that does not exits?"
)


# ---------------------------------------------------------------- building a graph
def check_names(spec: WorkflowSpec) -> None:
    """Refuse nodes without a name, or with the name of an earlier one: 500, for the first such node."""
    seen: dict[str, None] = {}
    for function_spec in spec.functionspecs or ():
        if not function_spec.nodename:
            raise Refusal(500, "Nodename is missing, check function spec for errors")
        if function_spec.nodename in seen:
            raise Refusal(500, f"Duplicate nodename: {function_spec.nodename}")
        seen[function_spec.nodename] = None


def check_dependencies(spec: WorkflowSpec, status: int) -> None:
    """Refuse a dependency on a node that the workflow does not have."""
    names = {function_spec.nodename for function_spec in spec.functionspecs or ()}
    for function_spec in spec.functionspecs or ():
        if not names.issuperset(function_spec.conditions.dependencies or ()):
            raise Refusal(status, UNKNOWN_DEPENDENCY)


def build(world: World, spec: WorkflowSpec, initiator: Initiator) -> tuple[ProcessGraph, list[Process]]:
    """Build the graph of a spec and its processes, without adding them to tables. Makes all the refusals."""
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
    """Return a node's spec as it is stored: in the workflow's colony, and with no limit if none is given."""
    conditions = spec.conditions
    if conditions.colonyname != colony:
        conditions = replace(conditions, colonyname=colony)
    return replace(spec, conditions=conditions, maxexectime=spec.maxexectime or -1)


def enter(world: World, graph: ProcessGraph, processes: list[Process]) -> None:
    """Add a graph and its processes to the tables."""
    world.add_graph(graph)
    graph.members = {process.process_id: None for process in processes}
    for process in processes:
        intake.enter(world, process, "submit")
    graph.counts = [len(processes), *(0 for _ in STATES[1:])]
    graph.has_unreachable_nodes = sum(1 for _ in walk(world, graph)) < len(processes)


# ---------------------------------------------------------------- evaluating a graph
def walk(world: World, graph: ProcessGraph) -> Iterator[Process]:
    """Iterate depth first from the roots, in their order; each process once, before its children."""
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
    """Update the state of a graph. Quirk: the end time of an ended graph moves with each evaluation."""
    if state is None:
        state = _walked_state(world, graph) if graph.has_unreachable_nodes else _state_of(graph.counts)
    if graph.state == WAITING and state == RUNNING:
        graph.started_ns = world.now_ns
    if state in (SUCCESS, FAILED, CANCELLED):
        graph.ended_ns = world.now_ns
    if state == SUCCESS != graph.state:
        retention.add(world, graph.submitted_ns, retention.GRAPH, graph.graph_id)
    _set_state(world, graph, state)
    world.note(GraphEvaluated(graph.graph_id, state))


def _set_state(world: World, graph: ProcessGraph, state: int) -> None:
    """Write a graph's state."""
    if state != graph.state:
        drop_key(world.graphs_in, (graph.colony, graph.state), graph.graph_id)
        graph.state = state
        world.graphs_in.setdefault((graph.colony, state), {})[graph.graph_id] = None


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
        counts[process.state] += 1  # Quirk: the state before its parents change it
        parents = [world.processes[parent] for parent in process.parents if parent in world.processes]
        if not failed and any(parent.state == FAILED for parent in parents):
            failed = True
            _fail_all(world, reached)
            _set_state(world, graph, FAILED)
            graph.ended_ns = world.now_ns
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


# ---------------------------------------------------------------- when one process changes
def on_assigned(world: World, process: Process) -> None:
    """Update the graph of a process that runs now. Its input is the outputs of its parents, flattened one level."""
    if graph := world.graphs.get(process.graph_id):
        evaluate(world, graph)
    if process.parents:
        outputs = (world.processes[parent].output for parent in process.parents if parent in world.processes)
        process.input = list(chain.from_iterable(outputs)) or None  # Quirk: null, not [], if all outputs are empty


def on_succeeded(world: World, process: Process, again: bool) -> list[Process]:
    """Release the children of a process that has succeeded if it was the last parent that they waited for.

    Returns the children to signal, in order. Quirk: these include children that still wait for other parents, but if a
    parent of the process itself has not succeeded (one added in front of it), there are none.
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
    """Update the graph of a failed process. Quirk: if the process has children, every process of the graph fails."""
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
    """Cancel the processes that wait or run, and the graph, even if it has ended."""
    for process in list(walk(world, graph)):
        if process.state in (WAITING, RUNNING):
            transitions.cancel(world, process)
            channels.drop(world, process)
    evaluate(world, graph, CANCELLED)


def remove(world: World, graph: ProcessGraph) -> None:
    """Remove a graph with all its processes, in any state, and their attributes."""
    for process_id in list(graph.members):
        if process := world.processes.get(process_id):
            transitions.leave(world, process, "remove")
            for attribute in process.attributes:
                world.drop_attribute(attribute.attributeid)
            channels.drop_unless_subscribed(world, process)
    world.drop_graph(graph)


# ---------------------------------------------------------------- adding to a graph
def add_child(world: World, parent: Process, child: Process, before: Process | None, insert: bool) -> None:
    """Add a child to a running process: docs/protocol/c-workflows.md 4.3.

    With `insert`, it comes between the parent and all its children; otherwise beside them and, if `before` is given,
    as a parent of that process.
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
            left = [i for i in old.parents if i != parent.process_id]
            old.parents = left + [child.process_id] * times
        parent.children = [child.process_id]
    else:
        parent.children = _with_one_more(parent.children, child.process_id)
        if before is not None:
            child.children = (before.process_id,)
            before.parents = _with_one_more(before.parents, child.process_id)
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


def _with_one_more(relatives: list[str] | tuple[str, ...], process_id: str) -> list[str]:
    """Return the list with an id appended in place, so that n additions do not copy the rest n times."""
    if type(relatives) is not list:
        relatives = list(relatives)
    relatives.append(process_id)
    return relatives


def last_outputs(world: World, graph: ProcessGraph) -> list[Any]:
    """Return the outputs of the leaves of a graph, in the order of the walk."""
    leaves = (process for process in walk(world, graph) if not process.children)
    return list(chain.from_iterable(leaf.output for leaf in leaves))
