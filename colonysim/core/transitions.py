"""The changes of a process's state, which keep tables, queues, timers and attributes consistent.

What follows from a change (graphs, channels, wake-ups) is in `lifecycle`.
"""

from __future__ import annotations

from typing import Final

import msgspec

from colonysim.core.history import Transition
from colonysim.core.records import (
    CANCELLED,
    FAILED,
    NEW,
    REMOVED,
    RUNNING,
    SECOND_NS,
    STATE_NAMES,
    STATES,
    SUCCESS,
    WAITING,
    Process,
)
from colonysim.core.types import ZERO_TIME_NS
from colonysim.core.world import World

LEGAL: Final[dict[int, frozenset[int]]] = {
    NEW: frozenset((WAITING,)),
    WAITING: frozenset((RUNNING, FAILED, CANCELLED, REMOVED)),
    RUNNING: frozenset((WAITING, SUCCESS, FAILED, CANCELLED, REMOVED)),
    SUCCESS: frozenset((SUCCESS, FAILED, REMOVED)),
    FAILED: frozenset((REMOVED,)),
    CANCELLED: frozenset((FAILED, REMOVED)),
    REMOVED: frozenset(),
}
"""The states that each state may change to.

Quirks: a success may be closed again, and a failing graph takes its successful and cancelled processes with it.
Source: docs/protocol/b-processes.md 5.1, docs/protocol/c-workflows.md 3.3.
"""

# LEGAL for the hot path: a truth value for each old state, then for each new one.
_IS_LEGAL: Final = tuple(tuple(new in LEGAL[old] for new in (*STATES, REMOVED)) for old in (*STATES, REMOVED))


# ---------------------------------------------------------------- timers
def arm(world: World, process: Process, deadline_ns: int) -> None:
    """Have the release loop examine a process in its first run in a later whole second than the deadline."""
    second = (deadline_ns + 500) // SECOND_NS + 1  # the deadline is stored to the nearest microsecond
    if deadline_ns < world.now_ns:
        second = max(second, world.next_tick_s())
    bucket = world.release_ticks.get(second)
    if bucket is None:
        bucket = world.add_tick(second)
    bucket[process.process_id] = process
    process.timer_s = second


def _arm_at(world: World, process: Process, second: int) -> None:
    bucket = world.release_ticks.get(second)
    if bucket is None:
        bucket = world.add_tick(second)
    bucket[process.process_id] = process
    process.timer_s = second


def set_aside_beyond_scan_limit(world: World, process: Process) -> None:
    """Have the release loop examine a waiting process, which it has not reached, again once the queue shrinks."""
    world.beyond_scan_limit[process.process_id] = process


def rearm_beyond_scan_limit(world: World) -> None:
    """Have the next run of the release loop examine the processes set aside, because the queue has shrunk."""
    hidden, world.beyond_scan_limit = world.beyond_scan_limit, {}
    for process in hidden.values():
        if process.state == WAITING:
            _arm_at(world, process, world.next_tick_s())


def disarm(world: World, process: Process) -> None:
    """Keep the release loop from examining a process."""
    bucket = world.release_ticks.get(process.timer_s)
    if bucket is not None:
        bucket.pop(process.process_id, None)
    process.timer_s = 0


def arm_wait(world: World, process: Process) -> None:
    """Arm the limit on the waiting time of a waiting process. 0 and -1 mean no limit."""
    limit_s = process.spec.maxwaittime
    if limit_s not in (0, -1):
        arm(world, process, process.wait_deadline_ns)


# ---------------------------------------------------------------- entering and leaving the tables
def enter(world: World, process: Process, cause: str) -> None:
    """Add a new process, which waits, to the tables and its queue."""
    process_id = process.process_id
    world.processes[process_id] = process
    tables = world.by_state.get(process.colony)
    (tables or world.tables_of(process.colony))[WAITING][process_id] = process
    world.queues.push(process, world.now_ns)
    if process.spec.maxwaittime not in (0, -1):
        arm(world, process, process.wait_deadline_ns)
    if world.history is not None:
        world.history.append(Transition(world.now_ns, process_id, NEW, WAITING, "", cause))


def leave(world: World, process: Process, cause: str) -> None:
    """Remove a process in any state from all tables. AssertionError if it has been removed."""
    old = process.state
    assert REMOVED in LEGAL[old], _illegal(process, REMOVED)
    del world.processes[process.process_id]
    del world.processes_in(process.colony, old)[process.process_id]
    if old == RUNNING:
        del world.held_by[process.executor_id][process.process_id]
        if world.queues.usage is not None:
            world.queues.usage.stop(process, world.now_ns)
    if process.timer_s:
        disarm(world, process)
    process.state = REMOVED
    if old == WAITING:
        world.queues.forget(process)
    if graph := world.graphs.get(process.graph_id):
        graph.members.pop(process.process_id, None)
        graph.counts[old] -= 1
        world.reached.pop(graph.graph_id, None)
    if world.beyond_scan_limit:
        rearm_beyond_scan_limit(world)
    if world.history is not None:
        world.history.append(Transition(world.now_ns, process.process_id, old, REMOVED, process.executor_id, cause))


