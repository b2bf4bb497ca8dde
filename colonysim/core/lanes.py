"""Waiting processes with equal conditions form a `LaneRun`; runs for the same executors form a `Lane`.

Part of THE HOT PATH, see `scheduling`.
"""

from __future__ import annotations

import heapq
import math
from bisect import bisect_left, bisect_right
from collections import deque
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TYPE_CHECKING, Final

import msgspec

from colonysim.core.records import WAITING, Process

if TYPE_CHECKING:
    from colonysim.core.bounds import Tree
    from colonysim.core.types import FunctionSpec

_FEW_RUNS: Final = 4  # up to this number, runs are examined one by one; beyond it, by views
_MOST_VIEWS: Final = 64
_RUNS_PER_CALL: Final = 64  # runs that may be put into new views for each call, on average

Order = tuple[int, int]
RunKey = tuple[int, str, "tuple[str, ...] | None", int, int]


def order_of(process: Process) -> Order:
    """The order in which waiting processes are assigned: by rank, the lowest first, then by submission."""
    return process.rank, process.serial


class Demand(msgspec.Struct, frozen=True, gc=False):
    """The executor of an assign call, and the resources it offers; None for unlimited."""

    colony: str
    executor_id: str
    executor_type: str
    name: str
    location: str
    cpu_milli: int | None = None
    memory_bytes: int | None = None

    def fits(self, cpu_milli: int, memory_bytes: int) -> bool:
        """Whether the offered resources are enough."""
        return (self.cpu_milli is None or cpu_milli <= self.cpu_milli) and (
            self.memory_bytes is None or memory_bytes <= self.memory_bytes
        )


class LaneRun:
    """Waiting processes with equal conditions and priority, in order of rank.

    `fifo` holds the processes that were added in order; a process that returns with an earlier rank goes into the heap
    `late`. A process that stopped waiting without being taken is left in place as a tombstone and skipped when it
    reaches the head (lazy deletion). `live` counts the others. `usual_spec` is the last spec that `usual` has checked.
    """

    __slots__ = ("cpu_milli", "fifo", "key", "lanes", "late", "live", "memory_bytes", "number", "usual_spec")

    def __init__(self, number: int, key: RunKey) -> None:
        self.number = number
        self.key = key
        self.cpu_milli, self.memory_bytes = key[3], key[4]
        self.fifo: deque[Process] = deque()
        self.late: list[tuple[int, int, Process]] = []
        self.live = 0
        self.lanes: tuple[Lane, ...] = ()  # that contain it
        self.usual_spec: FunctionSpec | None = None

    def push(self, process: Process) -> bool:
        """Add a process. Returns whether it is now the head."""
        self.live += 1
        fifo = self.fifo
        if not fifo:
            fifo.append(process)
            return not self.late or self.late[0][:2] > order_of(process)
        last = fifo[-1]
        if last.rank < process.rank or (last.rank == process.rank and last.serial < process.serial):
            fifo.append(process)
            return False
        heapq.heappush(self.late, (process.rank, process.serial, process))
        return self.head() is process

    def head(self) -> Process | None:
        """Return the first waiting process, and drop the tombstones before it; None if the run is empty."""
        fifo, late = self.fifo, self.late
        while fifo and (first := fifo[0]).state:
            fifo.popleft()
        if not late:
            return first if fifo else None
        while late and late[0][2].state:
            heapq.heappop(late)
        if not late:
            return fifo[0] if fifo else None
        early = late[0]
        return early[2] if not fifo or early[:2] < order_of(fifo[0]) else fifo[0]

    def pop(self, head: Process) -> None:
        """Remove the head."""
        self.live -= 1
        if self.fifo and self.fifo[0] is head:
            self.fifo.popleft()
        else:
            heapq.heappop(self.late)

    def forget_one(self) -> None:
        """Count a process that stopped waiting without being taken. Drops tombstones once they outnumber the rest."""
        self.live -= 1
        if len(self.fifo) + len(self.late) > 2 * self.live + 32:
            self.fifo = deque(process for process in self.fifo if process.state == WAITING)
            self.late = [entry for entry in self.late if entry[2].state == WAITING]
            heapq.heapify(self.late)

    def waiting(self) -> Iterator[Process]:
        """Iterate over the waiting processes, in order."""
        late = (entry[2] for entry in sorted(self.late, key=lambda entry: entry[:2]))
        return (p for p in heapq.merge(self.fifo, late, key=order_of) if p.state == WAITING)


class View:
    """The runs of a lane that fit one size of executor, with a heap of their heads that is corrected lazily.

    `read` is the position up to which it has followed the lane's log of new heads.
    """

    __slots__ = ("heads", "posted", "read")

    def __init__(self, runs: Iterable[LaneRun], read: int) -> None:
        found = [(run.number, order_of(head)) for run in runs if (head := run.head())]
        self.posted: dict[int, Order] = dict(found)
        self.heads: list[tuple[int, int, int]] = [(*order, number) for number, order in found]
        heapq.heapify(self.heads)
        self.read = read

    def post(self, run: LaneRun) -> None:
        """Take in the new head of a run, unless the run is empty by now."""
        if head := run.head():
            self.posted[run.number] = order = order_of(head)
            heapq.heappush(self.heads, (*order, run.number))

    def best(self, runs: dict[int, LaneRun]) -> tuple[LaneRun, Process] | None:
        """Return the run with the first head, and that head; None if all runs are empty."""
        heads, posted = self.heads, self.posted
        while heads:
            time_ns, serial, number = heads[0]
            if posted.get(number) != (time_ns, serial):
                heapq.heappop(heads)  # the run has an earlier head since, or was removed
                continue
            run = runs[number]
            head = run.head()
            if head is None:
                heapq.heappop(heads)
                del posted[number]
            elif (order := order_of(head)) != (time_ns, serial):
                posted[number] = order
                heapq.heapreplace(heads, (*order, number))
            else:
                return run, head
        return None


