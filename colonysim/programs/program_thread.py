"""One thread of a program: it acts when it is its turn, and waits in virtual time."""

from __future__ import annotations

import random
import threading
from _thread import get_ident
from asyncio import BaseEventLoop
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final, Protocol

from colonysim.core.records import SECOND_NS
from colonysim.faults.injector import Faults
from colonysim.kernel.connections import Connection
from colonysim.kernel.kernel import Kernel, Stuck
from colonysim.kernel.pending import Pending, Waiter
from colonysim.programs.children import leave_if_forked
from colonysim.programs.host import Crashed, ProgramActor, Wakeup
from colonysim.programs.signals import Signals
from colonysim.programs.surroundings import Surroundings
from colonysim.programs.turns import Polled, Turns, refuse_to_wait
from colonysim.stdlib.here import here
from colonysim.stdlib.leftovers import close_event_loops
from colonysim.stdlib.raw_locks import acquire, new_lock, release

_READS_AT_ONCE: Final = 10_000
"""So often may a thread read the clock without doing anything else before that takes time."""
STEPS_AT_ONCE: Final = 100_000
"""So many steps may a thread take before time must have moved."""
FIRST_TURN: Final = "its first turn"
_LAST_WORDS: Final = 100
"""So often is a dead thread told that it is dead; one that goes on all the same is left standing."""


class OpenLink(Protocol):
    """The server's side of a connection that a program has opened by a socket."""

    def cut(self) -> None: ...

    def close_client(self) -> None: ...


class OwnProgram(Protocol):
    """What a program is to its threads: see `Program`."""

    name: str
    random: random.Random
    asked: int
    doomed: bool
    interrupted: bool
    paused_until_ns: int
    signals: Signals
    surroundings: Surroundings | None
    sockets: list[Connection]
    links: dict[OpenLink, None]
    cut_links: list[OpenLink]

    def resume(self) -> None: ...

    def thread_ended(self, thread: Any) -> None: ...


