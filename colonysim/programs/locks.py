"""Locks of programs: a thread of a program that has to wait for one does so in virtual time.

A lock that a thread of a program makes is a `ProgramLock`. All that the standard library builds on locks (conditions,
events, semaphores, barriers, queues, futures) is written in Python and uses these locks, because each waiting thread
creates a lock to wait for. Locks that were made before the programs (of a module, of a logging handler) stay as they
are, and the methods of their class are replaced.

The real lock inside says whether a lock is taken, so that threads which belong to no program can use the same one.
"""

from __future__ import annotations

import _queue
import _thread
import queue
import threading
from collections.abc import Callable
from typing import Any, Final

from colonysim.kernel.kernel import Stuck
from colonysim.programs.host import stack
from colonysim.stdlib import inplace
from colonysim.stdlib.here import here, replace_attribute
from colonysim.stdlib.raw_locks import (
    acquire,
    acquire_again,
    allocate_by,
    is_locked,
    new_lock,
    release,
    release_again,
)

A_LOCK: Final = "a lock"
ANOTHER_THREAD: Final = "another thread, at an event, a condition or a queue"

_held: Final[dict[int, Any]] = {}
"""Of the locks that are no ProgramLocks those that threads of programs have, by identity, each with its owner."""
_takers: Final[dict[int, list[Any]]] = {}
"""The threads of programs that wait for something to be put into a SimpleQueue, by its identity."""


class ProgramLock:
    """A lock that threads of programs wait for in virtual time. `owner` is the thread of a program that has it."""

    __slots__ = ("__weakref__", "_real", "_waiting", "owner")

    def __init__(self) -> None:
        self._real = new_lock()
        self._waiting: list[Any] = []
        self.owner: Any = None

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        """Take it, as `threading.Lock.acquire` does."""
        if timeout != -1 and (timeout < 0 or not blocking):
            return acquire(self._real, blocking, timeout)  # type: ignore[no-any-return]  # raises the usual errors
        who = here.thread
        if not acquire(self._real, False):
            if not blocking:
                return False
            if who is None:
                if not acquire(self._real, True, timeout):
                    return False
            elif not self._wait(who, timeout):
                return False
        self.owner = who
        return True

    def _wait(self, who: Any, timeout: float) -> bool:
        what = ANOTHER_THREAD if self.owner is who else A_LOCK
        self._waiting.append(who)
        try:
            return _wait_for(who, self, lambda: acquire(self._real, False), what, timeout)
        finally:
            self._waiting.remove(who)

    def release(self) -> None:
        """Give it back, and wake all who wait for it."""
        self.owner = None
        release(self._real)
        for waiting in self._waiting:
            waiting.wake()

    def locked(self) -> bool:
        """Whether anybody has it."""
        return is_locked(self._real)  # type: ignore[no-any-return]

    def __enter__(self) -> bool:
        return self.acquire()

    def __exit__(self, *_: object) -> None:
        self.release()

    def _at_fork_reinit(self) -> None:
        self.__init__()  # type: ignore[misc]


def _wait_for(who: Any, lock: Any, attempt: Callable[[], bool], what: str, timeout: float) -> bool:
    """Wait for a lock in virtual time, for so many seconds (-1: for ever): whether it has been taken."""
    who.blocked_on = lock if timeout == -1 else None

    def take() -> bool:
        if attempt():
            return True
        if who.blocked_on is not None and (ring := _deadlock(who)):
            stands = "\n".join(f"{one} waits for a lock that the next one has\n{stack(one)}" for one in ring)
            who.program.fail(Stuck(f"threads wait for each other, and none can ever go on\n{stands}"))
        return False

    try:
        return who.wait_until(take, what, None if timeout == -1 else timeout)  # type: ignore[no-any-return]
    finally:
        who.blocked_on = None


def _deadlock(who: Any) -> list[Any]:
    """The threads that wait for each other's locks in a ring with this one, [] if there is no such ring.

    A thread that waits for a lock which it has taken itself is no ring: that is how conditions wait to be notified.
    """
    ring = [who]
    while True:
        lock = ring[-1].blocked_on
        owner = None if lock is None else _owner(lock)
        if owner is None or owner is ring[-1]:
            return []
        if owner in ring:
            return ring if owner is who else []
        ring.append(owner)


