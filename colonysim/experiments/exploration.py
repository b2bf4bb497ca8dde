"""Explore a scenario: run it with many seeds in parallel, and summarise what failed under which."""

from __future__ import annotations

import traceback
from collections import Counter
from collections.abc import Generator, Iterable, Iterator
from contextlib import closing
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Final

import msgspec
from msgspec.structs import replace

from colonysim.experiments.parallel import KnownFirst, Stop, WorkerPool, one_at_a_time, run_all
from colonysim.experiments.results import Results
from colonysim.scenarios.result import Failure
from colonysim.scenarios.runner import BREAKS, Run
from colonysim.scenarios.scenario import Scenario
from colonysim.scenarios.warnings import RunWarning

_TEXT: Final = 500


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """The outcome of one seed, small enough to send between processes: `failures` come without timelines.

    `faults`: how often each enabled fault struck. `warnings`: parts that did nothing. `notes`: deviations of its
    traces from the recordings. `real_s`: real seconds that the run took.
    """

    seed: int
    digest: str = ""
    failures: tuple[Failure, ...] = ()
    faults: dict[str, int] = {}
    warnings: tuple[RunWarning, ...] = ()
    notes: tuple[str, ...] = ()
    events: int = 0
    real_s: float = 0.0

    @property
    def ok(self) -> bool:
        """Whether the run had no failures."""
        return not self.failures

    @property
    def failed_as(self) -> tuple[str, ...]:
        """The kinds and names of the failures, each once."""
        return tuple(dict.fromkeys(f"{failure.kind}: {failure.name}" for failure in self.failures))


class Struck(msgspec.Struct, frozen=True):
    """How often a fault struck in all runs together (`count`), and in how many of them (`seeds`)."""

    count: int
    seeds: int


class Overview(msgspec.Struct, frozen=True, kw_only=True):
    """Summary of the outcomes of all seeds, which are in ascending order.

    `failed`: the seeds that failed. `failures`: how many seeds failed with each kind and name of failure.
    `warnings`: parts that did nothing under any seed. `notes`: deviations of traces from the recordings.
    `digests`: number of different histories. `slowest`: up to three seeds.
    """

    seeds: int
    failed: tuple[int, ...]
    failures: dict[str, int]
    faults: dict[str, Struck]
    warnings: tuple[RunWarning, ...]
    notes: tuple[str, ...]
    digests: int
    slowest: tuple[int, ...]
    outcomes: tuple[Outcome, ...]


def run_seed(scenario: Scenario, seed: int) -> Outcome:
    """Run a scenario with one seed. Raises ValueError if the scenario cannot be run."""
    try:
        with one_at_a_time:
            run = Run(scenario, seed)
            result = run.execute()
    except ValueError:
        raise
    except Exception as error:
        return _broken(seed, type(error).__name__, error_text(error))
    failures = tuple(replace(failure, text=failure.text[:_TEXT], story="") for failure in result.failures)
    return Outcome(
        seed=seed,
        digest=result.digest,
        failures=failures,
        faults={fault.name: fault.count for fault in result.faults},
        warnings=result.warnings,
        notes=run.recorded_notes,
        events=result.cost.events,
        real_s=result.cost.real_s,
    )


def error_text(error: BaseException) -> str:
    """Return the last lines of an error's traceback."""
    return "".join(traceback.format_exception(error)[-3:]).strip()[-_TEXT:]


def _broken(seed: int, name: str, text: str) -> Outcome:
    """Return the outcome of a run that ended with an error."""
    return Outcome(seed=seed, failures=(Failure(kind="error", name=name, text=text),))


def absolute(scenario: Scenario) -> Scenario:
    """Return the scenario with an absolute folder, so that it can be run from any working directory."""
    return replace(scenario, folder=str(Path(scenario.folder).resolve()))


