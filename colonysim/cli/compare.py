"""colonysim compare and colonysim sweep: one scenario under several policies, or with values varied."""

from __future__ import annotations

import csv as csv_files
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from colonysim.cli import outputs
from colonysim.cli.console import (
    FAILED,
    FINE,
    SIGNALLED,
    AsJson,
    Override,
    Strict,
    err,
    fail,
    out,
    print_table,
    refusal,
    warn,
)
from colonysim.cli.pools import Dask, ResultsFolder, Workers, pool_of, progress, say_interrupted, stopped_by_signals
from colonysim.core.wording import NOT_MEASURED, show_count, show_list

if TYPE_CHECKING:
    from colonysim.experiments.compare import Precision, Variant
    from colonysim.experiments.parallel import WorkerPool
    from colonysim.statistics.intervals import Interval
    from colonysim.statistics.several import Correction

File = Annotated[Path, typer.Argument(help="A scenario.")]
Seeds = Annotated[int, typer.Option(min=1, max=1_000_000, help="Number of seeds, from the scenario's own on.")]
Plot = Annotated[Path | None, typer.Option(metavar="FILE", help="Plot the figures (SVG).")]
ReportFile = Annotated[
    Path | None, typer.Option("--report", metavar="FILE", help="Write an HTML page with figures, plots and failures.")
]
Until = Annotated[
    str | None,
    typer.Option("--until-half-width", metavar="SHARE", help="Run more seeds until a figure is known so well: 5%."),
]
UntilFigure = Annotated[
    str | None, typer.Option("--until-figure", metavar="FIGURE", help="That figure, by default: waiting, mean (s).")
]
MaxSeeds = Annotated[
    int | None, typer.Option(min=2, max=1_000_000, help="The most seeds with --until-half-width, by default 100.")
]
Corrected = Annotated[
    str, typer.Option("--correction", help="Of two stars, for several comparisons: holm, bonferroni or none.")
]
Csv = Annotated[Path | None, typer.Option(metavar="FILE", help="Write a line for each variant and seed.")]


def compare(
    file: File,
    policy: Annotated[
        str, typer.Option(help="Policies to compare; the others are compared with the first one.")
    ] = "reference,deadline,fair,shortest",
    seeds: Seeds = 10,
    until_half_width: Until = None,
    until_figure: UntilFigure = None,
    max_seeds: MaxSeeds = None,
    correction: Corrected = "holm",
    workers: Workers = None,
    dask: Dask = None,
    results: ResultsFolder = None,
    override: Override = None,
    plot: Plot = None,
    report: ReportFile = None,
    csv: Csv = None,
    strict: Strict = False,
    as_json: AsJson = False,
) -> None:
    """Compare policies under the same seeds: figures, and differences seed by seed with 95 % confidence intervals.

    Exit codes: 0 no run failed, 1 some failed, 2 the scenario or an option is invalid.
    """
    from colonysim.experiments.grids import points_of

    try:
        names = points_of(policy)
    except ValueError as error:
        fail(f"--policy {error}")
    if len(names) < 2:
        fail("name at least two policies, such as --policy reference,fair")
    common = tuple(override or ())
    _refuse_varied(common, ["settings.policy"], "--policy")
    outputs.require([file], {"--plot": plot, "--report": report, "--csv": csv})
    policies = {name: (*common, f"settings.policy={name}") for name in names}
    wanted = _wanted(until_half_width, until_figure, max_seeds, seeds, correction)
    variants, signals = _run(file, policies, seeds, pool_of(workers, dask), results, wanted, quiet=as_json)
    if as_json:
        _as_json(variants, wanted)
    else:
        _print_figures(variants, "policy")
        _print_differences(variants, wanted)
    title = f"{file.stem}: policies {', '.join(policies)}"
    _write_files(variants, title, {"plot": plot, "report": report, "csv": csv}, wanted, differences=True)
    failed = _conclude(variants, wanted, strict, as_json)
    _end_early(signals)
    raise typer.Exit(FAILED if failed else FINE)


