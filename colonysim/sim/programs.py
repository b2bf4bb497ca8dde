"""Programs: ordinary blocking code as actors of a simulation, in lock-step and in virtual time.

Each program has a thread, and exactly one of them runs at a time. Whoever has to wait hands over to the next
itself: to one that is ready, drawn from the seed, or, when nobody is, after letting time go on.
"""

from __future__ import annotations

import random
import sys
import threading
import traceback
from collections.abc import Callable
from functools import partial
from typing import Any, Final

from colonysim.core.model import SECOND_NS
from colonysim.sim import virtual
from colonysim.sim.actors import cpu_time_ns
from colonysim.sim.clock import show_span
from colonysim.sim.connections import Connection
from colonysim.sim.driver import STUCK_AFTER_S, Stuck
from colonysim.sim.pending import Pending, Waiter
from colonysim.sim.stage import Bell, Crashed, ProgramActor, ProgramFailed, Stage

_READS_AT_ONCE: Final = 10_000
"""So often may a program read the clock without doing anything else before that takes time."""
_STEPS_AT_ONCE: Final = 100_000
"""So many steps may a program take before time must have moved."""
_COURTESY: Final = 0.25
"""How likely a program lets others that are ready go first at a step of its own. A turn costs a switch of threads."""
_LAST_WORDS: Final = 100
"""So often is a dead program told that it is dead; one that goes on all the same is left standing."""


