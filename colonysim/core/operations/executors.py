"""Register, approve and remove executors, and update their capabilities and allocations.

Source: docs/protocol/a-foundation.md 6.4, 7.
"""

from __future__ import annotations

from typing import Any

from colonysim.core import lookup, registration, storage
from colonysim.core.access import any_member, colony_owner, member, named, of_target
from colonysim.core.errors import Refusal
from colonysim.core.lookup import or_null
from colonysim.core.protocol import ECHO, EMPTY, Empty, Message
from colonysim.core.records import APPROVED, REJECTED, Executor
from colonysim.core.registry import operation
from colonysim.core.types import Allocations, Capabilities, ExecutorSpec
from colonysim.core.world import World


class AddExecutor(Message, frozen=True):
    executor: ExecutorSpec | None = None


def _colony_of_spec(message: AddExecutor, _: None) -> str:
    assert message.executor is not None
    return message.executor.colonyname


@operation(
    "addexecutormsg",
    AddExecutor,
    "Failed to add executor",
    find=lookup.given("executor", "Failed to add executor, executor is nil"),
    access=colony_owner(_colony_of_spec),
)
def add_executor(world: World, caller: str, message: AddExecutor, _: None) -> Executor:
    """Register an executor, replacing one of the same name if settings allow it (docs/protocol/a-foundation.md 7.2).

    Quirk: the reply is looked up by id and may show an older executor with the same one.
    """
    spec = message.executor
    assert spec is not None
    known = world.executors.get((spec.colonyname, spec.executorname))
    if known is not None:
        lookup.require_readable(known)
    if known is not None and not world.settings.allow_reregister:
        raise Refusal(400, f"Executor with name <{spec.executorname}> in Colony <{spec.colonyname}> already exists")
    if world.request.has_nul:
        storage.text(400, spec)
    storage.timestamp(400, spec.lastheardfromtime)
    if known is None:
        registration.add(world, _record(world, spec))
    else:
        registration.register_anew(world, known, _record(world, spec))
    if storage.unparsable(spec.executorname, spec.colonyname):
        # Quirk: it is registered nevertheless, and breaks every call that reads it (docs/protocol/a-foundation.md 7.5).
        raise Refusal(500, "Failed to parse Executor name")
    return registration.picture(world, registration.first(world, spec.executorid))


def _record(world: World, spec: ExecutorSpec) -> Executor:
    return Executor(
        executor_id=spec.executorid,
        executor_type=spec.executortype,
        name=spec.executorname,
        colony=spec.colonyname,
        require_func_reg=spec.requirefuncreg,
        commissioned_ns=world.now_ns,
        last_heard_ns=storage.to_microseconds(spec.lastheardfromtime.ns),
        location=spec.locationname,
        capabilities=spec.capabilities,
        allocations=spec.allocations,
        blueprint_id=spec.blueprintid,
        blueprint_generation=spec.blueprintgen,
    )


class ApproveExecutor(Message, frozen=True):
    colonyname: str = ""
    executorname: str = ""


@operation(
    "approveexecutormsg",
    ApproveExecutor,
    "Failed to approve executor",
    find=lookup.executor(500, "Failed to approve executor, executor is nil"),
    access=colony_owner(),
)
def approve_executor(world: World, caller: str, message: ApproveExecutor, executor: Executor) -> Empty:
    """Approve an executor. Quirk: every record with its id is approved, in any state and colony."""
    registration.set_state(world, executor.executor_id, APPROVED)
    return EMPTY


class RejectExecutor(Message, frozen=True):
    colonyname: str = ""
    executorname: str = ""


@operation(
    "rejectexecutormsg",
    RejectExecutor,
    "Failed to reject executor",
    find=lookup.executor(500, "Failed to reject executor, executor is nil"),
    access=colony_owner(),
)
def reject_executor(world: World, caller: str, message: RejectExecutor, executor: Executor) -> Empty:
    """Reject an executor, with the same quirk as approval. The processes it runs keep running."""
    registration.set_state(world, executor.executor_id, REJECTED)
    return EMPTY


class RemoveExecutor(Message, frozen=True):
    colonyname: str = ""
    executorname: str = ""


@operation(
    "removeexecutormsg",
    RemoveExecutor,
    "Failed to remove executor",
    find=lookup.executor(500, "Failed to remove executor, executor is nil"),
    access=colony_owner(),
)
def remove_executor(world: World, caller: str, message: RemoveExecutor, executor: Executor) -> Empty:
    """Unregister an executor; its record stays. May be repeated."""
    registration.unregister(world, executor)
    return EMPTY


class GetExecutors(Message, frozen=True):
    colonyname: str = ""


