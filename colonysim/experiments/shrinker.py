"""Shrinks a failing run: the fewest faults, executors, processes and the shortest storm that fail in the same way.

Everything is tried with the one seed, one thing after another, so that the same comes out each time. Chance is
taken out on the way: a fault that strikes now and then becomes those of its strikes that matter.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple

import msgspec
from msgspec.structs import replace

from colonysim.core.records import SECOND_NS
from colonysim.experiments.determinise import Strike, pinned, read_strike
from colonysim.experiments.minimise import Where, at, fewest, least, most, paths, put
from colonysim.faults.model import AnyFault, MessageFault, named
from colonysim.scenarios import writer
from colonysim.scenarios.runner import Failure, Run
from colonysim.scenarios.scenario import Scenario

_LISTS: Final = ("faults", "crons", "generators", "programs", "workload", "executors", "mix", "times_s", "at_s")
_SIZES: Final = ("count", "total", "users", "size", "length", "width", "maps", "reductions", "copies", "first")
_TIMES: Final = ("from_s", "at_s", "for_s", "by_s", "down_s", "restart_after_s", "notice_s", "after_s")
_VARIES: Final = re.compile(r"[0-9a-f]{6,}|-?\d+(\.\d+)?")
_COPY: Final = re.compile(r"(.+)-(\d+)")
_PINNED_AT_ONCE: Final = 256
"""A fault that has struck more often than this is narrowed first."""


class Wanted(NamedTuple):
    """The failure that must stay. `text` is what it says but for numbers and ids, where its name alone says little."""

    kind: str
    name: str
    text: str = ""

    @classmethod
    def like(cls, failure: Failure) -> Wanted:
        """To fail in the same way as this."""
        tells = failure.kind in ("program", "invariant", "error")
        return cls(failure.kind, failure.name, _masked(failure.text) if tells else "")

    def fits(self, failure: Failure) -> bool:
        """Whether that is the same failure, or another of its kind."""
        return (failure.kind, failure.name) == (self.kind, self.name) and self.text in ("", _masked(failure.text))

    def __str__(self) -> str:
        return f"{self.kind} {self.name!r}"


def _masked(text: str) -> str:
    """A text without the numbers, ids and names of copies in it, which differ from run to run."""
    return _VARIES.sub("#", text.partition("\n")[0])


class Size(msgspec.Struct, frozen=True, kw_only=True):
    """How big a scenario is. `processes` are those that were submitted."""

    faults: int
    executors: int
    processes: int
    storm_s: float

    def __str__(self) -> str:
        counted = ((self.faults, "fault"), (self.executors, "executor"), (self.processes, "process"))
        listed = [f"{count} {noun}" if count == 1 else f"{count} {_plural(noun)}" for count, noun in counted]
        return f"{', '.join(listed)}, {self.storm_s:g} s"


def _plural(noun: str) -> str:
    return f"{noun}es" if noun.endswith("s") else f"{noun}s"


class Shrunk(msgspec.Struct, frozen=True, kw_only=True):
    """What is left. `complete`: nothing more could be left out; else the runs were used up, or it was `interrupted`."""

    scenario: Scenario
    seed: int
    failure: Failure
    digest: str
    before: Size
    after: Size
    runs: int
    complete: bool
    interrupted: bool


class CannotShrink(ValueError):
    """A seed that does not fail in the way that is wanted. The text says what it does."""


class Trial(NamedTuple):
    """One run of a candidate: whether it fails as wanted, and what is known of it then."""

    failure: Failure | None
    digest: str
    size: Size
    submitted: tuple[int, ...]
    strikes: dict[str, list[Strike]]
    failures: tuple[Failure, ...]


Progress = Callable[[int, Size], None]
"""Told after each run: how many there have been, and the smallest size so far."""


def try_out(scenario: Scenario, seed: int, wanted: Wanted | None) -> Trial:
    """Run a candidate. Errors: ValueError where it makes no sense."""
    run = Run(scenario, seed)
    strikes: dict[str, list[Strike]] = {}
    noted = run.sim.observers.on_fault

    def note(now_ns: int, line: dict[str, Any]) -> None:
        if noted is not None:
            noted(now_ns, line)
        if (strike := read_strike(run.sim, line)) is not None:
            strikes.setdefault(strike.fault, []).append(strike)

    run.sim.observers.on_fault = note
    digest = ""
    try:
        result = run.execute()
    except ValueError:
        raise
    except Exception as error:
        failures: tuple[Failure, ...] = (Failure(kind="error", name=type(error).__name__, text=str(error)),)
    else:
        failures, digest = result.failures, result.digest
    failure = next((one for one in failures if wanted is None or wanted.fits(one)), None)
    size = Size(
        faults=len([fault for fault in scenario.faults if fault.enabled]),
        executors=len(run.fleet.executors) + sum(bool(part.group.executor_type) for part in run.cast.parts),
        processes=run.metrics.gauges.submitted,
        storm_s=run.now_s if scenario.phases.storm_s is None else scenario.phases.storm_s,
    )
    submitted = tuple(stream.submitted for stream in run.clients.streams)
    return Trial(failure, digest, size, submitted, strikes, failures)


class _Spent(Exception):
    """There have been as many runs as there may be."""


class Shrinker:
    """The smallest scenario so far that fails with `seed` as `wanted`, and what is tried to make it smaller."""

    def __init__(
        self,
        scenario: Scenario,
        seed: int,
        wanted: Wanted | None = None,
        limit: int = 500,
        progress: Progress | None = None,
    ) -> None:
        self.seed = seed
        self.limit = limit
        self.progress = progress
        self.runs = 0
        self._known: dict[bytes, bool] = {}
        self.best = self._plain(scenario)
        self.trial = try_out(self.best, seed, wanted)
        self.runs += 1
        if self.trial.failure is None:
            found = ", ".join(f"{one.kind} {one.name!r}" for one in self.trial.failures)
            if not found:
                raise CannotShrink(f"seed {seed} does not fail: colonysim explore finds seeds that do")
            raise CannotShrink(f"seed {seed} does not fail with {wanted or 'anything'}: what fails is {found}")
        self.wanted = Wanted.like(self.trial.failure)
        self.before, self.failures = self.trial.size, self.trial.failures

    def _plain(self, scenario: Scenario) -> Scenario:
        """The same run without what hides its parts: faults and checks have names, and nothing is drawn by swarm."""
        checks = [
            check if check.name else replace(check, name=f"check {place}")
            for place, check in enumerate(scenario.checks, 1)
        ]
        faults = named(scenario.plan().active(self.seed))
        report = type(scenario.report)()
        return replace(
            scenario, seed=self.seed, faults=faults, swarm=None, checks=tuple(checks), report=report, journal=False
        )

    # ------------------------------------------------------------ trying
    def _holds(self, candidate: Scenario) -> bool:
        """Whether a candidate fails in the same way; then it is the best so far. Errors: _Spent."""
        data = writer.as_data(candidate)
        key = msgspec.json.encode(data)
        if key in self._known:
            return self._known[key]
        if self.runs >= self.limit:
            raise _Spent
        held = False
        try:
            msgspec.convert({**data, "folder": candidate.folder}, Scenario)  # what is written must be readable
            self.runs += 1
            trial = try_out(candidate, self.seed, self.wanted)
        except ValueError:
            pass  # it makes no sense without what was left out
        else:
            held = trial.failure is not None and not self._news(trial)
            if held:
                self.best, self.trial = candidate, trial
        self._known[key] = held
        if self.progress is not None:
            self.progress(self.runs, self.trial.size)
        return held

    def _news(self, trial: Trial) -> bool:
        """Whether something fails that did not before: nobody is helped by a scenario that fails in other ways too."""
        known = {(failure.kind, failure.name) for failure in self.failures}
        return any((failure.kind, failure.name) not in known for failure in trial.failures)

    def _tries(self, where: Where, new: Any) -> bool:
        """Whether it still fails with something else at a path of the best so far."""
        try:
            candidate = put(self.best, where, new)
        except ValueError:
            return False
        return self._holds(candidate)

    # ------------------------------------------------------------ what is tried
    def shrink(self) -> Shrunk:
        """Make it as small as can be within the limit; KeyboardInterrupt gives the smallest so far."""
        complete, interrupted = True, False
        try:
            self._drop_checks()
            self._settle()
            self._narrow()
            if self._pin():
                self._settle()
            if self._bring_forward():
                self._settle()
            self._round()
        except _Spent:
            complete = False
        except KeyboardInterrupt:
            complete, interrupted = False, True
        assert self.trial.failure is not None
        return Shrunk(
            scenario=self.best,
            seed=self.seed,
            failure=self.trial.failure,
            digest=self.trial.digest,
            before=self.before,
            after=self.trial.size,
            runs=self.runs,
            complete=complete,
            interrupted=interrupted,
        )

    def _settle(self) -> None:
        """Leave out, cut and shorten until nothing more can be."""
        before = None
        while before != self.best:
            before = self.best
            self._leave_out()
            self._cut()
            self._shorten()

    def _drop_checks(self) -> None:
        self._holds(self.best)
        kept = tuple(
            check for check in self.best.checks if (self.wanted.kind, self.wanted.name) == ("check", check.name)
        )
        self._tries(("checks",), kept)

    def _leave_out(self) -> None:
        """Entries of lists: faults first, then whatever else there is."""
        for where in list(paths(self.best, _LISTS)):
            try:
                entries = at(self.best, where)
            except (IndexError, AttributeError):
                continue  # what it was a part of has gone
            if isinstance(entries, tuple):
                fewest(entries, lambda rest, where=where: self._tries(where, tuple(rest)))  # type: ignore[misc]
        for where in list(paths(self.best, ("workflow", "sites"))):
            if at(self.best, where) is not None:
                self._tries(where, None)

    def _cut(self) -> None:
        """Numbers of things."""
        for place, (workload, submitted) in enumerate(zip(self.best.workload, self.trial.submitted, strict=False)):
            if workload.count is None and submitted:
                self._tries(("workload", place, "count"), submitted)
        given = [
            ("programs", place, "kwargs", key) for place, group in enumerate(self.best.programs) for key in group.kwargs
        ]
        for where in [*paths(self.best, _SIZES), *given]:
            number = at(self.best, where)
            if type(number) is int and number > 1:
                least(1, number, lambda fewer, where=where: self._tries(where, fewer))  # type: ignore[misc]

    def _shorten(self) -> None:
        storm_s = self.best.phases.storm_s
        if storm_s is not None and storm_s > 1:
            whole = int(storm_s) + (storm_s > int(storm_s))
            least(1, whole, lambda seconds: self._tries(("phases", "storm_s"), float(seconds)))

    # ------------------------------------------------------------ faults
    def _narrow(self) -> None:
        """The windows of faults of messages, in whole seconds."""
        for place, fault in enumerate(self.best.faults):
            struck = self.trial.strikes.get(fault.name)
            if not isinstance(fault, MessageFault) or not struck:
                continue
            last = struck[-1].at_ns // SECOND_NS + 1
            first = struck[0].at_ns // SECOND_NS
            until, begin = ("faults", place, "when", "until_s"), ("faults", place, "when", "from_s")
            last = least(first + 1, last, lambda until_s, where=until: self._tries(where, float(until_s)))  # type: ignore[misc]
            most(0, last - 1, lambda from_s, where=begin: self._tries(where, float(from_s)))  # type: ignore[misc]

    def _pin(self) -> bool:
        """Put each fault's strikes in its place, each as a fault of its own that strikes once."""
        any_pinned = False
        for fault in self.best.faults:
            struck = self.trial.strikes.get(fault.name, [])
            if len(struck) <= _PINNED_AT_ONCE:
                once = pinned(fault, struck)
                if once is not None and self._tries(("faults",), self._instead(fault, once)):
                    any_pinned = True
                    fewest(once, lambda rest, each=once: self._tries(("faults",), self._without(each, rest)))  # type: ignore[misc]
        return any_pinned

    def _bring_forward(self) -> bool:
        """Let strikes come earlier and hit others, so that less has to come before them, and fewer be there."""
        before = self.best
        for where in list(paths(self.best.faults, ("from_s", "at_s"), ("faults",))):
            given = at(self.best, where)
            if not isinstance(given, tuple):
                self._tries(where, 0.0)
            elif len(given) == 1:
                whole = int(given[0])
                if self._tries(where, (float(whole),)):
                    least(1, whole, lambda sooner, where=where: self._tries(where, (float(sooner),)))  # type: ignore[misc]
        for where in list(paths(self.best.faults, ("actors", "callers"), ("faults",))):
            given = at(self.best, where)
            copy = _COPY.fullmatch(given[0]) if len(given) == 1 else None
            if copy is not None:  # the first of its copies would do, and the later ones may be left out then
                names = [f"{copy[1]}-{number}" for number in range(1, int(copy[2]))]
                any(self._tries(where, (name,)) for name in names)
        return self.best != before

    def _instead(self, fault: AnyFault, others: Sequence[AnyFault]) -> tuple[AnyFault, ...]:
        faults: list[AnyFault] = []
        for one in self.best.faults:
            faults += others if one.name == fault.name else (one,)
        return tuple(faults)

    def _without(self, pinned_ones: Sequence[AnyFault], rest: Sequence[AnyFault]) -> tuple[AnyFault, ...]:
        gone = {fault.name for fault in pinned_ones} - {fault.name for fault in rest}
        return tuple(fault for fault in self.best.faults if fault.name not in gone)

    def _round(self) -> None:
        """Times that need not be exact are told in whole seconds, or in thousandths."""
        for where in list(paths(self.best.faults, _TIMES, ("faults",))):
            given = at(self.best, where)
            for place in [(*where, place) for place in range(len(given))] if isinstance(given, tuple) else [where]:
                time_s = at(self.best, place)
                for digits in (0, 3):
                    if not isinstance(time_s, float) or self._tries(place, int(time_s * 10**digits) / 10**digits):
                        break
        for number, fault in enumerate(self.best.faults):
            name = fault.name.partition(" at ")[0]  # the time in it may not be right any more
            if name not in [one.name for one in self.best.faults]:
                self._tries(("faults", number, "name"), name)


def shrink(
    scenario: Scenario,
    seed: int,
    wanted: Wanted | None = None,
    limit: int = 500,
    progress: Progress | None = None,
) -> Shrunk:
    """Make a scenario that fails with a seed as small as it can be and still fail in the same way.

    `wanted` is which failure must stay, the first one where it is not given; `limit` is how many runs that may
    take. Errors: CannotShrink where it does not fail so; ValueError for a scenario that cannot be run.
    """
    return Shrinker(scenario, seed, wanted, limit, progress).shrink()
