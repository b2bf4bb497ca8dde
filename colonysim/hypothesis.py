"""Hypothesis strategies for the inputs of a colony, and a state machine to extend. Needs colonysim[hypothesis]."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal, get_args, get_origin

from msgspec.structs import fields

from colonysim.core.records import APPROVED, RUNNING, WAITING, ProcessState
from colonysim.core.types import FunctionSpec
from colonysim.core.values import field_types
from colonysim.extras import needed_for
from colonysim.faults.fault import Fault
from colonysim.faults.messages import MessageFault
from colonysim.faults.plan import Plan
from colonysim.faults.registry import KINDS, AnyFault
from colonysim.faults.server import ServerFault
from colonysim.faults.triggers import Match, Span, Times, When
from colonysim.simulation.client import (
    AssignedProcess,
    ColonyClient,
    ExecutorClient,
    GraphHandle,
    ProcessHandle,
    Refused,
    function_spec,
)
from colonysim.simulation.simulation import Simulation

with needed_for("colonysim.hypothesis"):
    from hypothesis import strategies as st
    from hypothesis.stateful import (
        Bundle,
        RuleBasedStateMachine,
        consumes,
        initialize,
        invariant,
        multiple,
        precondition,
        rule,
    )
    from hypothesis.strategies import DrawFn, SearchStrategy

__all__ = [
    "ColonyStateMachine",
    "fault_plans",
    "function_specs",
    "json_values",
    "message_faults",
    "server_faults",
    "workflows",
]

Nodes = dict[str, dict[str, Any]]
"""A workflow as `submit_workflow` takes it: node name → fields of the node's spec, including `after`."""


_CHARACTERS = st.characters(codec="utf-8", exclude_characters="\0")  # the reference's storage refuses U+0000


# ---------------------------------------------------------------- strategies
def _texts(longest: int) -> SearchStrategy[str]:
    return st.text(_CHARACTERS, max_size=longest)


def json_values(max_leaves: int = 5) -> SearchStrategy[Any]:
    """JSON values for arguments and outputs."""
    leaves = st.none() | st.booleans() | st.integers(-(2**53), 2**53) | _texts(8)
    return st.recursive(
        leaves,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_texts(4), inner, max_size=3),
        max_leaves=max_leaves,
    )


_LIMITS: dict[str, SearchStrategy[int]] = {
    "maxexectime": st.sampled_from([-1, 2, 1, 10, 60]),
    "maxretries": st.sampled_from([-1, 0, 1, 3]),
    "maxwaittime": st.sampled_from([-1, 2, 30]),
}


def _fields(names: Sequence[str], locations: Sequence[str]) -> dict[str, Any]:
    """Strategies for the optional fields of a function spec."""
    fields: dict[str, Any] = {
        "priority": st.integers(-5, 5),
        "kwargs": st.dictionaries(_texts(4), json_values(), max_size=2),
        "env": st.dictionaries(st.text("ABC_", min_size=1, max_size=4), _texts(4), max_size=2),
        "cpu": st.sampled_from(["100m", "1000m", "8000m"]),
        "mem": st.sampled_from(["1Mi", "1Gi", "64Gi"]),
        "label": _texts(4),
    }
    if names:
        fields["executornames"] = st.lists(st.sampled_from(names), min_size=1, max_size=2, unique=True)
    if locations:
        fields["locationname"] = st.sampled_from(locations)
    return fields


@st.composite
def function_specs(
    draw: DrawFn,
    colony: str = "dev",
    *,
    executor_types: Sequence[str] = ("cli",),
    funcnames: Sequence[str] = ("f", "g"),
    names: Sequence[str] = (),
    locations: Sequence[str] = (),
    args: SearchStrategy[list[Any]] | None = None,
) -> FunctionSpec:
    """Valid function specs for a colony; they shrink to a plain call without limits.

    `names` and `locations` are the executor names and locations that conditions may require.
    """
    wanted = draw(st.sampled_from(executor_types))
    name = draw(st.sampled_from(funcnames))
    given = draw(args if args is not None else st.lists(json_values(), max_size=3))
    fields = draw(st.fixed_dictionaries(_LIMITS, optional=_fields(names, locations)))
    return function_spec(colony, name, given, executortype=wanted, **fields)


