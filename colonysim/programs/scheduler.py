"""Programs: ordinary blocking code as actors of a simulation, in lock-step and in virtual time.

Each program has a thread, and exactly one of them runs at a time. Whoever has to wait hands over to the next
itself: to one that is ready, drawn from the seed, or, when nobody is, after letting time go on.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial
from typing import Any, Final

from colonysim.core.records import SECOND_NS
from colonysim.faults.injector import Faults
from colonysim.kernel import randomness
from colonysim.kernel.actors import cpu_time_ns
from colonysim.kernel.clock import LAST_NS, show_span
from colonysim.kernel.driver import Driver
from colonysim.kernel.kernel import STUCK_AFTER_S, Kernel, Stuck
from colonysim.programs import stdlib_patches
from colonysim.programs.host import ProgramFailed, place, stack
from colonysim.programs.program import Program, refuse_to_wait

_COMPUTES: Final = 0.05
"""A program that uses less of its time than that to compute is blocked by something real, or polls it."""
_COURTESY: Final = 0.25
"""How likely a program lets others that are ready go first at a step of its own. A turn costs a switch of threads."""
_GRACE_S: Final = 0.2


class Programs:
    """All programs of a simulation, and whose turn it is."""

    def __init__(self, kernel: Kernel, faults: Faults, driver: Driver) -> None:
        self.kernel = kernel
        self.faults = faults
        self._driver = driver
        self.by_name: dict[str, Program] = {}
        self.ready: list[Program] = []
        self.acting: Program | None = None
        self.failures: list[BaseException] = []
        self._restarts: dict[str, int] = {}
        self._chance = randomness.source(kernel.world.settings.seed, "turns")
        self._gate = threading.Lock()  # of whoever runs the programs
        self._gate.acquire()
        self._runner: object | None = None  # who runs the programs, if anybody; changed under the lock
        self._free = threading.Condition(kernel.lock)  # notified when nobody does any more
        self._wanted = 0  # so many wait to run them
        self._gives_way = False
        self._limit_ns: int | None = None
        self._done: Callable[[], bool] = lambda: False
        self._turns = 0
        self._goes_on = False
        self._is_done = kernel.unlocked(lambda: self.look(self._done))
        self._finished: bool | None = None  # to be found out anew when a life begins or ends
        self._broken = ""
        self.stopping = False
        self._installed = False

    @property
    def under_way(self) -> bool:
        """Whether somebody runs them."""
        return self._runner is not None

    @property
    def alive(self) -> bool:
        """Whether any program has not come to its end."""
        return any(not program.over for program in self.by_name.values()) or bool(self._restarts)

    def endless(self) -> list[str]:
        """The names of those that are not expected to end, and have not."""
        return [program.name for program in self.by_name.values() if program.forever and not program.over]

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
            stdlib_patches.install()
        stand_in = stdlib_patches.stand_in
        program = self.by_name[name] = Program(self, name, partial(stand_in(fn), *map(stand_in, args)))
        program.executor_type, program.forever = executor_type, forever
        program.restart_after_s = restart_after_s
        with self.kernel.lock:
            self.faults.enlist(program)
            if starts_after_s > 0:
                self.plan_restart(program, starts_after_s)
            else:
                self._begin(program)
        return program

    # ------------------------------------------------------------ lives
    def _begin(self, program: Program) -> None:
        self.kernel.observer.note({"program": program.name, "does": "starts", "life": program.lives})
        self._finished = None
        program.begin()

    def plan_restart(self, program: Program, after_s: float) -> None:
        """Start a program, for the first time or anew, after a while. Under the lock."""
        due_ns = self.kernel.world.now_ns + round(after_s * SECOND_NS)
        name = program.name
        self._finished = None
        if name not in self._restarts:
            self._restarts[name] = self.kernel.timetable.add(due_ns, lambda: self._restart(program), f"{name} starts")

    def _restart(self, program: Program) -> None:
        del self._restarts[program.name]
        if program.thread is not None and not program.over:  # it has crashed, and does not know yet
            program.comes_back = True
            return
        if program.over:
            program.state = "waiting"
            program.error = None
            program.begin_life()
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
        with self.kernel.lock:
            self.bury(program, state, error)
            if state != "crashed":
                does = "fails" if error else "ends"
                self.kernel.observer.note({"program": program.name, "does": does, "error": repr(error)})
            if error is not None and program.restart_after_s is not None:
                self.plan_restart(program, program.restart_after_s)
            elif error is not None:
                self.failures.append(ProgramFailed(program.name, error))
            if program.comes_back:
                self.plan_restart(program, 0)
        self._pass_to(self._next())

    def leave(self, program: Program) -> None:
        """A dead program that does not stop is left standing."""
        self.end(program, "crashed", None)

    # ------------------------------------------------------------ turns
    def hand_over(self, program: Program) -> None:
        """It has to wait: let others act and time go on, until it is its turn."""
        self.acting = stdlib_patches.here.inhabitant = None
        chosen = self._next()
        if chosen is not program:
            self._pass_to(chosen)
            program.gate.acquire()
        self.acting = program
        stdlib_patches.here.inhabitant = program

    def somebody_first(self) -> bool:
        """Whether others that are ready go before the one that acts goes on."""
        return bool(self.failures) or (bool(self.ready) and self._chance.random() < _COURTESY)

    def _pass_to(self, chosen: Program | None) -> None:
        (self._gate if chosen is None else chosen.gate).release()

    def _next(self) -> Program | None:
        """Whose turn it is; None where the run is over. Time goes on while nobody is ready."""
        self._turns += 1
        try:
            with self.kernel.lock:
                if self.kernel.run(LAST_NS if self._limit_ns is None else self._limit_ns, self._stop) and self._goes_on:
                    place = self._chance.randrange(len(self.ready)) if len(self.ready) > 1 else 0
                    program = self.ready.pop(place)
                    program.ready = False
                    return program
        except BaseException as error:
            self.failures.append(error)
        return None

    def _stop(self) -> bool:
        """Whether time does not go on: the run is over, and `_goes_on` False, or a program is ready."""
        self._goes_on = self._may_go_on() and not self._is_done()
        return not self._goes_on or bool(self.ready)

    @staticmethod
    def look(done: Callable[[], bool]) -> bool:
        """Look whether something is true. The condition may ask, but neither wait nor move time."""
        stdlib_patches.here.looking = True
        try:
            return done()
        finally:
            stdlib_patches.here.looking = False

    def _may_go_on(self) -> bool:
        if self.stopping:
            return self.alive
        return not (self.failures or self.kernel.problems or self._broken or (self._gives_way and self._wanted))

    # ------------------------------------------------------------ running
    def run(self, limit_ns: int | None, done: Callable[[], bool], *, gives_way: bool = False) -> None:
        """Let the programs act and time go on, until something is done or up to a time.

        It returns when neither can be reached any more. Only one at a time does so, others wait for that.
        `gives_way`: for who but waits for something; it does not run them while another does, and ends when
        another wants to. Errors: what a program failed with, Stuck, and what the simulation itself raises.
        """
        refuse_to_wait()
        if stdlib_patches.here.inhabitant is not None:
            raise ValueError("a program cannot move time: it sleeps, or waits for an answer")
        runner = object()  # an interrupt may come at any moment, and must leave nobody behind as the one who runs them
        try:
            if not self._begin_run(runner, gives_way):
                return
            if self._broken:
                raise Stuck(self._broken)
            self._limit_ns, self._done, self._gives_way = limit_ns, done, gives_way
            chosen = self._next()
            if chosen is not None:
                self._pass_to(chosen)
                self._await_turn()
            if self.failures:
                raise self.failures.pop(0)
        finally:
            with self.kernel.lock:  # not `with self._free`, which is entered in Python
                if self._runner is runner:
                    self._runner = None
                    self._free.notify()
            self._driver.look_around()

    def _begin_run(self, runner: object, gives_way: bool) -> bool:
        """Wait until nobody else runs them, unless it gives way: whether it may run them."""
        with self.kernel.lock:
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

    def run_to(self, limit_ns: int | None, done: Callable[[], bool], *, to_limit: bool = True) -> bool:
        """Let programs act and time go on, to the limit: whether something was done before.

        What another thread brings about meanwhile is waited for as well: time never passes what is due. `to_limit`
        says whether time moves on to the limit where nothing is left that happens by then. Errors: as `run`.
        """
        kernel = self.kernel
        while True:
            self.run(limit_ns, done)
            kernel.raise_first_problem()
            if self.look(done):
                return True
            if self.stopping:
                raise Stuck("the programs have been stopped by another thread")
            with kernel.lock:
                if self._at_rest(limit_ns):
                    if limit_ns is not None and to_limit:
                        kernel.move_to(limit_ns)
                    return False

    def _at_rest(self, limit_ns: int | None) -> bool:
        """Whether nobody acts or is about to, and nothing is due by then. Under the lock."""
        if self.under_way or self.ready:
            return False
        due_ns = self.kernel.due()
        return due_ns is None or (limit_ns is not None and due_ns > limit_ns)

    def _await_turn(self) -> None:
        """Wait until the programs hand back. Errors: Stuck where one is blocked by something real."""
        turns, cpu_ns = self._turns, self._cpu_time_ns()
        try:
            while not self._gate.acquire(timeout=STUCK_AFTER_S):
                turns_before, cpu_before_ns = turns, cpu_ns
                turns, cpu_ns, acting = self._turns, self._cpu_time_ns(), self.acting
                computed = cpu_ns - cpu_before_ns > _COMPUTES * STUCK_AFTER_S * SECOND_NS
                if acting is not None and turns == turns_before and not computed:
                    with self.kernel.lock:
                        raise Stuck(f"{self._blocked(acting)}\n{self.kernel.why()}")
        except BaseException as error:
            self._broken = f"the programs of this simulation cannot go on: {error}"
            raise

    def _cpu_time_ns(self) -> int:
        acting = self.acting
        return cpu_time_ns(acting.thread) if acting is not None and acting.thread is not None else -1

    def _blocked(self, program: Program) -> str:
        """Where a program stands that neither acts nor computes."""
        assert program.thread is not None
        for_s = f"{STUCK_AFTER_S:.0f} s"
        return f"program {program.name!r} is blocked by something real for {for_s}\n{stack(program.thread)}"

    @property
    def finished(self) -> bool:
        """Whether all that are expected to end have done so."""
        if self._finished is None:
            expected = (program for program in self.by_name.values() if not program.forever)
            self._finished = all(program.over and program.name not in self._restarts for program in expected)
        return self._finished

    def explain(self) -> list[str]:
        """What each program is doing, in lines."""
        now_ns = self.kernel.world.now_ns
        lines = []
        for program in self.by_name.values():
            if program.over:
                continue
            if program is self.acting or not program.waits_for:
                lines.append(f"  program {program.name} acts{place(program.thread)}")
            else:
                waited = show_span(now_ns - program.since_ns)
                lines.append(f"  program {program.name} waits for {program.waits_for}, for {waited}")
        return lines

    def stop(self) -> None:
        """Crash all programs and put the clocks back. Errors: ValueError where a program or a condition asks for it."""
        if stdlib_patches.here.inhabitant is not None or stdlib_patches.here.looking:
            raise ValueError(
                "programs cannot be stopped from inside: a program returns, and a condition says when to end"
            )
        with self.kernel.lock:
            for name, ticket in self._restarts.items():
                self.kernel.timetable.cancel(ticket)
                self.by_name[name].state = "crashed"
            self._restarts.clear()
            for program in self.by_name.values():
                program.comes_back = False
                program.crash()
        self.stopping = True  # whatever else goes wrong
        if self._broken and self._gate.acquire(timeout=_GRACE_S):
            self._broken = ""  # only an interrupt: who acted has handed back since
        try:
            if not self._broken:
                self.run(self.kernel.world.now_ns, lambda: not self.alive)
        except ProgramFailed:
            pass  # the run before has told of it, or the program has failed in its last moment
        finally:
            with self.kernel.lock:
                for program in self.by_name.values():
                    self.faults.dismiss(program)
                    program.ready = False
                self.by_name.clear()
                self.ready.clear()
            if self._installed:
                self._installed = False
                stdlib_patches.uninstall()
