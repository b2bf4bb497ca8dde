"""Threads that programs start: each is a thread of its program, which acts in turn with all others."""

from __future__ import annotations

import _thread
import logging
import threading
from collections.abc import Callable
from functools import partial
from typing import Any, Final

from colonysim.programs.host import Crashed
from colonysim.programs.locks import ProgramLock
from colonysim.stdlib import inplace
from colonysim.stdlib.here import here

_JOINABLE: Final = hasattr(_thread, "start_joinable_thread")
"""Whether a thread has a handle to be joined by (from Python 3.13), and not a lock that is free once it has ended."""


class _UntilItsEnd(ProgramLock):
    """What is free once a thread of a program has ended; those who join the thread wait for it."""

    __slots__ = ("thread",)

    def __init__(self, thread: Any) -> None:
        super().__init__()
        self.thread = thread
        super().acquire()
        self.owner = thread

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        """Wait for the end of the thread.

        The thread itself need not, nor need others outside of the program once the program is over: a thread of a pool
        that nobody shut down never ends, and the interpreter joins it when it exits.
        """
        if here.thread is self.thread:
            return True
        if here.thread is None and (self.thread.program.over or not threading.main_thread().is_alive()):
            super().acquire(blocking=False)  # so that it can be released, whether it was free or not
            return True
        return super().acquire(blocking, timeout)

    def locked(self) -> bool:
        """Return whether the calling thread has it: a join that is interrupted releases what it says is locked."""
        return self.owner is here.thread and super().locked()


_ends: Final[dict[int, tuple[Any, _UntilItsEnd]]] = {}
"""The handles of threads of programs, by identity, each with what is free once its thread has ended."""


def start(who: Any, real: Callable[..., Any], function: Callable[..., Any], args: Any, kwargs: Any) -> Any:
    """Start a thread of the program that calls. `real` is given a function without arguments, and starts it."""
    known = getattr(function, "__self__", None)
    known = known if isinstance(known, threading.Thread) else None
    label = known.name if known is not None else str(getattr(function, "__name__", function))
    thread = who.program.new_thread(label, daemon=known is None or known.daemon)
    end = _UntilItsEnd(thread)
    thread.ended = lambda: _tell_end(end)
    thread.end, thread.known = end, known
    if known is not None:
        _make_known(known, end)
    try:
        started = real(partial(thread.live, partial(function, *args, **kwargs)))
    except BaseException:
        who.program.forget_thread(thread)
        raise
    if _JOINABLE:
        _ends[id(started)] = (started, end)
    thread.wake()
    return started


def _make_known(known: threading.Thread, end: _UntilItsEnd) -> None:
    """Let `Thread.start` return at once, and a crash end the thread without a report."""
    if not _JOINABLE:
        vars(known)["_tstate_lock"] = end
    vars(known)["_started"].set()
    told = vars(known)["_invoke_excepthook"]

    def tell(thread: threading.Thread) -> None:
        import sys

        if isinstance(sys.exc_info()[1], Crashed):
            here.thread.tidy_up()
        elif not isinstance(sys.exc_info()[1], SystemExit):
            told(thread)

    vars(known)["_invoke_excepthook"] = tell


def _tell_end(end: _UntilItsEnd) -> None:
    if end.locked():
        end.release()


# ---------------------------------------------------------------- what is replaced
def _start_new(real: Any) -> Callable[..., Any]:
    def start_new_thread(function: Any, args: Any, kwargs: Any = None, /) -> Any:
        who = here.thread
        if who is None:
            return real(function, args) if kwargs is None else real(function, args, kwargs)
        return start(who, lambda live: real(live, ()), function, args, kwargs or {})

    return start_new_thread


def _start_joinable(real: Any) -> Callable[..., Any]:
    def start_joinable_thread(function: Any, handle: Any = None, daemon: bool = True) -> Any:
        who = here.thread
        if who is None:
            return real(function, handle=handle, daemon=daemon)
        known = real if handle is None else partial(real, handle=handle)
        return start(who, lambda live: known(live, daemon=True), function, (), {})

    return start_joinable_thread


def _join(real: Any) -> Callable[..., None]:
    def join(self: Any, timeout: float | None = None) -> None:
        _, end = _ends.get(id(self), (None, None))
        if end is not None:
            if not end.acquire(True, -1 if timeout is None or timeout < 0 else timeout):
                return
            end.release()
            timeout = None  # it has ended, as far as the simulation goes
        real(self, timeout)

    return join


def _is_done(real: Any) -> Callable[..., bool]:
    def is_done(self: Any) -> bool:
        _, end = _ends.get(id(self), (None, None))
        return real(self) if end is None else not end.locked()

    return is_done


def _set_sentinel(real: Any) -> Callable[[], Any]:
    def set_sentinel() -> Any:
        who = here.thread
        return real() if who is None or who.end is None else who.end

    return set_sentinel


def _enumerate(real: Any) -> Callable[[], list[threading.Thread]]:
    def enumerate_threads() -> list[threading.Thread]:
        who = here.thread
        return real() if who is None else who.program.own_threads()  # type: ignore[no-any-return]

    return enumerate_threads


def _active_count(real: Any) -> Callable[[], int]:
    return lambda: real() if here.thread is None else len(threading.enumerate())


def _main_thread(real: Any) -> Callable[[], threading.Thread]:
    return lambda: real() if here.thread is None else here.thread.program.main_thread


def _is_alive(_: logging.LogRecord) -> bool:
    """Whether who logs is alive: a pool would report each of its threads that dies in a crash."""
    return here.thread is None or not here.thread.program.doomed


def _patch_logging() -> inplace.Undo:
    logger = logging.getLogger("concurrent.futures")
    logger.addFilter(_is_alive)
    return lambda: logger.removeFilter(_is_alive)


def patch() -> list[inplace.Undo]:
    """Replace the functions and methods; what is returned puts them back."""
    undo = [
        inplace.replace_function(_thread.start_new_thread, _start_new),
        inplace.replace_function(threading.enumerate, _enumerate),
        inplace.replace_function(threading.active_count, _active_count),
        inplace.replace_function(threading.main_thread, _main_thread),
    ]
    if _JOINABLE:
        handle = vars(_thread)["_ThreadHandle"]
        undo.append(inplace.replace_function(vars(_thread)["start_joinable_thread"], _start_joinable))
        undo.append(inplace.replace_method(handle, "join", _join))
        undo.append(inplace.replace_method(handle, "is_done", _is_done))
    else:
        undo.append(inplace.replace_function(vars(_thread)["_set_sentinel"], _set_sentinel))
    return [*undo, _patch_logging(), _ends.clear]
