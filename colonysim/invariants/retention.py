"""Retention: records older than the policy allows are removed in time, and no others."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

from colonysim.core.events import Retention
from colonysim.core.history import GraphEvaluated, Transition
from colonysim.core.protocol import Delivery
from colonysim.core.records import REMOVED, SECOND_NS, SUCCESS
from colonysim.invariants.deadlines import Deadline
from colonysim.invariants.invariant import Invariant, built_in
from colonysim.invariants.ledger import Ledger, ProcessRecord
from colonysim.invariants.violation import InvariantViolation
from colonysim.kernel.clock import show_time

_PERIOD_NS: Final = 60 * SECOND_NS


@built_in
class RetentionRule(Invariant):
    """Successful processes and graphs are removed by their age since submission, logs by their own.

    Source: docs/protocol/b-processes.md 7.
    """

    rare = True

    def __init__(self, ledger: Ledger) -> None:
        super().__init__(ledger)
        settings = self.world.settings
        self.on: Final = settings.retention
        self.policy_ns: Final = settings.retention_policy_s * SECOND_NS
        self.due: dict[str, Deadline] = {}  # by the id of a process or graph
        self.looked_after = -1  # the last run after which logs were checked
        if not self.on:
            return
        self.request_check()
        for record in ledger.records.values():
            if record.state == SUCCESS and not record.process.graph_id:
                self._expect(record.process_id, record.submitted_ns, self._process_stays)
        for graph in self.world.graphs.values():
            self.settled(GraphEvaluated(graph.graph_id, graph.state))

    def reads(self) -> dict[type, Callable[[Any], None]]:
        return {GraphEvaluated: self.settled} if self.on else {}

    def moved(self, step: Transition, record: ProcessRecord) -> None:
        if not self.on:
            return
        if step.new == REMOVED and step.cause == "retention":
            young = record.submitted_ns + self.policy_ns >= step.now_ns
            if young or step.old != SUCCESS or record.process.graph_id:
                what = "is too young" if young else "has not succeeded, or belongs to a graph"
                raise self.ledger.violation(step.process_id, f"was removed by retention although it {what}")
        self._over(step.process_id)
        if step.new == SUCCESS and not record.process.graph_id:
            self._expect(step.process_id, record.submitted_ns, self._process_stays)

    def settled(self, step: GraphEvaluated) -> None:
        self._over(step.graph_id)
        graph = self.world.graphs.get(step.graph_id)
        if graph is not None and step.state == SUCCESS:
            self._expect(step.graph_id, graph.submitted_ns, self._graph_stays)

    def _over(self, source_id: str) -> None:
        self.deadlines.drop(self.due.pop(source_id, None))

    def _expect(self, source_id: str, made_ns: int, missed: Callable[[str], None]) -> None:
        self.due[source_id] = self.deadlines.add(self._run_after(made_ns + self.policy_ns), missed, source_id)

    def _run_after(self, old_ns: int) -> int:
        """Return when the first run, once a minute, finds something too old."""
        return self._run_of(max(old_ns, self.world.now_ns))

    def _run_of(self, old_ns: int) -> int:
        started_ns = self.world.started_ns
        return started_ns + ((old_ns - started_ns) // _PERIOD_NS + 1) * _PERIOD_NS

    def _process_stays(self, process_id: str) -> None:
        raise self.ledger.violation(process_id, f"still exists at {self._now()}, too old for the retention policy")

    def _graph_stays(self, graph_id: str) -> None:
        del self.due[graph_id]
        graph = self.world.graphs.get(graph_id)
        if graph is not None and graph.state == SUCCESS:
            raise InvariantViolation(
                f"graph {graph_id} still exists at {self._now()}, too old for the retention policy"
            )

    def after_step(self, deliveries: Sequence[Delivery]) -> None:
        """Check the first log, which is the oldest, once after each run."""
        run = (self.world.now_ns - self.world.started_ns - 1) // _PERIOD_NS
        if run == self.looked_after:
            return
        self.looked_after = run
        if (oldest := next(iter(self.world.logs), None)) is not None:
            if self._run_of(oldest.timestamp + self.policy_ns) < self.world.now_ns:
                raise InvariantViolation(f"a log still exists at {self._now()}, too old for the retention policy")

    def agree(self) -> None:
        """Check that one run is on the agenda, in time for the first record or log that will be too old."""
        world = self.world
        if not self.on:
            return
        planned = [due_ns for due_ns, _, event in world.agenda.entries() if isinstance(event, Retention)]
        due_ns = None if world.retention is None else world.retention[1]
        if planned != ([] if due_ns is None else [due_ns]):
            raise InvariantViolation(f"runs of retention are planned for {planned}, not for {due_ns}")
        for attribute in world.attributes.values():
            run_ns = self._run_of(world.attribute_times[attribute.attributeid] + self.policy_ns)
            if attribute.state == SUCCESS and run_ns < world.now_ns:
                raise InvariantViolation(f"attribute {attribute.key!r} of {attribute.targetid} is too old to exist")
        for source_id, deadline in self.due.items():
            there = source_id in world.processes or source_id in world.graphs
            if there and (due_ns is None or due_ns > deadline.latest_ns):
                raise InvariantViolation(f"{source_id} will be too old, and no run of retention is planned in time")

    def _now(self) -> str:
        return show_time(self.world.now_ns)
