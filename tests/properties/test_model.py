"""Random histories against a model that anybody can check by reading: lists and linear search."""

from __future__ import annotations

from dataclasses import dataclass, field
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, multiple, rule

from colonysim import ColonyClient, ProcessState, Refused, Simulation, replay
from colonysim.simulation.client import AssignedProcess, ExecutorClient, ProcessHandle

WAITING, RUNNING, SUCCESS, FAILED, CANCELLED = ProcessState
SECOND = 1_000_000_000
EXACT = 2**53  # the greatest whole number up to which JSON in Go knows all


@dataclass
class Model:
    """A process as the facts describe it, without an index."""

    number: int
    priority: int
    executor_type: str
    names: tuple[str, ...]
    cpu: int
    memory: int
    location: str
    max_wait_s: int
    max_exec_s: int
    max_retries: int
    submitted_ns: int
    state: ProcessState = WAITING
    holder: str = ""
    retries: int = 0
    wait_deadline_ns: int | None = None
    exec_deadline_ns: int | None = None
    errors: list[str] = field(default_factory=list)
    output: list[Any] = field(default_factory=list)

    @property
    def order(self) -> tuple[int, int]:
        return self.submitted_ns - self.priority * 86_400 * SECOND, self.number


@dataclass
class Worker:
    client: ExecutorClient
    executor_type: str
    name: str
    location: str


