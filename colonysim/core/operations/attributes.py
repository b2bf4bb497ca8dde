"""Attributes of processes (docs/protocol/b-processes.md 6.3)."""

from __future__ import annotations

from msgspec.structs import replace

from colonysim.core import intake, retention, storage
from colonysim.core.access import holder, member, of_target, running
from colonysim.core.errors import Refusal
from colonysim.core.protocol import Message
from colonysim.core.records import SUCCESS, Process
from colonysim.core.registry import operation
from colonysim.core.types import Attribute
from colonysim.core.world import World


class AddAttribute(Message, frozen=True):
    attribute: Attribute = Attribute()


def _process_of(world: World, caller: str, message: AddAttribute) -> Process:
    process = world.processes.get(message.attribute.targetid)
    if process is None:
        raise Refusal(404, "Failed to add attribute, process not found")
    return process


@operation(
    "addattributemsg",
    AddAttribute,
    "Failed to add attribute",
    find=_process_of,
    access=member(of_target)
    & running("Failed to add attribute, process is not running")
    & holder("Failed to add attribute, only executor with id <{}> is allowed to set attributes"),
)
def add_attribute(world: World, caller: str, message: AddAttribute, process: Process) -> Attribute:
    """Store an attribute. Quirk: its colony and state are stored as sent; the server sets its id and graph."""
    sent = message.attribute
    attribute = replace(
        sent,
        attributeid=intake.attribute_id(process.process_id, sent.key, sent.attributetype),
        targetprocessgraphid=process.graph_id,
    )
    storage.int32(400, attribute.attributetype, attribute.state)
    if world.request.has_nul:
        storage.text(400, attribute)
    if attribute.attributeid in world.attributes:
        raise storage.duplicate_key(400, "prod_attributes_pkey")
    intake.add_attribute(world, process, attribute)
    if attribute.state == SUCCESS:
        retention.attribute_added(world, attribute)
    return attribute


class GetAttribute(Message, frozen=True):
    attributeid: str = ""


def _attribute(world: World, caller: str, message: GetAttribute) -> tuple[Attribute, Process]:
    attribute = world.attributes.get(message.attributeid)
    if attribute is None:
        raise Refusal(400, "Attribute does not exists")
    process = world.processes.get(attribute.targetid)
    if process is None:
        raise Refusal(404, "Failed to get attribute, process not found")
    return attribute, process


def _colony_of_process(message: GetAttribute, found: tuple[Attribute, Process]) -> str:
    return found[1].colony


@operation(
    "getattributemsg",
    GetAttribute,
    "Failed to get attribute",
    find=_attribute,
    access=member(_colony_of_process),
)
def get_attribute(world: World, caller: str, message: GetAttribute, found: tuple[Attribute, Process]) -> Attribute:
    """Return an attribute by its id."""
    return found[0]
