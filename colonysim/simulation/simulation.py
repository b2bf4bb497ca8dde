"""The one entrance to a simulated server: requests, time, snapshots, and what there is to know of it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from os import PathLike
from typing import Any

from colonysim.core import engine
from colonysim.core.agenda import Agenda
from colonysim.core.protocol import Answer, Delivery, Message, Push, Request
from colonysim.core.registry import BY_MESSAGE
from colonysim.core.settings import Settings
from colonysim.core.world import World
from colonysim.evidence.calls import Calls, may_have_grown
from colonysim.evidence.journal import Journal, JournalErrors, header
from colonysim.faults.injector import Faults
from colonysim.faults.messages import Network, Reach
from colonysim.kernel import snapshots
from colonysim.kernel.actors import OUTSIDE_THRESHOLD_S, Actor, Actors
from colonysim.kernel.clock import EPOCH, Clock, Mode
from colonysim.kernel.connections import Asked, Connection, Connections
from colonysim.kernel.driver import Driven, Driver, Stuck
from colonysim.kernel.pending import LOST, Call, Pending
from colonysim.kernel.vetting import Vetting
from colonysim.simulation.keeping import Keeping
from colonysim.simulation.restoring import Restoring
from colonysim.simulation.running import Running


class Simulation(Keeping, Running, Restoring):
    """A Colonies server in memory, with a clock.

    `mode` says how time moves (see Mode), `rate` how fast where it is `scaled`. Further keywords are
    fields of Settings. `invariants` are checked after each step; `journal` keeps the history, in memory or, if
    it is a path, in that file, and `journal_errors` says what happens when the file cannot be written any more.
    Errors: ValueError for settings that make no sense, with what would; OSError for a file that cannot be begun.
    """

    def __init__(
        self,
        settings: Settings | None = None,
        *,
        mode: Mode | str = Mode.AUTO,
        rate: float | None = None,
        invariants: bool = True,
        journal: bool | str | PathLike[str] = False,
        journal_errors: JournalErrors | str = JournalErrors.CONTINUE,
        threshold_s: float = OUTSIDE_THRESHOLD_S,
        **overrides: Any,
    ) -> None:
        self.settings = (settings or Settings()).overridden(**overrides)
        super().__init__()
        self._lock = threading.Lock()
        self._tickets = 0
        self._connections = Connections(
            self._ask_on,
            lambda stream: engine.close_stream(self.world, stream),
            lambda stream: stream in self.world.channel_streams,
            self._new_ticket,
        )
        self._pending: dict[int, Pending] = {}
        self._check = invariants
        self.actors = Actors(threshold_s)
        self.calls = Calls()
        self._vetting = Vetting(self.calls.expect)
        self._vouched = self._vetting.vouched
        self.clock = Clock(Mode(mode), rate, 0)
        self.driver = Driver(self._driven(), self._lock, self.clock, self.actors)
        self._initial: bytes | None = None
        self._network: Network | None = None  # there while any fault is in force
        self.world = snapshots.begin(self.settings)
        self.journal: Journal | None = None
        if journal:
            head = header(self.settings, self.clock.mode, self.world.now_ns, invariants)
            self.journal = Journal(head, None if journal is True else journal, JournalErrors(journal_errors))
        self.faults = Faults(self._reach(), self._lock, self._attach)
        self._begin_world(self.world)
        self.actors.this_thread().acts()

    def _driven(self) -> Driven:
        return Driven(
            fire=self._fire,
            catch_up=self._catch_up,
            now_ns=lambda: self.world.now_ns,
            next_due=self._due,
            anybody_waits=lambda: bool(self._pending or self._connections or self.programs),
            why=self._why,
            problem=self.problems.append,
        )

    def _reach(self) -> Reach:
        return Reach(
            world=lambda: self.world,
            timetable=self.timetable,
            connections=self._connections,
            pending=self._pending,
            serve=self._serve_sent,
            answer=self._deliver,
            lose_everybody=self._lose_everybody,
            note=self._note,
            new_ticket=self._new_ticket,
            actor=self._acting_program,
            catch_up=self._fire_overdue,
        )

    def _attach(self, network: Network | None) -> None:
        self._network = network

    def _begin_world(self, world: World) -> None:
        self.world = world
        self.planned = Agenda()
        self._keep_books(world, self._check)
        self.clock.set(self.clock.mode, self.clock.rate, world.now_ns)
        self.driver.replan()
        self.faults.begin()

    # ------------------------------------------------------------ requests
    def call(self, caller_id: str, message: Message, *, has_nul: bool | None = None) -> Answer:
        """Ask, and wait for the answer in virtual time. `has_nul` says of a vetted message that it may hold U+0000.

        Errors: TypeError and ValueError for what no client could send; Stuck, InvariantViolation, JournalFailed.
        """
        if has_nul is None and (type(caller_id) is not str or self._vouched.get(caller_id) is not message):
            message, has_nul = self._vetting.read(caller_id, message)
        self.actors.acts()
        with self._lock:
            if self.clock.follows_real_time:
                self._catch_up()
            asked = self._ask(caller_id, message, has_nul or False)
            now_ns, heap = self.world.now_ns, self.world.agenda.heap
            if (heap and heap[0][0] <= now_ns) or self.planned.heap or self.driver.moving is not None:
                self._fire_at_once()
        return asked if type(asked) is Answer else self.wait(asked)

    def begin(self, caller_id: str, message: Message, *, has_nul: bool | None = None, outside: bool = False) -> Pending:
        """Ask as `call` does, without waiting. `outside`: on behalf of somebody who is not in this process."""
        if has_nul is None:
            message, has_nul = self._vetting.read(caller_id, message)
        self.actors.hear(outside)
        with self._lock:
            if self.clock.follows_real_time:
                self._catch_up()
            asked = self._ask(caller_id, message, has_nul, 0, outside)
            pending = Pending(asked.ticket, self.calls[-1], outside, asked) if type(asked) is Answer else asked
            self._fire_at_once()
        return pending

    def serve(self, connection: Connection) -> None:
        """Something has come on a connection: take it up, as far as it goes."""
        self.actors.hear(connection.outside)
        program = None if connection.outside else self.actors.this_thread().program
        if program is not None and connection not in program.sockets:
            program.sockets = [one for one in program.sockets if not one.closed] + [connection]
        with self._lock:
            if self.clock.follows_real_time:
                self._catch_up()
            self._connections.serve(connection)
            self._fire_at_once()

    def close_connection(self, connection: Connection) -> None:
        """The client has gone."""
        with self._lock:
            self._connections.lose(connection)

    def _ask(
        self, caller_id: str, message: Message, has_nul: bool = False, stream: int = 0, outside: bool = False
    ) -> Answer | Pending:
        """The answer, or the request that is under way until it comes. Under the lock."""
        world = self.world
        if self.journal is not None and self.journal.error is not None:
            self.journal.require()
        self._tickets = ticket = self._tickets + 1
        call = Call(ticket, world.now_ns, caller_id, BY_MESSAGE[type(message)].name, message)
        self.calls.append(call)
        request = Request(ticket, caller_id, message, has_nul, stream)
        try:
            if self._network is not None:
                pending = self._pending[ticket] = Pending(ticket, call, outside, stream=stream)
                self._network.send(pending, request)
            else:
                try:
                    deliveries = engine.handle(world, request)
                except Exception as error:
                    self._raised(error, f"serving {call.payload_type} of {caller_id}")
                    raise
                answer = deliveries[0] if deliveries else None
                if type(answer) is not Answer or answer.ticket != ticket:
                    answer = None  # parked
                elif len(deliveries) == 1 and not self.driver.settling:  # what `_after` does where nobody else is told
                    kept = world.trace is not None or self.journal is not None
                    violation = self._look(deliveries, request) if kept else None
                    self.driver.steps += 1
                    call.status, call.body, call.answered_ns = answer.status, answer.body, world.now_ns
                    if type(answer.body) not in self.calls.small or (
                        (world.attributes or world.graphs) and may_have_grown(answer.body)
                    ):
                        self.calls.weigh(call)
                    if outside:
                        self._hear_outside()
                    if violation is not None:
                        raise violation
                    return answer
                pending = Pending(ticket, call, outside, stream=stream)
                if answer is None:
                    self._pending[ticket] = pending
                self._after(deliveries, pending, request)
        except BaseException as error:
            self._pending.pop(ticket, None)
            self._note_problem(error)
            raise
        if stream:
            self._pending.pop(ticket, None)  # a subscription has no answer of its own
            self.calls.weigh(call)
        if outside and self.journal is not None:
            self.journal.flush()
        return pending.answer or pending

    def _ask_on(self, asked: Asked, stream: int, outside: bool) -> Answer | None:
        answer = self._ask(asked.caller_id, asked.message, asked.has_nul, stream, outside)
        return answer if type(answer) is Answer else None

    def _fire_at_once(self) -> None:
        """Let happen what a request has brought about for this very moment."""
        now_ns, heap, planned = self.world.now_ns, self.world.agenda.heap, self.planned.heap
        if (heap and heap[0][0] <= now_ns) or (planned and planned[0][0] <= now_ns):  # seldom; then with care
            while self._may_be_due(now_ns) and self._fire(now_ns) is not None:
                pass
        if self.driver.moving is not None:
            self.driver.nudge()

    def _new_ticket(self) -> int:
        self._tickets = ticket = self._tickets + 1
        return ticket

    def wait(self, pending: Pending) -> Answer:
        """Wait for the answer to a request; in this process time moves on while all wait. Errors: Stuck."""
        call = pending.call
        try:
            self.driver.wait_for(pending, f"{call.payload_type} of {call.caller_id[:8]}")
        except (Stuck, ValueError):
            self.abandon(pending)
            raise
        assert pending.answer is not None
        return pending.answer

    @staticmethod
    def wait_outside(pending: Pending) -> None:
        """Wait on behalf of somebody outside, where another thread moves time (see `driven`)."""
        event = pending.event
        while pending.answer is None:
            event.wait()

    def when_answered(self, pending: Pending, told: Callable[[], None]) -> bool:
        """Call `told` when the answer comes, in whatever thread brings it; False if it is there already."""
        with self._lock:
            if pending.answer is not None:
                return False
            pending.told = told
        return True

    def abandon(self, pending: Pending) -> None:
        """The client of a parked request has hung up; it gives its place free."""
        with self._lock:
            self._abandon(pending)

    def _abandon(self, pending: Pending) -> None:
        if pending.ticket in self._pending:
            engine.abandon(self.world, pending.ticket)
            self._deliver(Answer(pending.ticket, LOST, "", None))

    # ------------------------------------------------------------ one step and what follows
    def _serve_sent(self, request: Request) -> None:
        """Serve a request that the network has brought."""
        try:
            deliveries = engine.handle(self.world, request)
        except Exception as error:
            self._raised(error, f"serving {BY_MESSAGE[type(request.message)].name} of {request.caller_id}")
            raise
        self._after(deliveries, request=request)

    def _after(self, deliveries: list[Delivery], asked: Pending | None = None, request: Request | None = None) -> None:
        """Deliver what a step gave out, write it down, and check that all is well. `asked`: what it came from."""
        violation = self._look(deliveries, request)
        for delivery in deliveries:
            if type(delivery) is Answer:
                if asked is not None and delivery.ticket == asked.ticket:
                    self._settle(asked, delivery)
                else:
                    self._answer(delivery)
            elif self._network is not None and isinstance(delivery, Push) and self._network.takes(delivery):
                continue
            elif free := self._connections.deliver(delivery):
                self._connections.serve(free)
        self.driver.steps += 1
        if self.driver.settling:
            self.driver.stepped()
        if violation is not None:
            raise violation

    def _answer(self, answer: Answer) -> None:
        """The server has answered; faults may have something to say to that."""
        if self._network is not None and (pending := self._pending.get(answer.ticket)) is not None:
            self.faults.heard(pending.call.payload_type, answer.status)
            if self._network.keeps(pending, answer):
                return
        self._deliver(answer)

    def _deliver(self, answer: Answer) -> None:
        if (pending := self._pending.pop(answer.ticket, None)) is not None:
            self._settle(pending, answer)

    def _settle(self, pending: Pending, answer: Answer) -> None:
        """A request has its answer."""
        call = pending.call
        call.status, call.body, call.answered_ns = answer.status, answer.body, self.world.now_ns
        if type(answer.body) not in self.calls.small or may_have_grown(answer.body):
            self.calls.weigh(call)
        if pending.outside:
            self._hear_outside()
        pending.answer = answer
        if pending.actor is not None or pending.made_event is not None or pending.told is not None:
            pending.tell()

    def _fire(self, until_ns: int) -> bool | None:
        """Let the next event happen that is due by then: whether it told anybody; None if there is none."""
        planned_ns, held = self.planned.next_due(), self.timetable.held
        if planned_ns is not None and planned_ns <= until_ns:
            due_ns = None if held else self.world.next_due()
            if due_ns is None or planned_ns < due_ns:  # the server's own come first
                return self._happen(planned_ns)
        if held:
            return None
        try:
            try:
                deliveries = engine.fire_due(self.world, until_ns)
            except Exception as error:
                self._raised(error, "letting an event of its agenda happen")
                raise
            if deliveries is None:
                return None
            self._after(deliveries)
        except Exception as error:
            self._note_problem(error)
            raise
        return bool(deliveries)

    def _fire_overdue(self) -> None:
        """The server has been away: let all happen at once that it has missed."""
        try:
            deliveries = engine.catch_up(self.world)
        except Exception as error:
            self._raised(error, "catching up with the time that has passed")
            raise
        self._after(deliveries)

    # ------------------------------------------------------------ time
    @property
    def now_ns(self) -> int:
        """Virtual time, nanoseconds since 1970 UTC."""
        if self.clock.follows_real_time:
            with self._lock:
                self._catch_up()
        return self.world.now_ns

    @property
    def now(self) -> datetime:
        """Virtual time, UTC, to the microsecond."""
        return EPOCH + timedelta(microseconds=self.now_ns // 1000)

    def advance(
        self,
        seconds: float | timedelta | None = None,
        *,
        to: datetime | str | None = None,
        until: Callable[[], bool] | None = None,
        settle: bool = True,
    ) -> None:
        """Move time: by seconds, to a time, or until something is true (looked at after each event).

        Everything that falls due on the way happens at its time. Whoever gets an answer by that may act
        before time moves on, unless `settle` is False. Errors: ValueError for a time that is past, or
        where the clock follows real time; Stuck where `until` never becomes true; JournalFailed.
        """
        if self.journal is not None:
            self.journal.require()
        with self._lock:
            target_ns = self.clock.target(self.world.now_ns, seconds, to, until is not None)
        if self.programs is not None:
            self._advance_with_programs(target_ns, until, seconds is None and to is None)
            return
        while until is None or not until():  # without the lock: it may well ask the server
            with self._lock:
                if not self._go_on(target_ns, settle, once=until is not None):
                    if seconds is None and to is None:
                        break
                    self._move_to(target_ns)
                    return
        else:
            with self._lock:
                self._move_to(self.world.now_ns)
            return
        raise Stuck(f"nothing is to come that could make it true\n{self.why()}")

    def _go_on(self, target_ns: int, settle: bool, once: bool) -> bool:
        """Let what is due by then happen, all of it or only the next event: whether more may come."""
        actor = self.actors.this_thread()
        while (told := self._fire(target_ns)) is not None:
            if told and settle:
                self.driver.settle(actor)
            if once:
                return True
        return False

    def set_clock(self, mode: Mode | str | None = None, rate: float | None = None) -> None:
        """Go on in another mode or at another rate. Errors: ValueError, for real time beside programs as well."""
        new_mode = Mode(mode) if mode is not None else self.clock.mode
        if self.programs is not None and new_mode in (Mode.REAL, Mode.SCALED):
            raise ValueError(f"{new_mode.value} is no clock for programs: call stop_programs() first")
        if rate is None and new_mode is Mode.SCALED:
            rate = self.clock.rate
        with self._lock:
            if self.clock.follows_real_time:
                self._catch_up()
            self.clock.set(new_mode, rate, self.world.now_ns)
            self.driver.replan()

    def _catch_up(self) -> None:
        """Bring virtual time to what real time says, with all that falls due on the way."""
        now_ns = self.clock.virtual_now()
        while self._fire(now_ns) is not None:
            pass
        self.world.now_ns = max(self.world.now_ns, now_ns)

    @contextmanager
    def locked(self) -> Iterator[World]:
        """The world, for a look at it while nothing else happens. Look, do not touch."""
        with self._lock:
            yield self.world

    def outside_actor(self, name: str, *, waits: bool, gone: bool = False) -> None:
        """A client outside says whether it acts or waits; while it acts time does not move on by itself."""
        with self._lock:
            if gone:
                self.actors.registered.pop(name, None)
            else:
                actor = self.actors.registered.get(name) or self.actors.register(name, outside=True)
                actor.waits_for = "whatever comes" if waits else ""
                actor.since_ns = self.world.now_ns
            self.driver.acts_no_more()

    @contextmanager
    def actor(self, name: str) -> Iterator[Actor]:
        """A named actor in this thread: time does not move on by itself while it acts."""
        with self._lock:
            actor = self.actors.register(name)
        try:
            yield actor
        finally:
            with self._lock:
                self.actors.unregister(name)
                self.driver.acts_no_more()

    def fork(self) -> Simulation:
        """Another simulation that goes on from this state on its own, without faults and observers.

        A journal of it is kept in memory. Errors: ValueError while there are programs.
        """
        other = Simulation(
            self.settings,
            mode=self.clock.mode,
            rate=self.clock.rate,
            invariants=self._check,
            journal=self.journal is not None,
            threshold_s=self.actors.threshold_s,
        )
        other.restore(self.snapshot())
        return other

    def _lose_everybody(self) -> None:
        for pending in list(self._pending.values()):
            self._abandon(pending)
        self._connections.hang_up_all()
