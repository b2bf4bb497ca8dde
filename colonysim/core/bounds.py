"""Finding the first run that fits any size of executor, where sizes are too many to keep a view for each."""

from __future__ import annotations

from heapq import heappop, heappush
from typing import Any, Final, Generic, Protocol, TypeVar

Order = tuple[int, int]
_NEVER: Final[Order] = (2**80, 0)


class Ordered(Protocol):
    """What stands in a run, with its place in the order of all."""

    @property
    def rank(self) -> int: ...
    @property
    def serial(self) -> int: ...


H = TypeVar("H", bound=Ordered)
H_co = TypeVar("H_co", bound=Ordered, covariant=True)


class Sized(Protocol[H_co]):
    """A run: what each of its processes asks for, and which of them is the first."""

    number: int
    cpu_milli: int
    memory_bytes: int

    def head(self) -> H_co | None: ...


class Fitting(Protocol):
    """A demand."""

    def fits(self, cpu_milli: int, memory_bytes: int) -> bool: ...


R = TypeVar("R", bound=Sized[Any])


class Node(Generic[R]):
    """Some runs: the least CPU and memory that any asks for, and an order that no head among them comes before."""

    __slots__ = ("above", "cpu_milli", "first", "left", "memory_bytes", "right", "run")

    def __init__(self, runs: list[R], by_cpu: bool, leaves: dict[int, Node[R]]) -> None:
        self.above: Node[R] | None = None
        self.cpu_milli = min(run.cpu_milli for run in runs)
        self.memory_bytes = min(run.memory_bytes for run in runs)
        self.run: R | None = None
        self.left: Node[R] | None = None
        self.right: Node[R] | None = None
        if len(runs) == 1:
            self.run = runs[0]
            leaves[self.run.number] = self
            head = self.run.head()
            self.first: Order = (head.rank, head.serial) if head else _NEVER
            return
        runs.sort(key=lambda run: run.cpu_milli if by_cpu else run.memory_bytes)
        self.left = Node(runs[: len(runs) // 2], not by_cpu, leaves)
        self.right = Node(runs[len(runs) // 2 :], not by_cpu, leaves)
        self.left.above = self.right.above = self
        self.first = min(self.left.first, self.right.first)


class Tree(Generic[R, H]):
    """The runs of a lane, halved by CPU and memory in turn down to single ones.

    An assign looks at the parts in the order of their firsts and at none that asks for too much at least. A head
    that has gone leaves a first that is too early, which is mended when it is met; a new, earlier head is posted.
    """

    def __init__(self, runs: list[R]) -> None:
        self.leaves: dict[int, Node[R]] = {}
        self.size = len(runs)
        self._root = Node(runs, True, self.leaves)

    def post(self, run: R) -> bool:
        """The run has got a new, earlier head; False if it is not in the tree."""
        node: Node[R] | None = self.leaves.get(run.number)
        if node is None:
            return False
        head = run.head()
        first = (head.rank, head.serial) if head else _NEVER
        while node is not None and first < node.first:
            node.first = first
            node = node.above
        return True

    def discard(self, run: R) -> None:
        """The run is no more."""
        if (leaf := self.leaves.pop(run.number, None)) is not None:
            leaf.run = None
            _mend(leaf, _NEVER)

    def runs(self) -> list[R]:
        """The runs in the tree that have not been discarded."""
        return [leaf.run for leaf in self.leaves.values() if leaf.run is not None]

    def best(self, demand: Fitting) -> tuple[R, H] | None:
        """The first head among the runs that fit, with its run."""
        number = 0
        near: list[tuple[Order, int, Node[R]]] = [(self._root.first, 0, self._root)]
        while near:
            first, _, node = heappop(near)
            if first == _NEVER or not demand.fits(node.cpu_milli, node.memory_bytes):
                continue
            if node.left is not None and node.right is not None:
                number += 2
                heappush(near, (node.left.first, number, node.left))
                heappush(near, (node.right.first, number + 1, node.right))
                continue
            assert node.run is not None
            head = node.run.head()
            order = (head.rank, head.serial) if head else _NEVER
            if head is not None and order == first:
                return node.run, head
            _mend(node, order)
            number += 1
            heappush(near, (order, number + 1, node))
            number += 1
        return None


def _mend(leaf: Node[R], first: Order) -> None:
    """A leaf's first is later than was known, and so may those of the nodes above be."""
    leaf.first = first
    node = leaf.above
    while node is not None and node.left is not None and node.right is not None:
        first = min(node.left.first, node.right.first)
        if first == node.first:
            break
        node.first = first
        node = node.above
