"""From the source of a module to its mutants: small edits of the syntax tree, numbered in the order of the source."""

from __future__ import annotations

import ast
import copy
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[2]
OWN: dict[str, tuple[str, ...]] = {
    "lanes": ("test_scheduling.py", "test_queue_histories.py", "test_many_sizes.py"),
    "scheduling": ("test_scheduling.py", "test_queue_histories.py", "test_polls.py", "test_policies.py"),
    "agenda": ("test_agenda.py", "test_snapshots.py"),
    "transitions": (
        "test_transitions.py",
        "test_life_cycle.py",
        "test_release_loop.py",
        "test_executors.py",
        "test_model.py",
    ),
    "lifecycle": ("test_life_cycle.py", "test_release_loop.py", "test_polls.py", "test_model.py"),
    "graphs": ("test_life_cycle.py", "test_workflows.py", "test_graphs.py"),
    "recurring": ("test_recurring.py", "test_loops.py"),
    "registration": ("test_executors.py", "test_loops.py", "test_touched.py"),
    "retention": ("test_data.py", "test_loops.py", "test_touched.py"),
    "removal": ("test_data.py", "test_loops.py", "test_touched.py"),
    "waiters": ("test_waiters.py", "test_polls.py", "test_many_sizes.py"),
    "access": ("test_access.py", "test_access_matrix.py"),
    "channels": ("test_channels.py", "test_websocket.py"),
}
"""The modules of colonysim.core that are mutated, with the tests to be tried first."""
MODULES = tuple(OWN)

COMPARISONS: dict[type[ast.cmpop], list[type[ast.cmpop]]] = {
    ast.Lt: [ast.LtE, ast.GtE],
    ast.LtE: [ast.Lt, ast.Gt],
    ast.Gt: [ast.GtE, ast.LtE],
    ast.GtE: [ast.Gt, ast.Lt],
    ast.Eq: [ast.NotEq],
    ast.NotEq: [ast.Eq],
    ast.Is: [ast.IsNot],
    ast.IsNot: [ast.Is],
    ast.In: [ast.NotIn],
    ast.NotIn: [ast.In],
}
ARITHMETIC: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Add,
    ast.FloorDiv: ast.Mult,
    ast.Div: ast.Mult,
    ast.Mod: ast.FloorDiv,
}
NAMES = {
    "min": "max",
    "max": "min",
    "any": "all",
    "all": "any",
    "popleft": "pop",
    "bisect_left": "bisect_right",
    "bisect_right": "bisect_left",
    "nsmallest": "nlargest",
}
UNWRAPPED = ("reversed", "sorted")
NOT_CODE = ("__slots__", "__all__")


@dataclass
class Edit:
    """A node of the tree replaced by another one."""

    operator: str
    parent: ast.AST
    field_name: str
    index: int | None
    new: ast.AST

    def apply(self) -> ast.AST:
        """Put the new node in its place; returns the old one."""
        value = getattr(self.parent, self.field_name)
        if self.index is None:
            setattr(self.parent, self.field_name, self.new)
            return value  # type: ignore[no-any-return]
        old = value[self.index]
        value[self.index] = self.new
        return old  # type: ignore[no-any-return]


@dataclass
class Mutant:
    """One planted bug. `key` names it as long as its function and its line of code stay what they are.

    `static`: it is code that runs at the import of the module (a constant, a default value, a field of a class).
    """

    number: int
    module: str
    qualname: str
    lines: range
    static: bool
    key: str
    edit: Edit


@dataclass
class Place:
    """Where the walk through the tree is."""

    qualname: str = ""
    statement: ast.stmt | None = None
    in_function: bool = False
    returns_value: bool = False

    def inside(self, node: ast.FunctionDef | ast.ClassDef) -> Place:
        is_function = isinstance(node, ast.FunctionDef)
        gives = isinstance(node, ast.FunctionDef) and node.returns is not None and ast.unparse(node.returns) != "None"
        dotted = f"{self.qualname}.{node.name}" if self.qualname else node.name
        return Place(dotted, None, self.in_function or is_function, gives)


@dataclass
class Source:
    """A module, as it is and as a tree that mutants are applied to."""

    module: str
    path: Path = field(init=False)
    tree: ast.Module = field(init=False)

    def __post_init__(self) -> None:
        self.path = ROOT / "colonysim" / "core" / f"{self.module}.py"
        self.tree = ast.parse(self.path.read_text(), str(self.path))

    def mutants(self) -> list[Mutant]:
        """All of them, in the order of the source; their keys differ."""
        found: list[Mutant] = []
        seen: Counter[str] = Counter()
        for place, edit in _walk(self.tree, Place()):
            assert place.statement is not None
            before = _text(place.statement)
            old = edit.apply()
            after = _text(place.statement if old is not place.statement else edit.new)
            new, edit.new = edit.new, old
            edit.apply()
            edit.new = new
            change = _change(before, after)
            if change is None:
                continue
            key = f"{self.module}.{place.qualname or '<module>'}: {change}"
            seen[key] += 1
            if seen[key] > 1:
                key += f" ({seen[key]})"
            lines = _lines(place.statement, old)
            found.append(Mutant(len(found) + 1, self.module, place.qualname, lines, not place.in_function, key, edit))
        return found


