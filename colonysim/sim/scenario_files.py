"""Scenario files: YAML, read with errors that name the file, the line, the path in it, and what would do."""

from __future__ import annotations

import difflib
import inspect
import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, TypeVar

import msgspec
import yaml

_AT: Final = re.compile(r" - at `(?:key in )?\$(.*)`\Z", re.DOTALL)
_STEP: Final = re.compile(r"\.([^.\[]+)|\[(\d+|\.\.\.)\]")
_UNKNOWN: Final = re.compile(r"Object contains unknown field `(.*)`")
_MISSING: Final = re.compile(r"Object missing required field `(.*)`")
_NO_KIND: Final = re.compile(r"Invalid value '(.*)'")

T = TypeVar("T", bound=msgspec.Struct)
Path_ = tuple[str | int, ...]


class BadScenario(ValueError):
    """A scenario that cannot be run: file, line and path in it, what is wrong, and what would do."""

    def __init__(self, place: str, path: str, text: str) -> None:
        super().__init__(": ".join(part for part in (place, path, text) if part))
        self.place = place
        self.path = path
        self.text = text

    def __reduce__(self) -> tuple[type[BadScenario], tuple[str, str, str]]:
        return BadScenario, (self.place, self.path, self.text)


def load(kind: type[T], path: Path, overrides: tuple[str, ...] = ()) -> T:
    """Read a scenario, which is a struct of this kind, from a file. Errors: BadScenario."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise BadScenario(str(path), "", f"cannot be read: {getattr(error, 'strerror', None) or error}") from None
    return read(kind, text, str(path), overrides, str(path.parent))


def read(kind: type[T], text: str, name: str = "scenario", overrides: tuple[str, ...] = (), folder: str = "") -> T:
    """Read a scenario from YAML text. Errors: BadScenario."""
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
        data = yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f"{name}:{mark.line + 1}" if mark else name
        raise BadScenario(place, "", f"is no YAML: {getattr(error, 'problem', None) or error}") from None
    if not isinstance(data, dict):
        raise BadScenario(name, "", "a scenario is a mapping that begins with `version: 1`")
    if "version" not in data:
        raise BadScenario(f"{name}:1", "version", "is missing; write `version: 1`")
    for override in overrides:
        _set(data, override)
    data.setdefault("folder", folder)
    for path, number in _endless(data, ()):
        line = _line(root, path)
        text = f"{number} is no number to reckon with: write a finite one, or leave out what has no limit"
        raise BadScenario(f"{name}:{line}" if line else name, ".".join(map(str, path)), text)
    return _convert(kind, data, name, root)


def _endless(data: Any, path: Path_) -> Iterator[tuple[Path_, float]]:
    """Where numbers stand that are infinite, or none at all: YAML can write them."""
    if isinstance(data, float) and not math.isfinite(data):
        yield path, data
    elif isinstance(data, (dict, list)):
        for step, below in data.items() if isinstance(data, dict) else enumerate(data):
            yield from _endless(below, (*path, step))


def _convert(kind: type[T], data: dict[str, Any], name: str, root: Any) -> T:
    try:
        return msgspec.convert(data, kind)
    except msgspec.ValidationError as error:
        what, path = _split(str(error), data)
        unknown = _UNKNOWN.search(what)
        line = _line(root, (*path, unknown[1]) if unknown else path)
        text = _fix(kind, what, path, data)
    raise BadScenario(f"{name}:{line}" if line else name, ".".join(map(str, path)), text)


def _split(text: str, data: Any) -> tuple[str, Path_]:
    """What is wrong, and the path to it. Where msgspec leaves a key out as `[...]`, it is not known."""
    found = _AT.search(text)
    if found is None:
        return text, ()
    steps: list[str | int] = []
    for name, place in _STEP.findall(found[1]):
        if place == "...":
            break
        steps.append(name or int(place))
    return text[: found.start()], tuple(steps)


def _fix(kind: type, what: str, path: Path_, data: Any) -> str:
    """The text of an error, with what would do where that can be told."""
    if found := _UNKNOWN.search(what):
        known = _fields_at(kind, path, data)
        close = difflib.get_close_matches(found[1], known, 1)
        hint = f"did you mean `{close[0]}`? " if close else ""
        choice = f"what can be is {', '.join(known)}" if known else "see `colonysim validate --schema`"
        return f"there is no `{found[1]}` here; {hint}{choice}"
    if found := _MISSING.search(what):
        return f"`{found[1]}` is missing"
    if (found := _NO_KIND.search(what)) and path and path[-1] == "kind":
        return f"there is no kind `{found[1]}` here; the kinds are {', '.join(_kinds_at(kind, path[:-1]))}"
    given = _at(data, path)
    if path == ("version",):
        return f"this is version {given!r}, and 1 is what can be read here"
    shown = "" if isinstance(given, (dict, list)) or given is None else f" (it is {given!r})"
    return what[:1].lower() + what[1:] + shown


def _at(data: Any, path: Path_) -> Any:
    for step in path:
        try:
            data = data[step]
        except (KeyError, IndexError, TypeError):
            return None
    return data


# ---------------------------------------------------------------- what stands where
def _types_at(kind: type, path: Path_) -> list[msgspec.inspect.StructType]:
    """The structs that may stand at a path."""
    types: list[Any] = [msgspec.inspect.type_info(kind)]
    for step in path:
        types = [below for one in types for below in _below(one, step)]
    return [one for one in _flat(types) if isinstance(one, msgspec.inspect.StructType)]


def _flat(types: list[Any]) -> list[Any]:
    flat: list[Any] = []
    for one in types:
        if isinstance(one, msgspec.inspect.UnionType):
            flat += _flat(list(one.types))
        elif isinstance(one, msgspec.inspect.Metadata):
            flat += _flat([one.type])
        else:
            flat.append(one)
    return flat


def _below(one: Any, step: str | int) -> list[Any]:
    found: list[Any] = []
    for flat in _flat([one]):
        if isinstance(flat, msgspec.inspect.StructType):
            found += [field.type for field in flat.fields if field.encode_name == step]
        elif isinstance(flat, (msgspec.inspect.VarTupleType, msgspec.inspect.ListType)):
            found.append(flat.item_type)
        elif isinstance(flat, msgspec.inspect.DictType):
            found.append(flat.value_type)
    return found


def _fields_at(kind: type, path: Path_, data: Any) -> list[str]:
    types = _types_at(kind, path)
    given = _at(data, path)
    tag = given.get("kind") if isinstance(given, dict) else None
    fitting = [one for one in types if one.tag in (None, tag)] or types
    names = dict.fromkeys(field.encode_name for one in fitting for field in one.fields)
    return [name for name in names if name != "folder"]


def _kinds_at(kind: type, path: Path_) -> list[str]:
    return [str(one.tag) for one in _types_at(kind, path) if one.tag is not None]


def _line(node: Any, path: Path_) -> int | None:
    """The line of a path in the file, or of the last part of it that is there."""
    line: int | None = None
    for step in path:
        below = None
        if isinstance(node, yaml.MappingNode):
            for key, value in node.value:
                if key.value == str(step):
                    below, line = value, key.start_mark.line + 1
        elif isinstance(node, yaml.SequenceNode) and isinstance(step, int) and step < len(node.value):
            below = node.value[step]
            line = below.start_mark.line + 1
        if below is None:
            return line
        node = below
    return line


# ---------------------------------------------------------------- overriding
def _set(data: dict[str, Any], override: str) -> None:
    """Set one value by its path: `executors.0.count=50`. Errors: BadScenario."""
    path, equals, text = override.partition("=")
    steps: Path_ = tuple(int(step) if step.isdigit() else step for step in path.strip().split("."))
    if not equals or not path.strip():
        raise BadScenario(f"--set {override}", "", "write PATH=VALUE, such as --set executors.0.count=50")
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError:
        raise BadScenario(f"--set {override}", "", "the value is no YAML") from None
    here: Any = data
    for place, step in enumerate(steps):
        last = place == len(steps) - 1
        if isinstance(here, list):
            if not isinstance(step, int) or step >= len(here):
                where = ".".join(map(str, steps[:place]))
                raise BadScenario(f"--set {override}", "", f"{where} has entries 0 to {len(here) - 1}, not {step}")
        elif not isinstance(here, dict):
            where = ".".join(map(str, steps[:place]))
            raise BadScenario(f"--set {override}", "", f"{where} has no parts that could be set")
        elif not last:
            step = str(step)
            here.setdefault(step, {})
        if last:
            here[step if isinstance(here, list) else str(step)] = value
        else:
            here = here[step]


def schema(kind: type) -> dict[str, Any]:
    """The JSON Schema of scenario files."""
    made = msgspec.json.schema(kind)
    made = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "colonysim scenario", **made}
    properties = made["$defs"][kind.__name__]
    del properties["properties"]["folder"]
    properties["required"] = ["version"]
    for definition in made["$defs"].values():
        if "description" in definition:
            definition["description"] = inspect.cleandoc(definition["description"])
    return made
