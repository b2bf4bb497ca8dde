"""The object that users hold: a simulated server with its clock, its faults and its evidence.

A Simulation is put together from parts, and does little itself. `kernel` is the server: one world, one lock, one clock,
and the loop that moves time. `driver` moves time on behalf of those who wait, `observers` keep the journal and check
the invariants, `faults` sit between clients and server, and programs are there once `program` has been called. Users
need the names that are documented here; servers, runners of scenarios and other plumbing use the parts.

Who may move time is said in kernel/kernel.py. In short: a test does so by `advance`, `run` and `run_until_idle`; in
mode `auto` whoever waits for an answer does, once everybody else waits too; and in modes that follow real time each
request brings the world up to date first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from os import PathLike
from typing import TYPE_CHECKING, Any

from colonysim.core.protocol import Answer, Message
from colonysim.core.settings import Settings, check_seed
from colonysim.core.world import World
from colonysim.evidence.journal import Journal, JournalErrors, header
from colonysim.evidence.observers import Observers
from colonysim.faults.injector import Faults
from colonysim.invariants import Invariant
from colonysim.invariants.invariant import own_kinds
from colonysim.kernel import snapshots
from colonysim.kernel.actors import OUTSIDE_THRESHOLD_S, Actor
from colonysim.kernel.calls import HUGE_BYTES, Calls
from colonysim.kernel.clock import EPOCH, Mode, time_after
from colonysim.kernel.driver import Driver
from colonysim.kernel.kernel import Kernel, Stuck
from colonysim.kernel.pending import Pending
from colonysim.kernel.vetting import Vetting
from colonysim.programs.program import Program
from colonysim.programs.scheduler import Programs

if TYPE_CHECKING:
    from colonysim.evidence.why_not import WhyNot


class Simulation:
    """A Colonies server in memory, with a clock.

    `faults` adds and removes faults (see colonysim.faults). The other parts are for plumbing: `kernel` (requests, time,
    connections), `driver` (moves time for those who wait) and `observers` (invariants, and what else looks on).

    `mode` says how time moves (see Mode), `rate` how fast where it is `scaled`, as virtual seconds a real second.
    `settings` are those of the server; further keywords (`overrides`) are fields of Settings that differ from it, such
    as `seed` and `start`. `invariants` says whether the server's rules are checked after each step; a list of classes
    adds invariants of your own. `journal` keeps the history, in memory or, if it is a path, in that file, and
    `journal_errors` says what happens when the file cannot be written any more. `threshold_s` is how many seconds of
    real time clients outside of this process must be silent before they count as waiting.
    Errors: ValueError for settings that make no sense, with what would; OSError for a file that cannot be begun.
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
        self.observers = kernel.observer = Observers(kernel, kept, invariants)
        self.driver = Driver(kernel)
        self.faults = Faults(kernel)
        self._vetting = Vetting(kernel.calls.expect)
        self._vouched = self._vetting.vouched
        self._programs: Programs | None = None
        self._initial: bytes | None = None
        self.observers.replace_world(kernel.world)
        self.faults.begin()
        kernel.actors.this_thread().acts()

    def _replace_world(self, world: World) -> None:
        """Begin another history with this world. Under the lock."""
        self.kernel.replace_world(world)
        self.observers.replace_world(world)
        self.faults.begin()

    # ------------------------------------------------------------ what there is
    @property
    def world(self) -> World:
        """The server's state: tables, queues, agenda, settings. Look, do not touch."""
        return self.kernel.world

    @property
    def settings(self) -> Settings:
        """The settings of the server, with the seed of this history."""
        return self.kernel.world.settings

    @property
    def journal(self) -> Journal | None:
        """The history of this simulation, None where none is kept."""
        return self.observers.journal

    @property
    def calls(self) -> Calls:
        """The latest calls of all clients, oldest first, each with its answer; a bounded number of them."""
        return self.kernel.calls

    @property
    def now_ns(self) -> int:
        """Virtual time, nanoseconds since 1970 UTC."""
        kernel = self.kernel
        if kernel.clock.follows_real_time:
            with kernel.lock:
                kernel.catch_up()
        return kernel.world.now_ns

    @property
    def now(self) -> datetime:
        """Virtual time, UTC, to the microsecond."""
        return EPOCH + timedelta(microseconds=self.now_ns // 1000)

    # ------------------------------------------------------------ requests
    def call(self, caller_id: str, message: Message, *, has_nul: bool | None = None) -> Answer:
        """Ask the server under an identity, and wait for the answer in virtual time.

        `caller_id` is the id that a signature would prove, 64 hexadecimal digits, and `message` the request. `has_nul`
        is for messages that have been read from bytes: whether the message may hold U+0000.
        Errors: TypeError and ValueError for what no client could send; Stuck, InvariantViolation, JournalFailed.
        """
        if has_nul is None and (type(caller_id) is not str or self._vouched.get(caller_id) is not message):
            message, has_nul = self._vetting.read(caller_id, message)
        kernel = self.kernel
        kernel.actors.acts()
        with kernel.lock:
            if kernel.clock.follows_real_time:
                kernel.catch_up()
            asked = kernel.ask(caller_id, message, has_nul or False)
            now_ns, heap = kernel.world.now_ns, kernel.world.agenda.heap
            if (heap and heap[0][0] <= now_ns) or kernel.timetable.planned.heap or kernel.mover.event is not None:
                kernel.run_due()
        return asked if type(asked) is Answer else self.wait(asked)

    def begin(self, caller_id: str, message: Message, *, has_nul: bool | None = None, outside: bool = False) -> Pending:
        """Ask the server as `call` does, and return at once: the request, with `answer` set if it is there already.

        `caller_id`, `message` and `has_nul` are as for `call`. `outside` says that the client is not in this process:
        its requests and their answers count as signs of life of it.
        Errors: as `call`, but for Stuck.
        """
        if has_nul is None:
            message, has_nul = self._vetting.read(caller_id, message)
        kernel = self.kernel
        kernel.actors.note_activity(outside)
        with kernel.lock:
            if kernel.clock.follows_real_time:
                kernel.catch_up()
            asked = kernel.ask(caller_id, message, has_nul, 0, outside)
            pending = Pending(asked.ticket, kernel.calls[-1], outside, asked) if type(asked) is Answer else asked
            kernel.run_due()
        return pending

    def wait(self, pending: Pending) -> Answer:
        """Wait for the answer to `pending`, a request that `begin` returned; time moves on while everybody waits.

        Errors: Stuck where no answer can ever come; InvariantViolation.
        """
        call = pending.call
        try:
            self.driver.wait_for(pending, f"{call.payload_type} of {call.caller_id[:8]}")
        except (Stuck, ValueError):
            self.abandon(pending)
            raise
        assert pending.answer is not None
        return pending.answer

    def abandon(self, pending: Pending) -> None:
        """Hang up on `pending`: a request that waits at the server gives its place free; its answer has status 0."""
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
        """Move time: by `seconds`, to the time `to`, or until `until` is true, which is looked at after each event.

        Everything that falls due on the way happens at its time. Whoever gets an answer by that may act
        before time moves on, unless `settle` is False. `to` is a datetime with a zone, or a text as RFC 3339 has it.
        Errors: ValueError for a time that is past, or where the clock follows real time; Stuck where `until` never
        becomes true; JournalFailed.
        """
        kernel = self.kernel
        kernel.observer.require()
        with kernel.lock:
            target_ns = kernel.clock.target(kernel.world.now_ns, seconds, to, until is not None)
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
            raise Stuck(f"nothing is to come that could make it true\n{self.why()}")

    def run_until_idle(self, limit_s: float | None = None) -> None:
        """Let everything happen that is still to come, within `limit_s` seconds if that is given.

        Errors: ValueError where crons or programs would go on for ever and there is no limit, or for one that makes
        no sense; JournalFailed.
        """
        kernel, programs = self.kernel, self._programs
        kernel.observer.require()
        if limit_s is None and kernel.world.crons:
            raise ValueError("crons never come to rest: give run_until_idle a limit in seconds")
        if limit_s is None and programs is not None and (names := programs.endless()):
            raise ValueError(f"{names[0]} goes on for ever: give run_until_idle a limit in seconds")
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
        """Go on in another `mode` (see Mode), or at another `rate` in virtual seconds a real second.

        Errors: ValueError for a mode or a rate that makes no sense, and for real time beside programs.
        """
        kernel = self.kernel
        new_mode = Mode(mode) if mode is not None else kernel.clock.mode
        if self._programs is not None and new_mode in (Mode.REAL, Mode.SCALED):
            raise ValueError(f"{new_mode.value} is no clock for programs: call stop_programs() first")
        if rate is None and new_mode is Mode.SCALED:
            rate = kernel.clock.rate
        with kernel.lock:
            if kernel.clock.follows_real_time:
                kernel.catch_up()
            kernel.clock.set(new_mode, rate, kernel.world.now_ns)
            kernel.mover.replan()

    @contextmanager
    def actor(self, name: str) -> Iterator[Actor]:
        """Register a named actor in this thread: in mode `auto` time does not move on until the end of the `with`.

        Errors: ValueError where `name` is in use.
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
    ) -> Program:
        """Have ordinary blocking code act in lock-step with all other programs and in virtual time.

        `fn` is called with `args`, in `run` or `starts_after_s` seconds later. `name` is the function's own if none is
        given. `forever`: `run` does not wait for its end. `restart_after_s`: when it ends with an error it is started
        anew after so many seconds, as a supervisor would; otherwise `run` raises ProgramFailed. `executor_type` is for
        faults that name one.
        Errors: ValueError for a name that is taken, or while the clock follows real time.
        """
        clock = self.kernel.clock
        if clock.follows_real_time:
            raise ValueError(f"the clock is {clock.mode.value}: programs need one that is manual or auto")
        programs = self._programs
        if programs is None:
            programs = self._programs = self.kernel.programs = Programs(self.kernel, self.faults, self.driver)
        given = name or str(getattr(fn, "__name__", "program"))
        if name is None:
            numbers = (given if n == 1 else f"{given}-{n}" for n in range(1, 1_000_000))
            given = next(one for one in numbers if one not in programs.by_name)
        return programs.add(
            fn,
            args,
            given,
            executor_type=executor_type,
            forever=forever,
            restart_after_s=restart_after_s,
            starts_after_s=starts_after_s,
        )

    def run(self, for_s: float | None = None, *, until: Callable[[], bool] | None = None) -> None:
        """Let programs act and time go on: for `for_s` seconds, until `until` is true, or until all have ended.

        Errors: ProgramFailed with the name and stack of a program, Stuck where nothing can happen any more or a
        program is blocked by something real, InvariantViolation, ValueError where there is nothing to wait for.
        """
        programs = self._programs
        if programs is None:
            raise ValueError("there is no program: make one with sim.program(fn)")
        limit_ns = None if for_s is None else time_after(self.kernel.world.now_ns, for_s)
        if limit_ns is None and until is None and all(p.forever for p in programs.by_name.values()):
            raise ValueError("all programs go on for ever: say for how long, run(for_s=...)")
        done = until or (_never if for_s is not None else (lambda: programs.finished))
        if not programs.run_to(limit_ns, done) and limit_ns is None:
            raise Stuck(f"nothing can ever happen any more\n{self.why()}")

    def stop_programs(self) -> None:
        """End all programs where they stand, and put clocks and chance back as they were.

        Errors: ValueError where a program, or a condition that a run ends with, asks for it.
        """
        if self._programs is not None:
            self._programs.stop()
            self._programs = self.kernel.programs = None

    def _without_programs(self, what: str) -> None:
        """Errors: ValueError while there are programs: where a thread stands cannot be copied."""
        if self._programs is not None and self._programs.alive:
            names = ", ".join(list(self._programs.by_name)[:3])
            raise ValueError(f"{what} is not possible while programs run ({names}): call stop_programs() first")

    # ------------------------------------------------------------ going back
    def snapshot(self) -> bytes:
        """The whole state of the server as bytes. Errors: ValueError while there are programs."""
        self._without_programs("a snapshot")
        with self.kernel.lock:
            return snapshots.dump(self.kernel.world)

    def restore(self, snapshot: bytes) -> None:
        """Go back to `snapshot`, bytes that `snapshot()` returned; whoever waits loses the connection.

        Errors: BadSnapshot for bytes that are none; ValueError while there are programs.
        """
        self._without_programs("going back to a snapshot")
        world, kernel = snapshots.load(snapshot), self.kernel
        with kernel.lock:
            kernel.disconnect_all()
            if self.journal is not None:
                self.journal.restored(world.now_ns, snapshots.pack(snapshot))
            if len(snapshot) > HUGE_BYTES:  # else it holds nothing that matters
                kernel.calls.expect(len(snapshot))
            self._replace_world(world)

    def mark_initial(self) -> None:
        """From now on `reset` comes back to here."""
        kernel = self.kernel
        with kernel.lock:
            self._initial = snapshots.dump(kernel.world)
            if self.journal is not None:
                self.journal.marked(kernel.world.now_ns)

    def reset(self, seed: int | None = None) -> None:
        """Go back to the state after start-up, or to what `mark_initial` marked, with another `seed` if one is given.

        Whoever waits loses the connection, and clients outside are forgotten. The clock goes on in its mode.
        Errors: ValueError for what is no seed, and while there are programs.
        """
        self._without_programs("a reset")
        if seed is not None:
            check_seed(seed)
        kernel, initial = self.kernel, self._initial
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
        """Another simulation that goes on from this state on its own, without faults and observers.

        A journal of it is kept in memory. Errors: ValueError while there are programs.
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
        """Raise the first problem that has come up in any thread, and compare the server with the invariants' books.

        Errors: InvariantViolation, and whatever error an event or a program has ended with.
        """
        with self.kernel.lock:
            self.observers.check()

    def why(self) -> str:
        """Which actor acts, who waits for what and since when, and what is due next, in lines."""
        with self.kernel.lock:
            return self.kernel.why()

    def why_not(self, process_id: str) -> WhyNot:
        """Why the process `process_id` is not assigned: its state (`unknown` for no such id) and what is in its way."""
        from colonysim.evidence import why_not

        with self.kernel.lock:
            return why_not.why_not(self.kernel.world, process_id)

    def story(self, process_id: str) -> str:
        """The life of the process `process_id` in lines; it is kept only where invariants are checked."""
        with self.kernel.lock:
            return self.observers.story(process_id)


def _never() -> bool:
    return False
