"""Processes: one holder, legal arrows, conditions, order, retries, parents first, nothing lost."""

from __future__ import annotations

import heapq
from itertools import chain, islice
from typing import Final

import msgspec

from colonysim.core.model import (
    CANCELLED,
    FAILED,
    REMOVED,
    RUNNING,
    SUCCESS,
    WAITING,
    Process,
)
from colonysim.core.scheduling import MAX_COUNT, Demand, order_of
from colonysim.core.trace import Assignment, Transition
from colonysim.core.world import World
from colonysim.sim.invariants.violation import InvariantViolation
from colonysim.sim.story import NEW, UNKNOWN, tell
from colonysim.sim.story import STATE_NAMES as _NAMES

LEGAL: Final[dict[int, tuple[int, ...]]] = {
    NEW: (WAITING,),
    WAITING: (WAITING, RUNNING, FAILED, CANCELLED, REMOVED),  # WAITING once more: parents succeeded
    RUNNING: (SUCCESS, FAILED, CANCELLED, WAITING, REMOVED),
    SUCCESS: (SUCCESS, FAILED, REMOVED),  # closed once more; failed with its graph
    FAILED: (REMOVED,),
    CANCELLED: (FAILED, REMOVED),
}
"""The arrows a process may take (b-processes 5.1, c-workflows 3.3)."""

GONE_KEPT: Final = 1000
_LOOK_AT_CLASSES: Final = 32  # so many other classes of waiting processes are compared at each assignment

Class = tuple[tuple[str, ...], str, int, int, int, int]
"""Names, location, CPU, memory, storage and the largest count: processes alike in these are interchangeable."""

Entry = tuple[int, int, str]
Pool = dict[Class, "_Alike"]


class _Alike(msgspec.Struct):
    """Processes of one class that wait, in order. Who waits no longer stays behind until it comes to the front."""

    pool: Pool
    kind: Class
    entries: list[Entry] = []
    live: int = 0

    def first(self, books: dict[str, _Book]) -> Entry:
        """Who stands in front; there must be somebody."""
        entries = self.entries
        while not self._waits(books, entries[0]):
            heapq.heappop(entries)
        return entries[0]

    def _waits(self, books: dict[str, _Book], entry: Entry) -> bool:
        book = books.get(entry[2])
        return book is not None and book.alike is self and book.entry == entry

    def add(self, entry: Entry) -> None:
        heapq.heappush(self.entries, entry)
        self.live += 1

    def drop_one(self, books: dict[str, _Book]) -> None:
        """One of them waits no longer; clear up when those left behind outnumber the others."""
        self.live -= 1
        if not self.live:
            del self.pool[self.kind]
        elif len(self.entries) > 2 * self.live + 64:
            self.entries = sorted(dict.fromkeys(entry for entry in self.entries if self._waits(books, entry)))


class _Book(msgspec.Struct):
    """What the checks know of one process."""

    process: Process
    state: int
    story: list[Transition]
    holder: str = ""
    blocked: bool = False  # by parents that have not succeeded
    alike: _Alike | None = None  # those it waits for an executor with
    entry: Entry = (0, 0, "")


