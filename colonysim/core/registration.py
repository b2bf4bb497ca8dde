"""Register and unregister executors, stale ones included: docs/protocol/a-foundation.md 7."""

from __future__ import annotations

import heapq
from operator import itemgetter

from colonysim.core import storage, transitions
from colonysim.core.events import CLEANUP_RANK, Cleanup
from colonysim.core.history import Enrolled, Unregistered
from colonysim.core.records import SECOND_NS, UNREGISTERED, Executor
from colonysim.core.types import ZERO_TIME_NS
from colonysim.core.world import World


def add(world: World, executor: Executor) -> None:
    """Add a new executor to the tables."""
    world.executors[executor.colony, executor.name] = executor
    join_id(world, executor)
    take_seat(world, executor)
    _note(world, executor, executor.last_heard_ns)


def take_seat(world: World, executor: Executor) -> None:
    """Have the clean-up look at an executor that is new in the tables."""
    world.unreadable_names += storage.unparsable(executor.name, executor.colony)
    world.places_given += 1
    world.executor_places[executor.colony, executor.name] = world.places_given
    if (heard := heard_ns(world, executor)) != ZERO_TIME_NS:
        _watch(world, executor, heard)


def _note(world: World, executor: Executor, heard_ns: int | None = None) -> None:
    world.note(Enrolled(world.now_ns, executor.colony, executor.name, executor.executor_id, heard_ns))


def register_anew(world: World, known: Executor, new: Executor) -> None:
    """Replace an executor by a new one of the same name, which reuses its record and waits for approval.

    Quirk: `require_func_reg` keeps its old value.
    """
    unregister(world, known)
    if known.executor_id != new.executor_id:
        change_id(world, known, new.executor_id)
    for field in known.__struct_fields__:
        if field != "require_func_reg":
            setattr(known, field, getattr(new, field))
    world.heard_apart.setdefault(known.executor_id, {})[known.colony, known.name] = known
    if (heard := known.last_heard_ns) != ZERO_TIME_NS:
        _watch(world, known, heard)
    _note(world, known, heard)


def first(world: World, executor_id: str) -> Executor:
    """Return the oldest record with an id; look-ups by id use that one."""
    return world.executors_by_id[executor_id][0]


def set_state(world: World, executor_id: str, state: int) -> None:
    """Set the state of every record with an id."""
    for executor in world.executors_by_id[executor_id]:
        executor.state = state
        if (heard := heard_ns(world, executor)) != ZERO_TIME_NS:
            _watch(world, executor, heard)
        _note(world, executor)


def change_id(world: World, executor: Executor, executor_id: str) -> None:
    """Change an executor's id."""
    executor.last_heard_ns = heard_ns(world, executor)
    world.forget_id(executor)
    executor.executor_id = executor_id
    join_id(world, executor)
    _note(world, executor)


def join_id(world: World, executor: Executor) -> None:
    """Add an executor to those with its id, whose earlier signs of life are not its own."""
    world.ids_given += 1
    world.id_given[executor.colony, executor.name] = world.ids_given
    world.executors_by_id.setdefault(executor.executor_id, []).append(executor)
    world.heard_apart.setdefault(executor.executor_id, {})[executor.colony, executor.name] = executor


def unregister(world: World, executor: Executor, stale: bool = False) -> None:
    """Unregister an executor: delete its functions and requeue its processes. Quirk: this wakes no parked call."""
    executor.state = UNREGISTERED
    world.drop_functions(executor.colony, executor.name)
    for process in list(world.held_by.get(executor.executor_id, {}).values()):
        transitions.requeue_after_removal(world, process)
    world.note(Unregistered(world.now_ns, executor.colony, executor.name, stale))


def heard_from(world: World, executor_id: str) -> None:
    """Record a sign of life, an assign call, for every record with an id. It is written into none of them."""
    if executor_id not in world.executors_by_id:
        return
    world.last_heard_ns[executor_id] = now_ns = world.now_ns
    if strays := world.heard_apart.pop(executor_id, None):
        for executor in strays.values():
            if not ZERO_TIME_NS < executor.last_heard_ns <= now_ns:
                _watch(world, executor, now_ns)  # what was planned for another time of the client's may be too late
    if world.cleanup is None:
        expect_cleanup(world, now_ns)


