"""Turns: exactly one program of a simulation acts at a time, and time moves only while none is ready.

Each program has a thread and a gate. A program that has to wait calls `hand_over`, which finds the next one in the
thread of the program that waits: one is drawn from the seed among those that are ready, and while nobody is ready the
kernel lets time go on. Then it opens the gate of the next one, and waits at its own. The caller of `run` waits at
a gate as well, and gets the turn back when the run is over: something has failed, the condition of the run is true, or
nothing is left to happen.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from time import monotonic, sleep  # of this machine, where no thread of a program acts
from typing import Final, NamedTuple, Protocol

from colonysim.core.records import SECOND_NS
from colonysim.core.wording import show_seconds
from colonysim.kernel import randomness
from colonysim.kernel.actors import busy_time_ns
from colonysim.kernel.clock import LAST_NS
from colonysim.kernel.driver import Driver
from colonysim.kernel.kernel import STUCK_AFTER_S, Kernel, Stuck
from colonysim.kernel.own_lock import ENTERED_BY_A_CALL
from colonysim.programs import stdlib_patches
from colonysim.programs.host import stack
from colonysim.programs.output import Standard
from colonysim.programs.surroundings import Surroundings
from colonysim.stdlib.here import here
from colonysim.stdlib.raw_locks import acquire, release

_COMPUTES: Final = 0.05
"""A program that computes, or wants a processor, for less of the time is blocked by something real, or polls it."""
_COURTESY: Final = 0.25
"""How likely a program lets others that are ready go first at a step of its own. A turn costs a switch of threads."""
_GRACE_S: Final = 0.2
CHILD_PATIENCE_S = 300.0
"""How long in real time a child process is waited for before that is told as an error."""
_WORKS_S: Final = 3.0
"""So long in real time child processes may work before what they have done so far is looked at: for the first of the
threads that wait for them, and each time so much later for one more."""
_SLICE_S: Final = 0.001


class TakesTurns(stdlib_patches.InVirtualTime, Protocol):
    """What a thread of a program is to others that act in turn: its gate opens when it is its turn."""

    name: str
    gate: threading.Lock
    ready: bool
    ident: int
    native_id: int | None
    surroundings: Surroundings | None

    def make_ready(self) -> None: ...


class Polled(NamedTuple):
    """Tells whether what a thread waits for is there. `holds`: it is real, and time stands still while that is true."""

    is_there: Callable[[], bool]
    holds: Callable[[], bool] | None = None
    what: str = ""


class Turns:
    """Whose turn it is among the programs of a simulation.

    `ready` are those that may go on, changed under the kernel's lock; `acting` has the turn. `failures` are errors that
    end a run. `lives` counts how often the life of any program has begun, ended or been planned. `polls` are threads
    that wait for what wakes nobody when it comes, each with what tells whether it is there.
    """

    def __init__(self, kernel: Kernel, driver: Driver) -> None:
        self._kernel = kernel
        self._driver = driver
        self.ready: list[TakesTurns] = []
        self.acting: TakesTurns | None = None
        self.failures: list[BaseException] = []
        self.lives = 0
        self._chance = randomness.source(kernel.world.settings.seed, "turns")
        self.polls: dict[TakesTurns, Polled] = {}
        self._gate = threading.Lock()  # of the thread that runs the programs
        self._gate.acquire()
        self._runner: object | None = None  # who runs the programs, if anybody; changed under the lock
        self._free = threading.Condition(kernel.lock)  # notified when nobody does any more
        self._wanted = 0  # so many wait to run them
        self._gives_way = False
        self._limit_ns = LAST_NS
        self._done: Callable[[], bool] = lambda: False  # looked at without the lock
        self._goes_on = False
        self._taken = 0
        self._broken = ""
        self._standard = Standard()
        self._surroundings: Surroundings | None = None  # that are set just now
        self._stopped: Callable[[], bool] | None = None

    @property
    def stopping(self) -> bool:
        """Whether the programs are being stopped for good."""
        return self._stopped is not None

    def stop_when(self, stopped: Callable[[], bool]) -> None:
        """From now on every run goes on until `stopped` is true, whatever fails: the programs are being stopped."""
        self._stopped = stopped

    @property
    def under_way(self) -> bool:
        """Whether somebody runs the programs."""
        return self._runner is not None

    # ------------------------------------------------------------ in the threads of programs
    def hand_over(self, program: TakesTurns) -> None:
        """It has to wait: let others act and time go on, until it is its turn."""
        self.acting = here.thread = None
        chosen = self._next()
        if chosen is not program:
            release(self._gate if chosen is None else chosen.gate)
            acquire(program.gate)
        self.begin_turn(program)

    def begin_turn(self, program: TakesTurns) -> None:
        """The calling thread is the one that acts from now on."""
        if program.surroundings is not self._surroundings:
            self._enter(program.surroundings)
        self.acting = here.thread = program

    def _enter(self, surroundings: Surroundings | None) -> None:
        """Set the arguments, folder and main module of the program that acts, None for those of the process."""
        if self._surroundings is not None:
            self._surroundings.leave()
        self._surroundings = surroundings
        if surroundings is not None:
            surroundings.enter()

    def hand_on(self) -> None:
        """Hand over for good: the calling thread has nothing more to do."""
        self._pass_to(self._next())

    def somebody_first(self) -> bool:
        """Whether others that are ready go before the one that acts goes on."""
        return bool(self.failures) or (bool(self.ready) and self._chance.random() < _COURTESY)

    def _pass_to(self, chosen: TakesTurns | None) -> None:
        release(self._gate if chosen is None else chosen.gate)

    def _next(self) -> TakesTurns | None:
        """Whose turn it is; None where the run is over. Time goes on while nobody is ready."""
        self._taken += 1
        try:
            with self._kernel.lock:
                if self.polls:
                    self._poll()
                if self._kernel.run(self._limit_ns, self._stop) and self._goes_on:
                    ready = self.ready
                    program = ready.pop(self._chance.randrange(len(ready)) if len(ready) > 1 else 0)
                    program.ready = False
                    return program
        except BaseException as error:
            self.failures.append(error)
        return None

    def _poll(self) -> None:
        """Have those go on that wait for what wakes nobody. Under the lock, which is released while time stands still.

        What is real is looked at only once nobody is ready and no child process works, for one thread after the other,
        so that nothing depends on the speed of the machine.
        """
        begun_s = monotonic()
        while True:
            real = [(thread, poll) for thread, poll in self.polls.items() if poll.holds is not None]
            for thread, poll in list(self.polls.items()):
                if poll.holds is None and poll.is_there():
                    thread.make_ready()
            if self.ready or not real:
                return
            waited_s = monotonic() - begun_s
            holds = any(poll.holds() for _, poll in real if poll.holds is not None)
            counted = real[: int(waited_s / _WORKS_S)] if holds else real
            found = next((thread for thread, poll in counted if poll.is_there()), None)
            if found is not None:
                found.make_ready()
            if found is not None or not holds:
                return
            if waited_s > CHILD_PATIENCE_S:
                thread, poll = real[0]
                raise Stuck(f"{_blocked(thread, poll.what, waited_s)}\n{self._kernel.why()}")
            self._kernel.lock.release()
            try:
                sleep(_SLICE_S)
            finally:
                self._kernel.lock.acquire()

    def _stop(self) -> bool:
        """Whether time does not go on: a program is ready, or the run is over, and `_goes_on` False. Under the lock."""
        here.looking = True
        try:
            self._goes_on = self._may_go_on() and not self._done()
        finally:
            here.looking = False
        return not self._goes_on or bool(self.ready)

    def _may_go_on(self) -> bool:
        if self._stopped is not None:
            return not self._stopped()
        return not (self.failures or self._kernel.problems or self._broken or (self._gives_way and self._wanted))

    # ------------------------------------------------------------ in the thread that runs them
    def run(self, limit_ns: int | None, done: Callable[[], bool], *, gives_way: bool = False) -> None:
        """Let the programs act and time go on, until something is done or up to a time.

        It returns when neither can be reached any more. Only one at a time does so, others wait for that.
        `gives_way`: for who but waits for something; it does not run them while another does, and ends when
        another wants to. Errors: what a program failed with, Stuck, and what the simulation itself raises.
        """
        refuse_to_wait()
        if here.thread is not None:
            raise ValueError("a program cannot move time: it sleeps, or waits for an answer")
        if ENTERED_BY_A_CALL:
            self._kernel.lock.release_to(0)  # an interrupt came right behind taking it
        runner = object()  # an interrupt may come at any moment, and must leave nobody behind as the one who runs them
        try:
            if not self._begin_run(runner, gives_way):
                return
            if self._broken:
                raise Stuck(self._broken)
            self._limit_ns = LAST_NS if limit_ns is None else limit_ns
            self._done, self._gives_way = self._kernel.unlocked(done), gives_way
            self._standard.begin()
            chosen = self._next()
            if chosen is not None:
                self._pass_to(chosen)
                self._await_turn()
            if self.failures:
                raise self.failures.pop(0)
        finally:
            if self._runner is runner:
                self._standard.end()
                if self._surroundings is not None:
                    self._enter(None)
            with self._kernel.lock:  # not `with self._free`, which is entered in Python
                if self._runner is runner:
                    self._runner = None
                    self._free.notify()
            self._driver.wake_all()

    def _begin_run(self, runner: object, gives_way: bool) -> bool:
        """Wait until nobody else runs them, unless it gives way: whether it may run them."""
        with self._kernel.lock:
            if gives_way and (self.under_way or self._wanted or self.stopping):
                return False
            self._wanted += 1
            try:
                while self.under_way:
                    self._free.wait()
            finally:
                self._wanted -= 1
            self._runner = runner
        return True

    def at_rest(self, limit_ns: int | None) -> bool:
        """Whether nobody acts or is about to, and nothing is due by then. Under the lock."""
        if self.under_way or self.ready:
            return False
        due_ns = self._kernel.due()
        return due_ns is None or (limit_ns is not None and due_ns > limit_ns)

    def recover(self) -> bool:
        """Return whether programs can be run after a run was broken off: the one that acted may have handed back."""
        if self._broken and acquire(self._gate, True, _GRACE_S):
            self._broken = ""  # only an interrupt
        return not self._broken

    def _await_turn(self) -> None:
        """Wait until the programs hand back. Errors: Stuck where one is blocked by something real."""
        taken, busy_ns = self._taken, self._busy_time_ns()
        try:
            while not acquire(self._gate, True, STUCK_AFTER_S):
                taken_before, busy_before_ns = taken, busy_ns
                taken, busy_ns, acting = self._taken, self._busy_time_ns(), self.acting
                was_busy = busy_ns - busy_before_ns > _COMPUTES * STUCK_AFTER_S * SECOND_NS
                if acting is not None and taken == taken_before and not was_busy:
                    with self._kernel.lock:
                        raise Stuck(f"{_blocked(acting, 'something real', STUCK_AFTER_S)}\n{self._kernel.why()}")
        except BaseException as error:
            self._broken = f"the programs of this simulation cannot go on: {error}"
            raise

    def _busy_time_ns(self) -> int:
        acting = self.acting
        return busy_time_ns(acting) if acting is not None else -1


def _blocked(program: TakesTurns, what: str, for_s: float) -> str:
    """Where a program stands that neither acts nor computes."""
    return f"program {program.name!r} is blocked by {what} for {show_seconds(for_s)}\n{stack(program)}"


def look(done: Callable[[], bool]) -> bool:
    """Look whether something is true. The condition may ask, but neither wait nor move time."""
    here.looking = True
    try:
        return done()
    finally:
        here.looking = False


def refuse_to_wait() -> None:
    """Errors: ValueError in a condition that a run ends with, in whatever thread it is looked at."""
    if here.looking:
        raise ValueError("a condition that time goes on until must not wait: let it ask only what is answered at once")
