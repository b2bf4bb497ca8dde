"""colonysim compare and colonysim sweep: one scenario under several policies, or with values varied."""

from __future__ import annotations

import csv as csv_files
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

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
    from colonysim.experiments.compare import Interval, Variant
    from colonysim.experiments.parallel import WorkerPool

File = Annotated[Path, typer.Argument(help="A scenario.")]
Seeds = Annotated[int, typer.Option(min=1, max=1_000_000, help="Number of seeds, from the scenario's own on.")]
Plot = Annotated[Path | None, typer.Option(metavar="FILE", help="Plot the figures (SVG).")]
ReportFile = Annotated[
    Path | None, typer.Option("--report", metavar="FILE", help="Write an HTML page with figures, plots and failures.")
]
Csv = Annotated[Path | None, typer.Option(metavar="FILE", help="Write a line for each variant and seed.")]


def compare(
    file: File,
    policy: Annotated[
        str, typer.Option(help="Policies to compare; the others are compared with the first one.")
    ] = "reference,deadline,fair,shortest",
    seeds: Seeds = 10,
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
    from colonysim.experiments.compare import points_of

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
    variants, signals = _run(file, policies, seeds, pool_of(workers, dask), results, quiet=as_json)
    if as_json:
        _as_json(variants)
    else:
        _print_differences(variants)
    title = f"{file.stem}: policies {', '.join(policies)}"
    _write_files(variants, title, {"plot": plot, "report": report, "csv": csv}, differences=True)
    failed = _conclude(variants, strict, as_json)
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
    from colonysim.experiments.compare import grid

    try:
        varied = grid(vary)
    except ValueError as error:
        fail(str(error))
    common = tuple(override or ())
    _refuse_varied(common, [text.partition("=")[0] for text in vary], "--vary")
    outputs.require([file], {"--plot": plot, "--report": report, "--csv": csv})
    all_of_them = {name: (*common, *own) for name, own in varied.items()}
    variants, signals = _run(file, all_of_them, seeds, pool_of(workers, dask), results, quiet=as_json)
    if as_json:
        _as_json(variants)
    else:
        _print_figures(variants, " ".join(text.partition("=")[0] for text in vary))
    title = f"{file.stem}: {' '.join(vary)}"
    _write_files(variants, title, {"plot": plot, "report": report, "csv": csv}, differences=False)
    failed = _conclude(variants, strict, as_json)
    _end_early(signals)
    raise typer.Exit(FAILED if failed else FINE)


def _write_files(variants: list[Variant], title: str, files: dict[str, Path | None], *, differences: bool) -> None:
    """Write the plot, the report and the CSV file, where they are asked for."""
    from colonysim.experiments.pages import comparison_page
    from colonysim.experiments.plot import flat_figures, panels_of, svg

    if (path := files["plot"]) is not None:
        outputs.write(path, svg(panels_of(variants, differences)))
        if flat := flat_figures(variants, differences):
            err.print(f"not plotted, because all values are 0: {show_list(flat, len(flat))}")
    if (path := files["report"]) is not None:
        command = shlex.join(["colonysim", *sys.argv[1:]])
        outputs.write(path, comparison_page(variants, title, command, differences=differences))
    if (path := files["csv"]) is not None:
        _write_csv(variants, path)
        err.print(f"written  {path}")


def _conclude(variants: list[Variant], strict: bool, as_json: bool) -> bool:
    """Print failures and warnings. Returns whether the command has failed: if there are any (warnings: if `strict`)."""
    from colonysim.experiments.compare import no_chance, warnings_of

    warnings = warnings_of(variants)
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
    file: Path, variants: dict[str, tuple[str, ...]], seeds: int, pool: WorkerPool, results: Path | None, quiet: bool
) -> tuple[list[Variant], list[int]]:
    """Run all variants, and return them with the signals that stopped them early. Exits if no seed was finished."""
    from colonysim.experiments.compare import refuse_twins, run_variants

    total = len(variants) * seeds
    try:
        refuse_twins(file, variants)
        with stopped_by_signals() as (stop, signals), progress("runs", total, quiet) as update:
            done = run_variants(file, variants, seeds, lambda count: update(count, ""), pool, stop, results)
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
    return NOT_MEASURED if interval is None else interval.of(figure)


def _print_differences(variants: list[Variant]) -> None:
    from colonysim.experiments.compare import FIGURES, MARK, title_of

    first, *others = variants
    _print_figures(variants, "policy")
    out.print()
    title = f"difference to {first.name}, seed by seed ± 95 %; * excludes zero"
    rows = []
    for figure in FIGURES:
        cells = []
        for other in others:
            difference = other.against(first, figure)
            mark = "*" if difference is not None and difference.clear else " "
            cells.append(f"{_shown(difference, figure)} {MARK if other.partial or first.partial else mark}")
        rows.append((title_of(figure), *cells))
    print_table(("", *(other.name for other in others)), rows, title)


def _print_notes(variants: list[Variant]) -> None:
    """Print the notes on the traces, each once."""
    for note in dict.fromkeys(note for variant in variants for note in variant.notes):
        out.print(f"note  {note}")


def _as_json(variants: list[Variant]) -> None:
    import msgspec

    from colonysim.experiments.compare import FIGURES, no_chance, warnings_of

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
