"""What users and other rooms see of the registry: all kinds, and faults as data.

`KINDS` has what the family modules register. From it derive the schema of scenario files, what Python, files and the
control API accept, and the strategies of `colonysim.hypothesis`. For users' own kinds see own.py.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, TypeAlias

import msgspec
from msgspec.structs import replace

from colonysim.core.values import BadValue, read_value
from colonysim.faults import actors, hazards, messages, server
from colonysim.faults.fault import FAULTS, Fault, check_kind
from colonysim.faults.triggers import BadFault

FAMILIES: Final = tuple(module.__name__ for module in (messages, actors, server, hazards))
"""The modules that define faults. Importing them registers their kinds, which are listed in this order."""
FAULTS.in_order_of(FAMILIES)

KINDS: Final[Mapping[str, type[Fault]]] = FAULTS.known
"""The kinds of faults that come with colonysim, by the names that files give them."""

AnyFault: TypeAlias = Fault
"""A fault of any kind, a user's own included."""


def named(faults: Iterable[AnyFault], taken: Iterable[str] = ()) -> tuple[AnyFault, ...]:
    """Return the faults, each with a name of its own; those without one are called by their kind.

    Errors: BadValue where a name is given twice, or is among those `taken`, and for a fault that could do nothing.
    """
    names = dict.fromkeys(taken)
    result = []
    for fault in faults:
        check_kind(fault)
        name = fault.name
        if not name:
            kind = fault.kind
            numbers = (kind if n == 1 else f"{kind}-{n}" for n in range(1, 1_000_000))
            name = next(candidate for candidate in numbers if candidate not in names)
            fault = replace(fault, name=name)
        elif name in names:
            raise fault.refused("name", "a fault of that name exists already; give this one another name")
        names[name] = None
        result.append(fault)
    return tuple(result)


def read_faults(data: Sequence[Any] | Any) -> tuple[AnyFault, ...]:
    """Read faults from plain data, as JSON and YAML give it: one or a list. Errors: BadValue with path and fix.

    Data are mappings with a `kind`; faults that are made already are returned as they are.
    """
    listed = data if isinstance(data, (list, tuple)) else [data]
    return tuple(_read(one, place) for place, one in enumerate(listed))


def _read(data: Any, place: int) -> AnyFault:
    try:
        fault: AnyFault = read_value(AnyFault, data)
        return fault
    except BadValue as error:
        name = data.get("name") if isinstance(data, dict) else None
        raise BadValue(f"fault {name or place!r}: {error}", error.path) from None


def as_data(fault: AnyFault) -> dict[str, Any]:
    """Return a fault as plain data that `read_faults` reads again."""
    return {**msgspec.to_builtins(fault), "kind": FAULTS.name_of(fault)}


def check_loaded(data: Any) -> None:
    """Refuse what a request over HTTP must not do: load code, for kinds, or read files of values. Errors: BadFault."""
    if _names_file(data):
        raise BadFault("files of values are never read over HTTP: give the values themselves, as values_s")
    for one in data if isinstance(data, (list, tuple)) else [data]:
        kind = one.get("kind") if isinstance(one, dict) else None
        if isinstance(kind, str) and not FAULTS.is_loaded(kind):
            raise BadFault(
                f"kind {kind!r} is not loaded, and code is never loaded over HTTP: import its module in the server's "
                f"process, or offer it as an entry point in the group {FAULTS.group}"
            )


def _names_file(data: Any) -> bool:
    """Return whether plain data have a distribution whose values are in a file."""
    if isinstance(data, dict):
        is_file = data.get("kind") == "empirical" and "file" in data
        return is_file or any(_names_file(one) for one in data.values())
    return isinstance(data, (list, tuple)) and any(_names_file(one) for one in data)


def schema_of_kinds() -> dict[str, Any]:
    """Return the JSON Schema of each kind whose code this process has loaded, by the kinds' names, for forms."""
    kinds = {name: kind for name, kind in FAULTS.known.items() if FAULTS.is_loaded(name)}
    _, definitions = msgspec.json.schema_components(list(kinds.values()), ref_template="#/$defs/{name}")
    for definition in definitions.values():
        if "description" in definition:
            definition["description"] = inspect.cleandoc(definition["description"])
    return {"kinds": {name: definitions[kind.__name__] for name, kind in kinds.items()}, "$defs": definitions}
