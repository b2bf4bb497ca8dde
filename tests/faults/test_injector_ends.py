"""Faults end when they are taken back, and at the latest of their ends where they overlap."""

from __future__ import annotations

import time
from collections.abc import Callable

import msgspec
import pytest

from colonysim import ColonyClient, ExecutorClient, Simulation
from colonysim.core.operations.assignment import AssignProcess
from colonysim.core.operations.closing import CloseSuccessful
from colonysim.core.operations.server import Version
from colonysim.faults import AnyFault, ClockSkew, Crash, Hazard, Partition, Pause, Restart, SlowDown, Times, tally
from colonysim.workloads.executors import ExecutorGroup
from colonysim.workloads.fleet import Fleet

DAY_S = 86_400.0
ENDS: dict[str, Callable[[Simulation, str], None]] = {
    "clear": lambda sim, name: sim.faults.clear(),
    "remove": lambda sim, name: sim.faults.remove(name),
    "disable": lambda sim, name: sim.faults.enable(name, False),
}


def _seconds(sim: Simulation) -> float:
    return (sim.world.now_ns - sim.world.started_ns) / 1e9


class _Sleeper:
    """A program that sleeps ten seconds at a time, and writes down when it wakes by whose clock."""

    def __init__(self, *faults: AnyFault) -> None:
        self.sim = Simulation(seed=1)
        self.woke_s: list[float] = []
        self.ahead_s: list[float] = []
        self.sim.program(self._sleep, name="p", forever=True)
        self.sim.faults.add(*faults)

    def _sleep(self) -> None:
        while True:
            time.sleep(10)
            self.woke_s.append(_seconds(self.sim))
            self.ahead_s.append(round(time.time() - self.sim.world.now_ns / 1e9, 3))

    def run(self, for_s: float) -> None:
        self.sim.run(for_s=for_s)


# ---------------------------------------------------------------- taken back
@pytest.mark.parametrize("end", ENDS)
def test_a_slow_actor_is_quick_again_when_its_fault_is_taken_back(end: str) -> None:
    sleeper = _Sleeper(SlowDown(times=Times(at_s=1), factor=10, for_s=DAY_S))
    sleeper.run(50)
    ENDS[end](sleeper.sim, "slow_down")
    sleeper.run(100)
    assert sleeper.woke_s == [10, 110, 120, 130, 140, 150]  # the sleep that was under way is the last long one
    sleeper.sim.stop_programs()


@pytest.mark.parametrize("end", ENDS)
def test_a_clock_is_right_again_when_its_fault_is_taken_back(end: str) -> None:
    sleeper = _Sleeper(ClockSkew(times=Times(at_s=1), by_s=77, for_s=DAY_S))
    sleeper.run(25)
    ENDS[end](sleeper.sim, "clock_skew")
    sleeper.run(25)
    assert sleeper.ahead_s == [77, 77, 0, 0, 0]
    sleeper.sim.stop_programs()


@pytest.mark.parametrize("end", ENDS)
def test_a_paused_program_goes_on_when_its_fault_is_taken_back(end: str) -> None:
    sleeper = _Sleeper(Pause(times=Times(at_s=1), for_s=1000))
    sleeper.run(25)
    ENDS[end](sleeper.sim, "pause")
    sleeper.run(30)
    assert sleeper.woke_s == [25, 35, 45, 55]
    sleeper.sim.stop_programs()


def test_a_program_stands_still_while_another_pause_holds_it() -> None:
    sleeper = _Sleeper(
        Pause(name="long", times=Times(at_s=1), for_s=1000), Pause(name="short", times=Times(at_s=2), for_s=40)
    )
    sleeper.run(25)
    sleeper.sim.faults.remove("long")
    sleeper.run(30)
    assert sleeper.woke_s == [42, 52]
    sleeper.sim.stop_programs()


def test_what_is_left_of_a_pause_does_not_strike_who_was_started_anew() -> None:
    sleeper = _Sleeper(
        Pause(name="a", times=Times(at_s=1), for_s=1000),
        Pause(name="b", times=Times(at_s=2), for_s=1000),
        Crash(times=Times(at_s=5), restart_after_s=0),
    )
    sleeper.run(8)
    sleeper.sim.faults.remove("a")
    sleeper.run(20)
    assert sleeper.woke_s == [15, 25]
    sleeper.sim.stop_programs()


