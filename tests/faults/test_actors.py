"""Faults of actors: their spans and offsets are drawn, and where they overlap the last end counts."""

from __future__ import annotations

import time
from typing import Any

import msgspec
import pytest

from colonysim import Simulation
from colonysim.experiments.determinise import read_strike
from colonysim.faults import BadFault, ClockSkew, Pause, SlowDown, Times
from colonysim.scenarios import Uniform


def _clock_errors(sim: Simulation, *faults: Any) -> list[float]:
    """How far a program's clock is ahead, each minute, in seconds."""
    start_s, ahead = sim.now_ns / 1e9, []

    def watcher() -> None:
        for _ in range(6):
            time.sleep(60)
            ahead.append(round(time.time() - sim.now_ns / 1e9, 6))

    assert time.time() != start_s
    sim.faults.add(*faults)
    sim.program(watcher, name="p")
    sim.run(for_s=400)
    return ahead


@pytest.mark.parametrize(
    ("by_s", "low_s", "high_s"),
    [
        ((-50, -10), -50, -10),
        ((-5, 5), -5, 5),
        (Uniform(10, 20), 10, 20),
        ({"kind": "empirical", "values_s": [3, 7]}, 3, 7),
    ],
    ids=["behind", "either", "distribution", "data"],
)
def test_an_offset_of_a_clock_is_drawn_for_each_strike(by_s: Any, low_s: float, high_s: float) -> None:
    skew = ClockSkew(by_s=by_s, times=Times(at_s=(50, 110, 170, 230, 290, 350)), for_s=20)
    ahead = _clock_errors(Simulation(seed=3), skew)
    assert [low_s <= one <= high_s for one in ahead] == [True] * 6
    assert len(set(ahead)) > 1
    assert ahead == _clock_errors(Simulation(seed=3), skew) != _clock_errors(Simulation(seed=4), skew)


def test_the_offset_is_drawn_apart_from_the_span() -> None:
    sim = Simulation(seed=1, journal=True)
    _clock_errors(sim, ClockSkew(by_s=(0, 100), times=Times(at_s=30), for_s=(0, 100)))
    assert sim.journal is not None
    (line,) = [msgspec.json.decode(line)[2] for line in sim.journal.lines if b'"clock_skew"' in line]
    assert 0 < line["by_ns"] < 100e9
    assert line["by_ns"] != line["for_ns"]


def test_a_fixed_offset_is_logged_as_ever() -> None:
    sim = Simulation(seed=1, journal=True)
    assert _clock_errors(sim, ClockSkew(by_s=-5, times=Times(at_s=30), for_s=60)) == [-5, 0, 0, 0, 0, 0]
    assert sim.journal is not None
    (line,) = [msgspec.json.decode(line)[2] for line in sim.journal.lines if b'"clock_skew"' in line]
    assert line == {"fault": "clock_skew", "kind": "clock_skew", "actor": "p", "for_ns": 60 * 10**9}


def test_an_offset_that_was_drawn_is_a_fixed_one_in_the_fault_that_repeats_the_strike() -> None:
    sim, strikes = Simulation(seed=1), []

    def note(now_ns: int, line: dict[str, Any]) -> None:
        strikes.append(read_strike(sim, line))

    sim.observers.on_fault = note
    skew = ClockSkew(by_s=(10, 20), times=Times(at_s=30), for_s=(100, 200))
    ahead = _clock_errors(sim, skew)
    (strike,) = [one for one in strikes if one is not None]
    (fixed,) = skew.at_fixed_times([strike])
    assert isinstance(fixed, ClockSkew)
    assert isinstance(fixed.by_s, float)
    assert _clock_errors(Simulation(seed=9), fixed) == ahead


@pytest.mark.parametrize(
    ("by_s", "text"),
    [
        ([5, -5], "the least comes before the most"),
        ([1, 2, 3], "must have at most 2 entries"),
        ("soon", "expected"),
        ({"kind": "uniform", "low_s": -5, "high_s": 5}, "invalid low_s=-5: must be at least 0"),
    ],
)
def test_an_offset_that_makes_no_sense_is_refused(by_s: Any, text: str) -> None:
    with pytest.raises(BadFault, match=f"by_s.*{text}"):
        ClockSkew(by_s=by_s, times=Times(at_s=1), for_s=1)


def test_the_longest_pause_counts_whichever_struck_last() -> None:
    sim = Simulation()
    start_s, woken = sim.now_ns / 1e9, []

    def sleeper() -> None:
        time.sleep(10)
        woken.append(sim.now_ns / 1e9 - start_s)

    sim.program(sleeper, name="p")
    sim.faults.add(
        Pause(name="long", times=Times(at_s=1), for_s=99),
        Pause(name="short", times=Times(at_s=2), for_s=20),
        Pause(name="removed", times=Times(at_s=3), for_s=500),
    )
    sim.run(for_s=5)
    sim.faults.remove("removed")
    sim.run(for_s=200)
    assert woken == [100]


def test_slow_downs_do_not_multiply_and_the_latest_counts() -> None:
    sim = Simulation()
    start_s, woken = sim.now_ns / 1e9, []

    def sleeper() -> None:
        for _ in range(3):
            time.sleep(10)
            woken.append(sim.now_ns / 1e9 - start_s)

    sim.program(sleeper, name="p")
    sim.faults.add(
        SlowDown(name="first", times=Times(at_s=1), for_s=99, factor=2),
        SlowDown(name="second", times=Times(at_s=2), for_s=20, factor=3),
    )
    sim.run(for_s=200)
    assert woken == [10, 40, 60]
