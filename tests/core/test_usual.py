"""Requests served in the usual way and in the general way give the same answers, history, journal and tables."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from colonysim import ColonyClient, Refused, Settings, Simulation
from colonysim.core import engine, subscriptions
from colonysim.core.operations.assignment import AssignProcess
from colonysim.core.operations.attributes import AddAttribute
from colonysim.core.operations.closing import CloseFailed, CloseSuccessful
from colonysim.core.operations.functions import AddFunction
from colonysim.core.operations.processes import CancelProcess, GetProcess, RemoveProcess, SubmitFuncSpec
from colonysim.core.operations.users import AddUser
from colonysim.core.operations.workflows import SubmitWorkflow
from colonysim.core.protocol import Answer, Message
from colonysim.core.records import Process
from colonysim.core.types import Attribute, Conditions, Function, FunctionSpec, Gpu, User, WorkflowSpec
from colonysim.core.usual import USUAL

STRANGER: Final = "f" * 64
UNREADABLE: Final = "e" * 64
PLACES: Final = ["", "", "hall", "Hall"]


class Story:
    """A random history of one simulation. `rare` is how often something unusual is part of a request."""

    def __init__(self, seed: int, rare: float) -> None:
        self.chance = chance = random.Random(seed)
        self.rare = rare
        settings = Settings(
            exclusive_assign=chance.random() < 0.7,
            policy="fair" if chance.random() < rare else "reference",
            retention=chance.random() < rare,
        )
        self.sim = Simulation(settings, mode="manual", invariants=chance.random() < 0.5, journal=True)
        self.seen: list[Any] = []
        self.sim.observers.observe(self.seen.extend)
        self.colony = colony = ColonyClient.create(self.sim, "c")
        other = ColonyClient.create(self.sim, "d")
        self.executors = [colony.add_executor("t", f"e{n}", location=chance.choice(PLACES)).id for n in range(4)]
        self.executors.append(colony.add_executor("t", "pending", approve=False).id)
        self.callers = [*self.executors, colony.add_user("u").id, other.add_executor("t", "e0").id, STRANGER]
        if self._rarely():
            with suppress(Refused):  # it is stored all the same
                colony.ask(AddUser(user=User(colonyname="c", userid=UNREADABLE, name="a:b")))
            self.callers.append(UNREADABLE)
        if self._rarely():
            subscriptions.subscribe(self.sim.world, 1, "t", 0, "", 60)
        self.priorities = chance.choice([[0], [0, 0, 0, 1, -3], range(30)])  # many of them need views of sizes
        self.ids = ["unknown"]
        self.answers: list[Any] = []

    def _rarely(self) -> bool:
        return self.chance.random() < self.rare

    def _some(self, usual: Any, *others: Any) -> Any:
        return self.chance.choice(others) if self._rarely() else usual

    def _spec(self, **more: Any) -> FunctionSpec:
        chance, some = self.chance, self._some
        conditions = Conditions(
            colonyname=some("c", "d", "x"), executortype=some("t", "other"), cpu=some("", "100m"),
            mem=some("", "1Gi"), executornames=some(None, ["e1"], ["*"]), locationname=some("", *PLACES),
            nodes=some(0, 2, 200, 2**31), processes=some(0, 200, 2**31), processespernode=some(0, 200, 2**31),
            storage=some("", "1Gi"), gpu=some(None, Gpu(name="a", mem="1Gi"), Gpu(mem="?")), **more,
        )  # fmt: skip
        return FunctionSpec(
            nodename="n", funcname="f", args=chance.choice([None, [1, 2.0, "a"]]), kwargs=some(None, {"x": 1e300}),
            env=some(None, {"K": "v"}), channels=some(None, ["ch"]), priority=some(chance.choice(self.priorities), 50_000, 50_001),
            maxwaittime=chance.choice([-1, 0, 5, some(60, -5, 2**31)]), maxretries=some(1, 0, -1, 2**31),
            maxexectime=chance.choice([-1, 3, 60, some(7, 0, -5, 2**31)]), conditions=conditions,
        )  # fmt: skip

    def _message(self) -> Message:
        chance, some = self.chance, self._some
        kind = chance.random()
        process_id = chance.choice(self.ids[-6:])
        if kind < 0.4:
            return SubmitFuncSpec(spec=some(self._spec(), None))
        if kind < 0.7:
            timeout = some(-1, 0, 3, 5)
            return AssignProcess(colonyname=some("c", "d"), timeout=timeout, availablecpu=some("", "1000m"))
        if kind < 0.9:
            return CloseSuccessful(processid=process_id, out=chance.choice([None, [], [1, 2.0], some([0], ["a"])]))
        if kind < 0.92:
            nodes = [self._spec(), self._spec(dependencies=["n"])]
            return SubmitWorkflow(spec=WorkflowSpec(colonyname="c", functionspecs=nodes[: chance.choice([1, 2])]))
        if kind < 0.93 and self._rarely():
            return AddFunction(fun=Function(colonyname="c", executorname="e0", funcname="f"))
        if kind < 0.94 and self._rarely():
            attribute = Attribute(targetid=process_id, targetcolonyname="c", key="k", value="v", attributetype=1)
            return AddAttribute(attribute=attribute)
        others = [CloseFailed, CancelProcess, GetProcess, some(GetProcess, RemoveProcess)]
        return chance.choice(others)(processid=process_id)

    def step(self) -> None:
        """Send one request, or let time pass, pause or resume."""
        kind = self.chance.random()
        if kind < 0.04:
            self.sim.advance(self.chance.choice([0.4, 1, 4, 30]))
        elif kind < 0.05 and self._rarely():
            self.chance.choice([self.colony.pause, self.colony.resume])()
        else:
            message = self._message()
            answer = self.sim.begin(self._caller(message), message).answer
            self.answers.append(answer)
            if type(answer) is Answer and answer.ok:
                process = getattr(answer.body, "process", answer.body)
                self.ids.append(getattr(process, "process_id", self.ids[-1]))

    def _caller(self, message: Message) -> str:
        """Choose a caller: mostly the executor that runs the process which the message names, if there is one."""
        process = self.sim.world.processes.get(getattr(message, "processid", ""))
        if process is not None and process.executor_id and self.chance.random() < 0.8:
            return process.executor_id
        return self.chance.choice(self.callers)

    def result(self, steps: int) -> tuple[Any, ...]:
        """Return everything that can be observed after a number of steps."""
        for _ in range(steps):
            self.step()
        self.sim.check()
        journal = self.sim.journal
        assert journal is not None
        calls = [(call.number, call.payload_type, call.status, call.body) for call in self.sim.calls]
        return self.answers, self.seen, calls, journal.lines, self.sim.snapshot()


def served(monkeypatch: pytest.MonkeyPatch, off: bool = False) -> Counter[type]:
    """Count the requests that are served in the usual way from now on, or turn that way `off`."""
    counts: Counter[type] = Counter()

    def counting(kind: type, usual: Callable[..., Any]) -> Callable[..., Any]:
        def serve(*arguments: Any) -> Any:
            body = usual(*arguments)
            counts[kind] += body is not None
            return body

        return serve

    monkeypatch.setattr(engine, "USUAL", {} if off else {kind: counting(kind, usual) for kind, usual in USUAL.items()})
    return counts


@pytest.mark.parametrize("seed", range(45))
def test_both_ways_give_the_same(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    rare = (0.0, 0.02, 0.1)[seed % 3]
    usually = Story(seed, rare).result(400)
    served(monkeypatch, off=True)
    generally = Story(seed, rare).result(400)
    for one, other in zip(usually, generally, strict=True):
        assert one == other


def test_plain_life_cycles_are_served_in_the_usual_way(colony: ColonyClient, monkeypatch: pytest.MonkeyPatch) -> None:
    executor, counts = colony.add_executor("t"), served(monkeypatch)
    for _ in range(9):
        colony.submit("f", executortype="t", maxwaittime=60, maxexectime=60)
        assigned = executor.assign()
        assert assigned is not None
        assigned.close()
    assert counts == {SubmitFuncSpec: 8, AssignProcess: 8, CloseSuccessful: 9}  # the first ones have more to do


@given(st.integers(0, 2**32), st.floats(0, 0.3))
@hypothesis_settings(max_examples=25, deadline=None)
def test_both_ways_give_the_same_for_any_seed(seed: int, rare: float) -> None:
    with pytest.MonkeyPatch.context() as monkeypatch:
        usually = Story(seed, rare).result(120)
        served(monkeypatch, off=True)
        assert usually == Story(seed, rare).result(120)


def test_waiting_processes_share_what_is_equal_in_their_specs() -> None:
    sim = Simulation(mode="manual")
    user = ColonyClient.create(sim, "c").add_user("u")

    def submit(number: int, executor_type: str) -> Process:
        conditions = Conditions(colonyname="c", executortype=executor_type)
        spec = FunctionSpec(funcname="f", args=[number], maxwaittime=60, conditions=conditions)
        process: Process = sim.call(user.id, SubmitFuncSpec(spec=spec)).body
        return sim.world.processes[process.process_id]

    first, second, third, other = (submit(*each) for each in ((1, "t"), (2, "t"), (3, "t"), (4, "u")))
    assert [each.spec.args for each in (first, second, third, other)] == [[1], [2], [3], [4]]
    assert third.spec.conditions is second.spec.conditions
    assert third.colony is second.colony
    assert third.wait_deadline_ns is second.wait_deadline_ns
    assert other.spec.conditions.executortype == "u"
    sim.advance(0.5)
    assert submit(5, "t").wait_deadline_ns == third.wait_deadline_ns + 500_000_000
