"""What clients submit: function specs and workflows of common shapes, as messages ready to be sent."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from random import Random
from typing import Annotated, Any, Final, NamedTuple

from msgspec import Meta
from msgspec.structs import replace

from colonysim.core.operations.generators import PackGenerator
from colonysim.core.operations.processes import PRIORITY_LIMIT, SubmitFuncSpec
from colonysim.core.operations.workflows import SubmitWorkflow
from colonysim.core.protocol import Message
from colonysim.core.records import SECOND_NS
from colonysim.core.types import Conditions, FunctionSpec, WorkflowSpec
from colonysim.core.values import Value
from colonysim.kernel import randomness
from colonysim.kernel.randomness import AnySpan, Positive
from colonysim.workloads.traces import read_workflow

Size = Annotated[int, Meta(ge=1, le=100_000)]
_MOST_DEPENDENCIES: Final = 1_000_000
Limit = Annotated[int, Meta(ge=-1, le=2**31 - 1)]


class Node(NamedTuple):
    """One process of a shape: its name, whom it waits for, and what a recording says of it."""

    name: str
    after: tuple[str, ...] = ()
    funcname: str = ""
    run_s: float | None = None


class Shape(Value, frozen=True, tag_field="kind"):
    """Base of the shapes of workflows."""


class Chain(Shape, frozen=True, tag="chain"):
    """One after another."""

    length: Size

    def nodes(self, base: Path) -> list[Node]:
        return [Node(f"n{i}", (f"n{i - 1}",) if i else ()) for i in range(self.length)]


class FanOut(Shape, frozen=True, tag="fan_out"):
    """One, and then many beside each other."""

    width: Size

    def nodes(self, base: Path) -> list[Node]:
        return [Node("root"), *(Node(f"leaf{i}", ("root",)) for i in range(self.width))]


class Diamond(Shape, frozen=True, tag="diamond"):
    """One, then many beside each other, then one that waits for all."""

    width: Size = 2

    def nodes(self, base: Path) -> list[Node]:
        middle = [Node(f"middle{i}", ("top",)) for i in range(self.width)]
        return [Node("top"), *middle, Node("bottom", tuple(node.name for node in middle))]


class MapReduce(Shape, frozen=True, tag="map_reduce"):
    """Many maps at once; each of the reductions waits for all of them."""

    maps: Size
    reductions: Size = 1

    def check(self) -> None:
        if self.maps * self.reductions > _MOST_DEPENDENCIES:
            why = f"{self.maps:,} maps and so many reductions have more than {_MOST_DEPENDENCIES:,} dependencies"
            raise self.refused("reductions", f"{why} between them")

    def nodes(self, base: Path) -> list[Node]:
        maps = [Node(f"map{i}", (), "map") for i in range(self.maps)]
        names = tuple(node.name for node in maps)
        return [*maps, *(Node(f"reduce{i}", names, "reduce") for i in range(self.reductions))]


class Recorded(Shape, frozen=True, tag="wfformat"):
    """A workflow as WfCommons has recorded it; a relative path starts at the scenario's folder."""

    file: str

    def nodes(self, base: Path) -> list[Node]:
        recorded = read_workflow(base / self.file)
        return [Node(node.name, node.after, node.funcname, node.run_s) for node in recorded.nodes]


AnyShape = Chain | FanOut | Diamond | MapReduce | Recorded


class Submission(Value, frozen=True, kw_only=True):
    """One kind of thing that is submitted, `weight` times as often as one with weight 1.

    Fields are those of a function spec and of its conditions. `run_s` becomes the first argument, for executors
    whose `service` is of kind `process`. With a `workflow` each of its processes is made from this spec; with a
    `generator` the generator of that name gets one argument more.
    """

    weight: Positive = 1.0
    funcname: str = "run"
    args: list[Any] = []
    kwargs: dict[str, Any] = {}
    executortype: str = "cli"
    executornames: list[str] = []
    location: str = ""
    priority: Annotated[int, Meta(ge=-PRIORITY_LIMIT, le=PRIORITY_LIMIT)] = 0
    maxwaittime: Limit = -1
    maxexectime: Limit = -1
    maxretries: Limit = -1
    cpu: str = ""
    memory: str = ""
    label: str = ""
    run_s: AnySpan | None = None
    workflow: AnyShape | None = None
    generator: str = ""

    def conditions(self, colony: str) -> Conditions:
        return Conditions(
            colonyname=colony,
            executornames=self.executornames or None,
            executortype=self.executortype,
            locationname=self.location,
            cpu=self.cpu,
            mem=self.memory,
        )

    def spec(self, colony: str) -> FunctionSpec:
        """The function spec that all processes of this kind come from."""
        return FunctionSpec(
            funcname=self.funcname,
            args=list(self.args) or None,
            kwargs=dict(self.kwargs) or None,
            priority=self.priority,
            maxwaittime=self.maxwaittime,
            maxexectime=self.maxexectime,
            maxretries=self.maxretries,
            conditions=self.conditions(colony),
            label=self.label,
        )

    def workflow_spec(self, colony: str, base: Path, run_s: Callable[[], float] | None = None) -> WorkflowSpec:
        """The workflow, or the one process as a workflow. Errors: BadTrace for a recording that cannot be read."""
        plain = self.spec(colony)
        nodes = self.workflow.nodes(base) if self.workflow is not None else [Node("only")]
        return WorkflowSpec(colonyname=colony, functionspecs=[_node_spec(plain, node, run_s) for node in nodes])


def _node_spec(plain: FunctionSpec, node: Node, run_s: Callable[[], float] | None) -> FunctionSpec:
    args = plain.args
    if node.run_s is not None:
        args = [node.run_s]
    elif run_s is not None:
        args = [run_s(), *(plain.args or ())]
    conditions = replace(plain.conditions, dependencies=list(node.after)) if node.after else plain.conditions
    return replace(
        plain, nodename=node.name, funcname=node.funcname or plain.funcname, args=args, conditions=conditions
    )


Compose = Callable[[], Message]
"""Makes the next message."""


def composer(one: Submission, colony: str, base: Path, random: Random, generators: dict[str, str]) -> Compose:
    """What makes the messages of one kind: the same one each time where nothing in it is drawn.

    `generators` are the ids of the generators by name. Errors: ValueError, BadTrace.
    """
    if one.generator:
        if one.generator not in generators:
            known = ", ".join(generators) or "there are none"
            raise ValueError(f"there is no generator {one.generator!r}; the generators are: {known}")
        return _packer(generators[one.generator])
    draw = randomness.drawer(one.run_s, random) if one.run_s is not None else None
    seconds = (lambda: draw(None) / SECOND_NS) if draw is not None else None
    if one.workflow is not None:
        if seconds is None:
            workflow = SubmitWorkflow(spec=one.workflow_spec(colony, base))
            return lambda: workflow
        return lambda: SubmitWorkflow(spec=one.workflow_spec(colony, base, seconds))
    plain = one.spec(colony)
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


def mixer(mix: Iterable[Submission], colony: str, base: Path, random: Random, generators: dict[str, str]) -> Compose:
    """What makes the messages of a mix, by weight."""
    listed = list(mix)
    composers = [composer(one, colony, base, random, generators) for one in listed]
    pick = randomness.weighted([one.weight for one in listed], random)
    return lambda: composers[pick()]()
