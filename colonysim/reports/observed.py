"""What a report shows: the processes, executors, faults and requests of a run, of a simulation, or of a journal."""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any, Final

import msgspec

from colonysim.core.history import Transition
from colonysim.core.records import APPROVED, NEW, RUNNING, WAITING, Process
from colonysim.core.types import ZERO_TIME_NS
from colonysim.core.world import World
from colonysim.evidence.causes import RAN, Cause, cause_of, causes_in
from colonysim.evidence.replay import Player, Replayed, play
from colonysim.faults.log import Strikes
from colonysim.invariants import Invariants
from colonysim.kernel.pending import Call
from colonysim.kernel.why_idle import name_of
from colonysim.reports.metrics import NEVER, Metrics
from colonysim.reports.requests import RequestKind, RequestTally
from colonysim.simulation.simulation import Simulation

_DOWN: Final = ("crash", "terminate")


class Attempt(msgspec.Struct, frozen=True):
    """An attempt at a process, in ns. Its executor worked on it until `worked_ns`, and then held it until `end_ns`.

    `part`: which part of its executor it took.
    """

    row: int
    executor_id: str
    start_ns: int
    worked_ns: int
    end_ns: int
    part: float = 1


class ShownExecutor(msgspec.Struct, frozen=True):
    """An executor of a report. `group`: the name that it shares with others of its kind."""

    id: str
    name: str
    group: str


def _whole(executor_id: str, process_id: str) -> float:
    """Return that a process takes the whole of its executor."""
    return 1


class Observed:
    """What a report shows. `invariants` is None if no timelines are kept, `strikes` if nothing is known of faults.

    `dropped`: for each executor the times at which it gave up what it held, as by a crash. `modelled`: the ids of those
    of which all such times are known; an attempt of another one that the server took back counts as given up from its
    start, because nobody knows when its executor has stopped to work on it. `part_of`: which part of an executor a
    process takes, by the ids of both.
    """

    def __init__(
        self,
        world: World,
        invariants: Invariants | None,
        metrics: Metrics,
        executors: Sequence[ShownExecutor],
        strikes: Strikes | None = None,
        requests: Sequence[RequestKind] = (),
        dropped: Mapping[str, Sequence[int]] | None = None,
        modelled: Collection[str] = (),
        notes: Sequence[str] = (),
        part_of: Callable[[str, str], float] = _whole,
    ) -> None:
        self.world = world
        self.invariants = invariants
        self.metrics = metrics
        self.executors = executors
        self.strikes = strikes
        self.requests = requests
        self.dropped = dropped or {}
        self.notes = notes
        self._part_of = part_of
        self.end_ns = max(world.now_ns, metrics.start_ns + 1)
        self._modelled = modelled
        self._names = {one.id: one.name for one in executors}

    def name_of(self, executor_id: str) -> str:
        """Return the name of an executor."""
        return self._names.get(executor_id) or name_of(self.world, executor_id)

    def story(self, process_id: str) -> str:
        """Return the timeline of a process in lines; "" if none is kept."""
        return self.invariants.story(process_id) if self.invariants is not None else ""

    def causes(self) -> tuple[Cause, ...]:
        """Return why processes ended without success."""
        return causes_in(self.world, self.invariants)

    def cause_of(self, process: Process) -> str:
        """Return why a process ended without success; "" if it did not."""
        invariants = self.invariants
        return cause_of(process, "" if invariants is None else invariants.last_cause(process.process_id))

    def attempts(self) -> list[Attempt]:
        """Return all attempts at processes, those that still run last."""
        metrics, ids = self.metrics, list(self.metrics.place)
        names = metrics.executors
        ended = zip(
            metrics.run_process,
            metrics.run_executor,
            metrics.run_start_ns,
            metrics.run_end_ns,
            metrics.run_outcome,
            strict=True,
        )
        found = [
            Attempt(
                row,
                names[place],
                start_ns,
                self._worked(ids[row], names[place], start_ns, end_ns, outcome),
                end_ns,
                self._part_of(names[place], ids[row]),
            )
            for row, place, start_ns, end_ns, outcome in ended
        ]
        for row, state in enumerate(metrics.state):
            if state == RUNNING and metrics.ended_ns[row] == NEVER:
                name, start_ns = names[metrics.executor[row]], metrics.start_of_last_ns[row]
                worked_ns = self._until_dropped(name, start_ns, self.end_ns)
                part = self._part_of(name, ids[row])
                found.append(Attempt(row, name, start_ns, worked_ns, self.end_ns, part))
        return found

    def _worked(self, process_id: str, executor_id: str, start_ns: int, end_ns: int, outcome: int) -> int:
        until_ns = self._until_dropped(executor_id, start_ns, end_ns)
        if executor_id in self._modelled or until_ns < end_ns:
            return until_ns
        process = self.world.processes.get(process_id)
        taken = outcome == WAITING or (process is not None and self.cause_of(process) == RAN)
        return start_ns if taken else end_ns

    def _until_dropped(self, executor_id: str, start_ns: int, end_ns: int) -> int:
        times = self.dropped.get(executor_id, ())
        place = bisect_right(times, start_ns)
        return times[place] if place < len(times) and times[place] < end_ns else end_ns


