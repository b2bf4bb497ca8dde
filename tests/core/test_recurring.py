"""Crons and generators through virtual time: docs/protocol/c-workflows.md 6 and 7."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest
from croniter import croniter

from colonysim import ColonyClient, Simulation
from colonysim.core.operations.crons import AddCron as AddCronMessage
from colonysim.core.recurring import CHECK_DELAY_NS
from colonysim.core.types import ZERO_TIME_NS, CronSpec

from .conftest import Ask

YEAR_S = 365 * 86_400
NODE = {"nodename": "n", "funcname": "f", "maxexectime": -1, "conditions": {"colonyname": "c", "executortype": "t"}}
WORKFLOW = json.dumps({"colonyname": "c", "functionspecs": [NODE]})

AddCron = Callable[..., dict[str, Any]]
AddGenerator = Callable[..., dict[str, Any]]


@pytest.fixture
def add_cron(colony: ColonyClient, ask: Ask) -> AddCron:
    def add(name: str = "cron", **fields: Any) -> dict[str, Any]:
        given = {"colonyname": "c", "name": name, "interval": -1, "workflowspec": WORKFLOW} | fields
        reply: dict[str, Any] = ask(colony.user, "addcronmsg", cron=given)
        assert isinstance(reply, dict), reply
        return reply

    return add


@pytest.fixture
def add_generator(colony: ColonyClient, ask: Ask) -> AddGenerator:
    def add(trigger: int, timeout: int = -1, workflowspec: str = WORKFLOW) -> dict[str, Any]:
        given = {"colonyname": "c", "name": "g", "trigger": trigger, "timeout": timeout, "workflowspec": workflowspec}
        reply: dict[str, Any] = ask(colony.user, "addgeneratormsg", generator=given)
        assert isinstance(reply, dict), reply
        return reply

    return add


def starts(sim: Simulation) -> list[datetime]:
    """When graphs were submitted, to the second."""
    return [datetime.fromtimestamp(graph.submitted_ns // 10**9, UTC) for graph in sim.world.graphs.values()]


def test_crons_through_a_year_run_exactly_as_often_as_they_should(sim: Simulation, add_cron: AddCron) -> None:
    """One every Monday at 15:03:59, one every day by interval, one every 5 s that waits for what nobody does."""
    add_cron("monday", cronexpression="59 3 15 * * 1")
    add_cron("daily", interval=86_400)
    add_cron("busy", cronexpression="*/5 * * * * *", waitforprevprocessgraph=True)
    began = sim.now
    sim.advance(YEAR_S)
    started = starts(sim)
    mondays = [when for when in started if (when.hour, when.minute, when.second) == (15, 3, 59)]
    oracle = croniter("3 15 * * 1 59", began)
    expected = [oracle.get_next(datetime).replace(tzinfo=UTC) for _ in mondays]
    assert mondays == expected
    assert len(mondays) == 52
    assert len(started) == 52 + 364 + 1
    assert all(when.weekday() == 0 for when in mondays)


def test_a_cron_every_five_seconds_skips_and_doubles_nothing(sim: Simulation, add_cron: AddCron) -> None:
    add_cron(cronexpression="*/5 * * * * *")
    sim.advance(6 * 3600)
    seconds = [when.second + 60 * when.minute + 3600 * when.hour for when in starts(sim)]
    assert seconds == list(range(5, 6 * 3600, 5))


def test_a_workflow_that_the_storage_refuses_is_not_started(sim: Simulation, add_cron: AddCron) -> None:
    add_cron("wrong", interval=5, workflowspec=WORKFLOW.replace('"funcname"', '"label":"a\\u0000b","funcname"'))
    add_cron("right", interval=5)
    sim.advance(30)
    assert {process.spec.label for process in sim.world.processes.values()} == {""}
    assert sim.world.processes


def test_intervals_are_rounded_up_to_the_checkers_looks(sim: Simulation, add_cron: AddCron) -> None:
    """Each run is the first look after its time, and the next interval counts from that look."""
    add_cron(interval=10)
    sim.advance(60)
    second = 10**9
    looks = [graph.submitted_ns - sim.world.started_ns - CHECK_DELAY_NS for graph in sim.world.graphs.values()]
    assert all(look % second == 0 for look in looks)
    gaps = {after - before for before, after in pairwise(looks)}
    assert gaps == {11 * second}


def test_the_zone_of_the_server_decides_when_a_cron_runs() -> None:
    sim = Simulation(mode="manual", timezone="America/New_York", start="2026-03-07T00:00:00Z")
    colony = ColonyClient.create(sim, "c")
    from colonysim.core.operations.crons import AddCron
    from colonysim.core.types import CronSpec

    colony.user.ask(
        AddCron(
            cron=CronSpec(colonyname="c", name="x", cronexpression="0 0 12 * * *", interval=-1, workflowspec=WORKFLOW)
        )
    )
    sim.advance(3 * 86_400)
    assert [when.hour for when in starts(sim)] == [17, 16, 16]  # daylight saving time began on 8 March


def test_a_cron_that_waits_starts_again_when_the_graph_before_has_ended(
    sim: Simulation, colony: ColonyClient, add_cron: AddCron
) -> None:
    add_cron(interval=10, waitforprevprocessgraph=True)
    executor = colony.add_executor("t")
    sim.advance(100)
    assert len(sim.world.graphs) == 1
    assigned = executor.assign()
    assert assigned is not None
    assigned.close()
    sim.advance(2)
    assert len(sim.world.graphs) == 2


def test_a_cron_that_never_runs_forgets_its_last_run_at_each_look(
    sim: Simulation, add_cron: AddCron, ask: Ask, colony: ColonyClient
) -> None:
    cron = add_cron(cronexpression="0 0 0 30 2 *", lastrun="2025-01-01T00:00:00Z", prevprocessgraphid="old")
    sim.advance(2)
    shown = ask(colony.user, "getcronmsg", cronid=cron["cronid"])
    assert (shown["lastrun"], shown["prevprocessgraphid"]) == ("0001-01-01T00:00:00Z", "")
    ask(colony.user, "runcronmsg", cronid=cron["cronid"])
    assert len(sim.world.graphs) == 1
    assert ask(colony.user, "getcronmsg", cronid=cron["cronid"])["prevprocessgraphid"] != ""
    sim.advance(2)
    assert ask(colony.user, "getcronmsg", cronid=cron["cronid"])["prevprocessgraphid"] == ""


def test_a_day_beyond_the_search_is_found_once_it_is_near_enough() -> None:
    """docs/protocol/c-workflows.md 6.4, 6.6: the year 2100 has no 29 February, and the search goes five years ahead."""
    sim = Simulation(mode="manual", start="2096-03-01T00:00:00Z")
    colony = ColonyClient.create(sim, "c")
    for expression in ("0 0 0 29 2 *", "0 0 0 30 2 *"):
        spec = CronSpec(colonyname="c", name=expression, interval=-1, cronexpression=expression, workflowspec=WORKFLOW)
        assert sim.call(colony.user.id, AddCronMessage(cron=spec)).ok
    leap, never = sim.world.crons.values()
    sim.advance(to="2098-12-31T12:00:00Z")
    assert leap.next_run_ns == ZERO_TIME_NS
    sim.advance(to="2099-01-01T00:00:03Z")
    assert datetime.fromtimestamp(leap.next_run_ns // 10**9, UTC) == datetime(2104, 2, 29, tzinfo=UTC)
    sim.advance(to="2104-03-01T00:00:00Z")
    assert starts(sim) == [datetime(2104, 2, 29, tzinfo=UTC)]
    assert never.next_run_ns == ZERO_TIME_NS


def test_what_the_leaves_have_put_out_goes_to_the_next_roots(
    sim: Simulation, colony: ColonyClient, add_cron: AddCron
) -> None:
    add_cron(interval=5)
    executor = colony.add_executor("t")
    fed: list[list[Any]] = []
    for number in range(3):
        sim.advance(8)
        assigned = executor.assign()
        assert assigned is not None
        fed.append(assigned.input)
        assigned.close([number])
    assert fed == [[], [0], [1]]


@pytest.mark.parametrize("when", ["nextrun", "lastrun"])
def test_times_the_database_cannot_hold_are_refused(colony: ColonyClient, ask: Ask, when: str) -> None:
    cron = {"colonyname": "c", "name": "x", "interval": 5, "workflowspec": WORKFLOW, when: "2026-01-02T00:00:00+20:00"}
    text = 'pq: time zone displacement out of range: "2026-01-02 00:00:00+20:00"'
    assert ask(colony.user, "addcronmsg", cron=cron) == (400, text)


def test_an_executor_may_start_workflows_that_belong_nowhere(sim: Simulation, colony: ColonyClient, ask: Ask) -> None:
    """Without a colony's name, as in the reference; in a colony it does not belong to, never."""
    executor = colony.add_executor("t")
    ColonyClient.create(sim, "other")
    for spec, status in (("{}", None), ('{"colonyname":"other"}', 403)):
        cron = {"colonyname": "c", "name": spec, "interval": 5, "workflowspec": spec}
        generator = {"colonyname": "c", "name": spec, "trigger": 1, "timeout": -1, "workflowspec": spec}
        for reply in (ask(executor, "addcronmsg", cron=cron), ask(executor, "addgeneratormsg", generator=generator)):
            assert (reply[0] if isinstance(reply, tuple) else None) == status
    sim.advance(8)
    assert [graph.colony for graph in sim.world.graphs.values()] == [""]


