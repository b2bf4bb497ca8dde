"""The server's loops against models that look at everything at every turn, as the reference does.

The agenda holds only the first turn at which something will be found; the models go through all of them.
"""

from __future__ import annotations

import json
import random

import pytest

from colonysim import AssignedProcess, ColonyClient, ExecutorClient, ProcessState, Refused, Simulation
from colonysim.core.operations.crons import AddCron, RemoveCron, RunCron
from colonysim.core.operations.executors import ApproveExecutor, RejectExecutor
from colonysim.core.operations.generators import AddGenerator, PackGenerator, RemoveGenerator
from colonysim.core.records import APPROVED, UNREGISTERED
from colonysim.core.recurring import CHECK_DELAY_NS
from colonysim.core.types import ZERO_TIME_NS, CronSpec, GeneratorSpec

SECOND = 1_000_000_000
MILLISECOND = 1_000_000
HALF_SECONDS = [1, 1, 2, 3, 7, 10, 20, 21, 45, 60, 119, 120, 121]

SEEDS = range(12)


class Loop:
    """Steps through virtual time and takes every turn of one loop in between."""

    period_ns = SECOND
    phase_ns = 0

    def __init__(self, sim: Simulation) -> None:
        self.sim = sim
        self.turns = 0
        self.turn_ns = sim.now_ns + self.phase_ns

    def turn(self, now_ns: int) -> None:
        """What the loop does at one time."""

    def advance(self, half_seconds: int) -> None:
        until_ns = self.sim.now_ns + half_seconds * SECOND // 2
        self.sim.advance(half_seconds / 2)
        assert self.sim.now_ns == until_ns
        while self.turn_ns + self.period_ns <= until_ns:
            self.turn_ns += self.period_ns
            self.turns += 1
            self.turn(self.turn_ns)


# ------------------------------------------------ executors that fall silent: docs/protocol/b-processes.md 5.7
class CleanUp(Loop):
    """Every ten seconds: whoever was last heard of more than 25 seconds ago is unregistered."""

    period_ns = 10 * SECOND

    def __init__(self, sim: Simulation) -> None:
        super().__init__(sim)
        self.heard_ns: dict[str, int] = {}
        self.gone: set[str] = set()
        self.holds: dict[str, list[str]] = {}

    def turn(self, now_ns: int) -> None:
        for name, heard_ns in self.heard_ns.items():
            if name not in self.gone and heard_ns < now_ns - 25 * SECOND:
                self.gone.add(name)
                self.holds[name] = []


@pytest.mark.parametrize("seed", SEEDS)
def test_the_clean_up_unregisters_whom_a_look_every_ten_seconds_finds_silent(seed: int) -> None:
    draw = random.Random(seed)
    sim = Simulation(mode="manual", cleanup_interval_s=10, stale_executor_duration_s=25, start="2026-01-01T00:00:00.3Z")
    colonies = [ColonyClient.create(sim, name) for name in ("c", "d")]
    model = CleanUp(sim)
    executors: dict[str, tuple[ColonyClient, ExecutorClient]] = {}
    for _ in range(300):
        kind = draw.choice(["add", "assign", "assign", "assign", "approve", "reject", "remove", "advance", "advance"])
        name = draw.choice(list(executors)) if executors else ""
        if kind == "add" and len(executors) < 6:
            colony, name = draw.choice(colonies), f"e{len(executors)}"
            executors[name] = colony, colony.add_executor("t", name)
            model.holds[name] = []
        elif kind == "advance":
            model.advance(draw.choice(HALF_SECONDS[:9]))
        elif not name:
            continue
        elif kind == "assign":
            _assign(*executors[name], name, model, draw)
        else:
            _change(kind, *executors[name], name, model)
        for other, (colony, executor) in executors.items():
            record = sim.world.executors[colony.name, other]
            assert (record.state == UNREGISTERED) == (other in model.gone), other
            assert sorted(sim.world.held_by.get(executor.id, {})) == sorted(model.holds[other])
    assert model.turns > 20


