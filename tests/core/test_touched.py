"""What a request costs depends on the records that it touches, not on all others. Lines are counted, not seconds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from colonysim import ColonyClient, Simulation
from colonysim.core.operations.assignment import AssignProcess
from colonysim.core.operations.attributes import AddAttribute
from colonysim.core.operations.blueprints import AddBlueprint, GetBlueprintHistory, RemoveBlueprint
from colonysim.core.operations.closing import CloseSuccessful
from colonysim.core.operations.colonies import AddColony, GetColonyStats, RemoveColony
from colonysim.core.operations.crons import AddCron
from colonysim.core.operations.definitions import AddBlueprintDefinition, RemoveBlueprintDefinition
from colonysim.core.operations.executors import AddExecutor, ApproveExecutor, GetExecutor, RemoveExecutor
from colonysim.core.operations.files import AddFile
from colonysim.core.operations.functions import AddFunction
from colonysim.core.operations.generators import AddGenerator
from colonysim.core.operations.locations import AddLocation
from colonysim.core.operations.logs import AddExecutorLog, AddLog, SearchLogs
from colonysim.core.operations.processes import GetProcess, RemoveAllProcesses, SubmitFuncSpec
from colonysim.core.operations.snapshots import CreateSnapshot, RemoveAllSnapshots
from colonysim.core.operations.users import AddUser
from colonysim.core.operations.workflows import AddChild, GetProcessGraphs, RemoveAllProcessGraphs, SubmitWorkflow
from colonysim.core.records import FAILED, SUCCESS
from colonysim.core.settings import Settings
from colonysim.core.types import (
    Attribute,
    Blueprint,
    BlueprintDefinition,
    Colony,
    Conditions,
    CronSpec,
    DefinitionNames,
    DefinitionSpec,
    ExecutorSpec,
    FileSpec,
    Function,
    FunctionSpec,
    GeneratorSpec,
    Location,
    Metadata,
    Reference,
    S3Object,
    User,
    WorkflowSpec,
)
from tests.steps import steps

WORKFLOW = '{"colonyname":"%s","functionspecs":[{"nodename":"n","funcname":"f","conditions":{"executortype":"t"}}]}'
FEW, MANY = 30, 480
S3 = Reference(s3object=S3Object(object="o"))


def _executor(colony: str, name: str, executor_id: str) -> ExecutorSpec:
    return ExecutorSpec(executorid=executor_id, executortype="t", executorname=name, colonyname=colony)


class Colonies:
    """A server on which colonies are filled with a number of records of each kind."""

    def __init__(self, **settings: Any) -> None:
        self.sim = Simulation(mode="manual", invariants=False, settings=Settings(**settings))
        self.made: dict[str, ColonyClient] = {}

    def ask(self, who: str, message: Any) -> Any:
        answer = self.sim.call(who, message)
        assert answer.status == 200, answer.body
        return answer.body

    def colony(self, name: str) -> ColonyClient:
        if name not in self.made:
            self.made[name] = ColonyClient.create(self.sim, name)
        return self.made[name]

    def run_one(self, colony: ColonyClient, executor_id: str, name: str) -> str:
        self.ask(executor_id, AssignProcess(colonyname=name, timeout=-1))
        held = self.sim.world.held_by[executor_id]
        return next(reversed(held))

    def fill(self, name: str, count: int) -> None:
        """Add `count` records of each kind to a colony."""
        colony = self.colony(name)
        user, owner = colony.user.id, colony.id
        executor = colony.add_executor("t", name="e")
        conditions = Conditions(colonyname=name, executortype="t")
        for n in range(count):
            self.ask(owner, AddUser(user=User(colonyname=name, userid=f"{name}-{n}", name=f"u{n}")))
            self.ask(owner, AddExecutor(executor=_executor(name, f"x{n}", f"{name}/{n}")))
            self.ask(executor.id, AddFunction(fun=Function(colonyname=name, executorname="e", funcname=f"f{n}")))
            self.ask(executor.id, AddExecutorLog(colonyname=name, executorname="e", message="x"))
            spec = WORKFLOW % name
            self.ask(user, AddCron(cron=CronSpec(colonyname=name, name=f"{n}", interval=9999, workflowspec=spec)))
            generator = GeneratorSpec(colonyname=name, name=f"{n}", trigger=3, workflowspec=spec)
            self.ask(user, AddGenerator(generator=generator))
            self.ask(user, AddFile(file=FileSpec(colonyname=name, label=f"/{n}", name="x", ref=S3)))
            self.ask(user, CreateSnapshot(colonyname=name, label="/none", name=f"{n}"))
            self.ask(owner, AddLocation(location=Location(colonyname=name, name=f"{n}")))
            node = FunctionSpec(nodename="n", funcname="f", conditions=conditions, env={"A": "1"})
            self.ask(user, SubmitWorkflow(spec=WorkflowSpec(colonyname=name, functionspecs=[node])))
            self.ask(user, SubmitFuncSpec(spec=FunctionSpec(funcname="f", conditions=conditions, env={"A": "1"})))
            metadata = Metadata(name=f"d{n}", colonyname=name)
            names = DefinitionSpec(names=DefinitionNames(kind=f"k{n}"))
            self.ask(
                owner, AddBlueprintDefinition(blueprintdefinition=BlueprintDefinition(metadata=metadata, spec=names))
            )
            blueprint = Blueprint(kind=f"k{n}", metadata=Metadata(name=f"b{n}", colonyname=name))
            self.ask(user, AddBlueprint(blueprint=blueprint))


def _beside(count: int, prepare: Callable[[Colonies], Callable[[], object]], **settings: Any) -> int:
    """Count the lines of some work in a small colony, beside another one with `count` records of each kind."""
    many = Colonies(**settings)
    many.fill("big", count)
    work = prepare(many)
    return steps(work)


def _remove_the_colony(many: Colonies) -> Callable[[], object]:
    many.fill("small", 5)

    def work() -> None:
        many.ask(many.sim.world.server_id, RemoveColony(colonyname="small"))

    return work


def _remove_all_of_a_kind(many: Colonies) -> Callable[[], object]:
    many.fill("small", 5)
    colony = many.made["small"]

    def work() -> None:
        many.ask(colony.user.id, RemoveAllSnapshots(colonyname="small"))
        many.ask(colony.id, RemoveAllProcessGraphs(colonyname="small", state=-1))
        many.ask(colony.id, RemoveAllProcesses(colonyname="small", state=-1))

    return work


def _read_some(many: Colonies) -> Callable[[], object]:
    many.fill("small", 5)
    user = many.made["small"].user.id

    def work() -> None:
        many.ask(user, GetColonyStats(colonyname="small"))
        assert len(many.ask(user, GetProcessGraphs(colonyname="small", count=100, state=0))) == 5
        assert len(many.ask(user, SearchLogs(colonyname="small", text="x", days=1, count=100))) == 5

    return work


def _add_a_colony(many: Colonies) -> Callable[[], object]:
    for number in range(len(many.sim.world.users)):
        many.ask(many.sim.world.server_id, AddColony(colony=Colony(colonyid=f"{number:064d}", name=f"c{number}")))

    def work() -> None:
        for name, shown in (("new", "new"), ("newer", "new")):
            message = AddColony(colony=Colony(colonyid="a" * 64, name=name))
            assert many.ask(many.sim.world.server_id, message).name == shown

    return work


def _work_with_a_blueprint(many: Colonies) -> Callable[[], object]:
    big = many.made["big"]
    metadata = Metadata(name="new", colonyname="big")
    definition = BlueprintDefinition(
        blueprintdefinitionid="id", metadata=metadata, spec=DefinitionSpec(names=DefinitionNames(kind="new"))
    )

    def work() -> None:
        many.ask(big.id, AddBlueprintDefinition(blueprintdefinition=definition))
        blueprint = many.ask(big.user.id, AddBlueprint(blueprint=Blueprint(kind="new", metadata=metadata)))
        assert len(many.ask(big.user.id, GetBlueprintHistory(blueprintid=blueprint.blueprintid))) == 1
        many.ask(big.user.id, RemoveBlueprint(namespace="big", name="new"))
        many.ask(big.id, RemoveBlueprintDefinition(namespace="big", name="new"))

    return work


@pytest.mark.parametrize(
    "prepare",
    [_remove_the_colony, _remove_all_of_a_kind, _read_some, _add_a_colony, _work_with_a_blueprint],
    ids=lambda prepare: prepare.__name__.strip("_"),
)
def test_work_in_one_colony_costs_the_same_beside_a_large_one(
    prepare: Callable[[Colonies], Callable[[], object]],
) -> None:
    few = _beside(FEW, prepare)  # first, for it also pays for what is imported or cached once
    assert _beside(MANY, prepare) <= 1.1 * few + 50


def test_a_removed_colony_leaves_nothing_in_any_table_or_index() -> None:
    many = Colonies()
    many.fill("a", 3)
    many.ask(many.sim.world.server_id, RemoveColony(colonyname="a"))
    kept = {"blueprints", "definitions", "blueprint_history", "changes_of", "cleanup_heap", "queues", "agenda"}
    kept |= {"release_ticks", "tick_tickets", "held_by", "channels"}
    left = {name: value for name, value in vars(many.sim.world).items() if isinstance(value, dict) and value}
    assert left.keys() <= kept
    assert len(many.sim.world.logs) == 0
    many.sim.check()


def test_removing_what_failed_does_not_look_at_attributes_of_what_did_not() -> None:
    def prepare(many: Colonies) -> Callable[[], object]:
        return lambda: many.ask(many.made["big"].id, RemoveAllProcesses(colonyname="big", state=FAILED))

    few = _beside(FEW, prepare)  # first, for it also pays for what is imported or cached once
    assert _beside(MANY, prepare) <= 1.1 * few + 50


# ---------------------------------------------------------------- retention
def _retention_beside(count: int, kind: str) -> int:
    """Lines for a run that finds ten records of a kind too old, where `count` of each kind are not."""
    many = Colonies(retention=True, retention_policy_s=60)
    colony = many.colony("c")
    executor = colony.add_executor("t")
    conditions = Conditions(colonyname="c", executortype="t")
    running = ""

    def add(kind: str) -> None:
        if kind == "process":
            colony.submit("f", executortype="t")
        elif kind == "graph":
            node = FunctionSpec(nodename="n", funcname="f", conditions=conditions)
            many.ask(colony.user.id, SubmitWorkflow(spec=WorkflowSpec(colonyname="c", functionspecs=[node])))
        elif kind == "log":
            many.ask(executor.id, AddLog(processid=running, message="x"))
        else:
            key = str(len(many.sim.world.attributes))
            many.ask(executor.id, AddAttribute(attribute=Attribute(targetid=running, key=key, state=SUCCESS)))
        if kind in ("process", "graph"):
            assigned = executor.assign()
            assert assigned is not None
            assigned.close()

    colony.submit("f", executortype="t")
    assigned = executor.assign()
    assert assigned is not None
    running = assigned.id
    for _ in range(10):
        add(kind)
    many.sim.advance(65)
    colony.submit("f", executortype="t")
    assigned = executor.assign()
    assert assigned is not None
    running = assigned.id  # what is too young belongs to another process
    for each in ("process", "graph", "log", "attribute"):
        for _ in range(count):
            add(each)
    world = many.sim.world

    def sizes() -> list[int]:
        return [len(table) for table in (world.processes, world.graphs, world.logs, world.attributes)]

    before = sum(sizes())
    work = steps(lambda: many.sim.advance(61))
    assert before - sum(sizes()) == (20 if kind == "graph" else 10)
    return work


@pytest.mark.parametrize("kind", ["process", "graph", "log", "attribute"])
def test_retention_looks_only_at_what_is_too_old(kind: str) -> None:
    few = _retention_beside(FEW, kind)
    assert _retention_beside(MANY, kind) <= 1.1 * few + 50


def test_what_retention_notes_does_not_outgrow_what_is_there() -> None:
    """Processes that are removed before their time leave no notes behind for ever."""
    many = Colonies(retention=True, retention_policy_s=10**6)
    colony = many.colony("c")
    executor = colony.add_executor("t")
    for _ in range(300):
        process = colony.submit("f", executortype="t")
        assigned = executor.assign()
        assert assigned is not None
        assigned.close()
        process.remove()
    assert len(many.sim.world.aging) <= 70


# ---------------------------------------------------------------- executors
def _executors(count: int, same_id: bool) -> tuple[Colonies, list[str]]:
    many = Colonies(stale_executor_duration_s=600)
    colony = many.colony("c")
    ids = [f"{0 if same_id else n:064d}" for n in range(count)]
    for n, executor_id in enumerate(ids):
        many.ask(colony.id, AddExecutor(executor=_executor("c", f"e{n}", executor_id)))
        if not same_id or n == 0:
            many.ask(colony.id, ApproveExecutor(colonyname="c", executorname=f"e{n}"))
    if same_id:
        many.ask(colony.id, ApproveExecutor(colonyname="c", executorname="e0"))
    return many, ids


def test_a_sign_of_life_costs_the_same_however_many_records_have_the_id() -> None:
    def cost(count: int) -> int:
        many, ids = _executors(count, same_id=True)
        many.sim.call(ids[0], AssignProcess(colonyname="c", timeout=-1))

        def work() -> None:
            many.sim.advance(1)
            assert many.sim.call(ids[0], AssignProcess(colonyname="c", timeout=-1)).status == 404
            shown = many.ask(many.made["c"].user.id, GetExecutor(colonyname="c", executorname=f"e{count - 1}"))
            assert shown.last_heard_ns == many.sim.now_ns

        return steps(work)

    few = cost(FEW)
    assert cost(MANY) <= few + 20


def test_a_record_registered_anew_has_not_given_the_signs_of_life_of_its_namesakes() -> None:
    many, ids = _executors(3, same_id=True)
    colony = many.made["c"]
    many.sim.advance(5)
    many.sim.call(ids[0], AssignProcess(colonyname="c", timeout=-1))
    many.ask(colony.id, RemoveExecutor(colonyname="c", executorname="e1"))
    many.ask(colony.id, AddExecutor(executor=_executor("c", "e1", ids[0])))

    def seen(name: str) -> Any:
        return many.ask(colony.user.id, GetExecutor(colonyname="c", executorname=name)).last_heard_ns

    heard_ns = many.sim.now_ns
    assert (seen("e0"), seen("e1") < 0, seen("e2")) == (heard_ns, True, heard_ns)
    many.sim.advance(5)
    many.ask(colony.id, ApproveExecutor(colonyname="c", executorname="e1"))
    many.sim.call(ids[0], AssignProcess(colonyname="c", timeout=-1))
    assert {seen(f"e{n}") for n in range(3)} == {many.sim.now_ns}


def test_the_clean_up_of_one_executor_does_not_look_at_all_others() -> None:
    def cost(count: int) -> int:
        many, ids = _executors(count, same_id=False)
        many.sim.call(ids[0], AssignProcess(colonyname="c", timeout=-1))
        many.sim.advance(300)
        for executor_id in ids[1:]:
            many.sim.call(executor_id, AssignProcess(colonyname="c", timeout=-1))
        work = steps(lambda: many.sim.advance(380))
        states = [executor.state for executor in many.sim.world.executors.values()]
        assert states.count(3) == 1
        return work

    few = cost(FEW)
    assert cost(MANY) <= few + 50


# ---------------------------------------------------------------- children
@pytest.mark.parametrize("before", [False, True])
def test_one_more_child_does_not_copy_its_siblings(before: bool) -> None:
    """Copies of tuples run no line of Python, so the test looks whether the list that grows stays the same one."""
    many = Colonies()
    colony = many.colony("c")
    executor = colony.add_executor("t")
    graph = colony.submit_workflow({"a": {"executortype": "t"}, "z": {"executortype": "t", "dependencies": ["a"]}})
    parent, last = graph.processes["a"].id, graph.processes["z"].id
    assert executor.assign() is not None

    def add() -> Any:
        spec = FunctionSpec(funcname="f", nodename="n", conditions=Conditions(colonyname="c", executortype="t"))
        message = AddChild(processgraphid=graph.id, parentprocessid=parent, spec=spec)
        if before:
            message = AddChild(processgraphid=graph.id, parentprocessid=parent, childprocessid=last, spec=spec)
        return many.ask(executor.id, message)

    add()
    process, behind = many.sim.world.processes[parent], many.sim.world.processes[last]
    children, parents = process.children, behind.parents
    picture = many.ask(colony.user.id, GetProcess(processid=parent))
    shown = picture.children
    for _ in range(20):
        add()
    assert process.children is children
    assert len(children) == 22
    assert len(shown) == 2
    if before:
        assert behind.parents is parents
        assert len(parents) == 22


def test_a_parent_with_many_children_still_ends_and_frees_them() -> None:
    many = Colonies()
    colony = many.colony("c")
    executor = colony.add_executor("t")
    graph = colony.submit_workflow({"a": {"executortype": "t"}})
    assigned = executor.assign()
    assert assigned is not None
    spec = FunctionSpec(funcname="f", nodename="n", conditions=Conditions(colonyname="c", executortype="t"))
    for _ in range(50):
        many.ask(executor.id, AddChild(processgraphid=graph.id, parentprocessid=assigned.id, spec=spec))
    many.ask(executor.id, CloseSuccessful(processid=assigned.id))
    assert len(many.sim.world.queues) == 50
    many.sim.check()


def test_an_assignment_shows_the_children_of_that_moment() -> None:
    """A parent that ran out of time has children when it is assigned again; what was answered then must not grow."""
    many = Colonies()
    colony = many.colony("c")
    executor = colony.add_executor("t")
    graph = colony.submit_workflow({"a": {"executortype": "t", "maxexectime": 10, "maxretries": 3}})
    parent = graph.processes["a"].id
    spec = FunctionSpec(funcname="f", nodename="n", conditions=Conditions(colonyname="c", executortype="other"))

    def take_and_add() -> Any:
        assigned = many.ask(executor.id, AssignProcess(colonyname="c", timeout=-1)).process
        many.ask(executor.id, AddChild(processgraphid=graph.id, parentprocessid=parent, spec=spec))
        return assigned

    first = take_and_add()
    many.sim.advance(20)
    second = take_and_add()
    assert [len(assigned.children) for assigned in (first, second)] == [0, 1]
    assert len(many.sim.world.processes[parent].children) == 2