class Lane:
    """The runs whose conditions one kind of executor meets, and how to find the first that fits its size.

    Few runs are examined one by one. Many have a view for each size of executor; sizes between the same steps share
    one. If views would be made too often, because sizes or runs keep changing, a tree finds the runs that fit instead;
    runs that are newer than the tree are `fresh`, and are examined one by one.
    `log` lists the runs that got an earlier head, from position `log_start` on, and views follow it when they are used.
    A view that is behind `log_start` is made again.
    """

    __slots__ = ("asked", "cpu_steps", "filled", "fresh", "log", "log_start", "memory_steps", "runs", "tree", "views")

    def __init__(self) -> None:
        self.runs: dict[int, LaneRun] = {}
        self.views: dict[tuple[int, int], View] = {}
        self.log: list[LaneRun] = []
        self.log_start = 0
        self.cpu_steps: list[int] = []
        self.memory_steps: list[int] = []
        self.asked = self.filled = 0  # numbers of calls, and of runs put into views
        self.tree: Tree[LaneRun, Process] | None = None
        self.fresh: dict[int, LaneRun] = {}

    def add(self, run: LaneRun) -> None:
        """Add a new run."""
        self.runs[run.number] = run
        if self.tree is not None:
            self.fresh[run.number] = run
        if len(self.cpu_steps) + len(self.memory_steps) > 4 * len(self.runs) + 64:
            self.cpu_steps = sorted({each.cpu_milli for each in self.runs.values()})
            self.memory_steps = sorted({each.memory_bytes for each in self.runs.values()})
            self.views.clear()
        new_cpu = _add_step(self.cpu_steps, run.cpu_milli)
        new_memory = _add_step(self.memory_steps, run.memory_bytes)
        if new_cpu or new_memory:
            self.views.clear()  # their keys are positions among the steps

    def discard(self, run: LaneRun) -> None:
        """Remove an empty run."""
        del self.runs[run.number]
        for view in self.views.values():
            view.posted.pop(run.number, None)
        if self.tree is not None and self.fresh.pop(run.number, None) is None:
            self.tree.discard(run)
        if len(self.runs) == _FEW_RUNS:
            self.views.clear()
            self.tree = None
            self.fresh.clear()

    def post(self, run: LaneRun) -> None:
        """Tell views and tree that a run has a new, earlier head."""
        if self.tree is not None:
            self.tree.post(run)
        if not self.views:
            return
        if len(self.log) > 2 * len(self.runs):
            self.log_start += len(self.log)
            self.log.clear()
        self.log.append(run)

    def best(self, demand: Demand) -> tuple[LaneRun, Process] | None:
        """Return the run whose head this executor gets next, and that head; None if it gets none."""
        runs = self.runs
        found: tuple[LaneRun, Process] | None = None
        if len(runs) > _FEW_RUNS:
            self.asked += 1
            if (view := self._view_of(demand)) is not None:
                return view.best(runs)
            found, runs = self._in_tree(demand), self.fresh
        unlimited = demand.cpu_milli is None and demand.memory_bytes is None
        for run in runs.values():
            if run.live and (unlimited or demand.fits(run.cpu_milli, run.memory_bytes)):
                fifo = run.fifo
                head = fifo[0] if fifo and not run.late and not fifo[0].state else run.head()
                if head and (found is None or order_of(head) < order_of(found[1])):
                    found = run, head
        return found

    def _in_tree(self, demand: Demand) -> tuple[LaneRun, Process] | None:
        """Find the first head in the tree, which is built again once there are many fresh runs."""
        if self.tree is None or len(self.fresh) > 32 + math.isqrt(self.tree.size):
            from colonysim.core.bounds import Tree  # few servers need one

            self.tree = Tree(list(self.runs.values()))
            self.fresh.clear()
        return self.tree.best(demand)

    def _view_of(self, demand: Demand) -> View | None:
        """Return the view for a size of executor; None if there is none and making one would cost too much."""
        cpu, memory = demand.cpu_milli, demand.memory_bytes
        size = (
            len(self.cpu_steps) if cpu is None else bisect_right(self.cpu_steps, cpu),
            len(self.memory_steps) if memory is None else bisect_right(self.memory_steps, memory),
        )
        view, end = self.views.get(size), self.log_start + len(self.log)
        if view is None or view.read < self.log_start:
            self.views.pop(size, None)
            if self.filled > _MOST_VIEWS * len(self.runs) + _RUNS_PER_CALL * self.asked:
                return None
            self.filled += len(self.runs)
            if len(self.views) >= _MOST_VIEWS:
                del self.views[next(iter(self.views))]
            fitting = (run for run in self.runs.values() if demand.fits(run.cpu_milli, run.memory_bytes))
            view = self.views[size] = View(fitting, end)
        elif view.read < end:
            for run in islice(self.log, view.read - self.log_start, None):
                if run.number in self.runs and demand.fits(run.cpu_milli, run.memory_bytes):
                    view.post(run)
            view.read = end
        return view


def _add_step(steps: list[int], step: int) -> bool:
    """Insert a step into a sorted list. Returns False if the list contains it."""
    place = bisect_left(steps, step)
    if place < len(steps) and steps[place] == step:
        return False
    steps.insert(place, step)
    return True
