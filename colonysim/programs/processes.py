"""What programs do as processes: they end with a status, run functions at their exit, and signal groups."""

from __future__ import annotations

import _thread
import atexit
import os
import signal
import sys
import traceback
from collections.abc import Callable
from typing import Any, Final

from colonysim.programs.host import own_stack
from colonysim.programs.stdlib_patches import is_importing
from colonysim.stdlib import inplace
from colonysim.stdlib.here import here

_BY_SIGNAL: Final = 128
"""Added to the number of the signal that has ended a process, as shells show it."""
_REPLACES: Final = (
    "os.{name} would replace the process that runs the tests, not only this program: end the program, "
    "and have it started anew by restart_after_s, or run the command with subprocess"
)


def _exit(real: Any) -> Callable[[int], None]:
    def exit_now(status: int) -> None:
        who = here.thread
        if who is None:
            real(status)
        who.program.exit(status, f"os._exit({status}) was called:\n{own_stack(sys._getframe())}")

    return exit_now


def _abort(real: Any) -> Callable[[], None]:
    def abort() -> None:
        who = here.thread
        if who is None:
            real()
        who.program.exit(_BY_SIGNAL + signal.SIGABRT, f"os.abort() was called:\n{own_stack(sys._getframe())}")

    return abort


def _exec(real: Any) -> Callable[..., None]:
    def execute(*args: Any, **kwargs: Any) -> None:
        if here.thread is not None:
            raise RuntimeError(_REPLACES.format(name=real.__name__))
        real(*args, **kwargs)

    return execute


def _kill_group(real: Any) -> Callable[[int, int], None]:
    """Signal the group of this process: for a program, that is the program and nobody else."""

    def killpg(group: int, number: int, /) -> None:
        if here.thread is not None and group in (0, os.getpgrp()):
            os.kill(0, number)
        else:
            real(group, number)

    return killpg


def _interrupt_main(real: Any) -> Callable[..., None]:
    def interrupt_main(number: int = signal.SIGINT, /) -> None:
        who = here.thread
        if who is None:
            real(number)
        else:
            who.send_signal(who.program, number)

    return interrupt_main


# ---------------------------------------------------------------- functions that run at the exit
def _register(real: Any) -> Callable[..., Any]:
    """Register a function to be called at the exit of the program; modules that are imported do so for the process."""

    def register(function: Any, /, *args: Any, **kwargs: Any) -> Any:
        who = here.thread
        if who is None or is_importing(who):
            return real(function, *args, **kwargs)
        if not callable(function):
            raise TypeError("the first argument must be callable")
        who.program.exit_functions.append((function, args, kwargs))
        return function

    return register


def _unregister(real: Any) -> Callable[[Any], None]:
    def unregister(function: Any, /) -> None:
        who = here.thread
        if who is None:
            real(function)
        else:
            who.program.exit_functions[:] = [one for one in who.program.exit_functions if one[0] != function]

    return unregister


def run_exit_functions(functions: list[Any]) -> None:
    """Call what a program has registered by `atexit`, the latest first; an error in one is written to its stderr."""
    while functions:
        function, args, kwargs = functions.pop()
        try:
            function(*args, **kwargs)
        except Exception:
            print(f"Exception ignored in atexit callback {function!r}:\n{traceback.format_exc()}", file=sys.stderr)
        except SystemExit:
            pass  # as CPython does, which is at its end already


def patch() -> list[inplace.Undo]:
    """Replace the functions and methods; what is returned puts them back."""
    pairs: list[tuple[str, Any]] = [("_exit", _exit), ("abort", _abort), ("killpg", _kill_group)]
    pairs += [(name, _exec) for name in ("execv", "execve")]
    undo = [inplace.replace_function(getattr(os, name), wrapper) for name, wrapper in pairs if hasattr(os, name)]
    undo.append(inplace.replace_function(_thread.interrupt_main, _interrupt_main))
    undo.append(inplace.replace_function(atexit.register, _register))
    undo.append(inplace.replace_function(atexit.unregister, _unregister))
    return undo
