"""Random workflows against the reference's walk, written down word for word.

Source: docs/protocol/c-workflows.md 3.1 to 3.5, 4.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from colonysim import ColonyClient, Refused, Simulation
from colonysim.core.operations.workflows import AddChild
from colonysim.core.types import ZERO_TIME_NS, Conditions, FunctionSpec
from colonysim.simulation.client import AssignedProcess, GraphHandle

WAITING, RUNNING, SUCCESS, FAILED, CANCELLED = range(5)
SECOND = 1_000_000_000


@dataclass
class Node:
    """A process of a graph, as the facts describe it."""

    number: int
    max_wait_s: int
    max_exec_s: int
    max_retries: int
    wait_deadline_ns: int
    parents: list[str] = field(default_factory=list)
    children: list[str] = field(default_factory=list)
    waits_for_parents: bool = False
    state: int = WAITING
    exec_deadline_ns: int = ZERO_TIME_NS
    started_ns: int = ZERO_TIME_NS
    retries: int = 0
    input: list[Any] | None = field(default_factory=list)
    output: list[Any] = field(default_factory=list)


class NaiveGraph:
    """Walks everything at every step."""

    def __init__(self) -> None:
        self.nodes: dict[str, Node] = {}
        self.roots: list[str] = []
        self.state = WAITING
        self.ended_ns = ZERO_TIME_NS

    def walk(self) -> list[str]:
        seen: list[str] = []

        def visit(node_id: str) -> None:
            if node_id not in seen:
                seen.append(node_id)
                for child in self.nodes[node_id].children:
                    visit(child)

        for root in self.roots:
            visit(root)
        return seen

    def evaluate(self, now_ns: int) -> None:
        reached = self.walk()
        counted = []
        for node_id in reached:
            node = self.nodes[node_id]
            counted.append(node.state)
            states = [self.nodes[parent].state for parent in node.parents]
            if FAILED in states:
                for other in reached:
                    self.nodes[other].state = FAILED
                self.settle(FAILED, now_ns)
            if all(state == SUCCESS for state in states):
                node.waits_for_parents = False
        self.settle(self._resolved(counted), now_ns)

    @staticmethod
    def _resolved(states: list[int]) -> int:
        if FAILED in states:
            return FAILED
        if CANCELLED in states:
            return CANCELLED
        if states and all(state == SUCCESS for state in states):
            return SUCCESS
        return RUNNING if SUCCESS in states or RUNNING in states else WAITING

    def settle(self, state: int, now_ns: int) -> None:
        self.state = state
        if state in (SUCCESS, FAILED, CANCELLED):
            self.ended_ns = now_ns

    def next(self) -> Node | None:
        ready = (n for n in self.nodes.values() if n.state == WAITING and not n.waits_for_parents)
        return min(ready, key=lambda node: node.number, default=None)

    def assign(self, node: Node, now_ns: int) -> None:
        node.state, node.started_ns = RUNNING, now_ns
        if node.max_exec_s > 0:
            node.exec_deadline_ns = now_ns + node.max_exec_s * SECOND
        self.evaluate(now_ns)
        if node.parents:
            node.input = [item for parent in node.parents for item in self.nodes[parent].output] or None

    def tick(self, now_ns: int) -> None:
        """One run of the release loop: execution deadlines, then waiting deadlines."""
        for node in sorted(self._in(RUNNING), key=lambda n: (n.started_ns, n.number)):
            if node.state != RUNNING or node.max_exec_s == -1 or now_ns // SECOND <= node.exec_deadline_ns // SECOND:
                continue
            if -1 < node.max_retries <= node.retries:
                node.state = FAILED
                self.evaluate(now_ns)
            else:
                node.state, node.retries = WAITING, node.retries + 1
                if node.max_wait_s > 0:
                    node.wait_deadline_ns = now_ns + node.max_wait_s * SECOND
        for node in sorted(self._in(WAITING), key=lambda n: n.number):
            if node.state == WAITING and node.max_wait_s not in (0, -1):
                if now_ns // SECOND > node.wait_deadline_ns // SECOND:
                    node.state = FAILED
                    self.evaluate(now_ns)

    def _in(self, state: int) -> Iterator[Node]:
        return (node for node in self.nodes.values() if node.state == state)


LIMIT = st.sampled_from([-1, -1, -1, 0, 2, 5])
NAMES = "abcdefg"


@st.composite
def workflows(draw: st.DrawFn) -> dict[str, dict[str, Any]]:
    """Nodes that mostly depend on those before them, now and then on themselves or on later ones."""
    count = draw(st.integers(1, len(NAMES)))
    bent = draw(st.booleans()) and draw(st.booleans())
    nodes: dict[str, dict[str, Any]] = {}
    for place in range(count):
        choice = NAMES[: count if bent else place]
        after = draw(st.lists(st.sampled_from(choice), max_size=3)) if choice else []
        limits = {
            "maxwaittime": draw(LIMIT),
            "maxexectime": draw(LIMIT),
            "maxretries": draw(st.sampled_from([-1, 0, 1])),
        }
        nodes[NAMES[place]] = {"after": after, "executortype": "t"} | limits
    return nodes


class Workflows(RuleBasedStateMachine):
    """One workflow, everything that may happen to it, and the walk as the judge."""

    def __init__(self) -> None:
        super().__init__()
        self.sim = Simulation(mode="manual", stale_executor_duration_s=10**9)
        self.colony = ColonyClient.create(self.sim, "c")
        self.executor = self.colony.add_executor("t")
        self.model = NaiveGraph()
        self.graph: GraphHandle
        self.numbers = 0

    def _node(self, spec: Any) -> Node:
        self.numbers += 1
        wait_ns = self.sim.now_ns + spec.maxwaittime * SECOND if spec.maxwaittime > 0 else ZERO_TIME_NS
        return Node(self.numbers, spec.maxwaittime, spec.maxexectime, spec.maxretries, wait_ns)

    @initialize(nodes=workflows())
    def submit(self, nodes: dict[str, dict[str, Any]]) -> None:
        self.graph = self.colony.submit_workflow(nodes)
        made = {p.spec.nodename: p for p in self.sim.world.processes.values()}
        for name in nodes:
            process = made[name]
            node = self.model.nodes[process.process_id] = self._node(process.spec)
            node.parents = [made[parent].process_id for parent in nodes[name]["after"]]
            node.waits_for_parents = bool(node.parents)
            if not node.parents:
                self.model.roots.append(process.process_id)
        for node_id, node in self.model.nodes.items():
            for parent in node.parents:
                self.model.nodes[parent].children.append(node_id)

    def _running(self) -> list[str]:
        return [node_id for node_id, node in self.model.nodes.items() if node.state == RUNNING]

    @rule()
    def assign(self) -> None:
        assigned, expected = self.executor.assign(), self.model.next()
        assert (assigned is None) is (expected is None)
        if assigned is not None and expected is not None:
            assert self.model.nodes[assigned.id] is expected
            self.model.assign(expected, self.sim.now_ns)

    @precondition(_running)
    @rule(data=st.data(), out=st.lists(st.integers(0, 9), max_size=2))
    def close(self, data: st.DataObject, out: list[int]) -> None:
        node_id = data.draw(st.sampled_from(self._running()))
        AssignedProcess(self.executor, node_id).close(out)
        node = self.model.nodes[node_id]
        node.state, node.output = SUCCESS, out or node.output
        self.model.evaluate(self.sim.now_ns)

    @precondition(_running)
    @rule(data=st.data())
    def fail(self, data: st.DataObject) -> None:
        node_id = data.draw(st.sampled_from(self._running()))
        AssignedProcess(self.executor, node_id).fail("no")
        self.model.nodes[node_id].state = FAILED
        self.model.evaluate(self.sim.now_ns)

    @precondition(lambda self: any(node.state == FAILED for node in self.model.nodes.values()))
    @rule(data=st.data(), out=st.lists(st.integers(0, 9), max_size=2))
    def close_what_has_failed(self, data: st.DataObject, out: list[int]) -> None:
        """A refusal, which keeps the output all the same where the caller still holds the process."""
        failed = [i for i, node in self.model.nodes.items() if node.state == FAILED]
        node_id = data.draw(st.sampled_from(failed))
        held = self.sim.world.processes[node_id].executor_id == self.executor.id
        with pytest.raises(Refused, match="^400 " if held else "^403 "):
            AssignedProcess(self.executor, node_id).close(out)
        if held:
            self.model.nodes[node_id].output = out or self.model.nodes[node_id].output

    @precondition(_running)
    @rule(data=st.data(), insert=st.booleans(), wait=LIMIT, run=st.sampled_from([-1, -1, 0, 2]))
    def add_child(self, data: st.DataObject, insert: bool, wait: int, run: int) -> None:
        parent_id = data.draw(st.sampled_from(self._running()))
        before_id = "" if insert else data.draw(st.sampled_from(["", *self.model.nodes]))
        conditions = Conditions(colonyname="c", executortype="t")
        spec = FunctionSpec(nodename="new", maxwaittime=wait, maxexectime=run, maxretries=-1, conditions=conditions)
        message = AddChild(
            processgraphid=self.graph.id, parentprocessid=parent_id, childprocessid=before_id, insert=insert, spec=spec
        )
        child_id = self.executor.ask(message).process_id
        parent, nodes = self.model.nodes[parent_id], self.model.nodes
        child = nodes[child_id] = self._node(spec)
        child.parents, child.waits_for_parents = [parent_id], True
        if insert:
            child.children, parent.children = parent.children, [child_id]
            for old_id in dict.fromkeys(child.children):
                old = nodes[old_id]
                times = old.parents.count(parent_id)
                old.parents = [i for i in old.parents if i != parent_id] + [child_id] * times
        else:
            parent.children = [*parent.children, child_id]
            if before_id:
                child.children = [before_id]
                nodes[before_id].parents = [*nodes[before_id].parents, child_id]

    @rule()
    def cancel(self) -> None:
        self.graph.cancel()
        for node_id in self.model.walk():
            if self.model.nodes[node_id].state in (WAITING, RUNNING):
                self.model.nodes[node_id].state = CANCELLED
        self.model.settle(CANCELLED, self.sim.now_ns)

    @rule()
    def lose_the_executor(self) -> None:
        self.colony.remove_executor(self.executor)
        for node in self.model.nodes.values():
            if node.state == RUNNING:
                node.state, node.started_ns = WAITING, ZERO_TIME_NS
        self.executor = self.colony.add_executor("t")

    @rule(seconds=st.integers(1, 4))
    def wait(self, seconds: int) -> None:
        for _ in range(seconds):
            self.sim.advance(1)
            self.model.tick(self.sim.now_ns)

    @invariant()
    def agree(self) -> None:
        if not self.model.nodes:
            return
        for node_id, node in self.model.nodes.items():
            process = self.sim.world.processes[node_id]
            assert (process.state, process.wait_for_parents) == (node.state, node.waits_for_parents)
            assert (list(process.parents), list(process.children)) == (node.parents, node.children)
            assert (process.input if process.input is None else list(process.input)) == node.input
            assert (list(process.output), process.retries) == (node.output, node.retries)
        graph = self.graph.details.graph
        assert (graph.state, graph.ended_ns) == (self.model.state, self.model.ended_ns)
        assert list(self.graph.details.process_ids or ()) == self.model.walk()


Workflows.TestCase.settings = hypothesis_settings(max_examples=250, stateful_step_count=40, deadline=None)
TestWorkflows = Workflows.TestCase