class Program:
    """Code that runs as an actor. `state` is one of waiting, running, over, failed and crashed.

    `forever`: it is not expected to end. `restart_after_s`: it is started anew when it ends with an error.
    """

    def __init__(self, programs: Programs, name: str, code: Callable[[], Any]) -> None:
        self.programs = programs
        self.name = name
        self.code = code
        self.executor_type = ""
        self.forever = False
        self.restart_after_s: float | None = None
        self.lives = 0
        self.state = "waiting"
        self.result: Any = None
        self.error: BaseException | None = None
        self.gate = threading.Lock()
        self.ready = False
        self.bell: Any = Bell(self.make_ready)
        self._begin_life()

    def _begin_life(self) -> None:
        """Everything a life has of its own."""
        self.lives += 1
        self.doomed = False
        self.told_so = 0
        self.waits_for = "its first turn"
        self.since_ns = self._stage.world().now_ns
        self.waiter: Waiter | None = None
        self.sleep_timer = self.pause_timer = 0
        self.paused_until_ns = 0
        self.sockets: list[Connection] = []
        self.reads = self.steps = 0
        self.steps_at_ns = -1
        self.thread: threading.Thread | None = None
        seed = self._stage.world().settings.seed
        self.random = random.Random(f"{seed}/program/{self.name}/{self.lives}")

    @property
    def _stage(self) -> Stage:
        return self.programs.stage

    @property
    def over(self) -> bool:
        return self.state in ("over", "failed", "crashed")

    def __repr__(self) -> str:
        return f"<program {self.name}, {self.state}>"

    # ------------------------------------------------------------ what its code meets
    def step(self) -> None:
        """The code is about to ask the simulation for something: others may go first, faults may strike."""
        if virtual.here.inhabitant is None:
            return  # a condition that is looked at in this thread between two turns
        if self.doomed:
            self._remind()
        self.reads = 0
        stage = self._stage
        now_ns = stage.world().now_ns
        if now_ns != self.steps_at_ns:
            self.steps_at_ns, self.steps = now_ns, 0
        self.steps += 1
        if self.steps > _STEPS_AT_ONCE:
            self.steps = 0
            text = f"program {self.name!r} has taken {_STEPS_AT_ONCE} steps without time moving: let it sleep"
            self.programs.failures.append(Stuck(text))
        if stage.faults.watches_steps:
            with stage.lock:
                stage.faults.step(self.name)
            if self.doomed:
                self._remind()
        if self.paused_until_ns > now_ns or self.programs.somebody_first():
            self.waits_for, self.since_ns = "its turn", now_ns
            with stage.lock:
                self.make_ready()
            self._rest()

    def wait(self, waiter: Waiter, what: str) -> None:
        """Wait for something of the simulation."""
        if virtual.here.inhabitant is None:
            raise ValueError(f"a condition that a run ends with must not wait for {what}")
        if isinstance(waiter, Pending):
            waiter.by = self.name
        self.waits_for, self.since_ns = what, self._stage.world().now_ns
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
        stage = self._stage
        with stage.lock:
            self.since_ns = now_ns = stage.world().now_ns
            due_ns = now_ns + round(seconds * SECOND_NS * stage.faults.slowness(self.name))
            self.sleep_timer = stage.timetable.add(due_ns, self.make_ready, f"{self.name} wakes up")
        while True:
            self.waits_for = "its sleep to end"
            self._rest()
            if stage.world().now_ns >= due_ns:
                return

    def now_ns(self) -> int:
        """What its clock says."""
        self._read()
        return self._stage.world().now_ns + self._stage.faults.skew_ns(self.name)

    def elapsed_ns(self) -> int:
        """What its monotonic clock says."""
        self._read()
        world = self._stage.world()
        return world.now_ns - world.started_ns + SECOND_NS

    def _read(self) -> None:
        """Who does nothing but look at the clock waits for it to move: let it."""
        self.reads += 1
        if self.reads > _READS_AT_ONCE and not self.doomed:
            self.sleep(0.001)
            self.reads = _READS_AT_ONCE

    def _rest(self) -> None:
        """Hand over, and come back when it is this program's turn again."""
        self.programs.hand_over(self)
        self.waits_for = ""
        if self.doomed:
            self._remind()

    def _remind(self) -> None:
        self.told_so += 1
        if self.told_so > _LAST_WORDS:  # it swallows everything: its thread stands still for good
            self.programs.leave(self)
            self.gate.acquire()
        raise Crashed(f"program {self.name!r} has crashed")

    # ------------------------------------------------------------ what happens to it, under the lock
    def make_ready(self) -> None:
        """It may go on, unless it stands still by a fault."""
        if self.ready or self.over:
            return
        stage = self._stage
        if self.paused_until_ns > stage.world().now_ns and not self.doomed:
            stage.timetable.cancel(self.pause_timer)
            self.pause_timer = stage.timetable.add(self.paused_until_ns, self.resume, f"{self.name} goes on")
            return
        self.ready = True
        self.programs.ready.append(self)

    def pause(self, until_ns: int) -> None:
        """It stands still until then, wherever it is."""
        if self.over:
            return
        self.paused_until_ns = max(self.paused_until_ns, until_ns)
        if self.ready:
            self.ready = False
            self.programs.ready.remove(self)
            self.make_ready()
        elif self.pause_timer:
            self.make_ready()  # it would have gone on when the pause before ends

    def resume(self) -> None:
        """Its pause, if there is one, ends now."""
        self.paused_until_ns = 0
        if self.pause_timer:
            self._stage.timetable.cancel(self.pause_timer)
            self.pause_timer = 0
            self.make_ready()

    def crash(self, restart_after_s: float | None = None) -> None:
        """Kill it: what it waits for is given up, its connections break, its code ends as soon as it has its turn."""
        if self.doomed or self.over:
            return
        stage, self.doomed = self._stage, True
        stage.note({"program": self.name, "does": "crashes"})
        stage.timetable.cancel(self.sleep_timer)
        stage.timetable.cancel(self.pause_timer)
        if isinstance(self.waiter, Pending):
            stage.abandon(self.waiter)
        for connection in self.sockets:
            if not connection.closed:
                stage.lose(connection)
        if self.thread is None:
            self.programs.bury(self, "crashed")
        elif self.programs.acting is not self:
            self.make_ready()
        if restart_after_s is not None:
            self.programs.plan_restart(self, restart_after_s)

    # ------------------------------------------------------------ its thread
    def begin(self) -> None:
        """Give it a thread and its first turn. Under the lock."""
        self.gate = threading.Lock()
        self.gate.acquire()
        self.thread = threading.Thread(target=self._live, args=(self.lives,), daemon=True)
        self.thread.name = f"colonysim-program-{self.name}"
        self.thread.start()
        self.state = "running"
        self.make_ready()

    def _live(self, life: int) -> None:
        self.gate.acquire()
        self._stage.actors.adopt(ProgramActor(self.name, program=self, step=self.step))
        self.waits_for = ""
        self.programs.acting = virtual.here.inhabitant = self
        state, error = "over", None
        try:
            if not self.doomed:
                self.result = self.code()
        except Crashed:
            pass
        except BaseException as raised:
            state, error = "failed", raised
        virtual.here.inhabitant = None
        if self.doomed:
            state, error = "crashed", None
        if life == self.lives and not self.over:
            self.programs.end(self, state, error)