def _move(world: World, process: Process, state: int, cause: str) -> None:
    """Change the state of a process: the only place that does. AssertionError if LEGAL does not permit the change."""
    old, process_id = process.state, process.process_id
    assert _IS_LEGAL[old][state], _illegal(process, state)
    tables = world.by_state[process.colony]
    del tables[old][process_id]
    tables[state][process_id] = process
    if old == RUNNING:
        del world.held_by[process.executor_id][process_id]
        if world.queues.usage is not None:
            world.queues.usage.stop(process, world.now_ns)
    if timer_s := process.timer_s:
        if bucket := world.release_ticks.get(timer_s):
            bucket.pop(process_id, None)
        process.timer_s = 0
    process.state = state
    if process.attributes:
        set_attribute_states(world, process)
    if process.graph_id and (graph := world.graphs.get(process.graph_id)):
        graph.counts[old] -= 1
        graph.counts[state] += 1
        if (
            graph.has_unreachable_nodes
            and (reached := world.reached.get(graph.graph_id))
            and process_id in reached.members
        ):
            reached.counts[old] -= 1
            reached.counts[state] += 1
    if world.beyond_scan_limit:
        rearm_beyond_scan_limit(world)
    if world.history is not None:
        world.history.append(Transition(world.now_ns, process_id, old, state, process.executor_id, cause))


def _illegal(process: Process, state: int) -> str:
    return f"process {process.process_id} must not change from {STATE_NAMES[process.state]} to {STATE_NAMES[state]}"


def set_attribute_states(world: World, process: Process) -> None:
    """Give all attributes of a process its state."""
    attributes = []
    for attribute in process.attributes:
        attribute = msgspec.structs.replace(attribute, state=process.state)
        world.attributes[attribute.attributeid] = attribute
        attributes.append(attribute)
    process.attributes = attributes


# ---------------------------------------------------------------- changes of state
def start(world: World, process: Process, executor_id: str) -> None:
    """WAITING → RUNNING. The caller has taken the process from its queue."""
    process.executor_id = executor_id
    process.is_assigned = True
    process.started_ns = now_ns = world.now_ns
    _move(world, process, RUNNING, "assign")
    if world.queues.usage is not None:
        world.queues.usage.start(process, now_ns)
    held = world.held_by.get(executor_id)
    if held is None:
        held = world.held_by[executor_id] = {}
    held[process.process_id] = process
    limit_s = process.spec.maxexectime
    if limit_s > 0:
        process.exec_deadline_ns = deadline_ns = now_ns + limit_s * SECOND_NS
        arm(world, process, deadline_ns)
    elif limit_s != -1:
        # Quirk: a limit of 0 or below -1 keeps the old deadline, which has passed when the loop runs next.
        arm(world, process, process.exec_deadline_ns)


def succeed(world: World, process: Process) -> None:
    """RUNNING → SUCCESS; a success may be closed again."""
    process.ended_ns = world.now_ns
    _move(world, process, SUCCESS, "close")


def fail(world: World, process: Process, errors: list[str] | None, cause: str) -> None:
    """WAITING or RUNNING → FAILED."""
    was_waiting = process.state == WAITING
    process.ended_ns = world.now_ns
    process.errors = errors
    _move(world, process, FAILED, cause)
    if was_waiting:
        world.queues.forget(process)


def fail_with_parent(world: World, process: Process) -> None:
    """Any state but FAILED → FAILED, because another process of the graph failed. Only the state changes."""
    was_waiting = process.state == WAITING
    _move(world, process, FAILED, "cascade")
    if was_waiting:
        world.queues.forget(process)


def cancel(world: World, process: Process) -> None:
    """WAITING or RUNNING → CANCELLED."""
    was_waiting = process.state == WAITING
    process.ended_ns = world.now_ns
    _move(world, process, CANCELLED, "cancel")
    if was_waiting:
        world.queues.forget(process)


def requeue_after_timeout(world: World, process: Process) -> None:
    """RUNNING → WAITING: the attempt took too long, and a retry is left."""
    process.is_assigned = False
    process.ended_ns = world.now_ns
    process.retries += 1
    if process.spec.maxwaittime > 0:
        process.wait_deadline_ns = world.now_ns + process.spec.maxwaittime * SECOND_NS
    _move(world, process, WAITING, "timeout")
    process.executor_id = ""
    world.queues.push(process, world.now_ns)
    arm_wait(world, process)


def requeue_after_removal(world: World, process: Process) -> None:
    """RUNNING → WAITING: the executor was removed. Quirk: the states of attributes do not change.

    Source: docs/protocol/b-processes.md 5.7.
    """
    attributes = process.attributes
    process.is_assigned = False
    process.started_ns = process.ended_ns = ZERO_TIME_NS
    process.attributes = ()
    _move(world, process, WAITING, "executor removed")
    process.attributes = attributes
    process.executor_id = ""
    world.queues.push(process, world.now_ns)
    arm_wait(world, process)


def release(world: World, process: Process) -> None:
    """Let a process whose parents have succeeded be assigned."""
    process.wait_for_parents = False
    if process.state == WAITING:
        world.queues.release(process)
        if world.history is not None:
            world.history.append(
                Transition(world.now_ns, process.process_id, WAITING, WAITING, "", "parents succeeded")
            )
