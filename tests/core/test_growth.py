"""What one more item costs when there are many: no more than when there are few. Lines are counted, not seconds."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from typing import Any

import pytest

from colonysim import ColonyClient, Simulation
from colonysim.core.golang import cronexpr
from colonysim.core.operations.assignment import AssignProcess
from colonysim.core.operations.attributes import AddAttribute
from colonysim.core.operations.closing import CloseSuccessful
from colonysim.core.operations.crons import AddCron
from colonysim.core.operations.files import AddFile, GetFile, GetFiles
from colonysim.core.operations.functions import AddFunction
from colonysim.core.operations.generators import AddGenerator, PackGenerator, ResolveGenerator
from colonysim.core.operations.logs import AddLog, GetLogs
from colonysim.core.operations.processes import GetProcess, GetProcesses, RemoveAllProcesses, SubmitFuncSpec
from colonysim.core.operations.snapshots import CreateSnapshot, GetSnapshot
from colonysim.core.operations.workflows import SubmitWorkflow
from colonysim.core.scheduling import Queues
from colonysim.core.settings import Settings
from colonysim.core.types import (
    Attribute,
    Conditions,
    CronSpec,
    FileSpec,
    Function,
    FunctionSpec,
    GeneratorSpec,
    Reference,
    S3Object,
    WorkflowSpec,
)
from tests.core.test_scheduling import _process
from tests.steps import steps

WORKFLOW = '{"colonyname":"c","functionspecs":[{"nodename":"n","funcname":"f","conditions":{"executortype":"cli"}}]}'
FEW, MANY = 100, 1600


class Many:
    """A colony with an executor that runs one process, and a way to add the nth item of some kind."""

    def __init__(self) -> None:
        self.sim = Simulation(mode="manual", invariants=False)
        self.colony = ColonyClient.create(self.sim, "c")
        self.user, self.executor = self.colony.user.id, self.colony.add_executor("cli", name="e").id
        self.process_id = self.submit()
        self.ask(self.executor, AssignProcess(colonyname="c", timeout=-1))

    def ask(self, who: str, message: Any) -> Any:
        answer = self.sim.call(who, message)
        assert answer.status == 200, answer.body
        return answer.body

    def submit(self) -> str:
        spec = FunctionSpec(funcname="f", conditions=Conditions(colonyname="c", executortype="cli"))
        process_id: str = self.ask(self.user, SubmitFuncSpec(spec=spec)).process_id
        return process_id

    # -------------------------------------------------------- one more of something
    def cron(self, number: int) -> None:
        self.ask(self.user, AddCron(cron=CronSpec(colonyname="c", name=f"{number}", interval=9, workflowspec=WORKFLOW)))

    def generator(self, number: int) -> None:
        spec = GeneratorSpec(colonyname="c", name=f"{number}", trigger=3, workflowspec=WORKFLOW)
        self.ask(self.user, AddGenerator(generator=spec))
        self.ask(self.user, ResolveGenerator(colonyname="c", generatorname=f"{number}"))

    def function_and_call(self, number: int) -> None:
        name = "f" if number == 0 else f"g{number}"
        self.ask(self.executor, AddFunction(fun=Function(colonyname="c", executorname="e", funcname=name)))
        self.submit()
        process = self.ask(self.executor, AssignProcess(colonyname="c", timeout=-1)).process
        self.ask(self.executor, CloseSuccessful(processid=process.process_id))

    def file_of_its_own_label(self, number: int) -> None:
        label = f"/{number}"
        s3 = S3Object(object="o")
        self.ask(self.user, AddFile(file=FileSpec(colonyname="c", label=label, name="x", ref=Reference(s3object=s3))))
        self.ask(self.user, GetFiles(colonyname="c", label=label))
        self.ask(self.user, GetFile(colonyname="c", label=label, name="x", latest=True))

    def snapshot(self, number: int) -> None:
        self.ask(self.user, CreateSnapshot(colonyname="c", label="/none", name=f"{number}"))
        self.ask(self.user, GetSnapshot(colonyname="c", name=f"{number}"))

    def log_and_reader(self, number: int) -> None:
        self.ask(self.executor, AddLog(processid=self.process_id, message="x"))
        (log,) = self.ask(
            self.user, GetLogs(colonyname="c", processid=self.process_id, count=9, since=getattr(self, "seen", 0))
        )
        self.seen = log.timestamp

    def log_and_reader_of_an_executor(self, number: int) -> None:
        self.ask(self.executor, AddLog(processid=self.process_id, message="x"))
        (log,) = self.ask(self.user, GetLogs(colonyname="c", executorname="e", count=9, since=getattr(self, "seen", 0)))
        self.seen = log.timestamp


def _cost_of_the_last(add: Callable[[Any, int], None], count: int) -> int:
    many = Many()
    for number in range(count):
        add(many, number)

    def work() -> None:
        for number in range(count, count + 20):
            add(many, number)

    return steps(work)


@pytest.mark.parametrize(
    "add",
    [
        Many.cron,
        Many.generator,
        Many.function_and_call,
        Many.file_of_its_own_label,
        Many.snapshot,
        Many.log_and_reader,
        Many.log_and_reader_of_an_executor,
    ],
    ids=lambda add: add.__name__,
)
def test_one_more_costs_as_much_among_many_as_among_few(add: Callable[[Any, int], None]) -> None:
    assert _cost_of_the_last(add, MANY) <= 1.3 * _cost_of_the_last(add, FEW) + 100


def test_one_more_attribute_does_not_copy_all_of_its_process() -> None:
    many = Many()

    def add(number: int) -> int:
        """Returns how many bytes were in use at most besides those before."""
        attribute = Attribute(targetid=many.process_id, targetcolonyname="c", key=f"{number}")
        tracemalloc.reset_peak()
        before = tracemalloc.get_traced_memory()[0]
        many.ask(many.executor, AddAttribute(attribute=attribute))
        return tracemalloc.get_traced_memory()[1] - before

    tracemalloc.start()
    try:
        for number in range(5000):
            add(number)
        large = [size for size in (add(number) for number in range(5000, 5100)) if size > 5000 * 8]
    finally:
        tracemalloc.stop()
    assert len(large) <= 2  # tables grow now and then


def test_a_copy_of_a_process_does_not_change_with_its_attributes() -> None:
    many = Many()

    def add(key: str) -> None:
        attribute = Attribute(targetid=many.process_id, targetcolonyname="c", key=key)
        many.ask(many.executor, AddAttribute(attribute=attribute))

    add("a")
    copies = [many.ask(many.user, GetProcess(processid=many.process_id))]
    copies += many.ask(many.user, GetProcesses(colonyname="c", count=1, state=1))
    add("b")
    assert [[each.key for each in copy.attributes] for copy in copies] == [["a"], ["a"]]
    many.ask(many.executor, CloseSuccessful(processid=many.process_id))
    many.ask(many.user, GetProcess(processid=many.process_id))
    assert [type(copy.attributes) for copy in copies] == [tuple, tuple]


def _retention_of_attributes(count: int) -> int:
    """Lines for deleting the attributes of one process that succeeded, and those of its workflow's spec."""
    sim = Simulation(mode="manual", invariants=False, settings=Settings(retention=True, retention_policy_s=60))
    colony = ColonyClient.create(sim, "c")
    executor = colony.add_executor("cli")
    colony.submit("f", executortype="cli", env={f"{number}": "x" for number in range(count)})
    assigned = executor.assign()
    assert assigned is not None
    assigned.close()

    def work() -> None:
        sim.advance(200)
        assert not sim.world.attributes

    return steps(work)