def test_a_cron_that_is_run_by_hand_counts_its_interval_from_then(
    sim: Simulation, colony: ColonyClient, add_cron: AddCron, ask: Ask
) -> None:
    cron = add_cron(interval=10)
    sim.advance(5)
    ask(colony.user, "runcronmsg", cronid=cron["cronid"])
    sim.advance(25)
    assert [when.second for when in starts(sim)] == [5, 15, 26]


# ---------------------------------------------------------------- generators
def test_a_thousand_arguments_in_batches_of_five(
    sim: Simulation, colony: ColonyClient, ask: Ask, add_generator: AddGenerator
) -> None:
    generator = add_generator(trigger=5)
    for number in range(1000):
        ask(colony.user, "packgeneratormsg", generatorid=generator["generatorid"], arg=f"a{number}")
        if number % 7 == 0:
            sim.advance(0.3)
    sim.advance(2)
    batches = [process.spec.args for process in sim.world.processes.values()]
    assert len(batches) == 200
    assert [arg for batch in batches for arg in batch or ()] == [f"a{number}" for number in range(1000)]
    assert Counter(map(len, (batch or () for batch in batches))) == {5: 200}


def test_what_is_left_goes_when_the_time_is_up(
    sim: Simulation, colony: ColonyClient, ask: Ask, add_generator: AddGenerator
) -> None:
    generator = add_generator(trigger=5, timeout=10)
    for number in range(7):
        ask(colony.user, "packgeneratormsg", generatorid=generator["generatorid"], arg=str(number))
    sim.advance(1)
    assert len(sim.world.graphs) == 1
    sim.advance(8)
    assert len(sim.world.graphs) == 1
    sim.advance(4)
    assert [process.spec.args for process in sim.world.processes.values()] == [list("01234"), list("56")]


