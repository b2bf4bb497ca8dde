"""Corners of workflows: docs/protocol/c-workflows.md 3.2, docs/protocol/b-processes.md 4.4."""

from __future__ import annotations

from colonysim import ColonyClient, ProcessState, Simulation
from colonysim.core.operations.assignment import AssignProcess
from colonysim.core.operations.processes import SubmitFuncSpec
from colonysim.core.types import Conditions, FunctionSpec

from .conftest import Ask


def test_a_graph_that_an_island_pulls_down_is_counted_as_it_was(sim: Simulation, colony: ColonyClient) -> None:
    """Each process is counted before its parents are looked at, and no root leads to the one that has failed."""
    graph = colony.submit_workflow(
        {"r": {}, "x": {"dependencies": ["x"], "maxwaittime": 1}, "y": {"dependencies": ["r", "x"]}}
    )
    sim.advance(4)
    processes = {process.spec.nodename: process for process in sim.world.processes.values()}
    assert {process.state for process in processes.values()} == {ProcessState.FAILED}
    stored = sim.world.graphs[graph.id]
    assert (stored.state, stored.ended_ns) == (
        ProcessState.WAITING,
        processes["x"].ended_ns,
    )


def test_a_process_with_an_unfinished_parent_wakes_nobody_for_its_children(
    sim: Simulation, colony: ColonyClient, ask: Ask
) -> None:
    """Such a parent may come in front of it while it runs."""
    graph = colony.submit_workflow({"p": {}, "c": {}, "d": {"dependencies": ["c"], "executortype": "w"}})
    worker, other = colony.add_executor("cli"), colony.add_executor("w")
    running = [worker.assign() for _ in range(2)]
    assert None not in running
    p, c, d = (graph.processes[name].id for name in "pcd")
    conditions = {"colonyname": "c", "executortype": "cli"}
    new = {"nodename": "n", "funcname": "f", "conditions": conditions}
    added = ask(
        worker, "addchildmsg", processgraphid=graph.id, parentprocessid=p, childprocessid=c, insert=False, spec=new
    )
    assert added["parents"] == [p]
    waiting = sim.begin(other.id, AssignProcess(colonyname="c", timeout=100))
    assert ask(worker, "closesuccessfulmsg", processid=c) == {}
    assert not sim.world.processes[d].wait_for_parents
    assert waiting.answer is None
    found = other.assign()
    assert found is not None
    assert found.id == d


def test_a_refused_workflow_uses_up_no_ids(sim: Simulation, colony: ColonyClient, ask: Ask) -> None:
    """What comes after it is as if nobody had asked."""
    twin = sim.fork()
    good = {"nodename": "a", "funcname": "f", "conditions": {"executortype": "t"}}
    for bad in ({"cpu": "99999999999999999999m"}, {"nodes": 2**40}, {"mem": "xGi"}):
        spec = {"colonyname": "c", "functionspecs": [good, good | {"nodename": "b", "conditions": bad}]}
        assert ask(colony.user, "submitworkflowspecmsg", spec=spec)[0] == 500
    submit = SubmitFuncSpec(spec=FunctionSpec(conditions=Conditions(colonyname="c")))
    ids = [one.call(colony.user.id, submit).body.process_id for one in (sim, twin)]  # type: ignore[union-attr]
    assert ids[0] == ids[1]
