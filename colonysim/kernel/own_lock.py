"""A lock of the simulation itself."""

from __future__ import annotations

import sys
from _thread import RLock
from collections.abc import Callable
from functools import wraps
from typing import Any, Final, TypeVar

_Method = TypeVar("_Method", bound=Callable[..., Any])
ENTERED_BY_A_CALL: Final = sys.version_info >= (3, 14)
"""Whether an interrupt may come between taking a lock and being in the `with`, as from Python 3.14."""


class OwnLock(RLock):  # type: ignore[misc]  # typeshed thinks it final
    """A lock whose methods stay those written in C, whatever is done to the locks that programs use.

    So it costs what it always cost, and up to Python 3.13 no interrupt can come between taking it and being in the
    `with`.
    """

    __slots__ = ()
    acquire = RLock.acquire
    release = RLock.release
    __enter__ = RLock.__enter__
    __exit__ = RLock.__exit__

    def locked(self) -> bool:
        """Whether any thread has it."""
        return not repr(self).startswith("<unlocked")  # before Python 3.14 there is no other way to ask

    def release_to(self, depth: int) -> None:
        """Release it until the calling thread has taken it no more than `depth` times. For Python 3.12 and later."""
        while self._recursion_count() > depth:  # type: ignore[attr-defined]
            self.release()


def freeing_the_lock(method: _Method) -> _Method:
    """Have a method release `self.kernel.lock` where an interrupt came right behind taking it."""
    if not ENTERED_BY_A_CALL:
        return method

    @wraps(method)
    def ask(self: Any, *args: Any, **kwargs: Any) -> Any:
        lock = self.kernel.lock
        depth = lock._recursion_count()
        try:
            return method(self, *args, **kwargs)
        except BaseException:
            lock.release_to(depth)
            raise

    return ask  # type: ignore[return-value]
