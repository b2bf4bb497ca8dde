"""Extensions by users: classes and functions that are named as `file.py:name`, or entry points of installed packages.

A `Loader` loads named code. A `Registry` finds all extensions of one sort: built-in ones, entry points of installed
packages, and named code. Errors are BadCode, with one line that says what to do.
"""

from __future__ import annotations

import importlib
import importlib.util
import re
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

import msgspec
from msgspec.structs import replace

from colonysim.core.values import BadValue, Value, make_value
from colonysim.core.values import Path as Steps
from colonysim.core.wording import show_list
from colonysim.extras import fix_for

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

T = TypeVar("T")
V = TypeVar("V", bound=Value)

CODE: Final = re.compile(r"[^:]+:[A-Za-z_][A-Za-z0-9_]*")
"""The syntax of names of code."""
CODE_FIX: Final = "write file.py:name or package.module:name"
_MOST_NAMED: Final = 8


class BadCode(ValueError):
    """Code cannot be used. The text says in one line where it was looked for, what is wrong, and what to do."""


def error_line(error: BaseException, folder: Path | None = None) -> str:
    """Describe an error of a user's code in one line, with the file and line where it was raised.

    `folder`: only files in it count as the user's; by default all except colonysim's.
    """
    text = str(error).strip().partition("\n")[0]
    what = f"{type(error).__name__}: {text}" if text else type(error).__name__
    if isinstance(error, SyntaxError) and error.filename:
        return f"{type(error).__name__}: {error.msg} ({Path(error.filename).name}, line {error.lineno})"
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if _is_users(frame.filename, folder)]
    where = f" ({Path(frames[-1].filename).name}, line {frames[-1].lineno})" if frames else ""
    fix = fix_for(error) if isinstance(error, ImportError) else ""
    return f"{what}{where}{f'; {fix}' if fix else ''}"


def _is_users(file: str, folder: Path | None) -> bool:
    path = Path(file)
    if folder is not None:
        return path.is_relative_to(folder)
    return path.is_absolute() and not path.is_relative_to(Path(__file__).parent)


class Loader:
    """Loads code by its name; paths of files are relative to the folder `base`. A loader runs each file once.

    While the loader is `active`, code can import modules beside it; afterwards sys.path and sys.modules are restored.
    """

    def __init__(self, base: Path) -> None:
        self.base = base
        self._files: dict[Path, ModuleType] = {}
        self._beside: dict[str, ModuleType] = {}  # modules that the files have imported from their folders
        self._before: set[str] = set()
        self._depth = 0

    @contextmanager
    def active(self) -> Iterator[None]:
        """Let code import from the folders of the files that are loaded. May be entered again while it is active."""
        if self._depth == 0:
            self._before = set(sys.modules)
            sys.modules.update({name: one for name, one in self._beside.items() if name not in self._before})
            sys.path[:0] = [str(path.parent) for path in self._files]
        self._depth += 1
        try:
            yield
        finally:
            self._depth -= 1
            if self._depth == 0:
                self._leave()

    def _leave(self) -> None:
        folders = {path.parent for path in self._files}
        for path in self._files:
            if str(path.parent) in sys.path:
                sys.path.remove(str(path.parent))
        for name, module in list(sys.modules.items()):
            origin = getattr(module, "__file__", None)
            if name not in self._before and origin and Path(origin).parent in folders:
                self._beside[name] = sys.modules.pop(name)

    def load(self, code: str, what: str, fits: Callable[[Any], bool]) -> Any:
        """Return the object that `code` names; the loader must be active.

        `what`: the name of the sort of object in errors. `fits`: whether an object is of that sort. Raises BadCode.
        """
        place, _, name = code.rpartition(":")
        if not CODE.fullmatch(code):
            raise BadCode(f"{code!r} does not name code; {CODE_FIX}")
        module = self._module(place, what)
        found = getattr(module, name, None)
        if found is None or not fits(found):
            wrong = f"no {what} is named {name!r}" if found is None else f"{name!r} is {shown(found)}, not a {what}"
            raise BadCode(f"{code}: {wrong}; {_instead(module, what, fits)}")
        return found

    def _module(self, place: str, what: str) -> ModuleType:
        if not place.endswith(".py"):
            return _imported(place, what)
        try:
            path = (self.base / place).resolve()
        except (OSError, ValueError, RuntimeError) as error:
            raise BadCode(f"{place!r} is not a valid path: {error}") from None
        if path not in self._files:
            self._files[path] = _run(path)
        return self._files[path]


def shown(thing: Any) -> str:
    """Return what a thing is, for error messages: `a class`, `a function`, `a list`."""
    if isinstance(thing, type):
        return "a class"
    return "a function" if isinstance(thing, FunctionType) else f"a {type(thing).__name__}"


def _instead(module: ModuleType, what: str, fits: Callable[[Any], bool]) -> str:
    own = [
        name
        for name, value in vars(module).items()
        if not name.startswith("_") and getattr(value, "__module__", None) == module.__name__ and fits(value)
    ]
    return f"the module defines {show_list(own, _MOST_NAMED)}" if own else f"the module defines no {what}: add one"


