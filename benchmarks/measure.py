"""What the benchmarks share: rows of a table, a ready server, and clocks that a busy machine disturbs little."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable
from statistics import median
from typing import Any, Literal

import msgspec

from colonysim.core.operations.assignment import AssignProcess
from colonysim.core.operations.closing import CloseSuccessful
from colonysim.core.operations.colonies import AddColony
from colonysim.core.operations.executors import AddExecutor, ApproveExecutor
from colonysim.core.operations.processes import SubmitFuncSpec
from colonysim.core.operations.users import AddUser
from colonysim.core.protocol import Answer, Message
from colonysim.core.types import Colony, Conditions, ExecutorSpec, FunctionSpec, User
from colonysim.simulation.simulation import Simulation

COLONY_ID, USER_ID = "c" * 64, "a" * 64


class Row(msgspec.Struct):
    """One line of the table. `target` is a bound on `value`; `points` are (size, seconds) for a plot."""

    question: str
    value: float
    unit: str
    target: float | None = None
    bound: Literal["at most", "at least"] = "at most"
    note: str = ""
    points: list[tuple[float, float]] = []

    @property
    def met(self) -> bool | None:
        if self.target is None:
            return None
        return self.value <= self.target if self.bound == "at most" else self.value >= self.target


class Stage:
    """A simulation with a colony, a user and executors, asked by messages and nothing in between."""

    def __init__(self, *, executors: int = 1, invariants: bool = False, journal: bool = False, **settings: Any) -> None:
        self.sim = Simulation(mode="manual", invariants=invariants, journal=journal, **settings)
        self.ok(self.sim.world.server_id, AddColony(colony=Colony(colonyid=COLONY_ID, name="dev")))
        self.ok(COLONY_ID, AddUser(user=User(colonyname="dev", userid=USER_ID, name="u")))
        self.executors = [self.add_executor(f"e{number}") for number in range(executors)]

    def add_executor(self, name: str, location: str = "") -> str:
        executor_id = name.encode().hex().rjust(64, "0")
        spec = ExecutorSpec(
            executorid=executor_id, executortype="cli", executorname=name, colonyname="dev", locationname=location
        )
        self.ok(COLONY_ID, AddExecutor(executor=spec))
        self.ok(COLONY_ID, ApproveExecutor(colonyname="dev", executorname=name))
        return executor_id

    def ok(self, caller_id: str, message: Message) -> Answer:
        answer = self.sim.call(caller_id, message)
        assert answer.status == 200, answer
        return answer

    def submit(self, **fields: Any) -> Answer:
        return self.ok(USER_ID, submit_message(**fields))

    def life_cycle(self) -> None:
        """Submit, assign, close by the first executor."""
        self.submit()
        process_id = self.ok(self.executors[0], ASSIGN).body.process.process_id
        self.ok(self.executors[0], CloseSuccessful(processid=process_id))


def submit_message(**fields: Any) -> SubmitFuncSpec:
    """A submission with limits that arm timers; fields of the spec or of its conditions may be given."""
    conditions = {name: fields.pop(name) for name in Conditions.__struct_fields__ if name in fields}
    conditions = {"colonyname": "dev", "executortype": "cli"} | conditions
    spec = {"funcname": "f", "maxwaittime": 3600, "maxexectime": 3600, "maxretries": 3} | fields
    return SubmitFuncSpec(spec=FunctionSpec(conditions=Conditions(**conditions), **spec))


ASSIGN = AssignProcess(colonyname="dev", timeout=-1)


def once(work: Callable[[], object]) -> float:
    """Processor time in seconds of one run, with the garbage of others out of the way."""
    gc.collect()
    start = time.process_time()
    work()
    return time.process_time() - start


def best(work: Callable[[], float], times: int) -> float:
    """The lowest of several results: what other users of the machine add is never negative."""
    return min(work() for _ in range(times))


def typical(work: Callable[[], object], times: int) -> float:
    """The median of single runs in seconds: blind to the few that the machine took away from us."""
    spans = []
    clock = time.perf_counter_ns
    for _ in range(times):
        start = clock()
        work()
        spans.append(clock() - start)
    return median(spans) / 1e9
