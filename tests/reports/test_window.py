"""A window of a run: which processes its figures cover, its warm-up, and intervals within one run."""

from __future__ import annotations

from typing import Any

import pytest

from colonysim.core.records import SECOND_NS
from colonysim.reports.summary import Summary
from colonysim.scenarios.files import BadScenario
from colonysim.scenarios.result import Result
from colonysim.scenarios.runner import Run
from colonysim.scenarios.scenario import Scenario
from colonysim.statistics.quantiles import quantiles
from colonysim.statistics.series import mser5
from colonysim.statistics.several import jain

QUEUE = """
version: 1
seed: 2
executors: [{name: e, count: 1, service: {kind: exponential, mean_s: 5}}]
workload:
  - {name: w, arrivals: {kind: poisson, per_hour: 360}, count: COUNT, mix: [{funcname: f}]}
"""
TWICE = """
version: 1
executors: [{name: e, count: 1, service: 10}]
workload:
  - {name: w, users: 2, arrivals: {kind: constant, every_s: 10}, count: 12, mix: [{maxexectime: 5, maxretries: 1}]}
  - {name: x, arrivals: {kind: constant, every_s: 25}, count: 2, mix: [{funcname: g}]}
"""


def run(text: str, *overrides: str) -> tuple[Run, Result]:
    made = Run(Scenario.read(text, overrides=overrides))
    return made, made.execute()


def mm1(count: int, *overrides: str) -> tuple[Run, Result]:
    return run(QUEUE.replace("COUNT", str(count)), *overrides)


def _window(summary: Summary) -> Any:
    assert summary.window is not None
    return summary.window


def test_figures_cover_what_is_submitted_in_the_window_whenever_it_ends() -> None:
    """Of 12 at 10, 20, … 120 s, those at 30 to 50 s; each waits for those before it."""
    text = QUEUE.replace("{kind: exponential, mean_s: 5}", "25").replace(
        "{kind: poisson, per_hour: 360}", "{kind: constant, every_s: 10}"
    )
    _, everything = run(text.replace("COUNT", "12"))
    made, result = run(text.replace("COUNT", "12"), "measure.from_s=30", "measure.until_s=60")
    times = [(at_ns - made.start_ns) / SECOND_NS for at_ns in made.metrics.submitted_ns]
    covered = [row for row, at_s in enumerate(times) if 30 <= at_s < 60]
    assert [times[row] for row in covered] == [30, 40, 50]
    summary = result.summary
    assert summary.waiting_s == quantiles([made.metrics.waiting_ns(row) / SECOND_NS for row in covered])
    assert (summary.submitted, summary.succeeded, summary.attempts, summary.unfinished) == (3, 3, 3, 0)
    assert (summary.span_s, summary.utilisation) == (30.0, 1.0)
    assert (_window(summary).processes, _window(summary).left_out) == (3, 9)
    assert result.digest == everything.digest  # measuring changes nothing
    assert everything.summary.window is None
    assert any("submitted from 30 s on and before 60 s: 3 of 12" in note for note in result.notes)


def test_a_window_over_everything_has_the_figures_of_everything() -> None:
    _, result = run(TWICE)
    _, windowed = run(TWICE, "measure.warmup=0")
    same = ("submitted", "succeeded", "failed", "cancelled", "unfinished", "attempts", "retries", "deadline_misses",
            "reneged", "queue_depth_max", "queue_depth_mean", "waiting_s", "retry_waiting_s", "fairness",
            "turnaround_s", "makespan_s", "throughput_per_hour", "span_s")  # fmt: skip
    assert {name: getattr(windowed.summary, name) for name in same} == {
        name: getattr(result.summary, name) for name in same
    }
    assert result.summary.retries > 0


def test_waits_between_attempts_are_from_the_release_to_the_next_start() -> None:
    made, result = run(TWICE)
    assert result.summary.retry_waiting_s.count == result.summary.retries
    assert result.summary.retry_waiting_s.max is not None
    assert result.summary.waiting_s.max is not None
    waited = sum(made.metrics.waiting_total_ns(row, 0) for row in range(len(made.metrics))) / SECOND_NS
    first = sum(made.metrics.waiting_ns(row) for row in range(len(made.metrics))) / SECOND_NS
    mean = result.summary.retry_waiting_s.mean
    assert mean is not None
    assert waited - first == pytest.approx(mean * result.summary.retry_waiting_s.count)


def test_fairness_is_jains_index_of_the_users_mean_slowdowns() -> None:
    made, result = run(QUEUE.replace("COUNT", "40"), "workload.0.users=3")
    slowed: dict[str, list[float]] = {}
    for one in result.processes:
        user = made.metrics.classes[made.metrics.class_place[made.metrics.place[one.process]]].user
        assert one.turnaround_s is not None
        assert one.running_s is not None
        slowed.setdefault(user, []).append(max(1.0, one.turnaround_s / max(one.running_s, 10.0)))
    assert len(slowed) == 3
    index = jain([sum(values) / len(values) for values in slowed.values()])
    assert result.summary.fairness == pytest.approx(index, abs=1e-6)
    assert mm1(10)[1].summary.fairness is None


