"""Compare variants of a scenario: run each with the same seeds, and compute differences with confidence intervals."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing
from itertools import product
from math import prod, sqrt
from pathlib import Path
from statistics import fmean, stdev
from typing import Final, NamedTuple

import msgspec
from msgspec.structs import replace

from colonysim.core.wording import show_interval, time_unit
from colonysim.experiments.exploration import absolute, error_text
from colonysim.experiments.parallel import InThisProcess, KnownFirst, Stop, WorkerPool, one_at_a_time, run_all
from colonysim.experiments.results import Results
from colonysim.reports.metrics import Summary
from colonysim.scenarios.result import Failure
from colonysim.scenarios.runner import Run
from colonysim.scenarios.scenario import Scenario
from colonysim.scenarios.vacuity import FaultCount
from colonysim.scenarios.warnings import RunWarning

FIGURES: Final[dict[str, Callable[[Summary], float | None]]] = {
    "waiting, mean (s)": lambda s: s.waiting_s.mean,
    "waiting, p95 (s)": lambda s: s.waiting_s.p95,
    "turnaround, mean (s)": lambda s: s.turnaround_s.mean,
    "bounded slowdown, mean": lambda s: s.bounded_slowdown.mean,
    "deadline misses": lambda s: float(s.deadline_misses) if s.submitted else None,
    "succeeded": lambda s: float(s.succeeded) if s.submitted else None,
    "utilisation": lambda s: s.utilisation,
    "makespan (s)": lambda s: s.makespan_s,
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

MARK: Final = "!"
"""Marks the figures of variants with unfinished runs, which cover only a part of the work."""

MOST_VARIANTS: Final = 1_000
"""The most combinations of values in a sweep."""

# The 97.5 % quantiles of Student's t distribution for 1 to 30 degrees of freedom.
_STUDENT: Final = (
    12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228,
    2.201, 2.179, 2.160, 2.145, 2.131, 2.120, 2.110, 2.101, 2.093, 2.086,
    2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042,
)  # fmt: skip
_FURTHER: Final = ((40, 2.021), (60, 2.000), (120, 1.980))


class Interval(msgspec.Struct, frozen=True):
    """A mean with the half width of its 95 % confidence interval, which is None for a single value.

    A half width of 0 means that all seeds gave the same value.
    """

    mean: float
    half_width: float | None

    @property
    def clear(self) -> bool:
        """Whether the interval excludes zero. False if all values are equal: they say nothing about other seeds."""
        return bool(self.half_width) and abs(self.mean) > (self.half_width or 0.0)

    def __str__(self) -> str:
        return show_interval(self.mean, self.half_width)

    def of(self, figure: str) -> str:
        """Format it as an interval of a figure (a key of FIGURES), in the unit that suits its size."""
        size, half_width = abs(self.mean), self.half_width or 0.0
        unit, name = unit_of(figure, size if size * _WIDEST > half_width else half_width)
        return show_interval(self.mean, self.half_width, unit, name)


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
        pairs = zip(self.values(figure), other.values(figure), strict=True)
        return _interval([None if ours is None or theirs is None else ours - theirs for ours, theirs in pairs])


def _interval(values: Sequence[float | None]) -> Interval | None:
    known = [value for value in values if value is not None]
    return interval_of(known) if known else None


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


def interval_of(values: Sequence[float]) -> Interval:
    """Return the mean of independent values with its 95 % confidence interval by Student's t distribution."""
    if len(values) < 2:
        return Interval(fmean(values), None)
    return Interval(fmean(values), student(len(values) - 1) * stdev(values) / sqrt(len(values)))


