"""THE HOT PATH: which waiting process may this executor have, and which waiting executor this process.

Processes that ask for the same things stand in one `LaneRun`, in the order in which they are given out. An
executor looks into at most four `Lane`s (at its location or anywhere, by its name or by nobody's) and takes
the first head among the runs it can serve. Rules: docs/protocol/b-processes.md 4.3 and 4.4.
"""

from __future__ import annotations

import heapq
from itertools import islice
from typing import Final, TypeVar

from colonysim.core.lanes import Demand, Lane, LaneRun, RunKey, order_of
from colonysim.core.policies import Policy, Shares, reference
from colonysim.core.records import Process
from colonysim.core.waiters import Poll, ResourceNeed, Waiters

MAX_COUNT: Final = 127
"""Quirk: nodes, processes and processes per node beyond this are never given out."""

_ANY: Final = ("", None)
_RUNS_BEFORE_PRUNING: Final = 63

__all__ = ["MAX_COUNT", "Demand", "LaneRun", "Poll", "Pool", "Queues", "order_of"]

K = TypeVar("K")


class Pool:
    """Everything that waits in one colony for one type of executor: processes and parked calls."""

    __slots__ = ("lanes", "prune_at", "runs", "waiters")

    def __init__(self) -> None:
        self.runs: dict[RunKey, LaneRun] = {}
        self.prune_at = _RUNS_BEFORE_PRUNING  # so many runs are looked through for empty ones
        self.lanes: dict[tuple[str, str | None], Lane] = {}
        self.waiters = Waiters()

    def enter(self, run: LaneRun) -> None:
        """Put a new run into its lanes."""
        _, location, names, _, _ = run.key
        lanes = []
        for name in names or (None,):
            if (lane := self.lanes.get((location, name))) is None:
                lane = self.lanes[location, name] = Lane()
            lane.add(run)
            lanes.append(lane)
        run.lanes = tuple(lanes)

    def best(self, demand: Demand) -> tuple[LaneRun, Process] | None:
        """The first of what stands in the up to four lanes an executor looks into."""
        lanes = self.lanes
        found = lane.best(demand) if (lane := lanes.get(_ANY)) else None
        if lane is not None and len(lanes) == 1:
            return found
        keys: tuple[tuple[str, str | None], ...] = (("", demand.name),)
        if demand.location:
            place = demand.location.lower()
            keys = (("", demand.name), (place, None), (place, demand.name))
        for key in keys:
            if (lane := lanes.get(key)) and (best := lane.best(demand)):
                if found is None or order_of(best[1]) < order_of(found[1]):
                    found = best
        return found

    def prune(self) -> None:
        """Drop empty runs once they outnumber the others; a few are kept, for they soon fill again.

        The next look comes when the number of runs has doubled: a look costs no more than the runs made since.
        """
        empty = [run for run in self.runs.values() if not run.live]
        if len(empty) * 2 > len(self.runs) + 64:
            for run in empty:
                del self.runs[run.key]
                for lane in run.lanes:
                    lane.discard(run)
            self.lanes = {key: lane for key, lane in self.lanes.items() if lane.runs}
        self.prune_at = 2 * len(self.runs) + _RUNS_BEFORE_PRUNING


