"""Submit, read, cancel and remove processes (docs/protocol/b-processes.md 3, 5)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from colonysim.core import intake, lifecycle, lookup, storage
from colonysim.core.access import colony_owner, member, of_target, silent_member
from colonysim.core.errors import Refusal
from colonysim.core.lookup import or_null
from colonysim.core.protocol import EMPTY, Empty, Message
from colonysim.core.records import CANCELLED, FAILED, RUNNING, SECOND_NS, STATES, SUCCESS, WAITING, Process
from colonysim.core.registry import operation
from colonysim.core.scheduling import order_of
from colonysim.core.types import FunctionSpec, Int
from colonysim.core.world import World

MAX_COUNT: Final = 100
PRIORITY_LIMIT: Final = 50_000


class SubmitFuncSpec(Message, frozen=True):
    spec: FunctionSpec | None = None


def _colony_of_spec(message: SubmitFuncSpec, _: None) -> str:
    assert message.spec is not None
    return message.spec.conditions.colonyname


@operation(
    "submitfuncspecmsg",
    SubmitFuncSpec,
    "Failed to submit process",
    mismatch="Failed to submit process spec, msg.MsgType does not match payloadType",
    find=lookup.given("spec", "Failed to submit process spec, msg.FunctionSpec is nil"),
    access=member(_colony_of_spec),
)
def submit(world: World, caller: str, message: SubmitFuncSpec, _: None) -> Process:
    """Submit a single process. Function names, executor types and limits are not checked."""
    spec = message.spec
    assert spec is not None
    if not -PRIORITY_LIMIT <= spec.priority <= PRIORITY_LIMIT:
        raise Refusal(
            400,
            f"Failed to submit function spec, priority outside range [-{PRIORITY_LIMIT}, {PRIORITY_LIMIT}]",
        )
    colony = spec.conditions.colonyname
    initiator = intake.initiator_of(world, caller, colony)
    if initiator is None:
        raise Refusal(500, "Could not derive InitiatorName")
    return lifecycle.submit(world, intake.new_process(world, spec, colony, initiator))


class GetProcess(Message, frozen=True):
    processid: str = ""


@operation(
    "getprocessmsg",
    GetProcess,
    "Failed to get process",
    find=lookup.process(404, "Failed to get process, process not found"),
    access=member(of_target),
)
def get_process(world: World, caller: str, message: GetProcess, process: Process) -> Process:
    """Return a process by its id."""
    return process.stable_copy()


class GetProcesses(Message, frozen=True):
    colonyname: str = ""
    count: Int = 0
    state: Int = 0
    executortype: str = ""
    label: str = ""
    initiator: str = ""


@operation("getprocessesmsg", GetProcesses, "Failed to get processes", access=member())
def get_processes(world: World, caller: str, message: GetProcesses, _: None) -> Any:
    """List processes in one state. Quirk: only one filter applies, the first given of type, initiator, label."""
    if message.count > MAX_COUNT:
        raise Refusal(400, f"Count is larger than MaxCount limit <{MAX_COUNT}>")
    if message.initiator and (message.colonyname, message.initiator) not in world.users:
        raise Refusal(400, f"User <{message.initiator}> does not exist")
    if message.state not in STATES:
        raise Refusal(400, "Failed to get processes, invalid msg.State")
    storage.limit(message.count)
    if world.request.has_nul:
        storage.text(400, message.executortype or message.label)
    found = filter(_filter(message), world.processes_in(message.colonyname, message.state).values())
    return or_null(process.stable_copy() for process in _in_order(found, message.state)[: message.count])


def _filter(message: GetProcesses) -> Any:
    if message.executortype:
        return lambda process: process.spec.conditions.executortype == message.executortype
    if message.initiator:
        return lambda process: process.initiator_name == message.initiator
    if message.label:
        return lambda process: process.spec.label == message.label
    return None


def _in_order(processes: Iterable[Process], state: int) -> list[Process]:
    """Sort waiting processes by queue order, running ones by start, the others by end, latest first."""
    if state == WAITING:
        return sorted(processes, key=order_of)
    if state == RUNNING:
        return sorted(processes, key=lambda process: process.started_ns)
    last_first = list(processes)
    last_first.reverse()
    last_first.sort(key=lambda process: -process.ended_ns)
    return last_first


class GetProcessHist(Message, frozen=True):
    colonyname: str = ""
    executorid: str = ""
    seconds: Int = 0
    state: Int = 0


@operation(
    "getprocesshistmsg",
    GetProcessHist,
    "Failed to get process hist",
    mismatch="Failed to get process history, msg.MsgType does not match payloadType",
    access=silent_member(),
)
def get_process_hist(world: World, caller: str, message: GetProcessHist, _: None) -> Any:
    """List processes in one state that were submitted within the last `seconds`, oldest first."""
    if message.state not in STATES or message.seconds <= 0:
        return None
    since_ns = world.now_ns - message.seconds * SECOND_NS
    found = [
        process
        for process in world.processes_in(message.colonyname, message.state).values()
        if process.submitted_ns >= since_ns and message.executorid in ("", process.executor_id)
    ]
    found.sort(key=lambda process: process.serial)
    return or_null(process.stable_copy() for process in found)


class CancelProcess(Message, frozen=True):
    processid: str = ""


@operation(
    "cancelprocessmsg",
    CancelProcess,
    "Failed to cancel process",
    find=lookup.process(500, "Failed to cancel process, process is nil"),
    access=member(of_target),
)
def cancel_process(world: World, caller: str, message: CancelProcess, process: Process) -> Empty:
    """Cancel a process. Any member may; the executor that runs it is not notified."""
    if process.graph_id:
        raise Refusal(
            400, "Failed to cancel, cannot cancel a process part of a workflow, cancel the entire workflow instead"
        )
    refusal = {
        SUCCESS: "Tried to cancel successful process",
        FAILED: "Tried to cancel failed process",
        CANCELLED: "Tried to cancel already cancelled process",
    }.get(process.state)
    if refusal:
        raise Refusal(400, refusal)
    lifecycle.cancel(world, process)
    return EMPTY


class RemoveProcess(Message, frozen=True):
    processid: str = ""
    all: bool = False  # accepted and ignored


@operation(
    "removeprocessmsg",
    RemoveProcess,
    "Failed to remove process",
    find=lookup.process(500, "Failed to remove process, process is nil"),
    access=member(of_target),
)
def remove_process(world: World, caller: str, message: RemoveProcess, process: Process) -> Empty:
    """Remove a process and its attributes; its logs stay."""
    if process.graph_id:
        raise Refusal(
            400, "Failed to remove, cannot remove a process part of a workflow, delete the entire workflow instead"
        )
    if process.state == RUNNING:
        raise Refusal(400, "Failed to remove process, cannot remove a running process")
    lifecycle.remove(world, process)
    return EMPTY


class RemoveAllProcesses(Message, frozen=True):
    colonyname: str = ""
    state: Int = 0


@operation("removeallprocessesmsg", RemoveAllProcesses, "Failed to remove all processes", access=colony_owner())
def remove_all_processes(world: World, caller: str, message: RemoveAllProcesses, _: None) -> Empty:
    """Remove processes that belong to no workflow: those in one state or, for state -1, all, even running ones.

    Quirk: attributes are removed by their own state, not their process's; for state -1 those of workflow
    processes are removed too (docs/protocol/b-processes.md 5.11).
    """
    if message.state == RUNNING:
        raise Refusal(400, "Not possible to remove running processes")
    if message.state != -1 and message.state not in STATES:
        raise Refusal(400, "Invalid state when deleting all processes")
    states = STATES if message.state == -1 else (message.state,)
    for state in states:
        for process in list(world.processes_in(message.colonyname, state).values()):
            if not process.graph_id:
                lifecycle.remove(world, process, attributes=False)
    if message.state == -1:
        world.remove_attributes(world.attributes.where("colony", message.colonyname))
    else:
        world.remove_attributes(world.attributes.where("state", message.colonyname, message.state, ""))
    return EMPTY
