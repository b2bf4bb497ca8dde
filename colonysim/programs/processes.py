"""What programs do as processes: they end with a status."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import Any

from colonysim.programs.host import own_stack
from colonysim.programs.stdlib_patches import here
from colonysim.stdlib import inplace


def _exit(real: Any) -> Callable[[int], None]:
    def exit_now(status: int) -> None:
        who = here.thread
        if who is None:
            real(status)
        who.program.exit(status, f"os._exit({status}) was called:\n{own_stack(sys._getframe())}")

    return exit_now


def patch() -> list[inplace.Undo]:
    """Replace the functions and methods; what is returned puts them back."""
    return [inplace.replace_function(os._exit, _exit)]