@pytest.mark.parametrize(("faults", "done_s"), [(1, 26), (2, 56)])
def test_a_modelled_executor_goes_on_with_what_it_had_left(faults: int, done_s: float) -> None:
    sim = Simulation(seed=1, mode="manual")
    colony = ColonyClient.create(sim, "c")
    fleet = Fleet(sim, colony.id, "c")
    fleet.add([ExecutorGroup(name="x", service=10.0)])
    fleet.enlist()
    sim.faults.add(Pause(name="long", times=Times(at_s=4), for_s=1000))
    if faults == 2:
        sim.faults.add(Pause(name="short", times=Times(at_s=5), for_s=45))
    process = colony.submit("f")
    sim.advance(20)
    sim.faults.remove("long")
    sim.advance(done_s - 20.5)
    assert process.state.name == "RUNNING"
    sim.advance(1)
    assert process.state.name == "SUCCESS"


# ---------------------------------------------------------------- more than one
def test_the_longer_of_two_slow_downs_goes_on_when_the_shorter_one_is_over() -> None:
    sleeper = _Sleeper(
        SlowDown(name="long", times=Times(at_s=1), factor=2, for_s=200),
        SlowDown(name="short", times=Times(at_s=2), factor=5, for_s=30),
    )
    sleeper.run(121)
    assert sleeper.woke_s == [10, 60, 80, 100, 120]
    sleeper.sim.stop_programs()


def _reached(sim: Simulation, colony: ColonyClient, at_s: list[float]) -> list[bool]:
    """At which of these times the server can be reached: every time is a call of its own."""
    reached = []
    for one_s in at_s:
        sim.advance(one_s - _seconds(sim))
        poll = sim.begin(colony.id, Version())
        reached.append(poll.answer is not None and poll.answer.ok)
    return reached


@pytest.mark.parametrize(
    "faults",
    [
        [Partition(times=Times(every_s=10, count=2), for_s=15)],
        [Restart(times=Times(every_s=10, count=2), down_s=15)],
        [Restart(name="long", times=Times(at_s=10), down_s=25), Restart(name="short", times=Times(at_s=15), down_s=5)],
        [
            Partition(name="long", times=Times(at_s=10), for_s=25),
            Partition(name="short", times=Times(at_s=15), for_s=5),
        ],
    ],
    ids=["partition", "restart", "two restarts", "two partitions"],
)
def test_strikes_that_overlap_end_with_the_last_of_them(faults: list[AnyFault]) -> None:
    sim = Simulation(seed=1, mode="manual")
    colony = ColonyClient.create(sim, "c")
    sim.faults.add(*faults)
    assert _reached(sim, colony, [9, 11, 19, 24, 26, 34, 36]) == [True, False, False, False, False, False, True]


def test_a_server_stays_down_while_another_fault_holds_it() -> None:
    sim = Simulation(seed=1, mode="manual")
    colony = ColonyClient.create(sim, "c")
    long = Restart(name="long", times=Times(at_s=10), down_s=1000)
    sim.faults.add(long, Restart(name="short", times=Times(at_s=15), down_s=25))
    assert _reached(sim, colony, [20]) == [False]
    sim.faults.remove("long")
    assert _reached(sim, colony, [21, 39, 41]) == [False, False, True]


def test_a_fault_that_is_taken_back_in_the_middle_of_two_strikes_is_over() -> None:
    sim = Simulation(seed=1, mode="manual")
    colony = ColonyClient.create(sim, "c")
    sim.faults.add(Restart(times=Times(every_s=10, count=2), down_s=15))
    assert _reached(sim, colony, [22]) == [False]
    sim.faults.clear()
    assert _reached(sim, colony, [23]) == [True]