def _text(node: ast.AST) -> list[str]:
    return ast.unparse(node).splitlines()


def _change(before: list[str], after: list[str]) -> str | None:
    """The lines that differ, as one line; None where nothing does."""
    while before and after and before[0] == after[0]:
        before, after = before[1:], after[1:]
    while before and after and before[-1] == after[-1]:
        before, after = before[:-1], after[:-1]
    if not before and not after:
        return None
    return " / ".join(map(str.strip, before)) + "  →  " + " / ".join(map(str.strip, after))


def _lines(statement: ast.stmt, old: ast.AST) -> range:
    """The lines that run when the mutated code does."""
    start, end = getattr(old, "lineno", statement.lineno), getattr(old, "end_lineno", statement.lineno)
    if isinstance(statement, (ast.If, ast.While, ast.For, ast.With)):
        header = [child for child in ast.iter_child_nodes(statement) if isinstance(child, ast.expr)]
        ends = [child.end_lineno or statement.lineno for child in header]
        return range(min(start, statement.lineno), max([end, *ends]) + 1)
    return range(min(start, statement.lineno), max(end, statement.end_lineno or end) + 1)


# ---------------------------------------------------------------- the walk
def _walk(node: ast.AST, place: Place) -> Iterator[tuple[Place, Edit]]:
    """All edits below a node, in the order of the source."""
    for name, value in ast.iter_fields(node):
        if name in ("annotation", "returns", "decorator_list", "type_params", "bases"):
            continue
        if isinstance(node, ast.ClassDef) and name == "keywords":
            continue
        children = value if isinstance(value, list) else [value]
        for index, child in enumerate(children):
            if not isinstance(child, ast.AST) or _is_left_alone(child):
                continue
            here = (
                Place(place.qualname, child, place.in_function, place.returns_value)
                if isinstance(child, ast.stmt)
                else place
            )
            if isinstance(child, (ast.FunctionDef, ast.ClassDef)):
                yield from _of_definition(child, here)
                continue
            slot = node, name, index if isinstance(value, list) else None
            for operator, new in _edits(child, here):
                yield here, Edit(operator, *slot, ast.fix_missing_locations(ast.copy_location(new, child)))
            if not isinstance(child, ast.JoinedStr):
                yield from _walk(child, here)


def _of_definition(node: ast.FunctionDef | ast.ClassDef, here: Place) -> Iterator[tuple[Place, Edit]]:
    """The default values run with the definition, the body on its own."""
    if isinstance(node, ast.FunctionDef):
        outside = Place(here.qualname, node, here.in_function)
        yield from _walk(node.args, outside)
    inner = here.inside(node)
    yield from _walk(ast.Module(body=node.body, type_ignores=[]), inner)


def _is_left_alone(node: ast.AST) -> bool:
    """What is no code, or has no effect: documents, imports, names of types, assertions for the type checker."""
    if isinstance(node, (ast.Import, ast.ImportFrom, ast.Assert)):
        return True
    if isinstance(node, ast.Expr):
        return isinstance(node.value, ast.Constant)
    if isinstance(node, ast.Assign):
        target = node.targets[0]
        typing = isinstance(node.value, ast.Subscript) and isinstance(target, ast.Name) and target.id[0].isupper()
        typing = typing or (isinstance(node.value, ast.Call) and ast.unparse(node.value.func) == "TypeVar")
        return typing or (isinstance(target, ast.Name) and target.id in NOT_CODE)
    return False


# ---------------------------------------------------------------- what may go wrong at one node
def _edits(node: ast.AST, place: Place) -> Iterator[tuple[str, ast.AST]]:
    for maker in _MAKERS:
        yield from maker(node, place)


def _with(node: ast.AST, **changed: object) -> ast.AST:
    new = copy.copy(node)
    for name, value in changed.items():
        setattr(new, name, value)
    return new


def _comparison(node: ast.AST, _: Place) -> Iterator[tuple[str, ast.AST]]:
    if isinstance(node, ast.Compare):
        for place, op in enumerate(node.ops):
            for other in COMPARISONS[type(op)]:
                yield "comparison", _with(node, ops=[*node.ops[:place], other(), *node.ops[place + 1 :]])


