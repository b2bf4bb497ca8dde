"""What comes at a bad moment: interrupts, errors while time moves, movers of time that go."""

from __future__ import annotations

import atexit
import inspect
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import pytest

from colonysim import ColonyClient, Simulation, Stuck
from colonysim.core.operations.assignment import AssignProcess
from colonysim.core.operations.server import Version
from colonysim.evidence.journal import Journal, header
from colonysim.kernel.pending import Waiter


class Interrupt(Exception):
    """As a signal's handler raises it: between two instructions, right behind a call into C."""


def interrupted_behind(number: int, code: CodeType, do: Callable[[], object]) -> bool:
    """Do something, and raise behind the so-manieth call into C that a function makes: whether it got that far."""
    left = number

    def see(frame: FrameType, event: str, argument: Any) -> None:
        nonlocal left
        if event == "c_return" and frame.f_code is code:
            left -= 1
            if left == 0:
                raise Interrupt

    before = sys.getprofile()
    sys.setprofile(see)
    try:
        do()
    except Interrupt:
        return True
    finally:
        sys.setprofile(before)
    return False


@pytest.mark.parametrize("name", ["call", "begin"])
def test_an_interrupt_leaves_the_lock_free(sim: Simulation, name: str) -> None:
    ask = getattr(sim, name)
    code = inspect.unwrap(ask.__func__).__code__
    number = 1
    while interrupted_behind(number, code, lambda: ask("", Version())):
        assert not sim.kernel.lock.locked(), f"behind call {number}"
        number += 1
    assert ask("", Version())


def test_time_goes_on_after_an_error_in_it(monkeypatch: pytest.MonkeyPatch) -> None:
    sim = Simulation(mode="auto")
    executor = ColonyClient.create(sim, "c").add_executor("t")
    event = threading.Event()
    with sim.driver.as_mover(event):
        assert sim.driver.pump() is None
        sim.kernel.mover.asleep = False  # it was to look again soon
        with monkeypatch.context() as patch:
            patch.setattr(sim.driver, "_try_to_move", lambda: 1 / 0)
            with pytest.raises(ZeroDivisionError):
                sim.driver.pump()
        event.clear()
        sim.begin(executor.id, AssignProcess(colonyname="c", timeout=10), outside=True)
        assert event.is_set()


def test_an_actor_that_goes_without_a_word_holds_nothing_up(sim: Simulation) -> None:
    executor = ColonyClient.create(sim, "c").add_executor("t")
    sim.begin(executor.id, AssignProcess(colonyname="c", timeout=5))
    registered = threading.Event()

    def act() -> None:
        with sim.actor("busy"):
            registered.set()
            while not sim.kernel.settling:
                pass

    thread = threading.Thread(target=act)
    thread.start()
    registered.wait()
    sim.advance(10)
    thread.join()
    assert sim.kernel.steps > 0


def test_the_server_before_moves_time_once_a_later_one_stops(sim: Simulation) -> None:
    first, second = threading.Event(), threading.Event()
    with sim.driver.as_mover(first):
        with sim.driver.as_mover(second):
            assert sim.kernel.mover.event is second
            first.clear()
        assert sim.kernel.mover.event is first
        assert first.is_set()
    assert sim.kernel.mover.event is None


def test_going_back_to_a_snapshot_is_a_new_plan() -> None:
    sim = Simulation(mode="real", start="2026-01-01T00:00:00Z")
    snapshot, event = sim.snapshot(), threading.Event()
    with sim.driver.as_mover(event):
        sim.driver.pump()
        for back in (lambda: sim.restore(snapshot), sim.reset):
            event.clear()
            back()
            assert event.is_set()


def test_who_waits_beside_one_who_moves_time_does_not_complain(sim: Simulation) -> None:
    """The other one waits for somebody who computes, and says itself when that is too long."""
    sim.set_clock("auto")
    waiter = Waiter()
    with sim.driver.as_mover(threading.Event()):
        sim.kernel.mover.asleep = False
        sim.driver._raise_if_stuck(sim.kernel.steps, waiter)
        sim.kernel.mover.asleep = True
        with pytest.raises(Stuck, match="nothing has happened"):
            sim.driver._raise_if_stuck(sim.kernel.steps, waiter)


MADE_ONCE = """
import random, sys, tempfile
from colonysim import Simulation

def draw():
    if sys.argv[1] == "first":
        tempfile.mktemp()
    print(random.random())

simulation = Simulation(seed=3)
simulation.program(draw)
simulation.run()
simulation.stop_programs()
"""


def test_what_is_made_once_in_a_process_is_not_made_from_a_programs_chance() -> None:
    drawn = [
        subprocess.run([sys.executable, "-c", MADE_ONCE, when], capture_output=True, text=True, check=True).stdout
        for when in ("first", "never")
    ]
    assert float(drawn[0]) == float(drawn[1])


def test_a_closed_journal_is_not_closed_again_at_exit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    registered: list[object] = []
    monkeypatch.setattr(atexit, "register", registered.append)
    monkeypatch.setattr(atexit, "unregister", registered.remove)
    sim = Simulation(mode="manual")
    journal = Journal(header(sim.settings, sim.kernel.clock.mode, sim.now_ns, True), tmp_path / "journal.jsonl")
    assert len(registered) == 1
    journal.close()
    assert registered == []
