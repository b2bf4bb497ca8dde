"""THE HOT PATH: find the waiting process for an executor, and the waiting executor for a process.

Processes with equal conditions form one `LaneRun`, in the order in which they are assigned. An executor examines at
most four `Lane`s (at its location or at any, by its name or by no name) and takes the first head among the runs that
it can serve. Source: docs/protocol/b-processes.md 4.3 and 4.4.
"""

from __future__ import annotations

import heapq
from collections import OrderedDict
from itertools import islice
from typing import Final, TypeVar

from colonysim.core.lanes import Demand, Lane, LaneRun, RunKey, order_of
from colonysim.core.policies import Rank, reference
from colonysim.core.records import Process
from colonysim.core.shares import Shares
from colonysim.core.waiters import Poll, ResourceNeed, Waiters

MAX_COUNT: Final = 127
"""Quirk: processes that ask for more nodes, processes or processes per node are never assigned."""

ANYWHERE: Final = ("", None)
_RUNS_BEFORE_PRUNING: Final = 63

__all__ = ["MAX_COUNT", "Demand", "LaneRun", "Poll", "Pool", "Queues", "order_of"]

K = TypeVar("K")
P = TypeVar("P", bound="dict[int, Poll]")


class Pool:
    """The processes of one colony that wait for one type of executor, and that type's parked assign calls."""

    __slots__ = ("lanes", "prune_at", "runs", "waiters")

    def __init__(self) -> None:
        self.runs: dict[RunKey, LaneRun] = {}
        self.prune_at = _RUNS_BEFORE_PRUNING  # number of runs at which empty ones are searched for
        self.lanes: dict[tuple[str, str | None], Lane] = {}
        self.waiters = Waiters()

    def enter(self, run: LaneRun) -> None:
        """Add a new run to its lanes."""
        _, location, names, _, _ = run.key
        lanes = []
        for name in names or (None,):
            if (lane := self.lanes.get((location, name))) is None:
                lane = self.lanes[location, name] = Lane()
            lane.add(run)
            lanes.append(lane)
        run.lanes = tuple(lanes)

    def best(self, demand: Demand) -> tuple[LaneRun, Process] | None:
        """Return the first head in the lanes of an executor, at most four, with its run."""
        lanes = self.lanes
        found = lane.best(demand) if (lane := lanes.get(ANYWHERE)) else None
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
        """Drop empty runs if they outnumber the others; a few are kept, because they may soon be used again.

        The next search comes when the number of runs has doubled, so a search costs no more than the runs made since.
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
    """The pools of a server: all waiting processes and all parked assign calls.

    `shares` is the state of the policy; `usage` is the same if the policy counts who uses how much, else None.
    """

    def __init__(
        self,
        exclusive: bool = True,
        policy: Rank = reference,
        shares: Shares | None = None,
        counts: bool = False,
    ) -> None:
        self.exclusive = exclusive
        self.policy = None if policy is reference else policy
        self.shares = shares or Shares()
        self.usage = self.shares if counts else None
        self.pools: dict[tuple[str, str], Pool] = {}
        self.unassignable: dict[str, Process] = {}  # blocked by parents, or with conditions that no executor meets
        self.polls: dict[int, Poll] = {}
        self.parked: dict[str, dict[str | None, OrderedDict[int, Poll]]] = {}  # by type and location, of all colonies
        self.pause_polls: dict[str, dict[int, Poll]] = {}
        self._runs_made = 0

    # ------------------------------------------------------------ processes
    def push(self, process: Process, now_ns: int = 0) -> None:
        """Add a process that begins to wait now. It cannot be assigned while it waits for its parents."""
        process.rank = process.priority_time_ns
        key = None if process.wait_for_parents else self._run_key(process)
        if key is None:
            self.unassignable[process.process_id] = process
            return
        if self.policy is not None:
            self.shares.now_ns = now_ns
            process.rank = rank = self.policy(process, self.shares)
            self.shares.last_turns[process.colony, process.initiator_id] = rank
        pool = self.pools.get((process.colony, process.spec.conditions.executortype)) or self._pool(process)
        run = pool.runs.get(key) or self._new_run(pool, key)
        if run.push(process):
            for lane in run.lanes:
                if lane.views or lane.tree is not None:
                    lane.post(run)

    def restore(self, process: Process) -> None:
        """Add a waiting process from a stored state, with the rank that it has.

        Call it for all of them in the order of `order_of`, before anything else changes the queues.
        """
        key = None if process.wait_for_parents else self._run_key(process)
        if key is None:
            self.unassignable[process.process_id] = process
            return
        pool = self._pool(process)
        (pool.runs.get(key) or self._new_run(pool, key)).push(process)

    def release(self, process: Process) -> None:
        """Let a process whose parents have succeeded be assigned."""
        del self.unassignable[process.process_id]
        self.push(process)

    def forget(self, process: Process) -> None:
        """Remove a process that stopped waiting without having been taken. Call it after the change of state."""
        if self.unassignable.pop(process.process_id, None) is not None:
            return
        pool, key = self._pool(process), self._run_key(process)
        assert key is not None
        pool.runs[key].forget_one()

    def take(self, demand: Demand) -> Process | None:
        """Remove and return the process that an executor gets next; None if there is none for it."""
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
        """Return the first waiting processes of the whole server, in order, with those that cannot be assigned."""
        runs = [run for pool in self.pools.values() for run in pool.runs.values() if run.live]
        held = heapq.nsmallest(limit, self.unassignable.values(), key=order_of)
        merged = heapq.merge(held, *(islice(run.waiting(), limit) for run in runs), key=order_of)
        return list(islice(merged, limit))

    def __len__(self) -> int:
        in_runs = sum(run.live for pool in self.pools.values() for run in pool.runs.values())
        return len(self.unassignable) + in_runs

    # ------------------------------------------------------------ parked calls
    def park(self, poll: Poll) -> None:
        """Add a parked assign call."""
        demand = poll.demand
        self.polls[poll.ticket] = poll
        if poll.found_paused:
            self.pause_polls.setdefault(demand.colony, {})[poll.ticket] = poll
            return
        by_location = self.parked.setdefault(demand.executor_type, {})
        for location in (None, demand.location):
            if (here := by_location.get(location)) is None:
                here = by_location[location] = OrderedDict()  # a dict would look for its first call behind removed ones
            here[poll.ticket] = poll
        self._pool_at(demand.colony, demand.executor_type).waiters.park(poll)

    def unpark(self, ticket: int) -> Poll | None:
        """Remove and return a parked call; None if it is not parked."""
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
        """Return the call that has been parked longest among those that may take a waiting process, if any.

        Quirk: a process with a location wakes only executors whose location is spelled in the same case, although it
        may be assigned to others too.
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
        """Move a notified call, if it still waits, to the back of the rotation."""
        if poll.ticket in self.polls and not poll.found_paused:
            by_location = self.parked[poll.demand.executor_type]
            for location in (None, poll.demand.location):
                here = by_location[location]
                here.move_to_end(poll.ticket)

    def next_notified(self, process: Process) -> Poll | None:
        """Return the parked call that the reference would signal for a process, even if it cannot take the process.

        Calls that found their colony paused are signalled only when the pause ends. Quirk: a signal carries only type
        and location. For a process with a location it goes to calls from that location, else to calls without one;
        for a process without one, to any.
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
        """Return what a process has in common with the others of its run; None if it can never be assigned."""
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


def _drop(table: dict[K, P], key: K, ticket: int) -> None:
    inner = table[key]
    del inner[ticket]
    if not inner:
        del table[key]
