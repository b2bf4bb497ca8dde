"""Faults of users' own: loaded when a fault is made of data, and named as the data named them.

A class is named as code is, `file.py:Name` or `package.module:Name`, or by the name of the entry point in the group
`colonysim.faults` with which an installed package offers it. Unlike other kinds of users' own, those of faults are
loaded as soon as data are read, and their modules stay loaded: warnings and shrinking ask faults without a run.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from colonysim.core.values import BadValue, Value, read_value
from colonysim.extensions import BadCode, Kinds, Loader

V = TypeVar("V", bound=Value)


class LoadedKinds(Kinds[V]):
    """The kinds of a family whose values are made of users' own classes at once."""

    unloaded: Any = None

    def __init__(self, base: type[V], what: str, group: str) -> None:
        super().__init__(base, what, group)
        self.fits = self._is_own
        self._home = base.__module__.rpartition(".")[0]
        self._loaders: dict[tuple[Path, int], Loader] = {}  # by the file and the time at which it was last written
        self._modules: set[str] = set()  # names under which modules of files are kept in sys.modules
        self._classes: dict[str, type[V]] = {}  # that have been found or named, by their names
        self._names: dict[type, str] = {}

    def _is_own(self, thing: Any) -> bool:
        return isinstance(thing, type) and issubclass(thing, self.base) and not thing.__module__.startswith(self._home)

    def in_order_of(self, modules: Sequence[str]) -> None:
        """List the kinds in the order of their modules, whichever was imported first."""
        known = sorted(self.known.items(), key=lambda item: modules.index(item[1].__module__))
        self.known.clear()
        self.known.update(known)

    # ------------------------------------------------------------ from plain data
    def own(self, given: Any) -> V | None:
        """Make the value of a mapping with a user's own kind; None for anything else. Errors: BadValue."""
        kind = given.get("kind") if isinstance(given, Mapping) else None
        if not isinstance(kind, str) or kind in self.known or not (":" in kind or self.knows(kind)):
            return None
        try:
            found = self.class_of(kind)
        except BadCode as error:
            raise BadValue(str(error), ("kind",)) from error.__cause__
        made: V = read_value(found, {**given, "kind": str(found.__struct_config__.tag)})
        return made

    def class_of(self, name: str) -> type[V]:
        """Return the class of a user's own kind. Errors: BadCode.

        A relative path starts at the working directory. A file is run again only after it was written to.
        """
        place, _, attribute = name.rpartition(":")
        if not place.endswith(".py"):
            return self._classes.get(name) or self._load(name, Loader(Path()))
        path = Path(place).resolve()
        name = f"{path}:{attribute}"
        script = self._classes.get(name)
        if script is not None and script.__module__ == "__main__":
            return script  # it is not run again inside itself
        written_ns = path.stat().st_mtime_ns if path.exists() else 0
        loader = self._loaders.setdefault((path, written_ns), Loader(path.parent))
        found = self._load(name, loader, keep_as=f"{path.stem}_{len(self._loaders)}")
        self._classes[name], self._names[found] = found, name
        return found

    def _load(self, name: str, loader: Loader, keep_as: str = "") -> type[V]:
        """Load a class. A file's module is kept in sys.modules, where the types of fields are looked up later."""
        with loader.active():
            found = self.find(name, loader)
            module = sys.modules.get(found.__module__)
        if keep_as and module is not None and module.__name__ not in self._modules:
            for thing in list(vars(module).values()):
                if isinstance(thing, type) and thing.__module__ == module.__name__:
                    thing.__module__ = keep_as
            module.__name__ = keep_as
            sys.modules[keep_as] = module
            self._modules.add(keep_as)
        try:
            msgspec.json.Decoder(found)  # reads the types of all fields
        except (NameError, TypeError) as error:
            fix = "annotate fields with types that are imported when the module runs, and that JSON can hold"
            raise BadCode(f"{name}: the type of a field cannot be used: {error}; {fix}") from None
        return found

    def is_loaded(self, name: str) -> bool:
        """Return whether `class_of` finds a class without running a file or importing what no package offers."""
        return name in self._classes or ":" not in name or name.rpartition(":")[0] in sys.modules

    # ------------------------------------------------------------ to plain data
    def written(self, value: Any) -> tuple[str, dict[str, Any], tuple[str, ...]]:
        """How a value is written down: the name of its kind, and nothing besides its fields."""
        return str(value.__struct_config__.tag) if self.has(value) else self._name(type(value)), {}, ()

    def _name(self, kind: type[V]) -> str:
        """Return the name of a user's own class: found in any process, if it stands at the top of a module or file."""
        if kind not in self._names:
            place = kind.__module__
            file = getattr(sys.modules.get(place), "__file__", None)
            if place == "__main__" and file:
                place = os.path.abspath(file)
            self._names[kind] = f"{place}:{kind.__qualname__}"
            self._classes[self._names[kind]] = kind  # even if it stands within a function
        return self._names[kind]

    def is_from_file(self, kind: type) -> bool:
        """Return whether a class was loaded from a file by its path, so that it cannot be imported."""
        return kind.__module__ in self._modules
