"""Who moves time while all wait: one of those who wait, or a server on behalf of those outside."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from time import monotonic
from typing import Any, Final, NamedTuple, Protocol

from colonysim.kernel.actors import THREAD_THRESHOLD_S, Actor, Actors
from colonysim.kernel.clock import Clock, Mode
from colonysim.kernel.pending import Waiter

STUCK_AFTER_S: Final = 5.0
_AT_ONCE_S: Final = 0.005
"""For so much real time events happen one after the other before anybody else is looked at."""


class Stuck(RuntimeError):
    """Nothing can ever happen any more, or nothing has for a while. The text says who waits for what."""


class Settable(Protocol):
    """Something that can be told to look around: an event, or a loop's way to be woken."""

    def set(self) -> None: ...


class Driven(NamedTuple):
    """What a driver needs of its simulation, all to be called under the lock.

    `fire` lets the next event happen that is due by then: whether it told anybody, None if there is none.
    """

    fire: Callable[[int], bool | None]
    catch_up: Callable[[], None]
    now_ns: Callable[[], int]
    next_due: Callable[[], int | None]
    anybody_waits: Callable[[], bool]
    why: Callable[[], str]
    problem: Callable[[BaseException], None]


class Turns(Protocol):
    """Programs that act in turn: `run` lets them, up to a time or until something is done, not under the lock."""

    @property
    def ready(self) -> Sequence[Any]: ...

    @property
    def under_way(self) -> bool: ...

    def run(self, limit_ns: int | None, done: Callable[[], bool], *, gives_way: bool = False) -> None: ...