def test_retention_of_many_attributes_of_one_process_costs_as_much_for_each() -> None:
    assert _retention_of_attributes(1600) / 1600 <= 1.3 * _retention_of_attributes(100) / 100


def test_removing_all_processes_with_many_attributes_of_workflows_costs_as_much_for_each() -> None:
    def cost(count: int) -> float:
        many = Many()
        env = {f"{number}": "x" for number in range(count)}
        node = FunctionSpec(
            nodename="n", funcname="f", env=env, conditions=Conditions(colonyname="c", executortype="other")
        )
        many.ask(many.user, SubmitWorkflow(spec=WorkflowSpec(colonyname="c", functionspecs=[node])))
        assert len(many.sim.world.attributes) == count
        cost = steps(lambda: many.ask(many.colony.id, RemoveAllProcesses(colonyname="c", state=-1))) / count
        assert not many.sim.world.attributes
        return cost

    assert cost(1600) <= 1.3 * cost(100)


class _Counted(list[str]):
    """A queue that counts how many items are copied out of it."""

    copied = 0

    def __getitem__(self, place: Any) -> Any:
        found = super().__getitem__(place)
        if isinstance(place, slice):
            _Counted.copied += len(found)
            return _Counted(found)
        return found


def test_a_generator_with_many_batches_copies_each_argument_a_fixed_number_of_times() -> None:
    def copied(count: int) -> float:
        many = Many()
        spec = GeneratorSpec(colonyname="c", name="g", trigger=2, workflowspec=WORKFLOW)
        generator_id = many.ask(many.user, AddGenerator(generator=spec)).generator.generator_id
        for number in range(count + 1):
            many.ask(many.user, PackGenerator(generatorid=generator_id, arg=str(number)))
        generator = many.sim.world.generators[generator_id]
        generator.queue = _Counted(generator.queue)
        _Counted.copied = 0
        many.sim.advance(60)
        assert generator.queue == [str(count)]
        assert len(many.sim.world.graphs) == count // 2
        return _Counted.copied / count

    assert copied(400) <= copied(40) + 0.1


def test_many_conditions_that_come_and_stay_are_not_looked_through_again_and_again() -> None:
    """Each new set of conditions is a run of its own."""

    def cost(count: int) -> float:
        queues = Queues()
        processes = [_process(serial, priority=serial) for serial in range(count)]

        def work() -> None:
            for process in processes:
                queues.push(process)

        return steps(work) / count

    assert cost(8000) <= 1.3 * cost(500)


def test_long_cron_expressions_are_not_kept() -> None:
    before = cronexpr._kept.cache_info().currsize
    for number in range(20):
        cronexpr.parse("0 0 0 1 1 " + ",".join(["1"] * (200 + number)))
    assert cronexpr._kept.cache_info().currsize == before
