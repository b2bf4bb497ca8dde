"""The ledger: a record of what has happened to each process, from the history alone."""

from __future__ import annotations

import heapq
from typing import Any, Final

import msgspec

from colonysim.core.history import Transition
from colonysim.core.records import CANCELLED, FAILED, NEW, REMOVED, RUNNING, STATE_NAMES, SUCCESS, WAITING, Process
from colonysim.core.wording import show_times
from colonysim.core.world import World
from colonysim.invariants.deadlines import Deadlines
from colonysim.invariants.timeline import UNKNOWN, describe
from colonysim.invariants.violation import InvariantViolation

_ENDS: Final = {
    FAILED: ("close", "ran too long", "waited too long", "cascade"), CANCELLED: ("cancel",),
    REMOVED: ("remove", "retention", "colony removed"),
}  # fmt: skip
LEGAL: Final[dict[int, dict[int, tuple[str, ...]]]] = {
    NEW: {WAITING: ("submit", "add child")},
    WAITING: _ENDS | {RUNNING: ("assign",), WAITING: ("parents succeeded",)},
    RUNNING: _ENDS | {SUCCESS: ("close",), WAITING: ("timeout", "executor removed")},
    SUCCESS: {SUCCESS: ("close",), FAILED: ("cascade",), REMOVED: _ENDS[REMOVED]},
    FAILED: {REMOVED: _ENDS[REMOVED]},
    CANCELLED: {FAILED: ("cascade",), REMOVED: _ENDS[REMOVED]},
}
"""The changes of state that are permitted, with their causes.

The core has a table of its own, `transitions.LEGAL`; this one is written down again from the protocol, because an
invariant that shared the core's table could not see an error in it.
Source: docs/protocol/b-processes.md 5.1, docs/protocol/c-workflows.md 3.3.
"""

_BEGINNINGS: Final = LEGAL[NEW][WAITING]
_LEGAL_STEPS: Final = frozenset(
    (old, new, cause) for old, arrows in LEGAL.items() for new, causes in arrows.items() for cause in causes
)
GONE_KEPT: Final = 1000

Place = tuple[int, int, str]
"""The place of a waiting process: its rank, its number and its id. Numbers are unique."""


class Line(msgspec.Struct, eq=False):
    """Waiting processes with equal conditions: a heap of places, `gone` of which belong to processes that have left."""

    places: list[Place] = []
    gone: int = 0

    def first(self, records: dict[str, ProcessRecord]) -> ProcessRecord | None:
        """Return the process in front; None if there is none. `records` are those of the ledger."""
        places = self.places
        while places:
            place = places[0]
            record = records.get(place[2])
            if record is not None and record.place is place:
                return record
            heapq.heappop(places)
            self.gone -= 1
        return None

    def leave(self, records: dict[str, ProcessRecord]) -> None:
        """Count a process that has left; rebuilds the heap once most places belong to such processes."""
        self.gone += 1
        if self.gone > len(self.places) // 2 + 32:
            standing = ((place, records.get(place[2])) for place in self.places)
            self.places = [place for place, record in standing if record is not None and record.place is place]
            heapq.heapify(self.places)
            self.gone = 0


class ProcessRecord(msgspec.Struct, eq=False, gc=False):
    """What the invariants know of one process. `number`: its position in the order of submission.

    The garbage collector does not examine records, because there are as many as processes. So nothing in a record may
    refer back to it.
    """

    process_id: str
    process: Process
    number: int
    submitted_ns: int
    state: int
    story: list[Transition]
    holder: str = ""
    retries: int = 0
    blocked: bool = False  # by unfinished parents
    pending: int = 0  # number of those parents
    place: Place | None = None  # its place while it can be assigned
    line: Line | None = None  # the line of that place
    wait_ns: int = 0  # the end of its waiting time
    watched: int = 0  # the second under which its limit is listed
    special: bool = False  # is in a graph, has channels, or is subject to retention


