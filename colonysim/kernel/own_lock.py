"""A lock of the simulation itself."""

from __future__ import annotations

from _thread import RLock


class OwnLock(RLock):  # type: ignore[misc]  # typeshed thinks it final
    """A lock whose methods stay those written in C, whatever is done to the locks that programs use.

    So an interrupt cannot come between taking it and being in the `with`, and it costs what it always cost.
    """

    __slots__ = ()
    acquire = RLock.acquire
    release = RLock.release
    __enter__ = RLock.__enter__
    __exit__ = RLock.__exit__

    def locked(self) -> bool:
        """Whether any thread has it."""
        return not repr(self).startswith("<unlocked")  # before Python 3.14 there is no other way to ask
