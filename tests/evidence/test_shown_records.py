"""Planted bugs in what the server shows, whom it lets in and whom it tells: the invariants find each."""

from __future__ import annotations

from collections.abc import Callable
from operator import attrgetter
from pathlib import Path
from typing import Any

import pytest

from colonysim import ColonyClient, InvariantViolation, Refused, Simulation
from colonysim.core import access, channels, lifecycle, subscriptions
from colonysim.core.operations.assignment import PauseAssignments
from colonysim.core.operations.closing import CloseSuccessful
from colonysim.core.operations.colonies import GetColony
from colonysim.core.operations.executors import RejectExecutor
from colonysim.core.operations.logs import GetLogs
from colonysim.core.operations.processes import GetProcessHist
from colonysim.core.records import SUCCESS, Process
from colonysim.core.types import User
from colonysim.core.usual import USUAL
from colonysim.core.world import World
from colonysim.invariants import ServerRaised, TablesUnreadable
from colonysim.scenarios.runner import run
from colonysim.scenarios.scenario import Scenario
from colonysim.simulation.client import Caller
from colonysim.wire.identity import Identity

SCENARIO = """
version: 1
name: small
phases: {storm_s: 600, calm_s: 600}
executors: [{name: cli, count: 1, service: {kind: constant, value_s: 1}}]
workload: [{name: w, arrivals: {kind: poisson, per_hour: 60}, mix: [{funcname: f, maxexectime: 60}]}]
"""


def expect(text: str, do: Callable[[], object]) -> None:
    with pytest.raises(InvariantViolation, match=text):
        do()


def planted(*_: object) -> None:
    raise ZeroDivisionError("planted")


def nothing(*_: object, **__: object) -> None:
    """What a function does whose work has been forgotten."""


# ---------------------------------------------------------------- exceptions
def test_an_exception_of_the_server_names_the_request_and_is_the_cause(
    colony: ColonyClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lifecycle, "submit", planted)
    text = f"the server raised ZeroDivisionError: planted while serving submitfuncspecmsg of {colony.user.id}"
    with pytest.raises(ServerRaised, match=text) as raised:
        colony.submit("f")
    assert isinstance(raised.value.__cause__, ZeroDivisionError)
    expect(text, colony.sim.check)


def test_an_exception_while_time_passes_is_found_too(colony: ColonyClient, monkeypatch: pytest.MonkeyPatch) -> None:
    colony.submit("f", maxwaittime=5)
    monkeypatch.setattr(lifecycle, "fail", planted)
    expect("raised ZeroDivisionError: planted while letting an event", lambda: colony.sim.advance(60))


def test_without_invariants_an_exception_stays_what_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    colony = ColonyClient.create(Simulation(mode="manual", invariants=False))
    monkeypatch.setattr(lifecycle, "submit", planted)
    with pytest.raises(ZeroDivisionError):
        colony.submit("f")


def test_a_scenario_tells_an_exception_of_the_server_as_a_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "small.yaml"
    path.write_text(SCENARIO)
    monkeypatch.delitem(USUAL, CloseSuccessful)
    monkeypatch.setattr(lifecycle, "succeed", planted)
    failures = run(Scenario.load(path)).failures
    assert (failures[0].kind, failures[0].name) == ("invariant", "server raised")
    assert "closesuccessfulmsg" in failures[0].text


def test_tables_that_cannot_be_compared_are_a_violation(colony: ColonyClient) -> None:
    colony.sim.world.attributes = None  # type: ignore[assignment]
    with pytest.raises(TablesUnreadable, match="the tables cannot be compared with the records: AttributeError"):
        colony.sim.check()


# ---------------------------------------------------------------- what a process shows
@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("submitted_ns", 1), ("started_ns", 1), ("ended_ns", 1), ("wait_deadline_ns", 1), ("exec_deadline_ns", 1),
        ("is_assigned", False), ("retries", 7), ("state", 3),
    ],
)  # fmt: skip
def test_a_field_that_shows_what_never_happened(colony: ColonyClient, field: str, value: object) -> None:
    executor = colony.add_executor("t")
    process = colony.submit("f", executortype="t", maxexectime=50, maxwaittime=70)
    colony.sim.advance(2)
    assigned = executor.assign()
    assert assigned is not None
    colony.sim.advance(2)
    assigned.close()
    colony.sim.check()
    setattr(colony.sim.world.processes[process.id], field, value)
    expect(f"process {process.id} shows {field}", colony.sim.check)