def sweep(
    file: File,
    vary: Annotated[
        list[str],
        typer.Option(
            metavar="PATH=VALUES",
            help="1..64 doubles, 10..50:10 steps, or a list: 1,2,3. Given several times: all combinations.",
        ),
    ],
    seeds: Seeds = 5,
    until_half_width: Until = None,
    until_figure: UntilFigure = None,
    max_seeds: MaxSeeds = None,
    correction: Corrected = "holm",
    workers: Workers = None,
    dask: Dask = None,
    results: ResultsFolder = None,
    override: Override = None,
    plot: Plot = None,
    report: ReportFile = None,
    csv: Csv = None,
    strict: Strict = False,
    as_json: AsJson = False,
) -> None:
    """Run a scenario with values varied under the same seeds, for example with more executors.

    Exit codes: 0 no run failed, 1 some failed, 2 the scenario or an option is invalid.
    """
    from colonysim.experiments.grids import grid

    try:
        varied = grid(vary)
    except ValueError as error:
        fail(str(error))
    common = tuple(override or ())
    _refuse_varied(common, [text.partition("=")[0] for text in vary], "--vary")
    outputs.require([file], {"--plot": plot, "--report": report, "--csv": csv})
    all_of_them = {name: (*common, *own) for name, own in varied.items()}
    wanted = _wanted(until_half_width, until_figure, max_seeds, seeds, correction)
    variants, signals = _run(file, all_of_them, seeds, pool_of(workers, dask), results, wanted, quiet=as_json)
    if as_json:
        _as_json(variants, wanted)
    else:
        paths = " ".join(text.partition("=")[0] for text in vary)
        _print_figures(variants, paths)
        _print_differences(variants, wanted, paths)
    title = f"{file.stem}: {' '.join(vary)}"
    _write_files(variants, title, {"plot": plot, "report": report, "csv": csv}, wanted, differences=False)
    failed = _conclude(variants, wanted, strict, as_json)
    _end_early(signals)
    raise typer.Exit(FAILED if failed else FINE)


class StatisticOptions(NamedTuple):
    """What is wanted of the statistics."""

    precision: Precision | None
    correction: Correction


def _wanted(share: str | None, figure: str | None, most: int | None, seeds: int, correction: str) -> StatisticOptions:
    """Read the options about precision and corrections. Exits with code 2 if one is invalid."""
    from colonysim.experiments.compare import WAITING, Precision
    from colonysim.statistics.several import CORRECTIONS

    known = next((one for one in CORRECTIONS if one == correction), None)
    if known is None:
        fail(f"--correction {correction}: choose one of {', '.join(CORRECTIONS)}")
    if share is None:
        for option, value in (("--until-figure", figure), ("--max-seeds", most)):
            if value is not None:
                fail(f"{option} has no effect without --until-half-width")
        return StatisticOptions(None, known)
    try:
        half_width = float(share.removesuffix("%")) / (100 if share.endswith("%") else 1)
    except ValueError:
        fail(f"--until-half-width {share}: give a share of the mean, such as 5% or 0.05")
    try:
        precision = Precision(share=half_width, figure=figure or WAITING, most=most or max(seeds, 100))
    except ValueError as error:
        fail(f"--until-half-width: {error}")
    if precision.most < seeds:
        fail(f"--max-seeds {most} is less than --seeds {seeds}, the number of seeds to begin with")
    return StatisticOptions(precision, known)


