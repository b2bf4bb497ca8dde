"""Write scenarios as YAML files, without fields that have their defaults."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Final

import msgspec
from msgspec import NODEFAULT
from msgspec.structs import fields, replace

from colonysim.extensions import reference
from colonysim.faults.fault import Fault
from colonysim.scenarios import yaml12
from colonysim.scenarios.scenario import Scenario

_AS_THEY_ARE: Final = ("args", "kwargs", "settings")
"""Fields with users' data, in which 1.0 and 1 may differ."""


def as_text(scenario: Scenario, folder: Path, comment: str = "") -> str:
    """Return the text of a scenario file for a folder; its paths are relative to that folder."""
    head = "".join(f"# {line}".rstrip() + "\n" for line in comment.splitlines())
    data = as_data(rebased(scenario, folder))
    return head + yaml12.write(data)


def as_data(scenario: Scenario) -> dict[str, Any]:
    """Return a scenario as plain data, without its folder."""
    data = _plain(replace(scenario, folder=""), str(scenario.base()))
    return {"version": scenario.version, **data}


def _plain(value: Any, folder: str) -> Any:
    if isinstance(value, msgspec.Struct):
        return _fields(value, folder)
    if isinstance(value, (list, tuple)):
        return [_plain(one, folder) for one in value]
    if isinstance(value, dict):
        return {key: _plain(one, folder) for key, one in value.items()}
    if callable(value):
        return reference(value)
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        return int(value)
    return value


def _fields(value: msgspec.Struct, folder: str) -> dict[str, Any]:
    """Return the fields of a struct that differ from their defaults, and its kind."""
    config, registry = value.__struct_config__, getattr(type(value), "kind_registry", None)
    data: dict[str, Any] = {} if config.tag is None else {str(config.tag_field): config.tag}
    others, left_out = {}, ()
    if registry is not None:
        kind, others, left_out = registry.written(value)
        data["kind"] = os.path.relpath(kind, folder) if isinstance(value, Fault) and os.path.isabs(kind) else kind
    for field in fields(value):
        given = getattr(value, field.name)
        if field.name not in left_out and not _is_default(field, given):
            data[field.encode_name] = given if field.name in _AS_THEY_ARE else _plain(given, folder)
    return data | others


def _is_default(field: msgspec.structs.FieldInfo, given: Any) -> bool:
    if field.default is not NODEFAULT:
        return bool(given == field.default)
    return field.default_factory is not NODEFAULT and bool(given == field.default_factory())


# ---------------------------------------------------------------- files that a scenario names
def rebased(scenario: Scenario, folder: Path) -> Scenario:
    """Return the scenario for a file in another folder, with its paths relative to that folder."""
    moved: Scenario = _moved(scenario, scenario.base(), folder)
    return replace(moved, folder=str(folder))


def _renamed(file: str, base: Path, folder: Path) -> str:
    """Return a path, perhaps followed by the name of code in the file, relative to another folder."""
    if not file or Path(file).is_absolute():
        return file
    return os.path.relpath((base / file).resolve(), folder.resolve())


def _moved(value: Any, base: Path, folder: Path) -> Any:
    """Return the value with all paths in it relative to another folder."""
    if isinstance(value, msgspec.Struct):
        changed = {}
        for name in value.__struct_fields__:
            given: Any = getattr(value, name)
            new: Any = given
            if name in ("file", "code", "format") and isinstance(given, str):
                if name == "file" or ".py:" in given:
                    new = _renamed(given, base, folder)
            elif name == "settings" and ".py:" in str(given.get("policy", "")):
                new = {**given, "policy": _renamed(given["policy"], base, folder)}
            elif name == "invariants" and not isinstance(given, bool):
                new = [_renamed(one, base, folder) if ".py:" in str(one) else one for one in given]
            elif name not in _AS_THEY_ARE:
                new = _moved(given, base, folder)
            if new is not given:
                changed[name] = new
        return replace(value, **changed) if changed else value
    if isinstance(value, (tuple, list)):
        moved = [_moved(one, base, folder) for one in value]
        if all(one is other for one, other in zip(moved, value, strict=True)):
            return value
        return tuple(moved) if isinstance(value, tuple) else moved
    if isinstance(value, dict):
        named = {key: _moved(one, base, folder) for key, one in value.items()}
        return value if all(one is value[key] for key, one in named.items()) else named
    return value
