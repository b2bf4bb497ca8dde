"""A program: ordinary blocking code that acts in turn with others, as a process would."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from types import CoroutineType, ModuleType
from typing import Any

from colonysim.core.records import SECOND_NS
from colonysim.faults.injector import Faults
from colonysim.kernel import randomness
from colonysim.kernel.connections import Connection
from colonysim.kernel.kernel import Kernel
from colonysim.programs import stdlib_patches
from colonysim.programs.children import Child, end_all, leave_if_forked
from colonysim.programs.host import Crashed, ProgramFailed, exit_status
from colonysim.programs.output import Output
from colonysim.programs.pools import exit_process, free_semaphores, shut_down
from colonysim.programs.processes import run_exit_functions
from colonysim.programs.program_thread import FIRST_TURN, OpenLink, ProgramThread
from colonysim.programs.signals import Signals
from colonysim.programs.surroundings import Script, Surroundings
from colonysim.programs.turns import Turns
from colonysim.stdlib import sources
from colonysim.stdlib.here import here
from colonysim.stdlib.leftovers import forget
from colonysim.stdlib.own_names import GivenNames


class Program:
    """Code that runs as an actor. `state` is one of waiting, running, over, failed and crashed.

    `forever`: it is not expected to end. `restart_after_s`: it is started anew when it ends with an error. `asked`
    counts its requests, sleeps and waits. `status` is that of a process, once it has ended by itself.
    `output` has the latest lines that it has written. `interrupted`: its threads must not simply go on with what they
    do, for instance because it is `doomed`.
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
        self.status: int | None = None
        self.output = Output()
        self.has_run = False  # its code has had a turn
        self.restart_timer = 0  # of its next life, if that has been planned
        self.pid = 0
        self.child_s: dict[str, float] = {}
        self.env: dict[str, str] = {}
        self.argv: list[str] | None = None
        self.cwd: str | os.PathLike[str] | None = None
        self.all: dict[str, Program] = {}
        self.begin_life()

    def begin_life(self) -> None:
        """Everything a life has of its own."""
        self.lives += 1
        self.doomed = self.interrupted = False
        self.comes_back = False  # at once, as soon as it has ended
        self.paused_until_ns = 0
        self.sockets: list[Connection] = []
        self.links: dict[OpenLink, None] = {}
        self.cut_links: list[OpenLink] = []
        self.threads: list[ProgramThread] = []
        self._outcome: tuple[str, BaseException | None] = ("over", None)
        self._where = ""
        self.exit_functions: list[tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]] = []
        self._count = 0
        self.numpy_is_seeded = False
        self._told_to_end = False
        self._comes_back_after_s: float | None = None  # once it has ended because it was told to
        self._grace_timer = 0
        self.signals = Signals(self._kernel, self)
        self.children: dict[int, Child] = {}
        self.variables: dict[Any, Any] | None = None  # of its environment, once it has looked
        self.main_module: ModuleType | None = None
        self.surroundings: Surroundings | None = None
        seed = self._kernel.world.settings.seed
        self.random = randomness.source(seed, f"program/{self.name}/{self.lives}")
        self.names = GivenNames(randomness.source(seed, f"program/{self.name}/{self.lives}/names"))

    @property
    def over(self) -> bool:
        return self.state in ("over", "failed", "crashed")

    @property
    def waits_for(self) -> str:
        """What its main thread waits for, "" while that acts."""
        return self.threads[0].waits_for if self.threads else FIRST_TURN

    @property
    def now_ns(self) -> int:
        """Virtual time, whatever its clock says."""
        return self._kernel.world.now_ns

    def __repr__(self) -> str:
        return f"<program {self.name}, {self.state}>"

    # ------------------------------------------------------------ what happens to it, under the lock
    def pause(self, until_ns: int) -> None:
        """It stands still until then, wherever it is."""
        if self.over:
            return
        self.paused_until_ns = max(self.paused_until_ns, until_ns)
        for thread in self.threads:
            thread.pause()

    def resume(self) -> None:
        """Its pause, if there is one, ends now."""
        self.paused_until_ns = 0
        for thread in self.threads:
            thread.resume()

    def interrupt(self) -> None:
        """Have its main thread handle a signal soon."""
        self.interrupted = True
        if self.threads and self._turns.acting is not self.threads[0]:
            self.threads[0].make_ready()

    def die(self) -> None:
        """End at once, because of a signal that it has no handler for."""
        self.crash(self._comes_back_after_s)

    def terminate(self, number: int, grace_s: float, restart_after_s: float | None = None) -> None:
        """Tell it to end by a signal; what is left of it after so many seconds dies as in a crash.

        However it ends, it is started anew `restart_after_s` later (None: never). That it ends with a status other
        than 0 because it was told to end is no failure.
        """
        if self.doomed or self.over or not self.threads:
            return
        self._kernel.observer.note({"program": self.name, "does": "gets a signal", "signal": number})
        self._told_to_end, self._comes_back_after_s = True, restart_after_s
        due_ns = self._kernel.world.now_ns + round(grace_s * SECOND_NS)
        self._kernel.timetable.cancel(self._grace_timer)
        self._grace_timer = self._kernel.timetable.add(due_ns, self.die, f"the grace of {self.name} ends")
        self.signals.deliver(number)

    def process_of(self, pid: int) -> Program | None:
        """The program that a process number means where this one uses it, None if that is none."""
        if pid in (0, self.pid):
            return self
        return next((program for program in self.all.values() if program.pid == pid), None)

    def crash(self, restart_after_s: float | None = None) -> None:
        """Kill it: what it waits for is given up, its connections break, its code ends as soon as it has its turn."""
        if self.doomed or self.over:
            return
        self._kernel.observer.note({"program": self.name, "does": "crashes"})
        self._outcome = ("crashed", None)
        self._doom()
        if not self.threads:
            self._conclude()
        if restart_after_s is not None:
            self.plan_restart(restart_after_s)

    def _doom(self) -> None:
        """All its threads end as soon as they have their turn, and nothing that they do reaches the server any more."""
        self.doomed = self.interrupted = True
        for thread in self.threads:
            thread.doom()
        self._close_connections()
        for thread in self.threads:
            if thread is not self._turns.acting:
                thread.make_ready()

    def _close_connections(self) -> None:
        """Close what it has left open, in the order in which it was opened, as the system does when a process ends."""
        for connection in self.sockets:
            if not connection.closed:
                self._kernel.connections.close(connection)
        self.cut_links += self.links
        for link in self.cut_links:
            link.cut()

    def plan_restart(self, after_s: float) -> None:
        """Start it, for the first time or anew, after so many seconds, unless that has been planned already."""
        self._turns.lives += 1
        if not self.restart_timer:
            due_ns = self._kernel.world.now_ns + round(after_s * SECOND_NS)
            self.restart_timer = self._kernel.timetable.add(due_ns, self._restart, f"{self.name} starts")

    def _restart(self) -> None:
        self.restart_timer = 0
        if self.threads and not self.over:  # it has crashed, and does not know yet
            self.comes_back = True
            return
        if self.over:
            self.state = "waiting"
            self.error = self.status = None
            self.begin_life()
        self.begin()

    def _conclude(self) -> None:
        """Its life has come to its end."""
        self.state, self.error = self._outcome
        self._turns.lives += 1
        self.signals.stop()
        self._close_connections()
        forget(end_all(self.children))
        free_semaphores(self)
        self._kernel.timetable.cancel(self._grace_timer)

    # ------------------------------------------------------------ its threads
    def begin(self) -> None:
        """Give it a main thread and its first turn. Under the lock."""
        self._kernel.observer.note({"program": self.name, "does": "starts", "life": self.lives})
        self._turns.lives += 1
        self.main_module = self.code.module() if isinstance(self.code, Script) else None
        if self.argv is not None or self.cwd is not None or self.main_module is not None:
            self.surroundings = Surroundings(self.argv, self.cwd, self.main_module)
        main = ProgramThread(self, self._kernel, self._faults, self._turns)
        self.threads.append(main)
        self.main_thread = threading.Thread(target=main.live, args=(self._run,), daemon=True)
        self.main_thread.name = f"colonysim-program-{self.name}"
        main.known = self.main_thread
        self.main_thread.start()
        vars(self.main_thread)["_daemonic"] = False  # for the program, whose threads inherit this
        self.state = "running"
        main.make_ready()

    def new_thread(self, label: str, *, daemon: bool) -> ProgramThread:
        """A further thread, which `ProgramThread.live` makes act."""
        thread = ProgramThread(self, self._kernel, self._faults, self._turns, label)
        thread.daemon = daemon
        with self._kernel.lock:
            self.threads.append(thread)
        return thread

    def count(self) -> int:
        """The next number of what this life has begun."""
        self._count += 1
        return self._count

    def seed_numpy(self) -> None:
        """Seed the numbers of numpy for this life, once that is loaded."""
        if not self.numpy_is_seeded and sources.numpy_is_loaded():
            self.numpy_is_seeded = True
            stdlib_patches.take_numpy()
            seed = self._kernel.world.settings.seed
            purpose = f"program/{self.name}/{self.lives}/numpy"
            sources.seed_numpy(randomness.source(seed, purpose).getrandbits(32))

    def forget_thread(self, thread: ProgramThread) -> None:
        """It could not be started."""
        with self._kernel.lock:
            self.threads.remove(thread)

    def own_threads(self) -> list[threading.Thread]:
        """What `threading.enumerate` shows it: its own threads, in the order in which they were started."""
        return [thread.known for thread in self.threads if thread.known is not None]

    def _run(self) -> None:
        """Run its code in its main thread, and end as a process does."""
        self.has_run = True
        self.seed_numpy()
        outcome: tuple[str, BaseException | None] = ("over", None)
        try:
            try:
                self.result = _awaited(self.code())
            except Exception as error:
                outcome = self._outcome_of(error)
            except (SystemExit, KeyboardInterrupt) as error:
                outcome = self._outcome_of(error)
            leave_if_forked(outcome[1])
            self._end_as_a_process()
            if outcome[1] is not None and not isinstance(outcome[1], SystemExit):
                here.thread.tidy_up()
        except Crashed:
            here.thread.tidy_up()
            return
        except BaseException as error:
            here.thread.tidy_up()
            outcome = self._outcome_of(error)
        if not self.doomed:
            self._outcome = outcome
            if len(self.threads) > 1:
                with self._kernel.lock:
                    self._doom()  # daemons

    def _end_as_a_process(self) -> None:
        """Do what the interpreter does at its end: wait for threads, and run what is registered for the exit."""
        if not self.doomed and len(self.threads) > 1:
            self._await_threads()
        if not self.doomed:
            run_exit_functions(self.exit_functions)
            exit_process(self)

    def _outcome_of(self, error: BaseException) -> tuple[str, BaseException | None]:
        """How it has ended whose main thread has raised this error."""
        well = exit_status(error) == 0 or (self._told_to_end and isinstance(error, (SystemExit, KeyboardInterrupt)))
        return "over" if well else "failed", error

    def _await_threads(self) -> None:
        """Wait until all threads but daemons have ended, as a process does before it ends."""
        ended = [here.thread]
        shut_down(self.own_threads())
        while waited := next((one for one in self.threads if one not in ended and not one.daemon), None):
            with waited.end:  # and release it, since other threads may join that one too
                ended.append(waited)

    def changed_folder(self, before: str) -> None:
        """Its code, which has the turn, has left this folder for another one: that is its own."""
        if self.surroundings is None:
            self.surroundings = Surroundings()
            for thread in self.threads:
                thread.surroundings = self.surroundings
            self._turns.begin_turn(here.thread)
        self.surroundings.changed_folder(before)

    def exit(self, status: int, where: str) -> None:
        """End at once with a status, as `os._exit` does. Errors: Crashed, always."""
        with self._kernel.lock:
            if not self.doomed:
                error = SystemExit(status) if status & 0xFF else None
                self._outcome, self._where = ("over", None) if error is None else self._outcome_of(error), where
                self._doom()
        here.thread.remind()

    def fail(self, error: BaseException) -> None:
        """End the run with an error that concerns this program."""
        self._turns.failures.append(error)

    def thread_ended(self, thread: ProgramThread) -> None:
        """A thread has ended, and says so itself; it has nothing more to do than to hand over."""
        if thread not in self.threads:
            return  # it has been left standing long ago
        kernel, turns = self._kernel, self._turns
        turns.acting = None
        with kernel.lock:
            self.threads.remove(thread)
            thread.finish()
            if not self.threads:
                self._end()
        turns.hand_on()

    def _end(self) -> None:
        """Its last thread has ended."""
        self._conclude()
        state, error = self._outcome
        if state != "crashed":
            self.status = 1 if (status := exit_status(error)) is None else status
            does = "fails" if state == "failed" else "ends"
            self._kernel.observer.note({"program": self.name, "does": does, "error": repr(error)})
        if state == "failed":
            assert error is not None
            if self.restart_after_s is not None:
                self.plan_restart(self.restart_after_s)
            else:
                self._turns.failures.append(ProgramFailed(self.name, error, self._where, str(self.output)))
        if self.comes_back:
            self.plan_restart(0)
        if self._told_to_end and state == "over" and self._comes_back_after_s is not None:
            self.plan_restart(self._comes_back_after_s)


def _awaited(result: Any) -> Any:
    """Return a result; run it in an event loop of its own if it is a coroutine."""
    if not isinstance(result, CoroutineType):
        return result
    import asyncio

    return asyncio.run(result)
