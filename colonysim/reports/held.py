"""The records of a run whose executors may keep processes in queues of their own."""

from __future__ import annotations

from colonysim.core.history import Transition
from colonysim.core.records import RUNNING, WAITING
from colonysim.core.world import World
from colonysim.reports.metrics import NEVER, Metrics


class RunMetrics(Metrics):
    """The records of one run. A process that waits in the executor which has taken it counts as waiting, not as run."""

    def __init__(self, world: World) -> None:
        super().__init__(world)
        self._held: set[int] = set()

    def held(self, process_id: str) -> None:
        """Note that a process, which an executor has just got, waits in it."""
        row = self.place.get(process_id)
        if row is None or self.state[row] != RUNNING:
            return
        self._held.add(row)
        self.state[row] = WAITING
        self.queued_ns[row] = self.start_of_last_ns[row]
        if self.first_start_ns[row] == self.start_of_last_ns[row]:
            self.first_start_ns[row] = NEVER
        self.gauges.running -= 1
        self.gauges.queue_depth += 1
        self._note_depth()

    def begun(self, process_id: str) -> None:
        """Note that the executor of a process that was `held` starts to work on it."""
        row = self.place.get(process_id)
        if row is None or row not in self._held:
            return
        self._let_go(row)
        self.state[row] = RUNNING
        self.start_of_last_ns[row] = now_ns = self.world.now_ns
        if self.first_start_ns[row] == NEVER:
            self.first_start_ns[row] = now_ns
        self._note_depth()

    def _let_go(self, row: int) -> None:
        """End the wait of a process in its executor, and count it as running."""
        self._held.remove(row)
        self.waited_ns[row] += self.world.now_ns - self.queued_ns[row]
        self.queued_ns[row] = NEVER
        self.gauges.running += 1
        self.gauges.queue_depth -= 1

    def _note_depth(self) -> None:
        if self.depth_at_ns[-1] == self.world.now_ns:
            self.depth[-1], self.running[-1] = self.gauges.queue_depth, self.gauges.running
            return
        self.depth_at_ns.append(self.world.now_ns)
        self.depth.append(self.gauges.queue_depth)
        self.running.append(self.gauges.running)

    def _stopped(self, row: int, step: Transition) -> None:
        """Note the end of an attempt, unless its executor never began it."""
        if row not in self._held:
            super()._stopped(row, step)
            return
        self._let_go(row)
        self.start_of_last_ns[row] = NEVER
        self.gauges.retries += step.new == WAITING