@operation("getexecutorsmsg", GetExecutors, "Failed to get executors", access=any_member())
def get_executors(world: World, caller: str, message: GetExecutors, _: None) -> Any:
    """List the executors of a colony in all states, unregistered ones included."""
    executors = world.executors.where("colony", message.colonyname)
    if any(storage.unparsable(executor.name, executor.colony) for executor in executors):
        raise Refusal(400, "Failed to parse Executor name")
    return or_null(registration.picture(world, executor) for executor in executors)


class GetExecutor(Message, frozen=True):
    colonyname: str = ""
    executorname: str = ""


@operation(
    "getexecutormsg",
    GetExecutor,
    "Failed to get executor",
    find=lookup.executor(500, "Failed to get executor, executor is nil"),
    access=member(named),
)
def get_executor(world: World, caller: str, message: GetExecutor, executor: Executor) -> Executor:
    """Return an executor by its name."""
    return registration.picture(world, executor)


class GetExecutorById(Message, frozen=True):
    executorid: str = ""
    colonyname: str = ""  # accepted and ignored


def _executor_by_id(world: World, caller: str, message: GetExecutorById) -> Executor:
    records = world.executors_by_id.get(message.executorid)
    if not records:
        if world.request.has_nul:
            storage.text(400, message.executorid)
        raise Refusal(404, "Failed to get executor by ID, executor is nil")
    lookup.require_readable(records[0])
    return records[0]


@operation(
    "getexecutorbyidmsg",
    GetExecutorById,
    "Failed to get executor by ID",
    find=_executor_by_id,
    access=member(of_target),
)
def get_executor_by_id(world: World, caller: str, message: GetExecutorById, executor: Executor) -> Executor:
    """Return an executor by its id."""
    return registration.picture(world, executor)


def _itself(world: World, caller: str, colony: str, name: str, refusal: str) -> Executor:
    """Return the executor with a name. Raises Refusal 400 unless it is the caller."""
    if world.request.has_nul:
        storage.text(500, name)
    executor = world.executors.get((colony, name))
    if executor is None:
        raise Refusal(400, f"Executor with name <{name}> does not exist")
    lookup.require_readable(executor)
    if executor.executor_id != caller:
        raise Refusal(400, refusal)
    return executor


class ReportAllocation(Message, frozen=True):
    colonyname: str = ""
    executorname: str = ""
    allocations: Allocations = Allocations()


@operation("reportallocationmsg", ReportAllocation, "Failed to report allocation", access=any_member())
def report_allocation(world: World, caller: str, message: ReportAllocation, _: None) -> Empty:
    """Replace the executor's allocations as a whole."""
    executor = _itself(
        world, caller, message.colonyname, message.executorname, "Only an executor can report allocations to itself"
    )
    if world.request.has_nul:
        storage.text(500, message.allocations)
    executor.allocations = message.allocations
    return EMPTY


class UpdateExecutor(Message, frozen=True):
    colonyname: str = ""
    executorname: str = ""
    capabilities: Capabilities = Capabilities()


@operation("updateexecutormsg", UpdateExecutor, "Failed to update executor", access=any_member())
def update_executor(world: World, caller: str, message: UpdateExecutor, _: None) -> Empty:
    """Replace the executor's hardware and software as a whole."""
    executor = _itself(
        world, caller, message.colonyname, message.executorname, "Only an executor can update its own capabilities"
    )
    if world.request.has_nul:
        storage.text(500, message.capabilities)
    executor.capabilities = message.capabilities
    return EMPTY


class ChangeExecutorId(Message, frozen=True):
    colonyname: str = ""
    executorid: str = ""


def _new_executor_id(world: World, caller: str, message: ChangeExecutorId) -> None:
    if not message.executorid:
        raise Refusal(400, "Failed to change executor Id, executor Id is empty")


@operation(
    "changeexecutoridmsg",
    ChangeExecutorId,
    "Failed to change executor Id",
    find=_new_executor_id,
    access=any_member(),
)
def change_executor_id(world: World, caller: str, message: ChangeExecutorId, _: None) -> Any:
    """Change the caller's id. Quirk: its running processes keep the old id, so that neither key can close them."""
    if caller not in world.executors_by_id:
        raise Refusal(400, "Failed to change executor Id, executor not found")
    if len(message.executorid.encode()) != 64:
        raise Refusal(400, "Failed to change executor Id, new executor Id is not 64 characters")
    if world.request.has_nul:
        storage.text(403, message.executorid)
    for executor in list(world.executors_by_id[caller]):
        if executor.colony == message.colonyname:
            registration.change_id(world, executor, message.executorid)
    return ECHO