def _assign(colony: ColonyClient, executor: ExecutorClient, name: str, model: CleanUp, draw: random.Random) -> None:
    """Ask for work, now and then there is some; whoever is refused has not been heard of."""
    if draw.random() < 0.3:
        colony.submit("f", executortype="t", executornames=[name])
    approved = colony.sim.world.executors[colony.name, name].state == APPROVED
    try:
        found = executor.assign()
    except Refused:
        assert not approved
        return
    assert approved
    model.heard_ns[name] = colony.sim.now_ns
    if found is not None:
        model.holds[name].append(found.id)


def _change(kind: str, colony: ColonyClient, executor: ExecutorClient, name: str, model: CleanUp) -> None:
    if kind == "approve":
        colony.ask(ApproveExecutor(colonyname=colony.name, executorname=name))
        model.gone.discard(name)
    elif kind == "reject":
        colony.ask(RejectExecutor(colonyname=colony.name, executorname=name))
        model.gone.discard(name)
    elif name not in model.gone:
        colony.remove_executor(executor)
        model.gone.add(name)
        model.holds[name] = []


# ------------------------------------------------ what is too old: docs/protocol/b-processes.md 7
class Purge(Loop):
    """Once a minute: what has succeeded, and all logs, that are more than 90 seconds old."""

    period_ns = 60 * SECOND

    def __init__(self, sim: Simulation) -> None:
        super().__init__(sim)
        self.born_ns: dict[str, int] = {}
        self.state: dict[str, ProcessState] = {}
        self.graph_of: dict[str, str] = {}
        self.attributes: dict[str, tuple[str, int]] = {}  # process and time
        self.logs: list[tuple[str, int]] = []

    def turn(self, now_ns: int) -> None:
        limit_ns = now_ns - 90 * SECOND
        success = {process for process, state in self.state.items() if state is ProcessState.SUCCESS}
        self.attributes = {
            key: (process, added_ns)
            for key, (process, added_ns) in self.attributes.items()
            if process not in success or added_ns >= limit_ns
        }
        self.logs = [(text, added_ns) for text, added_ns in self.logs if added_ns >= limit_ns]
        for process in success:
            graph = self.graph_of.get(process)
            members = [other for other in self.born_ns if graph and self.graph_of.get(other) == graph]
            if process in self.born_ns and self.born_ns[process] < limit_ns and success.issuperset(members):
                del self.born_ns[process]
                if graph:  # a graph takes the attributes of its processes with it
                    self.attributes = {k: v for k, v in self.attributes.items() if v[0] != process}


@pytest.mark.parametrize("seed", SEEDS)
def test_retention_deletes_what_a_look_every_minute_finds_too_old(seed: int) -> None:
    draw = random.Random(seed)
    sim = Simulation(mode="manual", retention=True, retention_policy_s=90, stale_executor_duration_s=10**6)
    colony = ColonyClient.create(sim, "c")
    executor = colony.add_executor("t")
    model, running = Purge(sim), []
    for number in range(600):
        kind = draw.choice(["submit", "graph", "take", "take", "end", "end", "log", "attribute", "advance", "advance"])
        if kind == "submit":
            process = colony.submit("f", executortype="t", env=draw.choice([{}, {}, {"A": "1"}]))
            _enter(model, sim, [process.id], "")
        elif kind == "graph":
            nodes = [{"a": {"executortype": "t"}}, {"a": {"executortype": "t"}, "b": {"executortype": "t"}}]
            graph = colony.submit_workflow(draw.choice(nodes))
            _enter(model, sim, [process.id for process in graph.processes.values()], graph.id)
        elif kind == "take" and (assigned := executor.assign()):
            running.append(assigned)
        elif kind == "advance":
            model.advance(draw.choice(HALF_SECONDS))
        elif running and kind in ("end", "log", "attribute"):
            _work(kind, number, running, model, draw)
        world = sim.world
        assert sorted(world.processes) == sorted(model.born_ns)
        assert sorted(world.graphs) == sorted({model.graph_of[p] for p in model.born_ns if p in model.graph_of})
        assert sorted(world.attributes) == sorted(world.attribute_times) == sorted(model.attributes)
        assert [log.message for log in world.logs] == [text for text, _ in model.logs]
    assert model.turns > 20
    assert len(model.born_ns) < len(model.state)


