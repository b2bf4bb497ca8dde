"""Counts how often each fault struck, and says of those that never did why not."""

from __future__ import annotations

from typing import Any, Final

from colonysim.faults.fault import Fault
from colonysim.faults.rule import Rule
from colonysim.kernel.kernel import Kernel
from colonysim.kernel.pending import Pending

MOST_REMOVED: Final = 10_000
"""Removed faults whose counts are kept; those that were removed first are forgotten first."""


def is_strike(line: dict[str, Any], counts_messages: bool) -> bool:
    """Return whether a line of a fault tells of a strike.

    That a fault ends, and that a hazard is switched on or off, are no strikes. Where `counts_messages`, the messages
    that it takes are strikes, and that it begins is none.
    """
    if "fault" not in line or "back" in line or "healed" in line or "on" in line:
        return False
    return "ask" in line or not counts_messages


class FaultTally:
    """Writes down what faults do, and counts how often each struck since it was added, also if it was removed since."""

    def __init__(self, kernel: Kernel) -> None:
        self.counts: dict[str, int] = {}
        self._kernel = kernel
        self._count_messages: set[str] = set()
        self._why: dict[str, str] = {}
        self._removed: dict[str, None] = {}

    def begin(self, fault: Fault) -> None:
        """Count from zero: a fault was added."""
        self.counts[fault.name] = 0
        self._why.pop(fault.name, None)
        self._removed.pop(fault.name, None)
        self._count_messages.discard(fault.name)
        if fault.counts_messages:
            self._count_messages.add(fault.name)

    def forget(self, name: str) -> None:
        """Drop a fault that was not added after all, or long ago."""
        self.counts.pop(name, None)
        self._why.pop(name, None)
        self._count_messages.discard(name)

    def removed(self, name: str) -> None:
        """Keep the count of a fault that has been removed, and drop the oldest such count if there are too many."""
        self._removed[name] = None
        if len(self._removed) > MOST_REMOVED:
            oldest = next(iter(self._removed))
            del self._removed[oldest]
            self.forget(oldest)

    def write(self, line: dict[str, Any]) -> None:
        """Show the observer what a fault did, and count it if it is a strike."""
        if is_strike(line, line.get("fault") in self._count_messages):
            self.add(line["fault"])
        self._kernel.observer.note(line)

    def mark(self, rule: Rule, pending: Pending) -> None:
        """Write down that a fault strikes a request."""
        pending.fault, call = rule, pending.call
        call.fault, call.verdict = rule.name, rule.fault.kind
        sent = {"ask": pending.ticket, "type": call.payload_type, "caller": call.caller_id}
        self.write({"fault": rule.name, "kind": call.verdict, **sent})

    def add(self, name: str) -> None:
        """Count one strike."""
        self.counts[name] = self.counts.get(name, 0) + 1

    def ended(self, rule: Rule) -> None:
        """Keep the reason why a fault that is no longer at work did not strike, if it did not."""
        if not self.counts.get(rule.name):
            self._why[rule.name] = why_idle(rule)

    def idle(self, rules: dict[str, Rule]) -> dict[str, str]:
        """Return the faults that have not struck, each with the reason; `rules` are those that are at work."""
        return {
            name: why_idle(rules[name]) if name in rules else self._why.get(name, "it is turned off")
            for name, count in self.counts.items()
            if not count
        }


def why_idle(rule: Rule) -> str:
    """Return why a fault has not struck so far."""
    if rule.after is not None and rule.armed_ns is None:
        after = rule.after
        return f"it waits for {after.count:,} x {after.type} answered with {after.status}, and {rule.heard:,} came"
    return rule.fault.why_idle(rule.seen, rule.struck)
