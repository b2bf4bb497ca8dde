"""Counts how often each fault struck, and says of those that never did why not."""

from __future__ import annotations

from typing import Any, Final

from colonysim.faults.model import ActorFault, MessageFault, Partition, When
from colonysim.faults.rule import Rule

MOST_REMOVED: Final = 10_000
"""Removed faults whose counts are kept; those that were removed first are forgotten first."""


def is_strike(line: dict[str, Any]) -> bool:
    """Whether a line that a fault wrote tells of a strike.

    That a fault ends, that a hazard is switched on or off, and that a partition begins are no strikes: what
    counts of a partition is the requests and replies that it takes.
    """
    if "fault" not in line or "back" in line or "healed" in line or "on" in line:
        return False
    return not (line["kind"] == "partition" and "ask" not in line)


class FaultTally:
    """How often each fault struck since it was added, also of those that have been removed."""

    def __init__(self) -> None:
        self.counts: dict[str, int] = {}
        self._why: dict[str, str] = {}
        self._removed: dict[str, None] = {}

    def begin(self, name: str) -> None:
        """Count from zero: a fault has been added."""
        self.counts[name] = 0
        self._why.pop(name, None)
        self._removed.pop(name, None)

    def forget(self, name: str) -> None:
        """A fault has not been added after all."""
        self.counts.pop(name, None)
        self._why.pop(name, None)

    def removed(self, name: str) -> None:
        """Keep the count of a fault that has been removed, and drop the oldest such count if there are too many."""
        self._removed[name] = None
        if len(self._removed) > MOST_REMOVED:
            oldest = next(iter(self._removed))
            del self._removed[oldest]
            self.forget(oldest)

    def note(self, line: dict[str, Any]) -> None:
        """Count what a fault wrote, if that is a strike."""
        if is_strike(line):
            self.add(line["fault"])

    def add(self, name: str) -> None:
        """Count one strike."""
        self.counts[name] = self.counts.get(name, 0) + 1

    def ended(self, rule: Rule) -> None:
        """A fault is no longer at work: keep the reason why it did not strike, where it did not."""
        if not self.counts.get(rule.name):
            self._why[rule.name] = why_idle(rule)

    def idle(self, rules: dict[str, Rule]) -> dict[str, str]:
        """The faults that have not struck, each with the reason; `rules` are those that are at work."""
        return {
            name: why_idle(rules[name]) if name in rules else self._why.get(name, "it is turned off")
            for name, count in self.counts.items()
            if not count
        }


def why_idle(rule: Rule) -> str:
    """Why a fault has not struck so far."""
    fault = rule.fault
    if rule.after is not None and rule.armed_ns is None:
        after = rule.after
        return f"it waits for {after.count} x {after.type} answered with {after.status}, and {rule.heard} came"
    if isinstance(fault, MessageFault):
        return _why_no_request(rule, fault.when, "request", "that it is about was sent")
    if isinstance(fault, ActorFault) and fault.when is not None:
        return _why_no_request(rule, fault.when, "step", "was taken by an actor that it is about")
    if isinstance(fault, ActorFault):
        return "its time came, and no actor that it is about was there" if rule.struck else "its time did not come"
    if isinstance(fault, Partition):
        return "nobody whom it cuts off called the server meanwhile" if rule.struck else "its time did not come"
    return "its time did not come, or nothing that it could harm happened then"


def _why_no_request(rule: Rule, when: When, what: str, missing: str) -> str:
    if not rule.seen:
        return f"no {what} {missing} in its time"
    if rule.struck:
        return f"another fault decided each of the {rule.struck} times that it would have struck"
    if when.probability < 1:
        return f"of {rule.seen} {what}s that it is about none was drawn, at a probability of {when.probability:g}"
    return f"only {rule.seen} {what}s that it is about came, too few for its nth or every"
