"""The public packages: documents, examples and scenarios import nothing else, and each name in them is there and explained."""

from __future__ import annotations

import ast
import re
import textwrap
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from types import FunctionType, ModuleType

import pytest

from colonysim import Simulation

ROOT = Path(__file__).parent.parent
PUBLIC = (
    "colonysim",
    "colonysim.conformance",
    "colonysim.experiments",
    "colonysim.faults",
    "colonysim.hypothesis",
    "colonysim.scenarios",
)
INSIDE = ("graphs.py", "life_cycles.py", "measure.py", "memory.py", "queues.py", "micro")
"""Benchmarks of the hot paths, which look inside on purpose."""


def _readers() -> list[Path]:
    """All that users read and copy."""
    found = [ROOT / "README.md", *(ROOT / "docs").rglob("*.md"), *(ROOT / "tests" / "examples").glob("*.py")]
    found += [*(ROOT / "scenarios").glob("*.py"), *(ROOT / "examples").rglob("*.py")]
    found += [path for path in (ROOT / "benchmarks").glob("*.py") if path.name not in INSIDE]
    return sorted(found)


def _code(path: Path) -> Iterator[str]:
    """The Python in a file: the whole of it, or the blocks of a document."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".py":
        yield text
        return
    for block in re.findall(r"^[ ]*```python\n(.*?)^[ ]*```", text, re.S | re.M):
        yield textwrap.dedent(block)


def _imported(code: str) -> Iterator[tuple[str, str]]:
    """Module and name of each import from colonysim."""
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Import):
            yield from ((alias.name, "") for alias in node.names if alias.name.split(".")[0] == "colonysim")
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "colonysim":
            yield from ((str(node.module), alias.name) for alias in node.names)


@pytest.mark.parametrize("path", _readers(), ids=lambda path: path.relative_to(ROOT).as_posix())
def test_what_users_read_imports_public_names_only(path: Path) -> None:
    for code in _code(path):
        for module, name in _imported(code):
            assert module in PUBLIC, f"imports {name} from {module}"
            assert not name or name in import_module(module).__all__ or name == "__version__", f"{module}.{name}"


def test_the_check_finds_documents_with_imports() -> None:
    """The test above must not be green because it reads nothing."""
    found = {path.name for path in _readers() for code in _code(path) for _ in _imported(code)}
    assert {"README.md", "scenarios.md", "faults.md", "explore.md", "conftest.py", "http.py"} <= found


@pytest.mark.parametrize("package", PUBLIC)
def test_each_public_name_exists_and_is_explained(package: str) -> None:
    module = import_module(package)
    assert module.__all__
    for name in module.__all__:
        value = getattr(module, name)
        if isinstance(value, (type, ModuleType, FunctionType)):
            assert value.__doc__, f"{package}.{name} has no docstring"
        assert name in dir(module)


@pytest.mark.parametrize("package", PUBLIC)
def test_a_name_that_is_not_public_is_an_attribute_error(package: str) -> None:
    with pytest.raises(AttributeError, match="Nothing"):
        _ = import_module(package).Nothing


def test_a_simulation_shows_few_names_and_documents_each() -> None:
    names = [name for name in vars(Simulation) if not name.startswith("_")]
    assert len(names) <= 30
    assert [name for name in names if not getattr(Simulation, name).__doc__] == []
