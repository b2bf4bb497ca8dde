"""Find the first process that fits an executor of any size, in a tree over the runs of a lane.

A lane uses it once executors have too many different sizes to keep a view for each size.
"""

from __future__ import annotations

from heapq import heappop, heappush
from typing import Any, Final, Generic, Protocol, TypeVar

Order = tuple[int, int]
_NEVER: Final[Order] = (2**80, 0)


class Ordered(Protocol):
    """An entry of a run, with its position in the order of all entries."""

    @property
    def rank(self) -> int: ...
    @property
    def serial(self) -> int: ...


H = TypeVar("H", bound=Ordered)
H_co = TypeVar("H_co", bound=Ordered, covariant=True)


class Sized(Protocol[H_co]):
    """A run of processes that require the same resources, with the first of them."""

    number: int
    cpu_milli: int
    memory_bytes: int

    def head(self) -> H_co | None: ...


class Fitting(Protocol):
    """What an executor offers."""

    def fits(self, cpu_milli: int, memory_bytes: int) -> bool: ...


R = TypeVar("R", bound=Sized[Any])


class TreeNode(Generic[R]):
    """Some runs: the least CPU and memory that any of them requires, and a lower bound of the order of their heads."""

    __slots__ = ("above", "cpu_milli", "first", "left", "memory_bytes", "right", "run")

    def __init__(self, runs: list[R], by_cpu: bool, leaves: dict[int, TreeNode[R]]) -> None:
        self.above: TreeNode[R] | None = None
        self.cpu_milli = min(run.cpu_milli for run in runs)
        self.memory_bytes = min(run.memory_bytes for run in runs)
        self.run: R | None = None
        self.left: TreeNode[R] | None = None
        self.right: TreeNode[R] | None = None
        if len(runs) == 1:
            self.run = runs[0]
            leaves[self.run.number] = self
            head = self.run.head()
            self.first: Order = (head.rank, head.serial) if head else _NEVER
            return
        runs.sort(key=lambda run: run.cpu_milli if by_cpu else run.memory_bytes)
        self.left = TreeNode(runs[: len(runs) // 2], not by_cpu, leaves)
        self.right = TreeNode(runs[len(runs) // 2 :], not by_cpu, leaves)
        self.left.above = self.right.above = self
        self.first = min(self.left.first, self.right.first)


class Tree(Generic[R, H]):
    """A k-d tree of the runs of a lane, halved by CPU and memory in turn down to single runs.

    A search visits nodes in the order of their bounds `first`, and skips those that require more than the executor
    offers. A removed head leaves a bound that is too early, which is corrected when a search meets it; a new, earlier
    head must be posted.
    """

    def __init__(self, runs: list[R]) -> None:
        self.leaves: dict[int, TreeNode[R]] = {}
        self.size = len(runs)
        self._root = TreeNode(runs, True, self.leaves)

    def post(self, run: R) -> bool:
        """Update the bounds for a run with a new, earlier head. Returns False if the run is not in the tree."""
        node: TreeNode[R] | None = self.leaves.get(run.number)
        if node is None:
            return False
        head = run.head()
        first = (head.rank, head.serial) if head else _NEVER
        while node is not None and first < node.first:
            node.first = first
            node = node.above
        return True

    def discard(self, run: R) -> None:
        """Remove a run."""
        if (leaf := self.leaves.pop(run.number, None)) is not None:
            leaf.run = None
            _mend(leaf, _NEVER)

    def runs(self) -> list[R]:
        """Return the runs that have not been discarded."""
        return [leaf.run for leaf in self.leaves.values() if leaf.run is not None]

    def best(self, demand: Fitting) -> tuple[R, H] | None:
        """Return the run with the first head among those that fit the demand, and that head."""
        number = 0
        near: list[tuple[Order, int, TreeNode[R]]] = [(self._root.first, 0, self._root)]
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


def _mend(leaf: TreeNode[R], first: Order) -> None:
    """Set a later bound for a leaf, and update the bounds of the nodes above it."""
    leaf.first = first
    node = leaf.above
    while node is not None and node.left is not None and node.right is not None:
        first = min(node.left.first, node.right.first)
        if first == node.first:
            break
        node.first = first
        node = node.above
