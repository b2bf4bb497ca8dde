"""Assign processes to executors, and pause and resume assignments (docs/protocol/b-processes.md 4, 5.9)."""

from __future__ import annotations

from colonysim.core import lifecycle
from colonysim.core.access import any_member, colony_owner, member
from colonysim.core.errors import Refusal
from colonysim.core.events import POLL_RANK, PollOver
from colonysim.core.golang.units import parse_cpu, parse_memory
from colonysim.core.history import CallParked, PauseChanged
from colonysim.core.lifecycle import ASSIGN
from colonysim.core.protocol import EMPTY, PARK, Answer, Empty, ErrorBody, Message, Park
from colonysim.core.records import SECOND_NS
from colonysim.core.registry import operation, timer
from colonysim.core.replies import AssignReply, PauseStatus
from colonysim.core.scheduling import Demand, Poll
from colonysim.core.types import Int
from colonysim.core.world import World

LONGEST_TIMEOUT_S = 9_223_372_036  # Quirk: a longer one overflows in nanoseconds and has expired at once

_NOTHING = ErrorBody(404, "No process available for assignment")
_PAUSED_AT_TIMEOUT = ErrorBody(408, "Assignment timeout: colony assignments are paused")


class AssignProcess(Message, frozen=True):
    """`timeout` is in seconds; a negative one means a single attempt. Empty CPU or memory means unlimited."""

    colonyname: str = ""
    timeout: Int = 0
    availablecpu: str = ""
    availablemem: str = ""


@operation(
    ASSIGN,
    AssignProcess,
    "Failed to assign process",
    mismatch="Failed to assign process, msg.msgType does not match payloadType",
    access=member(),
)
def assign(world: World, caller: str, message: AssignProcess, _: None) -> AssignReply | Park:
    """Assign the next matching process to the caller, or park the call until one is available."""
    timeout_s = message.timeout
    if timeout_s == 0:
        raise Refusal(400, "Invalid timeout value, timeout cannot be zero")
    records = world.executors_by_id.get(caller)
    if not records:
        raise Refusal(500, "Failed to assign process, executor not found")
    executor = records[0]
    demand = Demand(
        message.colonyname,
        caller,
        executor.executor_type,
        executor.name,
        executor.location,
        parse_cpu(message.availablecpu) if message.availablecpu else None,
        parse_memory(message.availablemem) if message.availablemem else None,
    )
    paused = message.colonyname in world.paused
    if paused:
        lifecycle.find_paused(world, demand)
    elif reply := lifecycle.take(world, demand):
        return reply
    if 0 < timeout_s <= LONGEST_TIMEOUT_S:
        ticket = world.request.ticket
        due = world.agenda.add(world.now_ns + timeout_s * SECOND_NS, PollOver(ticket), POLL_RANK)
        world.queues.park(Poll(ticket, demand, due, found_paused=paused))
        world.note(CallParked(world.now_ns, ticket, demand, timeout_s))
        return PARK
    if not paused:
        raise Refusal(_NOTHING.status, _NOTHING.message)
    if timeout_s > 0:
        raise Refusal(_PAUSED_AT_TIMEOUT.status, _PAUSED_AT_TIMEOUT.message)
    raise Refusal(503, "No processes available: colony assignments are paused")


@timer(PollOver)
def poll_over(world: World, event: PollOver) -> None:
    """Answer a parked assign call whose time is up, with the result of its last attempt; it does not try again."""
    poll = world.queues.unpark(event.ticket)
    assert poll is not None
    failure = _PAUSED_AT_TIMEOUT if poll.found_paused else _NOTHING
    world.outbox.append(Answer(poll.ticket, failure.status, "error", failure))


class PauseAssignments(Message, frozen=True):
    colonyname: str = ""


@operation("pauseassignmentsmsg", PauseAssignments, "Failed to pause assignments", access=colony_owner())
def pause_assignments(world: World, caller: str, message: PauseAssignments, _: None) -> Empty:
    """Stop assigning processes; everything else continues. Parked calls meet the pause when they are woken."""
    world.paused[message.colonyname] = None
    world.note(PauseChanged(message.colonyname, on=True))
    return EMPTY


class ResumeAssignments(Message, frozen=True):
    colonyname: str = ""


@operation("resumeassignmentsmsg", ResumeAssignments, "Failed to resume assignments", access=colony_owner())
def resume_assignments(world: World, caller: str, message: ResumeAssignments, _: None) -> Empty:
    """Resume assignments. Calls that were parked because of the pause try again, in order of arrival."""
    world.paused.pop(message.colonyname, None)
    world.note(PauseChanged(message.colonyname, on=False))
    for poll in list(world.queues.pause_polls.get(message.colonyname, {}).values()):
        lifecycle.try_again(world, poll)
    return EMPTY


class GetPauseStatus(Message, frozen=True):
    colonyname: str = ""


@operation(
    "getpausestatusmsg",
    GetPauseStatus,
    "Failed to get pause status",
    access=any_member(),
    reply_type="pausestatusreplymsg",
)
def get_pause_status(world: World, caller: str, message: GetPauseStatus, _: None) -> PauseStatus:
    """Return whether a colony's assignments are paused."""
    return PauseStatus("pausestatusreplymsg", message.colonyname, message.colonyname in world.paused)
