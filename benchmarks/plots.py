"""Plots of cost against size on logarithmic axes, from the points that the benchmarks give."""

from __future__ import annotations

from pathlib import Path

from benchmarks.measure import Row

FILES = {
    "queue": ("assign and submit against what waits", "µs a call", ("assign with", "a submit with")),
    "graphs": ("graphs against their number of nodes", "s for the whole graph", ("submit a", "assign and close")),
    "timers": ("timers armed and cancelled so far", "µs for submit, cancel and remove", ("a timer",)),
}


def draw(rows: list[Row], folder: Path) -> None:
    """One SVG for each group of rows that has points."""
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams["svg.hashsalt"] = "colonysim"  # the same picture from the same figures
    matplotlib.rcParams["svg.fonttype"] = "none"
    from matplotlib import pyplot

    folder.mkdir(parents=True, exist_ok=True)
    for name, (title, unit, starts) in FILES.items():
        shown = [row for row in rows if row.points and row.question.startswith(starts)]
        if not shown:
            continue
        figure, axes = pyplot.subplots(figsize=(7, 4.2))
        factor = 1e6 if unit.startswith("µs") else 1.0
        for row in shown:
            label = row.question.partition(":")[0]
            axes.plot([x for x, _ in row.points], [y * factor for _, y in row.points], marker="o", label=label)
        axes.set(xscale="log", yscale="log", title=title, xlabel="size", ylabel=unit)
        if factor != 1.0:
            axes.set_ylim(1, 100)
        axes.grid(True, which="major", alpha=0.4)
        axes.legend(fontsize=7)
        figure.tight_layout()
        figure.savefig(folder / f"{name}.svg", metadata={"Date": None})
        pyplot.close(figure)