def _write_files(
    variants: list[Variant], title: str, files: dict[str, Path | None], wanted: StatisticOptions, *, differences: bool
) -> None:
    """Write the plot, the report and the CSV file, where they are asked for."""
    from colonysim.experiments.pages import comparison_page
    from colonysim.experiments.plot import flat_figures, panels_of, svg

    if (path := files["plot"]) is not None:
        outputs.write(path, svg(panels_of(variants, differences)))
        if flat := flat_figures(variants, differences):
            err.print(f"not plotted, because all values are 0: {show_list(flat, len(flat))}")
    if (path := files["report"]) is not None:
        command = shlex.join(["colonysim", *sys.argv[1:]])
        page = comparison_page(
            variants, title, command, differences=differences, correction=wanted.correction, precision=wanted.precision
        )
        outputs.write(path, page)
    if (path := files["csv"]) is not None:
        _write_csv(variants, path)
        err.print(f"written  {path}")


def _conclude(variants: list[Variant], wanted: StatisticOptions, strict: bool, as_json: bool) -> bool:
    """Print failures and warnings. Returns whether the command has failed: if there are any (warnings: if `strict`)."""
    from colonysim.experiments.compare import no_chance, reached, warnings_of

    warnings: list[object] = [*warnings_of(variants)]
    if wanted.precision is not None:
        precision = reached(variants, wanted.precision)
        if not precision.met:
            warnings.append(precision)
        elif not as_json:
            out.print(str(precision))
    failed = [variant for variant in variants if variant.failed]
    if not as_json:
        _print_notes(variants)
        if no_chance(variants):
            out.print("no chance in this scenario: all seeds gave the same figures, so one seed is enough")
        for warning in warnings:
            warn(str(warning))
        for variant in failed:
            first = variant.failed[0]
            out.print(
                f"FAILED {variant.name}: {len(variant.failed)} of {show_count(len(variant.runs), 'run')}, "
                f"seed {first.seed} ({first.failures[0].kind}) {first.failures[0].text}",
                style="red",
            )
    return bool(failed or (strict and warnings))


# ---------------------------------------------------------------- running
def _refuse_varied(overrides: tuple[str, ...], paths: list[str], option: str) -> None:
    """Exit with code 2 if --set gives a value that each variant replaces."""
    for text in overrides:
        if text.partition("=")[0] in paths:
            fail(f"--set {text} has no effect: {option} replaces it; leave one of them out")


def _run(
    file: Path,
    variants: dict[str, tuple[str, ...]],
    seeds: int,
    pool: WorkerPool,
    results: Path | None,
    wanted: StatisticOptions,
    *,
    quiet: bool,
) -> tuple[list[Variant], list[int]]:
    """Run all variants, and return them with the signals that stopped them early. Exits if no seed was finished."""
    from colonysim.experiments.compare import refuse_twins, run_variants

    until = wanted.precision
    total = len(variants) * (seeds if until is None else until.most)
    try:
        refuse_twins(file, variants)
        with stopped_by_signals() as (stop, signals), progress("runs", total, quiet) as update:
            done = run_variants(file, variants, seeds, lambda count: update(count, ""), pool, stop, results, until)
    except (OSError, ValueError) as error:
        fail(refusal(error, file))
    if signals:
        finished = len(done[0].runs)
        say_interrupted(signals, finished, seeds)
        if not finished:
            _end_early(signals)
    return done, signals


def _end_early(signals: list[int]) -> None:
    """Exit with the code of the signal that stopped the runs early, if one did."""
    if signals:
        raise typer.Exit(SIGNALLED + signals[0])


# ---------------------------------------------------------------- printing
def _print_figures(variants: list[Variant], title: str) -> None:
    from colonysim.experiments.compare import FIGURES, MARK, title_of

    what = f"means of {show_count(len(variants[0].runs), 'seed')} ± 95 %; n/a: nothing to measure"
    if any(variant.partial for variant in variants):
        what += f"; {MARK} not comparable: some of its runs did not finish"
    rows = []
    for variant in variants:
        failed = len(variant.failed)
        runs = f"{failed} of {len(variant.runs)} FAILED" if failed else f"{len(variant.runs)} ok"
        rows.append((variant.name, runs, *(_figure(variant, figure) for figure in FIGURES)))
    print_table((title, "runs", *map(title_of, FIGURES)), rows, what)