@pytest.mark.parametrize(
    ("spans", "on"),
    [
        ([(10, 100), (50, 200)], [0, 1, 1, 1, 1]),
        ([(100, 200), (0, 100)], [1, 1, 1, 1, 1]),
        ([(0, 200), (10, 50)], [1, 1, 1, 1, 1]),
        ([(0, 50), (120, 200)], [1, 1, 0, 0, 1]),
    ],
    ids=["overlapping", "adjacent", "one within the other", "apart"],
)
def test_a_hazard_is_on_as_long_as_any_fault_says_so(spans: list[tuple[float, float]], on: list[int]) -> None:
    sim = Simulation(seed=1, mode="manual")
    colony = ColonyClient.create(sim, "c")
    executor = colony.add_executor("a", "one")
    sim.faults.add(*(Hazard(hazard="lost_signal", from_s=from_s, until_s=until_s) for from_s, until_s in spans))
    found = [_signal_is_lost(sim, colony, executor, at_s) for at_s in (5, 20, 70, 110, 150)]
    assert found == [bool(one) for one in on]


def _signal_is_lost(sim: Simulation, colony: ColonyClient, executor: ExecutorClient, at_s: float) -> bool:
    """Whether a parked executor is not woken by what comes."""
    sim.advance(at_s - _seconds(sim))
    poll = sim.begin(executor.id, AssignProcess(colonyname="c", timeout=2))
    process = colony.submit("f", executortype="a")
    lost = poll.answer is None
    sim.advance(3)
    if process.state.name == "RUNNING":
        sim.call(executor.id, CloseSuccessful(processid=process.id))
    else:
        process.remove()
    return lost


def test_a_hazard_goes_on_when_the_one_of_its_kind_that_came_later_is_taken_back() -> None:
    sim = Simulation(seed=1, mode="manual")
    colony = ColonyClient.create(sim, "c")
    executor = colony.add_executor("a", "one")
    first, second = (Hazard(name=name, hazard="lost_signal", until_s=100) for name in ("first", "second"))
    sim.faults.add(first, second)
    sim.faults.remove("second")
    assert _signal_is_lost(sim, colony, executor, 5)
    sim.faults.remove("first")
    assert not _signal_is_lost(sim, colony, executor, 10)


# ---------------------------------------------------------------- times that are past
def _strikes(sim: Simulation) -> list[tuple[float, str]]:
    """When which fault struck."""
    assert sim.journal is not None
    lines = [msgspec.json.decode(line) for line in sim.journal.lines if b'"fault"' in line]
    return [((at_ns - sim.world.started_ns) / 1e9, line["fault"]) for _, at_ns, line in lines if "back" not in line]


def test_a_fault_leaves_out_the_times_that_are_past() -> None:
    sim = Simulation(mode="manual", journal=True)
    sim.advance(25)
    sim.faults.add(Restart(name="mixed", times=Times(at_s=(10, 20, 25, 30))), Restart(name="all", times=Times(at_s=5)))
    sim.advance(100)
    assert _strikes(sim) == [(25, "mixed"), (30, "mixed")]


def test_a_fault_that_is_turned_on_again_does_not_make_up_for_what_it_missed() -> None:
    sim = Simulation(mode="manual", journal=True)
    sim.faults.add(Restart(times=Times(at_s=(10, 20, 30, 40))))
    sim.advance(15)
    sim.faults.enable("restart", False)
    sim.advance(10)
    sim.faults.enable("restart", True)
    sim.advance(100)
    assert _strikes(sim) == [(10, "restart"), (30, "restart"), (40, "restart")]


def test_a_fault_strikes_as_often_as_a_time_is_given() -> None:
    sim = Simulation(mode="manual", journal=True)
    sim.faults.add(Restart(times=Times(at_s=(0, 7, 7))))
    sim.advance(10)
    assert [at_s for at_s, _ in _strikes(sim)] == [0, 7, 7]


@pytest.mark.parametrize("way", ["remove", "clear"])
def test_counts_of_the_faults_that_were_removed_first_are_dropped(monkeypatch: pytest.MonkeyPatch, way: str) -> None:
    monkeypatch.setattr(tally, "MOST_REMOVED", 3)
    sim = Simulation(mode="manual")
    for number in range(6):
        sim.faults.add(Restart(name=f"f{number}", times=Times(at_s=10)))
        ENDS[way](sim, f"f{number}")
    assert list(sim.faults.counts) == ["f3", "f4", "f5"]
    assert list(sim.faults.idle) == ["f3", "f4", "f5"]
    sim.faults.add(Restart(name="f3", times=Times(at_s=10)), Restart(name="g", times=Times(at_s=10)))
    ENDS[way](sim, "g")
    assert sim.faults.counts.keys() >= {"f3", "f5", "g"}
