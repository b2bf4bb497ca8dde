"""Runs side by side, and what is said of their differences."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest

from colonysim.experiments.compare import (
    FIGURES,
    Variant,
    VariantRun,
    no_chance,
    refuse_twins,
    run_variants,
    text_of,
    warnings_of,
)
from colonysim.experiments.grids import grid, points_of
from colonysim.experiments.parallel import Processes, Stop
from colonysim.reports.summary import Summary
from colonysim.scenarios.files import BadScenario
from colonysim.statistics.intervals import Interval
from colonysim.statistics.quantiles import Quantiles

SCENARIO = """
version: 1
name: small
seed: 3
executors: [{name: e, count: 2, service: {kind: exponential, mean_s: 30}}]
workload:
  - name: w
    arrivals: {kind: poisson, per_hour: 300, count: 40}
    mix:
      - {weight: 1, funcname: long, maxexectime: 500}
      - {weight: 1, funcname: short, maxexectime: 50}
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "small.yaml"
    path.write_text(SCENARIO.replace(", count: 40}", "}").replace("    mix:", "    count: 40\n    mix:"))
    return path


def test_a_policy_against_itself_makes_no_difference_whatever_the_seeds(file: Path) -> None:
    reference = ("settings.policy=reference", "workload.0.users=2")  # fairness takes two users
    one, other = run_variants(file, {"a": reference, "b": reference}, seeds=3)
    assert one.summaries == other.summaries
    assert len(set(one.values("waiting, mean (s)"))) == 3  # the seeds do differ
    for figure in FIGURES:
        assert one.against(other, figure) == Interval(0.0, 0.0)


def test_policies_meet_the_same_submissions_and_give_them_out_in_another_order(file: Path) -> None:
    variants = {name: (f"settings.policy={name}",) for name in ("reference", "shortest")}
    reference, shortest = run_variants(file, variants, seeds=2)
    assert [s.submitted for s in reference.summaries] == [s.submitted for s in shortest.summaries] == [40, 40]
    assert reference.values("waiting, p95 (s)") != shortest.values("waiting, p95 (s)")


def test_more_executors_mean_less_waiting(file: Path) -> None:
    variants = {number: (f"executors.0.count={number}",) for number in points_of("1..8")}
    intervals = [variant.interval("waiting, mean (s)") for variant in run_variants(file, variants, seeds=2)]
    waiting = [interval.mean for interval in intervals if interval is not None]
    assert len(waiting) == 4
    assert waiting == sorted(waiting, reverse=True)
    assert waiting[0] > 10 * waiting[-1]


def test_a_mistake_in_the_last_variant_shows_before_anything_is_run(file: Path) -> None:
    told: list[int] = []
    variants = {"good": ("settings.policy=fair",), "bad": ("settings.policy=luck",)}
    with pytest.raises(BadScenario, match="luck"):
        run_variants(file, variants, 1, told.append)
    assert told == []


@pytest.mark.parametrize(
    ("text", "points"),
    [
        ("1..64", [1, 2, 4, 8, 16, 32, 64]),
        ("3..20", [3, 6, 12, 20]),
        ("10..50:10", [10, 20, 30, 40, 50]),
        ("1..8:3", [1, 4, 7, 8]),
        ("5..5", [5]),
        ("0.5..0.9:0.1", [0.5, 0.6, 0.7, 0.8, 0.9]),
        ("0..0.3:0.1", [0, 0.1, 0.2, 0.3]),
        ("0.25..1", [0.25, 0.5, 1]),
        ("-10..10:10", [-10, 0, 10]),
        ("0.95..1.05:0.05", [0.95, 1, 1.05]),
        ("10..30:10.0", [10, 20, 30]),
    ],
)
def test_ranges(text: str, points: list[float]) -> None:
    assert points_of(text) == [str(point) for point in points]


def test_lists_may_hold_anything() -> None:
    assert points_of("reference, fair,7") == ["reference", "fair", "7"]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "1,,2",
        "a..b",
        "0..4",
        "9..3",
        "1..9:0",
        "1..9:x",
        "1..9:",
        "1..9:-1",
        "-4..4",
        "1..nan",
        "1..1e3:5",
        "0.1.2..3",
    ],
)
def test_what_is_no_range_is_told_with_an_example(text: str) -> None:
    with pytest.raises(ValueError, match=r"write"):
        points_of(text)


