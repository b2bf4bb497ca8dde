"""Check blueprints against their definitions, and submit processes that reconcile them.

Source: docs/protocol/d-realtime-and-data.md 5.
"""

from __future__ import annotations

from collections.abc import Iterator
from operator import attrgetter
from typing import Any, Final

import msgspec
from msgspec.structs import replace

from colonysim.core import intake, lifecycle, recurring
from colonysim.core.errors import Refusal, Silence
from colonysim.core.golang.units import through_double
from colonysim.core.intake import Initiator
from colonysim.core.records import BlueprintChange, Cron, Process
from colonysim.core.types import (
    ZERO_TIME_NS,
    Blueprint,
    BlueprintDefinition,
    Conditions,
    FunctionSpec,
    Handler,
    Location,
    Schema,
    SchemaProperty,
    WorkflowSpec,
)
from colonysim.core.world import World

RECONCILE_INTERVAL_S: Final = 60
"""Quirk: the interval in the definition's handler is ignored."""


# ---------------------------------------------------------------- definitions
def definition_of(world: World, colony: str, kind: str) -> BlueprintDefinition | None:
    """Return a colony's definition of a kind, the first by name if there are several."""
    return min(world.definitions.where("kind", colony, kind), key=attrgetter("metadata.name"), default=None)


def handler_of(world: World, colony: str, kind: str) -> Handler:
    """Return the handler of a kind; an empty one if the kind is not defined."""
    definition = definition_of(world, colony, kind)
    return definition.spec.handler if definition else Handler()


def check(world: World, blueprint: Blueprint) -> None:
    """Raise Refusal 400 if a blueprint has no kind or an unknown one, or violates its schema."""
    if not blueprint.kind:
        raise Refusal(400, "blueprint kind is required")
    colony = blueprint.metadata.colonyname
    definition = definition_of(world, colony, blueprint.kind)
    if definition is None:
        raise Refusal(400, f"BlueprintDefinition for kind '{blueprint.kind}' not found in namespace '{colony}'")
    if definition.spec.schema is not None:
        problem = next(_problems(definition.spec.schema, through_double(blueprint.spec or {})), None)
        if problem:
            raise Refusal(400, f"blueprint validation failed: {problem}")


def plain(blueprint: Blueprint) -> Blueprint:
    """Return the blueprint with its free JSON as the storage returns it."""
    return replace(blueprint, spec=through_double(blueprint.spec), status=through_double(blueprint.status) or None)


def canonical(spec: dict[str, Any] | None) -> bytes:
    """Encode a spec for comparison: 2 and 2.0 are equal, 1 and true are not."""
    return msgspec.json.encode(through_double(spec or {}), order="deterministic")


def plain_schema(schema: Schema) -> Schema:
    """Return a schema with its free JSON as the storage returns it."""
    return replace(schema, properties=_plain_properties(schema.properties))


def _plain_properties(properties: dict[str, SchemaProperty] | None) -> dict[str, SchemaProperty] | None:
    return properties and {name: _plain_property(prop) for name, prop in properties.items()}


def _plain_property(prop: SchemaProperty) -> SchemaProperty:
    return replace(
        prop,
        enum=through_double(prop.enum),
        default=through_double(prop.default),
        properties=_plain_properties(prop.properties),
        items=prop.items and _plain_property(prop.items),
    )


# ---------------------------------------------------------------- schema
_TYPES: Final[dict[str, tuple[str, tuple[type, ...]]]] = {
    "string": ("a string", (str,)),
    "number": ("a number", (int, float)),
    "boolean": ("a boolean", (bool,)),
    "object": ("an object", (dict,)),
    "array": ("an array", (list,)),
}
"""Quirk: values of any other type, such as `integer`, are not checked."""


def _problems(schema: Schema, spec: dict[str, Any]) -> Iterator[str]:
    for name in schema.required or ():
        if name not in spec:
            yield f"required field '{name}' is missing"
    for name, value in spec.items():
        if prop := (schema.properties or {}).get(name):
            yield from _property_problems(prop, value, name)


def _property_problems(prop: SchemaProperty, value: Any, path: str) -> Iterator[str]:
    if prop.type in _TYPES:
        words, kinds = _TYPES[prop.type]
        if not isinstance(value, kinds) or (isinstance(value, bool) and prop.type != "boolean"):
            yield f"field '{path}' must be {words}, got {_type_word(value)}"
            return
    if prop.enum and not any(_equal(value, allowed) for allowed in prop.enum):
        yield f"field '{path}' must be one of {_show(prop.enum)}, got {_show(value)}"
        return
    if isinstance(value, dict):
        for name, item in value.items():
            if inner := (prop.properties or {}).get(name):
                yield from _property_problems(inner, item, f"{path}.{name}")
    elif isinstance(value, list) and prop.items:
        for place, item in enumerate(value):
            yield from _property_problems(prop.items, item, f"{path}[{place}]")


def _equal(value: Any, allowed: Any) -> bool:
    if isinstance(value, (dict, list)) and type(value) is type(allowed):
        raise Silence(500)  # the reference crashes
    if isinstance(value, bool) or isinstance(allowed, bool):
        return value is allowed
    return bool(value == allowed)


