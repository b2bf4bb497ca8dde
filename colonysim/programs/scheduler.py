"""Programs: ordinary blocking code as actors of a simulation, in lock-step and in virtual time (see turns.py)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from os import PathLike
from os.path import isdir
from typing import Any, Final

from colonysim.core.wording import show_span
from colonysim.faults.injector import Faults
from colonysim.kernel.driver import Driver
from colonysim.kernel.kernel import Kernel, Stuck
from colonysim.programs import (
    children,
    locks,
    output,
    pools,
    processes,
    selects,
    signals,
    stdlib_patches,
    surroundings,
    threads,
)
from colonysim.programs.host import ProgramFailed, place
from colonysim.programs.program import Program
from colonysim.programs.surroundings import Script, variables
from colonysim.programs.turns import TakesTurns, Turns, look
from colonysim.stdlib import green_threads, leftovers, local_sockets, numbering
from colonysim.stdlib.here import here

_PATCHES: Final = (
    stdlib_patches.patch,
    locks.patch,
    threads.patch,
    numbering.patch,
    pools.patch,
    selects.patch,
    local_sockets.patch,
    signals.patch,
    children.patch,
    leftovers.patch,
    output.patch,
    surroundings.patch,
    processes.patch,
    green_threads.patch,
)
_FIRST_PID: Final = 4_200_001
"""Programs are numbered from here as processes, above the numbers that machines give."""


class Programs:
    """All programs of a simulation. `not_stopped` lists, for the whole process, those for which it is patched."""

    def __init__(self, kernel: Kernel, faults: Faults, driver: Driver) -> None:
        self._kernel = kernel
        self._faults = faults
        self._turns = Turns(kernel, driver)
        self.by_name: dict[str, Program] = {}
        self._finished = False
        self._finished_at = -1  # `lives` at which that was found out
        self._installed = False

    @property
    def ready(self) -> list[TakesTurns]:
        """Those that act before time moves on."""
        return self._turns.ready

    @property
    def acting(self) -> TakesTurns | None:
        """The one that acts just now, None while time moves or a condition is looked at."""
        return self._turns.acting

    @property
    def under_way(self) -> bool:
        """Whether somebody runs them."""
        return self._turns.under_way

    @property
    def alive(self) -> bool:
        """Whether any program has not come to its end."""
        return any(not program.over or program.restart_timer for program in self.by_name.values())

    @property
    def finished(self) -> bool:
        """Whether all that are expected to end have done so."""
        if self._finished_at != self._turns.lives:
            self._finished_at = self._turns.lives
            expected = (program for program in self.by_name.values() if not program.forever)
            self._finished = all(program.over and not program.restart_timer for program in expected)
        return self._finished

    def endless(self) -> list[str]:
        """The names of those that are not expected to end, and have not."""
        return [program.name for program in self.by_name.values() if program.forever and not program.over]

    def add(
        self,
        code: Callable[[], Any],
        name: str,
        *,
        executor_type: str = "",
        forever: bool = False,
        restart_after_s: float | None = None,
        starts_after_s: float = 0.0,
        env: Mapping[str, str] | None = None,
        argv: Sequence[str] | None = None,
        cwd: str | PathLike[str] | None = None,
        child_s: Mapping[str, float] | None = None,
    ) -> Program:
        """Add a program, ready for its first turn.

        Errors: ValueError for a name that is taken and for wrong arguments, RuntimeError under gevent or eventlet.
        """
        if name in self.by_name:
            raise ValueError(f"there is a program named {name!r} already: give it another name")
        own_variables, spans = variables(env), dict(child_s or {})
        if wrong := [pattern for pattern, seconds in spans.items() if not seconds >= 0]:
            raise ValueError(f"child_s: {wrong[0]!r}: give seconds, 0 or more, or math.inf for a child that stays")
        if cwd is not None and not isdir(cwd):
            raise ValueError(f"cwd: there is no folder {str(cwd)!r}")
        if not self._installed:
            green_threads.refuse_if_patched()
            self._installed = True
            stdlib_patches.install(*_PATCHES)
            not_stopped.append(self)
        program = self.by_name[name] = Program(self._kernel, self._faults, self._turns, name, code)
        program.pid, program.all = _FIRST_PID + len(self.by_name) - 1, self.by_name
        self._kernel.outputs[name] = program.output
        program.env, program.cwd, program.child_s = own_variables, cwd, spans
        program.argv = None if argv is None else [str(code.path) if isinstance(code, Script) else name, *argv]
        program.executor_type, program.forever = executor_type, forever
        program.restart_after_s = restart_after_s
        with self._kernel.lock:
            self._faults.enlist(program)
            if starts_after_s > 0:
                program.plan_restart(starts_after_s)
            else:
                program.begin()
        return program

    def run(self, limit_ns: int | None, done: Callable[[], bool], *, gives_way: bool = False) -> None:
        """Let programs act and time go on: see Turns.run."""
        self._turns.run(limit_ns, done, gives_way=gives_way)

    def run_to(self, limit_ns: int | None, done: Callable[[], bool], *, to_limit: bool = True) -> bool:
        """Let programs act and time go on, to the limit: whether something was done before.

        What another thread brings about meanwhile is waited for as well: time never passes what is due. `to_limit`
        says whether time moves on to the limit where nothing is left that happens by then. Errors: as `run`.
        """
        kernel = self._kernel
        while True:
            self.run(limit_ns, done)
            kernel.raise_first_problem()
            if look(done):
                return True
            if self._turns.stopping:
                raise Stuck("the programs have been stopped by another thread")
            with kernel.lock:
                if self._turns.at_rest(limit_ns):
                    if limit_ns is not None and to_limit:
                        kernel.move_to(limit_ns)
                    return False

    def explain(self) -> list[str]:
        """What each program is doing, in lines."""
        now_ns = self._kernel.world.now_ns
        lines = []
        threads = [thread for program in self.by_name.values() if not program.over for thread in program.threads]
        for thread in threads:
            if thread is self._turns.acting or not thread.waits_for:
                lines.append(f"  {thread} acts{place(thread)}")
            else:
                waited = show_span(now_ns - thread.since_ns)
                lines.append(f"  {thread} waits for {thread.waits_for}, for {waited}")
        return lines

    def stop(self) -> None:
        """Crash all programs and put the clocks back. Errors: ValueError where a program or a condition asks for it."""
        if here.thread is not None or here.looking:
            raise ValueError(
                "programs cannot be stopped from inside: a program returns, and a condition says when to end"
            )
        with self._kernel.lock:
            for program in self.by_name.values():
                if program.restart_timer:
                    self._kernel.timetable.cancel(program.restart_timer)
                    program.restart_timer = 0
                    program.state = "crashed"
            for program in self.by_name.values():
                program.comes_back = False
                program.crash()
        self._turns.stop_when(lambda: not self.alive)  # whatever else goes wrong
        try:
            if self._turns.recover():
                self.run(self._kernel.world.now_ns, lambda: not self.alive)
        except ProgramFailed:
            pass  # the run before has told of it, or the program has failed in its last moment
        finally:
            with self._kernel.lock:
                for program in self.by_name.values():
                    self._faults.dismiss(program)
                    for thread in program.threads:
                        thread.ready = False
                self.by_name.clear()
                self._turns.ready.clear()
            if self._installed:
                self._installed = False
                not_stopped.remove(self)
                stdlib_patches.uninstall()


not_stopped: Final[list[Programs]] = []
