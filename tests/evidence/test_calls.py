"""The calls that are kept: as many as are promised, and no more bytes than are promised."""

from __future__ import annotations

import gc
import tracemalloc

import pytest
from msgspec.structs import replace

from colonysim import ColonyClient, Simulation, UserClient
from colonysim.core.errors import Refusal
from colonysim.core.operations.assignment import AssignProcess
from colonysim.core.operations.attributes import AddAttribute
from colonysim.core.operations.closing import CloseSuccessful
from colonysim.core.operations.processes import GetProcess, RemoveProcess, SubmitFuncSpec
from colonysim.core.operations.workflows import SubmitWorkflow
from colonysim.core.types import Attribute, Conditions, FunctionSpec, WorkflowSpec
from colonysim.kernel.calls import _SMALL_AFTER_SMALL_MESSAGES, CALLS_KEPT, CALLS_KEPT_BYTES, LARGE_BYTES

MIB = 2**20


@pytest.fixture
def sim() -> Simulation:
    return Simulation(mode="manual", invariants=False)


def _submit(user: UserClient, size: int) -> str:
    spec = FunctionSpec(funcname="f", label="x" * size, conditions=Conditions(colonyname="c", executortype="cli"))
    process_id: str = user.ask(SubmitFuncSpec(spec=spec)).process_id
    return process_id


def _held(sim: Simulation) -> int:
    """The bytes of the labels that the calls hold, each label counted once."""
    labels = {}
    for call in sim.calls:
        for holder in (call.message, call.body):
            for spec in (getattr(holder, "spec", None), getattr(getattr(holder, "process", None), "spec", None)):
                if spec is not None:
                    labels[id(spec.label)] = len(spec.label)
    return sum(labels.values())


def test_a_hundred_large_messages_leave_as_much_as_is_promised(sim: Simulation, colony: ColonyClient) -> None:
    user = colony.user
    for _ in range(200):
        user.ask(RemoveProcess(processid=_submit(user, MIB)))
    assert MIB < _held(sim) <= CALLS_KEPT_BYTES
    assert sim.calls.held_bytes <= CALLS_KEPT_BYTES


def test_memory_is_given_back(sim: Simulation, colony: ColonyClient) -> None:
    user = colony.user
    tracemalloc.start()
    try:
        for _ in range(300):
            user.ask(RemoveProcess(processid=_submit(user, MIB)))
        gc.collect()
        used = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert used <= CALLS_KEPT_BYTES + 8 * MIB


def test_a_message_too_large_by_itself_is_not_kept_but_told_of(sim: Simulation, colony: ColonyClient) -> None:
    process_id = _submit(colony.user, CALLS_KEPT_BYTES + 1)
    call = sim.calls[-1]
    assert (call.payload_type, call.status, call.message, call.body) == ("submitfuncspecmsg", 200, b"", None)
    assert sim.calls[-2].payload_type == "addusermsg"
    assert colony.user.ask(GetProcess(processid=process_id)).process_id == process_id
    assert _held(sim) == 0


def test_many_messages_just_below_large_are_within_the_bound() -> None:
    assert CALLS_KEPT * LARGE_BYTES <= CALLS_KEPT_BYTES


def test_large_replies_to_small_messages_count(sim: Simulation, colony: ColonyClient) -> None:
    executor = colony.add_executor()
    _submit(colony.user, MIB)
    before = sim.calls.held_bytes
    process = sim.call(executor.id, AssignProcess(colonyname="c", timeout=-1)).body.process
    assert sim.calls.held_bytes >= before + MIB
    assert sim.call(executor.id, GetProcess(processid=process.process_id)).ok
    assert sim.calls.held_bytes >= before + 2 * MIB


def test_replies_made_large_by_many_small_messages_count(sim: Simulation, colony: ColonyClient) -> None:
    """Each state of a process has all its attributes anew."""
    executor = colony.add_executor()
    _submit(colony.user, 1)
    process_id = sim.call(executor.id, AssignProcess(colonyname="c", timeout=-1)).body.process.process_id
    for number in range(100):
        attribute = Attribute(targetid=process_id, targetcolonyname="c", key=f"{number}", value="v" * 1000)
        assert sim.call(executor.id, AddAttribute(attribute=attribute)).ok
    before = sim.calls.held_bytes
    assert sim.call(executor.id, GetProcess(processid=process_id)).ok
    assert sim.calls.held_bytes >= before + 1000 * 100
    assert sim.calls.small, "no message was large"


def test_inputs_gathered_from_many_parents_count(sim: Simulation, colony: ColonyClient) -> None:
    executor = colony.add_executor()
    conditions = Conditions(colonyname="c", executortype="cli")
    parents = [FunctionSpec(nodename=f"n{number}", funcname="f", conditions=conditions) for number in range(20)]
    last = replace(conditions, dependencies=[parent.nodename for parent in parents])
    nodes = [*parents, FunctionSpec(nodename="last", funcname="f", conditions=last)]
    sim.call(colony.user.id, SubmitWorkflow(spec=WorkflowSpec(colonyname="c", functionspecs=nodes)))
    for _ in parents:
        process_id = sim.call(executor.id, AssignProcess(colonyname="c", timeout=-1)).body.process.process_id
        assert sim.call(executor.id, CloseSuccessful(processid=process_id, out=["x" * 4000])).ok
    sim.calls.clear()
    sim.calls.small = (
        _SMALL_AFTER_SMALL_MESSAGES  # as it is when as many calls as are kept have come since the workflow
    )
    reply = sim.call(executor.id, AssignProcess(colonyname="c", timeout=-1))
    assert len(reply.body.process.input) == 20
    assert sim.calls.held_bytes >= 20 * 4000


def test_values_count_and_not_their_digits_alone(sim: Simulation, colony: ColonyClient) -> None:
    """An empty list is two bytes of JSON, and more than fifty in memory."""
    colony.submit("f", [[[] for _ in range(100_000)]])
    assert sim.calls.held_bytes >= 2 * 100_000 * 56


def test_all_is_kept_where_nothing_is_large(sim: Simulation, colony: ColonyClient) -> None:
    for _ in range(CALLS_KEPT + 10):
        sim.call(colony.user.id, GetProcess(processid="x"))
    assert len(sim.calls) == CALLS_KEPT


def test_calls_are_not_weighed_for_ever_after_a_large_one(sim: Simulation, colony: ColonyClient) -> None:
    _submit(colony.user, 2 * LARGE_BYTES)
    assert not sim.calls.small
    for _ in range(CALLS_KEPT):
        sim.call(colony.user.id, GetProcess(processid="x"))
    assert sim.calls.small


def test_a_reset_forgets_what_calls_held(sim: Simulation, colony: ColonyClient) -> None:
    _submit(colony.user, MIB)
    sim.reset()
    assert (len(sim.calls), sim.calls.held_bytes) == (0, 0)


def test_of_a_request_that_could_not_be_read_the_beginning_is_kept(sim: Simulation) -> None:
    sim.kernel.record_refused(b"x" * MIB, "y" * MIB, Refusal(403, "z" * MIB))
    call = sim.calls[-1]
    assert isinstance(call.message, bytes)
    assert len(call.message) + len(call.payload_type) + len(call.body) <= 6000