def test_a_failure_with_the_error_of_another_one(colony: ColonyClient) -> None:
    process = colony.submit("f", maxwaittime=5)
    colony.sim.advance(60)
    colony.sim.check()
    colony.sim.world.processes[process.id].errors = [lifecycle.RAN_TOO_LONG]
    expect("shows errors", colony.sim.check)


def test_attributes_that_keep_the_state_from_before(colony: ColonyClient, monkeypatch: pytest.MonkeyPatch) -> None:
    from colonysim.core import transitions

    executor = colony.add_executor("t")
    colony.submit("f", executortype="t", env={"a": "b"})
    colony.sim.advance(2)
    monkeypatch.setattr(transitions, "set_attribute_states", nothing)
    executor.assign()
    expect("shows the state of its attribute 'a' 0, not 1", colony.sim.check)


# ---------------------------------------------------------------- graphs
def _flip_islands(world: World) -> None:
    (graph,) = world.graphs.values()
    graph.has_unreachable_nodes = True


def _forget_child(world: World) -> None:
    next(iter(world.processes.values())).children = ()


def _end_at_another_time(world: World) -> None:
    (graph,) = world.graphs.values()
    graph.ended_ns += 1


@pytest.mark.parametrize(
    ("break_it", "text"),
    [
        (_flip_islands, "was found to be one that has processes that no root leads to"),
        (_forget_child, "does not know its child"),
        (_end_at_another_time, "ended when nothing happened to its processes"),
    ],
)
def test_a_graph_that_does_not_show_what_it_is(
    colony: ColonyClient, break_it: Callable[[World], None], text: str
) -> None:
    executor = colony.add_executor("t")
    colony.submit_workflow({"a": {"executortype": "t"}, "b": {"executortype": "t", "dependencies": ["a"]}})
    for _ in range(2):
        assigned = executor.assign()
        assert assigned is not None
        assigned.close()
    colony.sim.check()
    break_it(colony.sim.world)
    expect(text, colony.sim.check)


# ---------------------------------------------------------------- indexes and the agenda
@pytest.mark.parametrize(
    ("index", "text"),
    [
        ("users_by_id", "the users by id list"),
        ("executors_by_id", "the executors by id list"),
        ("functions_of", "the functions by executor list"),
        ("functions_in", "the functions by colony list"),
        ("graphs_in", "the graphs by colony and state list"),
        ("logs.of_process", "the logs by process list"),
        ("logs.of_executor", "the logs by executor list"),
        ("attribute_times", "the attributes and the times"),
    ],
)
def test_an_index_that_has_lost_something(colony: ColonyClient, index: str, text: str) -> None:
    executor = colony.add_executor("t")
    executor.add_function("f")
    colony.submit("f", executortype="t", env={"a": "b"})
    assigned = executor.assign()
    assert assigned is not None
    assigned.log("a line")
    colony.submit_workflow({"a": {"executortype": "t"}})
    colony.sim.check()
    attrgetter(index)(colony.sim.world).clear()
    expect(text, colony.sim.check)


def test_a_clean_up_that_is_not_planned(colony: ColonyClient) -> None:
    colony.add_executor("t").assign()
    world = colony.sim.world
    assert world.cleanup is not None
    world.agenda.cancel(world.cleanup[0])
    expect("clean-ups of executors are planned for", colony.sim.check)


def test_a_run_of_retention_that_is_not_planned() -> None:
    colony = ColonyClient.create(Simulation(mode="manual", retention=True, retention_policy_s=60))
    executor = colony.add_executor("t")
    colony.submit("f", executortype="t")
    assigned = executor.assign()
    assert assigned is not None
    assigned.close()
    world = colony.sim.world
    assert world.retention is not None
    world.agenda.cancel(world.retention[0])
    world.retention = None
    expect("no run of retention is planned in time", colony.sim.check)


# ---------------------------------------------------------------- roles
def test_a_stranger_who_is_let_in(colony: ColonyClient) -> None:
    stranger = Caller(colony.sim, Identity("", "a" * 64))
    with pytest.raises(Refused):
        stranger.ask(GetColony(colonyname="c"))
    colony.sim.world.users_by_id["c", stranger.id] = [User(colonyname="c", userid=stranger.id, name="user")]
    expect("was served, although only a member", lambda: stranger.ask(GetColony(colonyname="c")))


def test_a_member_of_another_colony_who_is_let_in(colony: ColonyClient) -> None:
    other = ColonyClient.create(colony.sim, "other")
    colony.sim.world.executors_by_id[other.user.id] = [
        colony.sim.world.executors["c", colony.add_executor("t", "e").name]
    ]
    expect("was served, although only a member", lambda: other.user.ask(GetColony(colonyname="c")))


