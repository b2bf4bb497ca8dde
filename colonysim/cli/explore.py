"""colonysim explore and colonysim shrink: find seeds that fail, and make a failing scenario smaller."""

from __future__ import annotations

import shlex
import time
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import typer

from colonysim.cli import outputs
from colonysim.cli.console import (
    SIGNALLED,
    AsJson,
    Override,
    Strict,
    fail,
    load,
    out,
    print_table,
    refusal,
    refuse_idle,
    refuse_long_seeds,
    repeats,
    warn,
)
from colonysim.cli.pools import Dask, ResultsFolder, Workers, pool_of, progress, say_interrupted, stopped_by_signals
from colonysim.core.wording import show_count, show_list, show_seconds, show_times

if TYPE_CHECKING:
    from colonysim.experiments.exploration import Outcome, Overview
    from colonysim.experiments.parallel import WorkerPool
    from colonysim.experiments.shrinker import Shrunk
    from colonysim.scenarios.scenario import Scenario

_SHOWN = 8
_SHRINK_RUNS = 500
_MOST_SEEDS = 1_000_000_000
_MOST_RUNS = 1_000_000

File = Annotated[Path, typer.Argument(metavar="FILE", help="A scenario.")]
To = Annotated[
    Path | None,
    typer.Option("--shrunk", metavar="OUT.YAML", help="File for the shrunk scenario; by default beside FILE."),
]
Runs = Annotated[
    int | None,
    typer.Option("--shrink-runs", min=1, max=_MOST_RUNS, help=f"Most runs for shrinking; by default {_SHRINK_RUNS}."),
]


def explore(
    file: File,
    seeds: Annotated[int, typer.Option(min=1, max=_MOST_SEEDS, help="How many seeds to run.")] = 100,
    workers: Workers = None,
    from_seed: Annotated[int | None, typer.Option(help="First seed; by default the scenario's own.")] = None,
    stop_at_first: Annotated[bool, typer.Option("--stop-at-first", help="Stop at the first seed that fails.")] = False,
    dask: Dask = None,
    results: ResultsFolder = None,
    overrides: Override = None,
    no_shrink: Annotated[bool, typer.Option("--no-shrink", help="Do not shrink the first seed that fails.")] = False,
    shrunk: To = None,
    shrink_runs: Runs = None,
    report: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write an HTML page with the seeds that failed, and why.")
    ] = None,
    strict: Strict = False,
    as_json: AsJson = False,
) -> None:
    """Run a scenario with many seeds, and shrink the first that fails. Exit codes: 0 none failed, 1 some failed."""
    from colonysim.experiments.exploration import overview

    if no_shrink:
        refuse_idle("--no-shrink", {"--shrunk": shrunk, "--shrink-runs": shrink_runs})
    scenario = load(file, overrides)
    outputs.require([file], {"--shrunk": shrunk, "--report": report})
    first = scenario.seed if from_seed is None else from_seed
    refuse_long_seeds(first, seeds)
    outcomes, signals = _sweep(
        file, scenario, range(first, first + seeds), pool_of(workers, dask), stop_at_first, results
    )
    view, complete = overview(outcomes, stop_at_first), not signals
    answer: dict[str, Any] = {"scenario": scenario.name, "complete": complete, **msgspec.to_builtins(view)}
    if not as_json:
        _show(view, seeds)
    if view.failed:
        answer["command"] = command = shlex.join(repeats(file, view.failed[0], overrides))
        if not as_json:
            _show_first(view, command)
        if complete and not no_shrink:
            answer["shrunk"] = _shrink(
                scenario, view.failed[0], _beside(file, view.failed[0], shrunk), shrink_runs or _SHRINK_RUNS, as_json
            )
    if report is not None:
        from colonysim.experiments.pages import exploration_page

        title = f"{scenario.name}: {show_count(view.seeds, 'seed')}"
        outputs.write(report, exploration_page(view, title, str(answer.get("command", ""))))
    if as_json:
        print(msgspec.json.encode(answer).decode())
    if not complete:
        raise typer.Exit(SIGNALLED + signals[0])
    if view.failed or (strict and view.warnings):
        raise typer.Exit(1)


def shrink(
    file: File,
    seed: Annotated[int | None, typer.Option(help="The seed that fails; by default the scenario's own.")] = None,
    overrides: Override = None,
    shrunk: To = None,
    shrink_runs: Runs = None,
    as_json: AsJson = False,
) -> None:
    """Shrink a scenario that fails with a seed to the fewest faults, executors and processes that still fail so."""
    scenario = load(file, overrides)
    chosen = scenario.seed if seed is None else seed
    refuse_long_seeds(chosen)
    to = _beside(file, chosen, shrunk)
    outputs.require([file], {"--shrunk": to})
    answer = _shrink(scenario, chosen, to, shrink_runs or _SHRINK_RUNS, as_json)
    if as_json:
        print(msgspec.json.encode(answer).decode())