# ---------------------------------------------------------------- from the records of the invariants
def of_simulation(sim: Simulation) -> Observed:
    """Return what is known of a simulation. Under the kernel's lock.

    Of its requests these are the latest ones, which it keeps, and of its faults what those requests and the journal
    say.
    """
    kernel, journal = sim.kernel, sim.observers.journal
    requests = RequestTally()
    requests.read(kernel.calls)
    notes = []
    if kernel.calls_asked > len(kernel.calls):
        notes.append(f"the requests are the last {len(kernel.calls):,} of {kernel.calls_asked:,}")
    first_ns = min((call.at_ns for call in kernel.calls), default=kernel.world.now_ns)
    strikes = [(call.at_ns, _strike(call)) for call in kernel.calls if call.fault]
    if journal is not None and journal.path is None:
        strikes = _notes(journal.lines)
    return _observed(kernel.world, sim.observers.invariants, first_ns, strikes, requests.kinds(), notes)


def of_journal(
    path: str | Path, *, until: int | None = None, progress: Callable[[int, int], None] | None = None
) -> tuple[Replayed, Observed]:
    """Replay a journal, and return what came of that with what is known then. Raises BadJournal, OSError."""
    reader = _JournalReader()
    replayed, player = play(path, until=until, progress=progress, look=reader.take)
    return replayed, reader.observed(player)


def _observed(
    world: World,
    invariants: Invariants | None,
    first_ns: int,
    strikes: Sequence[tuple[int, dict[str, Any]]],
    requests: Sequence[RequestKind],
    notes: Sequence[str],
) -> Observed:
    """Return what is known of a world, whose history is made again from the records of the invariants."""
    steps, processes = _history(world, invariants)
    start_ns = min([first_ns, *(step.now_ns for step in steps[:1]), world.now_ns])
    metrics = Metrics(world, start_ns, processes)
    metrics.read(steps)
    _keep_last_of_each_time(metrics)
    present = [executor for executor in world.executors.values() if executor.state == APPROVED]
    ids = dict.fromkeys([*(executor.executor_id for executor in present), *metrics.executors])
    executors = [ShownExecutor(one, name := name_of(world, one), name) for one in ids]
    faults = Strikes(start_ns)
    dropped: dict[str, list[int]] = {}
    by_name = {executor.name: executor.id for executor in executors}
    for at_ns, line in strikes:
        faults.note(at_ns, line)
        if line.get("kind") in _DOWN and line.get("actor") in by_name:
            dropped.setdefault(by_name[line["actor"]], []).append(at_ns)
    unknown = 0 if invariants is None else invariants.ledger.removed - len(invariants.ledger.gone)
    if unknown > 0:
        notes = [*notes, f"{unknown:,} removed processes are left out: nothing is known of them any more"]
    return Observed(world, invariants, metrics, executors, faults, requests, dropped, notes=notes)


def _history(world: World, invariants: Invariants | None) -> tuple[list[Transition], dict[str, Process]]:
    """Return all changes of processes in the order of time, and the processes by id, removed ones too."""
    known: dict[str, tuple[Process, list[Transition]]]
    if invariants is None:
        known = {process_id: (process, []) for process_id, process in world.processes.items()}
    else:
        records = chain(invariants.ledger.gone.values(), invariants.ledger.records.values())
        known = {record.process_id: (record.process, record.story) for record in records}
    steps = [step for process, story in known.values() for step in (*_before(process, story), *story)]
    steps.sort(key=lambda step: step.now_ns)
    return steps, {process_id: process for process_id, (process, _) in known.items()}


