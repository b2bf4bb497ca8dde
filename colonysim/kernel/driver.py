"""The driver: elects one thread to move virtual time for all who wait, once every actor is blocked.

kernel.py says who may move time. The driver does so in mode `auto`, and brings a clock that follows real time up to
date for those who wait. At any moment at most one thread is the mover, which `kernel.mover` stands for:

- a server that has called `as_mover` is the mover as long as it runs. It calls `pump` when it is woken, and again
  after as many seconds as `pump` returns;
- otherwise it is one of the threads that wait in this process. Each calls `wait_for`; the first to get the lock becomes
  the mover, moves time until it has what it waits for, and then hands over to another one that waits.

The mover checks whether every actor is blocked (`Actors.seconds_until_idle`). If so, it lets one event happen and
checks again, because the event may have reached an actor. Each attempt has one of four outcomes:

- DONE: what was waited for is there;
- NOT_MINE: another thread is the mover;
- NEVER: nothing more happens by itself, so look again when woken;
- Retry: look again after a time, because an actor may still be acting, or when the clock says so.

While somebody runs the programs of a simulation nobody else may move time, for one of them may be acting.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from enum import Enum
from time import monotonic
from typing import Final, NamedTuple

from colonysim.kernel.actors import THREAD_THRESHOLD_S
from colonysim.kernel.clock import LAST_NS, Mode
from colonysim.kernel.kernel import STUCK_AFTER_S, Kernel, Stuck
from colonysim.kernel.participants import Settable
from colonysim.kernel.pending import Waiter

_BATCH_S: Final = 0.005
"""For so much real time events happen one after the other before anybody else is looked at."""


class MoveResult(Enum):
    """What an attempt to move time came to, if it need not be repeated."""

    DONE = "what was waited for is there"
    NOT_MINE = "another thread moves time"
    NEVER = "nothing more happens by itself"


class Retry(NamedTuple):
    """The look must be repeated after so many seconds of real time, or when the mover is woken."""

    after_s: float


_PROGRAMS_RUN: Final = Retry(THREAD_THRESHOLD_S)
_YIELD_TO_OTHERS: Final = Retry(0.0)


class Driver:
    """Moves time on behalf of all who wait. Methods take the kernel's lock unless their docstring says otherwise."""

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel
        self._waiters: dict[int, Waiter] = {}
        self._servers: list[Settable] = []  # those who have taken over, the last one last

    # ------------------------------------------------------------ moving time
    def pump(self) -> float | None:
        """Let time pass as the clock's mode says, on behalf of a server that has taken over.

        Return after how many seconds of real time to call again, None for not before the server is woken.
        Errors: what an event raises.
        """
        kernel = self._kernel
        with kernel.lock:
            outcome = self._pump()
        return outcome.after_s if isinstance(outcome, Retry) else None

    def _pump(self) -> Retry | MoveResult:
        """One look of the mover. Under the lock."""
        mover = self._kernel.mover
        try:
            outcome = self._try_to_move()
        except BaseException:
            mover.asleep, mover.planned_ns = True, None  # whatever comes next wakes it again
            raise
        mover.asleep = outcome is MoveResult.NEVER
        return outcome

    def _try_to_move(self) -> Retry | MoveResult:
        kernel = self._kernel
        mode = kernel.clock.mode
        if self._programs_run():
            return _PROGRAMS_RUN
        if mode is Mode.MANUAL:
            return MoveResult.NEVER
        if mode is Mode.AUTO:
            return self._move()
        kernel.catch_up()
        due_ns = kernel.mover.planned_ns = kernel.due()
        if due_ns is None:
            return MoveResult.NEVER
        return Retry(kernel.clock.real_seconds(due_ns - kernel.world.now_ns))

    def _move(self) -> Retry | MoveResult:
        """Let events happen one after the other, as long as every actor is blocked."""
        kernel = self._kernel
        first_events, until_s = kernel.events, monotonic() + _BATCH_S
        outcome: Retry | MoveResult = MoveResult.NEVER

        def stop() -> bool:
            nonlocal outcome
            if kernel.events > first_events and monotonic() > until_s:
                outcome = _YIELD_TO_OTHERS  # the thread that moves time may have other requests to serve
                return True
            if not (kernel.pending or kernel.connections or kernel.programs):  # nobody waits for time to move
                return True
            self._let_programs_act()
            if self._programs_run():
                outcome = _PROGRAMS_RUN
                return True
            idle_s = kernel.actors.seconds_until_idle()
            if idle_s is None:
                return True  # a registered actor acts, and says when it does no more
            if idle_s > 0.0:
                outcome = Retry(idle_s)
                return True
            return False

        kernel.run(LAST_NS, stop)
        return outcome

    def _programs_run(self) -> bool:
        """Whether somebody runs the programs, and time with them."""
        programs = self._kernel.programs
        return programs is not None and programs.under_way

    def _let_programs_act(self) -> None:
        """Let the programs act that are ready, before time moves on. Under the lock, which is released meanwhile."""
        kernel = self._kernel
        if kernel.programs is None or not kernel.programs.ready:
            return
        now_ns = kernel.world.now_ns
        try:
            kernel.lock.release()
            kernel.programs.run(now_ns, lambda: False, gives_way=True)
        except Exception as error:
            kernel.problems.append(error)
        finally:
            kernel.lock.acquire()

    @contextmanager
    def as_mover(self, event: Settable) -> Iterator[None]:
        """Make a server the mover until the end of the `with`: it calls `pump`, and again when `event` is set."""
        mover = self._kernel.mover
        with self._kernel.lock:
            self._servers.append(event)
            mover.event = event
        try:
            yield
        finally:
            with self._kernel.lock:
                self._servers.remove(event)
                if mover.event is event:
                    self._hand_over()

    def _hand_over(self) -> None:
        """Hand over to the server that was the mover before, or have all who wait elect another one. Under the lock."""
        mover = self._kernel.mover
        mover.event = self._servers[-1] if self._servers else None
        mover.planned_ns = None
        self._wake_all()

    def wake_all(self) -> None:
        """Wake all waiting threads, because the programs have no runner any more."""
        with self._kernel.lock:
            self._wake_all()

    def _wake_all(self) -> None:
        for waiter in list(self._waiters.values()):
            waiter.event.set()
        mover = self._kernel.mover
        if mover.event is not None:
            mover.event.set()

    # ------------------------------------------------------------ waiting in this process
    def wait_for(self, waiter: Waiter, what: str) -> None:
        """Wait until the waiter is done, moving time for all who wait if nobody else does.

        `what` says in `why` what is waited for. Errors: Stuck, and what an event raises.
        """
        kernel = self._kernel
        actor = kernel.actors.this_thread()
        if actor.program is not None:
            actor.program.wait(waiter, what)
            return
        if kernel.programs is not None and not kernel.clock.follows_real_time:
            limit_ns = kernel.world.now_ns if kernel.clock.mode is Mode.MANUAL else None
            kernel.programs.run(limit_ns, lambda: waiter.done, gives_way=True)
            if waiter.done:
                return
        steps = kernel.steps
        self._waiters[id(waiter)] = waiter
        waiter.actor = actor
        with kernel.actors.waiting(actor, what, kernel.world.now_ns):
            try:
                while not waiter.done:
                    outcome = self._take_turn(waiter)
                    if isinstance(outcome, Retry):
                        waiter.event.wait(outcome.after_s)
                    elif outcome is not MoveResult.DONE and not waiter.event.wait(STUCK_AFTER_S):
                        self._raise_if_stuck(steps, waiter)
                        steps = kernel.steps
            finally:
                waiter.actor = None
                del self._waiters[id(waiter)]
                self._release_turn(waiter)

    def _take_turn(self, waiter: Waiter) -> Retry | MoveResult:
        """Be the mover, if nobody else is. Errors: Stuck where nothing can happen any more."""
        kernel = self._kernel
        mover = kernel.mover
        with kernel.lock:
            waiter.event.clear()
            if waiter.done:
                return MoveResult.DONE
            if self._programs_run():
                return _PROGRAMS_RUN
            if mover.event not in (None, waiter.event):
                return MoveResult.NOT_MINE
            mover.event = waiter.event
            outcome = self._pump()
            anybody = waiter.done or kernel.actors.busy() or kernel.actors.outside_active_at is not None
            if outcome is MoveResult.NEVER and not anybody:
                raise Stuck(f"nothing can ever happen any more\n{kernel.why()}")
            return MoveResult.DONE if waiter.done else outcome

    def _release_turn(self, waiter: Waiter) -> None:
        with self._kernel.lock:
            if self._kernel.mover.event is waiter.event:
                self._hand_over()

    def _raise_if_stuck(self, steps: int, waiter: Waiter) -> None:
        """Raise Stuck after a time without events, unless the thread that moves time is itself waiting."""
        kernel = self._kernel
        if steps != kernel.steps or kernel.clock.mode not in (Mode.MANUAL, Mode.AUTO):
            return
        with kernel.lock:
            if kernel.mover.event in (None, waiter.event) or kernel.mover.asleep:
                raise Stuck(f"nothing has happened for {STUCK_AFTER_S:.0f} s of real time\n{kernel.why()}")
