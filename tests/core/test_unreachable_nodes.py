"""Workflows with nodes that no root leads to: each step ends as after a walk over the whole graph, and costs less."""

from __future__ import annotations

import random
from typing import Any

import pytest

from colonysim import ColonyClient, Simulation
from colonysim.core.operations.assignment import AssignProcess
from colonysim.core.operations.closing import CloseFailed, CloseSuccessful
from colonysim.core.operations.colonies import RemoveColony
from colonysim.core.operations.processes import CancelProcess
from colonysim.core.operations.workflows import AddChild, SubmitWorkflow
from colonysim.core.records import Reached
from colonysim.core.types import Conditions, FunctionSpec, WorkflowSpec
from tests.steps import steps


def _node(name: str, parents: list[str], **fields: Any) -> FunctionSpec:
    conditions = Conditions(colonyname="c", executortype="t", dependencies=parents)
    return FunctionSpec(nodename=name, funcname="f", conditions=conditions, **fields)


class _Forgetful(dict[str, Reached]):
    """Keeps nothing, so that each step walks over the whole graph."""

    def __setitem__(self, graph_id: str, found: Reached) -> None:
        return None


class _Side:
    """A colony with one executor and one workflow."""

    def __init__(self, nodes: list[FunctionSpec]) -> None:
        self.sim = Simulation(mode="manual", invariants=False)
        self.colony = ColonyClient.create(self.sim, "c")
        self.user, self.executor = self.colony.user.id, self.colony.add_executor("t").id
        spec = WorkflowSpec(colonyname="c", functionspecs=nodes)
        self.graph_id = self.sim.call(self.user, SubmitWorkflow(spec=spec)).body.graph.graph_id

    def assign(self) -> Any:
        answer = self.sim.call(self.executor, AssignProcess(colonyname="c", timeout=-1))
        return answer.body.process.process_id if answer.ok else None

    def close(self, process_id: str) -> Any:
        return self.sim.call(self.executor, CloseSuccessful(processid=process_id))

    def state(self) -> Any:
        world = self.sim.world
        graph = world.graphs[self.graph_id]
        processes = [
            (p.process_id, p.state, p.wait_for_parents, p.parents, p.children) for p in world.processes.values()
        ]
        return graph.state, graph.started_ns, graph.ended_ns, graph.counts, processes


def _nodes(chance: random.Random) -> list[FunctionSpec]:
    """Some without parents, some in cycles, some below cycles and below roots."""
    count = chance.randrange(4, 14)
    nodes = []
    for number in range(count):
        most = min(number, 2) if chance.random() < 0.7 else 2
        among = range(number) if most <= number and chance.random() < 0.7 else range(count)
        parents = [f"n{chance.choice(among)}" for _ in range(chance.randrange(most + 1))] if among else []
        limits = {"maxwaittime": chance.choice([-1, 5, 9]), "maxexectime": chance.choice([-1, 3]), "maxretries": 1}
        nodes.append(_node(f"n{number}", parents, **limits))
    return nodes


@pytest.mark.parametrize("seed", range(60))
def test_each_step_ends_as_after_a_walk_over_the_whole_graph(seed: int) -> None:
    chance = random.Random(seed)
    nodes = _nodes(chance)
    sides = [_Side(nodes), _Side(nodes)]
    sides[1].sim.world.reached = _Forgetful()
    running: list[str] = []

    def same(*got: Any) -> Any:
        assert got[0] == got[1]
        return got[0]

    for _ in range(40):
        drawn = chance.random()
        if drawn < 0.4 and (given := same(*(side.assign() for side in sides))):
            running.append(given)
        elif drawn < 0.6 and running:
            process_id = running.pop(chance.randrange(len(running)))
            same(*(side.close(process_id).status for side in sides))
        elif drawn < 0.66 and running:
            process_id = running.pop(chance.randrange(len(running)))
            same(*(side.sim.call(side.executor, CloseFailed(processid=process_id)).status for side in sides))
        elif drawn < 0.7:
            process_id = chance.choice(list(sides[0].sim.world.processes))
            same(*(side.sim.call(side.user, CancelProcess(processid=process_id)).status for side in sides))
        elif drawn < 0.9 and running:
            before = chance.choice(["", *sides[0].sim.world.processes])
            child = AddChild(
                processgraphid=sides[0].graph_id, parentprocessid=chance.choice(running), childprocessid=before,
                insert=chance.random() < 0.3, spec=_node("child", []),
            )  # fmt: skip
            same(*(side.sim.call(side.executor, child).status for side in sides))
        else:
            for side in sides:
                side.sim.advance(1)
        same(*(side.state() for side in sides))


def _cycle(count: int, last: int) -> list[FunctionSpec]:
    """Roots, and a cycle of the last so many."""
    nodes = [_node(f"r{number}", []) for number in range(count - last)]
    ring = [_node(f"i{number}", [f"i{(number + 1) % last}"], maxwaittime=5 + number) for number in range(last)]
    return nodes + ring


@pytest.mark.parametrize("what", ["run", "fail", "add children", "cycle"])
def test_a_step_costs_as_much_in_a_large_graph_with_islands(what: str) -> None:
    def cost(count: int) -> float:
        side = _Side(_cycle(count, count // 2 if what == "cycle" else 2))

        def work() -> None:
            if what == "cycle":
                side.sim.advance(count)
                return
            parent = side.assign()
            for _ in range(count - 3):
                if what == "add children":
                    child = AddChild(processgraphid=side.graph_id, parentprocessid=parent, spec=_node("child", []))
                    assert side.sim.call(side.executor, child).ok
                process_id = side.assign()
                message = CloseFailed(processid=process_id) if what == "fail" else CloseSuccessful(processid=process_id)
                assert side.sim.call(side.executor, message).ok

        return steps(work) / count

    assert cost(400) <= 1.3 * cost(50)


def test_nothing_is_kept_of_a_graph_that_has_gone() -> None:
    side = _Side(_cycle(4, 2))
    assert side.assign()
    assert list(side.sim.world.reached) == [side.graph_id]
    assert side.sim.call(side.colony.id, RemoveColony(colonyname="c")).status == 403
    server = side.sim.world.server_id
    assert side.sim.call(server, RemoveColony(colonyname="c")).ok
    assert side.sim.world.reached == {}
