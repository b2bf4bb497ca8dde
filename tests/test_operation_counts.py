"""What things cost, counted and not timed: calls of functions, and blocks of memory, for fixed scenarios.

A bound that is passed means that the hot path has grown, or that something goes over all there is. Bounds are
five to ten per cent above what is counted today; lower them when a change makes things cheaper.
"""

from __future__ import annotations

import gc
import subprocess
import sys
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

import colonysim
from colonysim import ColonyClient, Simulation
from colonysim.core.operations.assignment import AssignProcess
from colonysim.core.operations.closing import CloseSuccessful
from colonysim.core.operations.processes import CancelProcess, RemoveProcess, SubmitFuncSpec
from colonysim.core.operations.workflows import SubmitWorkflow
from colonysim.core.types import Conditions, FunctionSpec, WorkflowSpec

PACKAGE = str(Path(colonysim.__file__).parent)
ASSIGN = AssignProcess(colonyname="c", timeout=-1)


def calls(work: Callable[[], object]) -> int:
    """How often functions of the package, written in Python, are called."""
    count = 0

    def see(frame: FrameType, event: str, argument: Any) -> None:
        nonlocal count
        if event == "call" and frame.f_code.co_filename.startswith(PACKAGE):
            count += 1

    before = sys.getprofile()
    sys.setprofile(see)
    try:
        work()
    finally:
        sys.setprofile(before)
    return count


def bytecodes(work: Callable[[], object]) -> int:
    """How many instructions of Python's interpreter functions of the package execute."""
    count = 0

    def see(frame: FrameType, event: str, argument: Any) -> Any:
        nonlocal count
        if event == "opcode":
            count += 1
        elif event == "call" and frame.f_code.co_filename.startswith(PACKAGE):
            frame.f_trace_opcodes, frame.f_trace_lines = True, False
        return see

    before = sys.gettrace()
    sys.settrace(see)
    try:
        work()
    finally:
        sys.settrace(before)
    return count


class Stage:
    """A colony with an executor, asked by messages."""

    def __init__(self, invariants: bool = False, journal: bool = False) -> None:
        self.sim = Simulation(mode="manual", invariants=invariants, journal=journal)
        self.colony = ColonyClient.create(self.sim, "c")
        self.user, self.executor = self.colony.user.id, self.colony.add_executor("cli").id

    def submit(self, **fields: Any) -> str:
        process_id: str = self.sim.call(self.user, submit_message(**fields)).body.process_id
        return process_id

    def take_and_close(self) -> None:
        process_id = self.sim.call(self.executor, ASSIGN).body.process.process_id
        assert self.sim.call(self.executor, CloseSuccessful(processid=process_id)).ok

    def life_cycle(self) -> None:
        self.submit()
        self.take_and_close()


def submit_message(**fields: Any) -> SubmitFuncSpec:
    conditions = Conditions(colonyname="c", executortype="cli", **fields)
    spec = FunctionSpec(funcname="f", maxwaittime=3600, maxexectime=3600, maxretries=3, conditions=conditions)
    return SubmitFuncSpec(spec=spec)


def workflow(parents: Callable[[int, int], list[str]], count: int) -> SubmitWorkflow:
    nodes = [
        FunctionSpec(
            nodename=f"n{number}",
            funcname="f",
            conditions=Conditions(colonyname="c", executortype="cli", dependencies=parents(number, count)),
        )
        for number in range(count)
    ]
    return SubmitWorkflow(spec=WorkflowSpec(colonyname="c", functionspecs=nodes))


# ---------------------------------------------------------------- one life cycle
@pytest.mark.parametrize(("invariants", "journal", "most"), [(False, False, 24), (True, False, 48), (True, True, 52)])
def test_a_life_cycle_takes_so_many_calls(invariants: bool, journal: bool, most: int) -> None:
    stage = Stage(invariants, journal)
    stage.life_cycle()
    assert calls(lambda: [stage.life_cycle() for _ in range(100)]) / 100 <= most


def test_invariants_and_journal_add_so_much_to_a_life_cycle() -> None:
    """Beside 1,900 bytecodes of a plain life cycle with its own spec, the invariants take as many again, and the journal few."""
    counts = []
    for observed in ({}, {"invariants": True}, {"invariants": True, "journal": True}):
        stage = Stage(**observed)
        stage.life_cycle()
        counts.append(bytecodes(lambda stage=stage: [stage.life_cycle() for _ in range(64)]) / 64)  # type: ignore[misc]
    plain, checked, both = counts
    assert plain <= 1910
    assert checked - plain <= 1620
    assert both - checked <= 180


def test_a_life_cycle_takes_as_many_calls_however_many_wait() -> None:
    stage = Stage()
    counts = []
    for waiting in (0, 10, 3000):
        while len(stage.sim.world.queues) < waiting:
            stage.submit()
        stage.life_cycle()
        counts.append(calls(lambda: [stage.life_cycle() for _ in range(50)]))
    assert max(counts) <= counts[0] * 1.02


