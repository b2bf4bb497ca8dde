"""The kernel by itself: the loop that moves time, its lock, and what takes part in it."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

import pytest

import colonysim
from colonysim import ColonyClient, Simulation, Stuck
from colonysim.core.operations.assignment import AssignProcess
from colonysim.core.operations.server import Version
from colonysim.core.protocol import Answer, Delivery, Request
from colonysim.core.records import SECOND_NS
from colonysim.core.settings import Settings
from colonysim.kernel.clock import Mode
from colonysim.kernel.driver import Driver
from colonysim.kernel.kernel import Kernel
from colonysim.kernel.participants import Observer
from colonysim.kernel.pending import Inbox, Pending

PACKAGE = Path(colonysim.__file__).parent


@pytest.fixture
def kernel() -> Kernel:
    return Kernel(Settings(start="2026-01-01T00:00:00Z"), Mode.MANUAL)


def planned(kernel: Kernel, *after_s: int) -> list[float]:
    """Plan calls after so many seconds; the list fills with when each was made, in seconds from now."""
    made: list[float] = []
    start_ns = kernel.world.now_ns
    for after in after_s:
        kernel.timetable.add(
            start_ns + after * SECOND_NS, lambda: made.append((kernel.world.now_ns - start_ns) / SECOND_NS)
        )
    return made


# ---------------------------------------------------------------- the loop
def test_a_run_lets_happen_what_is_due_in_order_and_leaves_time_at_the_last_event(kernel: Kernel) -> None:
    made, start_ns = planned(kernel, 7, 3, 5, 20), kernel.world.now_ns
    with kernel.lock:
        assert kernel.run(start_ns + 10 * SECOND_NS) is False
    assert made == [3, 5, 7]
    assert kernel.world.now_ns == start_ns + 7 * SECOND_NS


def test_a_run_looks_at_its_condition_before_each_event(kernel: Kernel) -> None:
    made, start_ns = planned(kernel, 1, 2, 3), kernel.world.now_ns
    with kernel.lock:
        assert kernel.run(start_ns + 10 * SECOND_NS, lambda: len(made) == 2) is True
        assert kernel.run(start_ns + 10 * SECOND_NS, lambda: True) is True
    assert made == [1, 2]


def test_time_cannot_be_moved_past_what_is_due(kernel: Kernel) -> None:
    planned(kernel, 5)
    with kernel.lock, pytest.raises(AssertionError, match="must not pass"):
        kernel.move_to(kernel.world.now_ns + 6 * SECOND_NS)


def test_while_the_server_is_down_plans_happen_and_nothing_of_its_own() -> None:
    sim = Simulation(mode="manual")
    executor = ColonyClient.create(sim, "c").add_executor("t")
    poll = sim.begin(executor.id, AssignProcess(colonyname="c", timeout=5))
    kernel, until_ns = sim.kernel, sim.kernel.world.now_ns + 60 * SECOND_NS
    made = planned(kernel, 7)
    with kernel.lock:
        kernel.timetable.server_down = True
        kernel.run(until_ns)
        assert (made, poll.answer, kernel.due()) == ([7], None, None)
        kernel.timetable.server_down = False
        kernel.run(until_ns)
    assert poll.answer is not None


def test_a_condition_that_asks_the_server_is_looked_at_without_the_lock(kernel: Kernel) -> None:
    with kernel.lock:
        look = kernel.unlocked(lambda: not kernel.lock.locked())
        assert look() is True
        assert kernel.lock.locked()
        with pytest.raises(ZeroDivisionError):
            kernel.unlocked(lambda: bool(1 / 0))()
        assert kernel.lock.locked()


def test_events_happen_in_one_loop_only() -> None:
    """Whoever moves time does so by `Kernel.run`: nobody else lets events happen."""
    callers = set()
    for path in PACKAGE.rglob("*.py"):
        for function in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(function, ast.FunctionDef):
                for node in ast.walk(function):
                    if isinstance(node, ast.Attribute) and node.attr in ("_fire", "fire_due"):
                        callers.add((path.relative_to(PACKAGE).as_posix(), function.name))
    replays = {("evidence/replay.py", "_do"), ("evidence/replay.py", "_fire")}  # a world without a kernel
    assert callers == {("kernel/kernel.py", "run"), ("kernel/kernel.py", "_fire")} | replays


# ---------------------------------------------------------------- what takes part
class _Sees(Observer):
    """Keeps what it is shown, and finds a step broken when told to."""

    recording = True

    def __init__(self) -> None:
        self.seen: list[list[Delivery]] = []
        self.problems: list[BaseException] = []
        self.broken: Exception | None = None

    def look(self, deliveries: list[Delivery], request: Request | None = None) -> Exception | None:
        self.seen.append(deliveries)
        return self.broken

    def problem(self, error: BaseException) -> None:
        self.problems.append(error)


def test_an_observer_sees_each_step_and_what_it_finds_broken_is_raised(kernel: Kernel) -> None:
    kernel.observer = observer = _Sees()
    with kernel.lock:
        answer = kernel.ask("", Version())
        assert observer.seen == [[answer]]
        observer.broken = ValueError("a rule")
        with pytest.raises(ValueError, match="a rule"):
            kernel.ask("", Version())
    assert observer.problems == [observer.broken]


class _Loses:
    """A network that lets nothing through."""

    def send(self, pending: Pending, request: Request) -> None:
        pass

    def heard(self, type_name: str, status: int) -> None:
        raise AssertionError("the server has heard of nothing")

    def keeps(self, pending: Pending, answer: Answer) -> bool:
        return True

    def takes(self, push: Any) -> bool:
        return True

    def unreachable_s(self, program: str) -> float | None:
        return 0.0


def test_while_there_is_a_network_requests_go_through_it(kernel: Kernel) -> None:
    with kernel.lock:
        assert type(kernel.ask("", Version())) is Answer
        kernel.network = _Loses()
        asked = kernel.ask("", Version())
        assert type(asked) is Pending
        kernel.disconnect_all()
        assert asked.answer is not None
        assert asked.answer.status == 0
        kernel.network = None
        assert type(kernel.ask("", Version())) is Answer


# ---------------------------------------------------------------- the driver
def test_a_mover_of_time_is_told_when_to_look_again() -> None:
    sim = Simulation(mode="manual", start="2026-01-01T00:00:00Z")
    executor = ColonyClient.create(sim, "c").add_executor("t")
    assert sim.driver.pump() is None  # time is moved by hand
    sim.begin(executor.id, AssignProcess(colonyname="c", timeout=1000), outside=True)
    sim.set_clock("scaled", rate=10)
    after_s = sim.driver.pump()
    assert after_s is not None
    assert 0 < after_s <= 100  # of real time
    sim.set_clock("auto")
    with sim.actor("busy"):
        assert sim.driver.pump() is None  # it wakes the mover once it waits


def test_a_driver_serves_a_kernel_without_a_simulation(kernel: Kernel) -> None:
    kernel.clock.set(Mode.AUTO, None, kernel.world.now_ns)
    with pytest.raises(Stuck, match="no further event can happen"):
        Driver(kernel).wait_for(Inbox(), "what never comes")
    assert kernel.mover.event is None
    assert not kernel.lock.locked()