class Programs:
    """All programs of a simulation, and whose turn it is."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.by_name: dict[str, Program] = {}
        self.ready: list[Program] = []
        self.acting: Program | None = None
        self.failures: list[BaseException] = []
        self._restarts: dict[str, int] = {}
        self._chance = random.Random(f"{stage.world().settings.seed}/turns")
        self._gate = threading.Lock()  # of whoever runs the programs
        self._gate.acquire()
        self._running = threading.Lock()
        self._limit_ns: int | None = None
        self._done: Callable[[], bool] = lambda: False
        self._turns = 0
        self._finished: bool | None = None  # to be found out anew when a life begins or ends
        self._broken = ""
        self._stopping = False
        self._installed = False

    @property
    def alive(self) -> bool:
        """Whether any program has not come to its end."""
        return any(not program.over for program in self.by_name.values()) or bool(self._restarts)

    def add(
        self,
        fn: Callable[..., Any],
        args: tuple[Any, ...],
        name: str,
        *,
        executor_type: str = "",
        forever: bool = False,
        restart_after_s: float | None = None,
        starts_after_s: float = 0.0,
    ) -> Program:
        """A new program, ready for its first turn. Errors: ValueError for a name that is taken."""
        if name in self.by_name:
            raise ValueError(f"there is a program named {name!r} already: give it another name")
        if not self._installed:
            self._installed = True
            virtual.install()
        stand_in = virtual.stand_in
        program = self.by_name[name] = Program(self, name, partial(stand_in(fn), *map(stand_in, args)))
        program.executor_type, program.forever = executor_type, forever
        program.restart_after_s = restart_after_s
        with self.stage.lock:
            self.stage.faults.enlist(program)
            if starts_after_s > 0:
                self.plan_restart(program, starts_after_s)
            else:
                self._begin(program)
        return program

    # ------------------------------------------------------------ lives
    def _begin(self, program: Program) -> None:
        self.stage.note({"program": program.name, "does": "starts", "life": program.lives})
        self._finished = None
        program.begin()

    def plan_restart(self, program: Program, after_s: float) -> None:
        """Start a program, for the first time or anew, after a while. Under the lock."""
        due_ns = self.stage.world().now_ns + round(after_s * SECOND_NS)
        name = program.name
        self._finished = None
        if name not in self._restarts:
            self._restarts[name] = self.stage.timetable.add(due_ns, lambda: self._restart(program), f"{name} starts")

    def _restart(self, program: Program) -> None:
        del self._restarts[program.name]
        if program.over:
            program.state = "waiting"
            program.error = None
            program._begin_life()
        self._begin(program)

    def bury(self, program: Program, state: str, error: BaseException | None = None) -> None:
        """A life has come to its end. Under the lock."""
        program.state, program.error = state, error
        self._finished = None
        if program.ready:
            program.ready = False
            self.ready.remove(program)

    def end(self, program: Program, state: str, error: BaseException | None) -> None:
        """A program has ended, in its own thread, which has nothing more to do than to hand over."""
        self.acting = None
        with self.stage.lock:
            self.bury(program, state, error)
            if state != "crashed":
                self.stage.note({"program": program.name, "does": "fails" if error else "ends", "error": repr(error)})
            if error is not None and program.restart_after_s is not None:
                self.plan_restart(program, program.restart_after_s)
            elif error is not None:
                self.failures.append(ProgramFailed(program.name, error))
        self._pass_to(self._next())

    def leave(self, program: Program) -> None:
        """A dead program that does not stop is left standing."""
        self.end(program, "crashed", None)

    # ------------------------------------------------------------ turns
    def hand_over(self, program: Program) -> None:
        """It has to wait: let others act and time go on, until it is its turn."""
        self.acting = virtual.here.inhabitant = None
        chosen = self._next()
        if chosen is not program:
            self._pass_to(chosen)
            program.gate.acquire()
        self.acting = program
        virtual.here.inhabitant = program

    def somebody_first(self) -> bool:
        """Whether others that are ready go before the one that acts goes on."""
        return bool(self.failures) or (bool(self.ready) and self._chance.random() < _COURTESY)

    def _pass_to(self, chosen: Program | None) -> None:
        (self._gate if chosen is None else chosen.gate).release()

    def _next(self) -> Program | None:
        """Whose turn it is; None where the run is over. Time goes on while nobody is ready."""
        stage, ready = self.stage, self.ready
        self._turns += 1
        try:
            while (self._stopping or not (self.failures or stage.problems)) and not self._done():
                if ready:
                    place = self._chance.randrange(len(ready)) if len(ready) > 1 else 0
                    program = ready.pop(place)
                    program.ready = False
                    return program
                with stage.lock:
                    due_ns = stage.due()
                    if due_ns is None or (self._limit_ns is not None and due_ns > self._limit_ns):
                        return None
                    stage.fire(due_ns)
        except BaseException as error:
            self.failures.append(error)
        return None

    # ------------------------------------------------------------ running
    def run(self, limit_ns: int | None, done: Callable[[], bool]) -> None:
        """Let the programs act and time go on, until something is done or up to a time.

        It returns when neither can be reached any more. Errors: what a program failed with, Stuck, and what
        the simulation itself raises.
        """
        if virtual.here.inhabitant is not None:
            raise ValueError("a program cannot move time: it sleeps, or waits for an answer")
        if self._broken:
            raise Stuck(self._broken)
        if not self._running.acquire(blocking=False):
            return  # somebody else is at it
        try:
            self._limit_ns, self._done = limit_ns, done
            chosen = self._next()
            if chosen is not None:
                self._pass_to(chosen)
                self._await_turn()
            if self.failures:
                raise self.failures.pop(0)
        finally:
            self._running.release()

    def _await_turn(self) -> None:
        """Wait until the programs hand back. Errors: Stuck where one is blocked by something real."""
        seen = (-1, None, -1)
        try:
            while not self._gate.acquire(timeout=STUCK_AFTER_S):
                acting = self.acting
                cpu_ns = cpu_time_ns(acting.thread) if acting is not None and acting.thread is not None else -1
                now = (self._turns, acting, cpu_ns)
                if acting is not None and now == seen:
                    raise Stuck(f"{self._blocked(acting)}\n{self.stage.why()}")
                seen = now  # type: ignore[assignment]
        except BaseException as error:
            self._broken = f"the programs of this simulation cannot go on: {error}"
            raise

    def _blocked(self, program: Program) -> str:
        """Where a program stands that neither acts nor computes."""
        assert program.thread is not None
        frame = sys._current_frames().get(program.thread.ident or 0)
        stack = "".join(traceback.format_stack(frame)[-6:]).rstrip() if frame else "its thread is gone"
        return f"program {program.name!r} is blocked by something real for {STUCK_AFTER_S:.0f} s\n{stack}"

    @property
    def finished(self) -> bool:
        """Whether all that are expected to end have done so."""
        if self._finished is None:
            expected = (program for program in self.by_name.values() if not program.forever)
            self._finished = all(program.over and program.name not in self._restarts for program in expected)
        return self._finished

    def explain(self) -> list[str]:
        """What each program is doing, in lines."""
        now_ns = self.stage.world().now_ns
        lines = []
        for program in self.by_name.values():
            if program.over:
                continue
            if program is self.acting or not program.waits_for:
                lines.append(f"  program {program.name} acts{_place(program)}")
            else:
                waited = show_span(now_ns - program.since_ns)
                lines.append(f"  program {program.name} waits for {program.waits_for}, for {waited}")
        return lines

    def stop(self) -> None:
        """Crash all programs and put the clocks back."""
        with self.stage.lock:
            for name, ticket in self._restarts.items():
                self.stage.timetable.cancel(ticket)
                self.by_name[name].state = "crashed"
            self._restarts.clear()
            for program in self.by_name.values():
                program.crash()
        self._stopping = True  # whatever else goes wrong
        try:
            if not self._broken:
                self.run(self.stage.world().now_ns, lambda: not self.alive)
        except ProgramFailed:
            pass  # the run before has told of it, or the program has failed in its last moment
        finally:
            with self.stage.lock:
                for program in self.by_name.values():
                    self.stage.faults.dismiss(program)
            self.by_name.clear()
            self.ready.clear()
            if self._installed:
                self._installed = False
                virtual.uninstall()


def _place(program: Program) -> str:
    """The line where a program stands that another thread asks about: it may be blocked by something real."""
    if program.thread is None or program.thread is threading.current_thread():
        return ""
    frame = sys._current_frames().get(program.thread.ident or 0)
    return f", at {frame.f_code.co_filename}:{frame.f_lineno} in {frame.f_code.co_name}" if frame else ""
