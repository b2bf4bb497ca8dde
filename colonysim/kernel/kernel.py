"""The kernel of a simulation: one world, one lock, one clock, and the only loop that moves virtual time.

Everything that happens passes through here. Requests come in by `ask` (and by `serve` on a connection), events of the
server and plans of others happen in `fire`, and what either of them gives out goes to `deliver`, which shows it to the
observer, passes it to faults and delivers it.

Who may move time
-----------------
Virtual time stands still unless somebody calls `run`, and `run` is the only loop that lets events happen. Its callers:

- `catch_up`, while the clock follows real time: before each request, and when the driver looks at the clock;
- `run_due`, after each request: for what is due at this very moment, which takes no time;
- `Simulation.advance`: a test moves time by hand, in any mode that does not follow real time;
- `Driver.pump`: in mode `auto`, on behalf of all who wait, once nobody is left who could act before;
- `Programs`: the program that has to wait, once no other program is ready;
- a run of a scenario: its modelled executors and clients live on the timetable, so nobody is waited for.

All of them hold `lock` while `run` is under way, so no two move time at once, and nobody can ask between the last look
at whether time may move and the move. A condition that itself asks the server is looked at without the lock, by
`unlocked`.

What stands above the kernel takes part through four attributes, each set where a simulation is put together:
`observer` sees each step, `network` is there while faults are in force, `programs` while there are programs, `mover`
is the caller that moves time at present. Unless its docstring says otherwise, a method is called under `lock`.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Concatenate, Final, ParamSpec, TypeVar

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
from colonysim.kernel.participants import Mover, Network, Observer, ProgramTurns
from colonysim.kernel.pending import LOST, Call, Pending
from colonysim.kernel.timetable import Timetable

STUCK_AFTER_S: Final = 5.0
"""Nothing may happen for so long, in seconds of real time, before somebody who waits for it raises Stuck."""
_KEPT_OF_REFUSED: Final = 2000

P = ParamSpec("P")
T = TypeVar("T")


class Stuck(RuntimeError):
    """Nothing can ever happen any more, or nothing has for a while. The text says who waits for what."""


class Kernel:
    """One world and everything that happens to it, one thing after the other.

    `settings` are those of the server, `rate` is how fast the clock goes in mode `scaled`. Requests and replies of
    clients outside of this process count as signs of life for `threshold_s` seconds of real time.
    Errors: ValueError for settings or a rate that make no sense.
    """

    def __init__(
        self,
        settings: Settings,
        mode: Mode = Mode.AUTO,
        rate: float | None = None,
        threshold_s: float = OUTSIDE_THRESHOLD_S,
    ) -> None:
        self.lock = threading.Lock()
        self.changed = threading.Condition(self.lock)  # somebody acts no more, or a step was made while some settle
        self.actors = Actors(threshold_s)
        self.clock = Clock(mode, rate, 0)
        self.world = snapshots.new_world(settings)
        self.timetable = Timetable()
        self.connections = Connections(self)
        self.pending: dict[int, Pending] = {}
        self.calls = Calls()
        self.problems: list[BaseException] = []
        self.calls_asked = 0
        self.steps = 0
        self.events = 0  # that have happened in `run`
        self.settling = 0
        self.observer = Observer()
        self.network: Network | None = None
        self.programs: ProgramTurns | None = None
        self.mover = Mover()
        self.replace_world(self.world)

    def replace_world(self, world: World) -> None:
        """Replace the world. Call `disconnect_all` first, so that no request is left waiting for the old one."""
        self.world = world
        self.timetable.clear()
        self.clock.set(self.clock.mode, self.clock.rate, world.now_ns)
        self.mover.replan()

    @contextmanager
    def locked(self) -> Iterator[World]:
        """Give the world to look at while nothing else happens. Not under the lock."""
        with self.lock:
            yield self.world

    def unlocked(self, condition: Callable[[], bool]) -> Callable[[], bool]:
        """Return the same condition, looked at without the lock, for it may itself ask the server."""

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
        """Let a request reach the server: its answer, or the request that is under way until the answer comes.

        `has_nul` says that the message may hold U+0000, `stream` is its number on a connection, `outside` that the
        client is not in this process. Errors: what the observer raises or finds broken.
        """
        world, observer = self.world, self.observer
        if observer.recording:
            observer.require()
        self.calls_asked = ticket = self.calls_asked + 1
        call = Call(ticket, world.now_ns, caller_id, BY_MESSAGE[type(message)].name, message)
        self.calls.append(call)
        request = Request(ticket, caller_id, message, has_nul, stream)
        network, deliveries = self.network, None
        try:
            if network is not None:
                pending = self.pending[ticket] = Pending(ticket, call, outside, stream=stream)
                network.send(pending, request)
            else:
                deliveries = engine.handle(world, request)  # not by `_in_core`, for speed: see below
                answer = deliveries[0] if deliveries else None
                if type(answer) is not Answer or answer.ticket != ticket:
                    answer = None  # parked
                elif len(deliveries) == 1 and not self.settling:  # `deliver`, for speed, where nobody else is told
                    shown = world.history is not None or observer.recording
                    broken = observer.look(deliveries, request) if shown else None
                    self.steps += 1
                    call.status, call.body, call.answered_ns = answer.status, answer.body, world.now_ns
                    if type(answer.body) not in self.calls.small or (
                        (world.attributes or world.graphs) and may_have_grown(answer.body)
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
                self.deliver(deliveries, pending, request)
        except BaseException as error:
            self.pending.pop(ticket, None)
            if network is None and deliveries is None and isinstance(error, Exception):
                observer.raised(error, f"serving {call.payload_type} of {caller_id}")
            observer.problem(error)
            raise
        if stream:
            self.pending.pop(ticket, None)  # a subscription has no answer of its own
            self.calls.weigh(call)
        if outside:
            observer.flush()
        return pending.answer or pending

    def ask_inside(self, caller_id: str, message: Message, told: Callable[[], None] | None = None) -> Answer | Pending:
        """Ask on behalf of somebody who lives on the timetable: in what a planned event does, and only there.

        The answer, or the request that is under way until it comes; `told` is called then.
        """
        asked = self.ask(caller_id, message)
        if type(asked) is Pending:
            asked.on_answer = told
        return asked

    def when_answered(self, pending: Pending, told: Callable[[], None]) -> bool:
        """Call `told` when the answer comes, in whatever thread brings it; False if it is there. Not under the lock."""
        with self.lock:
            if pending.answer is not None:
                return False
            pending.on_answer = told
        return True

    def serve_delayed(self, request: Request) -> None:
        """Serve a request that a fault has held back until now."""
        doing = f"serving {BY_MESSAGE[type(request.message)].name} of {request.caller_id}"
        self.deliver(self._in_core(doing, engine.handle, request), request=request)

    def new_ticket(self) -> int:
        """Return the number of the next request or stream."""
        self.calls_asked = ticket = self.calls_asked + 1
        return ticket

    def record_refused(self, body: bytes, payload_type: str, refusal: Refusal) -> None:
        """Keep a request that was refused before it could be read, cut where it is long. Not under the lock."""
        with self.lock:
            now_ns, status, text = self.world.now_ns, refusal.status, refusal.text[:_KEPT_OF_REFUSED]
            number, kind, start = self.new_ticket(), payload_type[:_KEPT_OF_REFUSED], body[:_KEPT_OF_REFUSED]
            self.calls.append(Call(number, now_ns, "", kind, start, status, text, now_ns))

    def abandon(self, pending: Pending) -> None:
        """The client of a request has hung up: a parked request gives its place free, and is answered LOST."""
        if pending.ticket in self.pending:
            engine.abandon(self.world, pending.ticket)
            self.answer(Answer(pending.ticket, LOST, "", None))

    def abandon_inside(self, pending: Pending) -> None:
        """Drop a request of a simulated client that has gone: no callback, and a parked request is withdrawn."""
        pending.on_answer = None
        if self.pending.pop(pending.ticket, None) is not None:
            engine.abandon(self.world, pending.ticket)

    def disconnect_all(self) -> None:
        """Break all connections: each request under way is answered LOST."""
        for pending in list(self.pending.values()):
            self.abandon(pending)
        self.connections.hang_up_all()

    def _in_core(self, doing: str, act: Callable[Concatenate[World, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call the core. The observer learns of an exception first, and may raise a clearer one in its place."""
        try:
            return act(self.world, *args, **kwargs)
        except Exception as error:
            self.observer.raised(error, doing)
            raise

    # ------------------------------------------------------------ connections
    def serve(self, connection: Connection) -> None:
        """Take up what has come on a connection, as far as it goes. Not under the lock."""
        self.actors.note_activity(connection.outside)
        program = None if connection.outside else self.actors.this_thread().program
        if program is not None and connection not in program.sockets:
            program.sockets = [one for one in program.sockets if not one.closed] + [connection]
        with self.lock:
            if self.clock.follows_real_time:
                self.catch_up()
            self.connections.serve(connection)
            self.run_due()

    def close_connection(self, connection: Connection) -> None:
        """The client has gone. Not under the lock."""
        with self.lock:
            self.connections.close(connection)

    # ------------------------------------------------------------ what a step gives out
    def deliver(self, deliveries: list[Delivery], asked: Pending | None = None, request: Request | None = None) -> None:
        """Show a step to the observer and deliver what it gave out.

        `asked` is who waits for the answer, if it is here, `request` what the step came from, if it was a request.
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
        """The server has answered; faults may keep the answer from its client."""
        network = self.network
        if network is not None and (pending := self.pending.get(answer.ticket)) is not None:
            network.heard(pending.call.payload_type, answer.status)
            if network.keeps(pending, answer):
                return
        self.answer(answer)

    def answer(self, answer: Answer) -> None:
        """Bring an answer to its client, past all faults; nothing happens if the client waits no more."""
        if (pending := self.pending.pop(answer.ticket, None)) is not None:
            self._complete(pending, answer)

    def _complete(self, pending: Pending, answer: Answer) -> None:
        """A request has its answer."""
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
        """Somebody outside is about to get an answer; what led to it must be written down by then."""
        self.actors.note_outside_activity()
        self.observer.flush()

    # ------------------------------------------------------------ time
    def run(self, until_ns: int, stop: Callable[[], bool] | None = None, *, settle_but: Actor | None = None) -> bool:
        """Let what is due by `until_ns` happen, in order: True as soon as `stop` is true, False if nothing is left.

        `stop` is looked at before each event. Time stands at the last event afterwards; `move_to` takes it further.
        `settle_but`: after each event that told somebody something, wait until all other actors have acted on it.
        Errors: Stuck, and what an event raises.
        """
        fire = self.fire
        while stop is None or not stop():
            told = fire(until_ns)
            if told is None:
                return False
            self.events += 1
            if told and settle_but is not None:
                self.settle(settle_but)
        return True

    def fire(self, until_ns: int) -> bool | None:
        """Let the next event happen if it is due by then: whether it told anybody; None if there is none."""
        timetable, world = self.timetable, self.world
        planned_ns, held = timetable.planned.next_due(), timetable.server_down
        if planned_ns is not None and planned_ns <= until_ns:
            due_ns = None if held else world.next_due()
            if due_ns is None or planned_ns < due_ns:  # the server's own come first
                world.now_ns = max(world.now_ns, planned_ns)
                return timetable.fire_next()
        if held:
            return None
        try:
            deliveries = self._in_core("letting an event of its agenda happen", engine.fire_due, until_ns)
            if deliveries is None:
                return None
            self.deliver(deliveries)
        except Exception as error:
            self.observer.problem(error)
            raise
        return bool(deliveries)

    def due(self) -> int | None:
        """When something will happen of its own accord, in the server or outside of it; not after the year 9999."""
        planned_ns = self.timetable.planned.next_due()
        due_ns = None if self.timetable.server_down else self.world.next_due()
        if due_ns is None or (planned_ns is not None and planned_ns < due_ns):
            due_ns = planned_ns
        return None if due_ns is None or due_ns > LAST_NS else due_ns

    def run_due(self) -> None:
        """Let everything happen that a request has brought about for this very moment."""
        now_ns = self.world.now_ns
        if self.world.agenda.may_be_due(now_ns) or self.timetable.planned.may_be_due(now_ns):
            self.run(now_ns)
        if self.mover.event is not None:
            self.wake_mover()

    def catch_up(self) -> None:
        """Bring virtual time to what real time says, with everything that falls due on the way."""
        now_ns = self.clock.virtual_now()
        self.run(now_ns)
        self.set_time(now_ns)

    def fire_overdue(self) -> None:
        """The server has been away: let everything happen at once that it has missed."""
        self.deliver(self._in_core("catching up with the time that has passed", engine.catch_up))

    def set_time(self, now_ns: int) -> None:
        """It is that time now, if it was earlier. Everything that is due by then must have happened."""
        self.world.now_ns = max(self.world.now_ns, now_ns)

    def move_to(self, now_ns: int) -> None:
        """Move time by hand, once everything has happened that is due by then."""
        if now_ns > self.world.now_ns:
            due_ns = self.due()
            assert due_ns is None or due_ns > now_ns, "time must not pass what is due"
            self.world.now_ns = now_ns
        self.observer.moved()
        self.wake_mover()

    def wake_mover(self) -> None:
        """Wake the thread that moves time, if it would otherwise miss what has changed."""
        mover, clock = self.mover, self.clock
        if mover.event is None or clock.mode is Mode.MANUAL:
            return
        if mover.misses(self.due()) if clock.follows_real_time else mover.asleep:
            mover.wake()

    def settle(self, but: Actor) -> None:
        """Wait until every actor but one has acted on what it was told. Errors: Stuck after STUCK_AFTER_S seconds."""
        self.settling += 1
        try:
            while True:
                idle_s = self.actors.seconds_until_idle(but)
                if idle_s == 0.0:
                    return
                steps = self.steps
                if not self.changed.wait(STUCK_AFTER_S if idle_s is None else idle_s) and idle_s is None:
                    if steps == self.steps and self.actors.seconds_until_idle(but) is None:
                        raise Stuck(f"a registered actor neither acts nor waits\n{self.why()}")
        finally:
            self.settling -= 1

    def actor_stopped_acting(self) -> None:
        """Wake the threads that wait for an actor, because a registered actor now waits or has gone."""
        self.changed.notify_all()
        self.wake_mover()

    def outside_actor(self, name: str, *, waits: bool, gone: bool = False) -> None:
        """A client outside says whether it acts or waits; while it acts time does not move on. Not under the lock."""
        with self.lock:
            if gone:
                self.actors.registered.pop(name, None)
            else:
                actor = self.actors.registered.get(name) or self.actors.register(name, outside=True)
                actor.waits_for = "whatever comes" if waits else ""
                actor.since_ns = self.world.now_ns
            self.actor_stopped_acting()

    # ------------------------------------------------------------ who does what
    @property
    def calling_program(self) -> str:
        """The name of the program whose code is calling, "" where it is none."""
        program = self.actors.this_thread().program
        return program.name if program is not None and self.programs and program is self.programs.acting else ""

    def raise_first_problem(self) -> None:
        """Raise the first problem that has come up in any thread, if there is one."""
        if self.problems:
            raise self.problems[0]

    def why(self) -> str:
        """Which actor acts, who waits for what and since when, and what is due next, in lines."""
        lines = [] if self.programs is None else self.programs.explain()
        pending = list(self.pending.values())
        return why_idle.explain(self.world, self.timetable.planned, self.clock, self.actors, pending, lines)
