"""Locks as they are, whatever is done to those that programs use."""

from __future__ import annotations

from _thread import LockType, RLock, allocate_lock
from collections.abc import Callable
from typing import Any, Final

acquire: Final[Any] = LockType.acquire
release: Final[Any] = LockType.release
is_locked: Final[Any] = LockType.locked
acquire_again: Final[Any] = RLock.acquire
release_again: Final[Any] = RLock.release

_allocate: Any = allocate_lock


def new_lock() -> Any:
    """A real lock, also for a thread of a program."""
    return _allocate()


def allocate_by(real: Callable[[], Any]) -> None:
    """Make locks by this function: it does what the original one did, which is about to be replaced."""
    global _allocate
    _allocate = real
