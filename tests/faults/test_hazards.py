"""Hazards: weaknesses of the reference server."""

from __future__ import annotations

from typing import Any

import pytest

from colonysim import AssignedProcess, ColonyClient, ExecutorClient, Lost, ProcessState, Refused, Simulation
from colonysim.core.operations.assignment import AssignProcess
from colonysim.core.operations.closing import CloseFailed, CloseSuccessful
from colonysim.core.operations.executors import ChangeExecutorId
from colonysim.faults import (
    Hazard,
    Restart,
    Times,
)
from tests.faults.common import submit


def test_without_hazards_the_executor_that_can_take_it_is_woken(sim: Simulation, colony: ColonyClient) -> None:
    assert _woken_by_name(sim, colony) == 200


def test_a_lossy_wakeup_wakes_one_that_cannot_take_it(sim: Simulation, colony: ColonyClient) -> None:
    sim.faults.add(Hazard(hazard="lossy_wakeup", until_s=1000))
    assert _woken_by_name(sim, colony) == 404


def test_a_lost_signal_wakes_nobody(sim: Simulation, colony: ColonyClient) -> None:
    sim.faults.add(Hazard(hazard="lost_signal", until_s=1000))
    assert _woken_by_name(sim, colony) == 404


def _woken_by_name(sim: Simulation, colony: ColonyClient) -> int | None:
    """What a parked call gets when a process comes for it by name, and another of its type was parked before."""
    other, wanted = colony.add_executor("a"), colony.add_executor("a")
    sim.begin(other.id, AssignProcess(colonyname="c", timeout=50))
    poll = sim.begin(wanted.id, AssignProcess(colonyname="c", timeout=50))
    submit(colony, executornames=[wanted.name])
    sim.advance(60)
    return poll.call.status


def test_a_deadlocked_pool_answers_nothing_until_a_restart(sim: Simulation, colony: ColonyClient) -> None:
    process = submit(colony)
    sim.faults.add(Hazard(hazard="pool_deadlock", pool_size=3, until_s=1000), Restart(times=Times(at_s=20)))
    assert [process.state, process.state] == [ProcessState.WAITING] * 2
    before = sim.now_ns
    with pytest.raises(Lost):
        process.state  # noqa: B018
    assert sim.now_ns - before == 20 * 10**9
    assert process.state is ProcessState.WAITING


def test_leaked_connections_stop_the_server_until_the_hazard_ends(sim: Simulation, colony: ColonyClient) -> None:
    executor = colony.add_executor("a")
    sim.faults.add(Hazard(hazard="connection_leak", pool_size=1, until_s=30))
    sim.call(executor.id, ChangeExecutorId(colonyname="c", executorid="5" * 64))
    with pytest.raises(Lost):
        colony.processes()
    assert sim.now_ns - sim.world.started_ns == 30 * 10**9
    assert colony.processes() == []


def test_a_retried_close_is_sent_twice(sim: Simulation, colony: ColonyClient) -> None:
    executor = colony.add_executor("a")
    executor.add_function("f")
    submit(colony)
    process = executor.assign()
    assert process is not None
    sim.faults.add(Hazard(hazard="retried_close", until_s=1000))
    process.close()
    (function,) = sim.world.functions.values()
    assert function.counter == 2
    submit(colony)
    again = executor.assign()
    assert again is not None
    with pytest.raises(Refused, match="as failed"):
        again.fail("x")  # the first try has failed it already


DOUBLE_CLOSE = Hazard(hazard="double_close", until_s=1000)


def _running(colony: ColonyClient, executor: ExecutorClient) -> AssignedProcess:
    submit(colony)
    process = executor.assign()
    assert process is not None
    return process


@pytest.mark.parametrize("first", ["close", "fail"])
def test_a_double_close_answers_both_and_the_first_counts(sim: Simulation, colony: ColonyClient, first: str) -> None:
    executor = colony.add_executor("a")
    sim.faults.add(DOUBLE_CLOSE)
    process = _running(colony, executor)
    closes = {"close": lambda: process.close(["out"]), "fail": lambda: process.fail("error")}
    closes.pop(first)()
    (other,) = closes.values()
    other()  # not refused
    details = process.details
    assert details.state == (2 if first == "close" else 3)
    assert (list(details.output or ()), list(details.errors or ())) == (([], ["error"]), (["out"], []))[
        first == "close"
    ]
    assert [call.verdict for call in sim.calls if call.fault] == ["hazard"]
    sim.check()


@pytest.mark.parametrize(
    "between",
    ["time", "same kind", "somebody else", "another process", "off", "unlikely"],
)
def test_other_second_closes_are_refused_as_ever(sim: Simulation, colony: ColonyClient, between: str) -> None:
    executor, second = colony.add_executor("a"), colony.add_executor("a", "second")
    chance = 0.0 if between == "unlikely" else 1.0
    if between != "off":
        sim.faults.add(Hazard(hazard="double_close", until_s=1000, probability=chance))
    process = _running(colony, executor)
    process.close()
    if between == "time":
        sim.advance(0.001)
    if between == "another process":
        _running(colony, executor).close()
    message: Any = CloseFailed(processid=process.id)
    if between == "same kind":
        message = CloseSuccessful(processid=process.id)
    caller = second if between == "somebody else" else executor
    answer = sim.call(caller.id, message)
    assert answer.status == {"same kind": 200, "somebody else": 403}.get(between, 400)  # a success may be repeated
    assert process.details.state == 2


def test_how_often_a_double_close_happens_is_drawn_from_the_seed() -> None:
    def answers(seed: int) -> list[int]:
        sim = Simulation(seed=seed)
        colony = ColonyClient.create(sim, "c")
        executor = colony.add_executor("a")
        sim.faults.add(Hazard(hazard="double_close", until_s=1000, probability=0.3))
        statuses = []
        for _ in range(60):
            process = _running(colony, executor)
            process.close()
            statuses.append(sim.call(executor.id, CloseFailed(processid=process.id)).status)
        sim.check()
        return statuses

    assert answers(1) == answers(1) != answers(2)
    assert 5 < answers(1).count(200) < 35
