"""The three requests of a life cycle in their usual form, each served by one function. Part of THE HOT PATH.

Each function does what the general operation does if nothing is unusual. Otherwise it changes nothing and returns None,
and the request is served in the general way, which alone knows the refusals and the rarer effects. That both ways give
the same answers, tables and history is tested with random histories (tests/core/test_usual.py).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from msgspec.structs import replace

from colonysim.core.golang.units import through_double
from colonysim.core.history import Assignment, Transition
from colonysim.core.intake import PRIORITY_STEP_NS, with_plain_json
from colonysim.core.lanes import Demand
from colonysim.core.lifecycle import announce
from colonysim.core.operations.assignment import AssignProcess
from colonysim.core.operations.closing import CloseSuccessful
from colonysim.core.operations.processes import PRIORITY_LIMIT, SubmitFuncSpec
from colonysim.core.protocol import EMPTY, Empty, Message
from colonysim.core.records import APPROVED, NEW, NO_RESOURCES, RUNNING, SECOND_NS, SUCCESS, WAITING, Process
from colonysim.core.replies import AssignReply
from colonysim.core.scheduling import ANYWHERE
from colonysim.core.storage import INT32_MAX, INT32_MIN
from colonysim.core.types import FunctionSpec
from colonysim.core.world import World


def submit(world: World, caller: str, message: SubmitFuncSpec) -> Process | None:
    """Submit a process without resources, names, environment or channels, to a queue that exists."""
    spec, queues = message.spec, world.queues
    if spec is None or world.unreadable_names or queues.policy is not None:
        return None
    conditions, priority, wait_s = spec.conditions, spec.priority, spec.maxwaittime
    colony, location = conditions.colonyname, conditions.locationname
    pool, tables = queues.pools.get((colony, conditions.executortype)), world.by_state.get(colony)
    if pool is None or tables is None:
        return None
    run = pool.runs.get((priority, location.lower() if location else "", None, 0, 0))
    if run is None or run.late:
        return None
    if run.usual_spec is not spec and not _is_usual(spec):
        return None
    if records := world.executors_by_id.get(caller):
        name = records[0].name
        if records[0].colony != colony or records[0].state != APPROVED:
            return None
    elif users := world.users_by_id.get((colony, caller)):
        name = users[0].name
    else:
        return None
    now_ns = world.now_ns
    rank = now_ns - priority * PRIORITY_STEP_NS if priority else now_ns
    if fifo := run.fifo:
        if fifo[-1].rank > rank:
            return None
    else:
        for lane in run.lanes:
            if lane.views or lane.tree is not None:
                return None
    known, run.usual_spec = run.usual_spec, spec
    if spec.args or spec.kwargs:
        spec = with_plain_json(spec)
    world.last_serial = serial = world.last_serial + 1
    process_id = world.new_id()
    process = Process(process_id, serial, colony, spec, caller, name, rank, now_ns, NO_RESOURCES, rank=rank)
    world.processes[process_id] = tables[WAITING][process_id] = process
    if wait_s > 0:
        process.wait_deadline_ns = deadline_ns = now_ns + wait_s * SECOND_NS
        process.timer_s = second = (deadline_ns + 500) // SECOND_NS + 1
        if (bucket := world.release_ticks.get(second)) is None:
            bucket = world.add_tick(second)
        bucket[process_id] = process
    if known is not None and known.conditions is not conditions:
        run.usual_spec = _share(process, known, fifo[-1] if fifo else process)
    run.live += 1
    fifo.append(process)
    if world.history is not None:
        world.history.append(Transition(now_ns, process_id, NEW, WAITING, "", "submit"))
    copy = process.copy()
    if queues.polls or world.subscriptions.any:
        announce(world, process)
    return copy


def _share(process: Process, known: FunctionSpec, earlier: Process) -> FunctionSpec:
    """Replace what is equal in an earlier spec and in an earlier process by that. Returns the spec of the process.

    Each decoded message has conditions, texts and numbers of its own, which would take 450 bytes a waiting process.
    """
    spec = process.spec
    alike = replace(known, args=spec.args, kwargs=spec.kwargs)
    if alike == spec:
        process.spec, process.colony = alike, alike.conditions.colonyname
    if earlier.timer_s == process.timer_s:
        process.timer_s = earlier.timer_s
        if earlier.wait_deadline_ns == process.wait_deadline_ns:
            process.wait_deadline_ns = earlier.wait_deadline_ns
    return process.spec


def _is_usual(spec: FunctionSpec) -> bool:
    """Whether a spec has nothing but limits, arguments and a location, all of them valid."""
    conditions = spec.conditions
    return not (
        spec.env or spec.channels
        or conditions.executornames or conditions.cpu or conditions.mem or conditions.gpu or conditions.storage
        or conditions.nodes or conditions.processes or conditions.processespernode
        or not (-1 <= spec.maxwaittime <= INT32_MAX and INT32_MIN <= spec.maxexectime <= INT32_MAX)
        or not (INT32_MIN <= spec.maxretries <= INT32_MAX and -PRIORITY_LIMIT <= spec.priority <= PRIORITY_LIMIT)
    )  # fmt: skip


def assign(world: World, caller: str, message: AssignProcess) -> AssignReply | None:
    """Assign the first process of a queue that has one run, to an executor that is known by one name."""
    if not (records := world.executors_by_id.get(caller)):
        return None
    executor, colony, queues = records[0], message.colonyname, world.queues
    pool = queues.pools.get((colony, executor.executor_type))
    if pool is None or len(pool.lanes) != 1 or (lane := pool.lanes.get(ANYWHERE)) is None or len(lane.runs) != 1:
        return None
    if executor.colony != colony or executor.state != APPROVED or world.unreadable_names or world.subscriptions.any:
        return None
    if world.paused or not message.timeout or message.availablecpu or message.availablemem:
        return None
    (run,) = lane.runs.values()
    fifo = run.fifo
    if not fifo or run.late or queues.policy is not None or world.cleanup is None or caller in world.heard_apart:
        return None
    process = fifo[0]
    process_id, limit_s = process.process_id, process.spec.maxexectime
    if process.state or process.graph_id or process.attributes or process_id in world.channels:
        return None
    if (limit_s <= 0 and limit_s != -1) or world.beyond_scan_limit:
        return None
    world.last_heard_ns[caller] = now_ns = world.now_ns
    fifo.popleft()
    run.live -= 1
    old_deadline_ns = process.exec_deadline_ns
    process.executor_id = caller
    process.is_assigned = True
    process.started_ns = now_ns
    tables, ticks = world.by_state[colony], world.release_ticks
    del tables[WAITING][process_id]
    tables[RUNNING][process_id] = process
    if timer_s := process.timer_s:
        if bucket := ticks.get(timer_s):
            bucket.pop(process_id, None)
        process.timer_s = 0
    process.state = RUNNING
    if world.history is not None:
        world.history.append(Transition(now_ns, process_id, WAITING, RUNNING, caller, "assign"))
        demand = Demand(colony, caller, executor.executor_type, executor.name, executor.location)
        world.history.append(Assignment(now_ns, process_id, demand))
    if (held := world.held_by.get(caller)) is None:
        held = world.held_by[caller] = {}
    held[process_id] = process
    if limit_s > 0:
        process.exec_deadline_ns = deadline_ns = now_ns + limit_s * SECOND_NS
        process.timer_s = second = (deadline_ns + 500) // SECOND_NS + 1
        if (bucket := ticks.get(second)) is None:
            bucket = world.add_tick(second)
        bucket[process_id] = process
    copy = process.copy()
    exclusive = queues.exclusive
    if exclusive:
        copy.exec_deadline_ns = old_deadline_ns
    return AssignReply(copy, exclusive)


def close(world: World, caller: str, message: CloseSuccessful) -> Empty | None:
    """Close a single running process, for its executor."""
    process_id = message.processid
    process, records = world.processes.get(process_id), world.executors_by_id.get(caller)
    if process is None or not records or process.state != RUNNING or process.executor_id != caller:
        return None
    executor, colony = records[0], process.colony
    if executor.colony != colony or executor.state != APPROVED or process.graph_id or process.attributes:
        return None
    if (
        world.functions or world.settings.retention or world.unreadable_names or world.subscriptions.any
        or world.beyond_scan_limit or process_id in world.channels or world.queues.usage is not None
    ):  # fmt: skip
        return None
    if message.out and (output := through_double(message.out)):
        process.output = output
    process.ended_ns = now_ns = world.now_ns
    tables = world.by_state[colony]
    del tables[RUNNING][process_id]
    tables[SUCCESS][process_id] = process
    del world.held_by[caller][process_id]
    if timer_s := process.timer_s:
        if bucket := world.release_ticks.get(timer_s):
            bucket.pop(process_id, None)
        process.timer_s = 0
    process.state = SUCCESS
    if world.history is not None:
        world.history.append(Transition(now_ns, process_id, RUNNING, SUCCESS, caller, "close"))
    return EMPTY


USUAL: Final[dict[type[Message], Callable[[World, str, Any], Any]]] = {
    SubmitFuncSpec: submit,
    AssignProcess: assign,
    CloseSuccessful: close,
}
"""The functions above by message type. Each returns the body of the reply; None if the general way must serve it."""
