"""Seeds until a figure is precise enough, and several comparisons at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from colonysim.experiments.compare import (
    FIGURES,
    MARK,
    Precision,
    Variant,
    differences_of,
    reached,
    run_variants,
)
from colonysim.experiments.parallel import Processes, Stop
from colonysim.statistics.several import Correction

SCENARIO = """
version: 1
seed: 3
executors: [{name: e, count: 2, service: {kind: exponential, mean_s: 30}}]
workload:
  - {name: w, arrivals: {kind: poisson, per_hour: 200}, count: 60, mix: [{funcname: f}]}
"""
VARIANTS = {number: (f"executors.0.count={number}",) for number in ("2", "3")}
TURNAROUND = "turnaround, mean (s)"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "small.yaml"
    path.write_text(SCENARIO)
    return path


def _widths(variants: list[Variant], seeds: int) -> list[float]:
    shorter = [Variant(one.name, one.overrides, one.runs[:seeds]) for one in variants]
    intervals = [one.interval(TURNAROUND) for one in shorter]
    return [one.relative or 0.0 for one in intervals if one is not None]


def test_seeds_are_added_until_the_figure_is_precise_enough_for_every_variant_and_no_longer(file: Path) -> None:
    wanted = Precision(share=0.15, figure=TURNAROUND)
    variants = run_variants(file, VARIANTS, 4, until=wanted)
    seeds = len(variants[0].runs)
    assert 4 < seeds < 100
    assert all(max(_widths(variants, fewer)) > 0.15 for fewer in range(4, seeds))
    assert max(_widths(variants, seeds)) <= 0.15
    told = reached(variants, wanted)
    assert (told.met, told.seeds, told.half_width) == (True, seeds, max(_widths(variants, seeds)))
    assert f"is within 15 % after {seeds} seeds" in str(told)


@pytest.mark.parametrize("width", [1, 3])
def test_the_number_of_seeds_does_not_depend_on_the_number_of_workers(file: Path, width: int) -> None:
    wanted = Precision(share=0.15, figure=TURNAROUND)
    alone = run_variants(file, VARIANTS, 2, until=wanted)
    assert len(alone[0].runs) > 2
    assert run_variants(file, VARIANTS, 2, until=wanted, pool=Processes(width)) == alone


def test_kept_results_give_the_same_seeds_again(file: Path, tmp_path: Path) -> None:
    wanted, folder = Precision(share=0.15, figure=TURNAROUND), tmp_path / "kept"
    first = run_variants(file, VARIANTS, 2, until=wanted, folder=folder)
    made = {path: path.stat().st_mtime_ns for path in folder.iterdir()}
    assert run_variants(file, VARIANTS, 2, until=wanted, folder=folder) == first
    assert {path: path.stat().st_mtime_ns for path in folder.iterdir()} == made


def test_what_is_not_reached_is_said(file: Path) -> None:
    wanted = Precision(share=0.001, most=4)
    variants = run_variants(file, VARIANTS, 2, until=wanted)
    assert len(variants[0].runs) == 4
    told = reached(variants, wanted)
    assert not told.met
    assert "is NOT within 0.1 % after 4 seeds" in str(told)


def test_a_stop_leaves_the_seeds_that_all_variants_were_run_with(file: Path) -> None:
    stop = Stop()
    wanted = Precision(share=0.001)
    variants = run_variants(file, VARIANTS, 2, lambda done: stop.ask() if done == 7 else None, stop=stop, until=wanted)
    assert [len(one.runs) for one in variants] in ([3, 3], [4, 4])


def test_one_seed_is_never_precise(file: Path) -> None:
    assert len(run_variants(file, VARIANTS, 1, until=Precision(share=0.9))[0].runs) >= 2


@pytest.mark.parametrize(("share", "figure"), [(0.0, TURNAROUND), (5.0, TURNAROUND), (float("nan"), TURNAROUND)])
def test_a_half_width_is_a_share_of_the_mean(share: float, figure: str) -> None:
    with pytest.raises(ValueError, match="5%"):
        Precision(share=share, figure=figure)


def test_an_unknown_figure_is_refused_with_those_there_are() -> None:
    with pytest.raises(ValueError, match="the figures are: waiting, mean"):
        Precision(share=0.1, figure="waiting")


# ---------------------------------------------------------------- several comparisons
def test_stars_count_all_comparisons(file: Path) -> None:
    variants = run_variants(file, {**VARIANTS, "4": ("executors.0.count=4",)}, 6)
    by: dict[Correction, dict[str, str]] = {}
    for correction in ("none", "holm", "bonferroni"):
        made = differences_of(variants, correction)  # type: ignore[arg-type]
        by[correction] = {figure: one.stars for figure, one in made.by_variant["4"].items()}  # type: ignore[index]
        tested = [one for each in made.by_variant.values() for one in each.values() if one.p is not None]
        assert made.comparisons == len(tested) >= 12
        assert list(made.by_variant) == ["3", "4"]
    assert set(by["none"].values()) == {"", "*"}
    assert by["none"][TURNAROUND] == "*"
    for figure in FIGURES:  # the intervals stay those of single comparisons
        assert (by["holm"][figure] != "") == (by["none"][figure] == "*") or by["holm"][figure] == "**"
    assert "**" in by["holm"].values()
    assert "Holm" in str(differences_of(variants))
    assert f"of {differences_of(variants).comparisons} comparisons" in str(differences_of(variants))


def test_what_is_not_comparable_is_not_tested(file: Path) -> None:
    variants = run_variants(file, {"good": (), "bad": ("executors.0.type=gpu",)}, 3)
    made = differences_of(variants)
    assert made.comparisons == 0
    assert {one.stars for one in made.by_variant["bad"].values()} == {MARK}
    assert str(made) == "no stars: nothing differs by chance"


def test_a_variant_alone_has_no_differences(file: Path) -> None:
    made = differences_of(run_variants(file, {"only": ()}, 2))
    assert (made.comparisons, made.by_variant) == (0, {})