def _boolean(node: ast.AST, _: Place) -> Iterator[tuple[str, ast.AST]]:
    if isinstance(node, ast.BoolOp):
        yield "and/or", _with(node, op=ast.Or() if isinstance(node.op, ast.And) else ast.And())
        for place in range(len(node.values)):
            left = node.values[:place] + node.values[place + 1 :]
            yield "dropped condition", left[0] if len(left) == 1 else _with(node, values=left)
    if isinstance(node, ast.UnaryOp):
        yield "dropped sign", node.operand


def _condition(node: ast.AST, _: Place) -> Iterator[tuple[str, ast.AST]]:
    if isinstance(node, (ast.If, ast.IfExp)) and _is_worth_negating(node.test):
        yield "negated condition", _with(node, test=ast.UnaryOp(ast.Not(), node.test))
    if isinstance(node, ast.comprehension):
        for place in range(len(node.ifs)):
            without = [*node.ifs[:place], *node.ifs[place + 1 :]]
            yield "dropped filter", _with(node, ifs=without)


def _is_worth_negating(test: ast.expr) -> bool:
    """Comparisons, negations and joined conditions have edits of their own."""
    return not isinstance(test, (ast.Compare, ast.UnaryOp, ast.BoolOp))


def _arithmetic(node: ast.AST, _: Place) -> Iterator[tuple[str, ast.AST]]:
    if isinstance(node, (ast.BinOp, ast.AugAssign)) and type(node.op) in ARITHMETIC:
        yield "arithmetic", _with(node, op=ARITHMETIC[type(node.op)]())


def _constant(node: ast.AST, _: Place) -> Iterator[tuple[str, ast.AST]]:
    if isinstance(node, ast.JoinedStr):
        yield "text", ast.Constant("mutant")
    if not isinstance(node, ast.Constant):
        return
    value = node.value
    if isinstance(value, bool):
        yield "constant", ast.Constant(not value)
    elif isinstance(value, int):
        yield "constant", ast.Constant(value + 1)
        if value:
            yield "constant", ast.Constant(value - 1)
    elif isinstance(value, str):
        yield "text", ast.Constant("mutant" + value)


def _call(node: ast.AST, _: Place) -> Iterator[tuple[str, ast.AST]]:
    if not isinstance(node, ast.Call):
        return
    args = node.args
    name = ast.unparse(node.func)
    if len(args) >= 2 and name not in ("min", "max") and not any(isinstance(arg, ast.Starred) for arg in args[:2]):
        if ast.unparse(args[0]) != ast.unparse(args[1]):
            yield "swapped arguments", _with(node, args=[args[1], args[0], *args[2:]])
    for place in range(len(node.keywords)):
        yield "dropped keyword", _with(node, keywords=node.keywords[:place] + node.keywords[place + 1 :])
    if isinstance(node.func, ast.Name) and node.func.id in UNWRAPPED:
        yield "dropped call", ast.Call(ast.Name("list", ast.Load()), args[:1], [])


def _name(node: ast.AST, _: Place) -> Iterator[tuple[str, ast.AST]]:
    if isinstance(node, ast.Name) and node.id in NAMES and isinstance(node.ctx, ast.Load):
        other = NAMES[node.id]
        if other.startswith("bisect"):
            yield (
                "other function",
                ast.Attribute(
                    ast.Call(ast.Name("__import__", ast.Load()), [ast.Constant("bisect")], []), other, ast.Load()
                ),
            )
        else:
            yield "other function", ast.Name(other, ast.Load())
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in NAMES:
        yield "other function", _with(node, func=_with(node.func, attr=NAMES[node.func.attr]))


def _statement(node: ast.AST, place: Place) -> Iterator[tuple[str, ast.AST]]:
    if isinstance(node, ast.Return) and node.value is not None and place.returns_value:
        if not (isinstance(node.value, ast.Constant) and node.value.value in (None, True, False)):
            yield "returns nothing", ast.Return(ast.Constant(None))
    if _can_be_left_out(node):
        yield "removed statement", ast.Pass()


def _can_be_left_out(node: ast.AST) -> bool:
    if isinstance(node, ast.Expr):
        return isinstance(node.value, ast.Call)
    if isinstance(node, ast.Assign):
        return not any(isinstance(target, (ast.Name, ast.Tuple)) and _binds(target) for target in node.targets)
    if isinstance(node, ast.Return):
        return node.value is None
    return isinstance(node, (ast.AugAssign, ast.Delete, ast.Raise, ast.Continue, ast.Break))


def _binds(target: ast.expr) -> bool:
    """Whether an assignment makes a name; to leave it out is mostly an error at once."""
    return any(isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store) for node in ast.walk(target))


_MAKERS: list[Callable[[ast.AST, Place], Iterator[tuple[str, ast.AST]]]] = [
    _comparison,
    _boolean,
    _condition,
    _arithmetic,
    _constant,
    _call,
    _name,
    _statement,
]