def test_the_warm_up_is_found_by_mser_5_and_its_length_reported() -> None:
    """Everything at once at first, then an easy load: the first waits are long."""
    text = QUEUE.replace("COUNT", "600") + "  - {name: rush, arrivals: {kind: once, count: 60}, mix: [{funcname: f}]}\n"
    made, whole = run(text)
    _, result = run(text, "measure.warmup=auto")
    metrics, window = made.metrics, _window(result.summary)
    cut = mser5([metrics.waiting_ns(row) / SECOND_NS for row in range(len(metrics))])
    assert cut
    assert window.warmup_s == (metrics.submitted_ns[cut] - made.start_ns) / SECOND_NS > 0
    assert window.method == "MSER-5"
    assert window.processes == len(metrics) - sum(at_ns < metrics.submitted_ns[cut] for at_ns in metrics.submitted_ns)
    assert result.summary.waiting_s.mean is not None
    assert whole.summary.waiting_s.mean is not None
    assert result.summary.waiting_s.mean < 0.8 * whole.summary.waiting_s.mean
    assert any("which lasted" in note for note in result.notes)


@pytest.mark.parametrize(
    ("count", "overrides", "field", "told"),
    [
        (20, ["measure.warmup=auto"], "warmup", "there are 20"),
        (60, ["measure.warmup=auto", "executors.0.service=60"], "warmup", "no end of the transient"),
        (20, ["measure.batches=30"], "batches", "20 values for 30 batches"),
        (300, ["measure.batches=100", "executors.0.service=9.9"], "batches", "take fewer batches"),
        (20, ["measure.from_s=100000"], "from_s", "no process was submitted in the window"),
    ],
)
def test_what_cannot_be_measured_is_warned_of(count: int, overrides: list[str], field: str, told: str) -> None:
    _, result = mm1(count, *overrides)
    (warning,) = [one for one in result.warnings if one.kind == "measure"]
    assert (warning.name, warning.path) == (field, f"measure.{field}")
    assert told in warning.text
    _, accepted = mm1(count, *overrides, f"accept=['measure: {field}']")
    assert not accepted.warnings


def test_batch_means_cover_the_known_mean_of_a_queue() -> None:
    """M/M/1 with a load of a half: the mean wait is 0.5 x 5 / (1 - 0.5) = 5 s."""
    _, result = mm1(4000, "measure.batches=20", "measure.warmup=auto")
    batches = _window(result.summary).batches
    assert list(batches) == ["waiting_s", "turnaround_s", "bounded_slowdown"]
    interval = batches["waiting_s"].interval
    assert interval.mean == pytest.approx(result.summary.waiting_s.mean, abs=1e-5)
    assert abs(interval.mean - 5.0) <= interval.half_width
    assert interval.half_width < 1.5
    assert any("waiting_s: " in note and "by 20 batch means" in note for note in result.notes)


@pytest.mark.parametrize(
    ("override", "told"),
    [
        ("measure={from_s: 60, until_s: 60}", "must be more than from_s=60"),
        ("measure={from_s: 60, until_s: 90, warmup: 30}", "must end before until_s=90"),
        ("measure={warmup: soon}", "warmup"),
        ("measure={batches: 1}", "batches"),
    ],
)
def test_a_window_that_cannot_be_is_refused(override: str, told: str) -> None:
    with pytest.raises(BadScenario, match=told):
        Scenario.read(QUEUE.replace("COUNT", "5"), overrides=(override,))


# ---------------------------------------------------------------- groups
def test_figures_by_function_user_priority_and_group_of_executors() -> None:
    text = """
version: 1
executors: [{name: a, count: 1, service: 20}, {name: b, count: 1, service: 30}]
workload:
  - {name: w, users: 2, arrivals: {kind: constant, every_s: 10}, count: 12, mix: [{funcname: f}]}
  - {name: x, arrivals: {kind: constant, every_s: 25}, count: 3, mix: [{funcname: g, priority: 2}]}
"""
    _, result = run(text)
    counts = {(one.by, one.name): one.submitted for one in result.groups}
    assert {key: count for key, count in counts.items() if key[0] != "executors"} == {
        ("function", "f"): 12, ("function", "g"): 3, ("user", "w-1"): 6, ("user", "w-2"): 6, ("user", "x"): 3,
        ("priority", "0"): 12, ("priority", "2"): 3,
    }  # fmt: skip
    assert counts["executors", "a"] + counts["executors", "b"] == 15
    by_a = next(one for one in result.groups if one.name == "a")
    assert by_a.running_s.max == 20
    waits = [one.waiting_s for one in result.processes if one.function == "g"]
    of_g = next(one for one in result.groups if one.name == "g")
    assert of_g.waiting_s == quantiles([wait for wait in waits if wait is not None])
    _, part = run(text, "measure.until_s=51")
    assert sum(one.submitted for one in part.groups if one.by == "function") == part.summary.submitted == 9


def test_one_function_and_one_user_make_no_groups() -> None:
    assert mm1(5)[1].groups == ()
