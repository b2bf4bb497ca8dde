"""Explain why a process is not assigned: all reasons, by the rules of matching.

Source: docs/protocol/b-processes.md 4.3.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import msgspec

from colonysim.core import access
from colonysim.core.errors import Refusal
from colonysim.core.records import APPROVED, PENDING, REJECTED, RUNNING, WAITING, Executor, Process, ProcessState
from colonysim.core.scheduling import MAX_COUNT, Demand, LaneRun, Poll, Pool, order_of
from colonysim.core.wording import show_count, show_list, show_size, show_span
from colonysim.core.world import World
from colonysim.invariants.fitness import unfit
from colonysim.kernel.clock import show_time
from colonysim.kernel.why_idle import name_of

NAMED: Final = 5  # at most this many executors or processes are named in a text
_STATES: Final = {PENDING: "pending", APPROVED: "approved", REJECTED: "rejected"}


class Reason(msgspec.Struct, frozen=True):
    """One reason why a process is not assigned: its kind, a sentence, and the values in the sentence."""

    kind: str
    text: str
    about: dict[str, Any] = {}


class WhyNot(msgspec.Struct, frozen=True):
    """The reasons why a process is not assigned. `would_get`: executors that an assign without limits would give it.

    Kinds of reasons: `unknown`, `state` (it does not wait), `parents`, `never`, `paused`, `no executor`,
    `not approved`, `names`, `location`, `conditions`, `behind`; and four that another assign call, with larger limits,
    removes: `cpu`, `memory`, `nobody asks`, `not woken`.
    """

    process_id: str
    state: str
    reasons: list[Reason]
    would_get: list[str] = []

    @property
    def texts(self) -> list[str]:
        """The sentence of each reason."""
        return [reason.text for reason in self.reasons]

    @property
    def kinds(self) -> list[str]:
        """The kind of each reason."""
        return [reason.kind for reason in self.reasons]

    def __str__(self) -> str:
        lines = [f"process {self.process_id} is {self.state}", *(f"  {text}" for text in self.texts)]
        if self.would_get:
            lines.append(f"  executors that get it if they ask: {show_list(self.would_get)}")
        return "\n".join(lines)


def why_not(world: World, process_id: str) -> WhyNot:
    """Explain why a process is not assigned. Takes time linear in the waiting processes of its executor type."""
    process = world.processes.get(process_id)
    if process is None:
        text = f"there is no process {process_id!r}: it never existed or was removed"
        return WhyNot(process_id, "unknown", [Reason("unknown", text)])
    state = ProcessState(process.state).name
    if process.state != WAITING:
        return WhyNot(process_id, state, [_not_waiting(world, process)])
    return _Diagnosis(world, process).result()


def _not_waiting(world: World, process: Process) -> Reason:
    state = ProcessState(process.state).name
    since_ns = process.started_ns if process.state == RUNNING else process.ended_ns
    by = f" by {name_of(world, process.executor_id)}" if process.executor_id else ""
    text = f"it does not wait: it is {state}{by} since {show_time(since_ns)}, "
    text += f"for {show_span(world.now_ns - since_ns)}"
    return Reason("state", text, {"state": state, "since_ns": since_ns, "executor_id": process.executor_id})


class _Diagnosis:
    """Collects the reasons for one waiting process.

    `colleagues`: executors of its colony; of these, `typed` have its executor type, of these, `approved` may call
    assign, and of these, `fitting` meet its conditions.
    """

    def __init__(self, world: World, process: Process) -> None:
        self.world = world
        self.process = process
        self.conditions = process.spec.conditions
        self.exclusive = world.settings.exclusive_assign
        self.colleagues = world.executors.where("colony", process.colony)
        self.typed = [e for e in self.colleagues if e.executor_type == self.conditions.executortype]
        self.approved = [e for e in self.typed if _may_ask(world, e)]
        self.fitting = [e for e in self.approved if not self._unfit(e)]
        self._counted: dict[int, tuple[int, list[Process]]] = {}  # results of _before, by the number of the run

    def result(self) -> WhyNot:
        in_front = [] if self._is_held() else self._in_front()
        reasons = [
            *self._parents(),
            *self._never(),
            *self._paused(),
            *self._executors(),
            *self._behind(in_front),
            *self._polls(in_front),
        ]
        paused = self.process.colony in self.world.paused
        first = [] if paused else [executor.name for executor, count in in_front if count == 0]
        return WhyNot(self.process.process_id, "WAITING", reasons, first)

    def _is_held(self) -> bool:
        return self.process.process_id in self.world.queues.unassignable

    def _demand(self, executor: Executor) -> Demand:
        colony = self.process.colony
        return Demand(colony, executor.executor_id, executor.executor_type, executor.name, executor.location)

    def _unfit(self, executor: Executor) -> str | None:
        return unfit(self.process, self._demand(executor), self.exclusive)

    # ------------------------------------------------------------ the process and its colony
    def _parents(self) -> Iterator[Reason]:
        if not self.process.wait_for_parents:
            return
        parents = [self.world.processes.get(parent_id) for parent_id in dict.fromkeys(self.process.parents)]
        open_ = [parent for parent in parents if parent is not None and parent.state != ProcessState.SUCCESS]
        shown = [f"{_title(parent)} ({ProcessState(parent.state).name})" for parent in open_]
        about = {"parents": [parent.process_id for parent in open_]}
        yield Reason("parents", f"it waits for its parents: {show_list(shown)}", about)

    def _never(self) -> Iterator[Reason]:
        resources, conditions = self.process.resources, self.conditions
        if self.exclusive and resources.storage_bytes > 0:
            text = f"it asks for storage ({conditions.storage}), and no process that does is ever given out"
            yield Reason("never", text, {"storage": conditions.storage})
        most = max(conditions.nodes, conditions.processes, conditions.processespernode)
        if most > MAX_COUNT:
            text = f"it asks for {most} nodes or processes, and none with more than {MAX_COUNT} is ever given out"
            yield Reason("never", text, {"count": most})

    def _paused(self) -> Iterator[Reason]:
        colony = self.process.colony
        if colony in self.world.paused:
            yield Reason("paused", f"assignments of colony {colony!r} are paused", {"colony": colony})

    # ------------------------------------------------------------ executors
    def _executors(self) -> Iterator[Reason]:
        """Yield the reason why no executor of the colony could get it, if there is none that could."""
        wanted = self.conditions.executortype
        if not self.typed:
            types = list(dict.fromkeys(e.executor_type for e in self.colleagues if e.state in _STATES))
            there = f"the types are {show_list(types)}" if types else "the colony has no executors"
            yield Reason("no executor", f"no executor of type {wanted!r} is registered; {there}", {"types": types})
        elif not self.approved:
            shown = [f"{e.name} ({_STATES.get(e.state, 'unregistered')})" for e in self.typed]
            text = f"no executor of type {wanted!r} is approved: {show_list(shown)}"
            yield Reason("not approved", text, {"executors": [e.name for e in self.typed]})
        elif not self.fitting and not any(True for _ in self._never()):
            yield self._unmet()

    def _unmet(self) -> Reason:
        """Return the one condition that no executor meets; otherwise, what each executor does not meet."""
        names, place = self.conditions.executornames or [], self.conditions.locationname
        named = [e for e in self.approved if not names or e.name in names]
        if not named:
            text = f"no approved executor of its type is named {' or '.join(names)}; they are named "
            return Reason("names", text + show_list([e.name for e in self.approved]), {"names": names})
        if all(e.location.lower() != place.lower() for e in self.approved):
            places = list(dict.fromkeys(e.location for e in self.approved))
            text = (
                f"no approved executor of its type is at {place!r}; they are at {show_list([repr(p) for p in places])}"
            )
            return Reason("location", text, {"location": place, "locations": places})
        unmet = {e.name: str(self._unfit(e)) for e in self.approved}
        shown = [f"{name} is {problem}" for name, problem in unmet.items()]
        return Reason("conditions", f"no executor meets all its conditions: {show_list(shown)}", {"executors": unmet})

    # ------------------------------------------------------------ processes in front
    def _in_front(self) -> list[tuple[Executor, int]]:
        """Return for each fitting executor the number of processes that it would get before this one."""
        pool = self.world.queues.pools[self.process.colony, self.conditions.executortype]
        runs = [run for run in pool.runs.values() if run.live]
        named = dict.fromkeys(name for run in runs for name in run.key[2] or ())
        counts: dict[tuple[str, str], int] = {}
        found = []
        for executor in self.fitting:
            kind = executor.location.lower(), executor.name if executor.name in named else ""
            if kind not in counts:
                counts[kind] = sum(self._before(run)[0] for run in runs if _serves(executor, run))
            found.append((executor, counts[kind]))
        return found

    def _before(self, run: LaneRun) -> tuple[int, list[Process]]:
        """Return the number of processes of a run in front of this one, and the first few of them."""
        if run.number not in self._counted:
            order, count, first = order_of(self.process), 0, []
            for other in run.waiting():
                if order_of(other) >= order:
                    break
                count += 1
                if count <= NAMED:
                    first.append(other)
            self._counted[run.number] = count, first
        return self._counted[run.number]

    def _behind(self, in_front: list[tuple[Executor, int]]) -> Iterator[Reason]:
        if not in_front or any(count == 0 for _, count in in_front):
            return
        executor, count = min(in_front, key=lambda each: each[1])
        pool: Pool = self.world.queues.pools[self.process.colony, self.conditions.executortype]
        runs = [run for run in pool.runs.values() if run.live and _serves(executor, run)]
        first = sorted((other for run in runs for other in self._before(run)[1]), key=order_of)[:NAMED]
        priority = self.process.spec.priority
        higher = sum(self._before(run)[0] for run in runs if run.key[0] > priority)
        text = f"{show_count(count, 'process')} in front of it"
        text += f", {higher:,} with a higher priority, first {_title(first[0])}"
        about = {"in_front": count, "higher_priority": higher, "first": [other.process_id for other in first]}
        yield Reason("behind", text, about | {"executor": executor.name})

    # ------------------------------------------------------------ assign calls
    def _polls(self, in_front: list[tuple[Executor, int]]) -> Iterator[Reason]:
        """Yield the reasons in the parked assign calls of fitting executors: none, limits too low, or not woken."""
        if not self.fitting or self._is_held():
            return
        may = dict.fromkeys(e.executor_id for e in self.fitting)
        polls = [poll for poll in self.world.queues.polls.values() if poll.demand.executor_id in may]
        polls = [poll for poll in polls if poll.demand.colony == self.process.colony]
        if not polls:
            text = f"nobody asks: no assign call is waiting from {show_list([e.name for e in self.fitting])}"
            yield Reason("nobody asks", text, {"executors": [e.name for e in self.fitting]})
            return
        short = [*self._short_of_cpu(polls), *self._short_of_memory(polls)]
        yield from short
        woken = [poll for poll in polls if not unfit(self.process, poll.demand, self.exclusive)]
        if woken and not self.world.paused.keys() & {self.process.colony} and any(not n for _, n in in_front):
            names = [poll.demand.name for poll in woken]
            waits = "waits for work, and has" if len(names) == 1 else "wait for work, and have"
            text = f"{show_list(names)} {waits} not been woken; the next to ask again gets it"
            yield Reason("not woken", text, {"executors": names})

    def _short_of_cpu(self, polls: list[Poll]) -> Iterator[Reason]:
        need = self.process.resources.cpu_milli
        short = {p.demand.name: p.demand.cpu_milli for p in polls if need > _limit(p.demand.cpu_milli, need)}
        if len(short) == len(dict.fromkeys(p.demand.name for p in polls)):
            shown = [f"{name} with {amount}m" for name, amount in short.items()]
            yield Reason(
                "cpu",
                f"it needs {need}m of CPU; those that ask are {show_list(shown)}",
                {"need": need, "polls": short},
            )

    def _short_of_memory(self, polls: list[Poll]) -> Iterator[Reason]:
        need = self.process.resources.memory_bytes
        short = {p.demand.name: p.demand.memory_bytes for p in polls if need > _limit(p.demand.memory_bytes, need)}
        if len(short) == len(dict.fromkeys(p.demand.name for p in polls)):
            shown = [f"{name} with {show_size(amount or 0)}" for name, amount in short.items()]
            text = f"it needs {show_size(need)} of memory; those that ask are {show_list(shown)}"
            yield Reason("memory", text, {"need": need, "polls": short})


def _limit(amount: int | None, otherwise: int) -> int:
    return otherwise if amount is None else amount


def _may_ask(world: World, executor: Executor) -> bool:
    """Return whether the executor may call assign, and its id does not belong to another executor as well."""
    try:
        access.require_member(world, executor.executor_id, executor.colony)
    except Refusal:
        return False
    return world.executors_by_id[executor.executor_id][0] is executor


def _serves(executor: Executor, run: LaneRun) -> bool:
    """Return whether an assign call of the executor without limits could get the processes of a run."""
    _, location, names, _, _ = run.key
    return (names is None or executor.name in names) and location in ("", executor.location.lower())


def _title(process: Process) -> str:
    return f"{process.spec.nodename or process.spec.funcname or 'process'} {process.process_id[:8]}"
