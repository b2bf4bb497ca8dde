"""Workflows that no root leads through, or parts of which have gone (docs/protocol/c-workflows.md 3.2)."""

from __future__ import annotations

from colonysim import AssignedProcess, ColonyClient, ExecutorClient, ProcessState, Simulation
from colonysim.core.operations.colonies import RemoveColony
from colonysim.core.operations.users import AddUser
from colonysim.core.records import Process
from colonysim.core.types import User
from colonysim.simulation.client import GraphHandle

from .conftest import Ask

WAITING, RUNNING, SUCCESS, FAILED = (ProcessState[name] for name in ("WAITING", "RUNNING", "SUCCESS", "FAILED"))
ISLAND = {"x": {"dependencies": ["x"]}}


def take(executor: ExecutorClient) -> AssignedProcess:
    assigned = executor.assign()
    assert assigned is not None
    return assigned


def named(sim: Simulation, name: str) -> Process:
    return next(process for process in sim.world.processes.values() if process.spec.nodename == name)


def test_a_graph_with_an_island_ends_when_what_its_roots_lead_to_has(sim: Simulation, colony: ColonyClient) -> None:
    executor = colony.add_executor("cli")
    graph = colony.submit_workflow({"r": {}, "s": {}, "c": {"dependencies": ["r", "s"]}} | ISLAND)
    first, second = take(executor), take(executor)
    assert graph.state == RUNNING
    first.close()
    assert named(sim, "c").wait_for_parents, "one of its parents has not succeeded"
    assert executor.assign() is None
    second.close()
    assert graph.state == RUNNING
    take(executor).close()
    assert (graph.state, named(sim, "x").state) == (SUCCESS, WAITING)


def _with_a_child_elsewhere(
    sim: Simulation, colony: ColonyClient, ask: Ask, **others: dict[str, object]
) -> tuple[ExecutorClient, AssignedProcess, GraphHandle]:
    """`r` runs and has got a child in another colony, which comes before `c`."""
    other = ColonyClient.create(sim, "other")
    executor = colony.add_executor("cli")
    other.ask(AddUser(user=User(colonyname="other", userid=executor.id, name="guest")))
    graph = colony.submit_workflow({"r": {}, "c": {"dependencies": ["r"]}} | others)
    parent = take(executor)
    spec = {"nodename": "k", "funcname": "f", "maxwaittime": 5}
    spec["conditions"] = {"colonyname": "other", "executortype": "nobody"}
    ids = {"processgraphid": graph.id, "parentprocessid": parent.id, "childprocessid": named(sim, "c").process_id}
    assert ask(executor, "addchildmsg", insert=False, spec=spec, **ids)["parents"] == [parent.id]
    return executor, parent, graph


def test_a_parent_that_went_with_its_colony_is_waited_for_no_longer_beside_an_island(
    sim: Simulation, colony: ColonyClient, ask: Ask
) -> None:
    executor, parent, graph = _with_a_child_elsewhere(sim, colony, ask, **ISLAND)
    assert sim.call(sim.world.server_id, RemoveColony(colonyname="other")).ok
    parent.close(["from r"])
    child = take(executor)
    assert (child.spec.nodename, child.input) == ("c", ["from r"])
    child.close()
    assert graph.state == SUCCESS


def test_without_an_island_it_is_waited_for_in_vain(sim: Simulation, colony: ColonyClient, ask: Ask) -> None:
    executor, parent, graph = _with_a_child_elsewhere(sim, colony, ask)
    assert sim.call(sim.world.server_id, RemoveColony(colonyname="other")).ok
    parent.close()
    assert executor.assign() is None
    assert graph.state == RUNNING


def test_a_process_whose_graph_went_with_its_colony_fails_alone(
    sim: Simulation, colony: ColonyClient, ask: Ask
) -> None:
    _with_a_child_elsewhere(sim, colony, ask)
    assert sim.call(sim.world.server_id, RemoveColony(colonyname="c")).ok
    sim.advance(60)
    assert [(process.spec.nodename, process.state) for process in sim.world.processes.values()] == [("k", FAILED)]


def test_a_root_that_a_child_came_before_while_it_waited_is_not_released_twice(
    sim: Simulation, colony: ColonyClient, ask: Ask
) -> None:
    executor = colony.add_executor("cli")
    graph = colony.submit_workflow({"p": {}, "c": {}})
    parent = take(executor)
    spec = {"nodename": "n", "funcname": "f", "priority": 9}
    spec["conditions"] = {"colonyname": "c", "executortype": "cli"}
    ids = {"processgraphid": graph.id, "parentprocessid": parent.id, "childprocessid": named(sim, "c").process_id}
    ask(executor, "addchildmsg", insert=False, spec=spec, **ids)
    parent.close()
    for name in ("n", "c"):
        assigned = take(executor)
        assert assigned.spec.nodename == name
        assigned.close()
    assert executor.assign() is None
    assert graph.state == SUCCESS
