"""Scenario files: YAML, read with errors that name the file, the line, the path of the value, and the fix."""

from __future__ import annotations

import codecs
import inspect
import os
import re
from collections.abc import Iterable, Iterator
from importlib import resources
from pathlib import Path
from typing import Any, Final, TypeVar

import msgspec

from colonysim.core.values import BadValue, Value, read_value, shortened
from colonysim.core.values import Path as Steps
from colonysim.extensions import CODE, FAMILIES, Kinds
from colonysim.extras import needed_for
from colonysim.scenarios import yaml12
from colonysim.scenarios.yaml12 import BadYaml

with needed_for("a scenario"):
    from yaml.nodes import MappingNode, SequenceNode

_PLACE: Final = re.compile(r"[0-9]{1,9}")

T = TypeVar("T", bound=Value)


class BadScenario(BadValue):
    """A scenario file is invalid. `place`: the file and line; `path`: the path of the invalid value."""

    def __init__(self, place: str, text: str, path: Steps = (), named: int = 0) -> None:
        super().__init__(text, path, named)
        self.args = (f"{place}: {self}",)
        self.place = place

    def __reduce__(self) -> tuple[type[BadScenario], tuple[str, str, Steps, int]]:
        return BadScenario, (self.place, self.text, self.path, self.named)


def load(kind: type[T], path: Path, overrides: tuple[str, ...] = ()) -> T:
    """Read a scenario, a struct of class `kind`, from a file. Raises BadScenario."""
    return read(kind, _text(path), str(path), overrides, str(path.parent))


def _text(path: Path) -> str:
    """Return the text of a file. Raises BadScenario."""
    try:
        with path.open("rb") as stream:
            data = stream.read(yaml12.MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        raise BadScenario(str(path), f"cannot be read: {getattr(error, 'strerror', None) or error}") from None
    if len(data) > yaml12.MAX_BYTES:
        raise BadScenario(str(path), f"it has more than {yaml12.MAX_BYTES:,} bytes; is it a scenario?")
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise BadScenario(f"{path}:1", "it is UTF-16; save it as UTF-8")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = 1 + data.count(b"\n", 0, error.start)
        text = f"cannot be read: byte 0x{data[error.start]:02x} is not UTF-8; save it as UTF-8"
        raise BadScenario(f"{path}:{line}", text) from None


def read(kind: type[T], text: str, name: str = "scenario", overrides: tuple[str, ...] = (), folder: str = "") -> T:
    """Read a scenario from YAML text. Raises BadScenario."""
    try:
        data, root = yaml12.read(text)
    except BadYaml as error:
        raise BadScenario(f"{name}:{error.line}" if error.line else name, error.text) from None
    if not isinstance(data, dict):
        what = "it is empty; " if data is None else ""
        raise BadScenario(name, f"{what}a scenario is a mapping that begins with `version: 1`")
    if "version" not in data:
        raise BadScenario(f"{name}:1", "is missing; write `version: 1`", ("version",))
    for override in overrides:
        _set(data, override)
    try:
        return from_data(kind, {"folder": folder, **data})
    except BadValue as error:
        raise _placed(error, name, root) from error.__cause__


def from_data(kind: type[T], data: dict[str, Any]) -> T:
    """Create a scenario from plain data, in which relative paths start at its `folder`. Raises BadValue."""
    faults, folder = data.get("faults"), data.get("folder")
    if isinstance(faults, list) and isinstance(folder, str):
        data = {**data, "faults": [_with_path_from(folder, one) for one in faults]}
    return read_value(kind, data)


def _with_path_from(folder: str, fault: Any) -> Any:
    """Return the data of a fault; the file that has its class, if a file has it, is named by a path from here."""
    if isinstance(fault, dict) and isinstance(kind := fault.get("kind"), str) and ".py:" in kind:
        return {**fault, "kind": os.path.join(folder, kind)}
    return fault


def located(error: BadValue, path: Path) -> BadScenario:
    """Return an error of a scenario that was read from this file, with the line to which its path leads."""
    if isinstance(error, BadScenario):
        return error
    root = None
    try:
        root = yaml12.read(_text(path)).root
    except ValueError:  # the file has changed since
        pass
    return _placed(error, str(path), root)


def _placed(error: BadValue, name: str, root: Any) -> BadScenario:
    line = _line(root, error.path)
    named = 0 if error.text.startswith("invalid ") else error.named  # the path of a value is what `--set` takes
    return BadScenario(f"{name}:{line}" if line else name, error.text, error.path, named)


def _steps(path: str) -> Steps:
    """Return the steps of a path, as written in messages and on the command line."""
    return tuple(int(step) if _PLACE.fullmatch(step) else step for step in path.split(".") if step)


def _line(node: Any, path: Steps) -> int | None:
    """Return the line of a path in the file, or of the longest part of it that the file contains."""
    line: int | None = None
    for step in path:
        below = None
        if isinstance(node, MappingNode):
            for key, value in node.value:
                if key.value == str(step):
                    below, line = value, key.start_mark.line + 1
        elif isinstance(node, SequenceNode) and isinstance(step, int) and step < len(node.value):
            below = node.value[step]
            line = below.start_mark.line + 1
        if below is None:
            return line
        node = below
    return line


# ---------------------------------------------------------------- overriding
def _set(data: dict[str, Any], override: str) -> None:
    """Set one value by its path: `executors.0.count=50`. Raises BadScenario."""
    path, equals, text = override.partition("=")
    steps = _steps(path.strip())
    override = shortened(override)
    if not equals or not steps:
        raise BadScenario(f"--set {override}", "write PATH=VALUE, such as --set executors.0.count=50")
    if len(steps) > yaml12.MAX_DEPTH:
        raise BadScenario(f"--set {override}", f"the path has more than {yaml12.MAX_DEPTH} steps")
    try:
        value = yaml12.read(text).data
    except BadYaml as error:
        raise BadScenario(f"--set {override}", f"the value {error.text}") from None
    here: Any = data
    for place, step in enumerate(steps):
        last = place == len(steps) - 1
        if isinstance(here, list):
            if not isinstance(step, int) or step >= len(here):
                where = ".".join(map(str, steps[:place]))
                raise BadScenario(f"--set {override}", f"{where} has entries 0 to {len(here) - 1}, not {step}")
        elif not isinstance(here, dict):
            where = ".".join(map(str, steps[:place]))
            raise BadScenario(f"--set {override}", f"{where} has no fields or entries to set")
        elif not last:
            step = str(step)
            here.setdefault(step, {})
        if last:
            here[step if isinstance(here, list) else str(step)] = value
        else:
            here = here[step]


def schema(kind: type) -> dict[str, Any]:
    """Return the JSON Schema of scenario files."""
    families = sorted(FAMILIES, key=lambda family: family.group)  # independent of the order of imports
    known = [one for family in families for one in family.known.values()]
    (root, *_), definitions = msgspec.json.schema_components([kind, *known], ref_template="#/$defs/{name}")
    properties = definitions[kind.__name__]
    del properties["properties"]["folder"]
    properties["required"] = ["version"]
    for definition in definitions.values():
        if "description" in definition:
            definition["description"] = inspect.cleandoc(definition["description"])
    _describe_fields(definitions, known)
    for family in families:
        definitions[family.base.__name__] = _any_kind(family, definitions[family.base.__name__])
    head = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "colonysim scenario"}
    return head | root | {"$defs": definitions}


