"""Scenario files: YAML, read with errors that name the file, the line, the path in it, and what would do."""

from __future__ import annotations

import codecs
import difflib
import inspect
import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, TypeVar

import msgspec

from colonysim.extras import needed_for
from colonysim.scenarios import yaml12
from colonysim.scenarios.yaml12 import BadYaml

with needed_for("a scenario"):
    from yaml.nodes import MappingNode, SequenceNode

_AT: Final = re.compile(r" - at `(?:key in )?\$(.*)`\Z", re.DOTALL)
_STEP: Final = re.compile(r"\.([^.\[]+)|\[(\d+|\.\.\.)\]")
_UNKNOWN: Final = re.compile(r"Object contains unknown field `(.*)`")
_MISSING: Final = re.compile(r"Object missing required field `(.*)`")
_NO_KIND: Final = re.compile(r"Invalid value '(.*)'")
_PLACE: Final = re.compile(r"[0-9]{1,9}")
_CLOCK: Final = re.compile(r"[0-9]+(:[0-9]+)+(\.[0-9]*)?")
_NUMBER: Final = re.compile(r"[-+]?[0-9]+(\.[0-9]*)?(e[-+]?[0-9]+)?")
_WORDS: Final = {"yes": "true", "on": "true", "y": "true", "true": "true"} | {
    "no": "false", "off": "false", "n": "false", "false": "false",
}  # fmt: skip
_LONGEST_SHOWN: Final = 200

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
    return read(kind, _text(path), str(path), overrides, str(path.parent))


