"""Faults of actors: where they overlap the last end counts."""

from __future__ import annotations

import time

from colonysim import Simulation
from colonysim.faults import Pause, SlowDown, Times


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
