"""HTML pages about many runs: a comparison of variants, and the seeds of an exploration. They need no other files."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from html import escape

from colonysim.core.wording import NOT_MEASURED, show_count, show_list, show_times
from colonysim.experiments.compare import (
    FIGURES,
    PairedDifference,
    Precision,
    Variant,
    differences_of,
    no_chance,
    reached,
    text_of,
    title_of,
    warnings_of,
)
from colonysim.experiments.exploration import Overview
from colonysim.experiments.plot import flat_figures, panels_of, svg
from colonysim.statistics.intervals import Interval
from colonysim.statistics.several import Correction

_STYLE = """
:root { color-scheme: light dark; --ink: #1c2127; --page: #fff; --muted: #66707c; --line: #dfe3e8; --bad: #c0282d; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e4e7eb; --page: #14171b; --muted: #98a2ae; --line: #2d333b; --bad: #f2706f; }
}
body { margin: 0 auto; max-width: 1180px; padding: 24px 16px 60px; background: var(--page); color: var(--ink);
  font: 15px/1.5 system-ui, sans-serif; }
h1 { font-size: 24px; } h2 { font-size: 17px; margin-top: 34px; }
p.sub { color: var(--muted); font-size: 13px; }
code { font: 12.5px/1.5 ui-monospace, Menlo, Consolas, monospace; overflow-wrap: anywhere; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-size: 13.5px; font-variant-numeric: tabular-nums; }
th, td { padding: 5px 12px; border-bottom: 1px solid var(--line); text-align: right; white-space: nowrap; }
th { color: var(--muted); font-weight: 500; }
th:first-child, td:first-child, td.l { text-align: left; }
.bad { color: var(--bad); } svg { max-width: 100%; height: auto; border-radius: 6px; }
"""


def comparison_page(
    variants: Sequence[Variant],
    title: str,
    command: str = "",
    *,
    differences: bool = False,
    correction: Correction = "holm",
    precision: Precision | None = None,
) -> str:
    """Return a page that compares variants: figures, plots, differences to the first, and what failed.

    `differences`: plot the differences seed by seed. `command`: the command that repeats the runs. `correction`: of
    the second star, for several comparisons. `precision`: what was wanted of a figure.
    """
    seeds = len(variants[0].runs)
    note = f"Means over {show_count(seeds, 'seed')}, the same for all variants, with 95 % confidence intervals."
    parts = [_head(title, command), _note(note)]
    if no_chance(variants):
        parts.append(_note("There is no chance in this scenario: all seeds gave the same figures."))
    rows = [
        [variant.name, _runs(variant), *(_interval(variant.interval(one), one) for one in FIGURES)]
        for variant in variants
    ]
    parts += ["<h2>Figures</h2>", _table(["variant", "runs", *map(title_of, FIGURES)], rows)]
    first, *others = variants
    if precision is not None:
        parts.append(_note(f"{reached(variants, precision)}."))
    if others:
        made = differences_of(variants, correction)
        rows = [[one.name, *(_difference(*each) for each in made.by_variant[one.name].items())] for one in others]
        heads = ["variant", *map(title_of, FIGURES)]
        parts += [f"<h2>Differences to {escape(first.name)}, seed by seed</h2>", _table(heads, rows), _note(f"{made}.")]
    panels = panels_of(variants, differences)
    if panels:
        parts += ["<h2>Plots</h2>", svg(panels)]
    if flat := flat_figures(variants, differences):
        parts.append(_note(f"Not plotted, because all values are 0: {show_list(flat, len(flat))}."))
    parts.append(_failures(variants))
    warnings = [str(warning) for warning in warnings_of(variants)]
    notes = list(dict.fromkeys(note for variant in variants for note in variant.notes))
    parts += [_list("What did nothing", warnings), _list("Worth knowing", notes)]
    return _page(title, parts)


def exploration_page(view: Overview, title: str, command: str = "") -> str:
    """Return a page about many seeds of a scenario: failures by kind, faults, and each seed that failed.

    `command`: the command that repeats the first failing seed.
    """
    histories = show_count(view.digests, "different history", "different histories")
    counts = f"{show_count(view.seeds, 'seed')}, {len(view.failed):,} failed, {histories}"
    parts = [_head(title, command), f"<p>{counts}</p>"]
    by_name: dict[str, list[str]] = {}
    for outcome in view.outcomes:
        for name in outcome.failed_as:
            by_name.setdefault(name, []).append(str(outcome.seed))
    rows = [[name, f"{len(which):,}", show_list(which, 20)] for name, which in by_name.items()]
    if rows:
        parts += ["<h2>Failures by kind</h2>", _table(["failure", "seeds", "which"], rows, left=3)]
    failed = [outcome for outcome in view.outcomes if not outcome.ok]
    rows = [[str(one.seed), failure.kind, failure.name, failure.text] for one in failed for failure in one.failures]
    if rows:
        parts += ["<h2>Seeds that failed</h2>", _table(["seed", "kind", "name", "what"], rows[:500], left=4)]
    rows = [
        [name, show_times(struck.count), f"{struck.seeds:,} of {view.seeds:,}"] for name, struck in view.faults.items()
    ]
    if rows:
        parts += ["<h2>Faults</h2>", _table(["fault", "struck", "under seeds"], rows)]
    parts += [_list("What did nothing", [str(one) for one in view.warnings]), _list("Worth knowing", view.notes)]
    return _page(title, parts)


# ---------------------------------------------------------------- parts of a page
def _page(title: str, parts: Iterable[str]) -> str:
    head = f'<meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{escape(title)}</title>'
    return f'<!doctype html>\n<html lang="en"><head>{head}<style>{_STYLE}</style></head><body>\n' + "\n".join(
        [*(part for part in parts if part), "</body></html>\n"]
    )


def _head(title: str, command: str) -> str:
    again = f'<p class="sub">again: <code>{escape(command)}</code></p>' if command else ""
    return f"<h1>{escape(title)}</h1>{again}"


def _note(text: str) -> str:
    return f'<p class="sub">{escape(text)}</p>'


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]], left: int = 1) -> str:
    first = "".join(f'<th scope="col">{escape(head)}</th>' for head in heads)
    body = "".join(
        "<tr>" + "".join(_cell(text, number < left) for number, text in enumerate(row)) + "</tr>" for row in rows
    )
    return f'<div class="scroll"><table><thead><tr>{first}</tr></thead><tbody>{body}</tbody></table></div>'


def _cell(text: str, left: bool) -> str:
    classes = " ".join(name for name, on in (("l", left), ("bad", "FAILED" in text)) if on)
    return f'<td class="{classes}">{escape(text)}</td>' if classes else f"<td>{escape(text)}</td>"


def _list(title: str, texts: Iterable[str]) -> str:
    items = "".join(f"<li>{escape(text)}</li>" for text in texts)
    return f"<h2>{title}</h2><ul>{items}</ul>" if items else ""


def _failures(variants: Sequence[Variant]) -> str:
    """Return a table of the failures of all variants, grouped by kind and name."""
    rows = []
    for variant in variants:
        counts: Counter[tuple[str, str]] = Counter()
        example: dict[tuple[str, str], tuple[int, str]] = {}
        for run in variant.failed:
            for failure in run.failures:
                key = failure.kind, failure.name
                counts[key] += 1
                example.setdefault(key, (run.seed, failure.text))
        for key, count in counts.most_common():
            seed, text = example[key]
            rows.append([variant.name, *key, f"{count:,}", str(seed), text])
    heads = ["variant", "kind", "name", "runs", "first seed", "what"]
    return "<h2>What failed</h2>" + _table(heads, rows, left=3) if rows else ""


def _runs(variant: Variant) -> str:
    failed = len(variant.failed)
    return f"{failed} of {len(variant.runs)} FAILED" if failed else f"{len(variant.runs)} ok"


def _interval(interval: Interval | None, figure: str) -> str:
    return NOT_MEASURED if interval is None else text_of(interval, figure)


def _difference(figure: str, difference: PairedDifference) -> str:
    return f"{_interval(difference.interval, figure)} {difference.stars}".strip()
