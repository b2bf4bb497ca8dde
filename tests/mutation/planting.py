"""Put a mutant into a process: into the functions that are there, or into a module before it is imported."""

from __future__ import annotations

import ast
import gc
import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder, SourceLoader
from importlib.machinery import ModuleSpec
from importlib.util import spec_from_file_location
from types import CodeType, FunctionType, ModuleType

from tests.mutation.mutants import Mutant, Source

Place = tuple[str, int]


class Functions:
    """The living functions of one module, and their code as it is in the source."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.original = _codes(compile(source.tree, str(source.path), "exec"))
        self.living: dict[Place, list[FunctionType]] = {}
        for thing in gc.get_objects():
            if isinstance(thing, FunctionType) and thing.__code__.co_filename == str(source.path):
                code = thing.__code__
                self.living.setdefault((code.co_qualname, code.co_firstlineno), []).append(thing)

    def plant(self, mutant: Mutant) -> bool:
        """Give every function that the mutant changes its new code; False where it has to be imported anew."""
        if mutant.static:
            return False
        mutant.edit.apply()
        changed = False
        for place, code in _codes(compile(self.source.tree, str(self.source.path), "exec")).items():
            if code == self.original.get(place):
                continue
            for function in self.living.get(place, ()):
                try:
                    function.__code__ = code
                except ValueError:  # it has another number of free variables
                    return False
                changed = True
        return changed


def _codes(code: CodeType) -> dict[Place, CodeType]:
    """The code objects inside another one, by qualified name and first line."""
    found: dict[Place, CodeType] = {}
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            found[constant.co_qualname, constant.co_firstlineno] = constant
            found.update(_codes(constant))
    return found


class MutatedImport(MetaPathFinder, SourceLoader):
    """Imports one module of the core with a mutant in it. Install it before anything of the package is imported."""

    def __init__(self, source: Source, mutant: Mutant) -> None:
        self.source = source
        self.name = f"colonysim.core.{source.module}"
        mutant.edit.apply()

    def install(self) -> None:
        assert self.name not in sys.modules, f"{self.name} has been imported too early"
        sys.meta_path.insert(0, self)

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        if name != self.name:
            return None
        return spec_from_file_location(name, self.source.path, loader=self)

    def get_filename(self, fullname: str) -> str:
        return str(self.source.path)

    def get_data(self, path: str | bytes) -> bytes:
        return ast.unparse(self.source.tree).encode()
