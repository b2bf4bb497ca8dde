"""Draw a Gantt chart of a run: a row for each executor, a bar for each attempt of a process."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple

from colonysim.core.records import SECOND_NS, SUCCESS
from colonysim.experiments.exports import executor_names
from colonysim.extras import needed_for
from colonysim.kernel.why_idle import name_of
from colonysim.reports.metrics import NEVER
from colonysim.scenarios.runner import Run

if TYPE_CHECKING:
    from matplotlib.axes import Axes

ColourBy = Literal["function", "user"]
_MOST_ROWS: Final = 400
_MOST_COLOURS: Final = 10
_UNITS: Final = ((3 * 86_400, 86_400, "days"), (3 * 3600, 3600, "hours"), (300, 60, "minutes"), (0, 1, "seconds"))
"""The unit of the time axis, from a span in seconds on."""


class Bar(NamedTuple):
    """An attempt. Times in seconds from the start of the run; `failed`: it ended without success."""

    executor: str
    colour: str
    start_s: float
    end_s: float
    failed: bool


def bars_of(run: Run, by: ColourBy) -> list[Bar]:
    """Return all attempts; those that still ran at the end end there."""
    metrics, world = run.metrics, run.sim.world
    names = {one.id: one.name for one in run.fleet.executors}
    executors = [names.get(one) or name_of(world, one) for one in metrics.executors]
    processes = list(metrics.place)

    def colour(row: int) -> str:
        if by == "function":
            return metrics.kind_of(row).funcname
        process = world.processes.get(processes[row])
        return "removed" if process is None else process.initiator_name

    def seconds(time_ns: int) -> float:
        return (time_ns - metrics.start_ns) / SECOND_NS

    ended = zip(
        metrics.run_process, metrics.run_executor, metrics.run_start_ns, metrics.run_end_ns, metrics.run_outcome,
        strict=True,
    )  # fmt: skip
    bars = [
        Bar(executors[place], colour(row), seconds(start_ns), seconds(end_ns), outcome != SUCCESS)
        for row, place, start_ns, end_ns, outcome in ended
    ]
    for row, start_ns in enumerate(metrics.start_of_last_ns):
        if start_ns != NEVER and metrics.ended_ns[row] == NEVER and metrics.queued_ns[row] == NEVER:
            bars.append(
                Bar(executors[metrics.executor[row]], colour(row), seconds(start_ns), seconds(world.now_ns), False)
            )
    return bars


def write_gantt(run: Run, path: Path, by: ColourBy = "function") -> None:
    """Draw the chart as .svg, .png or .pdf, by the ending of the path. Raises OSError; MissingExtra without matplotlib.

    Attempts that ended without success are hatched and have a red edge. Of many executors, the first 400 are drawn.
    """
    with needed_for("a Gantt chart"):
        import matplotlib
    from matplotlib.figure import Figure

    bars, rows = bars_of(run, by), executor_names(run)
    drawn = rows[:_MOST_ROWS]
    metadata: dict[str, Any] = {"Date": None} if path.suffix.lower() == ".svg" else {}
    with matplotlib.rc_context({"svg.hashsalt": "colonysim", "svg.fonttype": "none", "text.parse_math": False}):
        figure = Figure(figsize=(10, min(2 + 0.25 * max(len(drawn), 4), 60)), layout="constrained")
        axes = figure.subplots()
        _draw(axes, bars, drawn, by)
        title = f"{run.scenario.name}, seed {run.seed}"
        axes.set_title(
            title if len(drawn) == len(rows) else f"{title} (the first {len(drawn)} of {len(rows)} executors)"
        )
        figure.savefig(path, metadata=metadata)


def _draw(axes: Axes, bars: list[Bar], rows: list[str], by: ColourBy) -> None:
    from matplotlib import colormaps
    from matplotlib.patches import Patch

    place = {name: number for number, name in enumerate(rows)}
    end_s = max((bar.end_s for bar in bars), default=0.0)
    unit_s, unit = next((size, name) for least, size, name in _UNITS if end_s >= least)
    colours = [colormaps["tab10"](number) for number in range(_MOST_COLOURS)]
    names = list(dict.fromkeys(bar.colour for bar in bars))
    colour_of = {name: colours[number] if number < _MOST_COLOURS else "#999999" for number, name in enumerate(names)}
    grouped: dict[tuple[str, bool], list[Bar]] = {}
    for bar in bars:
        if bar.executor in place:
            grouped.setdefault((bar.colour, bar.failed), []).append(bar)
    for (name, failed), some in grouped.items():
        axes.barh(
            [place[bar.executor] for bar in some],
            [(bar.end_s - bar.start_s) / unit_s for bar in some],
            left=[bar.start_s / unit_s for bar in some],
            height=0.8,
            color=colour_of[name],
            edgecolor="red" if failed else "white",
            hatch="////" if failed else None,
            linewidth=0.8 if failed else 0.3,
        )
    axes.set_yticks(range(len(rows)), rows, fontsize=7)
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.set_xlim(left=0)
    axes.set_xlabel(f"virtual time from the start of the run ({unit})")
    axes.set_ylabel("executor")
    patches = [Patch(color=colour_of[name], label=name) for name in names[:_MOST_COLOURS]]
    if len(names) > _MOST_COLOURS:
        patches.append(Patch(color="#999999", label=f"{len(names) - _MOST_COLOURS} others"))
    if any(bar.failed for bar in bars):
        patches.append(Patch(facecolor="white", edgecolor="red", hatch="////", label="without success"))
    if patches:
        axes.legend(handles=patches, title=by, loc="upper left", bbox_to_anchor=(1.0, 1.0), fontsize=7)
