"""Code of users' own: classes and functions that are named as `file.py:name`, or offered by an installed package.

A `Loader` loads what is named; a `Registry` knows what of one sort there is: what comes with colonysim, what installed
packages offer as entry points, and what is named by its code. Errors are BadCode, in one line that says what to do.
"""

from __future__ import annotations

import importlib
import importlib.util
import re
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import Any, Final

CODE: Final = re.compile(r"[^:]+:[A-Za-z_][A-Za-z0-9_]*")
"""How code is named."""
CODE_FIX: Final = "write file.py:name or package.module:name"
_MOST_NAMED: Final = 8


class BadCode(ValueError):
    """Code that cannot be used. The text says in one line where it was sought, what is wrong, and what to do."""


def told(error: BaseException, folder: Path | None = None) -> str:
    """Tell an error of a user's code in one line, with the file and line where it came up.

    `folder`: only files in it count as the user's; by default all but colonysim's own do.
    """
    text = str(error).strip().partition("\n")[0]
    what = f"{type(error).__name__}: {text}" if text else type(error).__name__
    if isinstance(error, SyntaxError) and error.filename:
        return f"{type(error).__name__}: {error.msg} ({Path(error.filename).name}, line {error.lineno})"
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if _is_users(frame.filename, folder)]
    return f"{what} ({Path(frames[-1].filename).name}, line {frames[-1].lineno})" if frames else what


def _is_users(file: str, folder: Path | None) -> bool:
    path = Path(file)
    if folder is not None:
        return path.is_relative_to(folder)
    return path.is_absolute() and not path.is_relative_to(Path(__file__).parent)


class Loader:
    """Loads code by its name, files from the folder `base`. Each file is run once; another loader runs it anew.

    While the loader is `active`, code can import what stands beside it; afterwards sys.path and sys.modules are as
    they were before.
    """

    def __init__(self, base: Path) -> None:
        self.base = base
        self._files: dict[Path, ModuleType] = {}
        self._beside: dict[str, ModuleType] = {}  # modules that the files have imported from beside them
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

        `what` is what errors call such an object, and `fits` says whether it is one. Errors: BadCode.
        """
        place, _, name = code.rpartition(":")
        if not CODE.fullmatch(code):
            raise BadCode(f"{code!r} names no code; {CODE_FIX}")
        module = self._module(place, what)
        found = getattr(module, name, None)
        if found is None or not fits(found):
            wrong = f"there is no {what} {name!r}" if found is None else f"{name!r} is {shown(found)}, not a {what}"
            raise BadCode(f"{code}: {wrong}; {_instead(module, what, fits)}")
        return found

    def _module(self, place: str, what: str) -> ModuleType:
        if not place.endswith(".py"):
            return _imported(place, what)
        try:
            path = (self.base / place).resolve()
        except (OSError, ValueError, RuntimeError) as error:
            raise BadCode(f"{place!r} names no file: {error}") from None
        if path not in self._files:
            self._files[path] = _run(path)
        return self._files[path]


def shown(thing: Any) -> str:
    """What a thing is, for error messages: `a class`, `a function`, `a list`."""
    if isinstance(thing, type):
        return "a class"
    return "a function" if isinstance(thing, FunctionType) else f"a {type(thing).__name__}"


def _instead(module: ModuleType, what: str, fits: Callable[[Any], bool]) -> str:
    own = [
        name
        for name, value in vars(module).items()
        if not name.startswith("_") and getattr(value, "__module__", None) == module.__name__ and fits(value)
    ]
    listed = ", ".join(own[:_MOST_NAMED]) + (f" and {len(own) - _MOST_NAMED} more" if len(own) > _MOST_NAMED else "")
    return f"there are {listed}" if own else f"the file has none: define a {what} and name it"


def _run(path: Path) -> ModuleType:
    """Run a file as a module. Errors: BadCode."""
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
        raise BadCode(f"{path} cannot be loaded: {told(error, path.parent)}") from error
    return module


@lru_cache(maxsize=64)
def _compiled(path: Path, modified_ns: int) -> CodeType:
    """The code of a file, as long as that is not written to."""
    return compile(path.read_bytes(), str(path), "exec")


def _imported(name: str, what: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except (Exception, SystemExit) as error:  # of the module itself, or for a name that is none
        why = told(error, Path()) if not isinstance(error, ImportError) else str(error)
        noun = what.partition(" ")[0]
        raise BadCode(f"{name!r} cannot be imported ({why}); for a file write file.py:{noun}") from None
