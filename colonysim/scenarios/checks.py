"""Checks: what must hold in a run, beside the invariants, which hold in every run.

A check reads gauges (`queue_depth <= 5000`) after each event, so it costs O(1) for each event. Its finding has the time
and the value of the first violation.

To add one, write a class with `watch`, decorated with `@CHECKS.kind`, and the `Watch` that it returns. Users pass a
subclass of `Check` or a function of the summary of their own: named as `file.py:name` in a scenario, as an object in
Python, or by an entry point of `colonysim.checks`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from inspect import signature
from typing import Annotated, Any, Final, Literal

from msgspec import Meta

from colonysim.core.history import Transition
from colonysim.core.records import RUNNING, SECOND_NS, SUCCESS
from colonysim.core.values import Value
from colonysim.core.wording import show_limit
from colonysim.extensions import BadCode, Kinds, error_line, shown
from colonysim.kernel.randomness import NotNegative, to_ns
from colonysim.reports.metrics import Metrics
from colonysim.reports.summary import Summary
from colonysim.scenarios.conditions import FIGURES, GAUGES, Read, condition
from colonysim.scenarios.findings import Finding


class Watch:
    """Watches one run for one check: a subclass overrides `happened` and `phase`, and calls `fail` for each violation.

    `what` is what must hold, for reports. `looked` counts how often there was something to check.
    """

    def __init__(self, checks: Checks, name: str, what: str) -> None:
        self.checks = checks
        self.name = name
        self.what = what
        self.violations = self.looked = 0
        self.first_ns: int | None = None
        self.value: float | None = None
        self.process_id = ""
        self.figure = ""  # what `value` is
        self.missing = ""  # a figure that had no value to compare
        self.text = ""

    def fail(self, at_ns: int, value: float | None = None, process_id: str = "", text: str = "") -> None:
        """Count a violation. The first is reported: its value, its process, or a text that says what is wrong."""
        self.violations += 1
        if self.first_ns is None:
            self.first_ns, self.value, self.process_id, self.text = at_ns, value, process_id, text

    def finding(self) -> Finding:
        """Return the result of the check so far."""
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
            text=self.text,
            figure=self.figure,
        )

    @property
    def listens(self) -> bool:
        """Whether to call `happened`; `phase` is always called."""
        return True

    def happened(self, step: Transition) -> None:
        """A process has changed its state."""

    def phase(self, now_ns: int, name: str) -> None:
        """A phase of the run begins: `start`, `storm`, `calm` or `end`."""


# ---------------------------------------------------------------- kinds of checks
class Check(Value, frozen=True, kw_only=True, tag_field="kind"):
    """Base class of checks; a subclass defines `watch`, and fields for its parameters. Reports show the `name`."""

    name: str = ""

    def watch(self, checks: Checks, name: str) -> Watch:
        """Return the watch that counts violations in a run; `name`: the name of the check in that run."""
        raise TypeError(f"{type(self).__name__} does not define `watch`")

    def impossible(self, faults: bool, executors: bool) -> str:
        """Return why it can never be evaluated if the scenario has (no) faults or simulated executors; "" if it can."""
        return ""

    @property
    def idle_reason(self) -> str:
        """Return why its watch never looked at anything in a run."""
        return "there was no process for it to check"

    def check_condition(self, field: str, known: Sequence[str] = GAUGES) -> None:
        """Check the condition in a field, which may use the names `known`. Raises BadValue."""
        try:
            condition(getattr(self, field), known)
        except ValueError as error:
            raise self.refused(field, str(error)) from None


CHECKS: Final = Kinds(Check, "checks", "checks", needs=("watch",))
"""All kinds of checks: the classes below, and those of users."""


@CHECKS.unloaded_kind
class OwnCheck(Check, frozen=True, kw_only=True):
    """A check of a user that is not loaded yet: the name of its code, and its fields."""

    code: str
    fields: dict[str, Any] = {}


@CHECKS.function_kind
class FunctionCheck(Check, frozen=True, kw_only=True):
    """A user's function that is called at the end with the summary of the run, and with `fields`.

    It returns None, "" or True if the check holds; otherwise it returns the problem or False, or an assertion fails.
    """

    function: Annotated[Any, Meta(extra={"opaque": True})]
    fields: dict[str, Any] = {}

    def check(self) -> None:
        try:
            signature(self.function).bind(None, **self.fields)
        except TypeError as error:
            raise ValueError(f"the function is called with the summary and the other fields: {error}") from None

    def watch(self, checks: Checks, name: str) -> Watch:
        return _FunctionWatch(checks, self, name)


class _FunctionWatch(Watch):
    """Calls the function at the end."""

    def __init__(self, checks: Checks, check: FunctionCheck, name: str) -> None:
        super().__init__(checks, name, f"{getattr(check.function, '__name__', name)} holds at the end")
        self.function = check.function
        self.fields = check.fields

    @property
    def listens(self) -> bool:
        return False

    def phase(self, now_ns: int, name: str) -> None:
        if name != "end":
            return
        self.looked += 1
        try:
            said = self.function(self.checks.summary, **self.fields)
        except AssertionError as error:
            said = error_line(error)
        if said is False:
            said = "it does not hold"
        elif not isinstance(said, (str, bool)) and said is not None:
            raise BadCode(f"returns {shown(said)}; return None if it holds, or a text that says what is wrong")
        if isinstance(said, str) and said.strip():
            self.fail(now_ns, text=said.strip())


@CHECKS.kind
class Probe(Check, frozen=True, kw_only=True, tag="probe"):
    """The condition `that` holds `at` certain times.

    `continuous`: after each event; `storm`, `calm`: after each event of that phase; `faults`: after each event while a
    lasting fault is on; `start`: once the executors exist; `end`: at the end, when the condition may also use figures
    of the summary, such as `waiting_s.p95 < 60`.
    """

    that: str
    at: Literal["start", "end", "continuous", "storm", "calm", "faults"] = "continuous"

    def check(self) -> None:
        self.check_condition("that", GAUGES if self.at != "end" else (*GAUGES, *FIGURES))

    def watch(self, checks: Checks, name: str) -> Watch:
        return _ProbeWatch(checks, self, name)

    def impossible(self, faults: bool, executors: bool) -> str:
        if self.at == "faults" and not faults:
            return "it is evaluated while a fault is on, and the scenario has no faults"
        if "utilisation" in self.that and not executors:
            return "utilisation is that of simulated executors, and the scenario has none"
        return ""

    @property
    def idle_reason(self) -> str:
        return "nothing happened while a lasting fault was on" if self.at == "faults" else "its time did not come"


_WHEN: Final = {
    "start": "at the start",
    "end": "at the end",
    "continuous": "at all times",
    "storm": "during the storm",
    "calm": "during the calm",
    "faults": "while a fault is on",
}
"""When a probe looks, as reports say it."""


class _ProbeWatch(Watch):
    """Counts each uninterrupted period in which the condition does not hold as one violation."""

    def __init__(self, checks: Checks, probe: Probe, name: str) -> None:
        super().__init__(checks, name, f"{probe.that.strip()} {_WHEN[probe.at]}")
        self.at = probe.at
        self.on = False
        self.held = True
        known = (*GAUGES, *FIGURES) if probe.at == "end" else GAUGES
        self.condition = condition(probe.that, known)
        self.figure = self.condition.left

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


@CHECKS.kind
class Eventually(Check, frozen=True, kw_only=True, tag="eventually"):
    """The condition `that` becomes true within `within_s` seconds `after` the start, or after the storm."""

    that: str
    within_s: NotNegative
    after: Literal["start", "storm"] = "storm"

    def check(self) -> None:
        self.check_condition("that")

    def watch(self, checks: Checks, name: str) -> Watch:
        return _EventuallyWatch(checks, self, name)


class _EventuallyWatch(Watch):
    """Fails once the time is over and the condition has not been true."""

    def __init__(self, checks: Checks, check: Eventually, name: str) -> None:
        super().__init__(
            checks, name, f"{check.that.strip()} within {show_limit(check.within_s)} after the {check.after}"
        )
        self.condition = condition(check.that, GAUGES)
        self.figure = self.condition.left
        self.begins = "storm" if check.after == "start" else "calm"
        self.within_ns = to_ns(check.within_s)
        self.due_ns: int | None = None
        self.last: float | None = 0.0  # the value after the event before

    def phase(self, now_ns: int, name: str) -> None:
        if name == self.begins:
            self.due_ns = now_ns + self.within_ns
        self._look(now_ns)
        if name == "end" and self.due_ns is not None:  # no further event
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


@CHECKS.kind
class LeadsTo(Check, frozen=True, kw_only=True, tag="leads_to"):
    """Whenever the condition `when` becomes true, `then` is true at some time within `within_s` seconds."""

    when: str
    then: str
    within_s: NotNegative

    def check(self) -> None:
        self.check_condition("when")
        self.check_condition("then")

    def watch(self, checks: Checks, name: str) -> Watch:
        return _LeadsToWatch(checks, self, name)

    @property
    def idle_reason(self) -> str:
        return f"{self.when.strip()} never became true"


class _LeadsToWatch(Watch):
    """Counts each time after which the second condition did not become true in time."""

    def __init__(self, checks: Checks, check: LeadsTo, name: str) -> None:
        what = f"{check.when.strip()} is followed by {check.then.strip()} within {show_limit(check.within_s)}"
        super().__init__(checks, name, what)
        self.when, self.then = condition(check.when, GAUGES), condition(check.then, GAUGES)
        self.figure = self.then.left
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


@CHECKS.kind
class Each(Check, frozen=True, kw_only=True, tag="each"):
    """Every process gets from `since` to `until` within `within_s` seconds; `eligible`: its parents have succeeded."""

    since: Literal["submitted", "eligible"] = "submitted"
    until: Literal["started", "ended", "succeeded"] = "ended"
    within_s: NotNegative

    def watch(self, checks: Checks, name: str) -> Watch:
        return _EachWatch(checks, self, name)


_REACHES: Final = {"started": "starts", "ended": "ends", "succeeded": "succeeds"}
_BEGINS: Final = {"submitted": "it is submitted", "eligible": "its parents have succeeded"}


class _EachWatch(Watch):
    """Keeps the unfinished processes in the order of their deadlines, which is the order in which they began."""

    def __init__(self, checks: Checks, check: Each, name: str) -> None:
        within = f"within {show_limit(check.within_s)} after {_BEGINS[check.since]}"
        super().__init__(checks, name, f"each process {_REACHES[check.until]} {within}")
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


# ---------------------------------------------------------------- all checks of a run
class Checks:
    """All checks of one run. `faults_on` says whether a lasting fault is on."""

    def __init__(self, metrics: Metrics, checks: Sequence[Check], faults_on: Callable[[], bool]) -> None:
        self.metrics = metrics
        self.faults_on = faults_on
        self.summary: Summary | None = None
        self.watches = [self._watch(check, check.name or f"check {place}") for place, check in enumerate(checks, 1)]
        for check, watch in zip(checks, self.watches, strict=True):
            if watch.listens:
                metrics.listeners.append(watch.happened if CHECKS.has(check) else partial(_guarded_happened, watch))

    def _watch(self, check: Check, name: str) -> Watch:
        with _naming_check(name):
            watch = check.watch(self, name)
            if not isinstance(watch, Watch):
                raise BadCode(f"returns {shown(watch)} from `watch`, not a Watch")
            return watch

    def read(self, name: str) -> float:
        """Return the current value of a gauge."""
        value: float = getattr(self.metrics.gauges, name)
        return value

    def read_all(self, name: str) -> float | None:
        """Return the value of a gauge or of a figure of the summary; None if there was nothing to measure."""
        if name in GAUGES:
            return self.read(name)
        first, _, part = name.partition(".")
        value = getattr(self.summary, first)
        if part:
            value = getattr(value, part)
        return None if value is None else float(value)

    def begin(self, now_ns: int, phase: str) -> None:
        """Notify all watches that a phase begins: start, storm, calm or end."""
        for watch in self.watches:
            with _naming_check(watch.name):
                watch.phase(now_ns, phase)

    def findings(self) -> list[Finding]:
        """Return the results of the checks so far."""
        return [watch.finding() for watch in self.watches]


@contextmanager
def _naming_check(name: str) -> Iterator[None]:
    """Raise errors of users' code as errors of the check. Raises BadCode."""
    try:
        yield
    except BadCode as error:
        raise BadCode(f"check {name!r} {error}") from error.__cause__
    except Exception as error:
        raise BadCode(f"check {name!r} raises {error_line(error)}") from error


def _guarded_happened(watch: Watch, step: Transition) -> None:
    with _naming_check(watch.name):
        watch.happened(step)
