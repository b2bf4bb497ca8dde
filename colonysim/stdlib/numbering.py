"""Numbers for tasks, futures, threads and child processes of programs, so that sets of them have one order.

`asyncio.wait`, `as_completed`, `all_tasks`, pools and task groups keep them in sets. A set has the order of the hashes
of its members, which else are addresses.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import threading
import weakref
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from types import AsyncGeneratorType, CoroutineType
from typing import Any, Final

from colonysim.stdlib import inplace
from colonysim.stdlib.here import here, replace_attribute

_numbers: Final[dict[int, tuple[int, weakref.ref[Any]]]] = {}
"""The numbers by the addresses of what has them, each until that is gone."""


def _hash(numbered: Any) -> int:
    """Return the number of an object that a program was the first to hash, and the address of any other."""
    address = id(numbered)
    if (known := _numbers.get(address)) is not None:
        return known[0]
    who = here.thread
    if who is None:
        return object.__hash__(numbered)
    number: int = who.program.count()
    _numbers[address] = (number, weakref.ref(numbered, lambda _: _numbers.pop(address, None)))
    return number


def _all_tasks(real: Any) -> Callable[..., Any]:
    """List the tasks by their numbers: members of a set that collide have the order in which they were added."""

    def all_tasks(loop: Any = None) -> Any:
        in_order = real(loop) if here.thread is None else sorted(real(loop), key=hash)
        return set(in_order)

    return all_tasks


def _set_running_loop(real: Any) -> Callable[[Any], None]:
    def set_running_loop(loop: Any, /) -> None:
        if here.thread is not None and loop is not None and not isinstance(loop, asyncio.BaseEventLoop):
            name = type(loop).__module__.partition(".")[0]
            raise RuntimeError(
                f"the event loop of {name} waits in real time, so it cannot run in a program: "
                f"use asyncio's own loop there, for example by `asyncio.run` without installing {name}"
            )
        real(loop)

    return set_running_loop


def patch() -> list[inplace.Undo]:
    """Replace the functions and methods; what is returned puts them back."""
    future, in_python = asyncio.Future, vars(asyncio.futures)["_PyFuture"]
    hashed_in_python = (in_python, concurrent.futures.Future, threading.Thread, BaseProcess)
    undo = [replace_attribute(kind, "__hash__", _hash) for kind in hashed_in_python]
    in_c = [AsyncGeneratorType, CoroutineType] + [future] * (future is not in_python)
    undo += [inplace.replace_hash(kind, _hash) for kind in in_c]
    undo.append(inplace.replace_function(asyncio.all_tasks, _all_tasks))
    undo.append(inplace.replace_function(vars(asyncio)["_set_running_loop"], _set_running_loop))
    return undo
