"""colonysim bench: how fast this machine runs the simulation."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from colonysim.cli.console import AsJson, fail, out, saying_what_ends, warn
from colonysim.cli.pools import progress
from colonysim.core.wording import show_count

if TYPE_CHECKING:
    from colonysim.cli.measure import Measurement


def bench(
    count: Annotated[int, typer.Option(min=100, max=10_000_000, help="Life cycles for each figure.")] = 10_000,
    rounds: Annotated[int, typer.Option(min=1, max=1_000, help="Rounds; each measures all figures once.")] = 5,
    compare: Annotated[
        Path | None, typer.Option(metavar="OLD.JSON", help="Compare with what --json has printed before.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Measure this machine: life cycles per second, with and without checks, and the cost of a long queue."""
    import msgspec

    from colonysim.cli.measure import measure

    old = None if compare is None else _read(compare)
    done = 0

    def count_round(number: int) -> None:
        nonlocal done
        done = number
        update(number, "")

    def cut_short() -> str:
        return f"{done:,} of {show_count(rounds, 'round')} were done, and no figure is shown"

    with progress("rounds", rounds, quiet=as_json) as update, saying_what_ends(cut_short):
        measured = measure(count, rounds, count_round)
    if as_json:
        print(msgspec.json.encode(measured).decode())
    else:
        _print(measured, old)
    if old is not None:
        _warn_of_differences(measured, old)


def _read(path: Path) -> Measurement:
    """Read an earlier measurement. Exits with code 2 if the file has none."""
    import msgspec

    from colonysim.cli.measure import Measurement

    try:
        return msgspec.json.decode(path.read_bytes(), type=Measurement)
    except OSError as error:
        fail(f"{path}: cannot be read: {error.strerror or error}")
    except msgspec.MsgspecError as error:
        fail(f"{path}: it is not a measurement ({error}); make one with: colonysim bench --json > {path}")


def _print(measured: Measurement, old: Measurement | None) -> None:
    from rich.table import Table

    load = ", ".join(f"{value:g}" for value in measured.load)
    processors = show_count(measured.processors, "processor")
    out.print(
        f"{measured.machine}, {processors}, {measured.python}, colonysim {measured.version}"
        + (f", load {load}" if load else "")
    )
    earlier = {} if old is None else {figure.what: figure for figure in old.figures}
    title = f"median of {show_count(measured.rounds, 'round')}, in processor time"
    table = Table(title, "", "", "range", *(("before", "ratio") if old is not None else ()), box=None)
    for figure in measured.figures:
        row = [figure.what, _shown(figure.median), figure.unit, f"{_shown(figure.least)} to {_shown(figure.most)}"]
        if old is not None:
            before = earlier.get(figure.what)
            row += ["n/a", "n/a"] if before is None else [_shown(before.median), f"{figure.median / before.median:.2f}"]
        table.add_row(*row)
    out.print(table)


def _shown(value: float) -> str:
    return f"{value:,.0f}" if value >= 1000 else f"{value:,.2f}"


def _warn_of_differences(measured: Measurement, old: Measurement) -> None:
    """Warn of what differs besides the version of colonysim, so that ratios say something else."""
    for name in ("machine", "processors", "python", "life_cycles"):
        before, now = getattr(old, name), getattr(measured, name)
        if before != now:
            warn(f"not comparable: {name.replace('_', ' ')} was {before}, and is {now}")
