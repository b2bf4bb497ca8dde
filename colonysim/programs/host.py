"""What a simulation sees of programs, where they stand, and how they end."""

from __future__ import annotations

import gc
import sys
import threading
import traceback
from collections.abc import Callable
from types import FrameType

from colonysim.kernel.actors import Actor


class Crashed(BaseException):
    """The program has been killed where it stood. Nothing it does from now on reaches the server."""


class ProgramFailed(Exception):
    """A program has ended with an error: its name and its stack."""

    def __init__(self, name: str, error: BaseException) -> None:
        stack = "".join(traceback.format_exception(error)).rstrip()
        super().__init__(f"program {name!r} failed: {error!r}\n{stack}")
        self.name = name
        self.error = error


class ProgramActor(Actor):
    """What the simulation sees of a program: each call of it is a step."""

    step: Callable[[], None] | None = None

    def acts(self) -> None:
        assert self.step is not None
        self.step()


class Bell:
    """What is rung when that which a program waits for may be there; it stands where an actor would."""

    __slots__ = ("acts",)

    def __init__(self, ring: Callable[[], None]) -> None:
        self.acts = ring


def place(thread: threading.Thread | None) -> str:
    """The line where a thread stands that another one asks about: it may be blocked by something real."""
    if thread is None or thread is threading.current_thread():
        return ""
    frame = _frame_of(thread)
    return f", at {frame.f_code.co_filename}:{frame.f_lineno} in {frame.f_code.co_name}" if frame else ""


def stack(thread: threading.Thread) -> str:
    """Where a thread stands, with who called whom."""
    frame = _frame_of(thread)
    return "".join(traceback.format_stack(frame)[-6:]).rstrip() if frame else "its thread is gone"


def _frame_of(thread: threading.Thread) -> FrameType | None:
    """Where a thread stands just now.

    CPython up to 3.11.8 hangs for good where it collects garbage meanwhile (its issue 106883), so that must wait.
    """
    collects = gc.isenabled()
    gc.disable()
    try:
        return sys._current_frames().get(thread.ident or 0)
    finally:
        if collects:
            gc.enable()
