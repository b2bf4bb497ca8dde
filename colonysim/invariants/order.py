"""Order: each executor gets the first process that it may have, and none only if there is none."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any, Final

from colonysim.core.history import Assignment, AssignTried, PauseChanged, Transition
from colonysim.core.records import NO_RESOURCES, RUNNING, STATE_NAMES, WAITING, Process
from colonysim.core.scheduling import Demand
from colonysim.invariants.fitness import is_for_nobody, unfit
from colonysim.invariants.invariant import Invariant, built_in
from colonysim.invariants.ledger import Ledger, Line, Place, ProcessRecord
from colonysim.invariants.limits import TimeLimits
from colonysim.invariants.ranking import Ranking
from colonysim.invariants.violation import InvariantViolation

Kind = tuple[tuple[str, ...], str, int, int, int, int]
"""Names, location, CPU, memory, storage and the largest count: processes that agree in these are interchangeable."""

_PLAIN: Final[Kind] = ((), "", 0, 0, 0, 0)
_LOOK_AT_KINDS: Final = 32  # up to this number, all are compared at each assignment
_EMPTIES: Final = 32
_NO_KINDS: Final[dict[Kind, Line]] = {}


class WaitingKinds:
    """The processes of one colony that executors of one type may take, by location and kind.

    Locations count in lower case, and "" stands for none.
    """

    __slots__ = ("at", "records", "several", "unseen")

    def __init__(self, records: dict[str, ProcessRecord]) -> None:
        self.records = records
        self.at: dict[str, dict[Kind, Line]] = {}
        self.several = False  # whether there has ever been more than one kind
        self.unseen = 0  # kinds skipped since all of one location were last compared

    def line(self, kind: Kind) -> Line:
        """Return the line of a kind, which may be new. Drops empty lines of its location from time to time."""
        location = kind[1]
        if (kinds := self.at.get(location)) is None:
            kinds = self.at[location] = {}
        if (line := kinds.get(kind)) is not None:
            return line
        if len(kinds) % _EMPTIES == _EMPTIES - 1:
            kinds = {other: line for other, line in kinds.items() if line.first(self.records)}
            self.at[location] = kinds
        self.several = self.several or len(kinds) + len(self.at) > 1
        line = kinds[kind] = Line()
        return line

    def firsts(self, location: str) -> Iterator[ProcessRecord]:
        """Yield the first process of each kind that an executor at a location may take.

        If there are many kinds, it usually yields those of some of them only.
        """
        for place in ("", location.lower()) if location else ("",):
            lines = self.at.get(place, _NO_KINDS).values()
            most = _LOOK_AT_KINDS
            if len(lines) > most:
                self.unseen += most
                if self.unseen >= len(lines):
                    self.unseen, most = 0, len(lines)
            for line in islice(lines, most):
                if (first := line.first(self.records)) is not None:
                    yield first


@built_in
class Order(Invariant):
    """The processes that can be assigned, in the order of the policy."""

    def __init__(self, ledger: Ledger) -> None:
        super().__init__(ledger)
        self.records = ledger.records
        self.exclusive = self.world.settings.exclusive_assign
        self.ranking: Final = Ranking(self.world)
        self._by_time = self.ranking.policy == "reference"
        self.counts_use = self.ranking.counts_use
        self.pools: dict[tuple[str, str], WaitingKinds] = {}
        self.paused = dict(self.world.paused)
        self._taken: Place | None = None
        TimeLimits.of(ledger)  # writes the ends of waiting times into the records, by which some policies rank
        for record in ledger.records.values():
            if record.state == WAITING and not record.blocked:
                self._list(record)

    def reads(self) -> dict[type, Callable[[Any], None]]:
        return {AssignTried: self.tried, PauseChanged: self.pause}

    # ------------------------------------------------------------ waiting processes
    def moved(self, step: Transition, record: ProcessRecord) -> None:
        """Keep the place of a process while it can be assigned; only the first of its kind may be assigned."""
        place, line, new = record.place, record.line, step.new
        if self.counts_use and RUNNING in (step.old, new):
            note = self.ranking.started if new == RUNNING else self.ranking.stopped
            note(record.process, step.now_ns)
        if place is not None and line is not None:
            if new == RUNNING:
                self._taken = place
                if (
                    line.places[0] is not place
                    and (first := line.first(self.records)) is not record
                    and first is not None
                ):
                    what = f"was taken before {first.process_id}, which stood in front of it"
                    raise self.ledger.violation(step.process_id, what)
                heapq.heappop(line.places)
                if not self._by_time:
                    self.ranking.taken(place[0])
                record.place = record.line = None
                return
            record.place = record.line = None
            line.leave(self.records)
        if new == WAITING and not record.blocked:
            self._list(record)

    def _list(self, record: ProcessRecord) -> None:
        process = record.process
        spec = process.spec
        conditions = spec.conditions
        if (
            conditions.executornames or conditions.locationname or process.resources is not NO_RESOURCES
            or conditions.nodes or conditions.processes or conditions.processespernode
        ):  # fmt: skip
            kind = _kind_of(process)
            if is_for_nobody(process, self.exclusive):
                return
        else:
            kind = _PLAIN
        whose = (process.colony, conditions.executortype)
        pool = self.pools.get(whose)
        if pool is None:
            pool = self.pools[whose] = WaitingKinds(self.records)
        record.line = line = pool.line(kind)
        rank = self.ranking.rank(record) if spec.priority or not self._by_time else record.submitted_ns
        record.place = place = (rank, record.number, record.process_id)
        heapq.heappush(line.places, place)

    # ------------------------------------------------------------ assignments
    def assigned(self, entry: Assignment, record: ProcessRecord) -> None:
        """Check that an executor may have the process that it got, and none that comes before it."""
        process, demand = record.process, entry.demand
        problem = unfit(process, demand, self.exclusive)
        if problem:
            raise self.ledger.violation(entry.process_id, f"was given to {demand.name}, {problem}")
        if record.holder != demand.executor_id:
            raise self._wrong(record, demand, f"but is {STATE_NAMES[record.state]} with {record.holder or 'nobody'}")
        if record.blocked:
            raise self.ledger.violation(entry.process_id, "was started before its parents succeeded")
        if self.paused and process.colony in self.paused:
            raise self._wrong(record, demand, "although assignments are paused")
        pool = self.pools.get((demand.colony, demand.executor_type))
        if pool is not None and pool.several and (place := self._taken) is not None and place[2] == record.process_id:
            self._nobody_before(pool, record, place, demand)

    def _wrong(self, record: ProcessRecord, demand: Demand, what: str) -> Exception:
        return self.ledger.violation(record.process_id, f"was given to {demand.name}, {what}")

    def _nobody_before(self, pool: WaitingKinds, record: ProcessRecord, taken: Place, demand: Demand) -> None:
        """Check that no process of another kind should have been assigned instead."""
        for other in pool.firsts(demand.location):
            place = other.place
            if place is not None and place < taken and not unfit(other.process, demand, self.exclusive):
                raise self._wrong(record, demand, f"which should have got {other.process_id} first")

    def tried(self, entry: AssignTried) -> None:
        """Check that there was no process for an executor that got none."""
        demand = entry.demand
        paused = demand.colony in self.paused
        if entry.paused != paused:
            word = "paused" if entry.paused else "not paused"
            raise InvariantViolation(f"{demand.name} got no work as if assignments in {demand.colony!r} were {word}")
        pool = self.pools.get((demand.colony, demand.executor_type))
        if paused or pool is None:
            return
        for record in pool.firsts(demand.location):
            if not unfit(record.process, demand, self.exclusive):
                what = f"waits and was not given to {demand.name}, which asked for work and may have it"
                raise self.ledger.violation(record.process_id, what)

    def pause(self, entry: PauseChanged) -> None:
        if entry.on:
            self.paused[entry.colony] = None
        else:
            self.paused.pop(entry.colony, None)


def _kind_of(process: Process) -> Kind:
    conditions, resources = process.spec.conditions, process.resources
    most = max(conditions.nodes, conditions.processes, conditions.processespernode)
    names = tuple(conditions.executornames or ())
    cpu_milli, memory_bytes, storage_bytes, _ = resources
    return names, conditions.locationname.lower(), cpu_milli, memory_bytes, storage_bytes, most
