"""Workflows and their process graphs (docs/protocol/c-workflows.md 2 to 5)."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from typing import Any, Final

from colonysim.core import graphs, intake, layout, lookup, recurring, storage
from colonysim.core.access import AccessRule, colony_owner, member, of_target
from colonysim.core.errors import Refusal
from colonysim.core.lookup import or_null
from colonysim.core.protocol import EMPTY, Empty, Message
from colonysim.core.records import RUNNING, STATES, Process, ProcessGraph
from colonysim.core.registry import operation
from colonysim.core.replies import GraphReply
from colonysim.core.types import FunctionSpec, Int, WorkflowSpec
from colonysim.core.world import World

MAX_COUNT: Final = 100


class SubmitWorkflow(Message, frozen=True):
    spec: WorkflowSpec | None = None


def _colony_of_spec(message: SubmitWorkflow, _: None) -> str:
    assert message.spec is not None
    return message.spec.colonyname


@operation(
    "submitworkflowspecmsg",
    SubmitWorkflow,
    "Failed to submit workkflow",
    mismatch="Failed to submit workflow, msg.MsgType does not match payloadType",
    find=lookup.given("spec", "Failed to submit workflow, msg.WorkflowSpec is nil"),
    access=member(_colony_of_spec),
)
def submit_workflow(world: World, caller: str, message: SubmitWorkflow, _: None) -> GraphReply:
    """Submit a graph of processes; those without parents start to wait for executors. Cycles are not detected."""
    spec = message.spec
    assert spec is not None
    initiator = intake.initiator_of(world, caller, spec.colonyname)
    assert initiator is not None
    graph, processes = graphs.build(world, spec, initiator)
    reply = GraphReply(
        graph.copy(), graph.roots or None, or_null(process.process_id for process in processes), fresh=True
    )
    recurring.launch(world, graph, processes)
    return reply


# ---------------------------------------------------------------- one graph
def _graph(text: str) -> Callable[[World, str, Any], ProcessGraph]:
    def find(world: World, _: str, message: Any) -> ProcessGraph:
        graph = world.graphs.get(message.processgraphid)
        if graph is None:
            raise Refusal(500, text)
        return graph

    return find


class GetProcessGraph(Message, frozen=True):
    processgraphid: str = ""


@operation(
    "getprocessgraphmsg",
    GetProcessGraph,
    "Failed to get processgraph",
    find=_graph("Failed to get processgraph, graph is nil"),
    access=member(of_target),
)
def get_process_graph(world: World, caller: str, message: GetProcessGraph, graph: ProcessGraph) -> GraphReply:
    """Return a graph with the drawing of its processes."""
    nodes, edges = layout.draw(world, graph)
    return _listed(world, graph, nodes=nodes, edges=edges)


def _listed(world: World, graph: ProcessGraph, **drawing: Any) -> GraphReply:
    process_ids = tuple(process.process_id for process in graphs.walk(world, graph))
    return GraphReply(graph.copy(), graph.roots or None, process_ids, **drawing)


class GetProcessGraphs(Message, frozen=True):
    colonyname: str = ""
    count: Int = 0
    state: Int = 0


@operation("getprocessgraphsmsg", GetProcessGraphs, "Failed to get processgraphs", access=member())
def get_process_graphs(world: World, caller: str, message: GetProcessGraphs, _: None) -> Any:
    """List graphs in one state, newest first."""
    if message.state not in STATES:
        raise Refusal(400, "invalid msg.State")
    if message.count > MAX_COUNT:
        raise Refusal(400, f"Count is larger than MaxCount limit <{MAX_COUNT}>")
    storage.limit(message.count)
    found = world.graphs_of(message.colonyname, message.state)
    newest = heapq.nlargest(message.count, found, key=lambda graph: graph.serial)
    return or_null(_listed(world, graph) for graph in newest)


class CancelProcessGraph(Message, frozen=True):
    processgraphid: str = ""


@operation(
    "cancelprocessgraphmsg",
    CancelProcessGraph,
    "Failed to cancel processgraph",
    find=_graph("Failed to cancel processgraph, graph is nil"),
    access=member(of_target),
)
def cancel_process_graph(world: World, caller: str, message: CancelProcessGraph, graph: ProcessGraph) -> Empty:
    """Cancel a graph's waiting and running processes, whatever the graph's state; nobody is notified."""
    graphs.cancel(world, graph)
    return EMPTY


class RemoveProcessGraph(Message, frozen=True):
    processgraphid: str = ""
    all: bool = False  # accepted and ignored


@operation(
    "removeprocessgraphmsg",
    RemoveProcessGraph,
    "Failed to remove processgraph",
    find=_graph("Failed to remove processgraph, graph is nil"),
    access=member(of_target),
)
def remove_process_graph(world: World, caller: str, message: RemoveProcessGraph, graph: ProcessGraph) -> Empty:
    """Remove a graph with all its processes, including running ones of a failed graph."""
    if graph.state == RUNNING:
        raise Refusal(400, "Failed to remove processgraph, cannot remove a running processgraph")
    graphs.remove(world, graph)
    return EMPTY


class RemoveAllProcessGraphs(Message, frozen=True):
    colonyname: str = ""
    state: Int = 0


@operation(
    "removeallprocessgraphsmsg", RemoveAllProcessGraphs, "Failed to remove all processgraphs", access=colony_owner()
)
def remove_all_process_graphs(world: World, caller: str, message: RemoveAllProcessGraphs, _: None) -> Empty:
    """Remove the graphs in one state, or all for -1, with their processes."""
    if message.state == RUNNING:
        raise Refusal(400, "not possible to remove running processgraphs")
    if message.state != -1 and message.state not in STATES:
        raise Refusal(400, "invalid state when deleting all processgraphs")
    states = STATES if message.state == -1 else (message.state,)
    for graph in sorted(world.graphs_of(message.colonyname, *states), key=lambda graph: graph.serial):
        graphs.remove(world, graph)
    return EMPTY


# ---------------------------------------------------------------- children added to a graph
class AddChild(Message, frozen=True):
    processgraphid: str = ""
    parentprocessid: str = ""
    childprocessid: str = ""
    insert: bool = False
    spec: FunctionSpec | None = None


def _colony_of_child(message: AddChild, _: None) -> str:
    assert message.spec is not None
    return message.spec.conditions.colonyname


def _holds_parent(world: World, caller: str, message: AddChild, _: None) -> None:
    parent_id = message.parentprocessid
    parent = world.processes.get(parent_id)
    if parent is None:
        raise Refusal(400, "Failed to add child to processgraph, parent process not found")
    if parent.state != RUNNING:
        raise Refusal(400, f"Process with Id {parent_id} is not running")
    if parent.executor_id != caller:
        raise Refusal(400, f"Process with Id {parent_id} is not assigned to executor with Id {caller}")


@operation(
    "addchildmsg",
    AddChild,
    "Failed to add child to processgraph",
    find=lookup.given("spec", "Failed to add child to processgraph, msg.FunctionSpec is nil"),
    access=member(_colony_of_child) & AccessRule("holder of the running parent", _holds_parent),
)
def add_child(world: World, caller: str, message: AddChild, _: None) -> Process:
    """Add a child to a process that the caller runs. Its initiator id and name are empty."""
    spec, parent = message.spec, world.processes[message.parentprocessid]
    assert spec is not None
    if not parent.graph_id:
        raise Refusal(400, f"Process with Id {parent.process_id} does not belong to a processgraph")
    if message.processgraphid != parent.graph_id:
        raise Refusal(400, "Failed to add child to processgraph, the parent process is part of another processgraph")
    intake.check(world, spec)
    before = None
    if message.childprocessid and not message.insert:
        before = world.processes.get(message.childprocessid)
        if before is None:
            raise Refusal(400, "Failed to add child to processgraph, child process not found")
        if before.graph_id != parent.graph_id:
            raise Refusal(400, "Failed to add child to processgraph, the child process is part of another processgraph")
    child = intake.new_process(world, spec, spec.conditions.colonyname, intake.NOBODY)
    graphs.add_child(world, parent, child, before, message.insert)
    return child.stable_copy()
