"""Why processes ended without success: from their records, and more exactly from a history."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from colonysim import ColonyClient
from colonysim.evidence import causes
from colonysim.evidence.causes import CANCELLED_BY, CLOSED, GONE, RAN, RELATED, WAITED, Cause


@pytest.fixture
def mixed(colony: ColonyClient) -> ColonyClient:
    """A colony in which processes have ended in each way, some twice."""
    executor = colony.add_executor("t")

    def assigned() -> None:
        taken = executor.assign()
        assert taken is not None
        taken.fail("disk full")

    for _ in range(3):
        colony.submit("f", executortype="t", maxexectime=100)
        assigned()
    colony.submit("g", executortype="t", maxexectime=1, maxretries=0)
    executor.assign()
    for _ in range(2):
        colony.submit("h", executortype="nobody", maxwaittime=1)
    colony.submit("k", executortype="nobody").cancel()
    colony.sim.advance(5)
    colony.submit_workflow({"a": {"executortype": "t"}, "b": {"executortype": "t", "after": ["a"]}})
    assigned()
    colony.submit("fine", executortype="t")
    fine = executor.assign()
    assert fine is not None
    fine.close()
    colony.submit("still waits", executortype="t")
    return colony


def test_each_cause_has_its_count_with_and_without_a_history(mixed: ColonyClient) -> None:
    world = mixed.sim.world
    by_records = causes.causes(world.processes.values(), removed=2)
    by_history = causes.causes(world.processes.values(), mixed.sim.observers.invariants, removed=2)
    assert by_records == tuple(replace(one, timelines=()) for one in by_history)
    for one in by_history:
        assert len(one.timelines) == len(one.processes) == min(3, 0 if one.name == GONE else one.count)
        assert all("NEW → WAITING" in timeline for timeline in one.timelines)
    assert {one.name: one.count for one in by_history} == {
        CLOSED: 4, WAITED: 2, RAN: 1, CANCELLED_BY: 1, RELATED: 1, GONE: 2,
    }  # fmt: skip
    assert [one.count for one in by_history] == sorted((one.count for one in by_history), reverse=True)


def test_the_commonest_errors_of_executors_are_counted(mixed: ColonyClient) -> None:
    closed = next(one for one in causes.causes(mixed.sim.world.processes.values()) if one.name == CLOSED)
    assert closed.texts == (("disk full", 4),)
    assert str(closed) == '4 processes closed as failed by their executor: "disk full" (4)'
    assert len(closed.processes) == 3
    failed = [mixed.sim.world.processes[process_id] for process_id in closed.processes]
    assert [one.errors for one in failed] == [["disk full"]] * 3


def test_an_executor_that_gives_the_text_of_the_server_is_known_by_the_history(colony: ColonyClient) -> None:
    executor = colony.add_executor("t")
    process = colony.submit("f", executortype="t", maxexectime=100)
    taken = executor.assign()
    assert taken is not None
    taken.fail("Maximum execution time limit exceeded")
    record = colony.sim.world.processes[process.id]
    assert causes.cause_of(record) == RAN
    assert [one.name for one in causes.causes([record], colony.sim.observers.invariants)] == [CLOSED]
    assert process.id in colony.sim.world.processes


def test_long_errors_and_errors_of_many_lines_become_one_short_line(colony: ColonyClient) -> None:
    executor = colony.add_executor("t")
    for errors in (["one\ntwo", "three"], ["x" * 1000], []):
        process = colony.submit("f", executortype="t", maxexectime=100)
        taken = executor.assign()
        assert taken is not None
        taken.fail(*errors)
        text = causes.error_text(colony.sim.world.processes[process.id])
        assert "\n" not in text
        assert len(text) <= 200
    assert [text for text, _ in causes.causes(colony.sim.world.processes.values())[0].texts] == [
        "one two; three", "x" * 199 + "…", "no errors given",
    ]  # fmt: skip


def test_without_failures_there_are_no_causes(colony: ColonyClient) -> None:
    colony.submit("f", executortype="t")
    assert causes.causes(colony.sim.world.processes.values()) == ()
    assert str(Cause("removed", 1200)) == "1,200 processes removed"