def _type_word(value: Any) -> str:
    if value is None:
        return "<nil>"
    words = {bool: "bool", str: "string", list: "[]interface {}", dict: "map[string]interface {}"}
    return words.get(type(value), "float64")


def _show(value: Any) -> str:
    """Format a value as the reference's error texts print it."""
    if value is None:
        return "<nil>"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        return f"[{' '.join(map(_show, value))}]"
    if isinstance(value, dict):
        return f"map[{' '.join(f'{key}:{_show(value[key])}' for key in sorted(value))}]"
    return value if isinstance(value, str) else _show_number(float(value))


def _show_number(number: float) -> str:
    """Format a number with the fewest digits that read back the same, with an exponent below 1e-4 and from 1e21."""
    if number and not 1e-4 <= abs(number) < 1e21:
        mantissa, _, exponent = f"{number!r}".partition("e")
        if not exponent:
            mantissa, _, exponent = f"{number:e}".partition("e")
        power = int(exponent)
        return f"{mantissa.removesuffix('.0')}e{'-' if power < 0 else '+'}{abs(power):02d}"
    if not number.is_integer():
        return repr(number)
    return str(through_double(number)) if number else f"{number:.0f}"


# ---------------------------------------------------------------- changes
def record(world: World, blueprint: Blueprint, caller_id: str, change_type: str) -> None:
    """Add an entry to the blueprint's history. Quirk: a spec that was not sent stays null in it."""
    change = BlueprintChange(_uuid(world.new_id()), blueprint, world.now_ns, caller_id, change_type)
    world.add_change(change)


def _uuid(digits: str) -> str:
    """Make a version 4 UUID from the first digits of an id."""
    variant = "89ab"[int(digits[16], 16) % 4]
    return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-{variant}{digits[17:20]}-{digits[20:32]}"


def add_location(world: World, blueprint: Blueprint) -> None:
    """Create the blueprint's location if there is none of that name."""
    metadata = blueprint.metadata
    key = metadata.colonyname, metadata.locationname
    if metadata.locationname and key not in world.locations:
        world.locations[key] = Location(
            locationid=world.new_id(),
            name=metadata.locationname,
            colonyname=metadata.colonyname,
            description=f"Auto-created from blueprint {metadata.name}",
        )


# ---------------------------------------------------------------- reconciling
def cron_name(blueprint: Blueprint) -> str:
    """Return the name of the cron that reconciles a blueprint."""
    location = blueprint.metadata.locationname
    return f"reconcile-{blueprint.kind}-{location}" if location else f"reconcile-{blueprint.kind}"


def spec_of(blueprint: Blueprint, handler: Handler, name: str, kwargs: dict[str, Any]) -> FunctionSpec:
    """Return the function spec that calls a handler's executor for a blueprint."""
    return FunctionSpec(
        nodename=f"{handler.executorType}-{name}",
        funcname=name,
        kwargs=kwargs,
        maxexectime=-1,
        maxretries=-1,
        conditions=Conditions(
            colonyname=blueprint.metadata.colonyname,
            executortype=handler.executorType,
            locationname=blueprint.metadata.locationname,
        ),
    )


def submit(world: World, spec: FunctionSpec, initiator: Initiator) -> Process:
    """Submit a process of a spec, in the colony that the spec names."""
    process = intake.new_process(world, spec, spec.conditions.colonyname, initiator)
    return lifecycle.submit(world, process)


def reconcile(world: World, blueprint: Blueprint, handler: Handler, initiator: Initiator, force: bool) -> Process:
    """Submit a process that reconciles a blueprint."""
    kwargs: dict[str, Any] = {"kind": blueprint.kind, "blueprintName": blueprint.metadata.name}
    if force:
        kwargs["force"] = True
    return submit(world, spec_of(blueprint, handler, handler.functionName, kwargs), initiator)


def add_cron(world: World, blueprint: Blueprint, handler: Handler, initiator: Initiator) -> None:
    """Add the cron that reconciles all blueprints of a kind at a location, unless it exists."""
    colony, name = blueprint.metadata.colonyname, cron_name(blueprint)
    if world.crons.named(colony, name) is not None:
        return
    node = spec_of(blueprint, handler, handler.functionName, {"kind": blueprint.kind})
    workflow = WorkflowSpec(colonyname=colony, functionspecs=[node])
    cron = Cron(
        cron_id=world.new_id(),
        initiator_id=initiator.caller_id,
        initiator_name=initiator.name,
        colony=colony,
        name=name,
        expression="",
        interval_s=RECONCILE_INTERVAL_S,
        random=False,
        next_run_ns=ZERO_TIME_NS,
        last_run_ns=ZERO_TIME_NS,
        workflow_text="",
        previous_graph_id="",
        wait_for_previous=True,
        workflow=workflow,
    )
    recurring.add_cron(world, cron)


def drop_cron(world: World, blueprint: Blueprint) -> None:
    """Remove the cron if no blueprint of its kind is left at its location."""
    metadata = blueprint.metadata
    if world.blueprints.count("place", metadata.colonyname, blueprint.kind, metadata.locationname):
        return
    if cron := world.crons.named(metadata.colonyname, cron_name(blueprint)):
        recurring.remove_cron(world, cron)
