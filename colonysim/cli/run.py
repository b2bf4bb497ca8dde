"""colonysim run and colonysim validate: run or check scenario files."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, NoReturn

import typer

from colonysim.cli import outputs
from colonysim.cli.console import (
    BAD_INPUT,
    FAILED,
    FINE,
    AsJson,
    OnJournalErrors,
    Override,
    Strict,
    complain,
    err,
    fail,
    load,
    on_journal_errors,
    out,
    refusal,
    refuse_idle,
    refuse_long_seeds,
    repeats,
    saying_what_ends,
    spread,
    twice,
    warn,
)
from colonysim.cli.live import Live, LivePage, LivePort, Rate
from colonysim.core.wording import show_count, show_limit, show_list, show_number, show_seconds, show_share, show_times
from colonysim.evidence.journal import JournalFailed
from colonysim.extras import needed_for

_MOST_GROUPS: Final = 8

if TYPE_CHECKING:
    from colonysim.evidence.journal import JournalErrors
    from colonysim.reports.groups import GroupFigures
    from colonysim.reports.metrics import Metrics
    from colonysim.reports.summary import Summary
    from colonysim.scenarios.result import Result
    from colonysim.scenarios.runner import Run
    from colonysim.scenarios.scenario import Scenario
    from colonysim.scenarios.warnings import RunWarning


Swf = Annotated[Path | None, typer.Option(metavar="FILE", help="Write the processes as SWF.")]
Batsim = Annotated[Path | None, typer.Option(metavar="FILE", help="Write jobs.csv of Batsim, for evalys.")]
Parquet = Annotated[Path | None, typer.Option(metavar="FILE", help="Write the table of processes as Parquet.")]
Gantt = Annotated[Path | None, typer.Option(metavar="FILE", help="Draw a Gantt chart: .svg, .png or .pdf.")]


def run(
    file: Annotated[Path, typer.Argument(help="A scenario.")],
    seed: Annotated[int | None, typer.Option(help="By default the scenario's own.", envvar="COLONYSIM_SEED")] = None,
    override: Override = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print what would run, and run nothing.")] = False,
    report: Annotated[Path | None, typer.Option(metavar="FILE", help="Write an HTML report.")] = None,
    perfetto: Annotated[Path | None, typer.Option(metavar="FILE", help="Write a trace for ui.perfetto.dev.")] = None,
    csv: Annotated[Path | None, typer.Option(metavar="FILE", help="Write a line for each process.")] = None,
    summary: Annotated[Path | None, typer.Option(metavar="FILE", help="Write the whole result as JSON.")] = None,
    swf: Swf = None,
    batsim: Batsim = None,
    parquet: Parquet = None,
    gantt: Gantt = None,
    journal: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the journal, for colonysim replay.")
    ] = None,
    journal_errors: OnJournalErrors = None,
    check_determinism: Annotated[
        bool, typer.Option("--check-determinism", help="Run twice, in fresh processes, and compare.")
    ] = False,
    live: Live = False,
    rate: Rate = None,
    port: LivePort = None,
    strict: Strict = False,
    as_json: AsJson = False,
) -> None:
    """Run a scenario. Exit codes: 0 no failures, 1 failures, 2 the scenario cannot be run."""
    on_errors = on_journal_errors(journal_errors, journal)
    files = {"report": report, "perfetto": perfetto, "csv": csv, "summary": summary}
    files |= {"swf": swf, "batsim": batsim, "parquet": parquet, "gantt": gantt}
    idle = files | {"journal": journal, "strict": strict, "json": as_json}
    if dry_run:
        _refuse_idle("--dry-run", idle | {"live": live, "check-determinism": check_determinism})
    if check_determinism:
        _refuse_idle("--check-determinism", idle | {"live": live})
    page = LivePage.of(live, rate, port)
    if seed is not None:
        refuse_long_seeds(seed)
    scenario = load(file, override)
    if dry_run:
        _describe(file, scenario, seed)
        return
    if check_determinism:
        _compare(file, scenario.seed if seed is None else seed, override)
    try:
        wanted = _files(file, scenario, files, journal)
        _require(wanted)
    except ValueError as error:
        fail(refusal(error, file))
    recorded = {} if journal is None else {"journal": journal}
    with page or nullcontext():
        done, result = _perform(file, scenario, seed, journal, on_errors, quiet=as_json, page=page)
        command = shlex.join(repeats(file, result.seed, override))
        _deliver(done, result, wanted, recorded, command, as_json=as_json)
        if page is not None:
            page.stay()
    raise typer.Exit(FAILED if not result.ok or (strict and result.warnings) else FINE)


def _deliver(
    done: Run, result: Result, wanted: dict[str, Path], recorded: dict[str, Path], command: str, *, as_json: bool
) -> None:
    """Write the output files of a run, and print its result."""
    for kind, path in wanted.items():
        _write(kind, done, path, command)
    if as_json:
        import msgspec

        print(msgspec.json.encode(result).decode())
    else:
        _print(result, wanted | recorded, command)


def _perform(
    file: Path,
    scenario: Scenario,
    seed: int | None,
    journal: Path | None,
    on_errors: JournalErrors,
    *,
    quiet: bool,
    page: LivePage | None,
) -> tuple[Run, Result]:
    """Run a scenario, with a progress bar unless `quiet`. Exits with code 2 if it cannot be run."""
    from colonysim.scenarios.runner import Run

    try:
        with _progress(scenario, quiet=quiet) as progress:
            done = Run(scenario, seed, progress, journal, on_errors)
            if page is not None:
                page.show(done)
            with saying_what_ends(lambda: _cut_short(done)):
                return done, done.execute()
    except JournalFailed as error:
        fail(str(error), FAILED)
    except (OSError, ValueError) as error:
        fail(refusal(error, file))


def _cut_short(run: Run) -> str:
    """Say how far a run had come when it was interrupted."""
    gauges = run.metrics.gauges
    ended = f"{gauges.submitted - gauges.unfinished:,} of {show_count(gauges.submitted, 'process')} ended"
    return f"the run was cut short {show_seconds(run.now_s)} after its start, with {ended}; no result was written"


def validate(
    files: Annotated[list[Path] | None, typer.Argument(help="Scenarios.")] = None,
    strict: Strict = False,
    schema: Annotated[bool, typer.Option("--schema", help="Print the JSON Schema of scenarios.")] = False,
) -> None:
    """Check scenario files, with their traces, without running them. Exit codes: 0 valid, 2 invalid; see --strict."""
    if schema:
        refuse_idle("--schema", {"--strict": strict, " ".join(map(str, files or ())): files})
        print(schema_text(), end="")
        return
    if not files:
        fail("no scenario given: name a scenario file, or use --schema")
    bad = idle = False
    for file in files:
        from colonysim.scenarios.scenario import Scenario

        try:
            notes, found = _check(file, Scenario.load(file))
        except ValueError as error:
            bad = True
            complain(refusal(error, file))
            continue
        out.print(f"{file}: good" if not found else f"{file}: can be run, but part of it does nothing")
        for note in notes:
            out.print(f"  note        {note}")
        for warning in found:
            idle = True
            warn(f"{file}: {warning}")
    raise typer.Exit(BAD_INPUT if bad else FAILED if idle and strict else FINE)


def schema_text() -> str:
    """Return the JSON Schema of scenario files, formatted as it is published."""
    import msgspec

    from colonysim.scenarios.scenario import Scenario

    return msgspec.json.format(msgspec.json.encode(Scenario.schema()), indent=2).decode() + "\n"


# ---------------------------------------------------------------- reading
def _refuse_idle(beside: str, given: Mapping[str, object]) -> None:
    """Exit with code 2 if options of these names are given, which have no effect beside the option `beside`."""
    refuse_idle(beside, {f"--{name}": value for name, value in given.items()})


def _check(file: Path, scenario: Scenario) -> tuple[list[str], list[RunWarning]]:
    """Return notes on a scenario, and warnings for parts that can do nothing. Raises ValueError if it is invalid."""
    from colonysim.scenarios.validation import check

    _files(file, scenario)
    return check(scenario)


def _describe(file: Path, scenario: Scenario, seed: int | None) -> None:
    """Print what a run would do."""
    from colonysim.scenarios.checks import CHECKS
    from colonysim.scenarios.scenario import groups_of
    from colonysim.workloads.arrivals import ARRIVALS

    try:
        notes, _ = _check(file, scenario)
        groups = groups_of(scenario)
    except ValueError as error:
        fail(refusal(error, file))
    out.print(f"{scenario.name}, seed {scenario.seed if seed is None else seed}")
    if scenario.about:
        out.print(f"  {scenario.about}")
    storm_s = scenario.phases.storm_s
    storm = "until all is submitted" if storm_s is None else show_limit(storm_s)
    out.print(f"  storm {storm}, calm {show_limit(scenario.phases.calm_s)} at most")
    count = show_count(sum(group.count for group in groups), "executor")
    out.print(f"  {count} in {show_count(len(groups), 'group')}")
    for workload in scenario.workload:
        kind = workload.trace.file if workload.trace is not None else ARRIVALS.name_of(workload.arrivals)
        out.print(f"  workload {workload.name}: {kind}")
    for program in scenario.programs:
        out.print(f"  program {program.name}: {show_count(program.count, 'copy')} of {program.code}")
    for cron in scenario.crons:
        out.print(f"  cron {cron.name}: {cron.expression or f'every {show_limit(cron.every_s or 0)}'}")
    for fault in scenario.plan().active(scenario.seed if seed is None else seed):
        out.print(f"  fault {fault.name}")
    for check in scenario.checks:
        out.print(f"  check {check.name or CHECKS.name_of(check)}")
    for note in notes:
        out.print(f"  note {note}")


# ---------------------------------------------------------------- running
@contextmanager
def _progress(scenario: Scenario, quiet: bool) -> Iterator[Callable[[float, Metrics], None] | None]:
    """Show a progress bar on a terminal, and yield the function that updates it; yield None without a terminal."""
    if quiet or not err.is_terminal:
        yield None
        return
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    text = TextColumn("{task.fields[at]}, {task.fields[ended]:,} ended, {task.fields[queue]:,} waiting")
    with Progress(
        TextColumn(scenario.name), BarColumn(), text, TimeElapsedColumn(), console=err, transient=True
    ) as bar:
        line = bar.add_task("", total=scenario.phases.storm_s, at="", ended=0, queue=0)

        def update(now_s: float, metrics: Metrics) -> None:
            gauges = metrics.gauges
            ended = gauges.succeeded + gauges.failed + gauges.cancelled
            bar.update(line, completed=now_s, at=show_seconds(now_s), ended=ended, queue=gauges.queue_depth)

        yield update


_KINDS: Final = ("report", "perfetto", "csv", "summary", "swf", "batsim", "parquet", "gantt")
"""The output files of a run."""


def _require(files: Mapping[str, Path]) -> None:
    """Import what output files need, so that it is missed before the run. Raises MissingExtra, BadOutput."""
    if "parquet" in files:
        with needed_for("Parquet"):
            import pandas  # noqa: F401
            import pyarrow  # noqa: F401
    if (path := files.get("gantt")) is not None:
        if path.suffix.lower() not in (".svg", ".png", ".pdf"):
            raise ValueError(f"{path}: a Gantt chart is .svg, .png or .pdf; name the file accordingly")
        with needed_for("a Gantt chart"):
            import matplotlib  # noqa: F401


def _files(
    file: Path, scenario: Scenario, given: Mapping[str, Path | None] | None = None, journal: Path | None = None
) -> dict[str, Path]:
    """Return the path of each output file: from the command line, else from the scenario's `report`.

    Paths of the scenario are relative to its folder. Raises BadOutput if a file cannot be written.
    """
    from colonysim.scenarios.recorded import files_of

    wanted = scenario.report
    said = {"report": wanted.html} | {kind: getattr(wanted, kind) for kind in _KINDS if kind != "report"}
    files = {kind: scenario.base() / name for kind, name in said.items() if name}
    files |= {kind: path for kind, path in (given or {}).items() if path is not None}
    outputs.check(
        [file, *files_of(scenario)],
        {f"--{kind}" if given and given.get(kind) else f"`report` of the scenario ({kind})": path
         for kind, path in files.items()} | {"--journal": journal},
    )  # fmt: skip
    return files


def _write(kind: str, done: Run, path: Path, command: str) -> None:
    """Write an output file of a run, which `command` repeats. Exits with code 1 if it cannot be written."""
    from colonysim.experiments import exports, gantt, perfetto, report

    result = done.result
    assert result is not None
    writers: dict[str, Callable[[], object]] = {
        "report": lambda: report.write_html(done, path, command),
        "perfetto": lambda: perfetto.write_perfetto(done, path),
        "csv": lambda: report.write_csv(done, path),
        "summary": lambda: report.write_summary(result, path),
        "swf": lambda: exports.write_swf(done, path),
        "batsim": lambda: exports.write_batsim(done, path),
        "parquet": lambda: exports.write_parquet(done, path),
        "gantt": lambda: gantt.write_gantt(done, path, done.scenario.report.gantt_by),
    }
    try:
        writers[kind]()
    except OSError as error:
        fail(f"{path}: cannot be written: {error.strerror or error}", FAILED)


# ---------------------------------------------------------------- determinism
def _compare(file: Path, seed: int, override: list[str] | None) -> NoReturn:
    """Run twice in fresh processes, print whether the results are equal, and exit."""
    import msgspec

    words = [*repeats(file, seed, override)[1:], "--json", "--set", "journal=true"]
    with saying_what_ends(lambda: "the run was not done twice, so nothing was compared"):
        first, second = map(msgspec.json.decode, twice(words))
    for name in first:
        if name != "cost" and first[name] != second[name]:
            out.print(f"two runs with seed {seed} differ in {name}: {first[name]} and {second[name]}", style="red")
            raise typer.Exit(FAILED)
    out.print(f"two runs are equal: seed {seed}, digest {first['digest']}, journal {first['journal_digest']}")
    raise typer.Exit(FINE)


# ---------------------------------------------------------------- printing
def _print_groups(result: Result) -> None:
    """Print the waiting times of functions, users, priorities and groups of executors where there are several."""
    divisions: dict[str, list[GroupFigures]] = {}
    for group in result.groups:
        divisions.setdefault(group.by, []).append(group)
    for by, groups in divisions.items():
        if len(groups) > _MOST_GROUPS:
            out.print(f"  by {by:<10}{len(groups)} in all; their figures are in --json")
            continue
        for group in groups:
            waiting = spread(group.waiting_s, show_seconds)
            out.print(f"  by {by:<10}{group.name}: {group.submitted:,} processes, waiting {waiting}")
    if result.summary.fairness is not None:
        out.print(f"  fairness    {result.summary.fairness:.3f} (Jain's index of the users' mean slowdowns)")


def executors_of(figures: Summary) -> str:
    """Say who worked in a run: `10, busy 92 %`, `3 programs`, or both."""
    parts = []
    if figures.executors or not figures.programs:
        busy = "" if figures.utilisation is None else f", busy {show_share(figures.utilisation)}"
        parts.append(f"{figures.executors:,}{busy}")
    if figures.programs:
        parts.append(show_count(figures.programs, "program"))
    return " and ".join(parts)


def _rate(figures: Summary) -> str:
    per_hour = figures.throughput_per_hour
    return "" if not per_hour else f"; {show_number(per_hour, 4)} processes succeeded per hour"


def _print(result: Result, files: dict[str, Path], command: str) -> None:
    figures = result.summary
    took = f"{show_seconds(result.end_s)} in {show_seconds(result.cost.real_s)} of real time"
    out.print(f"{result.scenario}, seed {result.seed}: {took}")
    out.print(
        f"  processes   {figures.submitted:,} submitted, {figures.succeeded:,} succeeded, {figures.failed:,} failed, "
        f"{figures.cancelled:,} cancelled, {figures.unfinished:,} unfinished"
    )
    out.print(f"  executors   {executors_of(figures)}; queue of {figures.queue_depth_max:,} at most{_rate(figures)}")
    started, succeeded = f"of {figures.waiting_s.count:,} started", f"of {figures.turnaround_s.count:,} succeeded"
    out.print(f"  waiting     {spread(figures.waiting_s, show_seconds)} ({started})")
    out.print(f"  turnaround  {spread(figures.turnaround_s, show_seconds)} ({succeeded})")
    out.print(f"  slowdown    {spread(figures.bounded_slowdown)} ({succeeded})")
    if not all(fault.drawn for fault in result.faults):
        drawn = [fault.name for fault in result.faults if fault.drawn]
        out.print(f"  swarm       {len(drawn)} of {show_count(len(result.faults), 'fault')} on: {show_list(drawn, 20)}")
    _print_groups(result)
    for cause in result.causes:
        out.print(f"  without success: {cause}")
    for fault in result.faults:
        struck = f"struck {show_times(fault.count)}" if fault.drawn else "off under this seed"
        out.print(f"  fault       {fault.name} ({fault.kind}): {struck}")
    for note in result.notes:
        out.print(f"  note        {note}")
    for finding in result.findings:
        if finding.passed:
            out.print(f"  held        {finding}")
    out.print(f"  digest      {result.digest}")
    for kind, path in files.items():
        out.print(f"  {kind:<11} {path}")
    for warning in result.warnings:
        warn(str(warning))
    for failure in result.failures:
        out.print(f"FAILED ({failure.kind}) {failure.text}", style="red")
        if failure.process_id:
            out.print(f"  process {failure.process_id}")
        if failure.story:
            out.print(failure.story)
    for cause in result.causes if result.failures else ():
        out.print(f"{cause.name}, for example:")
        for process_id, timeline in zip(cause.processes, cause.timelines, strict=False):
            out.print(f"  process {process_id}")
            out.print(timeline)
    if result.failures:
        out.print(f"again: {command}")
