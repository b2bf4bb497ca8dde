"""A program: ordinary blocking code that has a thread, and acts when it is its turn."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, Final

from colonysim.core.records import SECOND_NS
from colonysim.faults.injector import Faults
from colonysim.kernel import randomness
from colonysim.kernel.connections import Connection
from colonysim.kernel.kernel import Kernel, Stuck
from colonysim.kernel.pending import Pending, Waiter
from colonysim.programs import stdlib_patches
from colonysim.programs.host import Bell, Crashed, ProgramActor, ProgramFailed
from colonysim.programs.turns import Turns, refuse_to_wait

_READS_AT_ONCE: Final = 10_000
"""So often may a program read the clock without doing anything else before that takes time."""
_STEPS_AT_ONCE: Final = 100_000
"""So many steps may a program take before time must have moved."""
FIRST_TURN: Final = "its first turn"
_LAST_WORDS: Final = 100
"""So often is a dead program told that it is dead; one that goes on all the same is left standing."""


class Program:
    """Code that runs as an actor. `state` is one of waiting, running, over, failed and crashed.

    `forever`: it is not expected to end. `restart_after_s`: it is started anew when it ends with an error. `asked`
    counts its requests and sleeps.
    """

    def __init__(self, kernel: Kernel, faults: Faults, turns: Turns, name: str, code: Callable[[], Any]) -> None:
        self._kernel = kernel
        self._faults = faults
        self._turns = turns
        self.name = name
        self.code = code
        self.executor_type = ""
        self.forever = False
        self.restart_after_s: float | None = None
        self.lives = self.asked = 0
        self.state = "waiting"
        self.result: Any = None
        self.error: BaseException | None = None
        self.gate = threading.Lock()
        self.ready = False
        self.restart_timer = 0  # of its next life, if that has been planned
        self.thread: threading.Thread | None = None
        self.bell: Any = Bell(self.make_ready)
        self.begin_life()

    def begin_life(self) -> None:
        """Everything a life has of its own."""
        self.lives += 1
        self.doomed = False
        self.comes_back = False  # at once, as soon as it has ended
        self.told_so = 0
        self.waits_for = FIRST_TURN
        self.since_ns = self._kernel.world.now_ns
        self.waiter: Waiter | None = None
        self.sleep_timer = self.pause_timer = 0
        self.paused_until_ns = 0
        self.sockets: list[Connection] = []
        self.reads = self.steps = 0
        self.steps_at_ns = -1
        self.thread = None
        seed = self._kernel.world.settings.seed
        self.random = randomness.source(seed, f"program/{self.name}/{self.lives}")

    @property
    def over(self) -> bool:
        return self.state in ("over", "failed", "crashed")

    @property
    def has_run(self) -> bool:
        """Whether its code has ever had a turn."""
        return self.lives > 1 or self.over or self.waits_for != FIRST_TURN

    def __repr__(self) -> str:
        return f"<program {self.name}, {self.state}>"

    # ------------------------------------------------------------ what its code meets
    def step(self) -> None:
        """The code is about to ask the simulation for something: others may go first, faults may strike."""
        if stdlib_patches.here.inhabitant is None:
            return  # a condition that is looked at in this thread between two turns
        if self.doomed:
            self._remind()
        self.reads = 0
        self.asked += 1
        kernel = self._kernel
        now_ns = kernel.world.now_ns
        if now_ns != self.steps_at_ns:
            self.steps_at_ns, self.steps = now_ns, 0
        self.steps += 1
        if self.steps > _STEPS_AT_ONCE:
            self.steps = 0
            text = f"program {self.name!r} has taken {_STEPS_AT_ONCE} steps without time moving: let it sleep"
            self._turns.failures.append(Stuck(text))
        if self._faults.watches_steps:
            with kernel.lock:
                self._faults.step(self.name)
            if self.doomed:
                self._remind()
        if self.paused_until_ns > now_ns or self._turns.somebody_first():
            self.waits_for, self.since_ns = "its turn", now_ns
            with kernel.lock:
                self.make_ready()
            self._rest()

    def wait(self, waiter: Waiter, what: str) -> None:
        """Wait for something of the simulation."""
        refuse_to_wait()
        if isinstance(waiter, Pending):
            waiter.by = self.name
        self.waits_for, self.since_ns = what, self._kernel.world.now_ns
        self.waiter, waiter.actor = waiter, self.bell
        try:
            while not waiter.done:
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
            self.sleep_timer = kernel.timetable.add(due_ns, self.make_ready, f"{self.name} wakes up")
        while True:
            self.waits_for = "its sleep to end"
            self._rest()
            if kernel.world.now_ns >= due_ns:
                return

    def now_ns(self) -> int:
        """What its clock says."""
        self._read()
        return self._kernel.world.now_ns + self._faults.skew_ns(self.name)

    def elapsed_ns(self) -> int:
        """What its monotonic clock says."""
        self._read()
        world = self._kernel.world
        return world.now_ns - world.started_ns + SECOND_NS

    def _read(self) -> None:
        """Who does nothing but look at the clock waits for it to move: let it."""
        self.reads += 1
        if self.reads > _READS_AT_ONCE and not self.doomed:
            self.sleep(0.001)
            self.reads = _READS_AT_ONCE

    def _rest(self) -> None:
        """Hand over, and come back when it is this program's turn again."""
        self._turns.hand_over(self)
        self.waits_for = ""
        if self.doomed:
            self._remind()

    def _remind(self) -> None:
        self.told_so += 1
        if self.told_so > _LAST_WORDS:  # it swallows everything: its thread stands still for good
            gate = self.gate  # the next life has another one
            self._end("crashed", None)  # it is left standing
            gate.acquire()
        raise Crashed(f"program {self.name!r} has crashed")

    # ------------------------------------------------------------ what happens to it, under the lock
    def make_ready(self) -> None:
        """It may go on, unless it stands still by a fault."""
        if self.ready or self.over:
            return
        kernel = self._kernel
        if self.paused_until_ns > kernel.world.now_ns and not self.doomed:
            kernel.timetable.cancel(self.pause_timer)
            self.pause_timer = kernel.timetable.add(self.paused_until_ns, self.resume, f"{self.name} goes on")
            return
        self.ready = True
        self._turns.ready.append(self)

    def pause(self, until_ns: int) -> None:
        """It stands still until then, wherever it is."""
        if self.over:
            return
        self.paused_until_ns = max(self.paused_until_ns, until_ns)
        if self.ready:
            self.ready = False
            self._turns.ready.remove(self)
            self.make_ready()
        elif self.pause_timer:
            self.make_ready()  # it would have gone on when the pause before ends

    def resume(self) -> None:
        """Its pause, if there is one, ends now."""
        self.paused_until_ns = 0
        if self.pause_timer:
            self._kernel.timetable.cancel(self.pause_timer)
            self.pause_timer = 0
            self.make_ready()

    def crash(self, restart_after_s: float | None = None) -> None:
        """Kill it: what it waits for is given up, its connections break, its code ends as soon as it has its turn."""
        if self.doomed or self.over:
            return
        kernel, self.doomed = self._kernel, True
        kernel.observer.note({"program": self.name, "does": "crashes"})
        kernel.timetable.cancel(self.sleep_timer)
        kernel.timetable.cancel(self.pause_timer)
        if isinstance(self.waiter, Pending):
            kernel.abandon(self.waiter)
        for connection in self.sockets:
            if not connection.closed:
                kernel.connections.close(connection)
        if self.thread is None:
            self._bury("crashed")
        elif self._turns.acting is not self:
            self.make_ready()
        if restart_after_s is not None:
            self.plan_restart(restart_after_s)

    def plan_restart(self, after_s: float) -> None:
        """Start it, for the first time or anew, after so many seconds, unless that has been planned already."""
        self._turns.lives += 1
        if not self.restart_timer:
            due_ns = self._kernel.world.now_ns + round(after_s * SECOND_NS)
            self.restart_timer = self._kernel.timetable.add(due_ns, self._restart, f"{self.name} starts")

    def _restart(self) -> None:
        self.restart_timer = 0
        if self.thread is not None and not self.over:  # it has crashed, and does not know yet
            self.comes_back = True
            return
        if self.over:
            self.state = "waiting"
            self.error = None
            self.begin_life()
        self.begin()

    def _bury(self, state: str, error: BaseException | None = None) -> None:
        """Its life has come to its end."""
        self.state, self.error = state, error
        self._turns.lives += 1
        if self.ready:
            self.ready = False
            self._turns.ready.remove(self)

    # ------------------------------------------------------------ its thread
    def begin(self) -> None:
        """Give it a thread and its first turn. Under the lock."""
        self._kernel.observer.note({"program": self.name, "does": "starts", "life": self.lives})
        self._turns.lives += 1
        self.gate = threading.Lock()
        self.gate.acquire()
        self.thread = threading.Thread(target=self._live, args=(self.lives,), daemon=True)
        self.thread.name = f"colonysim-program-{self.name}"
        self.thread.start()
        self.state = "running"
        self.make_ready()

    def _live(self, life: int) -> None:
        self.gate.acquire()
        self._kernel.actors.adopt(ProgramActor(self.name, program=self, step=self.step))
        self.waits_for = ""
        self._turns.acting = stdlib_patches.here.inhabitant = self
        state, error = "over", None
        try:
            if not self.doomed:
                self.result = self.code()
        except Crashed:
            pass
        except BaseException as raised:
            state, error = "failed", raised
        stdlib_patches.here.inhabitant = None
        if self.doomed:
            state, error = "crashed", None
        if life == self.lives and not self.over:
            self._end(state, error)

    def _end(self, state: str, error: BaseException | None) -> None:
        """Its code has ended, in its own thread, which has nothing more to do than to hand over."""
        kernel, turns = self._kernel, self._turns
        turns.acting = None
        with kernel.lock:
            self._bury(state, error)
            if state != "crashed":
                does = "fails" if error else "ends"
                kernel.observer.note({"program": self.name, "does": does, "error": repr(error)})
            if error is not None and self.restart_after_s is not None:
                self.plan_restart(self.restart_after_s)
            elif error is not None:
                turns.failures.append(ProgramFailed(self.name, error))
            if self.comes_back:
                self.plan_restart(0)
        turns.hand_on()
