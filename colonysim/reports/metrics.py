"""The figures of a run: waiting times, turnaround, slowdown, utilisation, throughput, deadline misses.

The records are columns of numbers, made from the core's history: O(1) for each event and some hundred bytes for each
process. A time of -1 means: not yet.
"""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

import msgspec

from colonysim.core.history import Entry, Transition
from colonysim.core.records import (
    CANCELLED,
    FAILED,
    REMOVED,
    RUNNING,
    SUCCESS,
    WAITING,
    Process,
)
from colonysim.core.types import FunctionSpec
from colonysim.core.world import World

NEVER: Final = -1
TAU_S: Final = 10.0
"""The bound of the bounded slowdown: shorter processes count as this long."""

_NO_SPEC: Final = FunctionSpec()
_MISSES: Final = ("timeout", "ran too long", "waited too long")


class Gauges(msgspec.Struct, gc=False):
    """Current gauge values, which checks read. `blocked` processes wait for their parents."""

    submitted: int = 0
    queue_depth: int = 0
    blocked: int = 0
    running: int = 0
    succeeded: int = 0
    failed: int = 0
    cancelled: int = 0
    removed: int = 0
    retries: int = 0
    deadline_misses: int = 0
    reneged: int = 0

    @property
    def unfinished(self) -> int:
        return self.queue_depth + self.blocked + self.running


class Kind(msgspec.Struct, frozen=True):
    """The key of a process in tables: function, executor type, location."""

    funcname: str
    executortype: str
    location: str


class Sender:
    """A user with a function, and how many processes have come from there."""

    __slots__ = ("count", "name")

    def __init__(self, name: str) -> None:
        self.name = name
        self.count = 0


class ProcessClass:
    """Processes of one user, function, executor type, location and priority: what tables are divided by."""

    __slots__ = ("kind", "place", "priority", "sender", "user")

    def __init__(self, place: int, kind: Kind, sender: Sender, user: str, priority: int) -> None:
        self.place = place
        self.kind = kind
        self.sender = sender
        self.user = user
        self.priority = priority


