"""Blueprint definitions (docs/protocol/d-realtime-and-data.md 5.3)."""

from __future__ import annotations

from operator import attrgetter

from msgspec.structs import replace

from colonysim.core import blueprints, lookup, storage
from colonysim.core.access import colony_owner, member_or_owner
from colonysim.core.errors import Refusal
from colonysim.core.protocol import EMPTY, Empty, Message
from colonysim.core.registry import operation
from colonysim.core.types import BlueprintDefinition
from colonysim.core.world import World


class AddBlueprintDefinition(Message, frozen=True):
    blueprintdefinition: BlueprintDefinition | None = None


def _colony(message: AddBlueprintDefinition, _: None) -> str:
    assert message.blueprintdefinition is not None
    return message.blueprintdefinition.metadata.colonyname


@operation(
    "addblueprintdefinitionmsg",
    AddBlueprintDefinition,
    "Failed to add blueprint definition",
    find=lookup.given("blueprintdefinition", "Failed to add blueprint definition, blueprint definition is nil"),
    access=colony_owner(_colony),
)
def add_definition(world: World, caller: str, message: AddBlueprintDefinition, _: None) -> BlueprintDefinition:
    """Store a definition without checking it; an id is kept if one is sent."""
    definition = message.blueprintdefinition
    assert definition is not None
    key = definition.metadata.colonyname, definition.metadata.name
    given_id = definition.blueprintdefinitionid
    if given_id and world.definitions.count("id", given_id):
        raise storage.duplicate_key(500, "prod_blueprintdefinitions_pkey")
    if key in world.definitions:
        raise storage.duplicate_key(500, "prod_blueprintdefinitions_colony_name_name_key")
    if world.request.has_nul:
        storage.text(500, definition)
    if schema := definition.spec.schema:
        definition = replace(definition, spec=replace(definition.spec, schema=blueprints.plain_schema(schema)))
    stored = replace(definition, blueprintdefinitionid=given_id or world.new_id())
    world.definitions[key] = stored
    return stored


class GetBlueprintDefinition(Message, frozen=True):
    colonyname: str = ""
    name: str = ""


@operation(
    "getblueprintdefinitionmsg",
    GetBlueprintDefinition,
    "Failed to get blueprint definition",
    access=member_or_owner(),
)
def get_definition(world: World, caller: str, message: GetBlueprintDefinition, _: None) -> BlueprintDefinition:
    """Return a definition by its name."""
    definition = world.definitions.get((message.colonyname, message.name))
    if definition is None:
        if world.request.has_nul:
            storage.text(500, message.colonyname, message.name)
        raise Refusal(404, "Blueprint definition not found")
    return definition


class GetBlueprintDefinitions(Message, frozen=True):
    colonyname: str = ""


@operation(
    "getblueprintdefinitionsmsg",
    GetBlueprintDefinitions,
    "Failed to get blueprint definitions",
    access=member_or_owner(),
)
def get_definitions(
    world: World, caller: str, message: GetBlueprintDefinitions, _: None
) -> tuple[BlueprintDefinition, ...]:
    """List definitions by name. Quirk: an empty list is [], not null."""
    return tuple(sorted(world.definitions.where("colony", message.colonyname), key=attrgetter("metadata.name")))


class RemoveBlueprintDefinition(Message, frozen=True):
    namespace: str = ""
    name: str = ""


def _namespace(message: RemoveBlueprintDefinition, _: None) -> str:
    return message.namespace


@operation(
    "removeblueprintdefinitionmsg",
    RemoveBlueprintDefinition,
    "Failed to remove blueprint definition",
    access=colony_owner(_namespace),
)
def remove_definition(world: World, caller: str, message: RemoveBlueprintDefinition, _: None) -> Empty:
    """Remove a definition; refused while blueprints of its kind exist."""
    colony, name = message.namespace, message.name
    definition = world.definitions.get((colony, name))
    if definition is None:
        if world.request.has_nul:
            storage.text(500, colony, name)
        raise Refusal(404, f"BlueprintDefinition '{name}' not found in namespace '{colony}'")
    kind = definition.spec.names.kind
    count = world.blueprints.count("kind", colony, kind)
    if count:
        raise Refusal(
            409, f"cannot remove BlueprintDefinition '{name}': {count} blueprint(s) of kind '{kind}' still exist"
        )
    del world.definitions[colony, name]
    return EMPTY
