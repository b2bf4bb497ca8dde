"""The life of a process, with the effects of each step on parked calls, graphs, channels and subscribers.

Source: docs/protocol/b-processes.md 5.
"""

from __future__ import annotations

from typing import Any, Final

from msgspec.structs import replace

from colonysim.core import channels, graphs, intake, registration, retention, subscriptions, transitions
from colonysim.core.events import ReleaseTick
from colonysim.core.history import Assignment, AssignTried, CallParked
from colonysim.core.protocol import Answer
from colonysim.core.records import RUNNING, SECOND_NS, SUCCESS, WAITING, Process
from colonysim.core.replies import AssignReply
from colonysim.core.scheduling import Demand, Poll, order_of
from colonysim.core.storage import to_microseconds
from colonysim.core.world import World

WAITED_TOO_LONG: Final = "Maximum waiting time limit exceeded"
RAN_TOO_LONG: Final = "Maximum execution time limit exceeded"
SCAN_LIMIT: Final = 1000
"""Quirk: the release loop examines only this many waiting processes of the server, the first in order."""
ASSIGN: Final = "assignprocessmsg"


# ---------------------------------------------------------------- waiting
def submit(world: World, process: Process) -> Process:
    """Add a new single process. Returns a copy from before any executor took it."""
    intake.enter(world, process, "submit")
    copy = process.copy()
    if copy.attributes:
        copy.attributes = tuple(copy.attributes)
    if world.subscriptions.any or world.queues.polls:
        announce(world, process)
    return copy


def announce(world: World, process: Process) -> None:
    """Publish a process that waits and can be assigned, and wake the executors that may take it."""
    if world.subscriptions.any:
        subscriptions.publish(world, process.stable_copy())
    if world.queues.polls:
        _wake(world, process)


def _wake(world: World, process: Process) -> None:
    """Let parked assign calls try again, those parked longest first, until the process is taken.

    If none can take it, one of them tries all the same, as in the reference. That marks its executor as alive, lets
    the call notice a pause, or assigns it a process that was queued without a signal.
    """
    queues = world.queues
    if world.wakeups != "all":
        _wake_with_hazard(world, process)
        return
    if process.colony not in world.paused:
        while process.state == WAITING and (poll := queues.waiter(process)):
            try_again(world, poll)
    if process.state == WAITING and (poll := queues.waiter(process) or queues.next_notified(process)):
        try_again(world, poll)
        queues.pass_turn(poll)


def _wake_with_hazard(world: World, process: Process) -> None:
    """Simulate a hazard of the reference: only the next call in rotation tries, even in vain; or none does."""
    if world.wakeups == "none" or (poll := world.queues.next_notified(process)) is None:
        return
    try_again(world, poll)
    world.queues.pass_turn(poll)


def try_again(world: World, poll: Poll) -> None:
    """Let a parked assign call try again; if it gets a process, it is answered."""
    paused = poll.demand.colony in world.paused
    if paused:
        find_paused(world, poll.demand)
    elif reply := take(world, poll.demand):
        world.queues.unpark(poll.ticket)
        world.agenda.cancel(poll.timer)
        world.outbox.append(Answer(poll.ticket, 200, ASSIGN, reply))
        return
    if poll.found_paused != paused:
        world.queues.unpark(poll.ticket)
        poll.found_paused = paused
        world.queues.park(poll)
        world.note(CallParked(world.now_ns, poll.ticket, poll.demand, 0))


# ---------------------------------------------------------------- running
def find_paused(world: World, demand: Demand) -> None:
    """Try to assign while the colony is paused: only marks the executor as alive."""
    registration.heard_from(world, demand.executor_id)
    world.note(AssignTried(world.now_ns, demand, paused=True))


def take(world: World, demand: Demand) -> AssignReply | None:
    """Assign an executor its next process. Returns None if there is none."""
    registration.heard_from(world, demand.executor_id)
    process = world.queues.take(demand)
    if process is None:
        world.note(AssignTried(world.now_ns, demand, paused=False))
        return None
    attributes, deadline_ns = process.attributes, process.exec_deadline_ns
    transitions.start(world, process, demand.executor_id)
    if world.history is not None:
        world.history.append(Assignment(world.now_ns, process.process_id, demand))
    if process.process_id in world.channels:
        channels.assigned(world, process)
    if process.graph_id:
        graphs.on_assigned(world, process)
    copy = process.stable_copy() if process.graph_id else process.copy()
    # Quirk: attributes have their states from before the assignment (docs/protocol/b-processes.md 2.3).
    copy.attributes = tuple(attributes) if attributes else ()
    exclusive = world.settings.exclusive_assign
    if exclusive:
        copy.exec_deadline_ns = deadline_ns  # Quirk: the deadline of the previous attempt
    reply = AssignReply(copy, exclusive)
    if world.subscriptions.any:
        subscriptions.publish(world, copy, reply)
    return reply