@st.composite
def workflows(
    draw: DrawFn,
    *,
    executor_types: Sequence[str] = ("cli",),
    max_nodes: int = 6,
    fields: Mapping[str, SearchStrategy[Any]] | None = None,
) -> Nodes:
    """Acyclic workflows of up to `max_nodes` nodes; they shrink to few nodes and few edges.

    `fields` maps further fields of each node's function spec to strategies.
    """
    nodes: Nodes = {}
    for number in range(draw(st.integers(1, max_nodes))):
        before = list(nodes)
        after = draw(st.lists(st.sampled_from(before), unique=True, max_size=3)) if before else []
        more = {name: draw(values) for name, values in (fields or {}).items()}
        nodes[f"n{number}"] = {"executortype": draw(st.sampled_from(executor_types)), "after": after} | more
    return nodes


def message_faults(types: Sequence[str] = ()) -> SearchStrategy[AnyFault]:
    """Message faults of all kinds, for messages of the given types or of all types; they shrink to few fields."""
    given: dict[str, SearchStrategy[Any]] = {
        "match": st.just(Match(types=tuple(types))),
        "when": st.builds(When, probability=st.sampled_from([1.0, 0.5, 0.1])) | st.builds(When, nth=st.integers(1, 5)),
    }
    return _faults_of(MessageFault, given)


def server_faults() -> SearchStrategy[AnyFault]:
    """Server faults of all kinds, such as restarts and partitions; they shrink to one short restart."""
    times = st.builds(Times, at_s=st.integers(0, 120).map(float), count=st.just(1))
    return _faults_of(ServerFault, {"times": times, "actors": st.just(())})


def _faults_of(family: type[Fault], given: Mapping[str, SearchStrategy[Any]]) -> SearchStrategy[AnyFault]:
    """Return a strategy for all kinds of a family; fields that are not given are drawn by their types."""
    return st.one_of([_fault(kind, given) for kind in KINDS.values() if issubclass(kind, family)])


def _fault(kind: type[Fault], given: Mapping[str, SearchStrategy[Any]]) -> SearchStrategy[AnyFault]:
    hints = field_types(kind)
    drawn = {name: given[name] for name in hints if name in given}
    drawn |= {name: values for name, hint in hints.items() if name not in given for values in _values_of(hint)}
    drawn |= {field.name: _texts(8) for field in fields(kind) if field.required and hints[field.name] is str}
    return st.builds(kind, **drawn)


def _values_of(hint: Any) -> Iterator[SearchStrategy[Any]]:
    """Yield a strategy for a field of a fault, nothing for one that keeps its default."""
    bare, *metas = get_args(hint) if get_origin(hint) is Annotated else (hint,)
    if hint == Span:
        yield st.sampled_from([0.5, 2.0, 10.0])
    elif get_origin(bare) is Literal:
        yield st.sampled_from(get_args(bare))
    elif bare is int and metas:
        yield st.sampled_from([metas[0].ge, metas[0].ge + 3])


def fault_plans(
    faults: SearchStrategy[AnyFault] | None = None, *, max_faults: int = 3, until_s: float = 300.0
) -> SearchStrategy[Plan]:
    """Plans of up to `max_faults` faults ending after `until_s` seconds, for `sim.faults.add`; they shrink to none."""
    drawn = st.lists(faults if faults is not None else message_faults() | server_faults(), max_size=max_faults)
    return drawn.map(lambda listed: Plan(faults=tuple(listed), until_s=until_s))


# ---------------------------------------------------------------- a state machine
def _of(name: str) -> SearchStrategy[Any]:
    """Draw from the strategy that the machine's method of this name returns."""
    return st.runner().flatmap(lambda machine: getattr(machine, name)())