class ProcessBooks:
    """What is known of each process, and who waits in which order."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.books: dict[str, _Book] = {}
        self.gone: dict[str, _Book] = {}  # removed processes, for their stories
        self.pools: dict[tuple[str, str], Pool] = {}
        self.submitted = self.removed = 0
        for process in world.processes.values():
            self._enter(process, process.state, process.wait_for_parents)
        self.submitted = len(self.books)

    # ------------------------------------------------------------ one process
    def moved(self, step: Transition) -> None:
        """A process has come into a state."""
        if step.old == NEW:
            self.submitted += 1
            process = self.world.processes.get(step.process_id)
            if process is None:  # came and went within one step
                self.removed += 1
                return
            self._enter(process, WAITING, bool(process.parents)).story.append(step)
            return
        book = self.books.get(step.process_id)
        if book is None:
            return  # came and went within one step
        book.story.append(step)
        if book.state != step.old:
            raise self._violation(step.process_id, f"went from {_NAMES[step.old]}, but was {_NAMES[book.state]}")
        if step.new not in LEGAL[step.old]:
            raise self._violation(step.process_id, f"must not go from {_NAMES[step.old]} to {_NAMES[step.new]}")
        if book.alike is not None:
            self._unlist(step, book, book.alike)
        book.state = step.new
        if step.old == step.new == WAITING:
            self._released(step, book)
        if step.new == WAITING and not book.blocked:
            self._list(book)
        if step.new == RUNNING or step.old == RUNNING:
            self._holder(step, book)
        if book.process.retries:
            self._retries(book.process)
        if step.new == REMOVED:
            self.removed += 1
            self.gone[step.process_id] = self.books.pop(step.process_id)
            if len(self.gone) > GONE_KEPT:
                del self.gone[next(iter(self.gone))]

    def _released(self, step: Transition, book: _Book) -> None:
        """It waits for its parents no longer: all of them must have succeeded."""
        book.blocked = False
        for parent_id in book.process.parents:
            parent = self.books.get(parent_id)
            if parent is not None and parent.state != SUCCESS:
                raise self._violation(step.process_id, f"was released before its parent {parent_id} succeeded")

    def _holder(self, step: Transition, book: _Book) -> None:
        if step.new == RUNNING:
            if book.holder:
                raise self._violation(step.process_id, f"has two holders, {book.holder} and {step.executor_id}")
            book.holder = step.executor_id
        elif step.old == RUNNING:
            if book.holder != step.executor_id:
                raise self._violation(step.process_id, f"left {step.executor_id}, but was held by {book.holder}")
            book.holder = ""

    def _retries(self, process: Process) -> None:
        limit = process.spec.maxretries
        if -1 < limit < process.retries:
            raise self._violation(process.process_id, f"has been retried {process.retries} times of {limit}")

    def _enter(self, process: Process, state: int, blocked: bool) -> _Book:
        book = _Book(process, state, [], process.executor_id if state == RUNNING else "")
        self.books[process.process_id] = book
        book.blocked = blocked
        if state == WAITING and not book.blocked:
            self._list(book)
        return book

    # ------------------------------------------------------------ who waits
    def _list(self, book: _Book) -> None:
        process = book.process
        pool = self.pools.get((process.colony, process.spec.conditions.executortype))
        if pool is None:
            pool = self.pools[process.colony, process.spec.conditions.executortype] = {}
        kind = _class_of(process)
        alike = pool.get(kind)
        if alike is None:
            alike = pool[kind] = _Alike(pool, kind)
        book.alike = alike
        book.entry = entry = (*order_of(process), process.process_id)
        alike.add(entry)

    def _unlist(self, step: Transition, book: _Book, alike: _Alike) -> None:
        """It waits no longer. If it was taken, it must have been the first of its class."""
        if step.new == RUNNING and (first := alike.first(self.books)) != book.entry:
            raise self._violation(step.process_id, f"was taken before {first[2]}, which stood in front of it")
        book.alike = None
        alike.drop_one(self.books)

    # ------------------------------------------------------------ who gets what
    def assigned(self, entry: Assignment) -> None:
        """An executor has been given a process."""
        process = self.world.processes.get(entry.process_id)
        if process is None:
            return
        problem = unfit(process, entry.demand, self.world.settings.exclusive_assign)
        if problem:
            raise self._violation(entry.process_id, f"was given to {entry.demand.name}, {problem}")
        if self.books[entry.process_id].blocked:
            raise self._violation(entry.process_id, "was started before its parents succeeded")
        self._nobody_before(process, entry.demand)

    def _nobody_before(self, process: Process, demand: Demand) -> None:
        """None of the other classes has a process in front that the executor should have had instead."""
        pool = self.pools.get((process.colony, process.spec.conditions.executortype))
        if not pool:
            return
        order = order_of(process)
        for alike in islice(pool.values(), _LOOK_AT_CLASSES):
            time_ns, serial, other_id = alike.first(self.books)
            if (time_ns, serial) < order:
                other = self.world.processes.get(other_id)
                if other is not None and not unfit(other, demand, self.world.settings.exclusive_assign):
                    what = f"was given to {demand.name}, who should have had {other_id} first"
                    raise self._violation(process.process_id, what)

    def conserved(self) -> None:
        """Submitted = present + removed, by all tables."""
        present = sum(map(len, chain.from_iterable(self.world.by_state.values())))
        if present != len(self.world.processes) or present != self.submitted - self.removed:
            text = (
                f"processes are lost or doubled: {self.submitted} submitted, {self.removed} removed, "
                f"{present} in the tables of states, {len(self.world.processes)} known by id"
            )
            raise InvariantViolation(text)

    # ------------------------------------------------------------ telling
    def _violation(self, process_id: str, what: str) -> InvariantViolation:
        return InvariantViolation(f"process {process_id} {what}\n{self.story(process_id)}")

    def story(self, process_id: str) -> str:
        """The life of a process in lines."""
        book = self.books.get(process_id) or self.gone.get(process_id)
        return UNKNOWN if book is None else tell(self.world, book.process, book.story)


def _class_of(process: Process) -> Class:
    conditions = process.spec.conditions
    cpu_milli, memory_bytes, storage_bytes, _ = process.resources
    most = max(conditions.nodes, conditions.processes, conditions.processespernode)
    names = tuple(conditions.executornames or ())
    return names, conditions.locationname.lower(), cpu_milli, memory_bytes, storage_bytes, most


def unfit(process: Process, demand: Demand, exclusive: bool = True) -> str | None:
    """Why this executor may not have this process, by b-processes 4.3; None where it may."""
    conditions, resources = process.spec.conditions, process.resources
    names = conditions.executornames or []
    if process.colony != demand.colony:
        return f"which asked for work in {demand.colony!r}, not in {process.colony!r}"
    if conditions.executortype != demand.executor_type:
        return f"an executor of type {demand.executor_type!r}, not {conditions.executortype!r}"
    if names and demand.name not in names and (exclusive or names != ["*"]):
        return f"not one of {', '.join(names)}"
    if conditions.locationname and conditions.locationname.lower() != demand.location.lower():
        return f"at {demand.location!r}, not at {conditions.locationname!r}"
    if demand.cpu_milli is not None and resources.cpu_milli > demand.cpu_milli:
        return f"with {demand.cpu_milli}m of CPU, not {resources.cpu_milli}m"
    if demand.memory_bytes is not None and resources.memory_bytes > demand.memory_bytes:
        return f"with {demand.memory_bytes} bytes of memory, not {resources.memory_bytes}"
    if exclusive and resources.storage_bytes > 0:
        return "although it asks for storage"
    if max(conditions.nodes, conditions.processes, conditions.processespernode) > MAX_COUNT:
        return f"although it asks for more than {MAX_COUNT} nodes or processes"
    return None
