"""The rules of the design that a machine can check: rooms, purity, privacy, sizes."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "colonysim"
FILES = sorted(PACKAGE.rglob("*.py"))

ROOMS = (
    "core", "wire", "statistics", "chance", "kernel", "invariants", "evidence", "faults", "stdlib", "programs", "simulation", "reports",
    "http", "web", "sdk", "capacity", "traces", "workloads", "scenarios", "experiments", "conformance", "pytest_plugin", "cli",
)  # fmt: skip
"""The rooms of the package from the bottom up: each may import itself and those before it."""
MAY_IMPORT = {
    room: {*ROOMS[: number + 1], "facade", "extras", *(() if room in ("core", "wire") else ("extensions",))}
    for number, room in enumerate(ROOMS)
} | {
    "extensions": {"core", "extras"},
    "extras": set(),
    "facade": set(),
    "hypothesis": {"core", "extras", "faults", "simulation"},
    "__init__": {"facade"},
    "__main__": {"cli", "extras"},
}
IMPURE = {
    "asyncio", "concurrent", "logging", "multiprocessing", "os", "pathlib", "random", "secrets", "selectors",
    "signal", "socket", "subprocess", "sys", "tempfile", "threading", "time", "urllib", "uuid",
}  # fmt: skip
IMPURE_CALLS = {"id", "hash", "open", "print", "input", "now", "today", "utcnow"}
LARGEST_ROOM = 3500
"""Lines of a room, `core` apart: what one person can keep in mind."""
PURE = ("core", "wire")
MOST_FLOORS = {"core": 14}
"""The longest chain of imports inside a room. A ratchet: lower it when the chain gets shorter."""
MOST_FLOORS_ELSEWHERE = 9
MAX_FUNCTION_LINES = 60
MOST_METHODS = 37
"""Of a class. A ratchet: lower it when the largest class shrinks."""
LONGEST_FILES = 487
"""Lines. A ratchet, no limit to design for: raise it for a good reason, lower it when the longest file shrinks."""
LONGEST_TEST_FILE = 600
OUTSIDE_PRIVATE = {
    "_transports",
    "_popen",
    "_sock",
    "_log_destroy_pending",
    "_closing",
    "_current_frames",
    "_getframe",
    "_exit",
    "_replace",
    "_content",
    "_inst",
}
"""Private names of other packages that have no public equal: of sys, os, namedtuple, requests, random, asyncio and
multiprocessing."""


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
def test_functions_fit_on_a_screen(path: Path) -> None:
    for node in ast.walk(_tree(path)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            lines = (node.end_lineno or node.lineno) - node.lineno + 1
            assert lines <= MAX_FUNCTION_LINES, f"{_name(path)}:{node.lineno} {node.name} has {lines} lines"


def test_files_do_not_grow_without_notice() -> None:
    longest = max(FILES, key=lambda path: path.read_text().count("\n"))
    lines = longest.read_text().count("\n")
    assert lines <= LONGEST_FILES, f"{_name(longest)} has {lines} lines: see LONGEST_FILES"


@pytest.mark.parametrize("room", [room for room in ROOMS if room != "core"])
def test_a_room_stays_small_enough_to_keep_in_mind(room: str) -> None:
    assert sum(path.read_text().count("\n") for path in FILES if _part(path) == room) <= LARGEST_ROOM


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_has_few_floors(room: str) -> None:
    """To understand a file, a reader follows its imports within the room down to the lowest one."""
    graph = {path: _own_modules(path) for path in FILES if _part(path) == room and path.name != "__init__.py"}

    def chain(path: Path) -> list[str]:
        below = [chain(target) for target in graph[path] if target in graph]
        return [_name(path), *max(below, key=len, default=[])]

    longest = max((chain(path) for path in graph), key=len)
    assert len(longest) <= MOST_FLOORS.get(room, MOST_FLOORS_ELSEWHERE), " → ".join(longest)


@pytest.mark.parametrize("path", sorted(Path(__file__).parent.rglob("*.py")), ids=lambda path: path.stem)
def test_test_files_can_be_read_in_one_go(path: Path) -> None:
    assert path.read_text().count("\n") <= LONGEST_TEST_FILE


def _classes() -> Iterator[tuple[Path, ast.ClassDef]]:
    for path in FILES:
        yield from ((path, node) for node in ast.walk(_tree(path)) if isinstance(node, ast.ClassDef))


def test_no_two_classes_share_a_name() -> None:
    places: dict[str, list[str]] = {}
    for path, node in _classes():
        places.setdefault(node.name, []).append(f"{_name(path)}:{node.lineno}")
    assert {name: where for name, where in places.items() if len(where) > 1} == {}


def test_classes_do_not_gather_methods_without_notice() -> None:
    counts = {
        f"{_name(path)}: {node.name}": sum(
            isinstance(item, (ast.FunctionDef, ast.AsyncFunctionDef)) for item in node.body
        )
        for path, node in _classes()
    }
    largest = max(counts, key=lambda name: counts[name])
    assert counts[largest] <= MOST_METHODS, f"{largest} has {counts[largest]} methods: see MOST_METHODS"


@pytest.mark.parametrize("path", FILES, ids=_name)
def test_private_names_stay_in_their_module(path: Path) -> None:
    """What begins with an underscore is used where it is defined, or through self."""
    tree = _tree(path)
    own = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute) and _is_self(node.value)}
    own |= {
        node.name for node in ast.walk(tree) if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef))
    }
    own |= {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and not _is_self(node.value) and _is_private(node.attr):
            assert node.attr in own | OUTSIDE_PRIVATE, f"{_name(path)}:{node.lineno} uses {ast.unparse(node)}"
        if isinstance(node, ast.Call) and ast.unparse(node.func) in ("getattr", "setattr", "hasattr", "delattr"):
            name = getattr(node.args[1], "value", "")
            if isinstance(name, str) and _is_private(name) and not _is_self(node.args[0]):
                assert name in OUTSIDE_PRIVATE, f"{_name(path)}:{node.lineno} uses {ast.unparse(node)}"
        if isinstance(node, ast.ImportFrom):
            private = [alias.name for alias in node.names if _is_private(alias.name)]
            assert private == [], f"{_name(path)}:{node.lineno} imports {private}"


def _is_self(node: ast.expr) -> bool:
    return isinstance(node, ast.Name) and node.id in ("self", "cls")


def _is_private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__")


@pytest.mark.parametrize("room", ROOMS)
def test_each_room_says_what_it_is_for(room: str) -> None:
    purpose = (ast.get_docstring(_tree(PACKAGE / room / "__init__.py")) or "").partition("\n")[0]
    assert purpose.endswith("."), f"{room}/__init__.py needs a first line that says what the room is for"


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
    """A process's state is written in one file, a graph's in one other; copies may be changed anywhere.

    `usual.py` does what these files do, without their calls, and tests/core/test_usual.py compares both.
    """
    for path in PACKAGE.rglob("core/**/*.py"):
        if path.name in ("transitions.py", "graphs.py", "registration.py", "usual.py"):
            continue
        tree = _tree(path)
        copies = {
            target.id
            for node in ast.walk(tree)
            if isinstance(node, ast.Assign)
            and any(made in ast.unparse(node.value) for made in (".copy()", ".stable_copy()"))
            for target in node.targets
            if isinstance(target, ast.Name)
        }
        for node in ast.walk(tree):
            for target in node.targets if isinstance(node, ast.Assign) else ():
                if isinstance(target, ast.Attribute) and target.attr in ("state", "is_assigned"):
                    assert ast.unparse(target.value) in copies, (
                        f"{_name(path)}:{node.lineno} writes {ast.unparse(target)}"
                    )


def test_nothing_is_left_for_later() -> None:
    marks = ("TO" + "DO", "FIX" + "ME", "XX" + "X", "NotImplemented" + "Error")
    for path in (*FILES, *(PACKAGE.parent / "tests").rglob("*.py")):
        for mark in marks:
            assert mark not in path.read_text(), f"{path.name} has {mark}"
