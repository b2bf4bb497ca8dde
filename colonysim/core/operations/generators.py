"""Generators (docs/protocol/c-workflows.md 7)."""

from __future__ import annotations

from typing import Any

from colonysim.core import graphs, intake, lookup, recurring, storage
from colonysim.core.access import member, of_target
from colonysim.core.errors import Refusal
from colonysim.core.golang import gotypes
from colonysim.core.lookup import or_null
from colonysim.core.protocol import EMPTY, Empty, Message
from colonysim.core.records import Generator
from colonysim.core.registry import operation
from colonysim.core.replies import GeneratorReply
from colonysim.core.types import GeneratorSpec, Int
from colonysim.core.world import World


class AddGenerator(Message, frozen=True):
    generator: GeneratorSpec | None = None


def _colony_of_generator(message: AddGenerator, _: None) -> str:
    assert message.generator is not None
    return message.generator.colonyname


@operation(
    "addgeneratormsg",
    AddGenerator,
    "Failed to add generator",
    find=lookup.given("generator", "Failed to add generator, msg.Generator is nil"),
    access=member(_colony_of_generator),
)
def add_generator(world: World, caller: str, message: AddGenerator, _: None) -> GeneratorReply:
    """Add a workflow to start whenever `trigger` arguments are queued. A trigger of 0 is refused."""
    spec = message.generator
    assert spec is not None
    workflow = gotypes.workflow(spec.workflowspec)
    graphs.check_dependencies(workflow, 400)
    initiator = intake.initiator_of(world, caller, spec.colonyname)
    if initiator is None:
        raise Refusal(500, "Failed to resolve initiator")
    intake.require_home(world, caller, workflow.colonyname)
    if world.generators.named(spec.colonyname, spec.name) is not None:
        raise Refusal(400, f"Generator with name <{spec.name}> in Colony <{spec.colonyname}> already exists")
    if spec.trigger == 0:
        raise Refusal(400, "Failed to add generator, trigger must not be 0")  # the reference crashes
    storage.int32(400, spec.trigger, spec.timeout)
    if world.request.has_nul:
        storage.text(400, spec)
    generator = Generator(
        generator_id=world.new_id(),
        initiator_id=initiator.caller_id,
        initiator_name=initiator.name,
        colony=spec.colonyname,
        name=spec.name,
        workflow_text=spec.workflowspec,
        trigger=spec.trigger,
        timeout_s=spec.timeout,
        workflow=workflow,
    )
    recurring.add_generator(world, generator)
    return GeneratorReply(generator.copy())


class GetGenerator(Message, frozen=True):
    generatorid: str = ""


def _generator(text: str) -> Any:
    def find(world: World, _: str, message: Any) -> Generator:
        generator = world.generators.get(message.generatorid)
        if generator is None:
            raise Refusal(500, text)
        return generator

    return find


@operation(
    "getgeneratormsg",
    GetGenerator,
    "Failed to get generator",
    find=_generator("Failed to get generator, generator is nil"),
    access=member(of_target),
)
def get_generator(world: World, caller: str, message: GetGenerator, generator: Generator) -> GeneratorReply:
    """Return a generator by its id. Quirk: only this reply shows how many arguments are queued."""
    return GeneratorReply(generator.copy(), len(generator.queue), world.settings.generator_checker_period_ms)


class ResolveGenerator(Message, frozen=True):
    colonyname: str = ""
    generatorname: str = ""


def _resolved(world: World, caller: str, message: ResolveGenerator) -> Generator:
    generator = world.generators.named(message.colonyname, message.generatorname)
    if generator is None:
        raise Refusal(500, "Failed to resolve generator, generator is nil")
    return generator


@operation(
    "resolvegeneratormsg",
    ResolveGenerator,
    "Failed to resolve generator",
    find=_resolved,
    access=member(of_target),
)
def resolve_generator(world: World, caller: str, message: ResolveGenerator, generator: Generator) -> GeneratorReply:
    """Return a generator by its name."""
    return GeneratorReply(generator.copy())


class GetGenerators(Message, frozen=True):
    colonyname: str = ""
    count: Int = 0


@operation("getgeneratorsmsg", GetGenerators, "Failed to get generators", access=member())
def get_generators(world: World, caller: str, message: GetGenerators, _: None) -> Any:
    """List generators in the order in which they were added."""
    storage.limit(message.count)
    found = world.generators.where("colony", message.colonyname)
    return or_null(GeneratorReply(generator.copy()) for generator in found[: message.count])


class PackGenerator(Message, frozen=True):
    generatorid: str = ""
    arg: str = ""


@operation(
    "packgeneratormsg",
    PackGenerator,
    "Failed to inc generator",
    mismatch="Failed to increment generator, msg.MsgType does not match payloadType",
    find=_generator("Failed to increment generator, generator is nil"),
    access=member(of_target),
)
def pack_generator(world: World, caller: str, message: PackGenerator, generator: Generator) -> Empty:
    """Queue an argument for a generator; an empty text counts too."""
    if world.request.has_nul:
        storage.text(400, message.arg)
    recurring.pack(world, generator, message.arg)
    return EMPTY


class RemoveGenerator(Message, frozen=True):
    generatorid: str = ""
    all: bool = False  # accepted and ignored


@operation(
    "removegeneratormsg",
    RemoveGenerator,
    "Failed to remove generator",
    find=_generator("Failed to remove generator, generator is nil"),
    access=member(of_target),
)
def remove_generator(world: World, caller: str, message: RemoveGenerator, generator: Generator) -> Empty:
    """Remove a generator with its queued arguments."""
    recurring.remove_generator(world, generator)
    return EMPTY
