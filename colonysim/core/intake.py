"""Turn a function spec into a process, and enter it into the tables."""

from __future__ import annotations

import hashlib
from typing import Final

import msgspec
from msgspec.structs import replace

from colonysim.core import channels, storage, transitions
from colonysim.core.errors import Refusal
from colonysim.core.golang.units import parse_cpu, parse_memory, through_double, wrapped
from colonysim.core.records import DAY_NS, ENV, NO_RESOURCES, SECOND_NS, Process, Resources
from colonysim.core.types import Attribute, FunctionSpec, WorkflowSpec
from colonysim.core.world import World

PRIORITY_STEP_NS: Final = DAY_NS
"""One step of priority counts as much as a day of waiting."""
_LARGE_PRIORITY: Final = 80_000
"""From here on the priority time may exceed 64 bits. Only workflows accept such priorities."""
_MIN: Final = storage.INT32_MIN
_MAX: Final = storage.INT32_MAX
_NOT_STORED_AS_TEXT: Final = ("args", "kwargs", "fs", "cpu", "mem", "storage")


class Initiator(msgspec.Struct, frozen=True, gc=False):
    """Who submits a process: caller id and name."""

    caller_id: str
    name: str


NOBODY: Final = Initiator("", "")


def initiator_of(world: World, caller_id: str, colony: str) -> Initiator | None:
    """Return the caller as an initiator: an executor of any colony, else a user of this one; None if neither."""
    if records := world.executors_by_id.get(caller_id):
        return Initiator(caller_id, records[0].name)
    if users := world.users_by_id.get((colony, caller_id)):
        return Initiator(caller_id, users[0].name)
    return None


def require_home(world: World, caller_id: str, colony: str) -> None:
    """Raise Refusal 403 if an executor wants to start workflows in a colony other than its own.

    An unnamed colony is accepted: as in the reference, workflows then start in the colony "", which has no members.
    """
    records = world.executors_by_id.get(caller_id)
    if colony and records and records[0].colony != colony and (colony, caller_id) not in world.users_by_id:
        raise Refusal(403, f"Access denied, not a member of Colony with name <{colony}>")


def check(world: World, spec: FunctionSpec) -> Resources:
    """Check a spec and return its resources. Raises Refusal 400 if it cannot be parsed or stored."""
    conditions = spec.conditions
    resources = NO_RESOURCES
    if conditions.cpu or conditions.mem or conditions.storage or conditions.gpu:
        resources = _resources(spec)
    if (
        conditions.nodes or conditions.processes or conditions.processespernode
        or not (_MIN <= spec.maxwaittime <= _MAX and _MIN <= spec.maxexectime <= _MAX)
        or not _MIN <= spec.maxretries <= _MAX
    ):  # fmt: skip
        storage.int32(
            400, spec.maxwaittime, spec.maxexectime, spec.maxretries,
            conditions.nodes, conditions.processes, conditions.processespernode,
        )  # fmt: skip
    if world.request.has_nul:
        storage.text(400, spec, free=_NOT_STORED_AS_TEXT)
    return resources


def holds_nul(spec: WorkflowSpec) -> bool:
    """Whether a text in a workflow's nodes contains U+0000, which the storage refuses."""
    return any(storage.holds_nul(node, _NOT_STORED_AS_TEXT) for node in spec.functionspecs or ())


def checked(world: World, spec: FunctionSpec) -> tuple[FunctionSpec, Resources]:
    """Return a spec as it is stored, and its resources. Raises as `check` does."""
    resources = check(world, spec)
    return (with_plain_json(spec) if spec.args or spec.kwargs else spec), resources


def new_process(world: World, spec: FunctionSpec, colony: str, initiator: Initiator) -> Process:
    """Check a spec and make a waiting process that is in no table yet. Raises as `check` does."""
    spec, resources = checked(world, spec)
    return make_process(world, spec, resources, colony, initiator)


def make_process(world: World, spec: FunctionSpec, resources: Resources, colony: str, initiator: Initiator) -> Process:
    """Make a waiting process from a checked spec; it is in no table yet. Raises nothing."""
    now_ns = world.now_ns
    world.last_serial = serial = world.last_serial + 1
    priority_time_ns = now_ns - spec.priority * PRIORITY_STEP_NS if spec.priority else now_ns
    if not -_LARGE_PRIORITY < spec.priority < _LARGE_PRIORITY:
        priority_time_ns = wrapped(priority_time_ns)
    process = Process(
        world.new_id(),
        serial,
        colony,
        spec,
        initiator.caller_id,
        initiator.name,
        priority_time_ns,
        now_ns,
        resources,
    )
    if spec.maxwaittime > 0:
        process.wait_deadline_ns = now_ns + spec.maxwaittime * SECOND_NS
    return process


def enter(world: World, process: Process, cause: str) -> None:
    """Enter a new process into the tables, with its environment and channels. `cause` goes into the history."""
    if process.spec.env:
        _add_environment(world, process)
    transitions.enter(world, process, cause)
    if process.spec.channels:
        channels.create(world, process)


def _add_environment(world: World, process: Process) -> None:
    """Store each entry of the spec's environment as an attribute of type ENV (docs/protocol/b-processes.md 1.5)."""
    for key, value in (process.spec.env or {}).items():
        add_attribute(
            world,
            process,
            Attribute(
                attributeid=attribute_id(process.process_id, key, ENV),
                targetid=process.process_id,
                targetcolonyname=process.colony,
                targetprocessgraphid=process.graph_id,
                attributetype=ENV,
                key=key,
                value=value,
            ),
        )


def attribute_id(process_id: str, key: str, attribute_type: int) -> str:
    """Return the id of an attribute, a digest of what identifies it."""
    return hashlib.sha3_256(f"{process_id}{key}{attribute_type}".encode()).hexdigest()


def add_attribute(world: World, process: Process, attribute: Attribute) -> None:
    """Add an attribute to the tables and to its process."""
    world.attributes[attribute.attributeid] = attribute
    world.attribute_times[attribute.attributeid] = world.now_ns
    if not process.attributes:
        process.attributes = [attribute]
    else:
        assert type(process.attributes) is list
        process.attributes.append(attribute)


def _resources(spec: FunctionSpec) -> Resources:
    conditions = spec.conditions
    gpu_mem = conditions.gpu.mem if conditions.gpu else ""
    if not (conditions.cpu or conditions.mem or conditions.storage or gpu_mem):
        return NO_RESOURCES
    return Resources(
        parse_cpu(conditions.cpu),
        parse_memory(conditions.mem),
        parse_memory(conditions.storage),
        parse_memory(gpu_mem),
    )


def with_plain_json(spec: FunctionSpec) -> FunctionSpec:
    """Return the spec with `args` and `kwargs` as the storage returns them."""
    args, kwargs = through_double(spec.args), through_double(spec.kwargs)
    if args is spec.args and kwargs is spec.kwargs:
        return spec
    return replace(spec, args=args, kwargs=kwargs)
