"""Compare variants of a scenario: run each with the same seeds, and compute differences with confidence intervals.

The seeds are a given number, or as many as a figure needs to be known with a given precision.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Final, NamedTuple

import msgspec
from msgspec.structs import replace

from colonysim.core.wording import show_interval, time_unit
from colonysim.experiments.exploration import absolute, error_text
from colonysim.experiments.parallel import InThisProcess, KnownFirst, Stop, WorkerPool, one_at_a_time, run_all
from colonysim.experiments.results import Results
from colonysim.reports.summary import Summary
from colonysim.scenarios.result import Failure
from colonysim.scenarios.runner import Run
from colonysim.scenarios.scenario import Scenario
from colonysim.scenarios.vacuity import FaultCount
from colonysim.scenarios.warnings import RunWarning
from colonysim.statistics.intervals import Interval, interval_of, p_value
from colonysim.statistics.several import Correction, adjusted

WAITING: Final = "waiting, mean (s)"
FIGURES: Final[dict[str, Callable[[Summary], float | None]]] = {
    WAITING: lambda s: s.waiting_s.mean,
    "waiting, p95 (s)": lambda s: s.waiting_s.p95,
    "waiting, p99 (s)": lambda s: s.waiting_s.p99,
    "waiting, max (s)": lambda s: s.waiting_s.max,
    "turnaround, mean (s)": lambda s: s.turnaround_s.mean,
    "bounded slowdown, mean": lambda s: s.bounded_slowdown.mean,
    "deadline misses": lambda s: float(s.deadline_misses) if s.submitted else None,
    "succeeded": lambda s: float(s.succeeded) if s.submitted else None,
    "utilisation": lambda s: s.utilisation,
    "makespan (s)": lambda s: s.makespan_s,
    "fairness": lambda s: s.fairness,
}
"""The compared figures, each computed from the summary of a run; None if there was nothing to measure."""

_IN_SECONDS: Final = " (s)"


def title_of(figure: str) -> str:
    """Return the name of a figure (a key of FIGURES) without its unit."""
    return figure.removesuffix(_IN_SECONDS)


def unit_of(figure: str, largest: float) -> tuple[float, str]:
    """Return the unit to show values of a figure in, of which one is `largest`: its size, and its name or ""."""
    if figure.endswith(_IN_SECONDS):
        return time_unit(largest)
    return (0.01, "%") if figure == "utilisation" else (1.0, "")


_WIDEST: Final = 100
"""An interval that is so many times as wide as its mean is shown in the unit of its width."""


def text_of(interval: Interval, figure: str) -> str:
    """Format an interval of a figure (a key of FIGURES), in the unit that suits its size."""
    size, half_width = abs(interval.mean), interval.half_width or 0.0
    unit, name = unit_of(figure, size if size * _WIDEST > half_width else half_width)
    return show_interval(interval.mean, interval.half_width, unit, name)


MARK: Final = "!"
"""Marks the figures of variants with unfinished runs, which cover only a part of the work."""

_RISK: Final = 0.05
"""Of a false finding."""
_NAMES: Final = {"holm": "Holm's", "bonferroni": "Bonferroni's"}


class VariantRun(msgspec.Struct, frozen=True):
    """One run of a variant. `notes`: deviations of its traces from the recordings.

    A run that ended with an error has no summary and no digest.
    """

    seed: int
    digest: str
    summary: Summary | None
    failures: tuple[Failure, ...]
    faults: tuple[FaultCount, ...] = ()
    warnings: tuple[RunWarning, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def unfinished(self) -> int:
        """Number of processes that had not ended, where it is known."""
        return 0 if self.summary is None else self.summary.unfinished

    def figure(self, name: str) -> float | None:
        """Return a figure (a key of FIGURES), or None if there was nothing to measure."""
        return None if self.summary is None else FIGURES[name](self.summary)

    @property
    def partial(self) -> bool:
        """Whether the figures cover only a part of the work: it has unfinished processes, or failed not just checks."""
        return bool(self.unfinished) or any(failure.kind != "check" for failure in self.failures)


class Variant(msgspec.Struct, frozen=True):
    """One variant of a scenario: its overrides (`PATH=VALUE`), and its run with each seed."""

    name: str
    overrides: tuple[str, ...]
    runs: tuple[VariantRun, ...]

    @property
    def summaries(self) -> tuple[Summary, ...]:
        """The summary of each run that has one."""
        return tuple(run.summary for run in self.runs if run.summary is not None)

    @property
    def notes(self) -> tuple[str, ...]:
        """The notes on its traces, each once."""
        return tuple(dict.fromkeys(note for run in self.runs for note in run.notes))

    @property
    def failed(self) -> tuple[VariantRun, ...]:
        """The runs with failures."""
        return tuple(run for run in self.runs if run.failures)

    @property
    def partial(self) -> bool:
        """Whether some of its runs cover only a part of the work, so that its figures are not comparable."""
        return any(run.partial for run in self.runs)

    def values(self, figure: str) -> list[float | None]:
        """Return a figure (a key of FIGURES) for each seed."""
        return [run.figure(figure) for run in self.runs]

    def interval(self, figure: str) -> Interval | None:
        """Return the mean of a figure over the seeds that have a value; None if none has."""
        return _interval(self.values(figure))

    def against(self, other: Variant, figure: str) -> Interval | None:
        """Return the mean difference to another variant, seed by seed; None if no seed has a value in both."""
        return _interval(self.paired(other, figure))

    def paired(self, other: Variant, figure: str) -> list[float]:
        """Return the difference to another variant for each seed that has a value in both."""
        pairs = zip(self.values(figure), other.values(figure), strict=True)
        return [ours - theirs for ours, theirs in pairs if ours is not None and theirs is not None]


def _interval(values: Sequence[float | None]) -> Interval | None:
    known = [value for value in values if value is not None]
    return interval_of(known) if known else None


class PairedDifference(msgspec.Struct, frozen=True, kw_only=True):
    """How a figure of a variant differs from that of the first one, seed by seed.

    `p`: how probable a difference at least as large would be without a true one; `adjusted_p`: the same among all
    comparisons made together. Both are None if there is nothing to test. `comparable`: no run of either is partial.
    """

    interval: Interval | None
    p: float | None = None
    adjusted_p: float | None = None
    comparable: bool = True

    @property
    def stars(self) -> str:
        """One star if the interval excludes zero, two if it is clear also among all comparisons; MARK if partial."""
        if not self.comparable:
            return MARK
        if self.adjusted_p is not None and self.adjusted_p < _RISK:
            return "**"
        return "*" if self.interval is not None and self.interval.clear else ""


class PairedDifferences(msgspec.Struct, frozen=True, kw_only=True):
    """All differences to the first variant, by variant and figure. `comparisons`: how many were tested together."""

    first: str
    correction: Correction
    comparisons: int
    by_variant: dict[str, dict[str, PairedDifference]]

    def __str__(self) -> str:
        """Say what the stars mean, and how many come by chance."""
        if not self.comparisons:
            return "no stars: nothing differs by chance"
        by_chance = f"{self.comparisons * _RISK:.3g}"
        text = f"* excludes zero, as {by_chance} of {self.comparisons:,} comparisons do by chance alone"
        if self.correction == "none":
            return text
        return f"{text}; ** also after {_NAMES[self.correction]} correction for all of them"


def differences_of(variants: Sequence[Variant], correction: Correction = "holm") -> PairedDifferences:
    """Return the differences of all variants to the first one, with p-values adjusted for their number."""
    first, *others = variants
    pairs = {(other.name, figure): other.paired(first, figure) for other in others for figure in FIGURES}
    whole = {other.name for other in others if not (other.partial or first.partial)}
    tested = {key: p for key, values in pairs.items() if key[0] in whole and (p := p_value(values)) is not None}
    corrected = dict(zip(tested, adjusted(list(tested.values()), correction), strict=True))
    made = {
        other.name: {
            figure: PairedDifference(
                interval=other.against(first, figure),
                p=tested.get((other.name, figure)),
                adjusted_p=None if correction == "none" else corrected.get((other.name, figure)),
                comparable=other.name in whole,
            )
            for figure in FIGURES
        }
        for other in others
    }
    return PairedDifferences(first=first.name, correction=correction, comparisons=len(tested), by_variant=made)


class Precision(msgspec.Struct, frozen=True, kw_only=True):
    """How precisely a figure is wanted: its half width as a share of its mean, with `most` seeds at most.

    Raises ValueError if a value is out of range.
    """

    share: float
    figure: str = WAITING
    most: int = 100

    def __post_init__(self) -> None:
        if not 0 < self.share < 1:
            raise ValueError(f"invalid half width {self.share:g}: give a share of the mean such as 5% or 0.05")
        if self.figure not in FIGURES:
            raise ValueError(f"there is no figure {self.figure!r}; the figures are: {'; '.join(FIGURES)}")

    def is_met(self, runs: Sequence[Sequence[VariantRun]]) -> bool:
        """Return whether the runs of each variant give the figure as precisely as wanted."""
        return all(wide is not None and wide <= self.share for wide in map(self.width, runs))

    def width(self, runs: Sequence[VariantRun]) -> float | None:
        """Return the half width that these runs give, as a share of the mean; None if it is unknown."""
        interval = _interval([run.figure(self.figure) for run in runs])
        return None if interval is None else interval.relative


class ReachedPrecision(msgspec.Struct, frozen=True, kw_only=True):
    """How precise the wanted figure is after all runs: that of the variant for which it is least precise."""

    figure: str
    wanted: float
    half_width: float | None
    variant: str
    seeds: int
    met: bool

    def __str__(self) -> str:
        got = "unknown" if self.half_width is None else f"{100 * self.half_width:.3g} % of the mean"
        met = f"is {'' if self.met else 'NOT '}within {100 * self.wanted:.3g} %"
        return f"{self.figure} {met} after {self.seeds} seeds: its widest half width is {got} ({self.variant})"


def reached(variants: Sequence[Variant], precision: Precision) -> ReachedPrecision:
    """Return how precise the wanted figure is after these runs."""
    widths = [(precision.width(variant.runs), variant.name) for variant in variants]
    worst, name = max(widths, key=lambda each: float("inf") if each[0] is None else each[0])
    return ReachedPrecision(
        figure=precision.figure,
        wanted=precision.share,
        half_width=worst,
        variant=name,
        seeds=len(variants[0].runs),
        met=precision.is_met([variant.runs for variant in variants]),
    )


def no_chance(variants: Sequence[Variant]) -> bool:
    """Return whether there are several seeds but all gave the same figures, so that one would be enough."""
    return all(len(set(map(msgspec.json.encode, one.summaries))) == 1 for one in variants) and any(
        len(one.summaries) > 1 for one in variants
    )


def warnings_of(variants: Sequence[Variant]) -> list[RunWarning]:
    """Return warnings for variants with equal histories, and the warnings that all runs of a variant share."""
    found = []
    firsts: dict[tuple[str, ...], Variant] = {}
    for variant in variants:
        digests = tuple(run.digest for run in variant.runs)
        if all(digests) and (other := firsts.setdefault(digests, variant)) is not variant:
            text = f"variants {other.name!r} and {variant.name!r} gave the same history: what was varied has no effect"
            found.append(RunWarning(kind="variant", name=variant.name, path="", text=text))
        shared = [{(one.kind, one.name) for one in run.warnings} for run in variant.runs]
        found += [
            RunWarning(kind=one.kind, name=one.name, path=one.path, text=f"variant {variant.name!r}: {one.text}")
            for one in variant.runs[0].warnings
            if all((one.kind, one.name) in each for each in shared)
        ]
    return found


class _Job(NamedTuple):
    """A run to do: the scenario of a variant, with one seed."""

    scenario: Scenario
    seed: int


def run_variants(
    file: Path,
    variants: dict[str, tuple[str, ...]],
    seeds: int,
    progress: Callable[[int], None] = lambda done: None,
    pool: WorkerPool | None = None,
    stop: Stop | None = None,
    folder: Path | None = None,
    until: Precision | None = None,
) -> list[Variant]:
    """Run a scenario with the overrides of each variant and `seeds` seeds, from the scenario's own on.

    `until`: run further seeds, one after the other, until all variants give a figure so precisely. How many that takes
    depends on the figures alone, not on the pool.

    `progress` is called after each run with the number of runs done. `pool`: where the runs are done, by default in
    this process; it is closed at the end. `stop`: object to stop early; the variants returned then have the seeds
    that all of them were run with, which may be none. `folder`: where the result of each run is kept; runs whose
    results are there are not repeated.

    Raises BadScenario if the file or an override is invalid, ValueError if there are no variants or no seeds, OSError
    if a result cannot be written.
    """
    if seeds < 1:
        raise ValueError(f"invalid seeds={seeds}: give at least one")
    if not variants:
        raise ValueError("no variants to run: give at least one")
    # Read all before running any, so that an error in the last one is found at once.
    scenarios = [absolute(Scenario.load(file, overrides)) for overrides in variants.values()]
    most = seeds if until is None else max(seeds, until.most)
    jobs = [_Job(scenario, scenario.seed + number) for number in range(most) for scenario in scenarios]
    pool = pool or InThisProcess()
    results = None if folder is None else Results(folder, VariantRun)
    if results is not None:
        pool = KnownFirst(pool, lambda job: results.load(*job))
    done = _Done(len(scenarios))
    with closing(run_all(_run, jobs, pool, broken=_broken, stop=stop)) as runs:
        for place, run in runs:
            enough = done.add(place, run, seeds, until)
            if results is not None:
                results.save(*jobs[place], run)
            progress(len(done.runs))
            if enough:
                break
    return [
        Variant(name, overrides, tuple(runs))
        for (name, overrides), runs in zip(variants.items(), done.by_variant(), strict=True)
    ]


class _Done:
    """The runs that are done, by their places: the seeds come one after the other, each with all variants."""

    def __init__(self, width: int) -> None:
        self.width = width
        self.runs: dict[int, VariantRun] = {}
        self.first_seeds = 0  # which all variants have been run with
        self.wanted: int | None = None

    def add(self, place: int, run: VariantRun, seeds: int, until: Precision | None) -> bool:
        """Add a run. Returns whether the first seeds, at least `seeds` of them, are as precise as wanted."""
        self.runs[place] = run
        while self._has(self.first_seeds):
            self.first_seeds += 1
            if until is not None and self.first_seeds >= seeds:
                self.wanted = self.first_seeds
                if until.is_met(self.by_variant()):
                    return True
        self.wanted = None
        return False

    def by_variant(self) -> list[list[VariantRun]]:
        """Return the runs of each variant with the seeds that all have been run with: the wanted ones of them."""
        wanted = max(self.runs, default=-1) // self.width + 1 if self.wanted is None else self.wanted
        seeds = [seed for seed in range(wanted) if self._has(seed)]
        return [[self.runs[seed * self.width + each] for seed in seeds] for each in range(self.width)]

    def _has(self, seed: int) -> bool:
        return all(seed * self.width + each in self.runs for each in range(self.width))


def _run(job: _Job) -> VariantRun:
    try:
        with one_at_a_time:
            run = Run(job.scenario, job.seed)
            result = run.execute()
    except ValueError:
        raise
    except Exception as error:
        return _broken(job, type(error).__name__, error_text(error))
    failures = tuple(replace(failure, story="") for failure in result.failures)
    window = result.summary.window
    notes = (*(() if window is None else (window.scope,)), *run.recorded_notes)
    return VariantRun(job.seed, result.digest, result.summary, failures, result.faults, result.warnings, notes)


def _broken(job: _Job, name: str, text: str) -> VariantRun:
    """Return the outcome of a run that ended with an error."""
    return VariantRun(job.seed, "", None, (Failure(kind="error", name=name, text=text),))


def refuse_twins(file: Path, variants: dict[str, tuple[str, ...]]) -> None:
    """Raise ValueError if two variants are the same scenario, as with the values 1 and 1.0; or BadScenario."""
    known: list[tuple[str, Scenario]] = []
    for name, overrides in variants.items():
        scenario = Scenario.load(file, overrides)
        if (twin := next((other for other, given in known if given == scenario), None)) is not None:
            raise ValueError(f"{twin!r} and {name!r} are the same scenario: leave one out")
        known.append((name, scenario))