def test_a_member_who_is_refused(colony: ColonyClient) -> None:
    executor = colony.add_executor("t")
    del colony.sim.world.executors_by_id[executor.id]
    expect("was refused .*, although it may ask that", executor.assign)


@pytest.mark.parametrize("rejects", [True, False], ids=["rejected", "removed"])
def test_a_former_member_who_is_still_let_in(colony: ColonyClient, rejects: bool) -> None:
    """That it was a member for an earlier request, also of another type, does not help."""
    executor = colony.add_executor("t", "e")
    colony.submit("f", executortype="t")
    assert executor.assign() is not None
    if rejects:
        colony.ask(RejectExecutor(colonyname="c", executorname="e"))
    else:
        colony.remove_executor(executor)
    colony.sim.world.users_by_id["c", executor.id] = [User(colonyname="c", userid=executor.id, name="user")]
    del colony.sim.world.executors_by_id[executor.id]
    expect("was served, although only a member", lambda: executor.ask(GetColony(colonyname="c")))


def test_a_member_who_is_served_what_only_the_owner_may_ask(
    colony: ColonyClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    executor = colony.add_executor("t", "e")
    executor.ask(GetColony(colonyname="c"))
    monkeypatch.setattr(access, "require_owner", nothing)
    expect("was served, although only the owner", lambda: executor.ask(PauseAssignments(colonyname="c")))


def test_somebody_who_is_served_for_what_another_one_runs(
    colony: ColonyClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    executor, other = colony.add_executor("t"), colony.add_executor("t")
    colony.submit("f", executortype="t")
    assigned = executor.assign()
    assert assigned is not None

    def give_away(world: World, process: Process, output: list[Any]) -> None:
        process.output, process.executor_id = output, other.id

    monkeypatch.delitem(USUAL, CloseSuccessful)
    monkeypatch.setattr(lifecycle, "succeed", give_away)
    expect(f"is assigned to {other.id}, and {executor.id} was served by CloseSuccessful", assigned.close)


# ---------------------------------------------------------------- statistics of functions
@pytest.mark.parametrize("forgets", [True, False], ids=["not counted", "counted twice"])
def test_a_call_that_is_counted_wrongly(colony: ColonyClient, monkeypatch: pytest.MonkeyPatch, forgets: bool) -> None:
    count = lifecycle._count_call

    def miscount(*arguments: Any) -> bool:
        return not forgets and count(*arguments) and count(*arguments)

    executor = colony.add_executor("t", "e")
    executor.add_function("f")
    for _ in range(2):
        colony.submit("f", executortype="t")
        colony.sim.advance(3)
        assigned = executor.assign()
        assert assigned is not None
        if not _:
            assigned.close()
            monkeypatch.setattr(lifecycle, "_count_call", miscount)
    expect(f"function 'f' of 'e' shows calls {1 if forgets else 3}, not 2", assigned.close)


# ---------------------------------------------------------------- subscribers
def test_a_subscriber_of_a_process_who_is_not_told(colony: ColonyClient, monkeypatch: pytest.MonkeyPatch) -> None:
    executor = colony.add_executor("t")
    process = colony.submit("f", executortype="t")
    subscriptions.subscribe(colony.sim.world, 1, "t", SUCCESS, process.id, 60)
    assigned = executor.assign()
    assert assigned is not None
    monkeypatch.setattr(subscriptions, "publish", nothing)
    expect("became SUCCESS, and stream 1, which had subscribed, got no event", assigned.close)


def test_a_subscriber_of_a_type_who_is_not_told(colony: ColonyClient, monkeypatch: pytest.MonkeyPatch) -> None:
    subscriptions.subscribe(colony.sim.world, 1, "t", 0, "", 60)
    monkeypatch.setattr(subscriptions, "publish", nothing)
    expect("became WAITING, and stream 1", lambda: colony.submit("f", executortype="t"))


def test_a_subscriber_of_a_channel_who_is_not_told(colony: ColonyClient, monkeypatch: pytest.MonkeyPatch) -> None:
    process = colony.submit("f", channels=["chat"])
    world = colony.sim.world
    channel = world.channels[process.id].by_name["chat"]
    channels.subscribe(world, process.id, "chat", channel, 1, 60)
    append = channels.append

    def to_nobody(*arguments: Any) -> None:
        listeners, channel.listeners = channel.listeners, {}
        append(*arguments)
        channel.listeners = listeners

    monkeypatch.setattr(channels, "append", to_nobody)
    expect("sent a message 0 times to stream 1", lambda: process.say("chat", b"word", 1))


def test_a_message_that_is_lost(colony: ColonyClient) -> None:
    process = colony.submit("f", channels=["chat"])
    for number in (1, 2):
        process.say("chat", b"word", number)
    colony.sim.check()
    colony.sim.world.channels[process.id].by_name["chat"].log.pop()
    expect("does not show what was sent", colony.sim.check)
    expect("has 2 messages, and 3 were sent", lambda: process.say("chat", b"word", 3))


# ---------------------------------------------------------------- causes, graphs that grow or fall
def test_a_change_for_a_cause_that_there_is_not(colony: ColonyClient, monkeypatch: pytest.MonkeyPatch) -> None:
    from colonysim.core import transitions

    process = colony.submit("f")

    def cancel(world: World, process: Process) -> None:
        transitions._move(world, process, 4, "a whim")

    monkeypatch.setattr(transitions, "cancel", cancel)
    expect("must not go from WAITING to CANCELLED by 'a whim'", process.cancel)


def test_a_process_that_waits_again_and_shows_where_it_ran(
    colony: ColonyClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    from colonysim.core import transitions

    executor = colony.add_executor("t")
    colony.submit("f", executortype="t")
    executor.assign()
    again = transitions.requeue_after_removal

    def keep(world: World, process: Process) -> None:
        again(world, process)
        process.executor_id = executor.id

    monkeypatch.setattr(transitions, "requeue_after_removal", keep)
    expect("shows executor", lambda: colony.remove_executor(executor))


def test_a_leaf_that_takes_its_graph_with_it(colony: ColonyClient, monkeypatch: pytest.MonkeyPatch) -> None:
    from colonysim.core import graphs

    executor = colony.add_executor("t")
    colony.submit_workflow({"a": {"executortype": "t"}, "b": {"executortype": "t"}})
    assigned = executor.assign()
    assert assigned is not None
    failed = graphs.on_failed

    def all_fall(world: World, process: Process) -> None:
        graphs._fail_all(world, list(world.processes.values()))
        failed(world, process)

    monkeypatch.setattr(graphs, "on_failed", all_fall)
    expect("failed with .*, although no process with children failed", assigned.fail)


def test_a_graph_that_forgets_when_it_began(colony: ColonyClient, monkeypatch: pytest.MonkeyPatch) -> None:
    from colonysim.core import graphs

    executor = colony.add_executor("t")
    colony.submit_workflow({"a": {"executortype": "t"}})
    settle = graphs.evaluate

    def forget(world: World, graph: Any, *state: int) -> None:
        settle(world, graph, *state)
        graph.started_ns = 0

    monkeypatch.setattr(graphs, "evaluate", forget)
    expect("with times that it did not have", executor.assign)


def test_a_child_in_another_place_than_was_asked_for(colony: ColonyClient, monkeypatch: pytest.MonkeyPatch) -> None:
    from colonysim.core import graphs
    from colonysim.core.operations.workflows import AddChild
    from colonysim.core.types import Conditions, FunctionSpec

    executor = colony.add_executor("t")
    graph = colony.submit_workflow({"a": {"executortype": "t"}, "b": {"executortype": "t", "dependencies": ["a"]}})
    parent = executor.assign()
    assert parent is not None
    add = graphs.add_child
    monkeypatch.setattr(
        graphs, "add_child", lambda world, one, child, before, insert: add(world, one, child, before, False)
    )
    spec = FunctionSpec(nodename="n", funcname="f", conditions=Conditions(colonyname="c", executortype="t"))
    message = AddChild(processgraphid=graph.id, parentprocessid=parent.id, insert=True, spec=spec)
    expect("was to be inserted before all children of its parent, and was not", lambda: executor.ask(message))


def test_the_history_of_another_colonys_executor_is_looked_up_in_the_colony_that_is_named(colony: ColonyClient) -> None:
    """The role is that in the named colony, whichever executor the message names."""
    other = ColonyClient.create(colony.sim, "other")
    executor = other.add_executor("t")
    message = GetProcessHist(colonyname="c", executorid=executor.id, seconds=60, state=0)
    assert colony.sim.call(colony.user.id, message).ok
    colony.sim.check()


def test_logs_of_an_executor_are_looked_up_in_the_colony_that_is_named_whatever_process_is(
    colony: ColonyClient,
) -> None:
    other = ColonyClient.create(colony.sim, "other")
    process = other.submit("f")
    executor = colony.add_executor("t")
    message = GetLogs(colonyname="c", processid=process.id, executorname=executor.name, count=1)
    assert colony.sim.call(colony.user.id, message).ok
    colony.sim.check()