def _describe_fields(definitions: dict[str, Any], known: Iterable[type]) -> None:
    """Say in definitions what their fields mean, unless they say so themselves; `known`: the kinds of all families."""
    meanings = yaml12.read(resources.files("colonysim.scenarios").joinpath("fields.yaml").read_text("utf-8")).data
    classes = {one.__name__: one for one in (*_subclasses(Value), *known)}
    for name, definition in definitions.items():
        for field, described in definition.get("properties", {}).items():
            found = [meanings.get(base.__name__, {}).get(field) for base in classes[name].__mro__]
            if text := next(filter(None, found), None):
                described.setdefault("description", text)


def _subclasses(kind: type) -> Iterator[type]:
    """Yield the classes of this package that derive from a class."""
    found: list[type] = kind.__subclasses__()
    for one in found:
        if one.__module__.startswith("colonysim."):
            yield one
            yield from _subclasses(one)


def _any_kind(family: Kinds[Any], base: dict[str, Any]) -> dict[str, Any]:
    """Return the JSON Schema for a value of any kind of a family, including users' kinds."""
    of_code = {"pattern": f"^{CODE.pattern}$"}
    names = family.offered()
    one_of = {"anyOf": [of_code, {"enum": names}]} if names else of_code
    about = base["properties"].get("kind", {}).get("description", "")
    own = {
        "title": f"A kind of {family.what} of your own",
        "description": "Named as file.py:Name or package.module:Name, with the fields that it takes.",
        "type": "object",
        "properties": base["properties"] | {"kind": {"type": "string", "description": about, **one_of}},
        "required": ["kind"],
    }
    return {"anyOf": [*({"$ref": f"#/$defs/{one.__name__}"} for one in family.known.values()), own]}
