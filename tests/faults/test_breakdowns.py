"""Times between failures: each actor fails on its own, and works again from the end of its repair."""

from __future__ import annotations

import time
from collections import defaultdict
from itertools import pairwise
from typing import Any

import pytest

from colonysim import Simulation
from colonysim.core.values import BadValue
from colonysim.faults import After, Crash, Pause, Restart, SlowDown, Swarm, Times
from colonysim.faults.fault import Strike
from colonysim.scenarios import (
    Erlang,
    ExecutorGroup,
    Exponential,
    Phases,
    Poisson,
    Result,
    Run,
    Scenario,
    Uniform,
    Weibull,
    Workload,
)


def finished(*faults: Any, count: int = 2, storm_s: float = 500, name: str = "cli", **fields: Any) -> Run:
    scenario = Scenario(
        executors=(ExecutorGroup(name=name, count=count, service=1),),
        phases=Phases(storm_s=storm_s),
        workload=(Workload(name="w", arrivals=Poisson(360)),),
        faults=faults,
        **fields,
    )
    run = Run(scenario)
    run.execute()
    return run


def failures(run: Run) -> dict[str, list[tuple[float, float]]]:
    """When each executor failed, and when it was repaired, in seconds from the start."""
    found = defaultdict(list)
    for band in run.strikes.bands:
        found[band.actor].append(((band.from_ns - run.start_ns) / 1e9, (band.to_ns - run.start_ns) / 1e9))
    return dict(found)


def result_of(run: Run) -> Result:
    assert run.result is not None
    return run.result


@pytest.mark.parametrize("kind", [Crash, Pause, SlowDown])
def test_an_actor_fails_again_after_it_has_worked_for_a_time_since_its_repair(kind: Any) -> None:
    lasts = {"restart_after_s": 20} if kind is Crash else {"for_s": 20}
    more = {"factor": 3} if kind is SlowDown else {}
    run = finished(kind(times=Times(mtbf_s=100), **lasts, **more))
    each = [(100, 120), (220, 240), (340, 360), (460, 480)]
    assert failures(run) == {"cli-1": each, "cli-2": each}
    assert [(one.name, one.count) for one in result_of(run).faults] == [(kind.__struct_config__.tag, 8)]
    assert result_of(run).ok


def test_the_times_between_failures_and_of_repairs_follow_their_distributions() -> None:
    fault = Pause(times=Times(mtbf_s=Weibull(2.0, mean_s=50.0)), for_s=Uniform(5.0, 15.0))
    spans = failures(finished(fault, count=20, storm_s=4000))
    assert len(spans) == 20
    repairs = [to_s - from_s for one in spans.values() for from_s, to_s in one[:-1]]
    works = [after[0] - before[1] for one in spans.values() for before, after in pairwise(one)]
    assert sum(repairs) / len(repairs) == pytest.approx(10, rel=0.05)
    assert 5 <= min(repairs) <= max(repairs) <= 15
    assert sum(works) / len(works) == pytest.approx(50, rel=0.05)


def test_one_actor_more_leaves_the_failures_of_the_others_as_they_were() -> None:
    fault = Crash(times=Times(mtbf_s=Exponential(60.0)), restart_after_s=Exponential(10.0))
    few, many = failures(finished(fault, count=2)), failures(finished(fault, count=3))
    assert few == {name: many[name] for name in few}
    assert many["cli-1"] != many["cli-2"]


def test_what_is_never_repaired_fails_once() -> None:
    run = finished(Crash(times=Times(mtbf_s=Erlang(50.0, 4))), count=3)
    assert sorted(failures(run)) == ["cli-1", "cli-2", "cli-3"]
    assert all(len(one) == 1 for one in failures(run).values())


def test_the_limits_of_the_times_hold_for_all_actors_together() -> None:
    limits = {"from_s": 50, "until_s": 290, "count": 3}
    run = finished(Pause(times=Times(mtbf_s=100, **limits), for_s=10))
    assert failures(run) == {"cli-1": [(150, 160), (260, 270)], "cli-2": [(150, 160)]}


def test_failures_begin_after_what_they_wait_for() -> None:
    after = After(type="closesuccessfulmsg", wait_s=30)
    run = finished(Pause(times=Times(mtbf_s=100, after=after), for_s=10, actors=("cli-1",)))
    closed_s = min(run.metrics.run_end_ns) / 1e9 - run.start_ns / 1e9
    assert failures(run)["cli-1"][0][0] == pytest.approx(closed_s + 130)


def test_a_swarm_draws_them_like_other_faults() -> None:
    fault = Pause(times=Times(mtbf_s=100), for_s=10)
    counts = set()
    for seed in range(6):
        scenario = finished(fault, swarm=Swarm(keep=0.5, at_least=0)).scenario
        run = Run(scenario, seed)
        run.execute()
        (count,) = result_of(run).faults
        assert (count.count > 0) is count.drawn
        counts.add(count.drawn)
    assert counts == {True, False}


def test_the_server_fails_after_it_has_been_up_for_a_time() -> None:
    run = finished(Restart(times=Times(mtbf_s=100), down_s=50))
    outages = [band for band in run.strikes.bands if band.to_ns > band.from_ns]
    assert [(band.from_ns - run.start_ns) / 1e9 for band in outages] == [100, 250, 400]


def test_an_actor_that_comes_later_fails_from_then_on() -> None:
    sim = Simulation(seed=1)
    late: list[float] = []

    def sleeper() -> None:
        for _ in range(30):
            time.sleep(10)
            late.append(sim.now_ns / 1e9)

    sim.faults.add(Pause(times=Times(mtbf_s=100, until_s=1000), for_s=7))
    sim.advance(200)
    start_s = sim.now_ns / 1e9
    sim.program(sleeper, name="late")
    sim.run(for_s=400)
    assert [round(at_s - start_s) for at_s in late[:12]] == [10, 20, 30, 40, 50, 60, 70, 80, 90, 107, 117, 127]


def test_single_pauses_at_the_same_times_give_the_same_history() -> None:
    """These are what shrinking puts in place of a fault with chance."""
    fault = Pause(name="breakdowns", times=Times(mtbf_s=Exponential(60.0)), for_s=Exponential(10.0))
    run = finished(fault)
    struck = [
        Strike("breakdowns", band.from_ns - run.start_ns, band.actor, "", (("for", band.to_ns - band.from_ns),))
        for band in run.strikes.bands
    ]
    assert len(struck) > 5
    assert result_of(finished(*fault.at_fixed_times(struck))).digest == result_of(run).digest


@pytest.mark.parametrize(
    ("fault", "complaint"),
    [
        (lambda: Times(mtbf_s=0), "invalid mtbf_s=0.0: must not always be 0"),
        (lambda: Times(mtbf_s=5, every_s=5), "times need one of at_s, every_s, mean_every_s and mtbf_s"),
        (lambda: Pause(times=Times(mtbf_s=5), for_s=1, pick=2), "invalid pick=2: leave it out beside times.mtbf_s"),
        (lambda: Simulation().faults.add(Pause(times=Times(mtbf_s=5), for_s=1)), "has no end"),
    ],
)
def test_wrong_times_are_refused_with_the_reason(fault: Any, complaint: str) -> None:
    with pytest.raises(BadValue) as caught:
        fault()
    assert complaint in str(caught.value)
