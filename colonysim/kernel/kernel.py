"""The kernel of a simulation: one world, one lock, one clock, and the only loop that moves virtual time.

Every step passes through here. Requests come in by `ask` (on a connection, by `serve`); events of the server and
planned calls run in `_fire`. The deliveries of both go to `_deliver`, which shows them to the observer, to the faults
and then to the clients.

Who may move time
-----------------
Virtual time stands still unless `run` is called, the only loop that runs events. Its callers:

- `catch_up`, while the clock follows real time: before each request, and when the driver checks the clock;
- `run_due`, after each request: for events that are due at the current time;
- `Simulation.advance`: a test moves time by hand, in any mode that does not follow real time;
- `Driver.pump`: in mode `auto`, for all waiting threads, once no actor could act before;
- `Programs`: for a program that waits, once no other program is ready;
- a run of a scenario: its simulated executors and clients are planned on the timetable, so there is no one to wait for.

All of them hold `lock` while `run` runs, so only one moves time, and no request can come in between the last check
whether time may move and the move. A condition that asks the server is evaluated without the lock, by `unlocked`.

The parts above the kernel take part through four attributes, set when a simulation is put together: `observer` sees
each step, `network` is set while faults are active, `programs` while there are programs, and `mover` is the thread that
moves time now. Unless its docstring says otherwise, a method is called under `lock`.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Concatenate, Final, ParamSpec, TypeVar

from colonysim.core import engine
from colonysim.core.errors import Refusal
from colonysim.core.protocol import Answer, Delivery, Message, Push, Request
from colonysim.core.registry import BY_MESSAGE
from colonysim.core.settings import Settings
from colonysim.core.world import World
from colonysim.kernel import snapshots, why_idle
from colonysim.kernel.actors import OUTSIDE_THRESHOLD_S, Actor, Actors
from colonysim.kernel.calls import Calls, may_have_grown
from colonysim.kernel.clock import LAST_NS, Clock, Mode
from colonysim.kernel.connections import Connection, Connections
from colonysim.kernel.own_lock import OwnLock
from colonysim.kernel.participants import Mover, Network, Observer, ProgramTurns
from colonysim.kernel.pending import LOST, Call, Pending
from colonysim.kernel.timetable import Timetable

STUCK_AFTER_S: Final = 5.0
"""How long nothing may happen, in real seconds, before a waiting thread raises Stuck."""
_KEPT_OF_REFUSED: Final = 2000

P = ParamSpec("P")
T = TypeVar("T")


class Stuck(RuntimeError):
    """Nothing can ever happen again, or nothing has happened for some time. The text says who waits for what."""


class Kernel:
    """One world, and everything that happens to it, step by step.

    `settings` are those of the server; `rate` is in virtual seconds per real second, for mode `scaled`. Clients in
    other processes count as acting for `threshold_s` real seconds after each of their requests and replies.
    Raises ValueError for an invalid setting, rate or threshold.
    """

    def __init__(
        self,
        settings: Settings,
        mode: Mode = Mode.AUTO,
        rate: float | None = None,
        threshold_s: float = OUTSIDE_THRESHOLD_S,
    ) -> None:
        self.lock = OwnLock()
        self.changed = threading.Condition(self.lock)  # an actor stopped acting, or `_settle` waits for a step
        self.actors = Actors(threshold_s)
        self.clock = Clock(mode, rate, 0)
        self.world = snapshots.new_world(settings)
        self.timetable = Timetable()
        self.connections = Connections(self)
        self.pending: dict[int, Pending] = {}
        self.calls = Calls()
        self.problems: list[BaseException] = []
        self.initial: bytes | None = None  # a snapshot of the state that a reset restores; None: an empty server
        self.outputs: dict[str, Any] = {}
        """What each program has written, also of those that were stopped."""
        self.calls_asked = 0
        self.steps = 0
        self.events = 0  # number of events run
        self.settling = 0
        self.observer = Observer()
        self.network: Network | None = None
        self.programs: ProgramTurns | None = None
        self.mover = Mover()
        self.replace_world(self.world)

    def replace_world(self, world: World) -> None:
        """Replace the world. Call `disconnect_all` first, so that no request waits for the old one."""
        self.world = world
        self.timetable.clear()
        self.clock.set(self.clock.mode, self.clock.rate, world.now_ns)
        self.mover.replan()

    def mark_initial(self) -> None:
        """Make the present state the one that a reset restores. Not under the lock."""
        with self.lock:
            self.initial = snapshots.dump(self.world)
            self.observer.marked()

    @contextmanager
    def locked(self) -> Iterator[World]:
        """Within the context, hold the lock; gives the world. Not under the lock."""
        with self.lock:
            yield self.world

    def unlocked(self, condition: Callable[[], bool]) -> Callable[[], bool]:
        """Return a condition that is evaluated without the lock, because it may ask the server."""

        def look() -> bool:
            try:
                self.lock.release()
                return condition()
            finally:
                self.lock.acquire()

        return look

    # ------------------------------------------------------------ requests
    def ask(
        self, caller_id: str, message: Message, has_nul: bool = False, stream: int = 0, outside: bool = False
    ) -> Answer | Pending:
        """Send a request to the server. Returns its answer, or the pending request if there is none yet.

        `has_nul`: the message may contain U+0000. `stream`: its number on a connection. `outside`: the client is in
        another process. Raises what the observer raises or returns.
        """
        world, observer = self.world, self.observer
        if observer.halted:
            observer.require()
        self.calls_asked = ticket = self.calls_asked + 1
        row = BY_MESSAGE[type(message)]
        call = Call(ticket, world.now_ns, caller_id, row.name, message)
        self.calls.append(call)
        request = Request(ticket, caller_id, message, has_nul, stream)
        network = self.network
        try:
            if network is not None:
                pending = self.pending[ticket] = Pending(ticket, call, outside, stream=stream)
                network.send(pending, request)
            else:
                try:
                    answer = engine.serve(world, request, row)
                except Exception as error:  # as in `_in_core`, which would be slower
                    observer.raised(error, f"serving {row.name} of {caller_id}")
                    raise
                if answer is not None and not world.outbox and not self.settling:  # `_deliver`, but faster
                    shown = world.history is not None or observer.recording
                    broken = observer.look([answer], request) if shown else None
                    self.steps += 1
                    call.status, call.body, call.answered_ns = answer.status, (body := answer.body), world.now_ns
                    if type(body) not in self.calls.small or (
                        (world.attributes or world.graphs) and may_have_grown(body)
                    ):
                        self.calls.weigh(call)
                    if outside:
                        self._note_outside_reply()
                    if broken is not None:
                        raise broken
                    return answer
                pending = Pending(ticket, call, outside, stream=stream)
                if answer is None:
                    self.pending[ticket] = pending
                self._deliver(engine.deliveries_after(world, answer), pending, request)
        except BaseException as error:
            self.pending.pop(ticket, None)
            observer.problem(error)
            raise
        if stream:
            self.pending.pop(ticket, None)  # a subscription has no answer of its own
            self.calls.weigh(call)
        if outside:
            observer.flush()
        return pending.answer or pending

    def ask_inside(
        self, caller_id: str, message: Message, on_answer: Callable[[], None] | None = None
    ) -> Answer | Pending:
        """Send a request of a simulated client, from a planned call only.

        Returns the answer, or the pending request if there is none yet; `on_answer` is called when it comes.
        """
        asked = self.ask(caller_id, message)
        if type(asked) is Pending:
            asked.on_answer = on_answer
        return asked

    def when_answered(self, pending: Pending, on_answer: Callable[[], None]) -> bool:
        """Call `on_answer` when the answer comes, in any thread. Returns False if it has come. Not under the lock."""
        with self.lock:
            if pending.answer is not None:
                return False
            pending.on_answer = on_answer
        return True

    def serve_delayed(self, request: Request) -> None:
        """Serve a request that a fault has held back until now."""
        doing = f"serving {BY_MESSAGE[type(request.message)].name} of {request.caller_id}"
        self._deliver(self._in_core(doing, engine.handle, request), request=request)

    def new_ticket(self) -> int:
        """Return the number of the next request or stream."""
        self.calls_asked = ticket = self.calls_asked + 1
        return ticket

    def record_refused(self, body: bytes, payload_type: str, refusal: Refusal) -> None:
        """Record a request that could not be read, and was refused; shortened if it is long. Not under the lock."""
        with self.lock:
            now_ns, status, text = self.world.now_ns, refusal.status, refusal.text[:_KEPT_OF_REFUSED]
            number, kind, start = self.new_ticket(), payload_type[:_KEPT_OF_REFUSED], body[:_KEPT_OF_REFUSED]
            self.calls.append(Call(number, now_ns, "", kind, start, status, text, now_ns))

    def abandon(self, pending: Pending) -> None:
        """Drop a request whose client has hung up: it is no longer parked, and is answered LOST."""
        if pending.ticket in self.pending:
            engine.abandon(self.world, pending.ticket)
            self.answer(Answer(pending.ticket, LOST, "", None))

    def abandon_inside(self, pending: Pending) -> None:
        """Drop a request of a simulated client that has ended: it is no longer parked, and not answered."""
        pending.on_answer = None
        if self.pending.pop(pending.ticket, None) is not None:
            engine.abandon(self.world, pending.ticket)

    def disconnect_all(self) -> None:
        """Break all connections. Pending requests are answered LOST."""
        for pending in list(self.pending.values()):
            self.abandon(pending)
        self.connections.hang_up_all()

    def _in_core(self, doing: str, act: Callable[Concatenate[World, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call the core. If it raises an exception, show it to the observer, which may raise a clearer one."""
        try:
            return act(self.world, *args, **kwargs)
        except Exception as error:
            self.observer.raised(error, doing)
            raise

    # ------------------------------------------------------------ connections
    def serve(self, connection: Connection) -> None:
        """Serve the requests that have come on a connection. Not under the lock."""
        self.actors.note_activity(connection.outside)
        program = None if connection.outside else self.actors.this_thread().program
        if program is not None and connection not in program.sockets:
            program.sockets = [one for one in program.sockets if not one.closed] + [connection]
        with self.lock:
            if self.clock.runs:
                self.catch_up()
            self.connections.serve(connection)
            self.run_due()

    def close_connection(self, connection: Connection) -> None:
        """Close a connection whose client has gone. Not under the lock."""
        with self.lock:
            self.connections.close(connection)

    # ------------------------------------------------------------ deliveries of a step
    def _deliver(
        self, deliveries: list[Delivery], asked: Pending | None = None, request: Request | None = None
    ) -> None:
        """Show a step to the observer, and pass its deliveries to their clients.

        `request` is the request that caused the step, if any; `asked` is it as a pending request, if its caller waits.
        Raises the violation that the observer returns.
        """
        broken = self.observer.look(deliveries, request)
        for delivery in deliveries:
            if type(delivery) is Answer:
                if asked is not None and delivery.ticket == asked.ticket:
                    self._complete(asked, delivery)
                else:
                    self._answer_by_network(delivery)
            elif self.network is None or not isinstance(delivery, Push) or not self.network.takes(delivery):
                self.connections.deliver(delivery)
        self.steps += 1
        if self.settling:
            self.changed.notify_all()
        if broken is not None:
            raise broken

    def _answer_by_network(self, answer: Answer) -> None:
        """Pass on an answer, unless a fault delays or loses it."""
        network = self.network
        if network is not None and (pending := self.pending.get(answer.ticket)) is not None:
            network.heard(pending.call.payload_type, answer.status)
            if network.keeps(pending, answer):
                return
        self.answer(answer)

    def answer(self, answer: Answer) -> None:
        """Deliver an answer to its client, past all faults. Does nothing if the client no longer waits."""
        if (pending := self.pending.pop(answer.ticket, None)) is not None:
            self._complete(pending, answer)

    def _complete(self, pending: Pending, answer: Answer) -> None:
        """Record the answer of a request, and wake its caller."""
        call = pending.call
        call.status, call.body, call.answered_ns = answer.status, answer.body, self.world.now_ns
        if type(answer.body) not in self.calls.small or may_have_grown(answer.body):
            self.calls.weigh(call)
        if pending.outside:
            self._note_outside_reply()
        pending.answer = answer
        if pending.actor is not None or pending.made_event is not None or pending.on_answer is not None:
            pending.complete()

    def _note_outside_reply(self) -> None:
        """Prepare for a reply to another process: the journal must be written before that client learns of it."""
        self.actors.note_outside_activity()
        self.observer.flush()

    # ------------------------------------------------------------ time
    def run(self, until_ns: int, stop: Callable[[], bool] | None = None, *, settle_but: Actor | None = None) -> bool:
        """Run all events due by `until_ns`, in order. Returns True as soon as `stop()`, False if no event is left.

        `stop` is evaluated before each event. Time then stands at the last event; `move_to` moves it further.
        `settle_but`: after each event that reached an actor, wait until all actors but this one have acted on it.
        Raises Stuck, and what an event raises.
        """
        fire = self._fire
        while stop is None or not stop():
            reached_actor = fire(until_ns)
            if reached_actor is None:
                return False
            self.events += 1
            if reached_actor and settle_but is not None:
                self._settle(settle_but)
        return True

    def _fire(self, until_ns: int) -> bool | None:
        """Run the next event due by `until_ns`. Returns whether it may have reached an actor; None if there is none."""
        timetable, world = self.timetable, self.world
        planned_ns, server_down = timetable.planned.next_due(), timetable.server_down
        if planned_ns is not None and planned_ns <= until_ns:
            due_ns = None if server_down else world.next_due()
            if due_ns is None or planned_ns < due_ns:  # at the same time, those of the server come first
                world.now_ns = max(world.now_ns, planned_ns)
                return timetable.fire_next()
        if server_down:
            return None
        try:
            deliveries = self._in_core("letting an event of its agenda happen", engine.fire_due, until_ns)
            if deliveries is None:
                return None
            self._deliver(deliveries)
        except Exception as error:
            self.observer.problem(error)
            raise
        return bool(deliveries)

    def due(self) -> int | None:
        """Return when the next event or planned call is due; None if there is none before the year 10000."""
        planned_ns = self.timetable.planned.next_due()
        due_ns = None if self.timetable.server_down else self.world.next_due()
        if due_ns is None or (planned_ns is not None and planned_ns < due_ns):
            due_ns = planned_ns
        return None if due_ns is None or due_ns > LAST_NS else due_ns

    def run_due(self) -> None:
        """Run the events that are due now, and wake the mover if others are due sooner than it expects."""
        now_ns = self.world.now_ns
        if self.world.agenda.may_be_due(now_ns) or self.timetable.planned.may_be_due(now_ns):
            self.run(now_ns)
        if self.mover.event is not None:
            self.wake_mover()

    def catch_up(self) -> None:
        """Move virtual time to where real time is, and run the events due on the way."""
        now_ns = self.clock.virtual_now()
        self.run(now_ns)
        self.set_time(now_ns)

    def fire_overdue(self) -> None:
        """Run the events that the server missed while it was down, all at once."""
        self._deliver(self._in_core("catching up with the time that has passed", engine.catch_up))

    def set_time(self, now_ns: int) -> None:
        """Set the time, unless it is later already. No event may be due before."""
        self.world.now_ns = max(self.world.now_ns, now_ns)

    def move_to(self, now_ns: int) -> None:
        """Move time by hand, after the events due by then have run."""
        if now_ns > self.world.now_ns:
            due_ns = self.due()
            assert due_ns is None or due_ns > now_ns, "time must not pass an event that is due"
            self.world.now_ns = now_ns
        self.observer.moved()
        self.wake_mover()

    def wake_mover(self) -> None:
        """Wake the mover, if it would otherwise be late for the next event."""
        mover, clock = self.mover, self.clock
        if mover.event is None or clock.mode is Mode.MANUAL:
            return
        if mover.misses(self.due()) if clock.runs else mover.asleep:
            mover.wake()

    def _settle(self, but: Actor) -> None:
        """Wait until every actor but one waits. Raises Stuck after STUCK_AFTER_S real seconds without a step."""
        self.settling += 1
        try:
            while True:
                idle_s = self.actors.seconds_until_idle(but)
                if idle_s == 0.0:
                    return
                steps = self.steps
                if not self.changed.wait(STUCK_AFTER_S if idle_s is None else idle_s) and idle_s is None:
                    if steps == self.steps and self.actors.seconds_until_idle(but) is None:
                        raise Stuck(f"a registered actor neither acts nor reports that it waits\n{self.why()}")
        finally:
            self.settling -= 1

    def actor_stopped_acting(self) -> None:
        """Wake the threads that wait for actors, because a registered actor now waits or was removed."""
        self.changed.notify_all()
        self.wake_mover()

    def outside_actor(self, name: str, *, waits: bool, gone: bool = False) -> None:
        """Set whether a client in another process acts or waits, or has gone. While it acts, time does not move.

        Not under the lock.
        """
        with self.lock:
            if gone:
                self.actors.registered.pop(name, None)
            else:
                actor = self.actors.registered.get(name) or self.actors.register(name, outside=True)
                actor.waits_for = "whatever comes" if waits else ""
                actor.since_ns = self.world.now_ns
            self.actor_stopped_acting()

    # ------------------------------------------------------------ diagnosis
    @property
    def calling_program(self) -> str:
        """Return the name of the program that is calling; "" if it is no program."""
        program = self.actors.this_thread().program
        return program.name if program is not None and self.programs and program is self.programs.acting else ""

    def raise_first_problem(self) -> None:
        """Raise the first error that any thread has recorded, if there is one."""
        if self.problems:
            raise self.problems[0]

    def why(self) -> str:
        """Describe which actors act, who waits for what and since when, and what is due next, in lines."""
        lines = [] if self.programs is None else self.programs.explain()
        pending = list(self.pending.values())
        return why_idle.explain(self.world, self.timetable.planned, self.clock, self.actors, pending, lines)
