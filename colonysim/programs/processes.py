"""What programs do as processes: they end with a status, and wait for child processes."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import Any

from colonysim.programs import inplace
from colonysim.programs.host import own_stack
from colonysim.programs.stdlib_patches import here


def _exit(real: Any) -> Callable[[int], None]:
    def exit_now(status: int) -> None:
        who = here.thread
        if who is None:
            real(status)
        who.program.exit(status, f"os._exit({status}) was called:\n{own_stack(sys._getframe())}")

    return exit_now


def _waitpid(real: Any) -> Callable[[int, int], tuple[int, int]]:
    """Virtual time stands still while a child process runs: whoever looks whether it has ended sees that it has."""

    def waitpid(pid: int, options: int, /) -> tuple[int, int]:
        return real(pid, options if here.thread is None else options & ~os.WNOHANG)  # type: ignore[no-any-return]

    return waitpid


def patch() -> list[inplace.Undo]:
    """Replace the functions and methods; what is returned puts them back."""
    undo = [inplace.replace_function(os._exit, _exit)]
    if hasattr(os, "waitpid") and hasattr(os, "WNOHANG"):
        undo.append(inplace.replace_function(os.waitpid, _waitpid))
    return undo
