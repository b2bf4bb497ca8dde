"""Checks: what must hold in a run, beside the invariants that hold in every run.

A check looks at gauges (`queue_depth <= 5000`) when something has happened, never by the clock, so each costs
O(1) for each event. What a check has found carries the time and the value of the first violation.
"""

from __future__ import annotations

import math
import operator
import re
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Final, Literal, NamedTuple

import msgspec

from colonysim.core.history import Transition
from colonysim.core.records import RUNNING, SECOND_NS, SUCCESS
from colonysim.core.values import Value
from colonysim.kernel.clock import show_span
from colonysim.kernel.randomness import NotNegative, to_ns
from colonysim.scenarios.metrics import Gauges, Metrics, Quantiles, Summary

GAUGES: Final = (*Gauges.__struct_fields__, "unfinished")
_QUANTILES: Final = ("count", "mean", "p50", "p90", "p95", "p99", "max")
_SPREAD: Final = ("waiting_s", "turnaround_s", "running_s", "bounded_slowdown")
FIGURES: Final = (
    *(name for name in Summary.__struct_fields__ if name not in (*_SPREAD, *GAUGES)),
    *(f"{name}.{part}" for name in _SPREAD for part in _QUANTILES),
)
_OPERATORS: Final[dict[str, Callable[[Any, Any], bool]]] = {
    "<=": operator.le, ">=": operator.ge, "==": operator.eq, "!=": operator.ne, "<": operator.lt, ">": operator.gt,
}  # fmt: skip
_CONDITION: Final = re.compile(r"\s*([a-z][\w.]*)\s*([<>]=?|[=!]=)\s*(\S+)\s*\Z")


Read = Callable[[str], float | None]
"""Gives the value of a gauge or figure; None for a figure of which there was nothing to measure."""


class Condition(NamedTuple):
    """A gauge or a figure, compared with a number or another one."""

    text: str
    left: str
    compare: Callable[[Any, Any], bool]
    right: str | float

    def value(self, read: Read) -> float | None:
        return read(self.left)

    def holds(self, read: Read) -> bool:
        """Whether it holds; it does not where one side has no value."""
        left, right = read(self.left), self.right if isinstance(self.right, float) else read(self.right)
        return left is not None and right is not None and self.compare(left, right)

    def missing(self, read: Read) -> str:
        """Which of its names has no value, since there was nothing to measure; "" where all have one."""
        return next((name for name in self.names if read(name) is None), "")

    @property
    def names(self) -> tuple[str, ...]:
        return (self.left,) if isinstance(self.right, float) else (self.left, self.right)


def condition(text: str, known: Sequence[str]) -> Condition:
    """Read a condition. Errors: ValueError that says how one looks and what can be asked."""
    found = _CONDITION.match(text)
    if found is None:
        raise ValueError("must be a condition such as 'queue_depth <= 5000'")
    left, sign, right = found.groups()
    try:
        other: str | float = float(right)
    except ValueError:
        other = right
    if isinstance(other, float) and not math.isfinite(other):
        raise ValueError(f"{right!r} must be a finite number")
    made = Condition(text.strip(), left, _OPERATORS[sign], other)
    for name in made.names:
        if name not in known:
            raise ValueError(f"there is no {name!r} to compare here; there are {', '.join(known)}")
    return made


# ---------------------------------------------------------------- what is to be checked
class Check(Value, frozen=True, kw_only=True, tag_field="kind"):
    """Base of the checks; `name` is what reports call it."""

    name: str = ""

    def check_condition(self, field: str, known: Sequence[str] = GAUGES) -> None:
        """Errors: BadValue for a field that holds no condition on what is known."""
        try:
            condition(getattr(self, field), known)
        except ValueError as error:
            raise self.refused(field, str(error)) from None


class Probe(Check, frozen=True, kw_only=True, tag="probe"):
    """Something holds `at` certain times.

    `continuous`: after everything that happens; `storm`, `calm`: so while that lasts; `faults`: so while a
    lasting fault is on; `start`: when the executors are there; `end`: at the end, when the figures of the
    summary can be asked for as well, such as `waiting_s.p95 < 60`.
    """

    that: str
    at: Literal["start", "end", "continuous", "storm", "calm", "faults"] = "continuous"

    def check(self) -> None:
        self.check_condition("that", GAUGES if self.at != "end" else (*GAUGES, *FIGURES))


class Eventually(Check, frozen=True, kw_only=True, tag="eventually"):
    """Something comes true within so long `after` the beginning, or after the storm."""

    that: str
    within_s: NotNegative
    after: Literal["start", "storm"] = "storm"

    def check(self) -> None:
        self.check_condition("that")


class LeadsTo(Check, frozen=True, kw_only=True, tag="leads_to"):
    """Whenever one thing becomes true, another is true at some time within so long."""

    when: str
    then: str
    within_s: NotNegative

    def check(self) -> None:
        self.check_condition("when")
        self.check_condition("then")


