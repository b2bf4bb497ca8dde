"""Subscriptions: subscribers are notified when a process enters a state.

Source: docs/protocol/d-realtime-and-data.md 2.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from colonysim.core.events import StreamOver
from colonysim.core.history import Transition
from colonysim.core.protocol import Delivery, Push
from colonysim.core.records import CANCELLED, FAILED, RUNNING, STATE_NAMES, SUCCESS, WAITING, Process, Subscription
from colonysim.core.replies import AssignReply
from colonysim.invariants.invariant import Invariant, built_in
from colonysim.invariants.ledger import Ledger, ProcessRecord
from colonysim.invariants.violation import InvariantViolation

_PUBLISHED: Final = frozenset({
    ("submit", WAITING), ("timeout", WAITING), ("assign", RUNNING), ("close", SUCCESS), ("close", FAILED),
    ("ran too long", FAILED), ("waited too long", FAILED), ("cancel", CANCELLED),
})  # fmt: skip
"""The changes that are sent to subscribers. Quirk: not those that follow from another process of the graph."""


@built_in
class SubscriptionEvents(Invariant):
    """Checks pushes, while there are subscriptions to processes."""

    rare = True

    def __init__(self, ledger: Ledger) -> None:
        super().__init__(ledger)
        self.changes: list[tuple[ProcessRecord, int]] = []  # in this step

    def moved(self, step: Transition, record: ProcessRecord) -> None:
        """Note a change that must be sent to subscribers."""
        if not self.world.subscriptions.any:
            return
        if (step.cause, step.new) in _PUBLISHED and not record.blocked:
            if step.cause != "cancel" or not record.process.graph_id:
                self.changes.append((record, step.new))
                self.request_check()

    def after_step(self, deliveries: Sequence[Delivery]) -> None:
        self.checks_after_step = False
        changes, self.changes = self.changes, []
        pushed = {(push.stream, *_shown(push.body)) for push in deliveries if type(push) is Push}
        every = self.world.subscriptions.all()
        general = [one for one in every if not one.process_id]
        for record, state in changes:
            executor_type = record.process.spec.conditions.executortype
            for subscription in (one for one in every if one.process_id == record.process_id):
                if (subscription.executor_type, subscription.state) == (executor_type, state):
                    if (subscription.stream, record.process_id, state) not in pushed:
                        raise self._not_notified(record, state, subscription)
            asking = [one for one in general if (one.executor_type, one.state) == (executor_type, state)]
            heard = any((one.stream, record.process_id, state) in pushed for one in general)
            if asking and not heard:
                raise self._not_notified(record, state, asking[0])

    def _not_notified(self, record: ProcessRecord, state: int, subscription: Subscription) -> InvariantViolation:
        what = f"became {STATE_NAMES[state]}, and stream {subscription.stream}, which had subscribed, got no event"
        return self.ledger.violation(record.process_id, what)

    def agree(self) -> None:
        """Check that each subscription has its end on the agenda."""
        for subscription in self.world.subscriptions.all():
            if self.world.agenda.event(subscription.timer) != StreamOver(subscription.stream):
                raise InvariantViolation(f"stream {subscription.stream} is subscribed to processes without an end")


def _shown(body: object) -> tuple[str, int]:
    """Return the process that a push shows, and its state."""
    process = body.process if isinstance(body, AssignReply) else body
    return (process.process_id, process.state) if isinstance(process, Process) else ("", -1)
