"""What must hold whatever happens: checked from the outside, after each step, on books of its own.

The checks read the core's trace of what has happened, never the indexes it works with, and so find what
those get wrong. Each costs O(1), or O(log n) where an order is kept, for each thing that happens.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from colonysim.core import trace
from colonysim.core.world import World
from colonysim.sim.invariants.channels import ChannelBooks
from colonysim.sim.invariants.graphs import GraphBooks
from colonysim.sim.invariants.processes import ProcessBooks
from colonysim.sim.invariants.recurring import RecurringBooks
from colonysim.sim.invariants.violation import InvariantViolation

__all__ = ["InvariantViolation", "Invariants"]


class Invariants:
    """All books of one world, and the one pass over what has happened."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.processes: Final = ProcessBooks(world)
        graphs, recurring, channels = GraphBooks(world), RecurringBooks(world), ChannelBooks(world)
        self._readers: dict[type, tuple[Callable[[Any], None], ...]] = {
            trace.Transition: (self.processes.moved, graphs.moved),
            trace.Assignment: (self.processes.assigned,),
            trace.Settled: (graphs.settled,),
            trace.CronArmed: (recurring.armed,),
            trace.CronRan: (recurring.ran,),
            trace.Held: (recurring.held,),
            trace.Packed: (recurring.packed,),
            trace.Fired: (recurring.fired,),
            trace.Gone: (recurring.gone,),
            trace.Appended: (channels.appended,),
        }
        self._graphs, self._recurring = graphs, recurring
        world.trace = []

    def check(self) -> None:
        """Look at what has happened since the last time. Errors: InvariantViolation."""
        happened = self.world.trace
        if not happened:
            return
        self.world.trace = []
        for entry in happened:
            for read in self._readers[type(entry)]:
                read(entry)
        self.processes.conserved()
        if self._graphs.touched:
            self._graphs.consistent()
        if self._recurring.crons or self._recurring.generators:
            self._recurring.nothing_overdue()

    def story(self, process_id: str) -> str:
        """The life of a process in lines."""
        return self.processes.story(process_id)