class Each(Check, frozen=True, kw_only=True, tag="each"):
    """Every process gets from one point of its life to another within so long; `eligible`: its parents are done."""

    since: Literal["submitted", "eligible"] = "submitted"
    until: Literal["started", "ended", "succeeded"] = "ended"
    within_s: NotNegative


AnyCheck = Probe | Eventually | LeadsTo | Each


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """What has become of a check. Times in seconds from the beginning; `violations` counts how often it failed.

    `looked` counts how often there was something to check: the states that a probe looked at, how often the `when`
    of `leads_to` became true, the processes that `each` followed. At 0 the check has shown nothing. `missing` is the
    figure that could not be compared, since there was nothing to measure: then the check has failed.
    """

    name: str
    what: str
    passed: bool
    violations: int = 0
    first_s: float | None = None
    value: float | None = None
    process_id: str = ""
    looked: int = 0
    missing: str = ""

    def __str__(self) -> str:
        if self.passed:
            return f"{self.name}: {self.what}"
        where = "" if self.first_s is None else f", first {show_span(round(self.first_s * SECOND_NS))} after the start"
        value = "" if self.value is None else f" (was {self.value:g})"
        if self.missing:
            value = f" ({self.missing} has no value: there was nothing to measure)"
        return f"{self.name}: not {self.what}{value}{where}"


# ---------------------------------------------------------------- checking
class _Watch:
    """One check under way: how often it has looked and failed, and the first time."""

    def __init__(self, checks: Checks, name: str, what: str) -> None:
        self.checks = checks
        self.name = name
        self.what = what
        self.violations = self.looked = 0
        self.first_ns: int | None = None
        self.value: float | None = None
        self.process_id = ""
        self.missing = ""  # what could not be compared, since there was nothing to measure

    def fail(self, at_ns: int, value: float | None, process_id: str = "") -> None:
        self.violations += 1
        if self.first_ns is None:
            self.first_ns, self.value, self.process_id = at_ns, value, process_id

    def finding(self) -> Finding:
        start_ns = self.checks.metrics.start_ns
        return Finding(
            name=self.name,
            what=self.what,
            passed=not self.violations,
            violations=self.violations,
            first_s=None if self.first_ns is None else (self.first_ns - start_ns) / SECOND_NS,
            value=self.value,
            process_id=self.process_id,
            looked=self.looked,
            missing=self.missing,
        )

    @property
    def listens(self) -> bool:
        """Whether it looks at all that happens, or only where a phase begins."""
        return True

    def happened(self, step: Transition) -> None:
        """Something has happened to a process."""

    def phase(self, now_ns: int, name: str) -> None:
        """A phase begins: start, storm, calm, end."""


class _ProbeWatch(_Watch):
    """A run of states in which the condition does not hold is one violation."""

    def __init__(self, checks: Checks, probe: Probe, name: str) -> None:
        super().__init__(checks, name, f"{probe.that.strip()} at {probe.at}")
        self.at = probe.at
        self.on = False
        self.held = True
        known = (*GAUGES, *FIGURES) if probe.at == "end" else GAUGES
        self.condition = condition(probe.that, known)

    def look(self, now_ns: int, read: Read) -> None:
        self.looked += 1
        holds = self.condition.holds(read)
        if not holds and self.held:
            self.fail(now_ns, self.condition.value(read))
            self.missing = self.condition.missing(read)
        self.held = holds

    @property
    def listens(self) -> bool:
        return self.at not in ("start", "end")

    def happened(self, step: Transition) -> None:
        if self.on or (self.at == "faults" and self.checks.faults_on()):
            self.look(step.now_ns, self.checks.read)

    def phase(self, now_ns: int, name: str) -> None:
        if self.at == "continuous":
            self.on = name in ("storm", "calm")
        elif self.at in ("storm", "calm"):
            self.on = name == self.at
        if self.on or (self.at, name) in (("start", "start"), ("end", "end")):
            self.look(now_ns, self.checks.read_all if name == "end" else self.checks.read)


class _EventuallyWatch(_Watch):
    def __init__(self, checks: Checks, check: Eventually, name: str) -> None:
        super().__init__(checks, name, f"{check.that.strip()} within {check.within_s:g} s after the {check.after}")
        self.condition = condition(check.that, GAUGES)
        self.begins = "storm" if check.after == "start" else "calm"
        self.within_ns = to_ns(check.within_s)
        self.due_ns: int | None = None
        self.last: float | None = 0.0  # the value after the event before

    def phase(self, now_ns: int, name: str) -> None:
        if name == self.begins:
            self.due_ns = now_ns + self.within_ns
        self._look(now_ns)
        if name == "end" and self.due_ns is not None:  # there will be nothing more
            self.fail(min(now_ns, self.due_ns), self.condition.value(self.checks.read))

    def happened(self, step: Transition) -> None:
        if self.due_ns is not None:
            self._look(step.now_ns)

    def _look(self, now_ns: int) -> None:
        if self.due_ns is None:
            return
        self.looked += 1
        if now_ns > self.due_ns:
            self.fail(self.due_ns, self.last)
            self.due_ns = None
        elif self.condition.holds(self.checks.read):
            self.due_ns = None
        self.last = self.condition.value(self.checks.read)


