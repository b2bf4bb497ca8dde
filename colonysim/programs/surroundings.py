"""What a program has of its own besides its memory: environment variables, arguments, a folder, a main module.

Environment variables are looked up for the program that asks. The others are set when a program that has its own gets
the turn, and restored when it hands over, since they are values of modules, and the folder belongs to the process.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

from colonysim.stdlib import inplace
from colonysim.stdlib.here import here, replace_attribute


class Surroundings:
    """Arguments, folder, search path and main module of a program; None stands for those of the process."""

    def __init__(
        self,
        argv: Sequence[str] | None = None,
        cwd: str | os.PathLike[str] | None = None,
        main: ModuleType | None = None,
    ) -> None:
        self._argv = None if argv is None else list(argv)
        self._cwd = None if cwd is None else os.fspath(cwd)
        self._main = main
        self._path = [str(Path(main.__file__).parent), *sys.path] if main is not None and main.__file__ else None
        self._folder = self._path[0] if self._path else ""
        self._modules: dict[str, ModuleType] = {}  # that lie beside its main module, which it has imported
        self._known = 0  # so many modules were there when it got the turn
        self._outer: tuple[Any, ...] = ()

    def enter(self) -> None:
        """The program has the turn."""
        self._outer = (sys.argv, os.getcwd() if self._cwd is not None else None, sys.modules["__main__"], sys.path)
        if self._argv is not None:
            sys.argv = self._argv
        if self._cwd is not None:
            os.chdir(self._cwd)
        if self._main is not None:
            sys.modules["__main__"] = self._main
        if self._path is not None:
            sys.path = self._path
            sys.modules.update(self._modules)
            self._known = len(sys.modules)

    def leave(self) -> None:
        """The program hands over: what it has changed is its own."""
        argv, cwd, main, path = self._outer
        if self._argv is not None:
            self._argv, sys.argv = sys.argv, argv
        if self._cwd is not None and cwd is not None:
            self._cwd = os.getcwd()
            os.chdir(cwd)
        if self._main is not None:
            sys.modules["__main__"] = main
        if self._path is not None:
            self._path, sys.path = sys.path, path
            if len(sys.modules) != self._known:
                self._modules.update(self._beside())
            for name in self._modules:
                sys.modules.pop(name, None)

    def _beside(self) -> Iterator[tuple[str, ModuleType]]:
        """The modules that lie in the folder of its main module."""
        for name, module in list(sys.modules.items()):
            file = getattr(module, "__file__", None)
            if file and name != "__main__" and os.path.dirname(file) == self._folder:
                yield name, module

    def changed_folder(self, before: str) -> None:
        """The program, which has the turn, has left this folder of the process for another one."""
        if self._cwd is None:
            argv, _, main, path = self._outer
            self._cwd, self._outer = os.getcwd(), (argv, before, main, path)


class Script:
    """A file that runs as `__main__`, as if Python had been started with it. Errors: OSError, SyntaxError."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path).resolve()
        self._code: CodeType = compile(self.path.read_bytes(), str(self.path), "exec")

    def module(self) -> ModuleType:
        """A main module, in which nothing has been run yet."""
        module = ModuleType("__main__")
        module.__file__ = str(self.path)
        return module

    def __call__(self) -> None:
        exec(self._code, here.thread.program.main_module.__dict__)


# ---------------------------------------------------------------- environment variables
class _Variables:
    """The bytes behind `os.environ`: of the program that asks, and else of the process."""

    def __init__(self, real: dict[Any, Any]) -> None:
        self._real = real

    def _own(self) -> dict[Any, Any]:
        who = here.thread
        if who is None:
            return self._real
        program = who.program
        if program.variables is None:
            given = {os.environ.encodekey(key): os.environ.encodevalue(value) for key, value in program.env.items()}
            program.variables = self._real | given
        return program.variables  # type: ignore[no-any-return]

    def __getitem__(self, key: Any) -> Any:
        return self._own()[key]

    def __setitem__(self, key: Any, value: Any) -> None:
        self._own()[key] = value

    def __delitem__(self, key: Any) -> None:
        del self._own()[key]

    def __contains__(self, key: Any) -> bool:
        return key in self._own()

    def __iter__(self) -> Iterator[Any]:
        return iter(self._own())

    def __len__(self) -> int:
        return len(self._own())

    def items(self) -> Any:
        """The variables and their values, as bytes."""
        return self._own().items()

    def keys(self) -> Any:
        """The variables, as bytes."""
        return self._own().keys()


def _not_for_programs(real: Any) -> Callable[..., None]:
    """Leave the environment of the process alone, which a program would change beside its own."""

    def change(*args: Any) -> None:
        if here.thread is None:
            real(*args)

    return change


def own_environment() -> list[bytes]:
    """The variables of the program that asks, as a child process gets them."""
    return [key + b"=" + value for key, value in vars(os.environ)["_data"].items()]


def _chdir(real: Any) -> Callable[..., None]:
    def chdir(path: Any) -> None:
        who = here.thread
        before = os.getcwd() if who is not None else ""
        real(path)
        if who is not None:
            who.program.changed_folder(before)

    return chdir


def variables(env: Mapping[str, str] | None) -> dict[str, str]:
    """Environment variables as they are given. Errors: TypeError for what is no text."""
    given = dict(env or {})
    for key, value in given.items():
        if not isinstance(key, str) or not isinstance(value, str):
            raise TypeError(f"env: {key!r}: {value!r} must be text, as environment variables are")
    return given


def patch() -> list[inplace.Undo]:
    """Replace the functions, and what is behind `os.environ`; what is returned puts them back."""
    data = _Variables(vars(os.environ)["_data"])
    undo = [replace_attribute(os.environ, "_data", data), inplace.replace_function(os.chdir, _chdir)]
    if hasattr(os, "environb"):
        undo.append(replace_attribute(os.environb, "_data", data))
    undo += [inplace.replace_function(function, _not_for_programs) for function in (os.putenv, os.unsetenv)]
    return undo
