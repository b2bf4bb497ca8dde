"""All simulated executors of one simulation: they register, are struck by faults, and take their planned steps."""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import sha3_256

from colonysim.core.operations.executors import AddExecutor, ApproveExecutor
from colonysim.core.protocol import Answer
from colonysim.core.types import ExecutorSpec
from colonysim.simulation.simulation import Simulation
from colonysim.workloads.capacity_executor import CapacityExecutor
from colonysim.workloads.executors import (
    REGISTER,
    ExecutorGroup,
    FleetRecords,
    Model,
    NextStep,
    SimulatedExecutor,
)


class Fleet(FleetRecords):
    """All simulated executors of one simulation."""

    def __init__(self, sim: Simulation, owner_id: str, colony: str) -> None:
        super().__init__(sim)
        self.owner_id = owner_id
        self.colony = colony
        self.executors: list[SimulatedExecutor] = []
        self.by_id: dict[str, SimulatedExecutor] = {}
        self.by_name: dict[str, SimulatedExecutor] = {}
        self.shared: list[CapacityExecutor] = []
        """Those of the executors that hold many processes at once."""
        self.returns = 0
        self.kernel.timetable.handle(NextStep, self._run_step)

    def add(self, groups: Iterable[ExecutorGroup]) -> None:
        """Add groups of executors, and plan their starts. Raises ValueError if a name is used twice."""
        seed, now_ns = self.sim.settings.seed, self.kernel.world.now_ns
        for group in groups:
            model = Model(group, self.colony, seed, self.chance)
            for place in range(1, group.count + 1):
                name = group.name if group.count == 1 else f"{group.name}-{place}"
                if name in self.by_name:
                    raise ValueError(f"two executors are called {name!r}: give their groups different names")
                executor_id = sha3_256(f"{seed}/modelled/{self.colony}/{name}".encode()).hexdigest()
                kind = CapacityExecutor if group.holds_many else SimulatedExecutor
                executor = kind(self, model, len(self.executors), name, executor_id)
                self.executors.append(executor)
                self.by_id[executor_id] = self.by_name[name] = executor
                starts_ns = model.starts(None)
                if isinstance(executor, CapacityExecutor):
                    self.shared.append(executor)
                    executor.plan_step(REGISTER, starts_ns)
                else:
                    self.kernel.timetable.plan(now_ns + starts_ns, NextStep(executor.number, 0, REGISTER))

    def busy_until(self, now_ns: int) -> int:
        """Return how many nanoseconds all executors together have been busy: from each assignment to its close.

        One with capacity counts once for each CPU in use, or else for each node, GPU or slot (see `width`).
        """
        busy_ns = self.busy_ns + sum(now_ns - one.busy_since_ns for one in self.executors if one.busy_since_ns >= 0)
        return busy_ns + sum(next(iter(one.usage().values())) // one.limits.unit for one in self.shared)

    @property
    def width(self) -> float:
        """The number of executors, where one with capacity counts once for each CPU, or else node, GPU or slot."""
        return len(self.executors) + sum(one.limits.width - 1 for one in self.shared)

    def part_of(self, executor_id: str, process_id: str) -> float:
        """Return which part of an executor a process takes: all of one without capacity, and nothing once removed."""
        executor = self.by_id.get(executor_id)
        if not isinstance(executor, CapacityExecutor):
            return 1
        process = self.kernel.world.processes.get(process_id)
        return 0 if process is None else executor.share(process)

    def use(self, since_ns: int) -> dict[str, dict[str, float]]:
        """Return for each group with capacity which part of each resource has been in use since a time, on average."""
        span_ns = self.kernel.world.now_ns - since_ns
        used: dict[str, dict[str, float]] = {}
        for one in self.shared:
            group, total = used.setdefault(one.model.group.name, {}), one.limits.total
            for (name, area), amount in zip(one.usage().items(), total, strict=True):
                if amount and span_ns:
                    group[name] = group.get(name, 0.0) + area / (amount * span_ns * one.model.group.count)
        return used

    def enlist(self) -> None:
        """Make the executors targets of faults from now on."""
        self.chaos = True
        with self.kernel.locked():
            for executor in self.executors:
                self.sim.faults.enlist(executor)

    def _run_step(self, due: NextStep) -> bool:
        """Run the next step of an executor. Returns False: it reaches no other actor."""
        executor = self.executors[due.number]
        if due.life != executor.life:
            return False
        executor.down = False
        if self.chaos and self.sim.faults.watches_steps:
            executor.step = due.step
            self.sim.faults.step(executor.name)
            if due.life != executor.life:
                return False  # no further step for now
        executor.due_ns = 0
        if due.step == REGISTER:
            self._register(executor)
        else:
            executor.run_steps(due.step)
        return False

    def _register(self, executor: SimulatedExecutor) -> None:
        """Register and approve it as the colony's owner: before its first poll, and if the server has lost it."""
        group, ask = executor.model.group, self.kernel.ask_inside
        self.returns += (self.colony, executor.name) in self.kernel.world.executors
        spec = ExecutorSpec(
            executorid=executor.id,
            executortype=group.type,
            executorname=executor.name,
            colonyname=self.colony,
            locationname=group.location,
        )
        answer = ask(self.owner_id, AddExecutor(executor=spec))
        if type(answer) is Answer and answer.ok:
            answer = ask(self.owner_id, ApproveExecutor(colonyname=self.colony, executorname=executor.name))
        if type(answer) is Answer and answer.ok:
            executor.registered()
        else:
            self.failed_calls += 1
            executor.plan_step(REGISTER, executor.model.retry_ns)