@pytest.mark.parametrize("width", [1, 3])
def test_variants_run_in_parallel_give_what_they_give_one_after_the_other(file: Path, width: int) -> None:
    variants = {number: (f"executors.0.count={number}",) for number in ("1", "2")}
    assert run_variants(file, variants, seeds=3, pool=Processes(width)) == run_variants(file, variants, seeds=3)


class Fatal(Processes):
    """A pool in which the runs with seed 4 end their process."""

    def submit(self, function: Callable[..., Any], *arguments: Any) -> Future[Any]:
        return super().submit(_exit if arguments[0].seed == 4 else function, *arguments)


def _exit(job: Any) -> None:
    os._exit(3)


def test_a_run_that_ends_its_process_fails_alone(file: Path) -> None:
    variants = {number: (f"executors.0.count={number}",) for number in ("1", "2")}
    alone = run_variants(file, variants, seeds=3)
    for variant, whole in zip(run_variants(file, variants, seeds=3, pool=Fatal(2)), alone, strict=True):
        first, second, third = variant.runs
        assert (first, third) == (whole.runs[0], whole.runs[2])
        assert [(one.kind, one.name) for one in second.failures] == [("error", "process died")]
        assert variant.partial
        assert variant.values("utilisation") == [whole.values("utilisation")[0], None, whole.values("utilisation")[2]]
        assert variant.failed == (second,)


@pytest.mark.parametrize("done", range(1, 7))
def test_a_stop_leaves_the_seeds_that_all_variants_were_run_with(file: Path, done: int) -> None:
    variants = {number: (f"executors.0.count={number}",) for number in ("1", "2")}
    stop = Stop()
    stopped = run_variants(file, variants, 3, lambda count: stop.ask() if count == done else None, stop=stop)
    whole = run_variants(file, variants, 3)
    assert [variant.name for variant in stopped] == ["1", "2"]
    for variant, other in zip(stopped, whole, strict=True):
        assert variant.runs == other.runs[: len(variant.runs)]
        assert len(variant.runs) == len(stopped[0].runs) >= done // 2


# ---------------------------------------------------------------- what failed, what was not measured
def test_a_variant_without_a_value_has_no_figure_in_place_of_the_best(file: Path) -> None:
    """Without an executor of its type nothing is ever started: there is no waiting time, not one of 0."""
    good, bad = run_variants(file, {"good": (), "bad": ("executors.0.type=gpu",)}, seeds=2)
    assert good.failed == ()
    assert [run.failures[0].kind for run in bad.failed] == ["rest", "rest"]
    assert [run.unfinished for run in bad.runs] == [40, 40]
    for figure in ("waiting, mean (s)", "turnaround, mean (s)", "makespan (s)"):
        assert bad.interval(figure) is None
        assert bad.against(good, figure) is None
        assert good.interval(figure) is not None
    assert bad.values("succeeded") == [0, 0]  # that was measured


def test_only_seeds_that_have_a_value_make_the_mean() -> None:
    known, unknown = _summary(5.0), _summary(None)
    variant = Variant("v", (), tuple(VariantRun(0, "", one, (), (), ()) for one in (known, unknown, _summary(7.0))))
    assert variant.values("waiting, mean (s)") == [5.0, None, 7.0]
    interval = variant.interval("waiting, mean (s)")
    assert interval is not None
    assert interval.mean == 6.0
    other = Variant("o", (), tuple(VariantRun(0, "", one, (), (), ()) for one in (unknown, known, known)))
    assert variant.against(other, "waiting, mean (s)") == Interval(2.0, None)


def _summary(mean: float | None) -> Summary:
    nothing, waiting = Quantiles(), Quantiles(mean=mean)
    return Summary(
        submitted=1, succeeded=1, failed=0, cancelled=0, removed=0, unfinished=0, attempts=1, retries=0,
        deadline_misses=0, executors=1, span_s=1.0, makespan_s=1.0, throughput_per_hour=1.0, utilisation=1.0,
        queue_depth_max=1, queue_depth_mean=1.0, waiting_s=waiting, turnaround_s=nothing, running_s=nothing,
        bounded_slowdown=nothing,
    )  # fmt: skip


