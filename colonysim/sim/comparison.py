"""Runs of one scenario side by side: the same seeds under other settings, and what difference that makes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import sqrt
from pathlib import Path
from statistics import fmean, stdev
from typing import Final

import msgspec

from colonysim.sim.metrics import Summary
from colonysim.sim.program_code import Surroundings
from colonysim.sim.scenario import Scenario
from colonysim.sim.scenario_runner import Run

FIGURES: Final[dict[str, Callable[[Summary], float]]] = {
    "waiting, mean (s)": lambda s: s.waiting_s.mean or 0.0,
    "waiting, p95 (s)": lambda s: s.waiting_s.p95 or 0.0,
    "turnaround, mean (s)": lambda s: s.turnaround_s.mean or 0.0,
    "bounded slowdown, mean": lambda s: s.bounded_slowdown.mean or 0.0,
    "deadline misses": lambda s: float(s.deadline_misses),
    "succeeded": lambda s: float(s.succeeded),
    "utilisation": lambda s: s.utilisation,
    "makespan (s)": lambda s: s.makespan_s,
}
"""The figures that are compared, from the summary of a run; 0 where there was nothing to measure."""

# The 97.5 % quantiles of Student's distribution for 1 to 30 degrees of freedom.
_STUDENT: Final = (
    12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228,
    2.201, 2.179, 2.160, 2.145, 2.131, 2.120, 2.110, 2.101, 2.093, 2.086,
    2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042,
)  # fmt: skip
_FURTHER: Final = ((40, 2.021), (60, 2.000), (120, 1.980))


class Interval(msgspec.Struct, frozen=True):
    """A mean and how far it may be off on either side, with 95 % confidence; None for a single value."""

    mean: float
    half_width: float | None

    @property
    def clear(self) -> bool:
        """Whether zero lies outside."""
        return self.half_width is not None and abs(self.mean) > self.half_width

    def __str__(self) -> str:
        mean = show(self.mean)
        return mean if self.half_width is None else f"{mean} ± {show(self.half_width)}"


class Variant(msgspec.Struct, frozen=True):
    """One way to run a scenario: what is changed in it, the summary for each seed, and notes on its traces."""

    name: str
    overrides: tuple[str, ...]
    summaries: tuple[Summary, ...]
    notes: tuple[str, ...] = ()

    def values(self, figure: str) -> list[float]:
        return [FIGURES[figure](summary) for summary in self.summaries]

    def interval(self, figure: str) -> Interval:
        return interval_of(self.values(figure))

    def against(self, other: Variant, figure: str) -> Interval:
        """How much more than the other's, seed by seed: what both seeds have in common falls out."""
        pairs = zip(self.values(figure), other.values(figure), strict=True)
        return interval_of([ours - theirs for ours, theirs in pairs])


def interval_of(values: Sequence[float]) -> Interval:
    """The mean of independent values with its 95 % confidence interval by Student's distribution."""
    if len(values) < 2:
        return Interval(fmean(values), None)
    return Interval(fmean(values), student(len(values) - 1) * stdev(values) / sqrt(len(values)))


def student(degrees: int) -> float:
    """The 97.5 % quantile, never too small: for degrees in between it is that of the next fewer known."""
    if degrees <= len(_STUDENT):
        return _STUDENT[degrees - 1]
    known = [quantile for limit, quantile in _FURTHER if limit <= degrees]
    return known[-1] if known else _STUDENT[-1]


def run_variants(
    file: Path,
    variants: dict[str, tuple[str, ...]],
    seeds: int,
    told: Callable[[str, int], None] = lambda name, seed: None,
    surroundings: Surroundings | None = None,
) -> list[Variant]:
    """Run a scenario under each variant's overrides with so many seeds, from the scenario's own on.

    `surroundings` are for programs, as in Run.

    Errors: BadScenario for a file or an override that is none, ValueError for fewer than one seed.
    """
    if seeds < 1:
        raise ValueError("give at least one seed")
    # All are read before any is run: a mistake in the last one shows at once.
    scenarios = {name: Scenario.load(file, overrides) for name, overrides in variants.items()}
    summaries: dict[str, list[Summary]] = {name: [] for name in variants}
    notes: dict[str, tuple[str, ...]] = {}
    for number in range(seeds):
        for name, scenario in scenarios.items():
            told(name, number)
            run = Run(scenario, scenario.seed + number, surroundings=surroundings)
            summaries[name].append(run.execute().summary)
            notes[name] = run.recorded_notes
    return [Variant(name, variants[name], tuple(runs), notes[name]) for name, runs in summaries.items()]


def points_of(text: str) -> list[str]:
    """The values of `a,b,c`, of `1..64` (doubled from step to step) or of `1..64:4` (in steps of 4).

    Errors: ValueError with an example.
    """
    if ".." not in text:
        values = [part.strip() for part in text.split(",")]
        if all(values):
            return values
        raise ValueError(f"{text!r} has an empty value; write values like 1,2,4 or 1..64 or 10..50:10")
    first, _, rest = text.partition("..")
    last, _, step = rest.partition(":")
    try:
        low, high, stride = int(first), int(last), int(step) if step else 0
    except ValueError:
        raise ValueError(f"{text!r} is no range; write one like 1..64 or 10..50:10") from None
    if low < 1 or high < low or stride < 0 or (step and not stride):
        raise ValueError(f"{text!r} is no range of whole numbers from 1 on; write one like 1..64 or 10..50:10")
    numbers = [low]
    while numbers[-1] < high:
        numbers.append(min(high, numbers[-1] + (stride or numbers[-1])))
    return [str(number) for number in numbers]


def show(value: float) -> str:
    """A figure for people, to four digits."""
    if value == 0 or abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.4g}"
