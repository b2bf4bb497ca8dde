"""Which thread of a program the calling thread is."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, Final

from colonysim.stdlib import inplace


class _Here(threading.local):
    """What a thread of this process does: the thread of a program that it is, while that acts."""

    thread: Any = None
    looking = False  # whether something is true, between two turns


here: Final = _Here()


def replace_attribute(owner: Any, name: str, value: Any) -> inplace.Undo:
    """Replace what a module or class has under a name, where it cannot be replaced in place."""
    before = getattr(owner, name)
    setattr(owner, name, value)
    return lambda: setattr(owner, name, before)


def for_programs(virtual: Callable[..., Any]) -> inplace.Wrapper:
    """Call `virtual` with the calling thread of a program, and the real function for everybody else."""

    def wrap(real: Any) -> Callable[..., Any]:
        def function(*args: Any, **kwargs: Any) -> Any:
            who = here.thread
            return real(*args, **kwargs) if who is None else virtual(who, *args, **kwargs)

        return function

    return wrap
