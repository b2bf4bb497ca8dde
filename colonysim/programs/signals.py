"""Signals of programs: each program has handlers, timers and a wakeup descriptor of its own, as a process has.

The handler of a signal runs in the main thread of the program: at the next step of that thread, or where it waits, as
soon as it has a turn. Then the wait goes on, unless the handler raises.
"""

from __future__ import annotations

import errno
import importlib
import os
import signal
import sys
from collections.abc import Callable
from typing import Any, Final, Protocol

from colonysim.core.records import SECOND_NS
from colonysim.kernel.kernel import Kernel
from colonysim.programs import children
from colonysim.stdlib import inplace
from colonysim.stdlib.here import for_programs, here

_IGNORED: Final = tuple(
    getattr(signal, name) for name in ("SIGCHLD", "SIGURG", "SIGWINCH", "SIGCONT") if hasattr(signal, name)
)
"""Signals that do nothing to a process without a handler."""
_NOT_CAUGHT: Final = tuple(getattr(signal, name) for name in ("SIGKILL", "SIGSTOP") if hasattr(signal, name))
_REAL_TIMER: Final = getattr(signal, "ITIMER_REAL", 0)


class GetsSignals(Protocol):
    """A program, as its signals see it."""

    name: str

    def interrupt(self) -> None:
        """Have its main thread call `Signals.handle` soon. Under the lock."""

    def die(self) -> None:
        """End at once, as without a handler for a signal. Under the lock."""


class Signals:
    """The signals of one life of a program. `pending` have come and not been handled; `handled` counts the others."""

    def __init__(self, kernel: Kernel, program: GetsSignals) -> None:
        self._kernel = kernel
        self._program = program
        self._handlers: dict[int, Any] = {signal.SIGINT: signal.default_int_handler}
        self.pending: list[int] = []
        self.handled = 0
        self.wakeup_fd = -1
        self._timer = self._due_ns = 0
        self._interval_s = 0.0

    def handler(self, number: int) -> Any:
        """What a signal does: a callable, SIG_DFL or SIG_IGN."""
        return self._handlers.get(number, signal.SIG_DFL)

    def set_handler(self, number: int, handler: Any) -> Any:
        """Set what a signal does, and return what it did before. Errors: as `signal.signal`."""
        if not 1 <= number < signal.NSIG:
            raise ValueError("signal number out of range")
        if number in _NOT_CAUGHT:
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        if not callable(handler) and handler not in (signal.SIG_DFL, signal.SIG_IGN):
            raise TypeError("signal handler must be signal.SIG_IGN, signal.SIG_DFL, or a callable object")
        before = self.handler(number)
        self._handlers[number] = handler
        return before

    def deliver(self, number: int) -> None:
        """The program gets a signal. Under the lock."""
        handler = self.handler(number)
        if handler == signal.SIG_IGN or (handler == signal.SIG_DFL and number in _IGNORED):
            return
        if handler == signal.SIG_DFL:
            self._program.die()
            return
        self.pending.append(number)
        if self.wakeup_fd >= 0:
            os.write(self.wakeup_fd, bytes([number]))
        self._program.interrupt()

    def handle(self) -> None:
        """Run the handlers of the signals that have come, in the program's main thread. Errors: what they raise."""
        while self.pending:
            number = self.pending.pop(0)
            self.handled += 1
            handler = self.handler(number)
            if callable(handler):
                handler(number, sys._getframe())

    def stop(self) -> None:
        """No timer of it rings any more. Under the lock."""
        self._kernel.timetable.cancel(self._timer)

    # ------------------------------------------------------------ the timer
    def timer(self) -> tuple[float, float]:
        """Seconds until SIGALRM comes, and then between one and the next; 0 for never."""
        left_ns = self._due_ns - self._kernel.world.now_ns if self._due_ns else 0
        return left_ns / SECOND_NS, self._interval_s

    def set_timer(self, seconds: float, interval_s: float) -> tuple[float, float]:
        """Have SIGALRM come in so many seconds (0: never) and then again and again; returns what was set before."""
        if seconds < 0 or interval_s < 0:
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        with self._kernel.lock:
            before = self.timer()
            self._kernel.timetable.cancel(self._timer)
            self._interval_s = interval_s
            self._plan(seconds)
        return before

    def _plan(self, seconds: float) -> None:
        self._due_ns = self._kernel.world.now_ns + round(seconds * SECOND_NS) if seconds else 0
        if seconds:
            what = f"an alarm of {self._program.name}"
            self._timer = self._kernel.timetable.add(self._due_ns, self._ring, what)

    def _ring(self) -> None:
        self._plan(self._interval_s)
        self.deliver(signal.SIGALRM)