# ---------------------------------------------------------------- exploring
def _sweep(
    file: Path, scenario: Scenario, seeds: range, pool: WorkerPool, stop_at_first: bool, results: Path | None
) -> tuple[list[Outcome], list[int]]:
    """Run the seeds, and return the outcomes so far and the signals that stopped the exploration early."""
    from colonysim.experiments.exploration import explore as explored

    outcomes: list[Outcome] = []
    try:
        with (
            stopped_by_signals() as (stop, signals),
            progress("seeds", len(seeds)) as update,
            closing(explored(scenario, seeds, pool, stop_at_first, stop, results)) as coming,
        ):
            for outcome in coming:
                outcomes.append(outcome)
                update(len(outcomes), f"{sum(not one.ok for one in outcomes)} failed")
    except (ValueError, OSError) as error:  # OSError: for example, the working directory was removed
        fail(refusal(error, file))
    if signals:
        say_interrupted(signals, len(outcomes), len(seeds))
    return outcomes, signals


def _show(view: Overview, wanted: int) -> None:
    seeds = show_count(wanted, "seed")
    seeds = seeds if view.seeds == wanted else f"{view.seeds:,} of {seeds}"
    histories = show_count(view.digests, "different history", "different histories")
    out.print(f"{seeds}, {len(view.failed):,} failed, {histories}")
    if view.failures:
        seeds_of = {name: [str(one.seed) for one in view.outcomes if name in one.failed_as] for name in view.failures}
        rows = [(name, f"{count:,}", show_list(seeds_of[name], _SHOWN)) for name, count in view.failures.items()]
        print_table(("failure", "seeds", "which"), rows)
    if view.faults:
        faults = [
            (name, show_times(counted.count), f"{counted.seeds:,} of {view.seeds:,}")
            for name, counted in view.faults.items()
        ]
        print_table(("fault", "struck", "under seeds"), faults)
    for note in view.notes:
        out.print(f"note  {note}")
    for warning in view.warnings:
        warn(str(warning))
    by_seed = {outcome.seed: outcome for outcome in view.outcomes}
    slowest = ", ".join(f"{seed} ({show_seconds(by_seed[seed].real_s)})" for seed in view.slowest)
    out.print(f"slowest seeds: {slowest or 'none'}")


def _show_first(view: Overview, command: str) -> None:
    outcome = next(outcome for outcome in view.outcomes if not outcome.ok)
    for failure in outcome.failures:
        out.print(f"seed {outcome.seed}, {failure.kind}: {failure.text}", style="red")
    if outcome.faults:
        struck = [f"{name} {show_times(count)}" for name, count in outcome.faults.items() if count]
        out.print(f"faults that struck under seed {outcome.seed}: {show_list(struck, 20)}")
    out.print(f"digest {outcome.digest or 'none'}; repeat with:\n  {command}")


# ---------------------------------------------------------------- shrinking
def _beside(file: Path, seed: int, given: Path | None) -> Path:
    return given or file.with_name(f"{file.stem}-seed-{seed}.yaml")


def _shrink(scenario: Scenario, seed: int, to: Path, runs: int, as_json: bool) -> dict[str, Any]:
    """Shrink a scenario, write the result to a file, and print the command that runs it."""
    from colonysim.experiments.shrinker import CannotShrink
    from colonysim.experiments.shrinker import shrink as shrunk

    began = time.monotonic()
    try:
        with progress("shrinking", runs) as update:
            small = shrunk(scenario, seed, limit=runs, progress=lambda done, size: update(done, str(size)))
        _write(small, to)
    except CannotShrink as error:
        fail(str(error), 1)
    except (ValueError, OSError) as error:
        fail(f"{to}: {error}" if isinstance(error, OSError) else str(error))
    command = shlex.join(repeats(to, seed))
    if not as_json:
        end = "" if small.complete else f", stopped at --shrink-runs={runs}: it may become smaller with more runs"
        end = ", interrupted: it may become smaller with more runs" if small.interrupted else end
        out.print(f"shrunk in {show_count(small.runs, 'run')} and {show_seconds(time.monotonic() - began)}{end}:")
        out.print(f"  from {small.before}\n  to   {small.after}\n  {small.failure.kind}: {small.failure.text}")
        out.print(f"digest {small.digest or 'none'}; repeat with:\n  {command}")
    return {
        "file": str(to),
        "command": command,
        "seed": seed,
        "digest": small.digest,
        "failure": small.failure,
        "before": small.before,
        "after": small.after,
        "runs": small.runs,
        "complete": small.complete,
        "interrupted": small.interrupted,
    }


def _write(small: Shrunk, to: Path) -> None:
    from colonysim.scenarios import writer

    text = small.failure.text.replace("\n", " ")
    comment = (
        f"Fails with seed {small.seed}, {small.failure.kind}: {text}\nShrunk to {small.after} from {small.before}."
    )
    to.write_text(writer.as_text(small.scenario, to.parent, comment), encoding="utf-8")
