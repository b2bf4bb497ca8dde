"""What looks at each step of a simulation: the journal, the invariants, and what others have added."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from colonysim.core.history import Entry
from colonysim.core.protocol import Delivery, Request
from colonysim.core.world import World
from colonysim.evidence.journal import Journal
from colonysim.invariants import Invariants, InvariantViolation, ServerRaised
from colonysim.invariants.invariant import OwnKinds, own_kinds
from colonysim.kernel.kernel import Kernel
from colonysim.kernel.participants import Observer


class Observers(Observer):
    """Everything that looks at what happens in a kernel and changes nothing.

    `journal` keeps the history, if there is one. `asked` says whether invariants are checked, or lists those of a
    user's own that are checked beside them. `failing` says what
    cannot be done at the moment around the simulation, such as saving its state, by what it is. `on_fault` is called
    with the time and the line of each thing that `note` takes.
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
        """Look at another history from now on. What was added by `observe` is dropped. Under the lock."""
        self._readers.clear()
        self.invariants = None
        if self.asked is not False:
            self.invariants = _with_own(world, self._own) if self._own else Invariants(world)
        if self.journal is not None:
            self.journal.attach(world)

    def observe(self, observer: Callable[[list[Entry]], None]) -> None:
        """Show `observer` what happens in each step from now on, until a `reset` or `restore` of the simulation.

        It is called under the kernel's lock and must not ask anything of the simulation. Not under the lock.
        """
        with self._kernel.locked() as world:
            self._readers.append(observer)
            if world.history is None:
                world.history = []

    # ------------------------------------------------------------ what the kernel tells
    def require(self) -> None:
        """Errors: JournalFailed where the journal cannot be written, and nothing shall happen without it."""
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
        """Note that the server raised an exception. Errors: ServerRaised, where invariants are checked.

        Whatever a client sends, the server must answer: an exception is a violation like any other.
        """
        self.problem(error)
        if self.invariants is not None:
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
        """Write an error down, once, however many tell of it."""
        if self.journal is not None and error is not self._noted and isinstance(error, Exception):
            self.journal.problem(self._kernel.world.now_ns, error)
            self.journal.flush()
        self._noted = error

    def moved(self) -> None:
        if self.journal is not None:
            self.journal.moved(self._kernel.world.now_ns)

    def flush(self) -> None:
        if self.journal is not None:
            self.journal.flush()

    # ------------------------------------------------------------ what they have found
    @property
    def troubles(self) -> list[str]:
        """What is wrong around the simulation, not in it, in sentences: files that cannot be written."""
        of_journal = self.journal.trouble if self.journal is not None else ""
        return [text for text in (of_journal, *list(self.failing.values())) if text]

    def check(self) -> None:
        """Compare all that the server keeps with the invariants' own books. Under the lock.

        Errors: the first problem that has come up in any thread, InvariantViolation.
        """
        self._kernel.raise_first_problem()
        if self.invariants is not None:
            try:
                self.invariants.at_rest()
            except InvariantViolation as violation:
                self._kernel.problems.append(violation)
                raise

    def story(self, process_id: str) -> str:
        """Tell the life of a process in lines, from the invariants' books. Under the lock."""
        if self.invariants is None:
            return "  no books are kept here: Simulation(invariants=True) can tell stories"
        return self.invariants.story(process_id)


def _with_own(world: World, kinds: OwnKinds) -> Invariants:
    from colonysim.invariants.own import InvariantsWithOwn  # few simulations need it

    return InvariantsWithOwn(world, kinds)