class ColonyStateMachine(RuleBasedStateMachine):
    """A state machine in which executors and users of one colony act in any order while time passes.

    Extend it: add rules and invariants; override `specs` and `workflows` to change what is submitted, and `execute`
    to run your executor code on each assigned process. `sim` is the simulation, with all its invariants on, and
    `colony` the colony. The class attribute `TestCase` is the test to run.
    """

    executor_types: ClassVar[Sequence[str]] = ("cli",)
    settings_of_server: ClassVar[Mapping[str, Any]] = {}

    executors: Bundle[ExecutorClient] = Bundle("executors")
    processes: Bundle[ProcessHandle] = Bundle("processes")  # single ones; a workflow has its own in graph.processes
    graphs: Bundle[GraphHandle] = Bundle("graphs")
    assigned: Bundle[AssignedProcess] = Bundle("assigned")

    def __init__(self) -> None:
        super().__init__()
        settings: dict[str, Any] = {"mode": "manual", "journal": True, **self.settings_of_server}
        self.sim = Simulation(**settings)
        self.colony = ColonyClient.create(self.sim, "dev")

    # ------------------------------------------------------------ to override
    def specs(self) -> SearchStrategy[FunctionSpec]:
        """Return the strategy for the specs that users submit."""
        return function_specs(executor_types=self.executor_types)

    def workflows(self) -> SearchStrategy[Nodes]:
        """Return the strategy for the workflows that users submit."""
        return workflows(executor_types=self.executor_types)

    def outputs(self) -> SearchStrategy[list[Any]]:
        """Return the strategy for the outputs of closed processes."""
        return st.lists(json_values(), max_size=2)

    def execute(self, executor: ExecutorClient, process: AssignedProcess) -> None:
        """Handle a process right after an executor got it. The default does nothing: rules close or fail it later."""

    # ------------------------------------------------------------ executors
    @initialize(target=executors)
    def first_executor(self) -> ExecutorClient:
        """Add an executor of the first type before any rule runs."""
        return self.colony.add_executor(self.executor_types[0])

    @rule(target=executors, kind=_of("_kinds"))
    def add_executor(self, kind: str) -> ExecutorClient:
        """Add an executor."""
        return self.colony.add_executor(kind)

    def _kinds(self) -> SearchStrategy[str]:
        return st.sampled_from(self.executor_types)

    @precondition(lambda self: self.sim.world.processes_in("dev", WAITING))
    @rule(target=assigned, executor=executors)
    def assign(self, executor: ExecutorClient) -> Any:
        """An executor tries once to get a process; it is refused if, and only if, it is not approved any more."""
        known = executor.details.state == APPROVED
        try:
            process = executor.assign()
        except Refused:
            if known:
                raise
            return multiple()
        assert known, f"{executor} is not approved, but its assign call was served"
        if process is None:
            return multiple()
        self.execute(executor, process)
        return process if self.holds(process) else multiple()

    @rule(process=consumes(assigned), output=_of("outputs"))
    def close(self, process: AssignedProcess, output: list[Any]) -> None:
        """An executor closes a process; accepted if, and only if, it still holds it."""
        self._taken_from_its_holder(process, lambda: process.close(output))

    @rule(process=consumes(assigned))
    def fail(self, process: AssignedProcess) -> None:
        """An executor fails a process; accepted if, and only if, it still holds it."""
        self._taken_from_its_holder(process, lambda: process.fail("failed"))

    def holds(self, process: AssignedProcess) -> bool:
        """Whether the executor that got a process still runs it, according to the server's tables."""
        record = self.sim.world.processes.get(process.id)
        return record is not None and record.state == RUNNING and record.executor_id == process.caller.id

    def _taken_from_its_holder(self, process: AssignedProcess, do: Any) -> None:
        held = self.holds(process)
        try:
            do()
        except Refused:
            if held:
                raise
        else:
            assert held, f"the server accepted the close of {process}, which its executor does not hold"

    # ------------------------------------------------------------ users
    @rule(target=processes, spec=_of("specs"))
    def submit(self, spec: FunctionSpec) -> ProcessHandle:
        """A user submits a process."""
        return self.colony.user.submit_spec(spec)

    @rule(target=graphs, nodes=_of("workflows"))
    def submit_workflow(self, nodes: Nodes) -> GraphHandle:
        """A user submits a workflow."""
        return self.colony.submit_workflow(nodes)

    @rule(graph=consumes(graphs))
    def cancel_workflow(self, graph: GraphHandle) -> None:
        """A user cancels a workflow."""
        graph.cancel()
        assert graph.state is ProcessState.CANCELLED

    @rule(process=processes)
    def cancel(self, process: ProcessHandle) -> None:
        """A user cancels a process; refused if, and only if, it has ended."""
        ended = process.state not in (ProcessState.WAITING, ProcessState.RUNNING)
        try:
            process.cancel()
        except Refused:
            if not ended:
                raise
        else:
            assert not ended, f"{process} had ended, but was cancelled"

    # ------------------------------------------------------------ time
    @rule(milliseconds=st.sampled_from([1, 500, 1000, 2500, 10_000, 60_000]))
    def advance(self, milliseconds: int) -> None:
        """Virtual time passes."""
        self.sim.advance(milliseconds / 1000)

    @invariant()
    def nothing_is_broken(self) -> None:
        """Check all of colonysim's invariants."""
        self.sim.check()
