"""The rules of the design that a machine can check: layers, banned names, sizes."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "colonysim"
FILES = sorted(PACKAGE.rglob("*.py"))

ROOMS = (
    "core", "wire", "kernel", "evidence", "faults", "programs", "simulation", "web", "sdk", "scenarios", "experiments",
    "conformance", "pytest_plugin", "cli",
)  # fmt: skip
"""The rooms of the package from the bottom up: each may import itself and those before it."""
MAY_IMPORT = {room: {*ROOMS[: number + 1], "facade"} for number, room in enumerate(ROOMS)} | {
    "facade": set(),
    "hypothesis": {"core", "faults", "simulation"},
    "__init__": {"facade"},
    "__main__": {"cli"},
}
IMPURE = {
    "asyncio", "concurrent", "logging", "multiprocessing", "os", "pathlib", "random", "secrets", "selectors",
    "signal", "socket", "subprocess", "sys", "tempfile", "threading", "time", "urllib", "uuid",
}  # fmt: skip
IMPURE_CALLS = {"id", "hash", "open", "print", "input", "now", "today", "utcnow"}
PURE = ("core", "wire")
MAX_FUNCTION_LINES = 60
MAX_FILE_LINES = 500


def _part(path: Path) -> str:
    relative = path.relative_to(PACKAGE)
    return relative.parts[0].removesuffix(".py")


def _name(path: Path) -> str:
    return path.relative_to(PACKAGE).as_posix()


def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


def _imports(path: Path) -> Iterator[str]:
    """The dotted names of all modules a file imports, wherever in it."""
    for node in ast.walk(_tree(path)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            if node.module != "colonysim":
                yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _own_modules(path: Path) -> set[Path]:
    """The files of the package that a file imports."""
    found = set()
    for name in _imports(path):
        parts = name.split(".")
        if parts[0] != "colonysim":
            continue
        module = PACKAGE.joinpath(*parts[1:])
        for candidate in (module.with_suffix(".py"), module / "__init__.py"):
            if candidate.exists() and candidate != path:
                found.add(candidate)
    return found


@pytest.mark.parametrize("path", FILES, ids=_name)
def test_imports_point_down(path: Path) -> None:
    allowed = MAY_IMPORT[_part(path)]
    for target in _own_modules(path):
        if target.name == "__init__.py" and target.parent == PACKAGE:
            assert ROOMS.index(_part(path)) > ROOMS.index("simulation"), f"{_name(path)} imports the public package"
        else:
            assert _part(target) in allowed, f"{_name(path)} imports {_name(target)}"


@pytest.mark.parametrize("path", [path for path in FILES if path.parent.name == "operations"], ids=_name)
def test_operations_do_not_import_each_other(path: Path) -> None:
    if path.name == "__init__.py":
        return
    others = [target for target in _own_modules(path) if target.parent.name == "operations"]
    assert others == []


@pytest.mark.parametrize("path", [path for path in FILES if _part(path) in PURE], ids=_name)
def test_the_pure_part_imports_nothing_impure(path: Path) -> None:
    roots = {name.split(".")[0] for name in _imports(path)}
    assert roots & IMPURE == set()


@pytest.mark.parametrize("path", [path for path in FILES if _part(path) in PURE], ids=_name)
def test_the_pure_part_calls_nothing_that_differs_from_run_to_run(path: Path) -> None:
    for node in ast.walk(_tree(path)):
        if isinstance(node, ast.Call):
            called = node.func
            name = (
                called.id if isinstance(called, ast.Name) else called.attr if isinstance(called, ast.Attribute) else ""
            )
            bare = isinstance(called, ast.Name) or name in ("now", "today", "utcnow")
            assert not (bare and name in IMPURE_CALLS), f"{_name(path)}:{node.lineno} calls {name}()"


def test_there_are_no_import_cycles() -> None:
    graph = {path: _own_modules(path) for path in FILES if path.name != "__init__.py"}
    done: set[Path] = set()

    def visit(path: Path, trail: tuple[Path, ...]) -> None:
        assert path not in trail, " → ".join(_name(step) for step in (*trail, path))
        if path in done or path not in graph:
            return
        for target in sorted(graph[path]):
            visit(target, (*trail, path))
        done.add(path)

    for path in sorted(graph):
        visit(path, ())


@pytest.mark.parametrize("path", FILES, ids=_name)
def test_files_and_functions_fit_on_a_screen(path: Path) -> None:
    text = path.read_text()
    assert text.count("\n") <= MAX_FILE_LINES, f"{_name(path)} has {text.count(chr(10))} lines"
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            lines = (node.end_lineno or node.lineno) - node.lineno + 1
            assert lines <= MAX_FUNCTION_LINES, f"{_name(path)}:{node.lineno} {node.name} has {lines} lines"


@pytest.mark.parametrize("path", FILES, ids=_name)
def test_every_module_and_public_class_says_what_it_is(path: Path) -> None:
    tree = _tree(path)
    if path.read_text().strip() == "":
        return
    assert ast.get_docstring(tree), f"{_name(path)} has no docstring"
    if _part(path) == "core" and "operations" in path.parts:
        return  # messages are named by their wire name, on the decorator right below
    for node in tree.body:
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_") and path.name not in ("specs.py",):
            assert ast.get_docstring(node) or _is_plain_data(node), f"{_name(path)}: class {node.name}"


def _is_plain_data(node: ast.ClassDef) -> bool:
    return all(isinstance(item, (ast.AnnAssign, ast.Pass)) for item in node.body)


def test_state_changes_only_in_transitions() -> None:
    """A process's state is written in one file, a graph's in one other."""
    for path in PACKAGE.rglob("core/**/*.py"):
        if path.name in ("transitions.py", "graphs.py", "registration.py"):
            continue
        for node in ast.walk(_tree(path)):
            if isinstance(node, ast.Assign):
                for target in node.targets:
                    written = isinstance(target, ast.Attribute) and target.attr in ("state", "is_assigned")
                    pictured = isinstance(target, ast.Attribute) and ast.unparse(target.value) == "stale"
                    assert not written or pictured, f"{_name(path)}:{node.lineno} writes {ast.unparse(target)}"


def test_nothing_is_left_for_later() -> None:
    marks = ("TO" + "DO", "FIX" + "ME", "XX" + "X", "NotImplemented" + "Error")
    for path in (*FILES, *(PACKAGE.parent / "tests").rglob("*.py")):
        for mark in marks:
            assert mark not in path.read_text(), f"{path.name} has {mark}"
