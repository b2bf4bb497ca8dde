"""Pages about many runs: they say all that the commands print, need no other files, and show no markup of users."""

from __future__ import annotations

import re
from html import unescape
from html.parser import HTMLParser
from pathlib import Path

import pytest
from typer.testing import CliRunner

from colonysim.cli.main import app
from colonysim.experiments.compare import FIGURES, Variant, differences_of, run_variants, text_of, title_of
from colonysim.experiments.exploration import Outcome, overview
from colonysim.experiments.pages import comparison_page, exploration_page
from colonysim.experiments.plot import flat_figures
from colonysim.scenarios.result import Failure

SCENARIO = """
version: 1
name: small
executors: [{name: e, count: 1, service: {kind: exponential, mean_s: 30}}]
workload: [{name: w, arrivals: {kind: poisson, per_hour: 300}, count: 20}]
checks: [{kind: probe, name: short queue, that: queue_depth < 3}]
"""


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("pages") / "small.yaml"
    path.write_text(SCENARIO)
    return path


@pytest.fixture(scope="module")
def variants(file: Path) -> list[Variant]:
    return run_variants(file, {number: (f"executors.0.count={number}",) for number in ("1", "2", "8")}, seeds=3)


class Balanced(HTMLParser):
    """Fails where an element is closed that is not the last one opened."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        if tag not in ("meta", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_startendtag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        pass


def is_whole(page: str) -> None:
    parser = Balanced()
    parser.feed(page)
    assert parser.open == []
    assert not re.search(r"""(src|href)\s*=\s*["']|@import|<script""", page)


def test_a_comparison_has_figures_plots_and_what_failed(variants: list[Variant]) -> None:
    page = comparison_page(variants, "small: count 1, 2, 8", "colonysim sweep small.yaml")
    is_whole(page)
    assert "again: <code>colonysim sweep small.yaml</code>" in page
    for variant in variants:
        for figure in FIGURES:
            interval = variant.interval(figure)
            assert (text_of(interval, figure) if interval else "n/a") in unescape(page)
    plotted = [figure for figure in FIGURES if title_of(figure) not in flat_figures(variants)]
    assert page.count("<circle") == sum(
        variant.interval(figure) is not None for variant in variants for figure in plotted
    )
    assert "Not plotted, because all values are 0: deadline misses." in page
    assert "<h2>What failed</h2>" in page
    assert page.count(">short queue<") == sum(bool(variant.failed) for variant in variants) >= 1
    assert "3 seeds, 95 % intervals" in page


def test_differences_are_listed_and_plotted_against_the_first(variants: list[Variant]) -> None:
    page = comparison_page(variants, "policies", differences=True)
    is_whole(page)
    difference = variants[2].against(variants[0], "waiting, mean (s)")
    assert difference is not None
    stars = differences_of(variants).by_variant[variants[2].name]["waiting, mean (s)"].stars
    assert f"<td>{text_of(difference, 'waiting, mean (s)')} {stars}".rstrip() + "</td>" in page
    assert "Holm" in page
    assert re.search(r"waiting, mean \((s|min)\): difference to 1<", page)


def test_an_exploration_has_each_kind_of_failure_and_each_seed() -> None:
    failures = (Failure(kind="check", name="<b>once</b>", text="twice & more"),)
    outcomes = [Outcome(seed=seed, digest=str(seed), failures=failures if seed % 3 == 0 else ()) for seed in range(10)]
    page = exploration_page(overview(outcomes), "ten seeds", "colonysim run x.yaml --seed 0")
    is_whole(page)
    assert "10 seeds, 4 failed, 10 different histories" in page
    assert "<b>once" not in page
    assert "0, 3, 6, 9" in page
    assert page.count("twice &amp; more") == 4


def test_the_commands_write_these_pages(file: Path, tmp_path: Path) -> None:
    for words in (
        ["compare", str(file), "--policy", "reference,fair", "--seeds", "2"],
        ["sweep", str(file), "--vary", "executors.0.count=1,4", "--seeds", "2"],
        ["explore", str(file), "--seeds", "2", "--workers", "1", "--no-shrink"],
    ):
        path = tmp_path / f"{words[0]}.html"
        done = CliRunner().invoke(app, [*words, "--report", str(path)])
        assert done.exit_code in (0, 1), done.output
        is_whole(path.read_text())
        assert f"written  {path}" in done.stderr.replace("\n", "")


@pytest.mark.parametrize("command", ["compare", "sweep --vary seed=1,2", "explore"])
def test_a_report_that_would_overwrite_the_scenario_is_refused(file: Path, command: str) -> None:
    before = file.read_text()
    done = CliRunner().invoke(app, [*command.split(), str(file), "--report", str(file)])
    assert done.exit_code == 2
    assert "--report would overwrite" in done.stderr
    assert file.read_text() == before