class ProgramThread:
    """A thread of a program, of one life of it; the first one, without a label, is the main thread.

    `gate` opens when it is its turn, `ready` says that it may have one. `waits_for` says what it waits for, "" while it
    acts. `blocked_on` is the lock that it waits for without a time limit, if any.
    """

    def __init__(self, program: OwnProgram, kernel: Kernel, faults: Faults, turns: Turns, label: str = "") -> None:
        self.program = program
        self.name = program.name
        self.label = label
        self.daemon = False
        self._kernel = kernel
        self._faults = faults
        self._turns = turns
        self.random = program.random
        self.surroundings = program.surroundings
        self.gate = new_lock()
        acquire(self.gate)
        self.ready = self._gone = False
        self.wakeup: Any = Wakeup(self.make_ready)
        self.waits_for = FIRST_TURN
        self.since_ns = kernel.world.now_ns
        self.waiter: Waiter | None = None
        self.blocked_on: Any = None
        self.timer = self._pause_timer = 0
        self._told_so = self._reads = self._steps = 0
        self._steps_at_ns = -1
        self.ident = 0
        self.native_id: int | None = None
        self.known: threading.Thread | None = None  # as code sees it, where it was started by that module
        self.end: Any = None  # what is free once it has ended, for those who join it
        self.ended: Callable[[], None] = _nothing
        self.loops: list[BaseEventLoop] = []  # event loops that it has made

    def __repr__(self) -> str:
        return f"<{self}>"

    def __str__(self) -> str:
        return f"program {self.name}, thread {self.label}" if self.label else f"program {self.name}"

    @property
    def sockets(self) -> Any:
        """The connections of its program."""
        return self.program.sockets

    @sockets.setter
    def sockets(self, sockets: Any) -> None:
        self.program.sockets = sockets

    @property
    def links(self) -> dict[OpenLink, None]:
        """The connections that its program has opened by sockets, in that order."""
        return self.program.links

    # ------------------------------------------------------------ what its code meets
    def step(self) -> None:
        """The code is about to ask the simulation for something: others may go first, faults may strike."""
        if here.thread is None:
            return  # a condition that is looked at in this thread between two turns
        program = self.program
        if program.interrupted:
            self._heed()
        self._reads = 0
        program.asked += 1
        kernel = self._kernel
        now_ns = kernel.world.now_ns
        if now_ns != self._steps_at_ns:
            self._steps_at_ns, self._steps = now_ns, 0
        self._steps += 1
        if self._steps > STEPS_AT_ONCE:
            self._steps = 0
            text = f"program {self.name!r} has taken {STEPS_AT_ONCE} steps without time moving: let it sleep"
            self._turns.failures.append(Stuck(text))
        if self._faults.watches_steps:
            with kernel.lock:
                self._faults.step(self.name)
            if program.interrupted:
                self._heed()
        if program.paused_until_ns > now_ns or self._turns.somebody_first():
            self.waits_for, self.since_ns = "its turn", now_ns
            with kernel.lock:
                self.make_ready()
            self._rest()

    def wait(self, waiter: Waiter, what: str) -> None:
        """Wait for something of the simulation."""
        refuse_to_wait()
        if isinstance(waiter, Pending):
            waiter.by = self.name
        self.since_ns = self._kernel.world.now_ns
        self.waiter, waiter.actor = waiter, self.wakeup
        try:
            while not waiter.done:
                self.waits_for = what
                self._rest()
        finally:
            self.waiter = waiter.actor = None

    def sleep(self, seconds: float) -> None:
        """`time.sleep`, in virtual time."""
        if seconds < 0:
            raise ValueError("sleep length must be non-negative")
        self.step()
        kernel = self._kernel
        with kernel.lock:
            self.since_ns = now_ns = kernel.world.now_ns
            due_ns = now_ns + round(seconds * SECOND_NS * self._faults.slowness(self.name))
            if due_ns == now_ns and seconds > 0:
                due_ns += 1  # a loop that sleeps until a time that no float equals gets closer to it each time
            self.timer = timer = kernel.timetable.add(due_ns, self.make_ready, f"{self.name} wakes up")
        try:
            while True:
                self.waits_for = "its sleep to end"
                self._rest()
                if kernel.world.now_ns >= due_ns:
                    return
        except BaseException:  # it has died, or a signal's handler has raised
            with kernel.lock:
                kernel.timetable.cancel(timer)
            raise

    def wait_until(
        self, attempt: Callable[[], bool], what: str, seconds: float | None = None, *, at_once: bool = True
    ) -> bool:
        """Wait until an attempt succeeds, for so many seconds at most (None: for ever): whether it has succeeded.

        It is made at once, unless `at_once` is False, and again whenever `wake` has been called.
        """
        refuse_to_wait()
        self.step()
        if at_once and attempt():
            return True
        kernel, due_ns = self._kernel, None
        with kernel.lock:
            self.since_ns = now_ns = kernel.world.now_ns
            if seconds is not None:
                due_ns = now_ns + round(max(seconds, 0.0) * SECOND_NS * self._faults.slowness(self.name))
                due_ns += due_ns == now_ns and seconds > 0
                self.timer = kernel.timetable.add(due_ns, self.make_ready, f"{self.name} stops waiting for {what}")
        timer = self.timer
        try:
            while due_ns is None or kernel.world.now_ns < due_ns:
                self.waits_for = what
                self._rest()
                if attempt():
                    return True
            return False
        finally:
            if due_ns is not None and kernel.world.now_ns < due_ns:
                with kernel.lock:
                    kernel.timetable.cancel(timer)

    @contextmanager
    def polling(
        self, is_there: Callable[[], bool], holds: Callable[[], bool] | None = None, what: str = ""
    ) -> Iterator[None]:
        """Have it looked at before each turn whether what it waits for is there: nobody calls `wake` for that.

        `holds` says whether time stands still until then, because it is something real, namely `what`.
        """
        self._turns.polls[self] = Polled(is_there, holds, what)
        try:
            yield
        finally:
            del self._turns.polls[self]

    def wake(self) -> None:
        """What it waits for may be there. Not under the lock."""
        with self._kernel.lock:
            self.make_ready()

    def now_ns(self) -> int:
        """What its clock says."""
        self.glance()
        return self._kernel.world.now_ns + self._faults.skew_ns(self.name)

    def elapsed_ns(self) -> int:
        """What its monotonic clock says."""
        self.glance()
        world = self._kernel.world
        return world.now_ns - world.started_ns + SECOND_NS

    def glance(self) -> None:
        """Take note that it looks at something: who does nothing else waits for time to move, so let it."""
        self._reads += 1
        if self._reads > _READS_AT_ONCE and not self.program.doomed:
            self.sleep(0.001)
            self._reads = _READS_AT_ONCE

    def _rest(self) -> None:
        """Hand over, and come back when it is this thread's turn again."""
        self._turns.hand_over(self)
        self.waits_for = ""
        if self.program.interrupted:
            self._heed()

    def _heed(self) -> None:
        """Die, if the program does; handle signals, if this is the main thread."""
        program = self.program
        if program.doomed:
            self.remind()
        if not self.label:
            program.interrupted = False
            program.signals.handle()

    def send_signal(self, program: OwnProgram, number: int) -> None:
        """Send a signal to a program; one to this one is handled at once."""
        with self._kernel.lock:
            program.signals.deliver(number)
        if self.program.interrupted:
            self._heed()

    def remind(self) -> None:
        """Tell a dead thread that it is dead."""
        self._told_so += 1
        if self._told_so > _LAST_WORDS:  # it swallows everything
            here.thread = None
            self.program.thread_ended(self)
            while True:  # it stands still for good
                acquire(self.gate)
        raise Crashed(f"program {self.name!r} has crashed")

    # ------------------------------------------------------------ what happens to it, under the lock
    def make_ready(self) -> None:
        """It may go on, unless its program stands still by a fault."""
        if self.ready or self._gone:
            return
        kernel, program = self._kernel, self.program
        if program.paused_until_ns > kernel.world.now_ns and not program.doomed:
            kernel.timetable.cancel(self._pause_timer)
            self._pause_timer = kernel.timetable.add(program.paused_until_ns, program.resume, f"{self.name} goes on")
            return
        self.ready = True
        self._turns.ready.append(self)

    def pause(self) -> None:
        """Its program is to stand still from now on."""
        if self.ready:
            self.ready = False
            self._turns.ready.remove(self)
            self.make_ready()
        elif self._pause_timer:
            self.make_ready()  # it would have gone on when the pause before ends

    def resume(self) -> None:
        """Its program goes on."""
        if self._pause_timer:
            self._kernel.timetable.cancel(self._pause_timer)
            self._pause_timer = 0
            self.make_ready()

    def doom(self) -> None:
        """Give up what it waits for; its code ends as soon as it has its turn."""
        kernel = self._kernel
        kernel.timetable.cancel(self.timer)
        kernel.timetable.cancel(self._pause_timer)
        if isinstance(self.waiter, Pending):
            kernel.abandon(self.waiter)

    def finish(self) -> None:
        """It has ended, or stands still for good."""
        self._gone = True
        self._kernel.timetable.cancel(self._pause_timer)
        if self.ready:
            self.ready = False
            self._turns.ready.remove(self)

    # ------------------------------------------------------------ its life
    def live(self, code: Callable[[], object]) -> None:
        """Run code as this thread of the program, in the thread of this process that calls."""
        self.ident, self.native_id = get_ident(), threading.get_native_id()
        acquire(self.gate)
        self._kernel.actors.adopt(ProgramActor(self.name, program=self, observed=True, step=self.step))
        self.waits_for = ""
        self._turns.begin_turn(self)
        try:
            if not self.program.doomed:
                code()
            leave_if_forked(None)
        except (Crashed, SystemExit) as error:  # the end of a thread, of which the program takes no note
            leave_if_forked(error)
            self.tidy_up()
        finally:
            self.tidy_up()
            self.loops.clear()
            self.ended()
            here.thread = None
            self._kernel.actors.disown()
            self.program.thread_ended(self)

    def tidy_up(self) -> None:
        """Close what it has left open, if its program was killed.

        It is called while the traceback still keeps what its frames have opened: objects that nobody closes warn.
        """
        if self.program.doomed:
            for link in self.program.cut_links:
                link.close_client()
            if self.loops:
                close_event_loops(self.loops)

    def open_gate(self) -> None:
        """Give it the turn."""
        release(self.gate)


def _nothing() -> None:
    """Tell nobody."""
