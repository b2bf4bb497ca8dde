"""What faults do to programs, and wrong programs that are found out."""

from __future__ import annotations

import datetime
import time
from time import sleep

import pytest

from colonysim import ColonyClient, Lost, ProcessState, ProgramFailed, Refused, Simulation
from colonysim.faults import ClockSkew, Crash, LoseReply, Match, Pause, SlowDown, Times, When
from colonysim.programs.scheduler import Programs
from tests.programs.serving import START, serve


# ---------------------------------------------------------------- other faults of actors
def test_a_paused_program_does_not_notice(sim: Simulation) -> None:
    seen: list[float] = []

    def tick() -> None:
        for _ in range(5):
            seen.append(time.time() - START.timestamp())
            sleep(10)

    sim.program(tick)
    sim.faults.add(Pause(times=Times(at_s=15), for_s=100))
    sim.run()
    assert seen == [0, 10, 115, 125, 135]


def _pause(sim: Simulation, *pauses: Pause) -> list[tuple[float, float]]:
    """A program sleeps 30 s over and over: when, and for how long each time."""
    slept: list[tuple[float, float]] = []

    def sleeper() -> None:
        while True:
            before = time.monotonic()
            sleep(30)
            slept.append((time.time() - START.timestamp(), time.monotonic() - before))

    sim.program(sleeper, name="p", forever=True)
    for pause in pauses:
        sim.faults.add(pause)
    return slept


def test_a_pause_ends_with_the_life_that_it_struck(sim: Simulation) -> None:
    slept = _pause(sim, Pause(times=Times(at_s=5), for_s=100))
    sim.faults.add(Crash(times=Times(at_s=40), restart_after_s=10))
    sim.run(for_s=150)
    assert slept == [(80, 30), (110, 30), (140, 30)]


def test_pauses_that_overlap_are_one_and_cut_no_later_sleep_short(sim: Simulation) -> None:
    slept = _pause(sim, Pause(times=Times(at_s=5), for_s=35), Pause(times=Times(at_s=35), for_s=20))
    sim.run(for_s=120)
    assert slept == [(55, 55), (85, 30), (115, 30)]


@pytest.mark.parametrize(("ends_s", "slept"), [(10, [(30, 30), (60, 30)]), (50, [(50, 50), (80, 30)])])
def test_a_pause_can_be_ended_early(sim: Simulation, ends_s: float, slept: list[tuple[float, float]]) -> None:
    seen = _pause(sim, Pause(times=Times(at_s=5), for_s=1000))
    sim.run(for_s=ends_s)
    programs = sim.kernel.programs
    assert isinstance(programs, Programs)
    with sim.kernel.locked():
        programs.by_name["p"].resume()
        programs.by_name["p"].resume()
    sim.run(for_s=89 - ends_s)
    assert seen == slept


def test_a_program_is_slow_for_a_while(sim: Simulation) -> None:
    seen: list[float] = []

    def tick() -> None:
        for _ in range(5):
            seen.append(time.time() - START.timestamp())
            sleep(10)

    sim.program(tick)
    sim.faults.add(SlowDown(times=Times(at_s=15), factor=3, for_s=20))
    sim.run()
    assert seen == [0, 10, 20, 50, 60]


def test_a_program_has_a_clock_of_its_own(sim: Simulation) -> None:
    seen: list[tuple[float, float]] = []

    def tick() -> None:
        for _ in range(4):
            seen.append((time.time() - START.timestamp(), datetime.datetime.now(datetime.UTC).timestamp()))
            sleep(10)

    sim.program(tick)
    sim.faults.add(ClockSkew(times=Times(at_s=5), by_s=-3, drift=0.1, for_s=20))
    sim.run()
    assert [round(at, 6) for at, _ in seen] == [0, 7.5, 18.5, 30]
    assert [round(now - START.timestamp(), 6) for _, now in seen] == [0, 7.5, 18.5, 30]


# ---------------------------------------------------------------- wrong programs are found out
def test_a_client_that_submits_again_when_the_reply_was_lost_is_seen(sim: Simulation, colony: ColonyClient) -> None:
    def client() -> None:
        for number in range(20):
            for _ in range(3):
                try:
                    colony.submit("f", [number])
                    break
                except Lost:
                    sleep(1)

    sim.program(client)
    sim.faults.add(LoseReply(match=Match(types="submit*"), when=When(probability=0.2)))
    sim.run()
    arguments = [process.args[0] for process in colony.processes()]
    assert set(arguments) == set(range(20))
    assert len(arguments) > 20


def test_an_executor_that_closes_what_it_holds_no_more_is_seen(sim: Simulation, colony: ColonyClient) -> None:
    for name in ("slow", "other"):
        sim.program(serve, colony.add_executor("a", name=name), name=name, forever=True)
    process = colony.submit("f", executortype="a", executornames=["slow"], maxexectime=10, maxretries=3)
    sim.faults.add(Pause(actors="slow", times=Times(at_s=1), for_s=30))
    with pytest.raises(ProgramFailed, match=r"program 'slow' failed: Refused(.|\n)*process is not assigned") as e:
        sim.run(for_s=100)
    assert isinstance(e.value.error, Refused)
    assert process.state is ProcessState.WAITING
