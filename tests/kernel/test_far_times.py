"""Both ends of time: what lies beyond them is an error with a fix, or never comes."""

from __future__ import annotations

import json
import time

import pytest

from colonysim import ColonyClient, Refused, Simulation, Stuck
from colonysim.core.errors import Refusal
from colonysim.core.golang.civil import zone_of
from colonysim.core.golang.gotypes import parse_timestamp
from colonysim.core.records import SECOND_NS
from colonysim.kernel.clock import FIRST_NS, LAST_NS, Clock, Mode, parse_time, show_time
from colonysim.scenarios.runner import Run
from colonysim.scenarios.scenario import Scenario
from colonysim.wire.codec import Codec
from colonysim.workloads.arrivals import Once
from colonysim.workloads.executors import ExecutorGroup
from colonysim.workloads.workload import Workload

NEAR_THE_END = "9999-12-30T00:00:00Z"
ZONES = ["UTC", "Europe/Stockholm", "Pacific/Kiritimati", "Etc/GMT+12"]


@pytest.mark.parametrize("start", ["0000-06-01T00:00:00Z", "0001-01-01T23:59:59Z", "9999-12-31T00:00:01Z"])
def test_a_clock_begins_where_it_can_be_shown(start: str) -> None:
    with pytest.raises(ValueError, match=r"cannot start at .*: give a time from 0001-01-02 00:00:00 to 9999-12-31"):
        Simulation(start=start)


@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize(
    "start", ["0001-01-02T00:00:00Z", "1844-12-31T00:00:00Z", "1969-12-31T23:59:59Z", NEAR_THE_END]
)
def test_a_colony_works_at_any_time(start: str, zone: str) -> None:
    sim = Simulation(start=start, timezone=zone, mode="auto", journal=True)
    colony = ColonyClient.create(sim, "c")
    executor = colony.add_executor("t")
    process = colony.submit("f", executortype="t", maxexectime=100, maxwaittime=100)
    assigned = executor.assign(timeout_s=100)
    assert assigned is not None
    assigned.close()
    assert executor.assign(timeout_s=100) is None
    shown = Codec(zone_of(zone)).views.json(process.details)
    started = parse_timestamp(json.loads(shown)["starttime"])
    assert started is not None
    assert abs(started.ns - parse_time(start)) < 60 * SECOND_NS  # historical offsets are shown without their seconds
    sim.check()


def test_a_deadline_after_the_year_9999_cannot_be_shown() -> None:
    """As the reference says it; nothing else is wrong with it."""
    sim = Simulation(start=NEAR_THE_END)
    colony = ColonyClient.create(sim, "c")
    process = colony.submit("f", executortype="t", maxwaittime=2**31 - 1)
    with pytest.raises(Refusal, match="year outside of range"):
        Codec(zone_of("UTC")).views.json(process.details)


def test_no_limit_is_passed_and_no_poll_ends_after_the_year_9999() -> None:
    sim = Simulation(start=NEAR_THE_END, mode="auto", stale_executor_duration_s=3 * 10**9)
    colony = ColonyClient.create(sim, "c")
    executor = colony.add_executor("t")
    process = colony.submit("f", executortype="t", maxexectime=10**9)
    assert executor.assign() is not None
    with pytest.raises(Stuck, match=r"PollOver \(never: time ends with the year 9999\)"):
        executor.assign(timeout_s=9 * 10**9)
    sim.run_until_idle()
    assert process.state == 1
    with pytest.raises(ValueError, match="after the year 9999"):
        sim.advance(10**9)
    sim.advance(to="9999-12-31T00:00:00Z")
    assert sim.now_ns == LAST_NS
    with pytest.raises(Stuck, match="no event is left"):
        sim.advance(until=lambda: False)


@pytest.mark.parametrize("limit", [10**12, 2**31, 2**63 - 1, -(10**12)])
@pytest.mark.parametrize("field", ["maxexectime", "maxwaittime", "maxretries"])
def test_limits_beyond_the_database_are_refused(sim: Simulation, field: str, limit: int) -> None:
    with pytest.raises(Refused, match="out of range"):
        ColonyClient.create(sim, "c").submit("f", **{field: limit})


def test_a_program_that_sleeps_beyond_the_end_of_time_is_stuck() -> None:
    sim = Simulation(mode="auto")
    sim.program(lambda: time.sleep(10**12), name="sleeper")
    with pytest.raises(Stuck, match=r"sleeper wakes up \(never: time ends with the year 9999\)"):
        sim.run()
    sim.stop_programs()


@pytest.mark.parametrize(("mode", "rate"), [(Mode.REAL, 1.0), (Mode.SCALED, 1.0), (Mode.SCALED, 1e9)])
def test_a_clock_that_follows_real_time_stands_still_at_the_end(mode: Mode, rate: float) -> None:
    read = [0]
    clock = Clock(mode, rate, LAST_NS - SECOND_NS, lambda: read[0])
    assert clock.virtual_now() == LAST_NS - SECOND_NS
    read[0] = 3600 * SECOND_NS
    assert clock.virtual_now() == LAST_NS


@pytest.mark.parametrize(
    ("time_ns", "text"),
    [
        (FIRST_NS, "0001-01-02 00:00:00"),
        (LAST_NS + 86_400 * SECOND_NS, "10000-01-01 00:00:00"),
        (2**63 * SECOND_NS, "292277026596-12-04 15:30:08"),
        (-SECOND_NS // 2, "1969-12-31 23:59:59.5"),
        (-(10**12) * SECOND_NS, "-29719-04-05 22:13:20"),
    ],
)
def test_times_of_any_year_are_shown_to_people(time_ns: int, text: str) -> None:
    assert show_time(time_ns) == text


@pytest.mark.parametrize("start", ["1969-12-31T23:59:59Z", "2101-01-01T00:00:01Z", NEAR_THE_END])
def test_a_scenario_starts_where_its_figures_can_be_kept(start: str) -> None:
    with pytest.raises(ValueError, match="start in the years 1970 to 2100"):
        Run(Scenario(settings={"start": start}))


@pytest.mark.parametrize("start", ["1970-01-01T00:00:00Z", "2100-12-31T00:00:00Z"])
def test_a_scenario_runs_at_both_ends(start: str) -> None:
    workload = (Workload(name="w", arrivals=Once(3)),)
    scenario = Scenario(settings={"start": start}, workload=workload, executors=(ExecutorGroup(name="e", service=1.0),))
    result = Run(scenario).execute()
    assert result.ok, result.failures
    assert result.summary.succeeded == 3