class Driver:
    """Lets one at a time move time, when nobody is left who could act before.

    `moving` is the event of whoever does so at present; it is set when there is something to look at.
    """

    def __init__(self, driven: Driven, lock: threading.Lock, clock: Clock, actors: Actors) -> None:
        self._driven = driven
        self._lock = lock
        self._clock = clock
        self._actors = actors
        self._changed = threading.Condition(lock)
        self.settling = 0
        self.steps = 0
        self._waiters: dict[int, Waiter] = {}
        self.moving: Settable | None = None
        self._movers: list[Settable] = []  # those who have taken over, the last one last
        self._planned_ns: int | None = None  # when it will look again, if it follows real time
        self._asleep = False  # it will not look again unless it is told to
        self.programs: Turns | None = None

    def stepped(self) -> None:
        """Something has happened while somebody waits for all to settle; `steps` counts in any case."""
        self._changed.notify_all()

    def nudge(self) -> None:
        """Something has changed that the one who moves time may have to know."""
        if self.moving is None or self._clock.mode is Mode.MANUAL:
            return
        if self._clock.follows_real_time:
            due_ns = self._driven.next_due()
            if due_ns is None or (self._planned_ns is not None and due_ns >= self._planned_ns):
                return
        elif not self._asleep:
            return  # it looks around soon enough
        self._asleep = False
        self.moving.set()

    def acts_no_more(self) -> None:
        """Somebody who was registered waits from now on, or has gone: whoever waited for that may go on."""
        self._changed.notify_all()
        self.nudge()

    def replan(self) -> None:
        """The clock goes in another way from now on, or another history has begun."""
        self._planned_ns = None
        if self.moving is not None:
            self.moving.set()

    def settle(self, but: Actor) -> None:
        """Wait until whoever was told something has acted on it. Errors: Stuck."""
        self.settling += 1
        try:
            while True:
                idle_s = self._actors.idle_in(but)
                if idle_s == 0.0:
                    return
                steps = self.steps
                if not self._changed.wait(STUCK_AFTER_S if idle_s is None else idle_s) and idle_s is None:
                    if steps == self.steps and self._actors.idle_in(but) is None:
                        raise Stuck(f"a registered actor neither acts nor waits\n{self._driven.why()}")
        finally:
            self.settling -= 1

    # ------------------------------------------------------------ moving time
    def pump(self) -> float | None:
        """Let time pass as the mode says: seconds of real time until it should be called again, None for never."""
        with self._lock:
            try:
                wait_s = self._pump()
            except BaseException:
                self._asleep, self._planned_ns = True, None  # whatever comes next wakes it again
                raise
            self._asleep = wait_s is None
            return wait_s

    def _pump(self) -> float | None:
        mode, driven = self._clock.mode, self._driven
        if self._programs_run():
            return THREAD_THRESHOLD_S
        if mode is Mode.MANUAL:
            return None
        if mode is not Mode.AUTO:
            driven.catch_up()
            self._planned_ns = driven.next_due()
            return None if self._planned_ns is None else self._clock.real_seconds(self._planned_ns - driven.now_ns())
        until = monotonic() + _AT_ONCE_S
        while driven.anybody_waits():
            self._let_programs_act()
            if self._programs_run():
                return THREAD_THRESHOLD_S
            idle_s = self._actors.idle_in()
            if idle_s != 0.0:
                return idle_s
            due_ns = driven.next_due()
            if due_ns is None or driven.fire(due_ns) is None:
                return None
            if monotonic() > until:
                return 0.0  # whoever moves time may have others to serve
        return None

    def _programs_run(self) -> bool:
        """Whether somebody runs the programs, and time with them: nobody else may move it, for one may be acting."""
        return self.programs is not None and self.programs.under_way

    def look_around(self) -> None:
        """Whoever has run the programs has come to an end: another one may move time."""
        with self._lock:
            self._wake_all()

    def _wake_all(self) -> None:
        for waiter in list(self._waiters.values()):
            waiter.event.set()
        if self.moving is not None:
            self.moving.set()

    def _let_programs_act(self) -> None:
        """Whoever is ready of the programs acts before time moves on."""
        if self.programs is None or not self.programs.ready:
            return
        self._lock.release()
        try:
            self.programs.run(self._driven.now_ns(), lambda: False, gives_way=True)
        except Exception as error:
            self._driven.problem(error)
        finally:
            self._lock.acquire()

    @contextmanager
    def taken_over(self, event: Settable) -> Iterator[None]:
        """Somebody else moves time from now on: calls `pump` when asked, and when the event is set."""
        with self._lock:
            self._movers.append(event)
            self.moving = event
        try:
            yield
        finally:
            with self._lock:
                self._movers.remove(event)
                if self.moving is event:
                    self._pass_on()

    def _pass_on(self) -> None:
        """Who has moved time does so no more: the one who did before, or one of those who wait. Under the lock."""
        self.moving = self._movers[-1] if self._movers else None
        self._planned_ns = None
        self._wake_all()

    # ------------------------------------------------------------ waiting in this process
    def wait_for(self, waiter: Waiter, what: str) -> None:
        """Wait until the waiter is done, moving time for all who wait if nobody else does. Errors: Stuck."""
        actor = self._actors.this_thread()
        if actor.program is not None:
            actor.program.wait(waiter, what)
            return
        if self.programs is not None and not self._clock.follows_real_time:
            limit_ns = self._driven.now_ns() if self._clock.mode is Mode.MANUAL else None
            self.programs.run(limit_ns, lambda: waiter.done, gives_way=True)
            if waiter.done:
                return
        steps = self.steps
        self._waiters[id(waiter)] = waiter
        waiter.actor = actor
        with self._actors.waiting(actor, what, self._driven.now_ns()):
            try:
                while not waiter.done:
                    wait_s = self._take_turn(waiter)
                    if not waiter.done and not waiter.event.wait(wait_s) and wait_s == STUCK_AFTER_S:
                        self._complain(steps, waiter)
                        steps = self.steps
            finally:
                waiter.actor = None
                del self._waiters[id(waiter)]
                self._give_up_turn(waiter)

    def _take_turn(self, waiter: Waiter) -> float:
        """One of those who wait moves time for all: how long to wait before the next look."""
        with self._lock:
            waiter.event.clear()
            if waiter.done:
                return 0.0
            if self._programs_run():
                return THREAD_THRESHOLD_S
            if self.moving not in (None, waiter.event):
                return STUCK_AFTER_S
            self.moving = waiter.event
            wait_s = self._pump()
            self._asleep = wait_s is None
            if wait_s is None and not waiter.done:
                if not self._actors.busy() and self._actors.outside_heard is None:
                    raise Stuck(f"nothing can ever happen any more\n{self._driven.why()}")
                return STUCK_AFTER_S
            return wait_s or 0.0

    def _give_up_turn(self, waiter: Waiter) -> None:
        with self._lock:
            if self.moving is waiter.event:
                self._pass_on()

    def _complain(self, steps: int, waiter: Waiter) -> None:
        if steps != self.steps or self._clock.mode not in (Mode.MANUAL, Mode.AUTO):
            return
        with self._lock:
            if self.moving in (None, waiter.event) or self._asleep:  # else who moves time waits for somebody
                raise Stuck(f"nothing has happened for {STUCK_AFTER_S:.0f} s of real time\n{self._driven.why()}")