def _enter(model: Purge, sim: Simulation, processes: list[str], graph: str) -> None:
    for process in processes:
        model.born_ns[process] = sim.now_ns
        model.state[process] = ProcessState.WAITING
        if graph:
            model.graph_of[process] = graph
        for attribute in sim.world.processes[process].attributes:
            model.attributes[attribute.attributeid] = process, sim.now_ns


def _work(kind: str, number: int, running: list[AssignedProcess], model: Purge, draw: random.Random) -> None:
    process = draw.choice(running)
    now_ns = model.sim.now_ns
    if kind == "log":
        process.log(f"line {number}")
        last_ns = model.sim.world.logs.last_ns
        assert last_ns is not None
        assert last_ns - now_ns in range(10)
        model.logs.append((f"line {number}", last_ns))
    elif kind == "attribute":
        added = process.add_attribute(f"k{number}", "v")
        model.attributes[added.attributeid] = process.id, now_ns
    elif draw.random() < 0.2 and process.id not in model.graph_of:
        running.remove(process)
        process.fail("broken")
        model.state[process.id] = ProcessState.FAILED
    else:
        running.remove(process)
        process.close()
        model.state[process.id] = ProcessState.SUCCESS


# ---------------------------------------------------------------- crons by interval: docs/protocol/c-workflows.md 6
class Crons(Loop):
    """Once a second, a millisecond late: whatever should have run before starts, and its interval begins anew.

    When a new one runs first is computed at the first look.
    """

    phase_ns = CHECK_DELAY_NS

    def __init__(self, sim: Simulation) -> None:
        super().__init__(sim)
        self.intervals_s: dict[str, int] = {}
        self.next_ns: dict[str, int] = {}
        self.runs: list[tuple[str, int]] = []

    def turn(self, now_ns: int) -> None:
        for name in self.next_ns:
            if self.next_ns[name] == ZERO_TIME_NS:
                self.next_ns[name] = now_ns + self.intervals_s[name] * SECOND
            elif self.next_ns[name] < now_ns:
                self.run(name, now_ns)

    def run(self, name: str, now_ns: int) -> None:
        self.runs.append((name, now_ns))
        self.next_ns[name] = now_ns + self.intervals_s[name] * SECOND


def workflow(label: str) -> str:
    node = {"nodename": "n", "label": label, "conditions": {"colonyname": "c", "executortype": "t"}}
    return json.dumps({"colonyname": "c", "functionspecs": [node]})


@pytest.mark.parametrize("seed", SEEDS)
def test_crons_run_when_a_look_every_second_finds_them_due(seed: int) -> None:
    draw = random.Random(seed)
    sim = Simulation(mode="manual", start="2026-01-01T00:00:00.25Z")
    colony = ColonyClient.create(sim, "c")
    model, ids = Crons(sim), dict[str, str]()
    for number in range(80):
        kind = draw.choice(["add", "run", "remove", "advance", "advance", "advance"])
        name = draw.choice(list(ids)) if ids else ""
        if kind == "add" and len(ids) < 4:
            name, interval = f"cron {number}", draw.choice([1, 2, 5, 10, 30])
            spec = CronSpec(colonyname="c", name=name, interval=interval, workflowspec=workflow(name))
            ids[name] = colony.user.ask(AddCron(cron=spec)).cron.cron_id
            model.intervals_s[name] = interval
            model.next_ns[name] = ZERO_TIME_NS
        elif kind == "run" and name:
            colony.user.ask(RunCron(cronid=ids[name]))
            model.run(name, sim.now_ns)
        elif kind == "remove" and name and draw.random() < 0.5:
            colony.user.ask(RemoveCron(cronid=ids.pop(name)))
            del model.next_ns[name]
        elif kind == "advance":
            model.advance(draw.choice(HALF_SECONDS))
        started = [(process.spec.label, process.submitted_ns) for process in sim.world.processes.values()]
        assert sorted(started) == sorted(model.runs)
        assert {cron.name: cron.next_run_ns for cron in sim.world.crons.values()} == model.next_ns
    assert len(model.runs) > 30


