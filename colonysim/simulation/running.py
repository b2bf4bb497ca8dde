"""The part of a simulation that runs programs."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from colonysim.evidence.journal import Journal
from colonysim.faults.injector import Faults
from colonysim.kernel.actors import Actors
from colonysim.kernel.clock import Clock, later
from colonysim.kernel.connections import Connections
from colonysim.kernel.driver import Driver, Stuck
from colonysim.kernel.pending import Pending
from colonysim.kernel.timetable import Planning
from colonysim.programs import stdlib_patches
from colonysim.programs.host import Stage
from colonysim.programs.program import Program
from colonysim.programs.scheduler import Programs


class Running(Planning):
    """Programs beside everything else: made by `program`, they act in `run`, in `advance`, and while a call waits."""

    _lock: threading.Lock
    _connections: Connections
    clock: Clock
    driver: Driver
    actors: Actors
    faults: Faults
    problems: list[BaseException]
    journal: Journal | None

    def __init__(self) -> None:
        super().__init__()
        self.programs: Programs | None = None

    def _stage(self) -> Stage:
        return Stage(
            lock=self._lock,
            world=lambda: self.world,
            actors=self.actors,
            faults=self.faults,
            timetable=self.timetable,
            fire=self._fire,
            due=self._due,
            note=self._note,
            abandon=self._abandon,
            lose=self._connections.lose,
            why=self.why,
            look_around=self.driver.look_around,
            problems=self.problems,
        )

    def _note(self, line: dict[str, Any]) -> None:
        raise TypeError("a simulation knows its journal")

    def _abandon(self, pending: Pending) -> None:
        raise TypeError("a simulation knows its requests")

    def advance(self, seconds: float | None = None, *, until: Callable[[], bool] | None = None) -> None:
        """Move time, see Simulation."""
        raise TypeError("a simulation knows how to move time")

    def _hear_outside(self) -> None:
        """Somebody outside is about to get an answer; what led to it must be on file by then."""
        self.actors.hear_outside()
        if self.journal is not None:
            self.journal.flush()

    def _raise_first_problem(self) -> None:
        """Raise the first problem that has come up in any thread, if there is one."""
        raise TypeError("a simulation knows its problems")

    def program(
        self,
        fn: Callable[..., Any],
        *args: Any,
        name: str | None = None,
        executor_type: str = "",
        forever: bool = False,
        restart_after_s: float | None = None,
        starts_after_s: float = 0.0,
    ) -> Program:
        """Have ordinary blocking code act in this simulation, in lock-step with all others and in virtual time.

        It first acts in `run`. `forever`: `run` does not wait for its end. `restart_after_s`: when it ends with an
        error it is started anew, as a supervisor would; otherwise `run` raises ProgramFailed. `executor_type` is
        for faults that name one. Errors: ValueError for a name that is taken, or while the clock follows real time.
        """
        if self.clock.follows_real_time:
            raise ValueError(f"the clock is {self.clock.mode.value}: programs need one that is manual or auto")
        if self.programs is None:
            self.programs = self.driver.programs = Programs(self._stage())
        given = name or str(getattr(fn, "__name__", "program"))
        if name is None:
            numbers = (given if n == 1 else f"{given}-{n}" for n in range(1, 1_000_000))
            given = next(one for one in numbers if one not in self.programs.by_name)
        return self.programs.add(
            fn,
            args,
            given,
            executor_type=executor_type,
            forever=forever,
            restart_after_s=restart_after_s,
            starts_after_s=starts_after_s,
        )

    def run(self, for_s: float | None = None, *, until: Callable[[], bool] | None = None) -> None:
        """Let programs act and time go on: for so long, until something is true, or until all have ended.

        Errors: ProgramFailed with the name and stack of a program, Stuck where nothing can happen any more or a
        program is blocked by something real, InvariantViolation, ValueError where there is nothing to wait for.
        """
        programs = self.programs
        if programs is None:
            raise ValueError("there is no program: make one with sim.program(fn)")
        limit_ns = None if for_s is None else later(self.world.now_ns, for_s)
        if limit_ns is None and until is None and all(p.forever for p in programs.by_name.values()):
            raise ValueError("all programs go on for ever: say for how long, run(for_s=...)")
        done = until or ((lambda: False) if for_s is not None else (lambda: programs.finished))
        if not self._act(limit_ns, done) and limit_ns is None:
            raise Stuck(f"nothing can ever happen any more\n{self.why()}")

    def why(self) -> str:
        """Who does what, and what is due next."""
        raise TypeError("a simulation knows why")

    def stop_programs(self) -> None:
        """End all programs where they stand, and put clocks and chance back as they were."""
        if self.programs is not None:
            self.programs.stop()
            self.programs = self.driver.programs = None

    def _advance_with_programs(self, limit_ns: int, until: Callable[[], bool] | None, open_end: bool) -> None:
        """`advance` where there are programs. Errors: as `run`."""
        if not self._act(None if open_end else limit_ns, until or (lambda: False)) and open_end:
            raise Stuck(f"nothing is to come that could make it true\n{self.why()}")

    def act_until(self, until_ns: int, stop: Callable[[], bool]) -> None:
        """Let programs act and time go on, up to a time or until something is true. Errors: as `run`."""
        self._act(until_ns, stop)

    def _act(self, limit_ns: int | None, done: Callable[[], bool], *, to_limit: bool = True) -> bool:
        """Let programs act and time go on, to the limit: whether something was done before.

        What another thread brings about meanwhile is waited for as well: time never passes what is due.
        """
        programs = self.programs
        assert programs is not None
        while True:
            programs.run(limit_ns, done)
            self._raise_first_problem()
            if programs.look(done):
                return True
            if programs.stopping:
                raise Stuck("the programs have been stopped by another thread")
            with self._lock:
                if programs.at_rest(limit_ns):
                    if limit_ns is not None and to_limit:
                        self._move_to(limit_ns)
                    return False

    def _move_to(self, now_ns: int) -> None:
        """All that is due by then has happened: it is that time now. Under the lock."""
        if now_ns > self.world.now_ns:
            due_ns = self._due()
            assert due_ns is None or due_ns > now_ns, "time must not pass what is due"
            self.world.now_ns = now_ns
        if self.journal is not None:
            self.journal.moved(self.world.now_ns)
        self.driver.nudge()

    def run_until_idle(self, limit_s: float | None = None) -> None:
        """Let everything happen that is still to come, within the limit.

        Errors: ValueError where crons or programs would go on for ever and there is no limit, or for one that makes
        no sense; JournalFailed.
        """
        if self.journal is not None:
            self.journal.require()
        if limit_s is None and self.world.crons:
            raise ValueError("crons never come to rest: give run_until_idle a limit in seconds")
        if limit_s is None and self.programs is not None and (names := self.programs.endless()):
            raise ValueError(f"{names[0]} goes on for ever: give run_until_idle a limit in seconds")
        deadline_ns = None if limit_s is None else later(self.world.now_ns, limit_s)
        if self.programs is not None:
            self._act(deadline_ns, lambda: False, to_limit=False)
            return
        while (due_ns := self._next_due()) is not None and (deadline_ns is None or due_ns <= deadline_ns):
            self.advance(until=lambda due_ns=due_ns: self.world.now_ns >= due_ns)  # type: ignore[misc]

    def _next_due(self) -> int | None:
        with self._lock:
            return self._due()

    def _acting_program(self) -> str:
        """The name of the program that is calling, "" where it is none."""
        return getattr(stdlib_patches.here.inhabitant, "name", "")

    def _without_programs(self, what: str) -> None:
        """Errors: ValueError while there are programs: where a thread stands cannot be copied."""
        if self.programs is not None and self.programs.alive:
            names = ", ".join(list(self.programs.by_name)[:3])
            raise ValueError(f"{what} is not possible while programs run ({names}): call stop_programs() first")
