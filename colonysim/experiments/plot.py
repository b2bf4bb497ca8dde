"""Draw small SVG plots: points with confidence intervals, one panel for each figure."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from math import log10
from typing import Final

import msgspec

from colonysim.core.wording import show_count, show_number
from colonysim.experiments.compare import FIGURES, MARK, Variant, title_of, unit_of

_WIDTH: Final = 360
_HEIGHT: Final = 206
_LEFT: Final = 64
_RIGHT: Final = 16
_TOP: Final = 30
_BOTTOM: Final = 50
_STYLE: Final = (
    "text{font:11px system-ui,sans-serif;fill:#333}.title{font-weight:600;font-size:12px}"
    ".axis{stroke:#999}.grid{stroke:#ddd}.mark{fill:#4689cd}.bar,.line{stroke:#4689cd;fill:none;stroke-width:1.5}"
)


class Point(msgspec.Struct, frozen=True):
    """A value with the half width of its confidence interval, and the label of its place on the x axis."""

    name: str
    value: float
    half_width: float | None = None

    @property
    def size(self) -> float:
        """The distance from 0 to the far end of its interval."""
        return abs(self.value) + (self.half_width or 0.0)

    @property
    def is_zero(self) -> bool:
        """Whether it is 0 with certainty."""
        return self.size == 0

    def in_unit(self, unit: float) -> Point:
        """Return it as a multiple of a unit."""
        return Point(self.name, self.value / unit, None if self.half_width is None else self.half_width / unit)


class Panel(msgspec.Struct, frozen=True):
    """The plot of one figure.

    `joined`: connect the points by a line. Their names must be numbers; the x axis is logarithmic if these grow by a
    factor of 10 or more. `zero`: the y axis includes zero. `x_axis`: what the places on the x axis are.
    """

    title: str
    points: Sequence[Point]
    joined: bool = False
    zero: bool = False
    x_axis: str = ""


def panels_of(variants: Sequence[Variant], differences: bool = False) -> list[Panel]:
    """Return a panel for each figure that has a value other than 0.

    `differences`: plot differences to the first variant. Variants whose names are numbers are joined by a line.
    Variants with unfinished runs are marked with MARK, and left out of lines.
    """
    first = variants[0]
    joined = _is_joined(variants, differences)
    axis = f"{'value varied' if joined else 'variant'}; {show_count(len(first.runs), 'seed')}, 95 % intervals"
    panels = []
    for figure in FIGURES:
        points = _points(variants, figure, differences)
        if all(point.is_zero for point in points):
            continue
        unit, unit_name = unit_of(figure, max(point.size for point in points))
        title = f"{title_of(figure)} ({unit_name})" if unit_name else title_of(figure)
        title += f": difference to {first.name}" if differences else ""
        scaled = [point.in_unit(unit) for point in points]
        panels.append(Panel(title, scaled, joined=joined, zero=differences, x_axis=axis))
    return panels


def flat_figures(variants: Sequence[Variant], differences: bool = False) -> list[str]:
    """Return the figures that `panels_of` leaves out because all of their values are 0."""
    plotted = {figure: _points(variants, figure, differences) for figure in FIGURES}
    return [title_of(name) for name, points in plotted.items() if points and all(point.is_zero for point in points)]


def _points(variants: Sequence[Variant], figure: str, differences: bool) -> list[Point]:
    """Return the points of a figure: of each variant that has a value, or of its difference to the first one."""
    first, *others = variants
    joined = _is_joined(variants, differences)
    points = []
    for variant in others if differences else variants:
        interval = variant.against(first, figure) if differences else variant.interval(figure)
        if interval is not None and not (joined and variant.partial):
            name = f"{variant.name} {MARK}" if variant.partial else variant.name
            points.append(Point(name, interval.mean, interval.half_width))
    return points


def _is_joined(variants: Sequence[Variant], differences: bool) -> bool:
    """Return whether the variants are values of one number, so that a line may join their points."""
    return not differences and all(_is_number(variant.name) for variant in variants)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def svg(panels: Sequence[Panel], columns: int = 2) -> str:
    """Draw all panels as one SVG image."""
    rows = -(-len(panels) // columns)
    width, height = columns * _WIDTH, rows * _HEIGHT
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}">',
        f'<style>{_STYLE}</style><rect width="{width}" height="{height}" fill="#fff"/>',
    ]
    for number, panel in enumerate(panels):
        x, y = number % columns * _WIDTH, number // columns * _HEIGHT
        parts += [f'<g transform="translate({x} {y})">', *_panel(panel), "</g>"]
    return "\n".join([*parts, "</svg>", ""])


def _panel(panel: Panel) -> list[str]:
    lows = [point.value - (point.half_width or 0) for point in panel.points]
    highs = [point.value + (point.half_width or 0) for point in panel.points]
    ticks = _ticks(min(0.0, *lows), max(0.0, *highs) if panel.zero else max(highs))
    low, high = ticks[0], ticks[-1]
    bottom, right = _HEIGHT - _BOTTOM, _WIDTH - _RIGHT

    def place(value: float) -> float:
        return round(bottom - (value - low) / (high - low) * (bottom - _TOP), 1)

    parts = [f'<text class="title" x="{_LEFT}" y="16">{escape(panel.title)}</text>']
    for tick in ticks:
        parts.append(f'<line class="grid" x1="{_LEFT}" y1="{place(tick)}" x2="{right}" y2="{place(tick)}"/>')
        parts.append(f'<text x="{_LEFT - 6}" y="{place(tick) + 4}" text-anchor="end">{show_number(tick, 6)}</text>')
    parts.append(f'<line class="axis" x1="{_LEFT}" y1="{place(0)}" x2="{right}" y2="{place(0)}"/>')
    xs = _across(panel, right)
    shown = max(1, -(-len(xs) // 8))
    for number, (x, point) in enumerate(zip(xs, panel.points, strict=True)):
        if point.half_width:
            ends = place(point.value - point.half_width), place(point.value + point.half_width)
            parts.append(f'<line class="bar" x1="{x}" y1="{ends[0]}" x2="{x}" y2="{ends[1]}"/>')
        parts.append(f'<circle class="mark" cx="{x}" cy="{place(point.value)}" r="3.5"/>')
        if number % shown == 0:
            parts.append(f'<text x="{x}" y="{_HEIGHT - 30}" text-anchor="middle">{escape(point.name)}</text>')
    if panel.x_axis:
        middle = (_LEFT + right) / 2
        parts.append(f'<text x="{middle}" y="{_HEIGHT - 12}" text-anchor="middle">{escape(panel.x_axis)}</text>')
    if panel.joined:
        line = " ".join(f"{x},{place(point.value)}" for x, point in zip(xs, panel.points, strict=True))
        parts.append(f'<polyline class="line" points="{line}"/>')
    return parts


def _across(panel: Panel, right: float) -> list[float]:
    """Return the x coordinate of each point."""
    count, room = len(panel.points), right - _LEFT
    if panel.joined and count > 1:
        values = [float(point.name) for point in panel.points]
        if values[0] > 0 and values[-1] >= 10 * values[0]:
            values = [log10(value) for value in values]
        span = values[-1] - values[0] or 1.0
        return [round(_LEFT + 14 + (value - values[0]) / span * (room - 28), 1) for value in values]
    return [round(_LEFT + room * (number + 0.5) / count, 1) for number in range(count)]


def _ticks(low: float, high: float) -> list[float]:
    """Return round values from at most `low` to at least `high`, for about four intervals."""
    span = high - low or abs(high) or 1.0
    rough = span / 4
    power = 10.0 ** int(log10(rough) // 1)
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough * 0.999)
    first = int(low / step // 1)
    count = int(-(-(high - first * step) / step // 1)) or 1
    return [round((first + number) * step, 12) for number in range(count + 1)]
