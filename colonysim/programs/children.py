"""Child processes of programs. They are real, and virtual time stands still while one runs.

A program that polls a child sees it as ended; a program that waits for a child, or for its output, waits in real time.
So a run does not depend on the speed of the machine. `child_s` sets how long children take in virtual time, by patterns
of their commands: such a child ends when that time has passed, or when it is killed.
"""

from __future__ import annotations

import importlib
import os
import signal
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from fnmatch import fnmatchcase
from typing import Any, Final

from colonysim.core.records import SECOND_NS
from colonysim.programs import inplace
from colonysim.programs.stdlib_patches import here
from colonysim.programs.surroundings import own_environment

_ENV_PLACE: Final = 5
"""Of the environment among the arguments of `fork_exec`."""
_TRACKER: Final = "multiprocessing.resource_tracker"
_FORK_SERVER: Final = "multiprocessing.forkserver"
"""Helpers of multiprocessing, by their commands. They serve the whole process, not the program that started them."""


class Child:
    """A child process of a program. `due_ns` is when it ends in virtual time, None for at once."""

    def __init__(self, pid: int, command: str, due_ns: int | None) -> None:
        self.pid = pid
        self.command = command
        self.due_ns = due_ns
        self.waiting: list[Any] = []

    @property
    def runs(self) -> bool:
        """Whether it still runs, as the system sees it."""
        try:
            return os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None
        except ChildProcessError:
            return False

    def ends(self, now_ns: int) -> None:
        """It is killed, and need not last any longer."""
        if self.due_ns is not None:
            self.due_ns = min(self.due_ns, now_ns)
            for thread in self.waiting:
                thread.wake()


def begin(who: Any, pid: int, command: str) -> None:
    """A program has started a child process. Nobody waits for multiprocessing's tracker of resources."""
    if _TRACKER in command:
        return
    program = who.program
    spans = (seconds for pattern, seconds in program.child_s.items() if fnmatchcase(command, pattern))
    seconds = next(spans, None)
    due_ns = None if seconds is None else program.now_ns + round(min(seconds, 1e10) * SECOND_NS)
    program.children[pid] = Child(pid, command, due_ns)


def polling(who: Any, is_there: Callable[[], bool]) -> AbstractContextManager[None]:
    """Poll for something that child processes may bring about; time stands still while one runs."""
    awaited = [child for child in who.program.children.values() if child.due_ns is None]
    if not awaited:
        return who.polling(is_there)  # type: ignore[no-any-return]
    what = f"a child process ({awaited[0].command})"
    return who.polling(is_there, lambda: any(child.runs for child in awaited), what)  # type: ignore[no-any-return]


def _waitpid(real: Any) -> Callable[[int, int], tuple[int, int]]:
    def waitpid(pid: int, options: int, /) -> tuple[int, int]:
        who = here.thread
        child = None if who is None else who.program.children.get(pid)
        if child is None:
            return real(pid, options)  # type: ignore[no-any-return]
        if child.due_ns is not None and not _is_over(who, child, wait=not options & os.WNOHANG):
            return 0, 0
        if child.runs:
            with who.polling(lambda: not child.runs, lambda: child.runs, f"a child process ({child.command})"):
                who.wait_until(lambda: not child.runs, f"its child {child.command}")
        found: tuple[int, int] = real(pid, options & ~os.WNOHANG)
        who.program.children.pop(pid, None)
        return found

    return waitpid


def _is_over(who: Any, child: Child, *, wait: bool) -> bool:
    """Whether a child process has ended in virtual time; wait for that if `wait` is set."""
    program = who.program
    if program.now_ns >= child.due_ns or not wait:
        who.glance()
        return bool(program.now_ns >= child.due_ns)
    child.waiting.append(who)
    try:
        while (left_ns := child.due_ns - program.now_ns) > 0:
            who.wait_until(lambda: program.now_ns >= child.due_ns, f"its child {child.command}", left_ns / SECOND_NS)
    finally:
        child.waiting.remove(who)
    return True


def end_all(children: dict[int, Child]) -> list[int]:
    """Kill the child processes of a program that is gone, but for one that serves the whole process: their numbers."""
    killed = [child.pid for child in children.values() if _FORK_SERVER not in child.command]
    for pid in killed:
        with suppress(OSError):
            os.kill(pid, signal.SIGKILL)
    children.clear()
    return killed


def killed(who: Any, pid: int) -> None:
    """A program has sent a signal to a process."""
    child = who.program.children.get(pid)
    if child is not None:
        child.ends(who.program.now_ns)


def _fork_exec(real: Any) -> Callable[..., int]:
    def fork_exec(*args: Any) -> int:
        who = here.thread
        if who is None:
            return real(*args)  # type: ignore[no-any-return]
        if args[_ENV_PLACE] is None:
            args = (*args[:_ENV_PLACE], own_environment(), *args[_ENV_PLACE + 1 :])
        pid: int = real(*args)
        begin(who, pid, " ".join(os.fsdecode(word) for word in args[0]))
        return pid

    return fork_exec


def _fork(real: Any) -> Callable[[], int]:
    def fork() -> int:
        who = here.thread
        pid: int = real()
        if who is not None and pid:
            begin(who, pid, "fork")
        return pid

    return fork


def _spawn(real: Any) -> Callable[..., int]:
    def spawn(path: Any, argv: Any, env: Any, /, **kwargs: Any) -> int:
        who = here.thread
        if who is not None and (env is None or env is os.environ):
            env = dict(os.environ)  # C code would read the variables of the process
        pid: int = real(path, argv, env, **kwargs)
        if who is not None:
            begin(who, pid, " ".join(os.fsdecode(word) for word in argv))
        return pid

    return spawn


def patch() -> list[inplace.Undo]:
    """Replace the functions; what is returned puts them back."""
    if os.name != "posix":
        return []
    fork_exec = vars(importlib.import_module("_posixsubprocess"))["fork_exec"]
    undo = [inplace.replace_function(os.waitpid, _waitpid), inplace.replace_function(fork_exec, _fork_exec)]
    undo.append(inplace.replace_function(os.fork, _fork))
    undo += [inplace.replace_function(vars(os)[name], _spawn) for name in ("posix_spawn", "posix_spawnp")]
    return undo