def heard_ns(world: World, executor: Executor) -> int:
    """Return when an executor last gave a sign of life."""
    heard = world.last_heard_ns.get(executor.executor_id)
    if heard is None or (executor.colony, executor.name) in world.heard_apart.get(executor.executor_id, ()):
        return executor.last_heard_ns
    return heard


def picture(world: World, executor: Executor) -> Executor:
    """Return the executor as it is now."""
    picture = executor.copy()
    picture.last_heard_ns = heard_ns(world, executor)
    return picture


# ---------------------------------------------------------------- stale executors
def expect_cleanup(world: World, heard_ns: int) -> None:
    """Schedule the clean-up for when an executor last heard of at `heard_ns` may be stale.

    The reference runs it every `cleanup_interval_s`; here only the first run that can find something is on the
    agenda, and each run schedules the next.
    """
    period_ns = world.settings.cleanup_interval_s * SECOND_NS
    stale_ns = heard_ns + world.settings.stale_executor_duration_s * SECOND_NS
    runs = (max(stale_ns, world.now_ns) - world.started_ns) // period_ns + 1
    due_ns = world.started_ns + runs * period_ns
    if world.cleanup is not None:
        ticket, planned_ns = world.cleanup
        if planned_ns <= due_ns:
            return
        world.agenda.cancel(ticket)
    world.cleanup = world.agenda.add(due_ns, Cleanup(), CLEANUP_RANK), due_ns


def _watch(world: World, executor: Executor, heard_ns: int) -> None:
    """Schedule the clean-up for an executor last heard of at `heard_ns`."""
    expect_cleanup(world, heard_ns)
    _enter_heap(world, executor, heard_ns)


def _enter_heap(world: World, executor: Executor, heard_ns: int) -> None:
    """Have the clean-up look at an executor, at the latest when it has been silent for too long from now on.

    Each executor stands in the heap once, perhaps under an earlier time than its last sign of life; other entries
    with its name are left over.
    """
    key = executor.colony, executor.name
    known = world.cleanup_entries.get(key)
    if executor.state == UNREGISTERED or (known is not None and known[0] <= heard_ns):
        return
    world.cleanup_entries[key] = entry = heard_ns, world.executor_places[key]
    heapq.heappush(world.cleanup_heap, (*entry, key))
    if len(world.cleanup_heap) > 2 * len(world.cleanup_entries) + 64:
        world.cleanup_heap = [entry for entry in world.cleanup_heap if world.cleanup_entries.get(entry[2]) == entry[:2]]
        heapq.heapify(world.cleanup_heap)


def _most_silent(world: World) -> Executor | None:
    """Return the registered executor that has been silent the longest; it stands first in the heap."""
    while world.cleanup_heap:
        heard, seat, key = world.cleanup_heap[0]
        executor = world.executors.get(key)
        if executor is None or world.cleanup_entries.get(key) != (heard, seat):
            heapq.heappop(world.cleanup_heap)  # left over
            continue
        if executor.state != UNREGISTERED and (latest := heard_ns(world, executor)) == heard:
            return executor
        heapq.heappop(world.cleanup_heap)
        del world.cleanup_entries[key]
        if executor.state != UNREGISTERED and latest != ZERO_TIME_NS:
            _enter_heap(world, executor, latest)
    return None


def cleanup(world: World, event: Cleanup) -> None:
    """Unregister every executor that was last heard of too long ago."""
    world.cleanup = None
    if world.unreadable_names and any(storage.unparsable(e.name, e.colony) for e in world.executors.values()):
        return  # Quirk: one unreadable name stops the server's clean-up until its colony is removed
    limit_ns = world.now_ns - world.settings.stale_executor_duration_s * SECOND_NS
    stale = []
    while (executor := _most_silent(world)) is not None and heard_ns(world, executor) < limit_ns:
        _, seat, key = heapq.heappop(world.cleanup_heap)
        del world.cleanup_entries[key]
        stale.append((seat, executor))
    for _, silent in sorted(stale, key=itemgetter(0)):
        unregister(world, silent, stale=True)
    plan_cleanup(world)


def plan_cleanup(world: World) -> None:
    """Schedule the clean-up for the executor that has been silent the longest."""
    if (executor := _most_silent(world)) is not None:
        expect_cleanup(world, heard_ns(world, executor))
