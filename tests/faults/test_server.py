"""Faults of the server: restarts and partitions."""

from __future__ import annotations

import msgspec
import pytest

from colonysim import ColonyClient, Lost, ProcessState, Simulation
from colonysim.core.operations.assignment import AssignProcess
from colonysim.faults import (
    Partition,
    Restart,
    Times,
)
from colonysim.kernel.pending import LOST
from tests.faults.common import submit


def test_a_restart_loses_what_is_in_memory_only(sim: Simulation, colony: ColonyClient) -> None:
    executor = colony.add_executor("a")
    process = submit(colony, channels=["x"])
    running = executor.assign()
    assert running is not None
    process.say("x", b"hello")
    assert running.hear("x") == [b"hello"]
    poll = sim.begin(executor.id, AssignProcess(colonyname="c", timeout=100))
    sim.faults.add(Restart(times=Times(at_s=10), down_s=5))
    sim.advance(10)
    assert poll.answer is not None
    assert poll.answer.status == LOST
    with pytest.raises(Lost):
        colony.processes()
    sim.advance(5)
    assert process.state is ProcessState.RUNNING  # this is in the database
    assert running.hear("x") == []
    running.close()
    assert process.state is ProcessState.SUCCESS


def test_what_falls_due_while_the_server_is_down_happens_when_it_is_back(sim: Simulation, colony: ColonyClient) -> None:
    process = submit(colony, maxwaittime=10)
    sim.faults.add(Restart(times=Times(at_s=5), down_s=60))
    sim.advance(40)
    assert sim.world.processes[process.id].state == ProcessState.WAITING
    sim.advance(30)
    assert process.state is ProcessState.FAILED


def test_crons_run_once_after_a_long_absence(sim: Simulation, colony: ColonyClient) -> None:
    from colonysim.core.operations.crons import AddCron
    from colonysim.core.types import CronSpec, WorkflowSpec
    from colonysim.simulation.client import function_spec

    workflow = WorkflowSpec(colonyname="c", functionspecs=[function_spec("c", "f", nodename="n", executortype="a")])
    text = msgspec.json.encode(workflow).decode()
    colony.user.ask(AddCron(cron=CronSpec(colonyname="c", name="n", interval=10, workflowspec=text)))
    sim.faults.add(Restart(times=Times(at_s=15), down_s=100))
    sim.advance(114)
    assert len(sim.world.processes) == 1
    sim.advance(1.5)
    assert len(sim.world.processes) == 2
    sim.check()


def test_a_partition_keeps_some_from_the_server_and_heals(sim: Simulation, colony: ColonyClient) -> None:
    near, far = colony.add_executor("a", name="near"), colony.add_executor("a", name="far")
    sim.faults.add(Partition(actors="far", times=Times(at_s=5), for_s=10))
    poll = sim.begin(far.id, AssignProcess(colonyname="c", timeout=100))
    sim.advance(6.5)
    assert poll.answer is not None
    assert poll.answer.status == LOST
    with pytest.raises(Lost):
        far.assign()
    assert near.assign() is None
    sim.advance(10)
    assert far.assign() is None
