"""The observers of a simulation: the journal, the invariants, and those that others add."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from colonysim.core.history import Entry
from colonysim.core.policies import BadPolicy
from colonysim.core.protocol import Delivery, Request
from colonysim.core.world import World
from colonysim.evidence.journal import Journal
from colonysim.invariants import Invariants, InvariantViolation, ServerRaised
from colonysim.invariants.invariant import OwnKinds, own_kinds
from colonysim.kernel.kernel import Kernel
from colonysim.kernel.participants import Observer


class Observers(Observer):
    """Observes each step of a kernel, and changes nothing.

    `journal`: the journal, if one is kept. `asked`: whether invariants are checked, or a user's own invariants to check
    beside them. `failing`: what fails outside of the simulation at present, such as saving its state: a sentence for
    each name. `on_fault` is called with the time and the contents of each note.
    """

    def __init__(self, kernel: Kernel, journal: Journal | None, asked: bool | OwnKinds) -> None:
        self._kernel = kernel
        self.journal = journal
        self.recording = journal is not None
        self.asked = asked
        self._own = own_kinds(asked)
        self.invariants: Invariants | None = None
        self.on_fault: Callable[[int, dict[str, Any]], None] | None = None
        self.failing: dict[str, str] = {}
        self._readers: list[Callable[[list[Entry]], None]] = []
        self._noted: BaseException | None = None
        if journal is not None:
            journal.on_stop = self._halt

    def replace_world(self, world: World) -> None:
        """Observe another world, and drop what `observe` added. Under the lock."""
        self._readers.clear()
        self.invariants = None
        if self.asked is not False:
            self.invariants = _with_own(world, self._own) if self._own else Invariants(world)
        if self.journal is not None:
            self.journal.attach(world)

    def observe(self, observer: Callable[[list[Entry]], None]) -> None:
        """Call `observer` with the history of each step, until the simulation is reset or restored.

        It is called under the kernel's lock and must not send requests. Not under the lock.
        """
        with self._kernel.locked() as world:
            self._readers.append(observer)
            if world.history is None:
                world.history = []

    # ------------------------------------------------------------ called by the kernel
    def require(self) -> None:
        """Raise JournalFailed if the journal cannot be written and JournalErrors.STOP is set."""
        if self.journal is not None:
            self.journal.require()

    def _halt(self) -> None:
        self.halted = True

    def look(self, deliveries: list[Delivery], request: Request | None = None) -> InvariantViolation | None:
        world, invariants = self._kernel.world, self.invariants
        if self.journal is not None:
            self.journal.delivered(world.now_ns, deliveries)
        if self._readers and world.history:
            for read in self._readers:
                read(world.history)
            if invariants is None:
                world.history = []
        if invariants is not None:
            try:
                invariants.check(deliveries, request)
            except InvariantViolation as violation:
                self._kernel.problems.append(violation)
                self.problem(violation)
                return violation
        return None

    def raised(self, error: Exception, doing: str) -> None:
        """Record an exception of the server. Raises ServerRaised if invariants are checked.

        The server must answer any request, so an exception is a violation like others.
        """
        self.problem(error)
        if self.invariants is not None and not isinstance(error, BadPolicy):
            text = f": {error}" if str(error) else ""
            violation = ServerRaised(f"the server raised {type(error).__name__}{text} while {doing}")
            self._noted = violation
            self._kernel.problems.append(violation)
            raise violation from error

    def note(self, line: dict[str, Any]) -> None:
        now_ns = self._kernel.world.now_ns
        if self.on_fault is not None:
            self.on_fault(now_ns, line)
        if self.journal is not None:
            self.journal.noted(now_ns, line)

    def problem(self, error: BaseException) -> None:
        """Record an error, once, even if it is reported several times."""
        if self.journal is not None and error is not self._noted and isinstance(error, Exception):
            self.journal.problem(self._kernel.world.now_ns, error)
            self.journal.flush()
        self._noted = error

    def moved(self) -> None:
        if self.journal is not None:
            self.journal.moved(self._kernel.world.now_ns)

    def marked(self) -> None:
        if self.journal is not None:
            self.journal.marked(self._kernel.world.now_ns)

    def flush(self) -> None:
        if self.journal is not None:
            self.journal.flush()

    # ------------------------------------------------------------ results
    @property
    def troubles(self) -> list[str]:
        """Sentences about failures outside of the simulation, such as files that cannot be written."""
        of_journal = self.journal.trouble if self.journal is not None else ""
        return [text for text in (of_journal, *list(self.failing.values())) if text]

    def check(self) -> None:
        """Compare the tables of the server with the records of the invariants. Under the lock.

        Raises the first error of any thread, or InvariantViolation.
        """
        self._kernel.raise_first_problem()
        if self.invariants is not None:
            try:
                self.invariants.at_rest()
            except InvariantViolation as violation:
                self._kernel.problems.append(violation)
                raise

    def story(self, process_id: str) -> str:
        """Return the timeline of a process from the records of the invariants, in lines. Under the lock."""
        if self.invariants is None:
            return "  no timeline is kept: use Simulation(invariants=True)"
        return self.invariants.story(process_id)


def _with_own(world: World, kinds: OwnKinds) -> Invariants:
    from colonysim.invariants.own import InvariantsWithOwn  # few simulations need it

    return InvariantsWithOwn(world, kinds)
