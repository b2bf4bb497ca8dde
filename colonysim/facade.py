"""Public packages whose names are listed once, in the package's stub, and imported when they are first used.

A public package such as `colonysim` has two files: `__init__.pyi` re-exports each public name on a line of its own,
for people, editors and type checkers, and `__init__.py` calls `lazy_names`. Importing it costs next to nothing.
"""

from __future__ import annotations

import sys
from importlib import import_module

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any


def lazy_names(package: str, init_file: str) -> tuple[Callable[[str], Any], Callable[[], list[str]], list[str]]:
    """Return `__getattr__`, `__dir__` and `__all__` for a package, from the lines of its stub.

    Only lines `from module import name as name` count. Raises FileNotFoundError if the stub is missing.
    """
    homes = {}
    with open(init_file + "i", encoding="utf-8") as stub:
        for line in stub:
            if line.startswith("from "):
                _, module, _, name, *_ = line.split()
                homes[name] = module
    names = sorted(homes)

    def get(name: str) -> Any:
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        module = homes[name]
        home = import_module(module)
        if module == package or not hasattr(home, name):
            return import_module(f"{module}.{name}")  # a package or module, public as a whole
        value = getattr(home, name)
        setattr(sys.modules[package], name, value)
        return value

    return get, lambda: sorted({*names, *vars(sys.modules[package])}), names
