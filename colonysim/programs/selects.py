"""Waits for files and sockets: a thread of a program that waits for one of several does so in virtual time.

What is ready is asked of the operating system at once, and again before each turn. So `select` with nothing to come is
a sleep, and an event loop of asyncio, which waits by `select` alone, runs in virtual time in lock-step with all others.
"""

from __future__ import annotations

import os
import select
import sys
from collections.abc import Callable
from stat import S_ISREG
from typing import Any, Final

from colonysim.programs import children
from colonysim.stdlib import inplace
from colonysim.stdlib.here import here

_STARTS: Final = "_execute_child"
"""The function of `subprocess` that reads whether a command was found, which a child says before it does anything."""
READY_FILES: Final = "a file or socket to become ready"


def _wait(look: Callable[[], Any], is_ready: Callable[[], bool], seconds: float | None) -> Any:
    """Return what `look` finds, after so many virtual seconds at most (None: for ever), else nothing."""
    who = here.thread
    children.settle(who)
    found = look()
    if _has_any(found):
        return found
    if seconds is not None and seconds <= 0:
        who.glance()
        return found

    def attempt() -> bool:
        nonlocal found
        found = look()
        return _has_any(found)

    with children.polling(who, is_ready):
        who.wait_until(attempt, READY_FILES, seconds)
    return found


def _has_any(found: Any) -> bool:
    return any(found) if isinstance(found, tuple) else bool(found)


def _select(real: Any) -> Callable[..., Any]:
    def select_files(rlist: Any, wlist: Any, xlist: Any, timeout: float | None = None, /) -> Any:
        if here.thread is None:
            return real(rlist, wlist, xlist, timeout)
        if timeout is not None and timeout < 0:
            raise ValueError("timeout must be non-negative")
        lists = list(rlist), list(wlist), list(xlist)
        return _wait(lambda: real(*lists, 0), lambda: any(real(*lists, 0)), timeout)

    return select_files


def _poll(real: Any) -> Callable[..., Any]:
    def poll(self: Any, timeout: float | None = None, /) -> Any:
        if here.thread is None:
            return real(self, timeout)
        seconds = None if timeout is None or timeout < 0 else timeout / 1000
        return _wait(lambda: real(self, 0), lambda: bool(real(self, 0)), seconds)

    return poll


def _epoll(real: Any) -> Callable[..., Any]:
    def poll(self: Any, timeout: float | None = None, maxevents: int = -1) -> Any:
        if here.thread is None:
            return real(self, timeout, maxevents)
        seconds = None if timeout is None or timeout < 0 else timeout
        descriptor = [self.fileno()]  # looked at from outside, for a look inside uses up what is told once only
        is_ready = lambda: bool(select.select(descriptor, (), (), 0)[0])  # noqa: E731
        return _wait(lambda: real(self, 0, maxevents), is_ready, seconds)

    return poll


def _read(real: Any) -> Callable[[int, int], bytes]:
    """Read from a pipe or socket once it is ready."""

    def read(descriptor: int, size: int, /) -> bytes:
        if here.thread is not None and os.get_blocking(descriptor) and not S_ISREG(os.fstat(descriptor).st_mode):
            if sys._getframe(1).f_code.co_name != _STARTS:
                select.select([descriptor], [], [])
        return real(descriptor, size)  # type: ignore[no-any-return]

    return read


def _write(real: Any) -> Callable[[int, Any], int]:
    """Write to a pipe or socket piece by piece, each once there is room: others may have to read before."""

    def write(descriptor: int, data: Any, /) -> int:
        who = here.thread
        if who is None or not os.get_blocking(descriptor) or S_ISREG(os.fstat(descriptor).st_mode):
            return real(descriptor, data)  # type: ignore[no-any-return]
        rest = memoryview(data).cast("B")
        size = len(rest)
        while True:
            if not select.select([], [descriptor], [], 0)[1]:
                select.select([], [descriptor], [])
            rest = rest[real(descriptor, rest[: select.PIPE_BUF]) :]
            if not rest:
                return size

    return write


def patch() -> list[inplace.Undo]:
    """Replace the functions and methods; what is returned puts them back."""
    undo = [inplace.replace_function(select.select, _select), inplace.replace_function(os.read, _read)]
    if hasattr(select, "PIPE_BUF"):
        undo.append(inplace.replace_function(os.write, _write))
    if hasattr(select, "poll"):
        undo.append(inplace.replace_method(type(select.poll()), "poll", _poll))
    if hasattr(select, "epoll"):
        undo.append(inplace.replace_method(select.epoll, "poll", _epoll))
    return undo