class Ledger:
    """A record for each process. It checks changes of state, holders, retries, and that no process is lost.

    `deadlines` and `invariants` (by their classes) are what the invariants of a world share besides the records.
    """

    def __init__(self, world: World) -> None:
        self.world = world
        self.records: dict[str, ProcessRecord] = {}
        self.gone: dict[str, ProcessRecord] = {}  # removed processes, for their timelines
        self.held: dict[str, dict[str, ProcessRecord]] = {}  # by the executor that runs them
        self.to_check_after_step: list[Any] = []  # invariants whose `after_step` is due
        self.requeued: list[ProcessRecord] = []  # in this step
        self.deadlines = Deadlines()
        self.invariants: dict[type, Any] = {}
        self.submitted = self.removed = self.waiting = 0
        self.removed_unfinished = 0  # of the removed ones, those that had not ended
        self.retains = world.settings.retention
        for process in world.processes.values():
            self.submitted += 1
            record = ProcessRecord(process.process_id, process, self.submitted, process.submitted_ns, process.state, [])
            record.blocked, record.retries = process.wait_for_parents, process.retries
            record.special = bool(process.graph_id or self.retains or process.spec.channels)
            self.records[process.process_id] = record
            if process.state == RUNNING:
                record.holder = process.executor_id
                self.held.setdefault(process.executor_id, {})[process.process_id] = record
            self.waiting += process.state == WAITING

    def moved(self, step: Transition) -> ProcessRecord | None:
        """Record a change of state. Returns the record; None if the process was added and removed in one step."""
        process_id, old, new = step.process_id, step.old, step.new
        if old == NEW:
            return self._begun(step)
        record = self.records.get(process_id)
        if record is None:
            return None
        record.story.append(step)
        if record.state != old:
            raise self.violation(process_id, f"went from {STATE_NAMES[old]}, but was {STATE_NAMES[record.state]}")
        if (old, new, step.cause) not in _LEGAL_STEPS:
            by = f" by {step.cause!r}" if new in LEGAL[old] else ""
            raise self.violation(process_id, f"must not go from {STATE_NAMES[old]} to {STATE_NAMES[new]}{by}")
        record.state = new
        if old == WAITING:
            self.waiting -= 1
        if new == RUNNING:
            record.holder = holder = step.executor_id
            held = self.held.get(holder)
            if held is None:
                held = self.held[holder] = {}
            held[process_id] = record
            return record
        if old == RUNNING:
            holder = record.holder
            if holder != step.executor_id:
                raise self.violation(process_id, f"left {step.executor_id}, but was held by {holder}")
            del self.held[holder][process_id]
            record.holder = ""
            if new == SUCCESS:
                return record
        if new == WAITING:
            self.waiting += 1
            if old == WAITING:
                self._released(record)
            else:
                self.requeued.append(record)
                if step.cause == "timeout":
                    self._retried(record)
        elif new == REMOVED:
            self.removed_unfinished += old in (WAITING, RUNNING)
            self._removed(record)
        return record

    def _begun(self, step: Transition) -> ProcessRecord | None:
        """Create the record of a new process; None if it has been removed already."""
        process_id = step.process_id
        if step.cause not in _BEGINNINGS:
            raise self.violation(process_id, f"must not begin by {step.cause!r}")
        self.submitted = number = self.submitted + 1
        process = self.world.processes.get(process_id)
        if process is None:
            self.removed += 1
            self.removed_unfinished += 1
            return None
        if process_id in self.records:
            raise self.violation(process_id, "was submitted twice")
        self.records[process_id] = record = ProcessRecord(process_id, process, number, step.now_ns, WAITING, [step])
        if process.graph_id or self.retains or process.spec.channels:
            record.special = True
            if process.parents:
                record.blocked, record.pending = True, len(set(process.parents))
        self.waiting += 1
        return record

    def _released(self, record: ProcessRecord) -> None:
        """Check that all parents of a released process have succeeded."""
        record.blocked = False
        for parent_id in record.process.parents:
            parent = self.records.get(parent_id)
            if parent is not None and parent.state != SUCCESS:
                raise self.violation(record.process_id, f"was released before its parent {parent_id} succeeded")

    def _retried(self, record: ProcessRecord) -> None:
        record.retries += 1
        limit = record.process.spec.maxretries
        if -1 < limit < record.retries:
            raise self.violation(
                record.process_id, f"has been retried {show_times(record.retries)}, and its limit is {limit}"
            )

    def _removed(self, record: ProcessRecord) -> None:
        self.removed += 1
        del self.records[record.process_id]
        self.gone[record.process_id] = record
        if len(self.gone) > GONE_KEPT:
            del self.gone[next(iter(self.gone))]

    def lost(self, present: int) -> InvariantViolation:
        """Return the error for tables in which submitted = present + removed does not hold."""
        return InvariantViolation(
            f"processes are lost or doubled: {self.submitted} submitted, {self.removed} removed, "
            f"{present} in the tables of states, {len(self.world.processes)} known by id"
        )

    # ------------------------------------------------------------ reporting
    def violation(self, process_id: str, what: str) -> InvariantViolation:
        """Return the error for a process: what is wrong with it, and its timeline."""
        return InvariantViolation(f"process {process_id} {what}\n{self.story(process_id)}")

    def story(self, process_id: str) -> str:
        """Return the timeline of a process, in lines."""
        record = self.records.get(process_id) or self.gone.get(process_id)
        return UNKNOWN if record is None else describe(self.world, record.process, record.story)