def _before(process: Process, story: Sequence[Transition]) -> list[Transition]:
    """Return the changes of a process that were not recorded, as far as its fields tell them."""
    if story and story[0].old == NEW:
        return []
    state = story[0].old if story else process.state
    id_, executor_id, submitted_ns = process.process_id, process.executor_id, process.submitted_ns
    steps = [Transition(submitted_ns, id_, NEW, WAITING, "", "submit")]
    if state == WAITING:
        return steps
    latest_ns = submitted_ns
    if process.started_ns != ZERO_TIME_NS and executor_id:
        latest_ns = max(latest_ns, process.started_ns)
        steps.append(Transition(latest_ns, id_, WAITING, RUNNING, executor_id, "assign"))
    if state != RUNNING:
        ended_ns = latest_ns if process.ended_ns == ZERO_TIME_NS else max(latest_ns, process.ended_ns)
        steps.append(Transition(ended_ns, id_, steps[-1].new, state, executor_id, ""))
    return steps


def _keep_last_of_each_time(metrics: Metrics) -> None:
    """Keep what lasted of the queue: the records do not say in which order things happened at one time."""
    columns = metrics.depth_at_ns, metrics.depth, metrics.running
    last = {at_ns: place for place, at_ns in enumerate(metrics.depth_at_ns)}
    metrics.depth_at_ns, metrics.depth, metrics.running = (
        array(column.typecode, (column[place] for place in last.values())) for column in columns
    )


def _strike(call: Call) -> dict[str, Any]:
    return {"fault": call.fault, "kind": call.verdict, "ask": call.number}


def _notes(lines: Iterable[bytes]) -> list[tuple[int, dict[str, Any]]]:
    """Return what faults wrote into a journal, with the times."""
    notes = (msgspec.json.decode(line) for line in lines if line.startswith(b'["note"'))
    return [(at_ns, what) for _, at_ns, what in notes if "fault" in what]


# ---------------------------------------------------------------- from a journal
class _JournalReader:
    """Reads from the lines of a journal what a replay does not know: requests and faults, since the last reset."""

    def __init__(self) -> None:
        self.resets = 0
        self._begin()

    def _begin(self) -> None:
        self.calls: dict[int, Call] = {}
        self.strikes: list[tuple[int, dict[str, Any]]] = []

    def take(self, line: bytes) -> None:
        kind = line[2 : line.find(b'"', 2)]
        if kind == b"ask":
            _, at_ns, ticket, caller_id, name, *_ = msgspec.json.decode(line)
            self._call(ticket, at_ns, caller_id, name)
        elif kind == b"answer":
            _, at_ns, ticket, status, *_ = msgspec.json.decode(line)
            if (call := self.calls.get(ticket)) is not None:
                call.status, call.answered_ns = status, at_ns
        elif kind == b"note":
            _, at_ns, what = msgspec.json.decode(line)
            if "fault" in what:
                self.strikes.append((at_ns, what))
                if "ask" in what:
                    call = self._call(what["ask"], at_ns, what.get("caller", ""), what.get("type", ""))
                    call.fault, call.verdict = what["fault"], what.get("kind", "")
        elif kind in (b"reset", b"restore"):
            self.resets += 1
            self._begin()

    def _call(self, ticket: int, at_ns: int, caller_id: str, name: str) -> Call:
        """Return the call of a number, which is new if it has not been seen."""
        call = self.calls.get(ticket)
        if call is None:
            call = self.calls[ticket] = Call(ticket, at_ns, caller_id, name, b"")
        return call

    def observed(self, player: Player) -> Observed:
        tally = RequestTally()
        for call in self.calls.values():
            tally.read([call])
        notes = []
        if self.resets:
            times = "once" if self.resets == 1 else f"{self.resets:,} times"
            notes.append(f"the server was reset or restored {times}: the report begins after that")
        start_ns = min((call.at_ns for call in self.calls.values()), default=player.world.now_ns)
        if not self.resets:
            start_ns = min(start_ns, player.head.start_ns)
        return _observed(player.world, player.invariants, start_ns, self.strikes, tally.kinds(), notes)