# ---------------------------------------------------------------- generators: docs/protocol/c-workflows.md 7
class Generators(Loop):
    """Twice a second: each full batch starts, or all there is once the time is up."""

    period_ns = 500 * MILLISECOND
    phase_ns = CHECK_DELAY_NS

    def __init__(self, sim: Simulation) -> None:
        super().__init__(sim)
        self.triggers: dict[str, tuple[int, int]] = {}
        self.queues: dict[str, list[str]] = {}
        self.since_ns: dict[str, int | None] = {}
        self.batches: list[tuple[str, int, tuple[str, ...]]] = []

    def turn(self, now_ns: int) -> None:
        for name, queue in self.queues.items():
            trigger, timeout_s = self.triggers[name]
            if not queue or trigger < 0:
                continue
            if len(queue) >= trigger:
                while len(queue) >= max(trigger, 1):
                    size = trigger or len(queue)
                    self.start(name, now_ns, size)
            elif timeout_s > 0 and now_ns // SECOND > ((self.since_ns[name] or 0) + timeout_s * SECOND) // SECOND:
                self.start(name, now_ns, len(queue))

    def start(self, name: str, now_ns: int, size: int) -> None:
        queue = self.queues[name]
        self.batches.append((name, now_ns, tuple(queue[:size])))
        del queue[:size]
        self.since_ns[name] = now_ns


@pytest.mark.parametrize("seed", SEEDS)
def test_generators_start_what_a_look_every_half_second_finds_ready(seed: int) -> None:
    """The time counts from the last start, and before the first one from the first argument."""
    draw = random.Random(seed)
    fraction = ("75", "999")[seed % 2]  # in the second case the looks fall on whole seconds
    sim = Simulation(mode="manual", start=f"2026-01-01T00:00:00.{fraction}Z")
    colony = ColonyClient.create(sim, "c")
    model, ids = Generators(sim), dict[str, str]()
    for number in range(150):
        kind = draw.choice(["add", "pack", "pack", "pack", "remove", "advance", "advance"])
        name = draw.choice(list(ids)) if ids else ""
        if kind == "add" and len(ids) < 3:
            name, trigger, timeout = f"g{number}", draw.choice([-1, 1, 2, 3, 9]), draw.choice([-1, 0, 1, 5, 20])
            spec = GeneratorSpec(
                colonyname="c", name=name, trigger=trigger, timeout=timeout, workflowspec=workflow(name)
            )
            ids[name] = colony.user.ask(AddGenerator(generator=spec)).generator.generator_id
            model.triggers[name], model.queues[name], model.since_ns[name] = (trigger, timeout), [], None
        elif kind == "pack" and name:
            for _ in range(draw.choice([1, 1, 2, 7])):
                colony.user.ask(PackGenerator(generatorid=ids[name], arg=str(number)))
                model.queues[name].append(str(number))
                model.since_ns[name] = model.since_ns[name] or sim.now_ns
        elif kind == "remove" and name and draw.random() < 0.2:
            colony.user.ask(RemoveGenerator(generatorid=ids.pop(name)))
            del model.queues[name]
        elif kind == "advance":
            model.advance(draw.choice(HALF_SECONDS[:9]))
        started = [(p.spec.label, p.submitted_ns, tuple(p.spec.args or ())) for p in sim.world.processes.values()]
        assert sorted(started) == sorted(model.batches)
        assert {each.name: each.queue for each in sim.world.generators.values()} == model.queues
    assert len(model.batches) > 20
