"""Graphs: their processes are counted right, and none is called a success before all its processes are."""

from __future__ import annotations

from collections import Counter

import msgspec

from colonysim.core.model import FAILED, REMOVED, SUCCESS, ProcessState
from colonysim.core.trace import Settled, Transition
from colonysim.core.world import World
from colonysim.sim.invariants.violation import InvariantViolation


class _Book(msgspec.Struct):
    """How many processes of a graph are in which state."""

    counts: Counter[int]
    touched: bool = False


class GraphBooks:
    """Counts the processes of each graph by state from what happens to them."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.graph_of: dict[str, str] = {}
        self.books: dict[str, _Book] = {}
        self.touched: list[str] = []
        for graph in world.graphs.values():
            states = (world.processes[i].state for i in graph.members if i in world.processes)
            self.books[graph.graph_id] = _Book(Counter(states))
            self.graph_of |= dict.fromkeys(graph.members, graph.graph_id)

    def moved(self, step: Transition) -> None:
        graph_id = self.graph_of.get(step.process_id)
        if step.old == -1:
            process = self.world.processes.get(step.process_id)
            if process is None or not process.graph_id:
                return
            graph_id = self.graph_of[step.process_id] = process.graph_id
        elif graph_id is None:
            return
        book = self.books.setdefault(graph_id, _Book(Counter()))
        if step.old != -1:
            book.counts[step.old] -= 1
        if step.new == REMOVED:
            del self.graph_of[step.process_id]
            if not book.counts.total():
                del self.books[graph_id]
                return
        else:
            book.counts[step.new] += 1
        self._touch(graph_id, book)

    def settled(self, step: Settled) -> None:
        if book := self.books.get(step.graph_id):
            self._touch(step.graph_id, book)

    def _touch(self, graph_id: str, book: _Book) -> None:
        if not book.touched:
            book.touched = True
            self.touched.append(graph_id)

    def consistent(self) -> None:
        """Every graph that something has happened to is what its processes make it."""
        touched, self.touched = self.touched, []
        for graph_id in touched:
            book, graph = self.books.get(graph_id), self.world.graphs.get(graph_id)
            if book is None:
                continue
            book.touched = False
            if graph is None:
                continue
            if [book.counts[state] for state in ProcessState] != graph.counts:
                raise self._violation(graph_id, f"counts {graph.counts}", book)
            others = book.counts.total() - book.counts[SUCCESS]
            if graph.state == SUCCESS and others and not graph.has_islands:
                raise self._violation(graph_id, f"is a success with {others} processes that are none", book)
            if graph.state == FAILED and not book.counts[FAILED]:
                raise self._violation(graph_id, "has failed although none of its processes has", book)

    def _violation(self, graph_id: str, what: str, book: _Book) -> InvariantViolation:
        counted = ", ".join(f"{book.counts[state]} {state.name}" for state in ProcessState if book.counts[state])
        return InvariantViolation(f"graph {graph_id} {what}; its processes are {counted or 'none'}")
