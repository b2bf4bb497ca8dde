"""What a program leaves in this process, which does not end with it, is tidied up: child processes, and tasks."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterable
from contextlib import suppress
from multiprocessing import process as processes
from multiprocessing import util
from typing import Any, Final

from colonysim.stdlib import inplace
from colonysim.stdlib.here import here

_process_id: Final = inplace.twin(os.getpid)
"""Of this process; `os.getpid` gives programs numbers of their own."""
_close_descriptors: Final = vars(util)["close_fds"]
_LAST_WORDS: Final = 100
"""How often a coroutine is closed that goes on to wait for something."""


def forget(pids: Iterable[int]) -> None:
    """Have multiprocessing forget children that were killed, so that they are reaped and their pipes closed."""
    gone = set(pids)
    children: set[Any] = vars(processes)["_children"]
    for process in [one for one in children if getattr(one._popen, "pid", None) in gone]:
        children.discard(process)
        with suppress(OSError):
            process._popen.wait()


def close_event_loops(loops: Iterable[asyncio.BaseEventLoop]) -> None:
    """Close the coroutines and connections of event loops whose program was killed. In a thread of that program.

    The garbage collector would close them later, in whatever thread it runs, and their clean-up would act there.
    """
    for loop in loops:
        for transport in list(getattr(loop, "_transports", {}).values()):
            connection, transport._sock = getattr(transport, "_sock", None), None
            transport._closing = True
            if connection is not None:
                connection.close()
        for task in asyncio.all_tasks(loop):
            setattr(task, "_log_destroy_pending", False)  # noqa: B010 (no type checker knows it)
            _close(task.get_coro())


def _close(coroutine: Any) -> None:
    for _ in range(_LAST_WORDS):  # one that waits for something in its clean-up ignores that it is closed
        with suppress(BaseException):
            coroutine.close()
            return


def _note_loop(real: Any) -> Callable[..., None]:
    def init(self: asyncio.BaseEventLoop) -> None:
        real(self)
        if here.thread is not None:
            here.thread.loops.append(self)

    return init


def _make_finalizer(real: Any) -> Callable[..., None]:
    def init(self: Any, obj: Any, callback: Any, *args: Any, **kwargs: Any) -> None:
        real(self, obj, callback, *args, **kwargs)
        if callback is _close_descriptors:
            self._pid = _process_id()

    return init


def _finalize(real: Any) -> Callable[..., Any]:
    """Close descriptors also if the garbage collector finds their owner in a thread of another program or of none."""

    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        if self._callback is _close_descriptors:
            kwargs["getpid"] = _process_id
        return real(self, *args, **kwargs)

    return call


def patch() -> list[inplace.Undo]:
    """Replace the methods; what is returned puts them back."""
    methods = vars(util.Finalize)
    return [
        inplace.replace_function(methods["__init__"], _make_finalizer),
        inplace.replace_function(methods["__call__"], _finalize),
        inplace.replace_function(vars(asyncio.BaseEventLoop)["__init__"], _note_loop),
    ]
