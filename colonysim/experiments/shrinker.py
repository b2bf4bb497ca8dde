"""Shrink a failing run: find the fewest faults, executors and processes and the shortest storm that fail the same way.

All candidates run with the same seed, one after another, so the result is reproducible. Randomness is removed on the
way: a random fault is replaced by those of its strikes that are necessary for the failure.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple

import msgspec
from msgspec.structs import replace

from colonysim.core.records import SECOND_NS
from colonysim.core.wording import show_count, show_seconds
from colonysim.experiments.determinise import read_strike
from colonysim.experiments.minimise import Where, at, fewest, least, most, paths, put
from colonysim.faults.fault import Strike
from colonysim.faults.registry import AnyFault, named
from colonysim.scenarios import files, writer
from colonysim.scenarios.result import Failure
from colonysim.scenarios.runner import Run
from colonysim.scenarios.scenario import Scenario

_LISTS: Final = ("faults", "crons", "generators", "programs", "workload", "executors", "mix", "times_s", "at_s")
_SIZES: Final = ("count", "total", "users", "size", "length", "width", "maps", "reductions", "copies", "first")
_TIMES: Final = ("from_s", "at_s", "for_s", "by_s", "down_s", "restart_after_s", "notice_s", "after_s")
_NAMES: Final = ("actors", "callers")
_VARIES: Final = re.compile(r"[0-9a-f]{6,}|-?\d+(\.\d+)?")
_COPY: Final = re.compile(r"(.+)-(\d+)")
_MOST_COPIES: Final = 4
"""A fault is aimed at so many copies of an actor, one after another, when copies are removed."""

_MOST_STRIKES: Final = 256
"""A fault that struck more often than this is not replaced by its strikes."""


class Wanted(NamedTuple):
    """The failure to preserve. `text`: its message without numbers and ids, for kinds whose name is not specific."""

    kind: str
    name: str
    text: str = ""

    @classmethod
    def like(cls, failure: Failure) -> Wanted:
        """Return what a failure must match to count as the same as this one."""
        specific = failure.kind in ("program", "invariant", "error")
        return cls(failure.kind, failure.name, _masked(failure.text) if specific else "")

    def fits(self, failure: Failure) -> bool:
        """Return whether a failure counts as the same."""
        return (failure.kind, failure.name) == (self.kind, self.name) and self.text in ("", _masked(failure.text))

    def __str__(self) -> str:
        return f"{self.kind} {self.name!r}"


def _masked(text: str) -> str:
    """Replace the numbers and ids in the first line of a text, which differ between runs."""
    return _VARIES.sub("#", text.partition("\n")[0])


class Size(msgspec.Struct, frozen=True, kw_only=True):
    """The size of a scenario. `processes`: number submitted in a run. `storm_s`: length of the storm in seconds."""

    faults: int
    executors: int
    processes: int
    storm_s: float

    def __str__(self) -> str:
        counted = ((self.faults, "fault"), (self.executors, "executor"), (self.processes, "process"))
        listed = ", ".join(show_count(count, noun) for count, noun in counted)
        return f"{listed}, {show_seconds(self.storm_s)}"


class Shrunk(msgspec.Struct, frozen=True, kw_only=True):
    """The result of shrinking.

    `failure` and `digest` are those of the shrunk `scenario`; `runs`: number of runs it took. `complete`: nothing
    more could be removed; otherwise the limit of runs was reached, or shrinking was `interrupted`.
    """

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
    """The seed does not fail in the wanted way. The text says how it fails instead, if it does."""


class Trial(NamedTuple):
    """One run of a candidate. `failure`: the wanted failure, None if it did not happen; `failures`: all.

    `submitted`: number of processes of each workload. `strikes`: the strikes of each fault, by name.
    """

    failure: Failure | None
    digest: str
    size: Size
    submitted: tuple[int, ...]
    strikes: dict[str, list[Strike]]
    failures: tuple[Failure, ...]


Progress = Callable[[int, Size], None]
"""Called after each run with the number of runs and the smallest size so far."""


def try_out(scenario: Scenario, seed: int, wanted: Wanted | None) -> Trial:
    """Run a candidate. Raises ValueError if it is not a valid scenario."""
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


class _LimitReached(Exception):
    """The limit of runs is reached."""


class Shrinker:
    """Searches for smaller scenarios that fail with `seed` as `wanted`; `best` is the smallest so far."""

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
                raise CannotShrink(f"seed {seed} does not fail: find one that does with colonysim explore")
            raise CannotShrink(f"seed {seed} does not fail with {wanted or 'anything'}: it fails with {found}")
        self.wanted = Wanted.like(self.trial.failure)
        self.before, self.failures = self.trial.size, self.trial.failures

    def _plain(self, scenario: Scenario) -> Scenario:
        """Return an equivalent scenario in which faults and checks are named, and no fault is drawn by `swarm`."""
        checks = [
            check if check.name else replace(check, name=f"check {place}")
            for place, check in enumerate(scenario.checks, 1)
        ]
        faults = named(scenario.plan().active(self.seed))
        report = type(scenario.report)()
        return replace(
            scenario, seed=self.seed, faults=faults, swarm=None, checks=tuple(checks), report=report, journal=False
        )

    # ------------------------------------------------------------ candidates
    def _holds(self, candidate: Scenario) -> bool:
        """Return whether a candidate fails in the same way; it is then the best so far. Raises _LimitReached."""
        data = writer.as_data(candidate)
        key = msgspec.json.encode(data)
        if key in self._known:
            return self._known[key]
        if self.runs >= self.limit:
            raise _LimitReached
        held = False
        try:
            files.from_data(Scenario, {**data, "folder": candidate.folder})  # the written file must be valid
            self.runs += 1
            trial = try_out(candidate, self.seed, self.wanted)
        except ValueError:
            pass  # not valid without the removed part
        else:
            held = trial.failure is not None and not self._fails_otherwise(trial)
            if held:
                self.best, self.trial = candidate, trial
        self._known[key] = held
        if self.progress is not None:
            self.progress(self.runs, self.trial.size)
        return held

    def _fails_otherwise(self, trial: Trial) -> bool:
        """Return whether a trial has a failure that the original does not have, which would only confuse."""
        known = {(failure.kind, failure.name) for failure in self.failures}
        return any((failure.kind, failure.name) not in known for failure in trial.failures)

    def _tries(self, where: Where, new: Any) -> bool:
        """Return whether the best so far still fails with `new` at a path."""
        try:
            candidate = put(self.best, where, new)
        except ValueError:
            return False
        return self._holds(candidate)

    # ------------------------------------------------------------ reductions
    def shrink(self) -> Shrunk:
        """Shrink as far as the limit of runs allows. On KeyboardInterrupt, return the smallest so far."""
        complete, interrupted = True, False
        try:
            self._drop_checks()
            self._settle()
            self._narrow()
            if self._determinise():
                self._settle()
            if self._bring_forward():
                self._settle()
            self._round()
        except _LimitReached:
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
        """Repeat the reductions until none of them makes the scenario smaller."""
        before = None
        while before != self.best:
            before = self.best
            self._remove_entries()
            self._reduce_counts()
            self._shorten_storm()

    def _drop_checks(self) -> None:
        self._holds(self.best)
        kept = tuple(
            check for check in self.best.checks if (self.wanted.kind, self.wanted.name) == ("check", check.name)
        )
        self._tries(("checks",), kept)

    def _remove_entries(self) -> None:
        """Remove entries of lists, faults first, and optional parts."""
        for where in list(paths(self.best, _LISTS)):
            try:
                entries = at(self.best, where)
            except (IndexError, AttributeError):
                continue  # the enclosing part has been removed
            if isinstance(entries, tuple):
                fewest(entries, lambda rest, where=where: self._tries(where, tuple(rest)))  # type: ignore[misc]
        for where in list(paths(self.best, ("workflow", "sites"))):
            if at(self.best, where) is not None:
                self._tries(where, None)

    def _reduce_counts(self) -> None:
        """Reduce counts and sizes."""
        for place, (workload, submitted) in enumerate(zip(self.best.workload, self.trial.submitted, strict=False)):
            if workload.count is None and submitted:
                self._tries(("workload", place, "count"), submitted)
        given = [
            ("programs", place, "kwargs", key) for place, group in enumerate(self.best.programs) for key in group.kwargs
        ]
        for where in [*paths(self.best, _SIZES), *given]:
            number = at(self.best, where)
            if type(number) is int and number > 1:
                least(1, number, lambda fewer, where=where: self._tries_fewer(where, fewer))  # type: ignore[misc]

    def _tries_fewer(self, where: Where, fewer: int) -> bool:
        """Return whether the best so far still fails with a smaller number.

        With fewer copies of an actor, one that a fault names may be gone, be called otherwise (a single copy has no
        number), or not do what it did: if so, the fault is tried on each of the first copies that are left.
        """
        if self._tries(where, fewer):
            return True
        name = getattr(at(self.best, where[:-1]), "name", "")
        if not name or where[-1] != ("users" if where[0] == "workload" else "count"):
            return False
        left = [name] if fewer == 1 else [f"{name}-{number}" for number in range(1, fewer + 1)]
        aimed = [self._aimed_at(put(self.best, where, fewer), name, copy) for copy in left[:_MOST_COPIES]]
        return any(candidate is not None and self._holds(candidate) for candidate in aimed)

    def _aimed_at(self, candidate: Scenario, name: str, copy: str) -> Scenario | None:
        """Return the candidate with faults on one copy of an actor aimed at another copy; None if there is none."""
        changed = None
        for where in list(paths(candidate.faults, _NAMES, ("faults",))):
            given = at(candidate, where)
            found = _COPY.fullmatch(given[0]) if len(given) == 1 else None
            if given == (name,) or (found is not None and found[1] == name):
                candidate = changed = put(candidate, where, (copy,))
        return changed

    def _shorten_storm(self) -> None:
        storm_s = self.best.phases.storm_s
        if storm_s is not None and storm_s > 1:
            whole = int(storm_s) + (storm_s > int(storm_s))
            least(1, whole, lambda seconds: self._tries(("phases", "storm_s"), float(seconds)))

    # ------------------------------------------------------------ faults
    def _narrow(self) -> None:
        """Narrow the time windows of message faults, in whole seconds."""
        for place, fault in enumerate(self.best.faults):
            struck = self.trial.strikes.get(fault.name)
            if not struck or fault.window is None or not hasattr(fault, "when"):
                continue
            last = struck[-1].at_ns // SECOND_NS + 1
            first = struck[0].at_ns // SECOND_NS
            until, begin = ("faults", place, "when", "until_s"), ("faults", place, "when", "from_s")
            last = least(first + 1, last, lambda until_s, where=until: self._tries(where, float(until_s)))  # type: ignore[misc]
            most(0, last - 1, lambda from_s, where=begin: self._tries(where, float(from_s)))  # type: ignore[misc]

    def _determinise(self) -> bool:
        """Replace each fault by its strikes, each a fault without randomness. Return whether any was replaced."""
        any_replaced = False
        for fault in self.best.faults:
            struck = self.trial.strikes.get(fault.name, [])
            if len(struck) <= _MOST_STRIKES:
                once = fault.at_fixed_times(struck)
                if once is not None and self._tries(("faults",), self._instead(fault, once)):
                    any_replaced = True
                    fewest(once, lambda rest, each=once: self._tries(("faults",), self._without(each, rest)))  # type: ignore[misc]
        return any_replaced

    def _bring_forward(self) -> bool:
        """Move strikes to earlier times and to actors with lower numbers, so that more can be removed.

        Return whether anything changed.
        """
        before = self.best
        for where in list(paths(self.best.faults, ("from_s", "at_s"), ("faults",))):
            given = at(self.best, where)
            if not isinstance(given, tuple):
                self._tries(where, 0.0)
            elif len(given) == 1:
                whole = int(given[0])
                if self._tries(where, (float(whole),)):
                    least(1, whole, lambda sooner, where=where: self._tries(where, (float(sooner),)))  # type: ignore[misc]
        for where in list(paths(self.best.faults, _NAMES, ("faults",))):
            given = at(self.best, where)
            copy = _COPY.fullmatch(given[0]) if len(given) == 1 else None
            if copy is not None:  # if an earlier copy of the actor will do, the later ones may be removed
                names = [f"{copy[1]}-{number}" for number in range(1, int(copy[2]))]
                any(self._tries(where, (name,)) for name in names)
        return self.best != before

    def _instead(self, fault: AnyFault, others: Sequence[AnyFault]) -> tuple[AnyFault, ...]:
        faults: list[AnyFault] = []
        for one in self.best.faults:
            faults += others if one.name == fault.name else (one,)
        return tuple(faults)

    def _without(self, replaced: Sequence[AnyFault], rest: Sequence[AnyFault]) -> tuple[AnyFault, ...]:
        gone = {fault.name for fault in replaced} - {fault.name for fault in rest}
        return tuple(fault for fault in self.best.faults if fault.name not in gone)

    def _round(self) -> None:
        """Round times that need not be exact to seconds or milliseconds, and drop them from the names of faults."""
        for where in list(paths(self.best.faults, _TIMES, ("faults",))):
            given = at(self.best, where)
            for place in [(*where, place) for place in range(len(given))] if isinstance(given, tuple) else [where]:
                time_s = at(self.best, place)
                for digits in (0, 3):
                    if not isinstance(time_s, float) or self._tries(place, int(time_s * 10**digits) / 10**digits):
                        break
        for number, fault in enumerate(self.best.faults):
            name = fault.name.partition(" at ")[0]  # the time in the name may have changed
            if name not in [one.name for one in self.best.faults]:
                self._tries(("faults", number, "name"), name)


def shrink(
    scenario: Scenario,
    seed: int,
    wanted: Wanted | None = None,
    limit: int = 500,
    progress: Progress | None = None,
) -> Shrunk:
    """Shrink a scenario that fails with a seed as far as it still fails in the same way.

    `wanted`: the failure to preserve, by default the first one. `limit`: the most runs. `progress`: see Progress.
    Raises CannotShrink if the seed does not fail in that way, ValueError if the scenario cannot be run.
    """
    return Shrinker(scenario, seed, wanted, limit, progress).shrink()
