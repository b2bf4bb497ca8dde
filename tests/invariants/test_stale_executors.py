"""The invariants on stale executors hold in every life of executors, and are checked after each step of it."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from colonysim import ColonyClient, Refused, Simulation
from colonysim.core.operations.assignment import AssignProcess
from colonysim.core.operations.executors import (
    AddExecutor,
    ApproveExecutor,
    ChangeExecutorId,
    RejectExecutor,
    RemoveExecutor,
)
from colonysim.core.records import SECOND_NS
from colonysim.core.types import UNSET_TIME, ExecutorSpec, Timestamp
from colonysim.wire import identity

IDS = [identity.derived(1, str(number)).id for number in range(2)]
NAMES = ["a", "b"]


def add(colony: ColonyClient, name: str, executor_id: str, heard_ns: int | None = None) -> None:
    """Add and approve an executor that says when it was heard of last, if that is given."""
    heard = UNSET_TIME if heard_ns is None else Timestamp(heard_ns)
    spec = ExecutorSpec(
        executorid=executor_id, executortype="t", executorname=name, colonyname="c", lastheardfromtime=heard
    )
    colony.ask(AddExecutor(executor=spec))
    colony.ask(ApproveExecutor(colonyname="c", executorname=name))


def ask_for_work(sim: Simulation, executor_id: str) -> None:
    with suppress(Refused):
        sim.call(executor_id, AssignProcess(colonyname="c", timeout=-1))


@pytest.fixture
def colony() -> ColonyClient:
    return ColonyClient.create(Simulation(mode="manual", stale_executor_duration_s=40), "c")


@pytest.mark.parametrize("between_s", [0, 1, 30, 100])
@pytest.mark.parametrize("removed", [True, False], ids=["removed", "replaced"])
def test_an_executor_that_registers_anew_is_not_expected_to_be_stale(
    colony: ColonyClient, removed: bool, between_s: float
) -> None:
    sim = colony.sim
    add(colony, "a", IDS[0])
    ask_for_work(sim, IDS[0])
    sim.advance(between_s)
    if removed:
        with suppress(Refused):  # it is stale
            colony.ask(RemoveExecutor(colonyname="c", executorname="a"))
    with suppress(Refused):  # the name is taken
        add(colony, "a", IDS[0])
    for _ in range(20):
        sim.advance(10)
        sim.check()


STEPS = st.one_of(
    st.tuples(st.just("add"), st.sampled_from(NAMES), st.sampled_from(IDS), st.sampled_from([None, -30, -500, 0, 300])),
    st.tuples(st.just("remove"), st.sampled_from(NAMES)),
    st.tuples(st.just("reject"), st.sampled_from(NAMES)),
    st.tuples(st.just("approve"), st.sampled_from(NAMES)),
    st.tuples(st.just("assign"), st.sampled_from(IDS)),
    st.tuples(st.just("change id"), st.sampled_from(IDS), st.sampled_from(IDS)),
    st.tuples(st.just("pass"), st.sampled_from([0.5, 9, 11, 39, 41, 200])),
    st.tuples(st.just("snapshot")),
)


def take(colony: ColonyClient, step: tuple[Any, ...]) -> None:
    sim = colony.sim
    match step:
        case ("add", name, executor_id, before_s):
            add(colony, name, executor_id, None if before_s is None else sim.now_ns + before_s * SECOND_NS)
        case ("remove", name):
            colony.ask(RemoveExecutor(colonyname="c", executorname=name))
        case ("reject", name):
            colony.ask(RejectExecutor(colonyname="c", executorname=name))
        case ("approve", name):
            colony.ask(ApproveExecutor(colonyname="c", executorname=name))
        case ("change id", executor_id, other_id):
            sim.call(executor_id, ChangeExecutorId(colonyname="c", executorid=other_id))
        case ("assign", executor_id):
            ask_for_work(sim, executor_id)
        case ("pass", seconds):
            sim.advance(seconds)


@settings(max_examples=150, deadline=None)
@given(st.lists(STEPS, max_size=25))
def test_no_life_of_executors_raises_an_alarm(steps: list[tuple[Any, ...]]) -> None:
    colony = ColonyClient.create(Simulation(mode="manual", stale_executor_duration_s=40), "c")
    for step in steps:
        if step == ("snapshot",):
            colony = ColonyClient(colony.sim.fork(), colony.identity, "c", colony.user)
        with suppress(Refused):
            take(colony, step)
        colony.sim.check()
    colony.sim.advance(1000)
    colony.sim.check()