def test_a_waiting_process_takes_so_much_memory() -> None:
    """Without its spec, which belongs to the message. The reply it was shown in is gone."""
    stage = Stage()
    message = submit_message()
    for _ in range(100):
        stage.sim.call(stage.user, message)
    stage.sim.calls.clear()
    gc.collect()
    blocks = sys.getallocatedblocks()
    tracemalloc.start()
    try:
        for _ in range(2000):
            stage.sim.call(stage.user, message)
        stage.sim.calls.clear()
        gc.collect()
        used = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert used / 2000 <= 850
    assert (sys.getallocatedblocks() - blocks) / 2000 <= 7


def test_a_simulation_that_is_dropped_leaves_nothing_in_memory() -> None:
    """Also while processes wait: the garbage collector does not look into processes and their records."""

    def run() -> None:
        stage = Stage(invariants=True, journal=True)
        for _ in range(500):
            stage.submit()
        stage.take_and_close()

    run()
    gc.collect()
    blocks = sys.getallocatedblocks()
    for _ in range(5):
        run()
    gc.collect()
    assert sys.getallocatedblocks() - blocks <= 500


# ---------------------------------------------------------------- many of something
def _sets(stage: Stage, count: int) -> None:
    for number in range(count):
        stage.submit(cpu=f"{number % 40 + 1}00m", mem=f"{number // 40 + 1}Mi")


@pytest.mark.parametrize("limits", [{}, {"availablecpu": "2000m", "availablemem": "5Mi"}])
def test_an_assign_among_many_condition_sets_looks_at_few(limits: dict[str, str]) -> None:
    """400 sets in front of one that fits: what does not fit is not passed over at each call."""
    stage = Stage()
    _sets(stage, 400)
    message = AssignProcess(colonyname="c", timeout=-1, **limits)
    stage.sim.call(stage.executor, message)
    assert calls(lambda: [stage.sim.call(stage.executor, message) for _ in range(50)]) / 50 <= 32


def test_an_assign_that_finds_nothing_among_many_condition_sets_looks_at_none() -> None:
    stage = Stage()
    _sets(stage, 400)
    message = AssignProcess(colonyname="c", timeout=-1, availablecpu="50m")
    stage.sim.call(stage.executor, message)
    assert calls(lambda: stage.sim.call(stage.executor, message)) <= 24


def test_a_submit_wakes_one_of_many_parked_calls() -> None:
    stage = Stage()
    takers = [stage.colony.add_executor("cli").id for _ in range(500)]
    for taker in takers:
        stage.sim.begin(taker, AssignProcess(colonyname="c", timeout=3600))
    stage.submit()
    assert calls(lambda: [stage.submit() for _ in range(20)]) / 20 <= 75


@pytest.mark.parametrize(
    "parents",
    [
        pytest.param(lambda number, count: [f"n{number - 1}"] if number else [], id="chain"),
        pytest.param(lambda number, count: ["n0"] if number else [], id="fan-out"),
        pytest.param(
            lambda number, count: [f"n{other}" for other in range(count - 1)] if number == count - 1 else [],
            id="fan-in",
        ),
    ],
)
def test_a_graph_costs_as_much_as_it_has_edges(parents: Callable[[int, int], list[str]]) -> None:
    costs = []
    for count in (50, 500):
        stage = Stage()
        message = workflow(parents, count)

        def run(stage: Stage = stage, message: SubmitWorkflow = message, count: int = count) -> None:
            assert stage.sim.call(stage.user, message).ok
            for _ in range(count):
                stage.take_and_close()

        costs.append(calls(run) / count)
    assert costs[1] <= costs[0] * 1.1


def test_cancelled_timers_go() -> None:
    stage = Stage()
    world = stage.sim.world
    for number in range(5000):
        spec = FunctionSpec(
            funcname="f", maxwaittime=60 + number, conditions=Conditions(colonyname="c", executortype="cli")
        )
        process_id = stage.sim.call(stage.user, SubmitFuncSpec(spec=spec)).body.process_id
        assert stage.sim.call(stage.user, CancelProcess(processid=process_id)).ok
        assert stage.sim.call(stage.user, RemoveProcess(processid=process_id)).ok
    assert len(world.release_ticks) < 1100
    assert len(world.agenda.entries()) < 1200
    assert not any(world.release_ticks.values())


# ---------------------------------------------------------------- starting
@pytest.mark.parametrize("statement", ["import colonysim", "from colonysim import Simulation; Simulation()"])
def test_nothing_heavy_is_imported_before_it_is_needed(statement: str) -> None:
    heavy = [
        "calendar",
        "coincurve",
        "ctypes",
        "http.client",
        "pathlib",
        "pickle",
        "socket",
        "subprocess",
        "werkzeug",
        "zoneinfo",
    ]
    code = f"import sys; before = set(sys.modules); {statement}; print(*(set(sys.modules) - before))"
    plain = [sys.executable, "-S", "-c", f"import sys; sys.path[:] = {sys.path!r}; {code}"]
    loaded = subprocess.check_output(plain, text=True).split()
    assert "colonysim" in loaded
    assert set(loaded) & set(heavy) == set()
    assert len([name for name in loaded if name.startswith("colonysim")]) <= 120
