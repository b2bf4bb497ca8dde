"""The commands compare, sweep and bench, and the pictures they draw."""

from __future__ import annotations

import csv
import json
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from colonysim.cli.main import app
from colonysim.experiments.plot import Panel, Point, svg

SCENARIO = Path(__file__).parents[2] / "scenarios" / "first_steps.yaml"
SHORT = ["--set", "phases.storm_s=300", "--seeds", "2"]
SVG = "{http://www.w3.org/2000/svg}"


def _run(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments))


def test_compare_prints_figures_differences_and_draws_them(tmp_path: Path) -> None:
    picture = tmp_path / "p.svg"
    result = _run("compare", str(SCENARIO), "--policy", "reference,fair", *SHORT, "--plot", str(picture))
    assert result.exit_code == 0, result.output
    assert "reference" in result.stdout
    assert "difference to reference" in result.stdout
    assert ET.parse(picture).getroot().tag == f"{SVG}svg"


def test_compare_twice_says_the_same() -> None:
    once, again = (_run("compare", str(SCENARIO), "--policy", "reference,shortest", *SHORT) for _ in range(2))
    assert once.stdout == again.stdout


def test_sweep_as_json_has_a_summary_for_each_value_and_seed() -> None:
    result = _run("sweep", str(SCENARIO), "--vary", "executors.0.count=1..4", *SHORT, "--json")
    variants = json.loads(result.stdout)
    assert [variant["name"] for variant in variants] == ["1", "2", "4"]
    assert [len(variant["summaries"]) for variant in variants] == [2, 2, 2]


def test_notes_on_traces_stand_beneath_the_figures_and_in_json(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("submit_s,run_s,processors\n0,1,4\n5,1,1\n")
    text = "executors: [{name: x, service: {kind: process}}]\nworkload: [{name: w, trace: {file: t.csv}}]\n"
    (tmp_path / "s.yaml").write_text("version: 1\n" + text)
    note = "trace t.csv: 1 of 2 processes had more than one processor; each counts as one"
    for words in (["compare", "--policy", "reference,fair"], ["sweep", "--vary", "executors.0.count=1,2"]):
        command = [words[0], str(tmp_path / "s.yaml"), *words[1:], "--seeds", "2"]
        assert _run(*command).stdout.count(f"note  {note}") == 1
        assert [variant["notes"] for variant in json.loads(_run(*command, "--json").stdout)] == [[note]] * 2


def test_a_sweep_over_several_paths_runs_all_combinations() -> None:
    vary = ["--vary", "executors.0.count=9,10", "--vary", "settings.policy=reference,fair"]
    variants = json.loads(_run("sweep", str(SCENARIO), *vary, *SHORT, "--json").stdout)
    assert [variant["overrides"][-2:] for variant in variants] == [
        [f"executors.0.count={count}", f"settings.policy={policy}"]
        for count in (9, 10)
        for policy in ("reference", "fair")
    ]


LONELY = """
version: 1
phases: {storm_s: 100, calm_s: 100}
executors: [{name: e, service: 10}]
workload: [{name: w, arrivals: {kind: constant, every_s: 20}}]
"""


@pytest.fixture
def lonely(tmp_path: Path) -> Path:
    path = tmp_path / "lonely.yaml"
    path.write_text(LONELY)
    return path


def test_a_variant_that_fails_is_marked_everywhere_and_ends_with_1(lonely: Path, tmp_path: Path) -> None:
    """Nobody takes what is submitted, so nothing waits for a known time, and that must not look like the best."""
    table = tmp_path / "runs.csv"
    arguments = ["sweep", str(lonely), "--vary", "executors.0.type=cli,gpu", "--seeds", "2"]
    result = _run(*arguments, "--csv", str(table), "--plot", str(tmp_path / "p.svg"))
    assert result.exit_code == 1
    _, row, difference = result.stdout.split("executors.0.type gpu\n")  # the table is too wide for this terminal
    assert "!" in difference
    assert "*" not in difference.partition("FAILED")[0]
    assert "2 of 2 FAILED" in row
    assert "n/a" in row
    assert "FAILED gpu: 2 of 2 runs, seed 0 (rest) 5 waiting" in result.stdout
    runs = list(csv.DictReader(table.read_text().splitlines()))
    assert [(run["variant"], run["seed"], run["ok"]) for run in runs] == [
        ("cli", "0", "yes"), ("cli", "1", "yes"), ("gpu", "0", "no"), ("gpu", "1", "no"),
    ]  # fmt: skip
    assert [(run["unfinished"], run["waiting, mean (s)"]) for run in runs] == [("0", "0.0")] * 2 + [("5", "")] * 2
    good, bad = json.loads(_run(*arguments, "--json").stdout)
    assert (good["ok"], good["unfinished"], good["figures"]["waiting, mean (s)"]["mean"]) == (True, 0, 0.0)
    assert (bad["ok"], bad["failed"], bad["unfinished"]) == (False, 2, 10)
    assert bad["figures"]["waiting, mean (s)"] is None
    assert bad["runs"][0]["failures"][0]["kind"] == "rest"


def test_a_scenario_without_chance_is_told_and_shows_no_stars(lonely: Path) -> None:
    vary = ["--vary", "executors.0.service=10,15", "--seeds", "3"]
    swept = _run("sweep", str(lonely), *vary)
    assert swept.exit_code == 0
    assert "no chance in this scenario: all seeds gave the same figures" in swept.stdout
    assert "± 0" not in swept.stdout
    assert "no chance" not in _run("sweep", str(SCENARIO), "--vary", "executors.0.count=9,10", *SHORT).stdout


def test_policies_that_make_no_difference_are_told_and_fail_where_that_is_asked(lonely: Path) -> None:
    arguments = ["compare", str(lonely), "--policy", "reference,fair", "--seeds", "2"]
    result = _run(*arguments)
    assert result.exit_code == 0
    assert "variants 'reference' and 'fair' gave the same history: what was varied has no effect" in result.stdout
    assert " *" not in result.stdout.partition("excludes zero")[2]
    assert _run(*arguments, "--strict").exit_code == 1


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["compare", str(SCENARIO), "--policy", "fair"], "at least two policies"),
        (["compare", str(SCENARIO), "--policy", "fair,luck"], "luck"),
        (["compare", "nowhere.yaml"], "nowhere.yaml"),
        (["sweep", str(SCENARIO), "--vary", "executors.0.count"], "PATH=VALUES"),
        (["sweep", str(SCENARIO), "--vary", "executors.0.count=9..1"], "write one like"),
        (["sweep", str(SCENARIO), "--vary", "executors.9.count=1,2"], "executors"),
        (["compare", str(SCENARIO), "--policy", "fair,reference,fair"], "has the value fair twice"),
        (["compare", str(SCENARIO), "--policy", "fair,,reference"], "empty value"),
        (["compare", str(SCENARIO), "--seeds", "0"], "--seeds"),
        (["sweep", str(SCENARIO), "--vary", "executors.0.count=1,2", "--seeds", "-1"], "--seeds"),
        (["sweep", str(SCENARIO), "--vary", "executors.0.count=1,1"], "has the value 1 twice"),
        (["sweep", str(SCENARIO), "--vary", "phases.calm_s=60,60.0"], "are the same scenario"),
        (["sweep", str(SCENARIO), "--vary", "seed=1,2", "--vary", "seed=3,4"], "given twice"),
        (
            ["sweep", str(SCENARIO), "--vary", "seed=1..99:1", "--vary", "executors.0.count=1..99:1"],
            "9,801 combinations",
        ),
    ],
)
def test_bad_input_is_told_and_ends_with_2(arguments: list[str], text: str) -> None:
    result = _run(*arguments)
    assert result.exit_code == 2
    assert text in result.output


