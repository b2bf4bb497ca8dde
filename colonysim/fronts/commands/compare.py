"""colonysim compare and colonysim sweep: one scenario under several policies, or with one value varied."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from colonysim.fronts.commands.console import AsJson, Override, err, fail, out, refusal

if TYPE_CHECKING:
    from colonysim.sim.comparison import Variant

File = Annotated[Path, typer.Argument(help="A scenario.")]
Seeds = Annotated[int, typer.Option(min=1, help="How many seeds, from the scenario's own on.")]
Plot = Annotated[Path | None, typer.Option(metavar="FILE", help="Write the figures as a picture (SVG).")]


def compare(
    file: File,
    policy: Annotated[
        str, typer.Option(help="Policies to compare, the first one is what the others are held against.")
    ] = "reference,deadline,fair,shortest",
    seeds: Seeds = 10,
    override: Override = None,
    plot: Plot = None,
    as_json: AsJson = False,
) -> None:
    """The same seeds under several policies: figures, and differences seed by seed with 95 % confidence intervals."""
    names = list(dict.fromkeys(name.strip() for name in policy.split(",")))
    if len(names) < 2:
        fail("name at least two policies, such as --policy reference,fair")
    common = tuple(override or ())
    variants = _run(file, {name: (*common, f"settings.policy={name}") for name in names}, seeds, quiet=as_json)
    if as_json:
        _as_json(variants)
    else:
        _tell_differences(variants, seeds)
        _tell_notes(variants)
    if plot is not None:
        _write(plot, variants, joined=False, differences=True)


def sweep(
    file: File,
    vary: Annotated[str, typer.Option(metavar="PATH=VALUES", help="1..64 doubles, 10..50:10 steps, or a list: 1,2,3.")],
    seeds: Seeds = 5,
    override: Override = None,
    plot: Plot = None,
    as_json: AsJson = False,
) -> None:
    """The same seeds with one value varied: what more executors, say, would change."""
    from colonysim.sim.comparison import points_of

    path, equals, values = vary.partition("=")
    if not equals:
        fail(f"--vary takes PATH=VALUES, such as executors.0.count=1..64, not {vary!r}")
    try:
        points = points_of(values)
    except ValueError as error:
        fail(str(error))
    common = tuple(override or ())
    variants = _run(file, {point: (*common, f"{path}={point}") for point in points}, seeds, quiet=as_json)
    if as_json:
        _as_json(variants)
    else:
        _tell_figures(variants, path, seeds)
        _tell_notes(variants)
    if plot is not None:
        _write(plot, variants, joined=all(_is_number(point) for point in points), differences=False)


# ---------------------------------------------------------------- running
def _run(file: Path, variants: dict[str, tuple[str, ...]], seeds: int, quiet: bool) -> list[Variant]:
    from rich.status import Status

    from colonysim.fronts.surroundings import surroundings
    from colonysim.sim.comparison import run_variants

    quiet = quiet or not err.is_terminal
    try:
        if quiet:
            return run_variants(file, variants, seeds, surroundings=surroundings)
        with Status("", console=err) as status:

            def told(name: str, seed: int) -> None:
                status.update(f"{name}, seed {seed + 1}")

            return run_variants(file, variants, seeds, told, surroundings)
    except (OSError, ValueError) as error:
        fail(refusal(error, file))


# ---------------------------------------------------------------- telling
def _tell_figures(variants: list[Variant], title: str, seeds: int) -> None:
    from rich.table import Table

    from colonysim.sim.comparison import FIGURES

    table = Table(title, *FIGURES, box=None, title=f"means of {seeds} seeds ± 95 %", title_justify="left")
    for variant in variants:
        table.add_row(variant.name, *(str(variant.interval(figure)) for figure in FIGURES))
    out.print(table)


def _tell_differences(variants: list[Variant], seeds: int) -> None:
    from rich.table import Table

    from colonysim.sim.comparison import FIGURES

    first, *others = variants
    _tell_figures(variants, "policy", seeds)
    out.print()
    title = f"difference to {first.name}, seed by seed ± 95 %; * zero lies outside"
    table = Table("", *(other.name for other in others), box=None, title=title, title_justify="left")
    for figure in FIGURES:
        differences = [other.against(first, figure) for other in others]
        table.add_row(figure, *(f"{difference} {'*' if difference.clear else ' '}" for difference in differences))
    out.print(table)


def _tell_notes(variants: list[Variant]) -> None:
    """What readers of the figures must know about the traces, each note once."""
    for note in dict.fromkeys(note for variant in variants for note in variant.notes):
        out.print(f"note  {note}")


def _as_json(variants: list[Variant]) -> None:
    import msgspec

    print(msgspec.json.encode(variants).decode())


def _write(plot: Path, variants: list[Variant], joined: bool, differences: bool) -> None:
    from colonysim.fronts.plot import Panel, Point, svg
    from colonysim.sim.comparison import FIGURES

    panels = []
    for figure in FIGURES:
        if differences:
            first, *others = variants
            intervals = [(other.name, other.against(first, figure)) for other in others]
            title = f"{figure}: difference to {first.name}"
        else:
            intervals, title = [(variant.name, variant.interval(figure)) for variant in variants], figure
        points = [Point(name, interval.mean, interval.half_width) for name, interval in intervals]
        panels.append(Panel(title, points, joined=joined, zero=differences))
    try:
        plot.write_text(svg(panels))
    except OSError as error:
        fail(f"{plot} cannot be written: {error.strerror or error}")


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
