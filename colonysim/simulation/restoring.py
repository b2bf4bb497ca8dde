"""The part of a simulation that goes back: resets and snapshots."""

from __future__ import annotations

from typing import Any

from colonysim.core.settings import Settings, check_seed
from colonysim.core.world import World
from colonysim.evidence.calls import HUGE_BYTES, Calls
from colonysim.evidence.journal import Journal
from colonysim.kernel import snapshots
from colonysim.kernel.actors import Actors
from colonysim.kernel.clock import Clock


class Restoring:
    """Everything that puts another world in the place of the one there is, or writes it down."""

    world: World
    settings: Settings
    clock: Clock
    actors: Actors
    calls: Calls
    problems: list[BaseException]
    journal: Journal | None
    _lock: Any
    _check: bool
    _initial: bytes | None

    def _without_programs(self, what: str) -> None:
        raise TypeError("a simulation knows its programs")

    def _lose_everybody(self) -> None:
        raise TypeError("a simulation knows who waits")

    def _begin_world(self, world: World) -> None:
        raise TypeError("a simulation knows how a world begins")

    def mark_initial(self) -> None:
        """From now on `reset` comes back to here."""
        with self._lock:
            self._initial = snapshots.freeze(self.world)
            if self.journal is not None:
                self.journal.marked(self.world.now_ns)

    def reset(self, seed: int | None = None) -> None:
        """Back to the state after start-up; whoever waits loses the connection, and clients outside are forgotten.

        The clock goes on as it does, in its mode.
        """
        self._without_programs("a reset")
        if seed is not None:
            check_seed(seed)
        with self._lock:
            self._lose_everybody()
            world = snapshots.begin(self.settings) if self._initial is None else snapshots.thaw(self._initial)
            if seed is not None:
                world.reseed(seed)
            self.settings = world.settings
            self.calls.clear()
            self.problems.clear()
            if self.journal is not None:
                self.journal.reset(world.now_ns, self._initial is not None, seed)
            self.actors.forget_outside()
            self._begin_world(world)

    def snapshot(self) -> bytes:
        """The whole state as bytes. Errors: ValueError while there are programs."""
        self._without_programs("a snapshot")
        with self._lock:
            return snapshots.freeze(self.world)

    def restore(self, snapshot: bytes) -> None:
        """Go back to a snapshot; whoever waits loses the connection. Errors: BadSnapshot."""
        self._without_programs("going back to a snapshot")
        world = snapshots.thaw(snapshot)
        with self._lock:
            self._lose_everybody()
            self.settings = world.settings
            if self.journal is not None:
                self.journal.restored(world.now_ns, snapshots.pack(snapshot))
            if len(snapshot) > HUGE_BYTES:  # else it holds nothing that matters
                self.calls.expect(len(snapshot))
            self._begin_world(world)