class Metrics:
    """The records of one run. `listeners` are called after each change of a process.

    `start_ns`: when they begin, by default now. `processes`: those that they are about, by default the world's.
    """

    def __init__(
        self, world: World, start_ns: int | None = None, processes: Mapping[str, Process] | None = None
    ) -> None:
        self.world = world
        self.start_ns = world.now_ns if start_ns is None else start_ns
        self._processes = world.processes if processes is None else processes
        self.gauges = Gauges()
        self.listeners: list[Callable[[Transition], None]] = []
        self.place: dict[str, int] = {}  # of each process, in the columns
        self.executors: list[str] = []
        self.classes: list[ProcessClass] = []
        self._classes: dict[Any, ProcessClass] = {}
        self._senders: dict[Any, Sender] = {}
        self._executor_places: dict[str, int] = {}
        # one entry for each process
        self.submitted_ns = array("q")
        self.eligible_ns = array("q")
        self.first_start_ns = array("q")
        self.start_of_last_ns = array("q")
        self.ended_ns = array("q")
        self.queued_ns = array("q")  # when it began to wait for the last time, or NEVER while it does not
        self.waited_ns = array("q")  # in total, without the current wait
        self.class_place = array("I")
        self.number = array("I")  # among the processes of its user with its function, from 1 on
        self.state = array("B")
        self.attempts = array("H")
        self.misses = array("H")
        self.executor = array("i")
        # one entry for each attempt that has ended
        self.run_process = array("i")
        self.run_executor = array("i")
        self.run_start_ns = array("q")
        self.run_end_ns = array("q")
        self.run_outcome = array("B")
        # one entry for each wait between two attempts
        self.rewait_process = array("i")
        self.rewait_ns = array("q")
        # one entry for each change of the queue
        self.depth_at_ns = array("q")
        self.depth = array("i")
        self.running = array("i")

    # ------------------------------------------------------------ writing
    def read(self, happened: Sequence[Entry]) -> None:
        """Read the history of a step."""
        for entry in happened:
            if type(entry) is Transition:
                self._moved(entry)

    def _moved(self, step: Transition) -> None:
        old, new, now_ns, gauges = step.old, step.new, step.now_ns, self.gauges
        if old == -1:
            self._enter(step)
        else:
            row = self.place.get(step.process_id)
            if row is None:
                return  # was submitted before the records began
            if old == RUNNING:
                gauges.running -= 1
                self._stopped(row, step)
            elif old == WAITING:
                self._waits_no_more(row, step)
            elif old != new:
                self._uncount(old)
            if new == RUNNING:
                gauges.running += 1
                self._started(row, step)
            elif new == WAITING:
                gauges.queue_depth += 1
                self.queued_ns[row] = now_ns
            else:
                if old != new:
                    self._count(new)
                if self.ended_ns[row] == NEVER or new != REMOVED:
                    self.ended_ns[row] = now_ns
            if new != REMOVED:
                self.state[row] = new
            if step.cause in _MISSES:
                gauges.deadline_misses += 1
                gauges.reneged += step.cause == "waited too long"
                self.misses[row] += 1
        self.depth_at_ns.append(now_ns)
        self.depth.append(gauges.queue_depth)
        self.running.append(gauges.running)
        for listener in self.listeners:
            listener(step)

    def _enter(self, step: Transition) -> None:
        gauges, now_ns = self.gauges, step.now_ns
        process = self._processes.get(step.process_id)
        blocked = process is not None and bool(process.parents)
        self.place[step.process_id] = len(self.submitted_ns)
        gauges.submitted += 1
        if blocked:
            gauges.blocked += 1
        else:
            gauges.queue_depth += 1
        self.submitted_ns.append(now_ns)
        self.eligible_ns.append(NEVER if blocked else now_ns)
        self.first_start_ns.append(NEVER)
        self.start_of_last_ns.append(NEVER)
        self.ended_ns.append(NEVER)
        self.queued_ns.append(NEVER if blocked else now_ns)
        self.waited_ns.append(0)
        known = self._class_of(process)
        sender = known.sender
        sender.count = number = sender.count + 1
        self.class_place.append(known.place)
        self.number.append(number)
        self.state.append(WAITING)
        self.attempts.append(0)
        self.misses.append(0)
        self.executor.append(-1)

    def _class_of(self, process: Process | None) -> ProcessClass:
        if process is None:  # it was removed in the step in which it was submitted
            return self._new_class("", "", _NO_SPEC)
        spec = process.spec
        conditions = spec.conditions
        key = process.initiator_id, spec.funcname, conditions.executortype, conditions.locationname, spec.priority
        return self._classes.get(key) or self._new_class(process.initiator_id, process.initiator_name, spec)

    def _new_class(self, user_id: str, user: str, spec: FunctionSpec) -> ProcessClass:
        funcname, type_, location = spec.funcname, spec.conditions.executortype, spec.conditions.locationname
        key = user_id, funcname, type_, location, spec.priority
        sender = self._senders.setdefault((user_id, funcname), Sender(f"{user_id}/{funcname}"))
        made = self._classes[key] = ProcessClass(
            len(self.classes), Kind(funcname, type_, location), sender, user, spec.priority
        )
        self.classes.append(made)
        return made

    def _waits_no_more(self, row: int, step: Transition) -> None:
        if self.eligible_ns[row] == NEVER:
            self.gauges.blocked -= 1
            if step.new == WAITING:
                self.eligible_ns[row] = step.now_ns
        else:
            self.gauges.queue_depth -= 1
            if (since_ns := self.queued_ns[row]) != NEVER:
                self.waited_ns[row] += (wait_ns := step.now_ns - since_ns)
                if step.new == RUNNING and self.attempts[row]:
                    self.rewait_process.append(row)
                    self.rewait_ns.append(wait_ns)
                self.queued_ns[row] = NEVER

    def _started(self, row: int, step: Transition) -> None:
        now_ns = step.now_ns
        if self.first_start_ns[row] == NEVER:
            self.first_start_ns[row] = now_ns
        self.start_of_last_ns[row] = now_ns
        self.attempts[row] += 1
        place = self._executor_places.get(step.executor_id)
        if place is None:
            place = self._executor_places[step.executor_id] = len(self.executors)
            self.executors.append(step.executor_id)
        self.executor[row] = place

    def _stopped(self, row: int, step: Transition) -> None:
        self.run_process.append(row)
        self.run_executor.append(self.executor[row])
        self.run_start_ns.append(self.start_of_last_ns[row])
        self.run_end_ns.append(step.now_ns)
        self.run_outcome.append(step.new)
        if step.new == WAITING:
            self.gauges.retries += 1

    def _count(self, state: int) -> None:
        gauges = self.gauges
        if state == SUCCESS:
            gauges.succeeded += 1
        elif state == FAILED:
            gauges.failed += 1
        elif state == CANCELLED:
            gauges.cancelled += 1
        else:
            gauges.removed += 1

    def _uncount(self, state: int) -> None:
        gauges = self.gauges
        if state == SUCCESS:
            gauges.succeeded -= 1
        elif state == FAILED:
            gauges.failed -= 1
        elif state == CANCELLED:
            gauges.cancelled -= 1

    # ------------------------------------------------------------ reading
    @property
    def kinds(self) -> list[Kind]:
        """The kinds of processes, in the order of their first submissions."""
        return list(dict.fromkeys(one.kind for one in self.classes))

    def kind_of(self, row: int) -> Kind:
        """Return the function, executor type and location of a process."""
        return self.classes[self.class_place[row]].kind

    def identify(self, process: Process) -> tuple[str, int, int]:
        """Return its user and function, its number among their processes, and the number of its attempts so far."""
        row = self.place[process.process_id]
        return self.classes[self.class_place[row]].sender.name, self.number[row], self.attempts[row]

    def __len__(self) -> int:
        return len(self.submitted_ns)

    def waiting_ns(self, row: int) -> int:
        """Return the time from when it could be started to its first start; NEVER if it was not started."""
        start_ns = self.first_start_ns[row]
        return NEVER if start_ns == NEVER else start_ns - self.eligible_ns[row]

    def waiting_total_ns(self, row: int, now_ns: int) -> int:
        """Return the total time up to now in which it could have been started, before all of its attempts."""
        since_ns = self.queued_ns[row]
        return self.waited_ns[row] + (0 if since_ns == NEVER else now_ns - since_ns)

    def running_ns(self, row: int) -> int:
        """Return the length of its last attempt, if that has ended."""
        start_ns, end_ns = self.start_of_last_ns[row], self.ended_ns[row]
        return NEVER if NEVER in (start_ns, end_ns) else end_ns - start_ns

    def removed_unfinished(self) -> int:
        """Return how many processes were removed before they had ended."""
        ended = zip(self.state, self.ended_ns, strict=True)
        return sum(state in (WAITING, RUNNING) and ended_ns != NEVER for state, ended_ns in ended)

    def unfinished(self) -> Iterator[str]:
        """Return the ids of unfinished processes, oldest first."""
        ended = self.ended_ns
        return (process_id for process_id, row in self.place.items() if ended[row] == NEVER)

    def digest(self) -> str:
        """Return the hash of all changes of processes; runs with the same seed have the same hash."""
        digest = hashlib.sha256()
        for process_id in self.place:
            digest.update(process_id[:16].encode())
        columns = (self.submitted_ns, self.first_start_ns, self.ended_ns, self.state, self.attempts, self.executor)
        for column in (*columns, self.run_start_ns, self.run_end_ns, self.run_outcome):
            digest.update(column.tobytes())
        return digest.hexdigest()
