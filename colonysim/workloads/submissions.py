"""What clients submit: function specs and workflows of common shapes, as messages to send."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from random import Random
from typing import Annotated, Any, Final, Literal, NamedTuple

from msgspec import Meta
from msgspec.structs import replace

from colonysim.capacity.resources import Amount, Cpu, cpu_text, wrong_cpu, wrong_memory
from colonysim.core.operations.generators import PackGenerator
from colonysim.core.operations.processes import PRIORITY_LIMIT, SubmitFuncSpec
from colonysim.core.operations.workflows import SubmitWorkflow
from colonysim.core.policies import EXPECTED
from colonysim.core.protocol import Message
from colonysim.core.records import SECOND_NS
from colonysim.core.types import Conditions, FunctionSpec, Gpu, WorkflowSpec
from colonysim.core.values import Value
from colonysim.kernel import randomness
from colonysim.kernel.randomness import SPAN, AnySpan, Between, Distribution, Positive
from colonysim.traces import read_workflow
from colonysim.workloads.estimates import AnyEstimate, Estimate, estimator, stating, with_estimates

Size = Annotated[int, Meta(ge=1, le=100_000)]
_MOST_DEPENDENCIES: Final = 1_000_000
_MOST_LIMIT: Final = 2**31 - 1
Limit = Annotated[int, Meta(ge=-1, le=2**31 - 1)]
Seconds = Annotated[int, Meta(ge=0, le=2**63 - 1)]
DATA_SITE: Final = "COLONYSIM_DATA_SITE"
"""The environment variable of a process that says at which location its input data are."""


class Node(NamedTuple):
    """A process of a workflow: its name, its parents (`after`), and its function and run time, if recorded.

    `executors` are the names of those that may run it, `location` is where it runs; without them those of the mix do.
    """

    name: str
    after: tuple[str, ...] = ()
    funcname: str = ""
    run_s: float | None = None
    executors: tuple[str, ...] = ()
    location: str = ""


class Shape(Value, frozen=True, tag_field="kind"):
    """Base class of the shapes of workflows; a subclass defines `nodes`."""


class Chain(Shape, frozen=True, tag="chain"):
    """A chain: each process waits for the previous one."""

    length: Size

    def nodes(self, base: Path) -> list[Node]:
        return [Node(f"n{i}", (f"n{i - 1}",) if i else ()) for i in range(self.length)]


class FanOut(Shape, frozen=True, tag="fan_out"):
    """One process, then `width` parallel ones."""

    width: Size

    def nodes(self, base: Path) -> list[Node]:
        return [Node("root"), *(Node(f"leaf{i}", ("root",)) for i in range(self.width))]


class Diamond(Shape, frozen=True, tag="diamond"):
    """One process, then `width` parallel ones, then one that waits for all of them."""

    width: Size = 2

    def nodes(self, base: Path) -> list[Node]:
        middle = [Node(f"middle{i}", ("top",)) for i in range(self.width)]
        return [Node("top"), *middle, Node("bottom", tuple(node.name for node in middle))]


class MapReduce(Shape, frozen=True, tag="map_reduce"):
    """`maps` parallel processes, then `reductions` parallel ones, each of which waits for all maps."""

    maps: Size
    reductions: Size = 1

    def check(self) -> None:
        if self.maps * self.reductions > _MOST_DEPENDENCIES:
            why = f"{self.maps:,} maps and this number of reductions have more than {_MOST_DEPENDENCIES:,} dependencies"
            raise self.refused("reductions", f"{why} between them")

    def nodes(self, base: Path) -> list[Node]:
        maps = [Node(f"map{i}", (), "map") for i in range(self.maps)]
        names = tuple(node.name for node in maps)
        return [*maps, *(Node(f"reduce{i}", names, "reduce") for i in range(self.reductions))]


class Recorded(Shape, frozen=True, tag="wfformat"):
    """A workflow recorded by WfCommons (WfFormat); a relative path starts at the scenario's folder.

    `machines` says what the machine of a process becomes: the name of the only executor that may run it (`name`), its
    location (`location`), or nothing (`ignore`). Of several machines any executor with one of the names may run it, and
    the first is the location.
    """

    file: str
    machines: Literal["name", "location", "ignore"] = "ignore"

    def nodes(self, base: Path) -> list[Node]:
        recorded = read_workflow(base / self.file)
        return [
            Node(
                node.name,
                node.after,
                node.funcname,
                node.run_s,
                node.machines if self.machines == "name" else (),
                node.machines[0] if node.machines and self.machines == "location" else "",
            )
            for node in recorded.nodes
        ]


AnyShape = Chain | FanOut | Diamond | MapReduce | Recorded


class GpuRequest(Value, frozen=True, kw_only=True):
    """The GPUs that a process asks for. The server stores them, and does not compare them with what executors have."""

    count: Amount = 1
    name: str = ""
    mem: str = ""

    def check(self) -> None:
        if why := wrong_memory(self.mem):
            raise self.refused("mem", why)


class Submission(Value, frozen=True, kw_only=True):
    """One kind of submission, drawn `weight` times as often as one with weight 1.

    The fields are those of a function spec and of its conditions; `memory` is another name of `mem`. `cpu` is a number
    of CPUs, or milli-CPU as `500m`. `gpu` is a number of GPUs, or has a `count`, a `name` and `mem`. `run_s` becomes
    the first argument, for executors whose `service` is of kind `process`. With a `workflow`, each of its processes has
    this spec; with a `generator`, each submission is one argument for the generator of that name. `maxwaittime` may be
    drawn for each process, in whole seconds, because that is what the protocol has, and at least 1. `data_at` is the
    location of its input data.
    `expected_s` is the estimate of the run time that each process states: seconds, `run` for the run time itself, or
    `{times: …}` for the run time times a factor, which may be drawn for each process.
    """

    weight: Positive = 1.0
    funcname: str = "run"
    args: list[Any] = []
    kwargs: dict[str, Any] = {}
    executortype: str = "cli"
    executornames: list[str] = []
    location: str = ""
    priority: Annotated[int, Meta(ge=-PRIORITY_LIMIT, le=PRIORITY_LIMIT)] = 0
    maxwaittime: Annotated[Limit | Between | Distribution, SPAN] = -1
    maxexectime: Limit = -1
    maxretries: Limit = -1
    cpu: Cpu = ""
    mem: str = ""
    memory: str = ""
    gpu: Amount | GpuRequest = 0
    nodes: Amount = 0
    processes: Amount = 0
    storage: str = ""
    walltime: Seconds = 0
    label: str = ""
    data_at: str = ""
    run_s: AnySpan | None = None
    expected_s: AnyEstimate | None = None
    workflow: AnyShape | None = None
    generator: str = ""

    def check(self) -> None:
        if why := wrong_cpu(self.cpu):
            raise self.refused("cpu", why)
        for name in ("mem", "memory", "storage"):
            if why := wrong_memory(getattr(self, name)):
                raise self.refused(name, why)
        if self.mem and self.memory:
            raise self.refused("memory", f"it is another name of mem, which is given too ({self.mem!r}); leave one out")
        if self.expected_s is not None and EXPECTED in self.kwargs:
            raise self.refused("expected_s", f"kwargs has {EXPECTED} too; leave one of them out")

    @property
    def estimates_by_run(self) -> bool:
        """Whether its estimate goes by the run time of each process."""
        return self.expected_s == "run" or isinstance(self.expected_s, Estimate)

    @property
    def lacks_run_time(self) -> bool:
        """Whether it has an estimate that goes by the run time, and no run time."""
        return self.estimates_by_run and self.run_s is None and not isinstance(self.workflow, Recorded)

    def sample(self) -> FunctionSpec:
        """Return the spec of a process as it may be, with an estimate if processes get one."""
        return stating(self.spec(""), 1.0) if self.estimates_by_run else self.spec("")

    def conditions(self, colony: str) -> Conditions:
        gpu = GpuRequest(count=self.gpu) if isinstance(self.gpu, int) else self.gpu
        return Conditions(
            colonyname=colony,
            executornames=self.executornames or None,
            executortype=self.executortype,
            locationname=self.location,
            cpu=cpu_text(self.cpu),
            mem=self.mem or self.memory,
            gpu=None if self.gpu == 0 else Gpu(name=gpu.name, mem=gpu.mem, count=gpu.count),
            nodes=self.nodes,
            processes=self.processes,
            storage=self.storage,
            walltime=self.walltime,
        )

    @property
    def is_patience_drawn(self) -> bool:
        """Whether `maxwaittime` is drawn for each process."""
        return not isinstance(self.maxwaittime, int)

    def patience(self, random: Random) -> Callable[[], int] | None:
        """Return a function that draws `maxwaittime`; None if it is a number."""
        if isinstance(self.maxwaittime, int):
            return None
        draw = randomness.drawer(self.maxwaittime, random)
        return lambda: min(max(round(draw(None) / SECOND_NS), 1), _MOST_LIMIT)

    def spec(self, colony: str) -> FunctionSpec:
        """Return the function spec of all processes of this kind, with the least `maxwaittime` if that is drawn."""
        limit = self.maxwaittime
        if not isinstance(limit, int):
            limit = max(round(randomness.distribution(limit).least_s), 1)
        return FunctionSpec(
            funcname=self.funcname,
            args=list(self.args) or None,
            kwargs=self._kwargs() or None,
            priority=self.priority,
            maxwaittime=limit,
            maxexectime=self.maxexectime,
            maxretries=self.maxretries,
            conditions=self.conditions(colony),
            label=self.label,
            env={DATA_SITE: self.data_at} if self.data_at else None,
        )

    def _kwargs(self) -> dict[str, Any]:
        if isinstance(self.expected_s, (int, float)):
            return {**self.kwargs, EXPECTED: self.expected_s}
        return dict(self.kwargs)

    def workflow_spec(
        self,
        colony: str,
        base: Path,
        run_s: Callable[[], float] | None = None,
        patience: Callable[[], int] | None = None,
    ) -> WorkflowSpec:
        """Return the workflow, or the single process as a workflow. Raises BadTrace if the recording is unreadable.

        `run_s` and `patience` draw the run time and `maxwaittime` of each process.
        """
        plain = self.spec(colony)
        nodes = self.workflow.nodes(base) if self.workflow is not None else [Node("only")]
        specs = [_node_spec(plain, node, run_s) for node in nodes]
        if patience is not None:
            specs = [replace(one, maxwaittime=patience()) for one in specs]
        return WorkflowSpec(colonyname=colony, functionspecs=specs)


def _node_spec(plain: FunctionSpec, node: Node, run_s: Callable[[], float] | None) -> FunctionSpec:
    args = plain.args
    if node.run_s is not None:
        args = [node.run_s]
    elif run_s is not None:
        args = [run_s(), *(plain.args or ())]
    conditions = replace(plain.conditions, dependencies=list(node.after)) if node.after else plain.conditions
    if node.executors:
        conditions = replace(conditions, executornames=list(node.executors))
    if node.location:
        conditions = replace(conditions, locationname=node.location)
    return replace(
        plain, nodename=node.name, funcname=node.funcname or plain.funcname, args=args, conditions=conditions
    )


def check_estimates(mix: Iterable[Submission]) -> None:
    """Raise BadValue for estimates of a mix that go by a run time which is not known."""
    for place, one in enumerate(mix):
        if one.lacks_run_time:
            why = "it goes by the run time: give `run_s` too, or a number of seconds"
            raise one.refused("expected_s", why).within(("mix", place))


Compose = Callable[[], Message]
"""Creates the next message."""


def composer(
    one: Submission, colony: str, base: Path, random: Random, limits: Random, generators: dict[str, str]
) -> Compose:
    """Return a function that creates the messages of one kind: always the same one if nothing in it is random.

    `limits`: random numbers for the limits that are drawn. `generators`: the ids of the generators by name.
    Raises ValueError, BadTrace.
    """
    if one.generator:
        if one.generator not in generators:
            known = ", ".join(generators) or "none"
            raise ValueError(f"there is no generator {one.generator!r}; the generators are: {known}")
        return _packer(generators[one.generator])
    draw = randomness.drawer(one.run_s, random) if one.run_s is not None else None
    seconds = (lambda: draw(None) / SECOND_NS) if draw is not None else None
    patience = one.patience(limits)
    if one.workflow is not None:
        if seconds is None and patience is None:
            workflow = SubmitWorkflow(spec=one.workflow_spec(colony, base))
            return lambda: workflow
        return lambda: SubmitWorkflow(spec=one.workflow_spec(colony, base, seconds, patience))
    plain = one.spec(colony)
    if patience is not None:
        args, wait = plain.args, patience
        return lambda: SubmitFuncSpec(
            spec=replace(plain, args=args if seconds is None else [seconds(), *one.args], maxwaittime=wait())
        )
    if seconds is None:
        single = SubmitFuncSpec(spec=plain)
        return lambda: single
    return lambda: SubmitFuncSpec(spec=replace(plain, args=[seconds(), *one.args]))


def _packer(generator_id: str) -> Compose:
    number = 0

    def compose() -> Message:
        nonlocal number
        number += 1
        return PackGenerator(generatorid=generator_id, arg=str(number))

    return compose


def mixer(
    mix: Iterable[Submission],
    colony: str,
    base: Path,
    random: Random,
    limits: Random,
    generators: dict[str, str],
    estimates: Random,
) -> Compose:
    """Return a function that creates the messages of a mix, drawn by weight. `estimates`: random numbers for them."""
    listed = list(mix)
    composers = []
    for one in listed:
        compose, estimate = (
            composer(one, colony, base, random, limits, generators),
            estimator(one.expected_s, estimates),
        )
        composers.append(compose if estimate is None else with_estimates(compose, estimate))
    pick = randomness.weighted([one.weight for one in listed], random)
    return lambda: composers[pick()]()
