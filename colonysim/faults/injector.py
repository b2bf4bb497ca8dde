"""The faults of a simulation: add, list and remove them, and register the actors that they may strike.

The code that runs faults is imported when a fault is first added, because most simulations have none.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from msgspec.structs import replace

from colonysim.core import engine
from colonysim.core.values import BadValue
from colonysim.kernel.kernel import Kernel

if TYPE_CHECKING:
    from colonysim.faults.actors import Victim
    from colonysim.faults.plan import Plan
    from colonysim.faults.registry import AnyFault
    from colonysim.faults.running import RunningFaults


class Faults:
    """All faults of one simulation, in the order in which they were added.

    `added` is how many there are, including those that a swarm leaves out under this seed.
    """

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel
        self._given: dict[str, _Given] = {}
        self._faults: dict[str, _Given] = {}  # of them those that there are under this seed
        self._victims: dict[str, Victim] = {}
        self._running: RunningFaults | None = None  # made when a fault is first added
        self.added = 0

    # ------------------------------------------------------------ which there are
    @property
    def all(self) -> tuple[AnyFault, ...]:
        """The faults that have been added, with their names."""
        return tuple(given.fault for given in self._faults.values())

    @property
    def counts(self) -> dict[str, int]:
        """How often each fault struck since it was added, by name, also of those that have been removed.

        A partition strikes each request and reply that it takes, a fault of actors each actor that it hits.
        Faults that a swarm does not draw are left out. A reset does not set the counts back.
        """
        return {} if self._running is None else dict(self._running.tally.counts)

    @property
    def idle(self) -> dict[str, str]:
        """The faults that have never struck since they were added, by name, each with the reason."""
        return {} if self._running is None else self._running.tally.idle(self._running.rules)

    def add(self, *faults: AnyFault | Plan | dict[str, Any]) -> tuple[AnyFault, ...]:
        """Add faults, or what is active of plans, and return them with their names. Raises BadFault."""
        from pathlib import Path

        from colonysim.extensions import Loader, loaded
        from colonysim.faults.fault import check_end
        from colonysim.faults.plan import Plan
        from colonysim.faults.registry import named, read_faults

        with self._kernel.lock:
            running = self._started()
            new: list[_Given] = []
            for one in faults:
                if not isinstance(one, Plan):
                    new += (_Given(fault, None) for fault in read_faults(one))
                elif one.swarm is None:
                    new += (_Given(fault, one.until_s) for fault in one.active(self._seed))
                else:
                    new += (_Given(fault, one.until_s, one) for fault in one.faults if fault.enabled)
            known = named((given.fault for given in new), self._given)
            for fault in known:
                loaded(fault, Loader(Path()))  # files of values: errors come now and not when it strikes
            for given in new:
                if given.until_s is None:
                    check_end(given.fault)
            added = {fault.name: given._replace(fault=fault) for fault, given in zip(known, new, strict=True)}
            drawn = self._drawn_of(added)
            for given in drawn.values():
                running.tally.begin(given.fault)
            try:
                for given in drawn.values():
                    running.start(given.fault, given.until_s)
            except BaseException:  # all of them or none
                for name in drawn:
                    running.end(name)
                    running.tally.forget(name)
                raise
            self._given |= added
            self._faults |= drawn
            self._refresh(running)
            return tuple(given.fault for given in drawn.values())

    def _drawn_of(self, given: dict[str, _Given]) -> dict[str, _Given]:
        """Those that there are under this seed: of plans with a swarm the ones that it draws."""
        drawn: dict[str, _Given] = {}
        plan: Plan | None = None
        kept: list[str] = []
        for name, one in given.items():
            if one.plan is not None and one.plan is not plan:  # those of one plan stand together
                plan, kept = one.plan, [fault.name for fault in one.plan.active(self._seed)]
            if one.plan is None or name in kept:
                drawn[name] = one
        return drawn

    def remove(self, name: str) -> None:
        """Remove a fault and end its effects. Raises BadFault if no fault has this name."""
        with self._kernel.lock:
            self._known(name)
            running = self._started()
            del self._faults[name], self._given[name]
            running.end(name)
            running.tally.removed(name)
            self._refresh(running)

    def enable(self, name: str, enabled: bool = True) -> None:
        """Turn a fault on or off; when turned on, it starts again. Raises BadFault."""
        with self._kernel.lock:
            given = self._known(name)
            running = self._started()
            if given.fault.enabled is not enabled:
                given = given._replace(fault=replace(given.fault, enabled=enabled))
                self._faults[name] = self._given[name] = given
                running.end(name)
                running.start(given.fault, given.until_s)
                self._refresh(running)

    def clear(self) -> None:
        """Remove all faults: the calm after the storm.

        Delayed messages still arrive, and a slow actor finishes its current sleep or service slowly.
        """
        with self._kernel.lock:
            if self._running is None:
                return
            running, names = self._running, list(self._faults)
            self._faults.clear()
            self._given.clear()
            for name in names:
                running.end(name)
                running.tally.removed(name)
            self._refresh(running)

    def _known(self, name: str) -> _Given:
        if name not in self._faults:
            raise BadValue(f"there is no fault {name!r}; the faults are: {', '.join(self._faults) or 'none'}")
        return self._faults[name]

    # ------------------------------------------------------------ their beginning and end
    @property
    def _seed(self) -> int:
        return self._kernel.world.settings.seed

    def begin(self) -> None:
        """Begin a run, in which no fault has struck yet."""
        self._kernel.timetable.server_down = False
        engine.set_wakeups(self._kernel.world, "all")
        if self._running is None:
            return
        self._running.begin()
        self._faults = self._drawn_of(self._given)
        for given in self._faults.values():
            self._running.start(given.fault, given.until_s)
        self._refresh(self._running)

    def _started(self) -> RunningFaults:
        """Return the faults at work; what they need is imported when a fault is first added."""
        if self._running is None:
            from colonysim.faults.running import RunningFaults

            self._running = RunningFaults(self._kernel, self._victims)
        return self._running

    def _refresh(self, running: RunningFaults) -> None:
        self.added = len(self._given)
        running.refresh()

    # ------------------------------------------------------------ actors
    @property
    def watches_steps(self) -> bool:
        """Whether any fault strikes at the steps of actors."""
        return self._running is not None and self._running.watches_steps

    def enlist(self, victim: Victim) -> None:
        """Make an actor a target of faults from now on. Called under the lock."""
        self._victims[victim.name] = victim
        if self._running is not None:
            self._running.enlisted(victim)

    def dismiss(self, victim: Victim) -> None:
        """Remove an actor from the targets of faults. Called under the lock."""
        if self._victims.get(victim.name) is victim:
            del self._victims[victim.name]

    def step(self, name: str) -> None:
        """Let faults strike an actor that takes a step. Called under the lock."""
        if self._running is not None:
            self._running.step(name)

    def slowness(self, name: str) -> float:
        """Return by which factor an actor's own work takes longer now."""
        return 1.0 if self._running is None else self._running.slowness(name)

    def skew_ns(self, name: str) -> int:
        """Return how far an actor's clock is ahead now, in nanoseconds; below 0: behind."""
        return 0 if self._running is None else self._running.skew_ns(name)


class _Given(NamedTuple):
    """A fault that was added, with the end of its plan in seconds, and the plan itself if that has a swarm."""

    fault: AnyFault
    until_s: float | None
    plan: Plan | None = None