class _LeadsToWatch(_Watch):
    def __init__(self, checks: Checks, check: LeadsTo, name: str) -> None:
        what = f"{check.when.strip()} leads to {check.then.strip()} within {check.within_s:g} s"
        super().__init__(checks, name, what)
        self.when, self.then = condition(check.when, GAUGES), condition(check.then, GAUGES)
        self.within_ns = to_ns(check.within_s)
        self.was = False
        self.due_ns: int | None = None
        self.last: float | None = 0.0  # the value after the event before

    def phase(self, now_ns: int, name: str) -> None:
        self._look(now_ns)
        if name == "end" and self.due_ns is not None:
            self.fail(min(now_ns, self.due_ns), self.then.value(self.checks.read))

    def happened(self, step: Transition) -> None:
        self._look(step.now_ns)

    def _look(self, now_ns: int) -> None:
        read = self.checks.read
        if self.due_ns is not None and now_ns > self.due_ns:
            self.fail(self.due_ns, self.last)
            self.due_ns = None
        holds = self.when.holds(read)
        self.looked += holds and not self.was
        if self.then.holds(read):
            self.due_ns = None
        elif holds and not self.was and self.due_ns is None:
            self.due_ns = now_ns + self.within_ns
        self.was, self.last = holds, self.then.value(read)


class _EachWatch(_Watch):
    """Those that are under way stand in the order in which their time is up, for all have the same."""

    def __init__(self, checks: Checks, check: Each, name: str) -> None:
        what = f"each process is {check.until} within {check.within_s:g} s after it is {check.since}"
        super().__init__(checks, name, what)
        self.since, self.until = check.since, check.until
        self.within_ns = to_ns(check.within_s)
        self.under_way: dict[str, None] = {}
        self.due: deque[tuple[int, str]] = deque()

    def happened(self, step: Transition) -> None:
        self._expire(step.now_ns)
        if self._begins(step):
            self.looked += 1
            self.under_way[step.process_id] = None
            self.due.append((step.now_ns + self.within_ns, step.process_id))
        elif step.process_id in self.under_way and self._reached(step.new):
            del self.under_way[step.process_id]

    def _begins(self, step: Transition) -> bool:
        if step.old == -1:
            metrics = self.checks.metrics
            return self.since == "submitted" or metrics.eligible_ns[metrics.place[step.process_id]] >= 0
        return self.since == "eligible" and step.old == step.new == 0

    def _reached(self, state: int) -> bool:
        if self.until == "started":
            return state >= RUNNING
        return state == SUCCESS if self.until == "succeeded" else state > RUNNING

    def _expire(self, now_ns: int, at_the_end: bool = False) -> None:
        due = self.due
        while due and (due[0][0] < now_ns or at_the_end):
            due_ns, process_id = due.popleft()
            if process_id in self.under_way:
                del self.under_way[process_id]
                self.fail(min(now_ns, due_ns), None, process_id)

    def phase(self, now_ns: int, name: str) -> None:
        self._expire(now_ns, at_the_end=name == "end")


class Checks:
    """All checks of one run. `faults_on` says whether a lasting fault is on."""

    def __init__(self, metrics: Metrics, checks: Sequence[AnyCheck], faults_on: Callable[[], bool]) -> None:
        self.metrics = metrics
        self.faults_on = faults_on
        self.summary: Summary | None = None
        self.watches = [self._watch(check, place) for place, check in enumerate(checks)]
        metrics.listeners.extend(watch.happened for watch in self.watches if watch.listens)

    def _watch(self, check: AnyCheck, place: int) -> _Watch:
        name = check.name or f"check {place + 1}"
        if isinstance(check, Probe):
            return _ProbeWatch(self, check, name)
        if isinstance(check, Eventually):
            return _EventuallyWatch(self, check, name)
        if isinstance(check, LeadsTo):
            return _LeadsToWatch(self, check, name)
        return _EachWatch(self, check, name)

    def read(self, name: str) -> float:
        """A gauge as it is now."""
        value: float = getattr(self.metrics.gauges, name)
        return value

    def read_all(self, name: str) -> float | None:
        """A gauge, or a figure of the summary; None where there was nothing to measure."""
        if name in GAUGES:
            return self.read(name)
        first, _, part = name.partition(".")
        value = getattr(self.summary, first)
        if isinstance(value, Quantiles):
            value = getattr(value, part)
        return None if value is None else float(value)

    def begin(self, now_ns: int, phase: str) -> None:
        """A phase begins: start, storm, calm or end."""
        for watch in self.watches:
            watch.phase(now_ns, phase)

    def findings(self) -> list[Finding]:
        """What has become of the checks so far."""
        return [watch.finding() for watch in self.watches]
