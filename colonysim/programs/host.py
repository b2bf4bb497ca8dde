"""What a simulation sees of programs, where they stand, and how they end."""

from __future__ import annotations

import gc
import os
import sys
import threading
import traceback
from collections.abc import Callable
from types import FrameType
from typing import Final, Protocol

from colonysim.kernel.actors import Actor
from colonysim.stdlib import inplace

_OWN: Final = tuple(os.path.dirname(file) for file in (__file__, inplace.__file__))
_SHOWN: Final = 6
"""Calls of a stack that are shown, the innermost ones."""


class Crashed(BaseException):
    """The program has been killed where it stood. Nothing it does from now on reaches the server."""


class ProgramFailed(Exception):
    """A program has ended with an error, or as a process with a status other than 0: its name and where that was.

    `error` is what it raised, SystemExit where it ended with a status.
    """

    def __init__(self, name: str, error: BaseException, where: str = "", output: str = "") -> None:
        status = exit_status(error)
        what = f"failed: {error!r}" if status is None else f"ended with status {status}"
        where = where or "".join(traceback.format_exception(error)).rstrip()
        said = f"\nits last output:\n{output}" if output else ""
        super().__init__(f"program {name!r} {what}\n{where}{said}")
        self.name = name
        self.error = error
        self.status = 1 if status is None else status


def exit_status(error: BaseException | None) -> int | None:
    """The status with which a process ends for whose main thread this is the last error; None for an error proper."""
    if error is None:
        return 0
    if not isinstance(error, SystemExit):
        return None
    code = error.code
    if code is None:
        return 0
    return code & 0xFF if isinstance(code, int) else 1


class ProgramActor(Actor):
    """What the simulation sees of a program: each call of it is a step."""

    step: Callable[[], None] | None = None

    def acts(self) -> None:
        assert self.step is not None
        self.step()


class Wakeup:
    """Called when a thread of a program may stop waiting. A request has it in place of its actor."""

    __slots__ = ("acts",)

    def __init__(self, wake: Callable[[], None]) -> None:
        self.acts = wake


class HasIdent(Protocol):
    """A thread of this process."""

    @property
    def ident(self) -> int | None: ...


def place(thread: HasIdent) -> str:
    """The line where a thread stands that another one asks about: it may be blocked by something real."""
    frame = _frame_of(thread) if thread.ident != threading.get_ident() else None
    return f", at {frame.f_code.co_filename}:{frame.f_lineno} in {frame.f_code.co_name}" if frame else ""


def stack(thread: HasIdent) -> str:
    """Where a thread stands, with who called whom."""
    return own_stack(_frame_of(thread)) or "  its thread is gone"


def own_stack(frame: FrameType | None) -> str:
    """Who called whom up to a frame: the innermost calls, without those by which this package begins a thread."""
    calls = [] if frame is None else traceback.extract_stack(frame)
    own = [one for one in calls if os.path.dirname(one.filename) not in _OWN and not _begins_thread(one)]
    return "".join(traceback.format_list(own[-_SHOWN:])).rstrip()


def _begins_thread(call: traceback.FrameSummary) -> bool:
    return call.filename == threading.__file__ and call.name in ("_bootstrap", "_bootstrap_inner", "run")


def _frame_of(thread: HasIdent) -> FrameType | None:
    """Where the code of a thread stands just now. What this package does to have it wait is left out.

    CPython up to 3.11.8 hangs for good where it collects garbage meanwhile (its issue 106883), so that must wait.
    """
    collects = gc.isenabled()
    gc.disable()
    try:
        frame = sys._current_frames().get(thread.ident or 0)
        while frame is not None and os.path.dirname(frame.f_code.co_filename) in _OWN:
            frame = frame.f_back
        return frame
    finally:
        if collects:
            gc.enable()
