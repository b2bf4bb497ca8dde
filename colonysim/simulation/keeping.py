"""The part of a simulation that keeps books: the journal, the invariants, and what can be told from them."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from colonysim.core.agenda import Agenda
from colonysim.core.errors import Refusal
from colonysim.core.protocol import Delivery, Request
from colonysim.core.trace import Entry
from colonysim.core.world import World
from colonysim.evidence.calls import Calls
from colonysim.evidence.invariants import Invariants, InvariantViolation, ServerRaised
from colonysim.evidence.journal import Journal
from colonysim.kernel import why_idle
from colonysim.kernel.actors import Actors
from colonysim.kernel.clock import Clock
from colonysim.kernel.pending import Call, Pending

if TYPE_CHECKING:
    from colonysim.evidence.why_not import WhyNot
    from colonysim.programs.scheduler import Programs

_KEPT_OF_REFUSED: Final = 2000


class Keeping:
    """Everything that looks at what happens and does nothing to it."""

    world: World
    journal: Journal | None
    invariants: Invariants | None
    on_fault: Callable[[int, dict[str, Any]], None] | None
    calls: Calls
    planned: Agenda
    clock: Clock
    actors: Actors
    programs: Programs | None
    _pending: dict[int, Pending]
    _new_ticket: Callable[[], int]
    _lock: threading.Lock

    def __init__(self) -> None:
        super().__init__()
        self.problems: list[BaseException] = []
        self.failing: dict[str, str] = {}
        """What whoever keeps this simulation cannot do at the moment, such as saving its state, by what it is."""
        self._observers: list[Callable[[list[Entry]], None]] = []
        self._noted: BaseException | None = None

    def _keep_books(self, world: World, checked: bool) -> None:
        """Open the books of a world that begins."""
        self._observers.clear()
        self.invariants = Invariants(world) if checked else None
        if self.journal is not None:
            self.journal.attach(world)

    def _look(self, deliveries: list[Delivery], request: Request | None = None) -> InvariantViolation | None:
        """Write down what a step gave out, show it to those who observe, and see what it has broken."""
        world = self.world
        if self.journal is not None:
            self.journal.told(world.now_ns, deliveries)
        if self._observers and world.trace:
            for observe in self._observers:
                observe(world.trace)
            if self.invariants is None:
                world.trace = []
        if self.invariants is not None:
            try:
                self.invariants.check(deliveries, request)
            except InvariantViolation as violation:
                self.problems.append(violation)
                self._note_problem(violation)
                return violation
        return None

    def _note_problem(self, error: BaseException) -> None:
        """Write down, once, that a step has broken something, or off."""
        if self.journal is not None and error is not self._noted and isinstance(error, Exception):
            self.journal.problem(self.world.now_ns, error)
            self.journal.flush()
        self._noted = error

    def _raised(self, error: Exception, doing: str) -> None:
        """Note that the server raised an exception. Errors: ServerRaised, where invariants are checked.

        Whatever a client sends, the server must answer: an exception is a violation like any other.
        """
        self._note_problem(error)
        if self.invariants is not None:
            self._noted = violation = ServerRaised(f"the server raised {_named(error)} while {doing}")
            self.problems.append(violation)
            raise violation from error

    def _note(self, line: dict[str, Any]) -> None:
        """Write down what did not reach the server, such as what a fault has done."""
        if self.on_fault is not None:
            self.on_fault(self.world.now_ns, line)
        if self.journal is not None:
            self.journal.noted(self.world.now_ns, line)

    @property
    def troubles(self) -> list[str]:
        """What is wrong around the simulation, not in it: files that cannot be written."""
        of_journal = self.journal.trouble if self.journal is not None else ""
        return [text for text in (of_journal, *list(self.failing.values())) if text]

    def observe(self, observer: Callable[[list[Entry]], None]) -> None:
        """Show everything that happens in the server from now on to a keeper of books, after each step.

        It is called under the simulation's lock, and must not ask anything of the simulation. `reset` and
        `restore` begin another history: whoever wants to see that observes anew.
        """
        with self._lock:
            self._observers.append(observer)
            if self.world.trace is None:
                self.world.trace = []

    def check(self) -> None:
        """Raise the first problem that has come up in any thread, if there is one.

        With invariants, all that the server keeps is compared with their books as well.
        """
        with self._lock:
            self._raise_first_problem()
            if self.invariants is not None:
                try:
                    self.invariants.at_rest()
                except InvariantViolation as violation:
                    self.problems.append(violation)
                    raise

    def _raise_first_problem(self) -> None:
        if self.problems:
            raise self.problems[0]

    def note_refused(self, body: bytes, payload_type: str, refusal: Refusal) -> None:
        """Keep a request that was refused before it could be read, under the type that it names; cut where long."""
        with self._lock:
            now_ns, status, text = self.world.now_ns, refusal.status, refusal.text[:_KEPT_OF_REFUSED]
            number, kind, start = self._new_ticket(), payload_type[:_KEPT_OF_REFUSED], body[:_KEPT_OF_REFUSED]
            self.calls.append(Call(number, now_ns, "", kind, start, status, text, now_ns))

    # ------------------------------------------------------------ telling
    def why(self) -> str:
        """Which actor acts, who waits for what and since when, and what is due next."""
        with self._lock:
            return self._why()

    def _why(self) -> str:
        lines = [] if self.programs is None else self.programs.explain()
        pending = list(self._pending.values())
        return why_idle.explain(self.world, self.planned, self.clock, self.actors, pending, lines)

    def why_not(self, process_id: str) -> WhyNot:
        """Why a process is not assigned: all that stands in its way."""
        from colonysim.evidence import why_not

        with self._lock:
            return why_not.why_not(self.world, process_id)

    def story(self, process_id: str) -> str:
        """The life of a process in lines; told from the invariants' books, and so only where they are kept."""
        with self._lock:
            if self.invariants is None:
                return "  no books are kept here: Simulation(invariants=True) can tell stories"
            return self.invariants.story(process_id)


def _named(error: Exception) -> str:
    text = str(error)
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