def test_variants_with_one_history_are_told(file: Path) -> None:
    variants = {"a": ("name=x",), "b": ("executors.0.count=3",), "c": ("name=y",)}
    warnings = warnings_of(run_variants(file, variants, seeds=2))
    assert [(one.kind, one.name) for one in warnings] == [("variant", "c")]
    assert warnings[0].text == "variants 'a' and 'c' gave the same history: what was varied has no effect"


def test_what_all_runs_of_a_variant_warn_of_is_told(file: Path) -> None:
    variants = {name: (f"settings.policy={name}",) for name in ("reference", "deadline")}
    warnings = warnings_of(run_variants(file, variants, seeds=2))
    assert [one.kind for one in warnings] == ["variant", "policy"]
    assert "none has maxwaittime" in warnings[1].text


def test_a_scenario_without_chance_is_known(file: Path) -> None:
    still = ("executors.0.service=30", "workload.0.arrivals={kind: constant, every_s: 9}", "workload.0.mix=[{}]")
    assert no_chance(run_variants(file, {"a": still, "b": (*still, "executors.0.count=1")}, seeds=2))
    assert not no_chance(run_variants(file, {"a": ()}, seeds=2))
    assert not no_chance(run_variants(file, {"a": ()}, seeds=1))


# ---------------------------------------------------------------- grids
def test_several_paths_make_a_grid() -> None:
    made = grid(["executors.0.count=1,2", "settings.policy=fair,reference"])
    assert list(made.values()) == [
        (f"executors.0.count={count}", f"settings.policy={policy}")
        for count in (1, 2)
        for policy in ("fair", "reference")
    ]
    assert next(iter(made)) == "executors.0.count=1 settings.policy=fair"
    assert list(grid(["a=1..4"])) == ["1", "2", "4"]


@pytest.mark.parametrize(
    ("texts", "told"),
    [
        (["a=1,2", "b"], "PATH=VALUES"),
        (["=1,2"], "PATH=VALUES"),
        (["a=1,2", "a=3"], "--vary a is given twice"),
        (["a=1,2,1"], "has the value 1 twice"),
        (["a=1..200:1", "b=1..200:1"], "200 x 200 = 40,000 combinations are too many"),
        (["a=1..1000000000:1"], "more than 1,000 values"),
        (["a="], "empty value"),
    ],
)
def test_what_makes_no_grid_is_told(texts: list[str], told: str) -> None:
    with pytest.raises(ValueError, match=re.escape(told)):
        grid(texts)


@pytest.mark.parametrize(("first", "second"), [("2", "2.0"), ("2", "0x2"), ("2", " 2 ")])
def test_values_that_are_the_same_scenario_are_refused(file: Path, first: str, second: str) -> None:
    variants = {name: (f"phases.calm_s={name}",) for name in (first, second)}
    with pytest.raises(ValueError, match="are the same scenario"):
        refuse_twins(file, variants)


def test_no_variant_at_all_is_refused(file: Path) -> None:
    with pytest.raises(ValueError, match="at least one"):
        run_variants(file, {}, seeds=1)


@pytest.mark.parametrize(
    ("figure", "interval", "text"),
    [
        ("waiting, mean (s)", Interval(900.0, 271.6), "15 ± 4.53 min"),
        ("waiting, mean (s)", Interval(9.731, 47.57), "9.73 ± 47.6 s"),
        ("makespan (s)", Interval(0.5, 7200.0), "0.000139 ± 2 h"),
        ("makespan (s)", Interval(0.0, None), "0 s"),
        ("utilisation", Interval(0.7776, 0.1197), "77.8 ± 12 %"),
        ("succeeded", Interval(123456.7, 0.0), "123,457"),
        ("bounded slowdown, mean", Interval(-0.07308, 0.1948), "-0.0731 ± 0.195"),
    ],
)
def test_figures_are_shown_in_the_unit_that_suits_their_size(figure: str, interval: Interval, text: str) -> None:
    assert text_of(interval, figure) == text