def test_a_picture_holds_a_mark_for_each_point_inside_its_panel() -> None:
    points = [Point(str(2**n), 100.0 / 2**n, 3.0) for n in range(6)]
    flat = [Point("<a>", 5.0), Point("b", -5.0, 1.0)]
    root = ET.fromstring(svg([Panel("one", points, joined=True), Panel("two", flat, zero=True)]))
    marks = list(root.iter(f"{SVG}circle"))
    assert len(marks) == 8
    for mark in marks:
        assert 0 <= float(mark.get("cx", "-1")) <= 360
        assert 0 <= float(mark.get("cy", "-1")) <= 190
    assert "<a>" in [text.text for text in root.iter(f"{SVG}text")]


@pytest.mark.parametrize("values", [[0.0, 0.0], [7.0], [1e-9, 2e-9], [-3.0, -3.0], [1e12, 1.0]])
def test_a_picture_of_any_values_can_be_drawn(values: list[float]) -> None:
    points = [Point(str(number + 1), value) for number, value in enumerate(values)]
    for joined in (False, True):
        ET.fromstring(svg([Panel("p", points, joined=joined)]))


# ---------------------------------------------------------------- precision and several comparisons
def test_a_sweep_says_how_its_variants_differ_from_the_first(tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    arguments = ["sweep", str(SCENARIO), "--vary", "executors.0.count=8..32", "--seeds", "3"]
    shown = _run(*arguments, "--report", str(page))
    assert shown.exit_code == 0
    assert "difference to 8, seed by seed" in shown.stdout.replace("\n", " ")
    assert "Differences to 8, seed by seed" in page.read_text()
    assert "Holm" in page.read_text()
    first, second, third = json.loads(_run(*arguments, "--json", "--correction", "bonferroni").stdout)
    assert first["differences"] is None
    difference = third["differences"]["waiting, mean (s)"]
    assert difference["interval"]["mean"] < 0
    assert difference["adjusted_p"] == pytest.approx(min(1, difference["p"] * third["comparisons"]))
    assert third["correction"] == second["correction"] == "bonferroni"


def test_a_wanted_precision_is_reported_whether_reached_or_not() -> None:
    arguments = ["sweep", str(SCENARIO), "--vary", "executors.0.count=9,10", "--seeds", "2", "--until-half-width"]
    near = _run(*arguments, "50%", "--until-figure", "turnaround, mean (s)")
    assert near.exit_code == 0
    assert "turnaround, mean (s) is within 50 % after" in near.stdout.replace("\n", " ")
    far = _run(*arguments, "0.0001", "--max-seeds", "3", "--strict")
    assert far.exit_code == 1
    assert "NOT within 0.01 % after 3 seeds" in far.stdout.replace("\n", " ")
    (row, _) = json.loads(_run(*arguments, "50%", "--json").stdout)
    assert row["precision"]["met"] is True
    assert row["precision"]["seeds"] == len(row["runs"])


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--until-half-width", "wide"], "5%"),
        (["--until-half-width", "120%"], "5%"),
        (["--until-half-width", "5%", "--until-figure", "luck"], "the figures are"),
        (["--until-half-width", "5%", "--max-seeds", "2"], "--seeds 10"),
        (["--max-seeds", "20"], "no effect without --until-half-width"),
        (["--until-figure", "makespan (s)"], "no effect without --until-half-width"),
        (["--correction", "luck"], "holm, bonferroni, none"),
    ],
)
def test_wrong_options_about_precision_are_refused(options: list[str], told: str) -> None:
    refused = _run("compare", str(SCENARIO), "--seeds", "10", *options)
    assert refused.exit_code == 2
    assert told in " ".join(refused.stderr.split())
