"""colonysim import-trace: summarise a recorded workload, and convert it to CSV."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from colonysim.cli import outputs
from colonysim.cli.console import FAILED, AsJson, fail, out, spread
from colonysim.core.wording import show_count, show_number, show_seconds

if TYPE_CHECKING:
    from colonysim.scenarios.trace_summary import TraceSummary
    from colonysim.traces.formats import Format


def import_trace(
    file: Annotated[Path, typer.Argument(help="SWF, WfFormat or CSV, packed (.gz, .bz2, .xz, .zip) or not.")],
    kind: Annotated[
        str,
        typer.Option("--format", help="swf, wfformat, csv or file.py:function; by default from the name of the file."),
    ] = "",
    columns: Annotated[
        str,
        typer.Option(metavar="MAP", help="CSV with other columns: '{submit_s: time, run_s: {column: ms, unit: ms}}'."),
    ] = "",
    csv: Annotated[Path | None, typer.Option(metavar="FILE", help="Write the trace as CSV.")] = None,
    as_json: AsJson = False,
) -> None:
    """Summarise a trace: number of processes, span, run times, users and sites."""
    import msgspec

    from colonysim import traces
    from colonysim.extensions import BadCode
    from colonysim.scenarios import trace_summary
    from colonysim.traces import plain

    outputs.require([file], {"--csv": csv})
    try:
        reading = _format_with(columns, kind) if columns else kind
        recording = traces.load(file, reading)
        summary = trace_summary.summarise(recording.records, recording.notes)
        is_workflow = traces.format_of(file, reading).workflow
    except (traces.BadTrace, BadCode, OSError) as error:
        fail(str(error))
    if csv is not None:
        try:
            with csv.open("w", encoding="utf-8", newline="") as stream:
                plain.write(recording.records, stream)
        except OSError as error:
            fail(f"{csv}: cannot be written: {error.strerror or error}", FAILED)
    if as_json:
        print(msgspec.json.encode(summary).decode())
    else:
        _print(file, summary)
        if is_workflow:
            recorded = traces.read_workflow(file)
            out.print(
                f"  workflow        {show_count(recorded.depth(), 'level')}, took {show_seconds(recorded.makespan_s)} "
                "when it was recorded"
            )
        if csv is not None:
            out.print(f"  written to      {csv}")


def _format_with(columns: str, kind: str) -> Format:
    """Return the format of a CSV file with a map of its columns; ends the command if the map is invalid."""
    from colonysim.core.values import BadValue, read_value
    from colonysim.scenarios import yaml12
    from colonysim.workloads.workload import Trace

    try:
        trace: Trace = read_value(Trace, {"file": "-", "format": kind, "columns": yaml12.read(columns).data})
    except (BadValue, yaml12.BadYaml) as error:
        fail(f"--columns: {error}")
    return trace.reading


def _print(file: Path, summary: TraceSummary) -> None:
    out.print(f"{file}")
    out.print(f"  processes       {summary.processes:,}")
    out.print(f"  span            {show_seconds(summary.span_s)}")
    busy = "1 processor" if summary.processors_busy == 1 else f"{show_number(summary.processors_busy)} processors"
    out.print(f"  work            {show_seconds(summary.work_s)}, {busy} busy on average")
    out.print(f"  users, sites    {summary.users:,}, {summary.sites:,}; functions {summary.functions:,}")
    out.print(f"  run time        {spread(summary.run_s, show_seconds)}")
    out.print(f"  between         {spread(summary.between_s, show_seconds)}")
    out.print(f"  processors      {spread(summary.processors)}")
    for title, listed in (("busiest sites", summary.busiest_sites), ("busiest users", summary.busiest_users)):
        if listed:
            out.print(f"  {title}   {', '.join(f'{name} ({count:,})' for name, count in listed[:5])}")
    for note in summary.notes:
        out.print(f"  note            {note}")