# ---------------------------------------------------------------- what is replaced
def _set_handler(who: Any, number: int, handler: Any, /) -> Any:
    _require_main(who, "signal")
    return who.program.signals.set_handler(int(number), handler)


def _set_wakeup_fd(who: Any, fd: int, /, *, warn_on_full_buffer: bool = True) -> int:
    _require_main(who, "set_wakeup_fd")
    before: int = who.program.signals.wakeup_fd
    who.program.signals.wakeup_fd = fd
    return before


def _require_main(who: Any, name: str) -> None:
    if who.label:
        raise ValueError(f"{name} only works in main thread of the main interpreter")


def _pause(who: Any) -> None:
    signals = who.program.signals
    handled = signals.handled
    who.wait_until(lambda: signals.handled > handled, "a signal")


def _alarm(who: Any, seconds: int, /) -> int:
    left_s, _ = who.program.signals.set_timer(seconds, 0.0)
    return -int(-left_s // 1)


def _set_timer(who: Any, which: int, seconds: float, interval: float = 0.0, /) -> Any:
    _require_real_timer(which)
    return who.program.signals.set_timer(seconds, interval if seconds else 0.0)


def _get_timer(who: Any, which: int, /) -> Any:
    _require_real_timer(which)
    return who.program.signals.timer()


def _require_real_timer(which: int) -> None:
    if which != _REAL_TIMER:
        raise ValueError("timers of processor time cannot be had in virtual time: take signal.ITIMER_REAL")


def _raise(who: Any, number: int, /) -> None:
    who.send_signal(who.program, number)


def _wait_for_signal(who: Any, *_: Any) -> Any:
    raise ValueError("sigwait cannot be had in a program: set a handler, and wait with signal.pause()")


def _kill(real: Any) -> Callable[[int, int], None]:
    def kill(pid: int, number: int, /) -> None:
        who = here.thread
        program = None if who is None else who.program.process_of(pid)
        if program is None:
            real(pid, number)
            if who is not None and number:
                children.killed(who, pid)
        elif number:
            who.send_signal(program, number)

    return kill


def _mask(who: Any, *_: Any) -> set[int]:
    return set()


_REPLACED: Final[dict[str, Callable[..., Any]]] = {
    "signal": _set_handler,
    "getsignal": lambda who, number: who.program.signals.handler(number),
    "set_wakeup_fd": _set_wakeup_fd,
    "siginterrupt": lambda who, *_: None,
    "pause": _pause,
    "alarm": _alarm,
    "setitimer": _set_timer,
    "getitimer": _get_timer,
    "raise_signal": _raise,
    "sigwait": _wait_for_signal,
    "sigwaitinfo": _wait_for_signal,
    "sigtimedwait": _wait_for_signal,
    "pthread_sigmask": _mask,
}


def patch() -> list[inplace.Undo]:
    """Replace the functions; what is returned puts them back."""
    written_in_c = vars(importlib.import_module("_signal"))  # what the functions of `signal` call
    wrappers = {name: for_programs(virtual) for name, virtual in _REPLACED.items()}
    undo = [inplace.replace_function(written_in_c[name], wrappers[name]) for name in wrappers if name in written_in_c]
    undo.append(inplace.replace_function(os.kill, _kill))
    undo.append(inplace.replace_function(os.getpid, for_programs(lambda who: who.program.pid)))
    return undo