def _run(path: Path) -> ModuleType:
    """Run a file as a module. Raises BadCode."""
    try:
        compiled = _compiled(path, path.stat().st_mtime_ns)
    except SyntaxError as error:
        raise BadCode(f"{path}:{error.lineno or 1}: SyntaxError: {error.msg}") from None
    except (OSError, UnicodeDecodeError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise BadCode(f"{path} cannot be read: {reason}; a relative path starts at the scenario's folder") from None
    name = f"{path.stem}_program"
    while name in sys.modules:  # a file of the same name in another folder, or another loader's
        name += "_"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    sys.path.insert(0, str(path.parent))
    try:
        exec(compiled, module.__dict__)
    except (Exception, SystemExit) as error:
        if str(path.parent) in sys.path:
            sys.path.remove(str(path.parent))
        sys.modules.pop(name, None)
        raise BadCode(f"{path} cannot be loaded: {error_line(error, path.parent)}") from error
    return module


@lru_cache(maxsize=64)
def _compiled(path: Path, modified_ns: int) -> CodeType:
    """Return the compiled code of a file; cached while the file does not change."""
    return compile(path.read_bytes(), str(path), "exec", dont_inherit=True)


def _imported(name: str, what: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except (Exception, SystemExit) as error:  # raised by the module, or for an invalid name
        why = error_line(error, Path()) if not isinstance(error, ImportError) else str(error)
        named = "Name" if " " in what else what
        raise BadCode(f"{name!r} cannot be imported ({why}); for a file write file.py:{named}") from None


# ---------------------------------------------------------------- registries
class Registry(Generic[T]):
    """All extensions of one sort by name: built-in ones, entry points of installed packages, and named code.

    `what`: the name of the sort in errors, such as `policies`. `noun`: what its code is, such as `function`. `group`:
    the group of entry points, without `colonysim.`. `fits`: whether an object is of the sort.
    """

    def __init__(self, what: str, noun: str, group: str, fits: Callable[[Any], bool]) -> None:
        self.what = what
        self.noun = noun
        self.group = f"colonysim.{group}"
        self.fits = fits
        self.known: dict[str, T] = {}

    def add(self, name: str) -> Callable[[T], T]:
        """Return a decorator that registers a built-in extension under a name."""

        def register(one: T) -> T:
            self.known[name] = one
            return one

        return register

    def find(self, name: str, loader: Loader) -> T:
        """Return the extension of a name. Raises BadCode."""
        if name in self.known:
            return self.known[name]
        found: T = loader.load(name, self.noun, self.fits) if ":" in name else self._offered(name)
        return found

    def knows(self, name: str) -> bool:
        """Whether a name is that of a built-in extension or of an entry point."""
        return name in self.known or bool(self._points(name))

    def names(self) -> str:
        """Return all known names, for error messages."""
        named = [*self.known, *self.offered()]
        own = f"your own as file.py:{'Name' if ' ' in self.noun else self.noun}"
        return f"{', '.join(named)}, or {own}" if named else own

    def offered(self) -> list[str]:
        """Return the names of the entry points."""
        return sorted({point.name for point in self._points()})

    def _points(self, name: str = "") -> list[EntryPoint]:
        from importlib.metadata import entry_points  # slow to import

        return [point for point in entry_points(group=self.group) if name in ("", point.name)]

    def _offered(self, name: str) -> Any:
        points = self._points(name)
        if not points:
            raise BadCode(f"there is no {name!r}; the {self.what} are {self.names()}")
        if len({point.value for point in points}) > 1:
            packages = ", ".join(sorted(str(point.dist and point.dist.name) for point in points))
            raise BadCode(f"{name!r} is an entry point of several packages ({packages}): uninstall all but one")
        try:
            found = points[0].load()
        except (Exception, SystemExit) as error:
            raise BadCode(f"{name!r}, an entry point of {self.group}, cannot be loaded: {error_line(error)}") from error
        if not self.fits(found):
            raise BadCode(f"{name!r}, an entry point of {self.group}, is {shown(found)}, not a {self.noun}")
        return found


FAMILIES: Final[list[Kinds[Any]]] = []
"""All families of values to which users can add kinds."""


class Kinds(Registry[type[V]]):
    """The kinds of a family of values, which mappings distinguish by `kind`. Users can add kinds.

    `base`: the family's base class. `needs`: the methods that each kind must define. A user's kind is read as an
    instance of the `unloaded` class, with the fields `code` and `fields`; `loaded` creates the value later. A family
    that accepts functions has a class `of_function`, with the fields `function` and `fields`.
    """

    unloaded: Any
    of_function: Any = None

    def __init__(self, base: type[V], what: str, group: str, needs: tuple[str, ...] = ()) -> None:
        super().__init__(what, f"subclass of {base.__name__}", group, self._fits)
        self.base = base
        self.needs = needs
        base.kind_registry = self  # type: ignore[attr-defined]  # for colonysim.core.values
        FAMILIES.append(self)

    def _fits(self, thing: Any) -> bool:
        if isinstance(thing, type):
            return issubclass(thing, self.base) and thing is not self.base
        return self.of_function is not None and callable(thing)

    # ------------------------------------------------------------ decorators
    def kind(self, one: type[V]) -> type[V]:
        """Register a built-in class under its tag."""
        return self.add(_tag(one))(one)

    def unloaded_kind(self, one: type[V]) -> type[V]:
        """Set the class of values of users' kinds that are not loaded yet."""
        self.unloaded = one
        return one

    def function_kind(self, one: type[V]) -> type[V]:
        """Set the class of values that are functions."""
        self.of_function, self.noun = one, f"{self.noun} or function"
        return one

    # ------------------------------------------------------------ from plain data
    def has(self, value: Any) -> bool:
        """Whether a value is of a built-in kind."""
        return self.known.get(_tag(value)) is type(value)

    def own(self, given: Any) -> V | None:
        """Create the value for a mapping with a user's kind, or for a user's function; None for anything else."""
        made: V | None = None
        if isinstance(given, Mapping):
            kind = given.get("kind")
            if isinstance(kind, str) and kind not in self.known and (":" in kind or self.knows(kind)):
                fields = {str(key): value for key, value in given.items() if key != "kind"}
                common = {name: fields.pop(name) for name in self.base.__struct_fields__ if name in fields}
                made = self.unloaded(code=kind, fields=fields, **common)
        elif self.of_function is not None and callable(given) and not isinstance(given, type):
            made = self.of_function(function=given)
        return made

    def made(self, value: Any, loader: Loader) -> V:
        """Load the code of an unloaded value and create the value. Raises BadCode, BadValue."""
        found: Any = self.find(value.code, loader)
        common = {name: getattr(value, name) for name in self.base.__struct_fields__}
        if not isinstance(found, type):
            return self.of_function(function=found, fields=value.fields, **common)  # type: ignore[no-any-return]
        for name in self.needs:
            if getattr(found, name) is getattr(self.base, name):
                raise BadCode(f"{value.code}: the class has no method `{name}`, which {self.what} must define")
        given = {name: one for name, one in common.items() if one}
        return make_value(found, given | value.fields)

    # ------------------------------------------------------------ to plain data
    def name_of(self, value: Any) -> str:
        """Return the name of a value's kind; for a user's kind, the name of its code."""
        return self.written(value)[0]

    def written(self, value: Any) -> tuple[str, dict[str, Any], tuple[str, ...]]:
        """Return how to write a value as data: its kind, further fields, and the fields to leave out."""
        if type(value) is self.unloaded:
            return value.code, value.fields, ("code", "fields")
        if type(value) is self.of_function:
            return reference(value.function), value.fields, ("function", "fields")
        return _tag(value) if self.has(value) else reference(type(value)), {}, ()


def _tag(value: Any) -> str:
    return str(value.__struct_config__.tag)


def reference(thing: Any) -> str:
    """Return the name by which a class or function can be loaded: with its file, unless it is in a package."""
    name = str(thing.__module__)
    file = str(getattr(sys.modules.get(name), "__file__", None) or "")
    alone = file.endswith(".py") and "." not in name and "site-packages" not in file
    return f"{file if alone else name}:{getattr(thing, '__qualname__', type(thing).__qualname__)}"


def loaded(value: T, loader: Loader, path: Steps = ()) -> T:
    """Return a value with all users' code in it loaded; the loader must be active. Raises BadValue.

    Structs with other fields that name code, or a file with values, have a method `with_code`, which loads them.
    """
    registry: Any = getattr(type(value), "kind_registry", None)
    if registry is not None and type(value) is registry.unloaded:
        try:
            made: T = registry.made(value, loader)
        except BadCode as error:
            raise BadValue(str(error), (*path, "kind")) from error
        except BadValue as error:
            raise error.within(path) from error.__cause__
        except Exception as error:
            raise BadValue(f"{registry.what} cannot be created: {error_line(error)}", path) from error
        return made
    if isinstance(value, msgspec.Struct):
        fields = {name: getattr(value, name) for name in value.__struct_fields__}
        changed = {name: loaded(one, loader, (*path, name)) for name, one in fields.items() if _may_hold(one)}
        changed = {name: one for name, one in changed.items() if one is not fields[name]}
        whole: Any = replace(value, **changed) if changed else value
        try:
            return whole.with_code(loader) if hasattr(whole, "with_code") else whole  # type: ignore[no-any-return]
        except BadValue as error:
            raise error.within(path) from error.__cause__
    if isinstance(value, dict):
        named = {name: loaded(one, loader, (*path, name)) if _may_hold(one) else one for name, one in value.items()}
        return value if all(one is value[name] for name, one in named.items()) else named  # type: ignore[return-value]
    if isinstance(value, tuple):
        entries = tuple(loaded(one, loader, (*path, place)) for place, one in enumerate(value))
        return value if all(one is other for one, other in zip(entries, value, strict=True)) else entries  # type: ignore[return-value]
    return value


def _may_hold(value: Any) -> bool:
    return isinstance(value, msgspec.Struct) or (isinstance(value, (tuple, dict)) and len(value) > 0)
