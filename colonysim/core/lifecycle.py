"""What happens to a process, with all that follows: wake-ups, graphs, channels, events.

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
"""Quirk: the release loop looks at so many waiting processes of the whole server, first in order first."""
ASSIGN: Final = "assignprocessmsg"


# ---------------------------------------------------------------- waiting
def submit(world: World, process: Process) -> Process:
    """A new single process waits; returns a copy from before any executor took it."""
    intake.enter(world, process, "submit")
    copy = process.copy()
    if copy.attributes:
        copy.attributes = tuple(copy.attributes)
    if world.subscriptions.any or world.queues.polls:
        announce(world, process)
    return copy


def announce(world: World, process: Process) -> None:
    """A process waits and may be taken: tell the subscribers, wake who can take it."""
    if world.subscriptions.any:
        subscriptions.publish(world, process.stable_copy())
    if world.queues.polls:
        _wake(world, process)


def _wake(world: World, process: Process) -> None:
    """Let parked assign calls try again, longest parked first, until the process is taken.

    Where nobody can take it, one who hears of it tries all the same, as in the reference: that marks it as
    alive, shows it a pause, or gives it what has come to wait without a signal.
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
    """Hazards: one who hears of the process tries, whether it may have it or not, in turn; or nobody does."""
    if world.wakeups == "none" or (poll := world.queues.next_notified(process)) is None:
        return
    try_again(world, poll)
    world.queues.pass_turn(poll)


def try_again(world: World, poll: Poll) -> None:
    """A parked assign call looks once more whether there is something for it."""
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
    """An assign call of a paused colony gets nothing, but marks its executor as alive."""
    registration.heard_from(world, demand.executor_id)
    world.note(AssignTried(world.now_ns, demand, paused=True))


def take(world: World, demand: Demand) -> AssignReply | None:
    """Give an executor the process it gets next, or nothing."""
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
    copy = process.copy()
    # Quirk: with their states from before the assignment (docs/protocol/b-processes.md 2.3).
    copy.attributes = tuple(attributes) if attributes else ()
    exclusive = world.settings.exclusive_assign
    if exclusive:
        copy.exec_deadline_ns = deadline_ns  # Quirk: the deadline of the attempt before
    reply = AssignReply(copy, exclusive)
    if world.subscriptions.any:
        subscriptions.publish(world, copy, reply)
    return reply


def succeed(world: World, process: Process, output: list[Any]) -> None:
    """The executor closes the process as successful. An empty output leaves what was set before."""
    again = process.state == SUCCESS
    stale = process.stable_copy() if world.subscriptions.any else None
    if output:
        process.output = output
    transitions.succeed(world, process)
    counted = world.functions and _count_call(world, process)
    if world.settings.retention:
        graph = world.graphs.get(process.graph_id)
        retention.expect(world, graph.submitted_ns if graph else process.submitted_ns)
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
    """The process fails for good, closed by its executor or out of time."""
    transitions.fail(world, process, errors, cause)
    if process.graph_id:
        graphs.on_failed(world, process)
    if process.process_id in world.channels:
        channels.drop(world, process)
    if world.subscriptions.any:
        subscriptions.publish(world, process.stable_copy())


def cancel(world: World, process: Process) -> None:
    transitions.cancel(world, process)
    if process.process_id in world.channels:
        channels.drop(world, process)
    if world.subscriptions.any:
        subscriptions.publish(world, process.stable_copy())


def remove(world: World, process: Process, attributes: bool = True) -> None:
    """Remove a single process, and its attributes; its logs stay."""
    transitions.leave(world, process, "remove")
    channels.drop_unless_subscribed(world, process)
    if attributes:
        for attribute in process.attributes:
            world.drop_attribute(attribute.attributeid)


# ---------------------------------------------------------------- time
def release_tick(world: World, tick: ReleaseTick) -> None:
    """The release loop: execution deadlines by start, then waiting deadlines by queue order."""
    bucket = world.take_tick(tick.second)
    for process in sorted((p for p in bucket.values() if p.state == RUNNING), key=_started):
        if process.state == RUNNING:  # not failed by another one's end a moment ago
            _out_of_time(world, process)
    # Those that have just come back wait too, and a limit below zero has passed whenever it is looked at.
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
        transitions.rearm_beyond_scan_limit(world)  # some have gone now, and the next run gets further


def _waits_too_long(world: World, process: Process) -> bool:
    """Whether a waiting process has a limit that passed in an earlier whole second."""
    if process.spec.maxwaittime in (0, -1):
        return False
    return world.now_ns // SECOND_NS > to_microseconds(process.wait_deadline_ns) // SECOND_NS


def _started(process: Process) -> tuple[int, int]:
    return process.started_ns, process.serial


def _out_of_time(world: World, process: Process) -> None:
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
    """Count a successful call in the statistics of the executor's function; False if it has none."""
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