def overview(outcomes: Iterable[Outcome], up_to_first: bool = False) -> Overview:
    """Summarise outcomes: all, or with `up_to_first` those up to the first seed that failed."""
    listed = sorted(outcomes, key=lambda outcome: outcome.seed)
    if up_to_first:
        end = next((place for place, outcome in enumerate(listed, 1) if not outcome.ok), len(listed))
        listed = listed[:end]
    counted: Counter[str] = Counter()
    for outcome in listed:
        counted.update(outcome.failed_as)
    faults = _struck(listed)
    slowest = sorted(listed, key=lambda outcome: -outcome.real_s)[:3]
    return Overview(
        seeds=len(listed),
        failed=tuple(outcome.seed for outcome in listed if not outcome.ok),
        failures=dict(counted.most_common()),
        faults=faults,
        warnings=tuple(_idle_under_all(listed, faults)),
        notes=tuple(dict.fromkeys(note for outcome in listed for note in outcome.notes)),
        digests=len({outcome.digest for outcome in listed if outcome.digest}),
        slowest=tuple(outcome.seed for outcome in slowest),
        outcomes=tuple(listed),
    )


def _struck(outcomes: list[Outcome]) -> dict[str, Struck]:
    names = dict.fromkeys(name for outcome in outcomes for name in outcome.faults)
    counts = {name: [outcome.faults.get(name, 0) for outcome in outcomes] for name in names}
    return {name: Struck(sum(each), sum(map(bool, each))) for name, each in counts.items()}


def _idle_under_all(outcomes: list[Outcome], faults: dict[str, Struck]) -> Iterator[RunWarning]:
    """Yield a warning for each part that did nothing under any seed.

    These are faults that never struck, even if the scenario accepts that for a single seed, and the warnings that
    all runs share which were not aborted.
    """
    warnings = {(one.kind, one.name): one for outcome in outcomes for one in outcome.warnings}
    for name in (name for name, struck in faults.items() if not struck.count):
        known = warnings.get(("fault", name))
        why = known.text.partition(": ")[2] if known else "it was not drawn, or the scenario accepts that"
        text = f"fault {name!r} never struck under any of {len(outcomes)} seeds: {why}"
        yield RunWarning(kind="fault", name=name, path=known.path if known else "", text=text)
    whole = [outcome for outcome in outcomes if not any(failure.kind in BREAKS for failure in outcome.failures)]
    for key, warning in warnings.items():
        if (warning.kind != "fault" or faults[warning.name].count) and all(
            key in [(one.kind, one.name) for one in outcome.warnings] for outcome in whole
        ):
            yield warning


# ---------------------------------------------------------------- exploring
def explore(
    scenario: Scenario,
    seeds: Iterable[int],
    pool: WorkerPool,
    stop_at_first: bool = False,
    stop: Stop | None = None,
    folder: Path | None = None,
) -> Generator[Outcome, None, None]:
    """Run a scenario with many seeds, and yield each outcome as soon as its run has ended.

    `stop_at_first`: stop at the first failing seed, by the order of `seeds`. `stop`: object to stop the exploration
    early; use a new one for each exploration. Closes the pool at the end; if the caller closes this generator early,
    the pool's processes are terminated. `folder`: where the outcome of each seed is kept; seeds whose outcomes are
    there are not run again. Raises ValueError if there are no seeds or the scenario cannot be run, OSError if an
    outcome cannot be written.
    """
    coming = iter(seeds)
    first = next(coming, None)
    if first is None:
        raise ValueError("no seeds to explore: give at least one")
    scenario = absolute(scenario)
    results = None if folder is None else Results(folder, Outcome)
    if results is not None:
        pool = KnownFirst(pool, partial(results.load, scenario))
    outcomes = run_all(
        partial(run_seed, scenario),
        chain((first,), coming),
        pool,
        broken=_broken,
        is_last=(lambda outcome: not outcome.ok) if stop_at_first else (lambda outcome: False),
        stop=stop,
    )
    with closing(outcomes):
        for _, outcome in outcomes:
            if results is not None:
                results.save(scenario, outcome.seed, outcome)
            yield outcome
