"""Register and unregister executors, stale ones included: docs/protocol/a-foundation.md 7."""

from __future__ import annotations

from colonysim.core import storage, transitions
from colonysim.core.events import CLEANUP_RANK, Cleanup
from colonysim.core.history import Enrolled, Unregistered
from colonysim.core.records import SECOND_NS, UNREGISTERED, Executor
from colonysim.core.types import ZERO_TIME_NS
from colonysim.core.world import World


def add(world: World, executor: Executor) -> None:
    """Add a new executor to the tables."""
    world.executors[executor.colony, executor.name] = executor
    world.executors_by_id.setdefault(executor.executor_id, []).append(executor)
    world.unreadable_names += storage.unparsable(executor.name, executor.colony)
    expect_cleanup(world, executor.last_heard_ns)
    _note(world, executor, executor.last_heard_ns)


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
    expect_cleanup(world, known.last_heard_ns)
    _note(world, known, known.last_heard_ns)


def first(world: World, executor_id: str) -> Executor:
    """Return the oldest record with an id; look-ups by id use that one."""
    return world.executors_by_id[executor_id][0]


def set_state(world: World, executor_id: str, state: int) -> None:
    """Set the state of every record with an id."""
    for executor in world.executors_by_id[executor_id]:
        executor.state = state
        expect_cleanup(world, executor.last_heard_ns)
        _note(world, executor)


def change_id(world: World, executor: Executor, executor_id: str) -> None:
    """Change an executor's id."""
    records = world.executors_by_id[executor.executor_id]
    records.remove(executor)
    if not records:
        del world.executors_by_id[executor.executor_id]
    executor.executor_id = executor_id
    world.executors_by_id.setdefault(executor_id, []).append(executor)
    _note(world, executor)


def unregister(world: World, executor: Executor, stale: bool = False) -> None:
    """Unregister an executor: delete its functions and requeue its processes. Quirk: this wakes no parked call."""
    executor.state = UNREGISTERED
    world.drop_functions(executor.colony, executor.name)
    for process in list(world.held_by.get(executor.executor_id, {}).values()):
        transitions.requeue_after_removal(world, process)
    world.note(Unregistered(world.now_ns, executor.colony, executor.name, stale))


def heard_from(world: World, executor_id: str) -> None:
    """Record a sign of life, an assign call, for every record with an id."""
    for executor in world.executors_by_id.get(executor_id, ()):
        if world.cleanup is None or not ZERO_TIME_NS < executor.last_heard_ns <= world.now_ns:
            expect_cleanup(world, world.now_ns)  # what was planned for another time of the client's may be too late
        executor.last_heard_ns = world.now_ns


# ---------------------------------------------------------------- stale executors
def expect_cleanup(world: World, heard_ns: int) -> None:
    """Schedule the clean-up for when an executor last heard of at `heard_ns` may be stale.

    The reference runs it every `cleanup_interval_s`; here only the first run that can find something is on the
    agenda, and each run schedules the next.
    """
    if heard_ns == ZERO_TIME_NS:
        return
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


def cleanup(world: World, _: Cleanup) -> None:
    """Unregister every executor that was last heard of too long ago."""
    world.cleanup = None
    if any(storage.unparsable(e.name, e.colony) for e in world.executors.values()):
        return  # Quirk: one unreadable name stops the server's clean-up until its colony is removed
    limit_ns = world.now_ns - world.settings.stale_executor_duration_s * SECOND_NS
    for executor in world.executors.values():
        if executor.state != UNREGISTERED and ZERO_TIME_NS != executor.last_heard_ns < limit_ns:
            unregister(world, executor, stale=True)
    plan_cleanup(world)


def plan_cleanup(world: World) -> None:
    """Schedule the clean-up for the executor that has been silent the longest."""
    heard = (e.last_heard_ns for e in world.executors.values() if e.state != UNREGISTERED)
    expect_cleanup(world, min((ns for ns in heard if ns != ZERO_TIME_NS), default=ZERO_TIME_NS))
