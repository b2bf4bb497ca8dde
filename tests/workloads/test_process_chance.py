"""Random numbers that belong to processes, and not to those who ask for them."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from statistics import fmean, pvariance

import pytest

from colonysim.core.records import SUCCESS, WAITING, Process
from colonysim.core.types import FunctionSpec
from colonysim.kernel.randomness import Empirical, Exponential, Lognormal, Mixed, Part, Uniform
from colonysim.scenarios.runner import Run
from colonysim.scenarios.scenario import Scenario
from colonysim.workloads.process_chance import ProcessRandom

SCENARIO = """
version: 1
seed: 5
executors: [{name: e, count: 2, success: 0.7, service: {kind: lognormal, median_s: 30, sigma: 1}}]
workload:
  - {name: w, arrivals: {kind: poisson, per_hour: 300}, count: 60, users: 2, mix: [{maxretries: 2, maxexectime: 40},
    {funcname: b}]}
  - {name: x, arrivals: {kind: poisson, per_hour: 50}, count: 10, mix: [{funcname: b}]}
"""
_LIMIT_NS = 40_000_000_000
Story = dict[tuple[str, int, int], tuple[int, int]]


def attempts(*overrides: str) -> Story:
    """Return the length and outcome of each attempt, by user and function, number and attempt.

    The server releases processes that run too long at its next look, so those count as long as they may run.
    """
    run = Run(Scenario.read(SCENARIO, overrides=overrides))
    run.execute()
    metrics, seen, made = run.metrics, dict[int, int](), Story()
    for row, start_ns, end_ns, outcome in zip(
        metrics.run_process, metrics.run_start_ns, metrics.run_end_ns, metrics.run_outcome, strict=True
    ):
        seen[row] = seen.get(row, 0) + 1
        made[metrics.classes[metrics.class_place[row]].sender.name, metrics.number[row], seen[row]] = (
            min(end_ns - start_ns, _LIMIT_NS),
            outcome,
        )
    return made


@pytest.mark.parametrize(
    "overrides",
    [
        ("executors.0.count=7",),
        ("settings.policy=shortest",),
        ("settings.policy=fair", "executors.0.count=1"),
        ("executors=[{name: p, count: 1, success: 0.7, service: {kind: lognormal, median_s: 30, sigma: 1}},"
         " {name: q, count: 2, success: 0.7, service: {kind: lognormal, median_s: 30, sigma: 1}}]",),
        ("workload.1.count=3",),
    ],
)  # fmt: skip
def test_a_process_runs_as_long_and_ends_as_well_whoever_gets_it_and_when(overrides: tuple[str, ...]) -> None:
    plain, other = attempts(), attempts(*overrides)
    common = plain.keys() & other.keys()
    assert len(common) >= 60
    assert {one: plain[one] for one in common} == {one: other[one] for one in common}
    assert len(set(plain.values())) > 45  # they do differ from each other


def test_another_seed_makes_other_run_times() -> None:
    plain, other = attempts(), attempts("seed=6")
    assert not set(plain.values()) & {one for one in other.values() if one[0] != _LIMIT_NS}


def test_an_attempt_has_chances_of_its_own() -> None:
    """Otherwise what has run too long once would do so each time."""
    story = attempts()
    second = [outcome for (_, _, attempt), (_, outcome) in story.items() if attempt == 2]
    assert {WAITING, SUCCESS} <= set(second)


# ---------------------------------------------------------------- the numbers themselves
def process(number: int, attempt: int = 1) -> Process:
    return Process("p", number, "c", FunctionSpec(), "u", "u", 0, 0, retries=attempt - 1)


def random_of(number: int, attempt: int = 1, purpose: str = "service", seed: int = 1) -> ProcessRandom:
    random = ProcessRandom(seed, purpose)
    random.process = process(number, attempt)
    return random


@pytest.mark.parametrize(
    "draw",
    [
        lambda random: Exponential(mean_s=9).draw(random)(None),
        lambda random: Uniform(1, 9).draw(random)(None),
        lambda random: Lognormal(median_s=9).draw(random)(None),
        lambda random: Empirical((1, 2, 3, 4, 5, 6, 7)).draw(random)(None),
        lambda random: Mixed((Part(1, 5.0), Part(2, Lognormal(median_s=9)))).draw(random)(None),
        lambda random: random.gammavariate(0.5, 2.0),
        lambda random: random.normalvariate(0.0, 1.0),
        lambda random: random.getrandbits(200),
    ],
)
def test_what_is_drawn_does_not_depend_on_what_was_drawn_before(draw: Callable[[ProcessRandom], object]) -> None:
    shared = ProcessRandom(1, "service")
    drawn = {}
    for number in (3, 900, 1, 2):
        for attempt in (2, 1):
            shared.process = process(number, attempt)
            drawn[number, attempt] = draw(shared)
    assert drawn == {(number, attempt): draw(random_of(number, attempt)) for number, attempt in drawn}


def _first(count: int) -> list[float]:
    random = ProcessRandom(1, "service")
    return [random.number_of(process(number)) for number in range(1, count + 1)]


def _second(count: int) -> list[float]:
    random = ProcessRandom(1, "service")
    return [(random.number_of(process(number)), random.random())[1] for number in range(1, count + 1)]


def _of_second_attempts(count: int) -> list[float]:
    random = ProcessRandom(1, "service")
    return [random.number_of(process(number, 2)) for number in range(1, count + 1)]


def _of_one_process(count: int) -> list[float]:
    random = random_of(7)
    return [random.random() for _ in range(count)]


@pytest.mark.parametrize("draw", [_first, _second, _of_second_attempts, _of_one_process])
def test_numbers_are_uniform_and_do_not_depend_on_their_neighbours(draw: Callable[[int], list[float]]) -> None:
    """Kolmogorov's distance at 0.1 % is 1.95 / sqrt(n), and a correlation has a standard error of 1 / sqrt(n)."""
    numbers = draw(10_000)
    ordered = sorted(numbers)
    distance = max(max(abs(value - place / 1e4), abs(value - (place + 1) / 1e4)) for place, value in enumerate(ordered))
    assert distance < 0.0195
    mean = fmean(numbers)
    correlation = fmean((one - mean) * (other - mean) for one, other in pairwise(numbers)) / pvariance(numbers)
    assert abs(correlation) < 0.04


def test_purposes_attempts_and_seeds_differ() -> None:
    drawn = [
        random_of(1).random(), random_of(2).random(), random_of(1, 2).random(), random_of(1, 3).random(),
        random_of(1, purpose="outcome").random(), random_of(1, seed=2).random(),
    ]  # fmt: skip
    assert len(set(drawn)) == len(drawn)
    assert _first(1) != _second(1)


def test_random_bits_have_the_length_that_was_asked_for() -> None:
    random = random_of(1)
    for length in (0, 1, 8, 53, 54, 106, 107, 300):
        drawn = [random.getrandbits(length) for _ in range(40)]
        assert all(0 <= one < 1 << length for one in drawn)
        if length:
            assert any(one >> length - 1 for one in drawn)