def succeed(world: World, process: Process, output: list[Any]) -> None:
    """Close a process as successful. An empty output keeps the one that was set before."""
    again = process.state == SUCCESS
    stale = process.stable_copy() if world.subscriptions.any else None
    if output:
        process.output = output
    transitions.succeed(world, process)
    counted = world.functions and _count_call(world, process)
    if world.settings.retention:
        retention.succeeded(world, process)
    if process.graph_id:
        for child in graphs.on_succeeded(world, process, again):
            announce(world, child)
    if process.process_id in world.channels:
        channels.drop(world, process)
    if stale is not None:
        stale.state = SUCCESS
        # Quirk: the event shows the process before output and end time are stored, unless it was read
        # again for the statistics of a registered function (docs/protocol/d-realtime-and-data.md 2.5).
        subscriptions.publish(world, process.stable_copy() if counted else stale)


def fail(world: World, process: Process, errors: list[str] | None, cause: str = "close") -> None:
    """Fail a process finally: its executor closed it, or its time ran out."""
    transitions.fail(world, process, errors, cause)
    if process.graph_id:
        graphs.on_failed(world, process)
    if process.process_id in world.channels:
        channels.drop(world, process)
    if world.subscriptions.any:
        subscriptions.publish(world, process.stable_copy())


def cancel(world: World, process: Process) -> None:
    """Cancel a process that waits or runs."""
    transitions.cancel(world, process)
    if process.process_id in world.channels:
        channels.drop(world, process)
    if world.subscriptions.any:
        subscriptions.publish(world, process.stable_copy())


def remove(world: World, process: Process, attributes: bool = True) -> None:
    """Remove a single process and, by default, its attributes; its logs stay."""
    transitions.leave(world, process, "remove")
    channels.drop_unless_subscribed(world, process)
    if attributes:
        for attribute in process.attributes:
            world.drop_attribute(attribute.attributeid)


# ---------------------------------------------------------------- time
def release_tick(world: World, tick: ReleaseTick) -> None:
    """Run the release loop: execution deadlines in order of start, then waiting deadlines in order of the queue."""
    bucket = world.take_tick(tick.second)
    for process in sorted((p for p in bucket.values() if p.state == RUNNING), key=_started):
        if process.state == RUNNING:  # the failure of another process may just have failed it
            _out_of_time(world, process)
    # This includes processes that were just requeued; a limit below zero has always passed.
    waiting = sorted((p for p in bucket.values() if p.state == WAITING and _waits_too_long(world, p)), key=order_of)
    if not waiting:
        return
    seen: dict[str, Any] = dict.fromkeys(process.process_id for process in waiting)
    waited = len(world.queues)
    if waited > SCAN_LIMIT:
        seen = dict.fromkeys(process.process_id for process in world.queues.first(SCAN_LIMIT))
    for process in waiting:
        if process.state != WAITING:
            continue
        if process.process_id in seen:
            fail(world, process, [WAITED_TOO_LONG], "waited too long")
        else:
            transitions.set_aside_beyond_scan_limit(world, process)
    if world.beyond_scan_limit and len(world.queues) < waited:
        transitions.rearm_beyond_scan_limit(world)  # the queue has shrunk, so the next run gets further


def _waits_too_long(world: World, process: Process) -> bool:
    """Whether the limit of a waiting process passed in an earlier whole second."""
    if process.spec.maxwaittime in (0, -1):
        return False
    return world.now_ns // SECOND_NS > to_microseconds(process.wait_deadline_ns) // SECOND_NS


def _started(process: Process) -> tuple[int, int]:
    return process.started_ns, process.serial


def _out_of_time(world: World, process: Process) -> None:
    """Requeue a process that ran too long, or fail it if no retry is left."""
    retries_max = process.spec.maxretries
    if -1 < retries_max <= process.retries:
        fail(world, process, [RAN_TOO_LONG], "ran too long")
        return
    executor_id, retries = process.executor_id, process.retries
    transitions.requeue_after_timeout(world, process)
    if world.subscriptions.any:
        # Quirk: the event still names the executor and does not count the retry.
        subscriptions.publish(world, replace(process.stable_copy(), executor_id=executor_id, retries=retries))
    if world.queues.polls:
        _wake(world, process)


# ---------------------------------------------------------------- statistics of functions
def _count_call(world: World, process: Process) -> bool:
    """Count a successful call in the statistics of the executor's function. Returns False if it has none."""
    records = world.executors_by_id.get(process.executor_id)
    if not records:
        return False
    functions = world.functions_named(process.colony, records[0].name, process.spec.funcname)
    if not functions:
        return False
    first = functions[0]
    waited_s = (to_microseconds(process.started_ns) - to_microseconds(process.submitted_ns)) / SECOND_NS
    ran_s = (process.ended_ns - to_microseconds(process.started_ns)) / SECOND_NS
    for function in functions:  # Quirk: computed from the first, written to all
        world.functions[function.functionid] = replace(
            function,
            counter=first.counter + 1,
            minwaittime=min(first.minwaittime, waited_s) if first.minwaittime > 0 else waited_s,
            maxwaittime=max(first.maxwaittime, waited_s) if first.maxwaittime > 0 else waited_s,
            minexectime=min(first.minexectime, ran_s) if first.minexectime > 0 else ran_s,
            maxexectime=max(first.maxexectime, ran_s) if first.maxexectime > 0 else ran_s,
            avgwaittime=(first.avgwaittime + waited_s) / 2 if first.avgwaittime > 0 else waited_s,
            avgexectime=(first.avgexectime + ran_s) / 2 if first.avgexectime > 0 else ran_s,
        )
    return True