def test_a_generator_whose_workflow_cannot_be_made_keeps_its_arguments(
    sim: Simulation, colony: ColonyClient, ask: Ask, add_generator: AddGenerator
) -> None:
    """Its user is removed and comes back; nothing is lost meanwhile."""
    generator = add_generator(trigger=2)
    executor = colony.add_executor("t")
    user = {"colonyname": "c", "userid": colony.user.id, "name": "user"}
    for number in range(4):
        ask(colony.user, "packgeneratormsg", generatorid=generator["generatorid"], arg=str(number))
    ask(colony, "removeusermsg", colonyname="c", name="user")
    sim.advance(60)
    assert sim.world.graphs == {}
    ask(colony, "addusermsg", user=user)
    sim.advance(2)
    assert len(sim.world.graphs) == 2
    assert ask(executor, "getgeneratormsg", generatorid=generator["generatorid"])["queuesize"] == 0


def test_a_year_with_nothing_to_do_costs_nothing(sim: Simulation, add_generator: AddGenerator) -> None:
    add_generator(trigger=5)
    sim.advance(timedelta(seconds=YEAR_S))
    assert len(sim.world.agenda) == 0


def test_arguments_take_the_place_of_a_roots_own_and_of_nothing_else(
    sim: Simulation, colony: ColonyClient, ask: Ask, add_generator: AddGenerator
) -> None:
    """docs/protocol/c-workflows.md 7: a root loses its keyword arguments as well, what depends on it keeps both."""
    given = {"args": ["own"], "kwargs": {"key": "own"}}
    conditions = NODE["conditions"] | {"dependencies": ["n"]}
    nodes = [NODE | given, NODE | given | {"nodename": "m", "conditions": conditions}]
    generator = add_generator(trigger=1, workflowspec=json.dumps({"colonyname": "c", "functionspecs": nodes}))
    ask(colony.user, "packgeneratormsg", generatorid=generator["generatorid"], arg="packed")
    sim.advance(2)
    shown = {p.spec.nodename: (p.spec.args, p.spec.kwargs) for p in sim.world.processes.values()}
    assert shown == {"n": (["packed"], {}), "m": (["own"], {"key": "own"})}


def test_a_negative_trigger_is_not_looked_at_again(
    sim: Simulation, colony: ColonyClient, ask: Ask, add_generator: AddGenerator
) -> None:
    generator = add_generator(trigger=-1, timeout=5)
    ask(colony.user, "packgeneratormsg", generatorid=generator["generatorid"], arg="x")
    assert len(sim.world.agenda) == 0


# ---------------------------------------------------------------- corners of crons
def test_a_nul_among_the_arguments_hinders_no_cron(sim: Simulation, add_cron: AddCron) -> None:
    """Only what is stored as text may not hold it."""
    add_cron(interval=5, workflowspec=WORKFLOW.replace('"funcname"', '"args":["a\\u0000b"],"funcname"'))
    sim.advance(8)
    assert [process.spec.args for process in sim.world.processes.values()] == [["a\0b"]]


def test_only_the_leaves_of_the_workflow_before_feed_the_next(
    sim: Simulation, colony: ColonyClient, add_cron: AddCron
) -> None:
    leaf = NODE | {"nodename": "leaf", "conditions": NODE["conditions"] | {"dependencies": ["n"]}}
    workflow = json.dumps({"colonyname": "c", "functionspecs": [NODE, leaf]})
    add_cron(interval=5, waitforprevprocessgraph=True, workflowspec=workflow)
    executor = colony.add_executor("t")
    sim.advance(8)
    for output in (["of the root"], ["of the leaf"]):
        assigned = executor.assign()
        assert assigned is not None
        assigned.close(output)
    sim.advance(8)
    assigned = executor.assign()
    assert assigned is not None
    assert assigned.input == ["of the leaf"]
