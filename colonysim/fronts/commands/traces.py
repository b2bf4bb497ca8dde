"""colonysim import-trace: what a recorded workload holds, and the same as CSV."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

if TYPE_CHECKING:
    from colonysim.sim.metrics import Quantiles
    from colonysim.sim.traces.census import Census

out = Console(soft_wrap=True, highlight=False, markup=False, width=None if sys.stdout.isatty() else 160)
err = Console(stderr=True)


def import_trace(
    file: Annotated[Path, typer.Argument(help="SWF, WfFormat or CSV, compressed (.gz) or not.")],
    kind: Annotated[str, typer.Option("--format", help="swf, wfformat or csv, where the name does not tell.")] = "",
    csv: Annotated[Path | None, typer.Option(metavar="FILE", help="Write it as CSV.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="For machines: JSON in place of text.")] = False,
) -> None:
    """What a trace holds: how many processes, over which time, how long they run, whose and where."""
    import msgspec

    from colonysim.sim import traces
    from colonysim.sim.traces import census, plain

    try:
        taken = census.take(traces.read(file, kind))
        if csv is not None:
            with csv.open("w", encoding="utf-8", newline="") as stream:
                plain.write(traces.read(file, kind), stream)
    except (traces.BadTrace, OSError) as error:
        err.print(f"colonysim: {error}", style="red", highlight=False, markup=False, soft_wrap=True)
        raise typer.Exit(2) from None
    if as_json:
        print(msgspec.json.encode(taken).decode())
    else:
        _tell(file, taken)
        if (kind or traces.format_of(file)) == "wfformat":
            recorded = traces.read_workflow(file)
            out.print(
                f"  workflow        {recorded.depth()} deep, took {recorded.makespan_s:,.6g} s when it was recorded"
            )
        if csv is not None:
            out.print(f"  written to      {csv}")


def _tell(file: Path, taken: Census) -> None:
    from colonysim.sim.clock import show_span

    out.print(f"{file}")
    out.print(f"  processes       {taken.processes:,}")
    out.print(f"  span            {show_span(round(taken.span_s * 1e9))}")
    out.print(f"  work            {show_span(round(taken.work_s * 1e9))}, {taken.processors_busy:,.1f} processors busy")
    out.print(f"  users, sites    {taken.users:,}, {taken.sites:,}; functions {taken.functions:,}")
    out.print(f"  run time        {_spread(taken.run_s, ' s')}")
    out.print(f"  between         {_spread(taken.between_s, ' s')}")
    out.print(f"  processors      {_spread(taken.processors)}")
    for title, listed in (("busiest sites", taken.busiest_sites), ("busiest users", taken.busiest_users)):
        if listed:
            out.print(f"  {title}   {', '.join(f'{name} ({count:,})' for name, count in listed[:5])}")


def _spread(values: Quantiles, unit: str = "") -> str:
    if values.count == 0:
        return "none"
    parts = (("p50", values.p50), ("p90", values.p90), ("p99", values.p99), ("max", values.max))
    return ", ".join(f"{name} {value:,.6g}{unit}" for name, value in parts)
