"""Requests by type: counted, timed, and with the faults that struck them."""

from __future__ import annotations

import pytest

from colonysim import ColonyClient, ExecutorClient, Simulation
from colonysim.core.operations.assignment import AssignProcess
from colonysim.kernel.calls import CALLS_KEPT
from colonysim.kernel.pending import Pending
from colonysim.reports.requests import RequestKind, RequestTally


def counted(sim: Simulation) -> dict[tuple[str, bool], RequestKind]:
    tally = RequestTally()
    tally.read(sim.calls)
    return {(kind.type, kind.waited): kind for kind in tally.kinds()}


def poll(executor: ExecutorClient, timeout_s: int) -> Pending:
    return executor.sim.begin(executor.id, AssignProcess(colonyname="c", timeout=timeout_s))


def test_polls_that_wait_are_told_from_those_that_get_a_process_at_once(colony: ColonyClient) -> None:
    sim = colony.sim
    executor = colony.add_executor("t")
    colony.submit("f", executortype="t")
    assert executor.assign() is not None
    for waits_s in (3, 5, 7, 100):
        polling = poll(executor, 200)
        sim.advance(waits_s)
        colony.submit("f", executortype="t")
        sim.wait(polling)
    poll(executor, 1000)
    found = counted(sim)
    at_once, waited = found["assignprocessmsg", False], found["assignprocessmsg", True]
    assert (at_once.count, at_once.least_s, at_once.most_s) == (1, 0.0, 0.0)
    assert (waited.count, waited.unanswered) == (5, 1)
    assert (waited.least_s, waited.median_s, waited.p95_s, waited.most_s) == (3.0, 5.0, 100.0, 100.0)
    assert found["submitfuncspecmsg", False].count == 5


def test_refused_and_lost_requests_are_counted_with_the_fault_that_struck(colony: ColonyClient) -> None:
    sim = colony.sim
    executor = colony.add_executor("t")
    process = colony.submit("f", executortype="t")
    assigned = executor.assign()
    assert assigned is not None
    sim.faults.add(
        {"kind": "lose_reply", "name": "gone", "match": {"types": "closesuccessfulmsg"}, "when": {"first": 1}}
    )
    with pytest.raises(ConnectionError):
        assigned.close()
    assert process.state.name == "SUCCESS"
    close = counted(sim)["closesuccessfulmsg", False]
    assert (close.count, close.unanswered, close.refused, close.faults) == (1, 1, 0, {"gone": 1})
    assert close.median_s is None


def test_calls_that_the_kernel_has_dropped_are_counted_once(colony: ColonyClient) -> None:
    sim = colony.sim
    tally = RequestTally()
    sim.observers.observe(lambda happened: tally.follow(sim.kernel, happened))
    count = CALLS_KEPT + 500
    for _ in range(count):
        colony.submit("f")
    tally.read(sim.calls)
    (kind,) = (kind for kind in tally.kinds() if kind.type == "submitfuncspecmsg")
    assert kind.count == count
