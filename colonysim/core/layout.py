"""Lay out the drawing of a graph as the reference does (docs/protocol/c-workflows.md 1.2)."""

from __future__ import annotations

from typing import Final

from colonysim.core.records import RUNNING, Process, ProcessGraph
from colonysim.core.replies import GraphEdge, GraphNode
from colonysim.core.world import World

ROW: Final = 80
COLUMN: Final = 200
NODE_WIDTH: Final = 150
GAP: Final = 50


def draw(world: World, graph: ProcessGraph) -> tuple[tuple[GraphNode, ...], tuple[GraphEdge, ...]]:
    """Return the nodes, in rows by depth at the first visit, and an edge from each process to each child."""
    rows: dict[int, list[Process]] = {}
    order: list[tuple[Process, int, int]] = []  # (process, depth, place in the row)
    edges: list[GraphEdge] = []
    seen: dict[str, None] = {}
    stack = [(process_id, 0) for process_id in reversed(graph.roots)]
    while stack:
        process_id, depth = stack.pop()
        process = world.processes.get(process_id)
        if process is None or process_id in seen:
            continue
        seen[process_id] = None
        row = rows.setdefault(depth, [])
        order.append((process, depth, len(row)))
        row.append(process)
        edges += (GraphEdge(process_id, child, process.state == RUNNING) for child in process.children)
        stack.extend((child, depth + 1) for child in reversed(process.children))
    widest = max((_width(len(row)) for row in rows.values()), default=0)
    nodes = []
    for process, depth, place in order:
        width = _width(len(rows[depth]))
        shift = widest // 2 - width // 2 if width < widest else 0
        nodes.append(_node(process, COLUMN * place + shift, ROW * depth))
    return tuple(nodes), tuple(edges)


def _width(count: int) -> int:
    return NODE_WIDTH * count + GAP * (count - 1)


def _node(process: Process, x: int, y: int) -> GraphNode:
    kind = "input" if not process.parents else "output" if not process.children else ""
    return GraphNode(process.process_id, process.spec.nodename, x, y, kind, process.state)