class Queues:
    """All pools of a server."""

    def __init__(self, exclusive: bool = True, policy: Policy = reference) -> None:
        self.exclusive = exclusive
        self.policy = None if policy is reference else policy
        self.shares = Shares()
        self.pools: dict[tuple[str, str], Pool] = {}
        self.unassignable: dict[str, Process] = {}  # waiting, but for nobody: blocked by parents, or asking too much
        self.polls: dict[int, Poll] = {}
        self.parked: dict[str, dict[str | None, dict[int, Poll]]] = {}  # of all colonies: by executor type and location
        self.pause_polls: dict[str, dict[int, Poll]] = {}
        self._runs_made = 0

    # ------------------------------------------------------------ processes
    def push(self, process: Process) -> None:
        """A process waits. It is held back while it waits for its parents."""
        process.rank = process.priority_time_ns
        key = None if process.wait_for_parents else self._run_key(process)
        if key is None:
            self.unassignable[process.process_id] = process
            return
        if self.policy is not None:
            process.rank = rank = self.policy(process, self.shares)
            self.shares.last_turns[process.colony, process.initiator_id] = rank
        pool = self.pools.get((process.colony, process.spec.conditions.executortype)) or self._pool(process)
        run = pool.runs.get(key) or self._new_run(pool, key)
        if run.push(process):
            for lane in run.lanes:
                if lane.views or lane.tree is not None:
                    lane.post(run)

    def restore(self, process: Process) -> None:
        """A process that has waited before, in a stored state, waits again with the rank that it has.

        Call it for all of them in the order of `order_of`, before anything else is done with the queues.
        """
        key = None if process.wait_for_parents else self._run_key(process)
        if key is None:
            self.unassignable[process.process_id] = process
            return
        pool = self._pool(process)
        (pool.runs.get(key) or self._new_run(pool, key)).push(process)

    def release(self, process: Process) -> None:
        """A held process waits for its parents no longer."""
        del self.unassignable[process.process_id]
        self.push(process)

    def forget(self, process: Process) -> None:
        """A waiting process has come to an end without having been taken; call it after the change."""
        if self.unassignable.pop(process.process_id, None) is not None:
            return
        pool, key = self._pool(process), self._run_key(process)
        assert key is not None
        pool.runs[key].forget_one()

    def take(self, demand: Demand) -> Process | None:
        """Remove and return the process this executor gets next."""
        pool = self.pools.get((demand.colony, demand.executor_type))
        if pool is None or (best := pool.best(demand)) is None:
            return None
        run, head = best
        fifo = run.fifo
        if fifo and fifo[0] is head:
            fifo.popleft()
            run.live -= 1
        else:
            run.pop(head)
        if self.policy is not None:
            self.shares.turn = head.rank
        return head

    def first(self, limit: int) -> list[Process]:
        """The waiting processes of the whole server that stand first, held ones included."""
        runs = [run for pool in self.pools.values() for run in pool.runs.values() if run.live]
        held = heapq.nsmallest(limit, self.unassignable.values(), key=order_of)
        merged = heapq.merge(held, *(islice(run.waiting(), limit) for run in runs), key=order_of)
        return list(islice(merged, limit))

    def __len__(self) -> int:
        in_runs = sum(run.live for pool in self.pools.values() for run in pool.runs.values())
        return len(self.unassignable) + in_runs

    # ------------------------------------------------------------ parked calls
    def park(self, poll: Poll) -> None:
        demand = poll.demand
        self.polls[poll.ticket] = poll
        if poll.found_paused:
            self.pause_polls.setdefault(demand.colony, {})[poll.ticket] = poll
            return
        by_location = self.parked.setdefault(demand.executor_type, {})
        for location in (None, demand.location):
            by_location.setdefault(location, {})[poll.ticket] = poll
        self._pool_at(demand.colony, demand.executor_type).waiters.park(poll)

    def unpark(self, ticket: int) -> Poll | None:
        """Take a parked call out, wherever it stands; None if it is not parked."""
        poll = self.polls.pop(ticket, None)
        if poll is None:
            return None
        demand = poll.demand
        if poll.found_paused:
            _drop(self.pause_polls, demand.colony, ticket)
            return poll
        by_location = self.parked[demand.executor_type]
        for location in (None, demand.location):
            _drop(by_location, location, ticket)
        if not by_location:
            del self.parked[demand.executor_type]
        self.pools[demand.colony, demand.executor_type].waiters.unpark(poll)
        return poll

    def waiter(self, process: Process) -> Poll | None:
        """The call parked longest among those a waiting process wakes.

        Quirk: a process with a location wakes only executors whose location is spelled the same, although
        it may be assigned to any that differs in case.
        """
        pool = self.pools.get((process.colony, process.spec.conditions.executortype))
        if pool is None or not pool.waiters.groups or process.process_id in self.unassignable:
            return None
        names = self._names(process)
        location = process.spec.conditions.locationname or None
        request = ResourceNeed(process.resources.cpu_milli, process.resources.memory_bytes)
        if names is None:
            return pool.waiters.longest(location, None, request)
        found = (pool.waiters.longest(location, name, request) for name in names)
        return min((poll for poll in found if poll is not None), key=_ticket, default=None)

    def pass_turn(self, poll: Poll) -> None:
        """It has heard of a process, and if it still waits, others hear of the next ones first."""
        if poll.ticket in self.polls and not poll.found_paused:
            by_location = self.parked[poll.demand.executor_type]
            for location in (None, poll.demand.location):
                here = by_location[location]
                here[poll.ticket] = here.pop(poll.ticket)

    def next_notified(self, process: Process) -> Poll | None:
        """The call whose turn it is among those that hear of a process, whether they can take it or not.

        Those that have met a pause hear of its end alone. Quirk: a signal carries type and location alone. Where
        the process has a location, it goes to those at a place of that very name, else to those without one;
        where it has none, to any.
        """
        by_location = self.parked.get(process.spec.conditions.executortype)
        if not by_location:
            return None
        location = process.spec.conditions.locationname
        if location:
            polls = by_location.get(location) or by_location.get("")
            return next(iter(polls.values())) if polls else None
        return next(iter(by_location[None].values()))

    # ------------------------------------------------------------ keys
    def _names(self, process: Process) -> tuple[str, ...] | None:
        names = process.spec.conditions.executornames
        if not names or (not self.exclusive and names == ["*"]):
            return None
        return tuple(dict.fromkeys(names))

    def _run_key(self, process: Process) -> RunKey | None:
        """What the process has in common with the others of its run; None if nobody will ever get it."""
        spec = process.spec
        conditions = spec.conditions
        cpu_milli, memory_bytes, storage_bytes, _ = process.resources
        if storage_bytes > 0 and self.exclusive:
            return None  # Quirk: docs/protocol/b-processes.md 4.1
        if conditions.nodes > MAX_COUNT or conditions.processes > MAX_COUNT or conditions.processespernode > MAX_COUNT:
            return None
        names = self._names(process) if conditions.executornames else None
        location = conditions.locationname
        return (spec.priority, location.lower() if location else "", names, cpu_milli, memory_bytes)

    def _pool(self, process: Process) -> Pool:
        return self._pool_at(process.colony, process.spec.conditions.executortype)

    def _pool_at(self, colony: str, executor_type: str) -> Pool:
        pool = self.pools.get((colony, executor_type))
        if pool is None:
            pool = self.pools[colony, executor_type] = Pool()
        return pool

    def _new_run(self, pool: Pool, key: RunKey) -> LaneRun:
        if len(pool.runs) >= pool.prune_at:
            pool.prune()
        self._runs_made += 1
        run = pool.runs[key] = LaneRun(self._runs_made, key)
        pool.enter(run)
        return run


def _ticket(poll: Poll) -> int:
    return poll.ticket


def _drop(table: dict[K, dict[int, Poll]], key: K, ticket: int) -> None:
    inner = table[key]
    del inner[ticket]
    if not inner:
        del table[key]