def _text(path: Path) -> str:
    """The text of a file. Errors: BadScenario."""
    try:
        with path.open("rb") as stream:
            data = stream.read(yaml12.MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        raise BadScenario(str(path), "", f"cannot be read: {getattr(error, 'strerror', None) or error}") from None
    if len(data) > yaml12.MAX_BYTES:
        raise BadScenario(str(path), "", f"it has more than {yaml12.MAX_BYTES:,} bytes; is it a scenario?")
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise BadScenario(f"{path}:1", "", "it is UTF-16; save it as UTF-8")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = 1 + data.count(b"\n", 0, error.start)
        text = f"cannot be read: byte 0x{data[error.start]:02x} is not UTF-8; save it as UTF-8"
        raise BadScenario(f"{path}:{line}", "", text) from None


def read(kind: type[T], text: str, name: str = "scenario", overrides: tuple[str, ...] = (), folder: str = "") -> T:
    """Read a scenario from YAML text. Errors: BadScenario."""
    try:
        data, root = yaml12.read(text)
    except BadYaml as error:
        raise BadScenario(f"{name}:{error.line}" if error.line else name, "", error.text) from None
    if not isinstance(data, dict):
        what = "it is empty; " if data is None else ""
        raise BadScenario(name, "", f"{what}a scenario is a mapping that begins with `version: 1`")
    if "version" not in data:
        raise BadScenario(f"{name}:1", "version", "is missing; write `version: 1`")
    for override in overrides:
        _set(data, override)
    data.setdefault("folder", folder)
    for path, wrong in _unusable(data, ()):
        line = _line(root, path)
        raise BadScenario(f"{name}:{line}" if line else name, ".".join(map(str, path)), wrong)
    return _convert(kind, data, name, root)


def located(error: BadScenario, path: Path) -> BadScenario:
    """The error of a scenario that was read from this file, with the line that its path leads to."""
    if error.place:
        return error
    line = None
    try:
        line = _line(yaml12.read(_text(path)).root, _steps(error.path))
    except ValueError:  # it has been changed since
        pass
    return BadScenario(f"{path}:{line}" if line else str(path), error.path, error.text)


def _steps(path: str) -> Path_:
    """The steps of a path as it is written in messages and on the command line."""
    return tuple(int(step) if _PLACE.fullmatch(step) else step for step in path.split(".") if step)


def _unusable(data: Any, path: Path_) -> Iterator[tuple[Path_, str]]:
    """Where values stand that YAML can write and no server can keep: the path, and what is wrong."""
    if isinstance(data, float) and not math.isfinite(data):
        yield path, f"{data} is no number to reckon with: write a finite one, or leave out what has no limit"
    elif isinstance(data, int) and not -(2**63) <= data < 2**64:
        yield path, "the number has more than 64 bits: write a smaller one, or one with a point"
    elif isinstance(data, str) and "\0" in data:
        yield path, "the text holds a NUL character, which the server cannot store; take it out"
    elif isinstance(data, (dict, list)):
        for step, below in data.items() if isinstance(data, dict) else enumerate(data):
            yield from _unusable(below, (*path, step))


def _convert(kind: type[T], data: dict[str, Any], name: str, root: Any) -> T:
    while True:
        try:
            return msgspec.convert(data, kind)
        except msgspec.ValidationError as error:
            what, path = _split(str(error), data)
            if _made_whole(what, path, data):
                continue
            unknown = _UNKNOWN.match(what)
            line = _line(root, (*path, unknown[1]) if unknown else path)
            text = _fix(kind, what, path, data)
            if isinstance(error.__cause__, BadScenario):  # it knows more closely where
                path, text = (*path, *_steps(error.__cause__.path)), error.__cause__.text
                line = _line(root, path)
        raise BadScenario(f"{name}:{line}" if line else name, ".".join(map(str, path)), text)


def _made_whole(what: str, path: Path_, data: Any) -> bool:
    """Whether a float stood where an integer is wanted, as 1e3 does, and could be made one."""
    given = _at(data, path)
    if not path or not isinstance(given, float) or not given.is_integer() or "got `float`" not in what:
        return False
    _at(data, path[:-1])[path[-1]] = int(given)
    return True


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
    if found := _UNKNOWN.match(what):
        known = _fields_at(kind, path, data)
        close = difflib.get_close_matches(found[1][:_LONGEST_SHOWN], known, 1)
        hint = f"did you mean `{close[0]}`? " if close else ""
        choice = f"what can be is {', '.join(known)}" if known else "see `colonysim validate --schema`"
        return f"there is no `{_cut(found[1])}` here; {hint}{choice}"
    if found := _MISSING.match(what):
        return f"`{found[1]}` is missing"
    if (found := _NO_KIND.match(what)) and path and path[-1] == "kind":
        return f"there is no kind `{_cut(found[1])}` here; the kinds are {', '.join(_kinds_at(kind, path[:-1]))}"
    given = _at(data, path)
    if path == ("version",):
        return f"this is version {_cut(repr(given))}, and 1 is what can be read here"
    shown = "" if isinstance(given, (dict, list)) or given is None else f" (it is {_cut(repr(given))})"
    return what[:1].lower() + what[1:] + shown + instead(what, given)


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST_SHOWN else text[:_LONGEST_SHOWN] + "…"


def instead(what: str, given: Any) -> str:
    """What to write in place of a value that is of the wrong type, where that can be told; `what` says which it is."""
    wanted = what.partition(", got")[0]
    if isinstance(given, str):
        word = given.strip().lower()
        if "`bool" in wanted and word in _WORDS:
            return f"; write {_WORDS[word]}"
        if "`int" in wanted or "`float" in wanted or "float |" in wanted:
            if _CLOCK.fullmatch(word):
                return "; write a number of seconds: 90 for a minute and a half"
            plain = word.replace("_", "").replace(",", "")
            return f"; write it as a number: {_cut(plain) if _NUMBER.fullmatch(plain) else 10}"
    elif "`str" in wanted and isinstance(given, (bool, int, float)):
        return f"; write it in quotation marks: '{_cut(str(given))}'"
    return ""


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
    """Set one value by its path: `executors.0.count=50`. Errors: BadScenario."""
    path, equals, text = override.partition("=")
    steps = _steps(path.strip())
    override = _cut(override)
    if not equals or not steps:
        raise BadScenario(f"--set {override}", "", "write PATH=VALUE, such as --set executors.0.count=50")
    if len(steps) > yaml12.MAX_DEPTH:
        raise BadScenario(f"--set {override}", "", f"the path has more than {yaml12.MAX_DEPTH} steps")
    try:
        value = yaml12.read(text).data
    except BadYaml as error:
        raise BadScenario(f"--set {override}", "", f"the value {error.text}") from None
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
