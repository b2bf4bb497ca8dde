"""colonysim bench: how fast this machine runs the simulation."""

from __future__ import annotations

from typing import Annotated

import typer

from colonysim.cli.console import AsJson, out


def bench(
    count: Annotated[int, typer.Option(min=100, max=10_000_000, help="Life cycles for each figure.")] = 10_000,
    as_json: AsJson = False,
) -> None:
    """Measure this machine: life cycles per second, with and without checks, and the cost of a long queue."""
    import msgspec
    from rich.table import Table

    from colonysim.cli.measure import figures

    measured = figures(count)
    if as_json:
        print(msgspec.json.encode(measured).decode())
        return
    table = Table("in processor time, best of three", "", "", box=None)
    for figure in measured:
        digits = 0 if figure.value >= 1000 else 2
        table.add_row(figure.what, f"{figure.value:,.{digits}f}", figure.unit)
    out.print(table)
