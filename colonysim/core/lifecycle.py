"""What happens to a process, with all that follows: wake-ups, graphs, channels, events (b-processes 5)."""

from __future__ import annotations

from typing import Any, Final

from msgspec.structs import replace

from colonysim.core import channels, graphs, intake, registration, retention, subscriptions, transitions
from colonysim.core.events import ReleaseTick
from colonysim.core.model import RUNNING, SECOND_NS, SUCCESS, WAITING, Process
from colonysim.core.protocol import Answer
from colonysim.core.replies import AssignReply
from colonysim.core.scheduling import Demand, order_of
from colonysim.core.world import Assignment, World

WAITED_TOO_LONG: Final = "Maximum waiting time limit exceeded"
RAN_TOO_LONG: Final = "Maximum execution time limit exceeded"
SCAN_LIMIT: Final = 1000
"""Quirk: the release loop looks at so many waiting processes of the whole server, first in order first."""
ASSIGN: Final = "assignprocessmsg"


# ---------------------------------------------------------------- waiting
def submit(world: World, process: Process) -> Process:
    """A new single process waits; returns its picture from before anybody took it."""
    intake.enter(world, process, "submit")
    picture = process.copy()
    announce(world, process)
    return picture


def announce(world: World, process: Process) -> None:
    """A process waits and may be taken: tell the subscribers, wake who can take it."""
    if world.subscriptions:
        subscriptions.publish(world, process.copy())
    if world.queues.polls:
        _wake(world, process)


def _wake(world: World, process: Process) -> None:
    """Let parked assign calls try again, longest parked first, until the process is taken."""
    queues = world.queues
    while process.state == WAITING and (poll := queues.waiter(process)):
        if process.colony in world.paused:
            queues.unpark(poll.ticket)
            poll.met_pause = True
            queues.park(poll)
            return
        queues.unpark(poll.ticket)
        world.agenda.cancel(poll.timer)
        reply = take(world, poll.demand)
        assert reply is not None
        world.outbox.append(Answer(poll.ticket, 200, ASSIGN, reply))


# ---------------------------------------------------------------- running
def take(world: World, demand: Demand) -> AssignReply | None:
    """Give an executor the process it gets next, or nothing."""
    registration.heard_from(world, demand.executor_id)
    process = world.queues.take(demand)
    if process is None:
        return None
    attributes, deadline_ns = process.attributes, process.exec_deadline_ns
    transitions.start(world, process, demand.executor_id)
    if world.trace is not None:
        world.trace.append(Assignment(world.now_ns, process.process_id, demand))
    if process.process_id in world.channels:
        channels.assigned(world, process)
    if process.graph_id:
        graphs.on_assigned(world, process)
    picture = process.copy()
    picture.attributes = attributes  # Quirk: with their states from before the assignment (b-processes 2.3)
    exclusive = world.settings.exclusive_assign
    if exclusive:
        picture.exec_deadline_ns = deadline_ns  # Quirk: the deadline of the attempt before
    reply = AssignReply(picture, exclusive)
    if world.subscriptions:
        subscriptions.publish(world, picture)
    return reply


def succeed(world: World, process: Process, output: list[Any]) -> None:
    """The executor closes the process as successful. An empty output leaves what was set before."""
    again = process.state == SUCCESS
    stale = process.copy() if world.subscriptions else None
    if output:
        process.output = output
    transitions.succeed(world, process)
    counted = _count_call(world, process)
    retention.expect(world, process.submitted_ns)
    released = graphs.on_succeeded(world, process, again) if process.graph_id else []
    if process.process_id in world.channels:
        channels.drop(world, process)
    if stale is not None:
        stale.state = SUCCESS
        # Quirk: the event shows the process before output and end time are stored, unless it was read
        # again for the statistics of a registered function (d-realtime-and-data 2.5).
        subscriptions.publish(world, process.copy() if counted else stale)
    for child in released:
        announce(world, child)


def fail(world: World, process: Process, errors: list[str] | None, cause: str = "close") -> None:
    """The process fails for good, closed by its executor or out of time."""
    transitions.fail(world, process, errors, cause)
    if process.graph_id:
        graphs.on_failed(world, process)
    if process.process_id in world.channels:
        channels.drop(world, process)
    if world.subscriptions:
        subscriptions.publish(world, process.copy())


def cancel(world: World, process: Process) -> None:
    transitions.cancel(world, process)
    if process.process_id in world.channels:
        channels.drop(world, process)
    if world.subscriptions:
        subscriptions.publish(world, process.copy())


def remove(world: World, process: Process, attributes: bool = True) -> None:
    """Remove a single process, and its attributes; its logs stay."""
    transitions.leave(world, process, "remove")
    channels.drop(world, process)
    if attributes:
        for attribute in process.attributes:
            world.drop_attribute(attribute.attributeid)


# ---------------------------------------------------------------- time
def release_tick(world: World, tick: ReleaseTick) -> None:
    """The release loop: execution deadlines by start, then waiting deadlines by queue order."""
    bucket = world.take_tick(tick.second)
    running = sorted((p for p in bucket.values() if p.state == RUNNING), key=_started)
    waiting = sorted((p for p in bucket.values() if p.state == WAITING), key=order_of)
    for process in running:
        if process.state == RUNNING:  # not failed by another one's end a moment ago
            _out_of_time(world, process)
    if not waiting:
        return
    if len(world.queues) > SCAN_LIMIT:
        seen = {process.process_id for process in world.queues.first(SCAN_LIMIT)}
    else:
        seen = {process.process_id for process in waiting}
    for process in waiting:
        if process.state != WAITING:
            continue
        if process.process_id in seen:
            fail(world, process, [WAITED_TOO_LONG], "waited too long")
        else:
            transitions.arm_wait(world, process)


def _started(process: Process) -> tuple[int, int]:
    return process.started_ns, process.serial


def _out_of_time(world: World, process: Process) -> None:
    retries_max = process.spec.maxretries
    if -1 < retries_max <= process.retries:
        fail(world, process, [RAN_TOO_LONG], "ran too long")
        return
    executor_id, retries = process.executor_id, process.retries
    transitions.requeue_after_timeout(world, process)
    if world.subscriptions:
        # Quirk: the event still names the executor and does not count the retry.
        subscriptions.publish(world, replace(process, executor_id=executor_id, retries=retries))
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
    waited_s = (_microseconds(process.started_ns) - _microseconds(process.submitted_ns)) / SECOND_NS
    ran_s = (process.ended_ns - _microseconds(process.started_ns)) / SECOND_NS
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


def _microseconds(time_ns: int) -> int:
    """A time as the storage keeps it: rounded to the nearest microsecond."""
    return (time_ns + 500) // 1000 * 1000
