"""Graphs: their processes stay, are counted right, follow their parents, and share what becomes of one of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import chain
from typing import Any, Final

import msgspec

from colonysim.core.history import Assignment, GraphEvaluated, Transition
from colonysim.core.operations.workflows import AddChild
from colonysim.core.protocol import Delivery
from colonysim.core.records import (
    CANCELLED,
    FAILED,
    NEW,
    REMOVED,
    RUNNING,
    SUCCESS,
    WAITING,
    ProcessGraph,
    ProcessState,
)
from colonysim.core.types import ZERO_TIME_NS
from colonysim.invariants.invariant import Invariant
from colonysim.invariants.ledger import Book, Ledger
from colonysim.invariants.violation import InvariantViolation

_LOOKED_AT: Final = {RUNNING: "assign", SUCCESS: "close"}
"""After these the graph is looked at; after a failure too, unless it is one that follows from another."""


class _GraphBook(msgspec.Struct, eq=False):
    """Which processes a graph has, and how many of them are in which state."""

    graph_id: str
    members: dict[str, Book]
    counts: list[int]
    touched: bool = False
    unsettled: bool = False  # something has happened after which it must be looked at
    falls: bool = False  # a process that has children failed
    lost: str = ""  # a process that was removed
    colony_gone: bool = False  # the one of some of its processes
    state: int = WAITING
    started_ns: int = ZERO_TIME_NS
    ended_ns: int = ZERO_TIME_NS


class Graphs(Invariant):
    """Counts the processes of each graph by state from what happens to them."""

    def __init__(self, ledger: Ledger) -> None:
        super().__init__(ledger)
        self.books: dict[str, _GraphBook] = {}
        self.touched: list[_GraphBook] = []
        self.free: dict[str, Book] = {}  # children in this step whose parents have all succeeded
        for book in ledger.books.values():
            if book.process.graph_id:
                graph = self._book_of(book.process.graph_id)
                graph.members[book.process_id] = book
                graph.counts[book.state] += 1
                book.pending = self._pending(book)
                if (known := self.world.graphs.get(graph.graph_id)) is not None:
                    graph.state, graph.started_ns, graph.ended_ns = known.state, known.started_ns, known.ended_ns

    def reads(self) -> dict[type, Callable[[Any], None]]:
        return {GraphEvaluated: self.settled}

    def _book_of(self, graph_id: str) -> _GraphBook:
        graph = self.books.get(graph_id)
        if graph is None:
            graph = self.books[graph_id] = _GraphBook(graph_id, {}, [0] * len(ProcessState))
        return graph

    def moved(self, step: Transition, book: Book) -> None:
        """Only what belongs to a graph is told of."""
        old, new = step.old, step.new
        graph = self._book_of(book.process.graph_id)
        if old == NEW:
            graph.members[step.process_id] = book
            if step.cause == "add child":
                self._grown(book)
        else:
            graph.counts[old] -= 1
        if new == REMOVED:
            del graph.members[step.process_id]
            if step.cause == "colony removed":
                graph.colony_gone = True
            else:
                graph.lost = step.process_id
            if not graph.members:
                del self.books[graph.graph_id]
        else:
            graph.counts[new] += 1
            if _LOOKED_AT.get(new) == step.cause or (new == FAILED and step.cause != "cascade"):
                graph.unsettled = True
            if new == FAILED and step.cause != "cascade" and book.process.children:
                graph.falls = True
            if new == FAILED and step.cause == "cascade" and not graph.falls and not self._has_unreachable_nodes(graph):
                raise self._violation(graph, f"fell with {step.process_id}, although none that has children failed")
            if new == SUCCESS != old:
                self._succeeded(book)
        self._touch(graph)

    def _has_unreachable_nodes(self, book: _GraphBook) -> bool:
        graph = self.world.graphs.get(book.graph_id)
        return graph is None or graph.has_unreachable_nodes

    def _touch(self, graph: _GraphBook) -> None:
        if not graph.touched:
            graph.touched = True
            self.stir()
            self.touched.append(graph)

    # ------------------------------------------------------------ parents and children
    def _pending(self, book: Book) -> int:
        parents = (self.ledger.books.get(parent) for parent in dict.fromkeys(book.process.parents))
        return sum(1 for parent in parents if parent is not None and parent.state != SUCCESS)

    def _grown(self, child: Book) -> None:
        """A child has come between others: those behind it may have got one more to wait for."""
        for behind_id in child.process.children:
            if (behind := self.ledger.books.get(behind_id)) is not None:
                behind.pending = self._pending(behind)

    def _succeeded(self, book: Book) -> None:
        for child_id in dict.fromkeys(book.process.children):
            child = self.ledger.books.get(child_id)
            if child is not None:
                child.pending -= 1
                if child.pending <= 0 and child.blocked:
                    self.free[child_id] = child

    def assigned(self, entry: Assignment, book: Book) -> None:
        """A child gets what its parents have put out."""
        if not book.process.parents:
            return
        processes, process = self.world.processes, book.process
        outputs = (processes[parent].output for parent in process.parents if parent in processes)
        expected = list(chain.from_iterable(outputs))
        if list(process.input or ()) != expected:
            raise self.ledger.violation(entry.process_id, f"got {process.input}, where its parents put out {expected}")

    def grown(self, message: AddChild, child_id: str) -> None:
        """A child was added where its parent's executor wanted it."""
        parent, child = self.ledger.books.get(message.parentprocessid), self.ledger.books.get(child_id)
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
        """A graph has been looked at: its state is what its processes make it, or it has been cancelled."""
        book, graph = self.books.get(step.graph_id), self.world.graphs.get(step.graph_id)
        if book is None or graph is None:
            return
        book.unsettled = False
        if step.state not in (CANCELLED, _state_of(book.counts)) and not graph.has_unreachable_nodes:
            name = ProcessState(step.state).name
            if step.state == SUCCESS:
                others = sum(book.counts) - book.counts[SUCCESS]
                raise self._violation(book, f"is a success with {others} processes that are none")
            raise self._violation(book, f"was found {name}")
        if book.state == WAITING and step.state == RUNNING:
            book.started_ns = self.world.now_ns
        if step.state in (SUCCESS, FAILED, CANCELLED):
            book.ended_ns = self.world.now_ns
        book.state = step.state
        self._touch(book)

    def step_over(self, deliveries: Sequence[Delivery]) -> None:
        """Every graph that something has happened to is what its processes make it."""
        self.stirred = False
        if self.free:
            free, self.free = self.free, {}
            for child in free.values():
                if child.blocked and not self._pending(child):
                    if child.state == WAITING:
                        raise self.ledger.violation(
                            child.process_id, "still waits for its parents, which all have succeeded"
                        )
                    child.blocked = False  # released after it had ended: only the field tells
        touched, self.touched = self.touched, []
        for book in touched:
            book.touched = False
            graph = self.world.graphs.get(book.graph_id)
            if graph is None:
                self._gone(book)
            else:
                self._consistent(book, graph)

    def _gone(self, book: _GraphBook) -> None:
        """The graph has been removed, and all its processes with it."""
        for process_id in book.members:
            if not book.colony_gone:  # else those stay that are in another colony
                raise self.ledger.violation(process_id, f"is still there, but its graph {book.graph_id} is not")

    def _consistent(self, book: _GraphBook, graph: ProcessGraph) -> None:
        if book.lost:
            raise self.ledger.violation(book.lost, f"was removed, but its graph {book.graph_id} lives")
        if book.counts != graph.counts:
            raise self._violation(book, f"counts {graph.counts}")
        if book.unsettled:
            raise self._violation(book, "was not looked at after one of its processes had moved")
        times = graph.state, graph.started_ns, graph.ended_ns
        if not graph.has_unreachable_nodes and times != (book.state, book.started_ns, book.ended_ns):
            raise self._violation(book, f"shows state {graph.state} with times that it did not have")
        if graph.state == FAILED and not book.counts[FAILED]:
            raise self._violation(book, "has failed although none of its processes has")
        if book.falls:
            book.falls = False
            if book.counts[FAILED] != len(book.members) and not graph.has_unreachable_nodes:
                raise self._violation(book, "goes on although a process that others depend on has failed")

    def agree(self) -> None:
        for book in self.books.values():
            graph = self.world.graphs.get(book.graph_id)
            if graph is not None and list(graph.members) != list(book.members):
                raise self._violation(book, f"lists {len(graph.members)} processes, not its {len(book.members)}")

    def _violation(self, book: _GraphBook, what: str) -> InvariantViolation:
        counted = ", ".join(f"{book.counts[state]} {state.name}" for state in ProcessState if book.counts[state])
        return InvariantViolation(f"graph {book.graph_id} {what}; its processes are {counted or 'none'}")


def _state_of(counts: list[int]) -> int:
    """docs/protocol/c-workflows.md 3.2."""
    waiting, running, success, failed, cancelled = counts
    if failed:
        return FAILED
    if cancelled:
        return CANCELLED
    if running or (success and waiting):
        return RUNNING
    return SUCCESS if success else WAITING
