"""Child processes of programs. They are real, and virtual time stands still while one works.

A child works unless it has ended, or waits for a message that others have to send it. What children bring about is
looked at once none of them works and no program is ready, so a run does not depend on the speed of the machine.
`child_s` sets how long children take in virtual time, by patterns of their commands: such a child ends when that time
has passed, or when it is killed.
"""

from __future__ import annotations

import importlib
import os
import signal
import sys
import traceback
import warnings
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from fnmatch import fnmatchcase
from typing import Any, Final

from colonysim.core.records import SECOND_NS
from colonysim.programs.host import exit_status
from colonysim.programs.surroundings import own_environment
from colonysim.stdlib import inplace
from colonysim.stdlib.here import here

_ENV_PLACE: Final = 5
"""Position of the environment among the arguments of `fork_exec`."""
_HELPERS: Final = ("multiprocessing.resource_tracker", "multiprocessing.forkserver")
"""Helpers of multiprocessing, by their commands. They serve the whole process, not the program that started them."""
_READS: Final = ("pipe", "unix", "skb_wait")
"""Parts of the names of kernel functions in which a thread waits for a message in a pipe or a local socket."""
_WAITS: Final = (*_READS, "futex", "poll", "select", "accept")
"""The same for workers of multiprocessing, which also wait for semaphores, and again and again with a time limit."""
CAN_BE_SEEN_WAITING: Final = os.path.exists("/proc/self/task") and os.access("/proc/self/wchan", os.R_OK)
"""Whether the operating system says where a process waits."""


_signal: Final = inplace.twin(os.kill)  # signals a real process even if a program calls it


class Child:
    """A child process of a program. `due_ns` is when it ends in virtual time, None for at once.

    `server` is the process number of the fork server that has started it, 0 for none.
    """

    def __init__(self, pid: int, command: str, due_ns: int | None, server: int = 0) -> None:
        self.pid = pid
        self.command = command
        self.due_ns = due_ns
        self.waiting: list[Any] = []
        self._server = server
        self._places = _WAITS if command == "fork" or "multiprocessing" in command else _READS

    @property
    def runs(self) -> bool:
        """Whether it still runs, as the system sees it."""
        try:
            if self._server:
                return _signal(self.pid, 0) is None
            return os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None
        except (ChildProcessError, ProcessLookupError):
            return False

    @property
    def works(self) -> bool:
        """Whether it runs, and does not wait for a message. The fork server works until it has told of an end."""
        if not self._server and not self.runs:
            return False
        pid = str(self._server or self.pid)
        seen = _waiting_threads(pid, self._places)
        return seen is None or seen != _waiting_threads(pid, self._places)

    def ends(self, now_ns: int) -> None:
        """It is killed, and need not last any longer."""
        if self.due_ns is not None:
            self.due_ns = min(self.due_ns, now_ns)
            for thread in self.waiting:
                thread.wake()


def _waiting_threads(pid: str, places: tuple[str, ...]) -> list[str] | None:
    """The threads of a process and its children, with how often each has run; None if one of them does not wait."""
    seen = []
    try:
        for thread in os.listdir(f"/proc/{pid}/task"):
            folder = f"/proc/{pid}/task/{thread}"
            seen.append(f"{thread} {_text(f'{folder}/schedstat')}")
            if not any(place in _text(f"{folder}/wchan") for place in places) and " Z " not in _text(f"{folder}/stat"):
                return None
            for child in _text(f"{folder}/children").split():
                its = _waiting_threads(child, places)
                if its is None:
                    return None
                seen += its
    except OSError:
        return None
    return seen


def _text(path: str) -> str:
    with open(path, encoding="ascii", errors="replace") as stream:
        return stream.read()


def begin(who: Any, pid: int, command: str, server: int = 0) -> None:
    """Note that a program has started a child process, unless that is a helper of multiprocessing."""
    if any(helper in command for helper in _HELPERS):
        return
    program = who.program
    spans = (seconds for pattern, seconds in program.child_s.items() if fnmatchcase(command, pattern))
    seconds = next(spans, None)
    due_ns = None if seconds is None else program.now_ns + round(min(seconds, 1e10) * SECOND_NS)
    program.children[pid] = Child(pid, command, due_ns, server)


def _awaited(who: Any) -> list[Child]:
    return [child for child in who.program.children.values() if child.due_ns is None]


def polling(who: Any, is_there: Callable[[], bool]) -> AbstractContextManager[None]:
    """Poll for something that child processes may bring about; time stands still while one works."""
    awaited = _awaited(who)
    if not awaited:
        return who.polling(is_there)  # type: ignore[no-any-return]
    what = f"a child process ({awaited[0].command})"
    return who.polling(is_there, lambda: any(child.works for child in awaited), what)  # type: ignore[no-any-return]


def settle(who: Any) -> None:
    """Wait until no child works, so that what the program sees does not depend on how fast its children are."""
    if _awaited(who):
        with polling(who, lambda: True):
            who.wait_until(lambda: True, "its child processes", at_once=False)


def _is_to_be_signalled() -> bool:
    """Whether a child is looked at to send it a signal, by `subprocess.Popen.send_signal`; it need not end before."""
    frame = sys._getframe(3)  # behind the replaced function: Popen._internal_poll, Popen.poll
    callers = (frame, frame.f_back)
    return any(one is not None and one.f_code.co_name == "send_signal" for one in callers)


def leave_if_forked(error: BaseException | None) -> None:
    """End the process, if it is a child that a program has forked and that has come to the end of the program."""
    if here.thread is None:
        if exit_status(error) is None:
            traceback.print_exception(error)
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError, ValueError):
                stream.flush()
        os._exit(1 if (status := exit_status(error)) is None else status)


def _waitpid(real: Any) -> Callable[[int, int], tuple[int, int]]:
    def waitpid(pid: int, options: int, /) -> tuple[int, int]:
        who = here.thread
        child = None if who is None else who.program.children.get(pid)
        if child is None:
            return real(pid, options)  # type: ignore[no-any-return]
        if _is_to_be_signalled():
            return real(pid, options)  # type: ignore[no-any-return]
        if child.due_ns is not None and not _is_over(who, child, wait=not options & os.WNOHANG):
            return 0, 0
        must_end = not options & os.WNOHANG or child.due_ns is not None
        has_come = lambda: not child.runs if must_end else not child.works  # noqa: E731
        with who.polling(has_come, lambda: child.works, f"a child process ({child.command})"):
            who.wait_until(has_come, f"its child {child.command}", at_once=False)
        if child.runs:
            who.glance()
            return 0, 0
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
    """Kill the child processes of a program that is gone: their numbers."""
    killed = [child.pid for child in children.values() if child.runs]
    for pid in killed:
        with suppress(OSError):
            _signal(pid, signal.SIGKILL)
    gone = list(children)
    children.clear()
    return gone


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
        if who is None:
            return real()  # type: ignore[no-any-return]
        with warnings.catch_warnings():  # that this process has several threads, which the program has not started
            warnings.simplefilter("ignore", DeprecationWarning)
            pid: int = real()
        if pid:
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
