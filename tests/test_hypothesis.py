"""Strategies and the state machine for users: what they draw is valid, and what is broken is found."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, find, given, settings
from hypothesis.stateful import run_state_machine_as_test
from hypothesis.strategies import SearchStrategy
from msgspec.structs import replace

from colonysim import (
    AssignedProcess,
    ColonyClient,
    ExecutorClient,
    InvariantViolation,
    ProcessState,
    Refused,
    Simulation,
)
from colonysim.core import lifecycle, transitions
from colonysim.core.types import FunctionSpec
from colonysim.faults import LoseReply, MessageFault, Plan, ServerFault
from colonysim.faults.registry import KINDS
from colonysim.hypothesis import (
    ColonyStateMachine,
    Nodes,
    fault_plans,
    function_specs,
    message_faults,
    server_faults,
    workflows,
)
from colonysim.kernel.pending import Lost

QUICK = settings(max_examples=30, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck))
FINDING = settings(QUICK, max_examples=300, phases=(Phase.generate,), derandomize=True, database=None)


@pytest.fixture(scope="module")
def colony() -> ColonyClient:
    return ColonyClient.create(Simulation(mode="manual"))


# ---------------------------------------------------------------- strategies
@settings(QUICK)
@given(spec=function_specs(executor_types=["a", "b"], names=["e1"], locations=["hall"]))
def test_specs_are_accepted_as_they_are(colony: ColonyClient, spec: FunctionSpec) -> None:
    process = colony.user.submit_spec(spec)
    assert process.state is ProcessState.WAITING
    assert process.spec.conditions.executortype in ("a", "b")
    assert process.spec.funcname == spec.funcname


@settings(QUICK)
@given(nodes=workflows(max_nodes=5))
def test_workflows_are_accepted_and_run_to_their_end(nodes: Nodes) -> None:
    sim = Simulation(mode="manual")
    colony = ColonyClient.create(sim)
    executor = colony.add_executor("cli")
    graph = colony.submit_workflow(nodes)
    order = []
    while process := executor.assign():
        order.append(process.spec.nodename)
        process.close()
    assert graph.state is ProcessState.SUCCESS
    assert all(order.index(name) > order.index(parent) for name in nodes for parent in nodes[name]["after"])


def test_what_is_drawn_shrinks_to_the_plainest() -> None:
    spec = find(function_specs(), lambda spec: True)
    assert (spec.args, spec.priority, spec.maxexectime, spec.conditions.cpu) == ([], 0, -1, "")
    assert find(workflows(), lambda nodes: any(node["after"] for node in nodes.values())) == {
        "n0": {"executortype": "cli", "after": []},
        "n1": {"executortype": "cli", "after": ["n0"]},
    }


def test_faults_of_all_kinds_of_their_family_are_drawn() -> None:
    drawn: set[str] = set()

    @settings(QUICK, max_examples=300, derandomize=True, database=None)
    @given(fault=message_faults() | server_faults())
    def draw(fault: Any) -> None:
        drawn.add(fault.kind)

    draw()
    assert drawn == {name for name, kind in KINDS.items() if issubclass(kind, (MessageFault, ServerFault))}


@settings(QUICK)
@given(plan=fault_plans(until_s=300))
def test_a_patient_executor_closes_everything_once_the_faults_are_over(plan: Plan) -> None:
    sim = Simulation(mode="auto")
    colony = ColonyClient.create(sim)
    executor = colony.add_executor("cli")
    processes = [colony.submit("f", maxexectime=5) for _ in range(3)]
    sim.faults.add(plan)
    end_ns = sim.now_ns + 400 * 1_000_000_000
    while sim.now_ns < end_ns:
        try:
            if process := executor.assign(timeout_s=10):
                process.close()
        except (Refused, Lost):
            sim.advance(1)
    assert [process.state for process in processes] == [ProcessState.SUCCESS] * 3


def test_a_plan_shrinks_to_the_fault_that_matters() -> None:
    plan = find(fault_plans(), lambda plan: any(isinstance(fault, LoseReply) for fault in plan.faults))
    assert len(plan.faults) == 1


# ---------------------------------------------------------------- the machine
class Plain(ColonyStateMachine):
    """As it is."""

    executor_types = ("cli", "gpu")


TestPlain = Plain.TestCase
TestPlain.settings = QUICK


class WithCode(ColonyStateMachine):
    """An executor with code of its own, and a rule and specs of the test's."""

    settings_of_server = {"seed": 4, "exclusive_assign": False}

    def specs(self) -> SearchStrategy[FunctionSpec]:
        return function_specs(funcnames=["double"], args=_numbers())

    def execute(self, executor: ExecutorClient, process: AssignedProcess) -> None:
        if process.spec.funcname == "double":
            process.close([2 * number for number in process.args])


def _numbers() -> SearchStrategy[list[Any]]:
    from hypothesis import strategies as st

    return st.lists(st.integers(0, 9), max_size=2)


TestWithCode = WithCode.TestCase
TestWithCode.settings = QUICK


class Careless(ColonyStateMachine):
    """Executor code with a bug: it closes although it may have lost the process meanwhile."""

    def execute(self, executor: ExecutorClient, process: AssignedProcess) -> None:
        self.sim.advance(20)
        process.close()


def test_a_bug_in_executor_code_is_found() -> None:
    with pytest.raises(Refused, match=r"^40[03] "):
        run_state_machine_as_test(Careless, settings=FINDING)


class Hurried(ColonyStateMachine):
    """Nobody has much time, or a second try."""

    def specs(self) -> SearchStrategy[FunctionSpec]:
        return function_specs().map(lambda spec: replace(spec, maxexectime=1, maxretries=0))


def test_a_bug_in_the_server_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        lifecycle, "_out_of_time", lambda world, process: transitions.requeue_after_timeout(world, process)
    )
    with pytest.raises(InvariantViolation, match="has been retried once, and its limit is 0"):
        run_state_machine_as_test(Hurried, settings=FINDING)