def _figure(variant: Variant, figure: str) -> str:
    """Format a figure of a variant, with the number of seeds that have it if not all do, and with the mark if due."""
    from colonysim.experiments.compare import MARK

    known = sum(value is not None for value in variant.values(figure))
    part = f" ({known} of {len(variant.runs)})" if 0 < known < len(variant.runs) else ""
    return _shown(variant.interval(figure), figure) + part + (f"\u00a0{MARK}" if variant.partial else "")


def _shown(interval: Interval | None, figure: str) -> str:
    from colonysim.experiments.compare import text_of

    return NOT_MEASURED if interval is None else text_of(interval, figure)


def _print_differences(variants: list[Variant], wanted: StatisticOptions, varied: str = "") -> None:
    """Print the differences to the first variant. `varied`: the paths, if each variant has a row and not a column."""
    from colonysim.experiments.compare import FIGURES, differences_of, title_of

    first, *others = variants
    if not others:
        return
    made = differences_of(variants, wanted.correction)
    cells = {
        (other.name, figure): f"{_shown(one.interval, figure)} {one.stars:2}"
        for other in others
        for figure, one in made.by_variant[other.name].items()
    }
    title = f"difference to {first.name}, seed by seed ± 95 %; {made}"
    out.print()
    if varied:
        rows = [(other.name, *(cells[other.name, figure] for figure in FIGURES)) for other in others]
        print_table((varied, *map(title_of, FIGURES)), rows, title)
    else:
        rows = [(title_of(figure), *(cells[other.name, figure] for other in others)) for figure in FIGURES]
        print_table(("", *(other.name for other in others)), rows, title)


def _print_notes(variants: list[Variant]) -> None:
    """Print the notes on the traces, each once."""
    for note in dict.fromkeys(note for variant in variants for note in variant.notes):
        out.print(f"note  {note}")


def _as_json(variants: list[Variant], wanted: StatisticOptions) -> None:
    import msgspec

    from colonysim.experiments.compare import FIGURES, differences_of, no_chance, reached, warnings_of

    made = differences_of(variants, wanted.correction)
    precision = None if wanted.precision is None else reached(variants, wanted.precision)

    warnings = warnings_of(variants)
    rows: list[dict[str, Any]] = [
        {
            "name": variant.name,
            "overrides": variant.overrides,
            "ok": not variant.failed,
            "failed": len(variant.failed),
            "partial": variant.partial,
            "unfinished": sum(run.unfinished for run in variant.runs),
            "chance": not no_chance([variant]),
            "figures": {figure: variant.interval(figure) for figure in FIGURES},
            "differences": made.by_variant.get(variant.name),
            "comparisons": made.comparisons,
            "correction": made.correction,
            "precision": precision,
            "notes": variant.notes,
            "warnings": [one for one in warnings if one.kind == "variant" and one.name == variant.name],
            "summaries": variant.summaries,
            "runs": variant.runs,
        }
        for variant in variants
    ]
    print(msgspec.json.encode(rows).decode())


def _write_csv(variants: list[Variant], path: Path) -> None:
    """Write a line for each run; a figure without a value is empty."""
    from colonysim.experiments.compare import FIGURES

    try:
        with path.open("w", encoding="utf-8", newline="") as stream:
            writer = csv_files.writer(stream, lineterminator="\n")
            writer.writerow(["variant", "seed", "ok", "failures", "unfinished", *FIGURES])
            for variant in variants:
                for run in variant.runs:
                    failures = "; ".join(f"{one.kind}: {one.name}" for one in run.failures)
                    figures = [run.figure(figure) for figure in FIGURES]
                    ok = "no" if run.failures else "yes"
                    writer.writerow([variant.name, run.seed, ok, failures, run.unfinished, *figures])
    except OSError as error:
        fail(f"{path}: cannot be written: {error.strerror or error}", FAILED)
