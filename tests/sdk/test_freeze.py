"""The time that a test reads follows the simulation."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

import pytest

from colonysim import ColonyClient, Simulation, freeze, stock


@pytest.mark.colonysim(frozen=True)
def test_every_clock_follows(colonysim: Simulation) -> None:
    for step in (0.5, 3600.0, 86_400.0):
        monotonic = time.monotonic()
        colonysim.advance(step)
        assert time.time() == pytest.approx(colonysim.now_ns / 1e9, abs=1e-6)
        assert datetime.now(UTC) == colonysim.now
        assert time.monotonic() - monotonic == pytest.approx(step, abs=1e-3)
        assert time.strftime("%Y-%m-%d", time.gmtime()) == f"{colonysim.now:%Y-%m-%d}"


@pytest.mark.colonysim(frozen=True)
def test_waiting_still_moves_time(colonysim: Simulation) -> None:
    colonysim.set_clock("auto")
    began = time.time()
    assert ColonyClient.stock(colonysim).add_executor("cli").assign(timeout_s=300) is None
    assert time.time() - began == 300


def test_the_controller_moves_the_simulation() -> None:
    sim = Simulation(start="2030-01-01T00:00:00Z")
    with freeze(sim) as frozen:
        frozen.tick(60)
        frozen.tick(timedelta(hours=1))
        assert datetime.now(UTC) == sim.now == datetime(2030, 1, 1, 1, 1, tzinfo=UTC)
        frozen.move_to("2030-02-01")
        assert datetime.now(UTC) == sim.now == datetime(2030, 2, 1, tzinfo=UTC)
        with pytest.raises(ValueError, match="time does not go back"):
            frozen.move_to("2030-01-01")
    assert time.time() < sim.now_ns / 1e9  # the time of this machine, unless it is after 2030


def test_one_simulation_after_the_other_and_within() -> None:
    first, second = Simulation(start="2031-01-01T00:00:00Z"), Simulation(start="2032-01-01T00:00:00Z")
    with freeze(first):
        with freeze(second):
            assert datetime.now(UTC).year == 2032
        first.advance(1)
        assert datetime.now(UTC) == first.now


def test_programs_have_their_own_time_meanwhile() -> None:
    sim = Simulation()
    stock.install(sim)
    seen = []

    def work() -> None:
        time.sleep(10)
        seen.append(time.time())

    with freeze(sim):
        sim.program(work)
        sim.run()
        sim.stop_programs()
        assert seen == [time.time()]
    assert sim.now_ns - sim.world.started_ns == 10 * 10**9


def test_time_machine_is_moved_by_hand(colonysim: Simulation) -> None:
    time_machine = pytest.importorskip("time_machine")
    with time_machine.travel(colonysim.now, tick=False) as traveller:
        colonysim.advance(3600)
        traveller.move_to(colonysim.now)
        assert time.time() == colonysim.now.timestamp()