def _owner(lock: Any) -> Any:
    return lock.owner if isinstance(lock, ProgramLock) else _held.get(id(lock))


# ---------------------------------------------------------------- locks made before the programs
def _take_raw(real: Any, is_free: Callable[[Any], bool]) -> Callable[..., bool]:
    """How threads of programs take a lock that is none of theirs; `real` takes it for all others."""

    def take(self: Any, blocking: bool = True, timeout: float = -1) -> bool:
        who = here.thread
        if who is None or (timeout != -1 and (timeout < 0 or not blocking)):
            return real(self, blocking, timeout)  # type: ignore[no-any-return]
        if not real(self, False):
            if not blocking:
                return False
            if id(self) not in _held:  # somebody who is no program has it, and does not wait for programs
                return real(self, True, timeout)  # type: ignore[no-any-return]
            with who.polling(lambda: is_free(self)):
                if not _wait_for(who, self, lambda: real(self, False), A_LOCK, timeout):
                    return False
        _held[id(self)] = who
        return True

    return take


def _give_back(real: Any, is_free: Callable[[Any], bool]) -> Callable[..., None]:
    def give_back(self: Any, *_: object) -> None:
        real(self)
        if _held and is_free(self):
            _held.pop(id(self), None)

    return give_back


def _is_free(lock: Any) -> bool:
    return not is_locked(lock)


def _is_free_again(lock: Any) -> bool:
    return repr(lock).startswith("<unlocked")  # there is no other way to ask


# ---------------------------------------------------------------- queues written in C
def _get(real: Any) -> Callable[..., Any]:
    def get(self: Any, block: bool = True, timeout: float | None = None) -> Any:
        who = here.thread
        if who is None or not block:
            return real(self, block, timeout)
        if timeout is not None and timeout < 0:
            raise ValueError("'timeout' must be a non-negative number")
        found: list[Any] = []

        def take() -> bool:
            try:
                found.append(real(self, False))
            except queue.Empty:
                return False
            return True

        if take():
            return found[0]
        takers = _takers.setdefault(id(self), [])
        takers.append(who)
        try:
            if not who.wait_until(take, ANOTHER_THREAD, timeout):
                raise queue.Empty
        finally:
            takers.remove(who)
            if not takers:
                del _takers[id(self)]
        return found[0]

    return get


def _put(real: Any) -> Callable[..., None]:
    def put(self: Any, item: Any, block: bool = True, timeout: float | None = None) -> None:
        real(self, item)
        if _takers:
            for taker in _takers.get(id(self), ()):
                taker.wake()

    return put


# ---------------------------------------------------------------- what is replaced
def _allocate(real: Any) -> Callable[[], Any]:
    allocate_by(real)

    def allocate() -> Any:
        return real() if here.thread is None else ProgramLock()

    return allocate


def _always(method: Callable[..., Any]) -> inplace.Wrapper:
    return lambda _: method


def patch() -> list[inplace.Undo]:
    """Replace the functions and methods; what is returned puts them back."""
    undo = [inplace.replace_function(_thread.allocate_lock, _allocate)]
    for kind, take, give_back, is_free in (
        (_thread.LockType, acquire, release, _is_free),
        (_thread.RLock, acquire_again, release_again, _is_free_again),
    ):
        taken, given_back = _take_raw(take, is_free), _give_back(give_back, is_free)
        undo += [inplace.replace_method(kind, name, _always(taken)) for name in ("acquire", "__enter__")]
        undo += [inplace.replace_method(kind, name, _always(given_back)) for name in ("release", "__exit__")]
    undo.append(inplace.replace_method(_queue.SimpleQueue, "get", _get))
    undo.append(inplace.replace_method(_queue.SimpleQueue, "put", _put))
    real = _thread.RLock
    in_python = vars(threading)["_PyRLock"]
    made = replace_attribute(
        threading, "_CRLock", lambda *args: real(*args) if here.thread is None else in_python(*args)
    )
    return [*undo, made, _held.clear]
