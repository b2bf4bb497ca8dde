"""What child processes of programs leave in this process, which does not end with the program, is tidied up."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from contextlib import suppress
from multiprocessing import process as processes
from multiprocessing import util
from typing import Any, Final

from colonysim.programs import inplace

_process_id: Final = inplace.twin(os.getpid)
"""Of this process; `os.getpid` gives programs numbers of their own."""
_close: Final = vars(util)["close_fds"]


def forget(pids: Iterable[int]) -> None:
    """Reap children that were killed, and have multiprocessing forget them, so that their pipes can be closed."""
    gone = set(pids)
    for pid in gone:
        with suppress(ChildProcessError):  # it is none of this process
            os.waitpid(pid, 0)
    children: set[Any] = vars(processes)["_children"]
    for process in [one for one in children if getattr(one._popen, "pid", None) in gone]:
        children.discard(process)


def _make_finalizer(real: Any) -> Callable[..., None]:
    def init(self: Any, obj: Any, callback: Any, *args: Any, **kwargs: Any) -> None:
        real(self, obj, callback, *args, **kwargs)
        if callback is _close:
            self._pid = _process_id()

    return init


def _finalize(real: Any) -> Callable[..., Any]:
    """Close descriptors also if the garbage collector finds their owner in a thread of another program or of none."""

    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        if self._callback is _close:
            kwargs["getpid"] = _process_id
        return real(self, *args, **kwargs)

    return call


def patch() -> list[inplace.Undo]:
    """Replace the methods; what is returned puts them back."""
    methods = vars(util.Finalize)
    return [
        inplace.replace_function(methods["__init__"], _make_finalizer),
        inplace.replace_function(methods["__call__"], _finalize),
    ]