def student(degrees: int) -> float:
    """Return the 97.5 % quantile of Student's t distribution for these degrees of freedom.

    Between entries of the table it takes the entry with fewer degrees of freedom, so intervals are never too narrow.
    """
    if degrees <= len(_STUDENT):
        return _STUDENT[degrees - 1]
    known = [quantile for limit, quantile in _FURTHER if limit <= degrees]
    return known[-1] if known else _STUDENT[-1]


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
) -> list[Variant]:
    """Run a scenario with the overrides of each variant and `seeds` seeds, from the scenario's own on.

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
    jobs = [_Job(scenario, scenario.seed + number) for number in range(seeds) for scenario in scenarios]
    pool = pool or InThisProcess()
    results = None if folder is None else Results(folder, VariantRun)
    if results is not None:
        pool = KnownFirst(pool, lambda job: results.load(*job))
    done: dict[int, VariantRun] = {}
    with closing(run_all(_run, jobs, pool, broken=_broken, stop=stop)) as runs:
        for place, run in runs:
            done[place] = run
            if results is not None:
                results.save(*jobs[place], run)
            progress(len(done))
    width = len(scenarios)
    whole = [first for first in range(0, len(jobs), width) if all(first + each in done for each in range(width))]
    return [
        Variant(name, overrides, tuple(done[first + each] for first in whole))
        for each, (name, overrides) in enumerate(variants.items())
    ]


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
    return VariantRun(
        job.seed, result.digest, result.summary, failures, result.faults, result.warnings, run.recorded_notes
    )


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


def grid(texts: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Return the overrides of all combinations of `PATH=VALUES` texts, by name; the last path changes fastest.

    With one path, the name is the value; with several, it is all overrides: `executors.0.count=2
    settings.policy=fair`. Raises ValueError if a text is malformed, a path or value is given twice, or there are more
    than MOST_VARIANTS combinations.
    """
    axes: dict[str, list[str]] = {}
    for text in texts:
        path, equals, values = (part.strip() for part in text.partition("="))
        if not equals or not path:
            raise ValueError(f"--vary takes PATH=VALUES, such as executors.0.count=1..64, not {text!r}")
        if path in axes:
            raise ValueError(f"--vary {path} is given twice: list all of its values in one")
        axes[path] = points_of(values)
    count = prod(map(len, axes.values()))
    if count > MOST_VARIANTS:
        sizes = " x ".join(str(len(points)) for points in axes.values())
        raise ValueError(f"{sizes} = {count:,} combinations are too many: {MOST_VARIANTS:,} at most; vary fewer values")
    made = {}
    for combination in product(*axes.values()):
        overrides = tuple(f"{path}={point}" for path, point in zip(axes, combination, strict=True))
        made[combination[0] if len(axes) == 1 else " ".join(overrides)] = overrides
    return made


def points_of(text: str) -> list[str]:
    """Return the values of `a,b,c`, of `1..64` (each double the last) or of `1..64:4` (in steps of 4).

    Raises ValueError, with an example, if the text is malformed or has a value twice.
    """
    if ".." not in text:
        values = [part.strip() for part in text.split(",")]
        if twice := next((value for place, value in enumerate(values) if value and value in values[:place]), None):
            raise ValueError(f"{text!r} has the value {twice} twice; write each once, such as 1,2,4")
        if all(values):
            return values
        raise ValueError(f"{text!r} has an empty value; write values like 1,2,4 or 1..64 or 10..50:10")
    first, _, rest = text.partition("..")
    last, _, step = rest.partition(":")
    try:
        low, high, stride = int(first), int(last), int(step) if step else 0
    except ValueError:
        raise ValueError(f"invalid range {text!r}: write one like 1..64 or 10..50:10") from None
    if low < 1 or high < low or stride < 0 or (step and not stride):
        raise ValueError(f"invalid range {text!r}: write one like 1..64 or 10..50:10, from 1 on")
    if stride and (high - low) // stride >= MOST_VARIANTS:
        raise ValueError(f"{text!r} has more than {MOST_VARIANTS:,} values; give a larger step, such as 10..50:10")
    numbers = [low]
    while numbers[-1] < high:
        numbers.append(min(high, numbers[-1] + (stride or numbers[-1])))
    return [str(number) for number in numbers]
