"""The object that users hold: a simulated server with its clock, faults and evidence.

A Simulation consists of parts and does little itself. `kernel` is the server: one world, one lock, one clock, and the
loop that moves time. `driver` moves time for waiting threads, `observers` keep the journal and check the invariants,
`faults` act between clients and server, and `program` adds programs. Users need only the names documented here.

kernel/kernel.py describes who may move time. In short: tests call `advance`, `run` and `run_until_idle`; in mode
`auto`, a thread that waits for an answer does so once all others wait; in modes of real time, each request does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from functools import partial
from os import PathLike
from typing import TYPE_CHECKING, Any

from colonysim.core.operations.assignment import AssignProcess
from colonysim.core.protocol import Answer, Message
from colonysim.core.settings import Settings, check_seed
from colonysim.core.world import World
from colonysim.evidence.journal import Journal, JournalErrors, header
from colonysim.evidence.observers import Observers
from colonysim.faults.injector import Faults
from colonysim.invariants import Invariant
from colonysim.invariants.invariant import own_kinds
from colonysim.kernel import snapshots
from colonysim.kernel.actors import ACTED_SINCE, OUTSIDE_THRESHOLD_S, Actor
from colonysim.kernel.calls import HUGE_BYTES, Calls
from colonysim.kernel.clock import EPOCH, Mode, time_after
from colonysim.kernel.driver import Driver
from colonysim.kernel.kernel import Kernel, Stuck
from colonysim.kernel.own_lock import freeing_the_lock
from colonysim.kernel.pending import Pending
from colonysim.kernel.why_idle import name_of
from colonysim.wire.vetting import Vetting

if TYPE_CHECKING:
    from colonysim.evidence.why_not import WhyNot
    from colonysim.programs.program import Program
    from colonysim.programs.scheduler import Programs


class Simulation:
    """A Colonies server in memory, with a clock.

    `faults` adds and removes faults (see colonysim.faults). The other parts are internal: `kernel` (requests, time,
    connections), `driver` (moves time for waiting threads) and `observers` (journal, invariants and further observers).

    `mode`: how time moves (see Mode). `rate`: virtual seconds per real second, in mode `scaled`. `settings`: those of
    the server; further keywords (`overrides`) are fields of Settings that differ from them, such as `seed` and `start`.
    `invariants`: whether the rules of the server are checked after each step; a list of classes adds invariants of your
    own. `journal`: whether the history is kept, in memory or, if it is a path, in that file; `journal_errors`: what
    happens if the file cannot be written any more. `threshold_s`: how many real seconds clients in other processes must
    be silent to count as waiting.
    Raises ValueError for invalid settings, with the fix; OSError if the file cannot be created.
    """

    def __init__(
        self,
        settings: Settings | None = None,
        *,
        mode: Mode | str = Mode.AUTO,
        rate: float | None = None,
        invariants: bool | Sequence[type[Invariant]] = True,
        journal: bool | str | PathLike[str] = False,
        journal_errors: JournalErrors | str = JournalErrors.CONTINUE,
        threshold_s: float = OUTSIDE_THRESHOLD_S,
        **overrides: Any,
    ) -> None:
        settings = (settings or Settings()).overridden(**overrides)
        own_kinds(invariants)  # before a journal's file is begun
        self.kernel = kernel = Kernel(settings, Mode(mode), rate, threshold_s)
        kept: Journal | None = None
        if journal:
            head = header(settings, kernel.clock.mode, kernel.world.now_ns, invariants is not False)
            kept = Journal(head, None if journal is True else journal, JournalErrors(journal_errors))
        self._thread = kernel.actors.current
        self.observers = kernel.observer = Observers(kernel, kept, invariants)
        self.driver = Driver(kernel, lambda: _time_to_spare(kernel))
        self.faults = Faults(kernel)
        self._vetting = Vetting(kernel.calls.expect)
        self._unchanging = self._vetting.unchanging
        self._programs: Programs | None = None
        self.observers.replace_world(kernel.world)
        self.faults.begin()
        kernel.actors.this_thread().acts()

    def _replace_world(self, world: World) -> None:
        """Replace the world in all parts. Under the lock."""
        self.kernel.replace_world(world)
        self.observers.replace_world(world)
        self.faults.begin()

    # ------------------------------------------------------------ state
    @property
    def world(self) -> World:
        """The state of the server: tables, queues, agenda, settings. Read it only."""
        return self.kernel.world

    @property
    def settings(self) -> Settings:
        """The settings of the server, with the current seed."""
        return self.kernel.world.settings

    @property
    def journal(self) -> Journal | None:
        """The journal of this simulation; None if it keeps none."""
        return self.observers.journal

    @property
    def calls(self) -> Calls:
        """The latest calls of all clients with their answers, oldest first; a bounded number of them."""
        return self.kernel.calls

    @property
    def now_ns(self) -> int:
        """Virtual time, in nanoseconds since 1970 UTC."""
        kernel = self.kernel
        if kernel.clock.runs:
            with kernel.lock:
                kernel.catch_up()
        return kernel.world.now_ns

    @property
    def now(self) -> datetime:
        """Virtual time, in UTC, to the microsecond."""
        return EPOCH + timedelta(microseconds=self.now_ns // 1000)

    # ------------------------------------------------------------ requests
    @freeing_the_lock
    def call(self, caller_id: str, message: Message, *, has_nul: bool | None = None) -> Answer:
        """Send a request, and wait for the answer in virtual time.

        `caller_id`: the id that a signature would prove, 64 hexadecimal digits. `message`: the request. `has_nul`: for
        a message that was decoded from bytes, whether it may contain U+0000.
        Raises TypeError or ValueError for what no client could send; Stuck, InvariantViolation, JournalFailed.
        """
        if has_nul is None and (type(caller_id) is not str or self._unchanging.get(caller_id) is not message):
            message, has_nul = self._vetting.read(caller_id, message)
        kernel = self.kernel
        actor = self._thread.actor
        if actor is None or actor.observed:
            kernel.actors.acts()
        else:  # what `acts` would do
            actor.waits_for, actor.cpu_ns = "", ACTED_SINCE
        if message.__class__ is AssignProcess:
            self._thread.assigned_as.add(caller_id)
        with kernel.lock:
            if kernel.clock.runs:
                kernel.catch_up()
            asked = kernel.ask(caller_id, message, has_nul or False)
            now_ns, heap = kernel.world.now_ns, kernel.world.agenda.heap
            if (heap and heap[0][0] <= now_ns) or kernel.timetable.planned.heap or kernel.mover.event is not None:
                kernel.run_due()
        return asked if type(asked) is Answer else self.wait(asked)

    @freeing_the_lock
    def begin(self, caller_id: str, message: Message, *, has_nul: bool | None = None, outside: bool = False) -> Pending:
        """Send a request as `call` does, and return at once. `answer` of the result is set if it has come already.

        `caller_id`, `message` and `has_nul` are as for `call`. `outside`: the client is in another process, and counts
        as acting after its requests and their answers. Raises errors as `call`, except Stuck.
        """
        if has_nul is None:
            message, has_nul = self._vetting.read(caller_id, message)
        kernel = self.kernel
        kernel.actors.note_activity(outside)
        if message.__class__ is AssignProcess:
            (kernel.actors.outside_assignees if outside else kernel.actors.this_thread().assigned_as).add(caller_id)
        with kernel.lock:
            if kernel.clock.runs:
                kernel.catch_up()
            asked = kernel.ask(caller_id, message, has_nul, 0, outside)
            call = next(reversed(kernel.calls))
            pending = Pending(asked.ticket, call, outside, asked) if type(asked) is Answer else asked
            kernel.run_due()
        return pending

    def wait(self, pending: Pending, timeout_s: float | None = None) -> Answer:
        """Wait for the answer to `pending`, a request that `begin` returned. Time moves while all actors wait.

        `timeout_s`: disconnect after so many virtual seconds. Raises TimedOut then; Stuck if no answer can ever come;
        InvariantViolation.
        """
        call = pending.call
        if timeout_s is not None:
            from colonysim.simulation.losses import wait_for_a_while

            return wait_for_a_while(self, pending, timeout_s)
        try:
            self.driver.wait_for(pending, f"{call.payload_type} of {name_of(self.world, call.caller_id)}")
        except (Stuck, ValueError):
            self.abandon(pending)
            raise
        assert pending.answer is not None
        return pending.answer

    def abandon(self, pending: Pending) -> None:
        """Disconnect the client of `pending`: the server drops the request, and its answer has status 0."""
        with self.kernel.lock:
            self.kernel.abandon(pending)

    # ------------------------------------------------------------ time
    def advance(
        self,
        seconds: float | timedelta | None = None,
        *,
        to: datetime | str | None = None,
        until: Callable[[], bool] | None = None,
        settle: bool = True,
    ) -> None:
        """Move time: by `seconds`, to the time `to`, or until `until` is true, which is evaluated before each event.

        Events that are due on the way run at their times. Clients that get answers may act before time moves further,
        unless `settle` is False. `to` is a datetime with a time zone, or an RFC 3339 text.
        Raises ValueError for a time in the past, or if the clock follows real time; Stuck if `until` can never become
        true; JournalFailed.
        """
        kernel = self.kernel
        kernel.observer.require()
        with kernel.lock:
            target_ns = kernel.clock.target(kernel.world.now_ns, seconds, to, until is not None)
            kernel.clock.rest()
        open_end = seconds is None and to is None
        if self._programs is not None:
            came_true = self._programs.run_to(None if open_end else target_ns, until or _never)
        else:
            stop = None if until is None else kernel.unlocked(until)
            actor = kernel.actors.this_thread() if settle else None
            with kernel.lock:
                came_true = kernel.run(target_ns, stop, settle_but=actor)
                if came_true or not open_end:
                    kernel.move_to(kernel.world.now_ns if came_true else target_ns)
        if open_end and not came_true:
            raise Stuck(f"no event is left that could make the condition true\n{self.why()}")

    def run_until_idle(self, limit_s: float | None = None) -> None:
        """Run all events that are still to come, within `limit_s` seconds if given.

        Raises ValueError without a limit if crons or programs never end, or for an invalid limit; JournalFailed.
        """
        kernel, programs = self.kernel, self._programs
        kernel.observer.require()
        if limit_s is None and kernel.world.crons:
            raise ValueError("crons never end: give run_until_idle a limit in seconds")
        if limit_s is None and programs is not None and (names := programs.endless()):
            raise ValueError(f"program {names[0]} never ends: give run_until_idle a limit in seconds")
        deadline_ns = None if limit_s is None else time_after(kernel.world.now_ns, limit_s)
        if programs is not None:
            programs.run_to(deadline_ns, _never, to_limit=False)
            return
        while (due_ns := self._due()) is not None and (deadline_ns is None or due_ns <= deadline_ns):
            self.advance(until=lambda due_ns=due_ns: kernel.world.now_ns >= due_ns)  # type: ignore[misc]

    def _due(self) -> int | None:
        with self.kernel.lock:
            return self.kernel.due()

    def set_clock(self, mode: Mode | str | None = None, rate: float | None = None) -> None:
        """Change the `mode` of the clock (see Mode), or its `rate` in virtual seconds per real second.

        Raises ValueError for an invalid mode or rate, and for modes that follow real time while there are programs.
        """
        kernel = self.kernel
        new_mode = Mode(mode) if mode is not None else kernel.clock.mode
        if self._programs is not None and new_mode in (Mode.REAL, Mode.SCALED):
            raise ValueError(f"programs cannot run while the clock is {new_mode.value}: call stop_programs() first")
        if rate is None and new_mode is Mode.SCALED:
            rate = kernel.clock.rate
        with kernel.lock:
            if kernel.clock.follows_real_time:
                kernel.catch_up()
            kernel.clock.set(new_mode, rate, kernel.world.now_ns)
            kernel.mover.replan()

    @contextmanager
    def actor(self, name: str) -> Iterator[Actor]:
        """Register an actor: in mode `auto`, time does not move until the end of the `with`, unless it waits.

        Raises ValueError if `name` is in use.
        """
        kernel = self.kernel
        with kernel.lock:
            actor = kernel.actors.register(name)
        try:
            yield actor
        finally:
            with kernel.lock:
                kernel.actors.unregister(name)
                kernel.actor_stopped_acting()

    # ------------------------------------------------------------ programs
    def program(
        self,
        fn: Callable[..., Any],
        *args: Any,
        name: str | None = None,
        executor_type: str = "",
        forever: bool = False,
        restart_after_s: float | None = None,
        starts_after_s: float = 0.0,
        env: Mapping[str, str] | None = None,
        argv: Sequence[str] | None = None,
        cwd: str | PathLike[str] | None = None,
        child_s: Mapping[str, float] | None = None,
        **kwargs: Any,
    ) -> Program:
        """Add a program: ordinary blocking code that runs in virtual time and in turn with all other programs.

        `run` calls `fn` with `args` and `kwargs`, at once or after `starts_after_s` seconds; `fn` may be `async def`.
        `name`: by default the function's. `forever`: `run` does not wait for its end. `restart_after_s`: after how many
        seconds to start it again if it ends with an error, as a supervisor does; without it, `run` raises
        ProgramFailed. `executor_type`: for faults that match a type. `env`: environment variables besides those of this
        process. `argv`: its arguments, in `sys.argv` after its name. `cwd`: its working directory. `child_s`: how many
        virtual seconds child processes take, by patterns of their commands; by default none.
        Raises ValueError if the name is in use, or while the clock follows real time.
        """
        given = name or str(getattr(fn, "__name__", "program"))
        options = {"executor_type": executor_type, "forever": forever, "restart_after_s": restart_after_s}
        own = {"starts_after_s": starts_after_s, "env": env, "argv": argv, "cwd": cwd, "child_s": child_s}
        return self._add_program(partial(fn, *args, **kwargs), given, name is None, **options, **own)

    def script(
        self,
        path: str | PathLike[str],
        argv: Sequence[str] = (),
        *,
        name: str | None = None,
        **options: Any,
    ) -> Program:
        """Have the file `path` of Python code act as a program: it runs as `__main__`, as published.

        `argv` are its arguments, and `name` is the file's own, without `.py`, if none is given. Further `options` are
        those of `program`. Errors: OSError, SyntaxError, and those of `program`.
        """
        from colonysim.programs.surroundings import Script

        script = Script(path)
        return self._add_program(script, name or script.path.stem, name is None, argv=argv, **options)

    def _add_program(self, code: Callable[[], Any], name: str, may_differ: bool, **options: Any) -> Program:
        """Add a program under a name, or if that may differ under one with a number where it is taken."""
        clock = self.kernel.clock
        if clock.follows_real_time:
            raise ValueError(f"the clock is {clock.mode.value}: set it to manual or auto for programs")
        programs = self._programs
        if programs is None:
            from colonysim.programs.scheduler import Programs

            programs = self._programs = self.kernel.programs = Programs(self.kernel, self.faults, self.driver)
        if may_differ:
            numbers = (name if n == 1 else f"{name}-{n}" for n in range(1, 1_000_000))
            name = next(one for one in numbers if one not in programs.by_name)
        return programs.add(code, name, **options)

    def run(self, for_s: float | None = None, *, until: Callable[[], bool] | None = None) -> None:
        """Run the programs and move time: for `for_s` seconds, until `until` is true, or until all programs have ended.

        Raises ProgramFailed, with the name and stack of a program; Stuck if nothing can ever happen, or if a program is
        blocked outside of virtual time; InvariantViolation; ValueError if there is nothing to wait for.
        """
        programs = self._programs
        if programs is None:
            raise ValueError("there is no program: add one with sim.program(fn)")
        limit_ns = None if for_s is None else time_after(self.kernel.world.now_ns, for_s)
        if limit_ns is None and until is None and all(p.forever for p in programs.by_name.values()):
            raise ValueError("no program ever ends: give a limit, run(for_s=...)")
        done = until or (_never if for_s is not None else (lambda: programs.finished))
        if not programs.run_to(limit_ns, done) and limit_ns is None:
            raise Stuck(f"no further event can happen\n{self.why()}")

    def stop_programs(self) -> None:
        """End all programs where they are, and restore the clocks and random sources of the process.

        Raises ValueError if a program calls it, or a condition that `run` evaluates.
        """
        if self._programs is not None:
            self._programs.stop()
            self._programs = self.kernel.programs = None

    def _without_programs(self, what: str) -> None:
        """Raise ValueError while there are programs, because the state of a thread cannot be copied."""
        if self._programs is not None and self._programs.alive:
            names = ", ".join(list(self._programs.by_name)[:3])
            raise ValueError(f"{what} is not possible while programs run ({names}): call stop_programs() first")

    # ------------------------------------------------------------ snapshots
    def snapshot(self) -> bytes:
        """Return the whole state of the server as bytes. Raises ValueError while there are programs."""
        self._without_programs("a snapshot")
        with self.kernel.lock:
            return snapshots.dump(self.kernel.world)

    def restore(self, snapshot: bytes) -> None:
        """Restore the state of `snapshot`, bytes that `snapshot()` returned. Waiting clients lose their connections.

        Raises BadSnapshot for invalid bytes; ValueError while there are programs.
        """
        self._without_programs("restoring a snapshot")
        world, kernel = snapshots.load(snapshot), self.kernel
        with kernel.lock:
            kernel.disconnect_all()
            if self.journal is not None:
                self.journal.restored(world.now_ns, snapshots.pack(snapshot))
            if len(snapshot) > HUGE_BYTES:  # a smaller one holds no large record
                kernel.calls.expect(len(snapshot))
            self._replace_world(world)

    def reset(self, seed: int | None = None) -> None:
        """Restore the state at the start, with another `seed` if given.

        That is an empty server, or the stock colony or the saved state that it was set up with. For any other state,
        use `snapshot` and `restore`.
        Waiting clients lose their connections, and actors of other processes are removed. The clock keeps its mode.
        Raises ValueError for an invalid seed, and while there are programs.
        """
        self._without_programs("a reset")
        if seed is not None:
            check_seed(seed)
        kernel, initial = self.kernel, self.kernel.initial
        with kernel.lock:
            kernel.disconnect_all()
            world = snapshots.new_world(self.settings) if initial is None else snapshots.load(initial)
            if seed is not None:
                world.reseed(seed)
            kernel.calls.clear()
            kernel.problems.clear()
            if self.journal is not None:
                self.journal.reset(world.now_ns, initial is not None, seed)
            kernel.actors.unregister_outside()
            self._replace_world(world)

    def fork(self) -> Simulation:
        """Return an independent simulation that starts from this state, without faults and further observers.

        If this one keeps a journal, so does the other, in memory. Raises ValueError while there are programs.
        """
        kernel = self.kernel
        other = Simulation(
            self.settings,
            mode=kernel.clock.mode,
            rate=kernel.clock.rate,
            invariants=self.observers.asked,
            journal=self.journal is not None,
            threshold_s=kernel.actors.threshold_s,
        )
        other.restore(self.snapshot())
        return other

    # ------------------------------------------------------------ evidence
    def check(self) -> None:
        """Raise the first error of any thread, and compare the server's tables with the records of the invariants.

        Raises InvariantViolation, and any error with which an event or a program has ended.
        """
        with self.kernel.lock:
            self.observers.check()

    def why(self) -> str:
        """Describe which actors act, who waits for what and since when, and what is due next, in lines."""
        with self.kernel.lock:
            return self.kernel.why()

    def why_not(self, process_id: str) -> WhyNot:
        """Explain why the process `process_id` is not assigned: its state (`unknown` if there is none) and reasons."""
        from colonysim.evidence import why_not

        with self.kernel.lock:
            return why_not.why_not(self.kernel.world, process_id)

    def story(self, process_id: str) -> str:
        """Return the timeline of the process `process_id`, in lines. It is kept only if invariants are checked."""
        with self.kernel.lock:
            return self.observers.story(process_id)


def _never() -> bool:
    return False


def _time_to_spare(kernel: Kernel) -> float:
    from colonysim.simulation import bystanders  # not needed where nobody waits

    return bystanders.time_to_spare(kernel)