class Histories(RuleBasedStateMachine):
    """Submit, assign, close, fail, cancel, remove and the passing of time, in any order."""

    processes = Bundle("processes")

    def __init__(self) -> None:
        super().__init__()
        self.sim = Simulation(mode="manual", stale_executor_duration_s=10**9, journal=True)
        self.colony = ColonyClient.create(self.sim, "c")
        self.models: list[Model] = []
        self.handles: list[ProcessHandle] = []
        self.started_s = self.sim.now_ns // SECOND

    @initialize()
    def add_executors(self) -> None:
        self.workers = [
            Worker(self.colony.add_executor(kind, name, location=place), kind, name, place)
            for kind, name, place in (("a", "a1", ""), ("a", "a2", "Hall"), ("b", "b1", ""))
        ]

    # ------------------------------------------------------------ what a client does
    @rule(
        target=processes,
        priority=st.integers(-2, 2),
        executor_type=st.sampled_from(["a", "a", "b"]),
        names=st.sampled_from([(), (), ("a1",), ("a2", "b1"), ("nobody",)]),
        cpu=st.sampled_from([0, 0, 500, 2000]),
        memory=st.sampled_from([0, 0, 1, 4]),
        location=st.sampled_from(["", "", "hall"]),
        max_wait_s=st.sampled_from([-1, 0, 2, 5]),
        max_exec_s=st.sampled_from([-1, 1, 3]),
        max_retries=st.sampled_from([-1, 0, 1, 2]),
        count=st.integers(1, 4),
    )
    def submit(self, count: int, **given: Any) -> Any:
        made = []
        for _ in range(count):
            model = Model(number=len(self.models), submitted_ns=self.sim.now_ns, **given)
            if model.max_wait_s > 0:
                model.wait_deadline_ns = self.sim.now_ns + model.max_wait_s * SECOND
            handle = self.colony.submit(
                "f",
                priority=model.priority,
                executortype=model.executor_type,
                executornames=list(model.names),
                cpu=f"{model.cpu}m" if model.cpu else "",
                mem=f"{model.memory}Gi" if model.memory else "",
                locationname=model.location,
                maxwaittime=model.max_wait_s,
                maxexectime=model.max_exec_s,
                maxretries=model.max_retries,
            )
            self.models.append(model)
            self.handles.append(handle)
            made.append(model.number)
        return multiple(*made)

    @rule(number=processes)
    def cancel(self, number: int) -> None:
        model = self.models[number]
        if model.state in (WAITING, RUNNING):
            self.handles[number].cancel()
            model.state = CANCELLED
        else:
            with pytest.raises(Refused):
                self.handles[number].cancel()

    @rule(number=consumes(processes))
    def remove(self, number: int) -> None:
        model = self.models[number]
        if model.state is RUNNING:
            with pytest.raises(Refused):
                self.handles[number].remove()
        else:
            self.handles[number].remove()
            model.number = -1

    # ------------------------------------------------------------ what an executor does
    @rule(
        which=st.integers(0, 2),
        cpu=st.sampled_from([None, None, 0, 1000]),
        memory=st.sampled_from([None, None, 0, 2]),
    )
    def assign(self, which: int, cpu: int | None, memory: int | None) -> None:
        worker = self.workers[which]
        got = worker.client.assign(cpu="" if cpu is None else f"{cpu}m", mem="" if memory is None else f"{memory}Gi")
        wanted = self._first_for(worker, cpu, memory)
        assert (got and got.id) == (wanted and self.handles[wanted.number].id)
        if wanted:
            wanted.state, wanted.holder = RUNNING, worker.name
            if wanted.max_exec_s > 0:
                wanted.exec_deadline_ns = self.sim.now_ns + wanted.max_exec_s * SECOND

    def _first_for(self, worker: Worker, cpu: int | None, memory: int | None) -> Model | None:
        fitting = [
            model
            for model in self._present()
            if model.state is WAITING
            and model.executor_type == worker.executor_type
            and (not model.names or worker.name in model.names)
            and (cpu is None or model.cpu <= cpu)
            and (memory is None or model.memory <= memory)
            and (not model.location or model.location.lower() == worker.location.lower())
        ]
        return min(fitting, key=lambda model: model.order, default=None)

    @rule(number=processes, which=st.integers(0, 2), output=st.lists(st.integers(-EXACT, EXACT), max_size=2))
    def close(self, number: int, which: int, output: list[int]) -> None:
        model, worker = self.models[number], self.workers[which]
        assigned = AssignedProcess(worker.client, self.handles[number].id)
        if model.state in (RUNNING, SUCCESS) and model.holder == worker.name:
            assigned.close(output)
            model.state, model.output = SUCCESS, output or model.output
        else:
            with pytest.raises(Refused):
                assigned.close(output)
            if model.state in (FAILED, CANCELLED) and model.holder == worker.name:
                model.output = output or model.output

    @rule(number=processes, which=st.integers(0, 2))
    def fail(self, number: int, which: int) -> None:
        model, worker = self.models[number], self.workers[which]
        assigned = AssignedProcess(worker.client, self.handles[number].id)
        if model.state is RUNNING and model.holder == worker.name:
            assigned.fail("broken")
            model.state, model.errors = FAILED, ["broken"]
        else:
            with pytest.raises(Refused):
                assigned.fail("broken")

    # ------------------------------------------------------------ time
    @rule(milliseconds=st.sampled_from([1, 250, 999, 1000, 1001, 2500, 6000]))
    def advance(self, milliseconds: int) -> None:
        before_ns = self.sim.now_ns
        self.sim.advance(milliseconds / 1000)
        first, last = before_ns // SECOND + 1, self.sim.now_ns // SECOND
        for second in range(first, last + 1):
            self._release(second)

    def _release(self, second: int) -> None:
        """The release loop at a whole second: what ran too long, then what waited too long."""
        for model in self._present():
            deadline = model.exec_deadline_ns
            if model.state is RUNNING and deadline is not None and second > deadline // SECOND:
                self._out_of_time(model, second)
        for model in self._present():
            deadline = model.wait_deadline_ns
            if model.state is WAITING and deadline is not None and second > deadline // SECOND:
                model.state, model.errors = FAILED, ["Maximum waiting time limit exceeded"]

    def _out_of_time(self, model: Model, second: int) -> None:
        if -1 < model.max_retries <= model.retries:
            model.state, model.errors = FAILED, ["Maximum execution time limit exceeded"]
            return
        model.state, model.holder, model.exec_deadline_ns = WAITING, "", None
        model.retries += 1
        if model.max_wait_s > 0:
            model.wait_deadline_ns = (second + model.max_wait_s) * SECOND

    # ------------------------------------------------------------ what must agree
    def _present(self) -> list[Model]:
        return [model for model in self.models if model.number >= 0]

    @invariant()
    def all_agree(self) -> None:
        for model in self._present():
            details = self.handles[model.number].details
            seen = ProcessState(details.state), details.retries, list(details.errors or ()), list(details.output)
            assert seen == (model.state, model.retries, model.errors, model.output)
        statistics = self.colony.statistics()
        counted = [sum(model.state is state for model in self._present()) for state in ProcessState]
        assert counted == [
            statistics.waitingprocesses,
            statistics.runningprocesses,
            statistics.successfulprocesses,
            statistics.failedprocesses,
            statistics.cancelledprocesses,
        ]

    @invariant()
    def nothing_else_went_wrong(self) -> None:
        self.sim.check()

    def teardown(self) -> None:
        """Whatever has happened can be replayed, word for word."""
        assert self.sim.journal is not None
        with TemporaryDirectory() as folder:
            self.sim.journal.save(f"{folder}/run.jsonl")
            replayed = replay(f"{folder}/run.jsonl")
        assert (str(replayed.difference or ""), replayed.digest) == ("", self.sim.journal.digest())


TestHistories = Histories.TestCase
TestHistories.settings = hypothesis_settings(max_examples=60, stateful_step_count=40, deadline=None)
