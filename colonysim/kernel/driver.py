"""The driver: elects one thread to move virtual time for all who wait, once every actor is blocked.

kernel.py says who may move time. The driver does so in mode `auto`, and updates a clock that follows real time for the
threads that wait. At any moment at most one thread is the mover, represented by `kernel.mover`:

- a server that has called `as_mover` is the mover while it runs. It calls `pump` when it is woken, and after the number
  of seconds that `pump` returned;
- otherwise it is one of the waiting threads of this process. Each calls `wait_for`; the first to get the lock becomes
  the mover, moves time until its own wait is over, and hands over to another waiting thread.

The mover checks whether every actor is blocked (`Actors.seconds_until_idle`). If so, it lets one event happen and
checks again, because the event may have reached an actor. Each attempt has one of four outcomes:

- DONE: the wait is over;
- NOT_MINE: another thread is the mover;
- NEVER: nothing is due, so try again only when woken;
- Retry: try again after some seconds, because an actor may still be acting or an event is due then.

While a thread runs the programs of a simulation, no other may move time, because a program may be acting.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import Enum
from time import monotonic
from typing import Final, NamedTuple

from colonysim.core.wording import show_limit
from colonysim.kernel.actors import THREAD_THRESHOLD_S
from colonysim.kernel.clock import LAST_NS, Mode
from colonysim.kernel.kernel import STUCK_AFTER_S, Kernel, Stuck
from colonysim.kernel.participants import Settable
from colonysim.kernel.pending import Waiter

_BATCH_S: Final = 0.005
"""How long events run in one batch, in real seconds, before the mover checks for other work."""


class MoveResult(Enum):
    """The outcome of an attempt to move time that need not be repeated."""

    DONE = "the wait is over"
    NOT_MINE = "another thread moves time"
    NEVER = "nothing is due"


class Retry(NamedTuple):
    """The attempt must be repeated after some real seconds, or when the mover is woken."""

    after_s: float


_PROGRAMS_RUN: Final = Retry(THREAD_THRESHOLD_S)
_YIELD_TO_OTHERS: Final = Retry(0.0)


class Driver:
    """Moves time for all waiting threads. Methods take the kernel's lock unless their docstring says otherwise."""

    def __init__(self, kernel: Kernel, spare_s: Callable[[], float] = float) -> None:
        self._kernel = kernel
        self._spare_s = spare_s  # real seconds until the next event may happen although all are silent
        self._waiters: dict[int, Waiter] = {}
        self._servers: list[Settable] = []  # those that are within `as_mover`, the latest last

    # ------------------------------------------------------------ moving time
    def pump(self) -> float | None:
        """Move time as the clock's mode permits, for a server that is the mover.

        Returns after how many real seconds to call again; None for not before the server is woken. Raises what an event
        raises.
        """
        kernel = self._kernel
        with kernel.lock:
            outcome = self._pump()
        return outcome.after_s if isinstance(outcome, Retry) else None

    def _pump(self) -> Retry | MoveResult:
        """Make one attempt, and note whether the mover sleeps until it is woken. Under the lock."""
        mover = self._kernel.mover
        try:
            outcome = self._try_to_move()
        except BaseException:
            mover.asleep, mover.planned_ns = True, None  # so that the next change wakes it
            raise
        mover.asleep = outcome is MoveResult.NEVER
        return outcome

    def _try_to_move(self) -> Retry | MoveResult:
        """Move time as the mode of the clock permits."""
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
        """Run events, one after the other, while every actor is blocked."""
        kernel = self._kernel
        first_events, until_s = kernel.events, monotonic() + _BATCH_S
        outcome: Retry | MoveResult = MoveResult.NEVER
        last_ns = kernel.world.now_ns

        def stop() -> bool:
            nonlocal outcome, last_ns
            if kernel.world.now_ns > last_ns:
                kernel.actors.note_move(kernel.world.now_ns - last_ns)
                last_ns = kernel.world.now_ns
            if kernel.events > first_events and monotonic() > until_s:
                outcome = _YIELD_TO_OTHERS  # the mover may be a server with requests to serve
                return True
            if not (kernel.pending or kernel.connections or kernel.programs):  # nobody waits for time to move
                return True
            self._let_programs_act()
            if self._programs_run():
                outcome = _PROGRAMS_RUN
                return True
            idle_s = kernel.actors.seconds_until_idle()
            if idle_s is None:
                kernel.clock.rest()
                return True  # a registered actor acts; it reports when it stops
            if idle_s <= 0.0:
                idle_s = self._spare_s()
            if idle_s > 0.0:
                outcome = Retry(idle_s)
                return True
            return False

        kernel.run(LAST_NS, stop)
        return outcome

    def _programs_run(self) -> bool:
        """Whether a thread runs the programs, and moves time for them."""
        programs = self._kernel.programs
        return programs is not None and programs.under_way

    def _let_programs_act(self) -> None:
        """Run the programs that are ready before time moves. Under the lock, which is released meanwhile."""
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
        """Within the context, make a server the mover: it calls `pump`, and calls it again when `event` is set."""
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
        """Hand over to the previous server, or wake the waiting threads so that one takes over. Under the lock."""
        mover = self._kernel.mover
        mover.event = self._servers[-1] if self._servers else None
        mover.planned_ns = None
        self._wake_all()

    def wake_all(self) -> None:
        """Wake all waiting threads, because no thread runs the programs any more."""
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
        """Wait until the waiter is done. Moves time for all waiting threads if no other thread does.

        `what` describes the wait in `why`. Raises Stuck, and what an event raises.
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
        """Become the mover, if no other thread is, and try to move time. Raises Stuck if nothing can ever happen."""
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
                raise Stuck(f"no further event can happen\n{kernel.why()}")
            return MoveResult.DONE if waiter.done else outcome

    def _release_turn(self, waiter: Waiter) -> None:
        """Hand over if this thread is the mover."""
        with self._kernel.lock:
            if self._kernel.mover.event is waiter.event:
                self._hand_over()

    def _raise_if_stuck(self, steps: int, waiter: Waiter) -> None:
        """Raise Stuck if there were no events since `steps`, unless another thread moves time and is awake."""
        kernel = self._kernel
        if steps != kernel.steps or kernel.clock.mode not in (Mode.MANUAL, Mode.AUTO):
            return
        with kernel.lock:
            if kernel.mover.event in (None, waiter.event) or kernel.mover.asleep:
                raise Stuck(f"nothing has happened for {show_limit(STUCK_AFTER_S)} of real time\n{kernel.why()}")
