"""What is stored and comes back: logs, attributes, blueprints, retention, texts that cannot be stored."""

from __future__ import annotations

from typing import Any

import pytest

from colonysim import ColonyClient, Simulation

from .conftest import Ask

NUL = 'pq: invalid byte sequence for encoding "UTF8": 0x00'


# ---------------------------------------------------------------- logs
def test_whoever_reads_on_misses_no_line_while_the_clock_stands_still(colony: ColonyClient, ask: Ask) -> None:
    executor = colony.add_executor("t")
    colony.submit("f", executortype="t")
    assigned = executor.assign()
    assert assigned is not None
    assigned.log("a")
    seen = ask(colony.user, "getlogsmsg", processid=assigned.id, count=10)
    assigned.log("b")
    later = ask(colony.user, "getlogsmsg", processid=assigned.id, count=10, since=seen[-1]["timestamp"])
    assert [log["message"] for log in later] == ["b"]


def test_a_log_of_somebody_who_is_no_executor_any_more_is_no_traceback(colony: ColonyClient, ask: Ask) -> None:
    ask(colony, "addusermsg", user={"colonyname": "c", "userid": colony.add_executor("t", "e").id, "name": "both"})
    colony.submit("f", executortype="t")
    executor = colony.add_executor("t", "e")
    assigned = executor.assign()
    assert assigned is not None
    ask(executor, "changeexecutoridmsg", colonyname="c", executorid="d" * 64)
    assert ask(executor, "addlogmsg", processid=assigned.id, message="x") == (500, "")


# ---------------------------------------------------------------- U+0000
@pytest.mark.parametrize(
    ("kind", "fields", "status"),
    [
        ("getsnapshotmsg", {"colonyname": "c", "name": "\0"}, 500),
        ("removesnapshotmsg", {"colonyname": "c", "name": "\0"}, 500),
        ("getblueprintmsg", {"namespace": "c", "name": "\0"}, 500),
        ("getblueprintsmsg", {"namespace": "c", "kind": "\0"}, 500),
        ("updateblueprintmsg", {"blueprint": {"kind": "k", "metadata": {"name": "\0", "colonyname": "c"}}}, 500),
        ("removeblueprintmsg", {"namespace": "c", "name": "\0"}, 500),
        ("getblueprinthistorymsg", {"blueprintid": "\0"}, 500),
        ("getblueprintdefinitionmsg", {"colonyname": "c", "name": "\0"}, 500),
        ("getcolonystatsmsg", {"colonyname": "\0"}, 500),
        ("getprocessesmsg", {"colonyname": "c", "label": "\0"}, 400),
        ("getprocessesmsg", {"colonyname": "c", "executortype": "\0"}, 400),
        ("submitfuncspecmsg", {"spec": {"label": "\0", "conditions": {"colonyname": "c"}}}, 400),
    ],
)
def test_a_text_with_a_nul_is_refused_where_the_database_is_asked_for_it(
    colony: ColonyClient, ask: Ask, kind: str, fields: dict[str, Any], status: int
) -> None:
    assert ask(colony.user, kind, **fields) == (status, NUL)


def test_what_is_not_stored_as_text_may_hold_a_nul(colony: ColonyClient, ask: Ask) -> None:
    conditions = {"colonyname": "c", "cpu": "\0"}
    process = ask(colony.user, "submitfuncspecmsg", spec={"args": ["\0"], "conditions": conditions})
    assert process["spec"]["args"] == ["\0"]
    assert process["spec"]["conditions"]["cpu"] == "0m"


def test_what_is_ignored_or_written_over_may_hold_a_nul(colony: ColonyClient, ask: Ask) -> None:
    """docs/protocol/d-realtime-and-data.md 3.1, 3.3, 5.2, 5.6."""
    define(colony, ask)
    file = {"colonyname": "c", "label": "/d", "name": "x", "fileid": "\0", "ref": {"protocol": "\0"}}
    stored = ask(colony.user, "addfilemsg", file=file)
    assert (stored["ref"]["protocol"], stored["sequencenr"]) == ("s3", 1)
    assert ask(colony.user, "addfilemsg", file=file | {"name": "\0"}) is None
    named = {"colonyname": "c", "fileid": stored["fileid"], "label": "\0", "name": "\0"}
    assert ask(colony.user, "getfilemsg", **named) == [stored]
    assert ask(colony.user, "removefilemsg", **named) == {}
    assert ask(colony.user, "getfilemsg", colonyname="c", label="\0") == (500, "malformatted get file msg")
    assert ask(colony.user, "removefilemsg", colonyname="c", name="\0") == (400, "malformatted remove file msg")
    for kind in ("getfilemsg", "removefilemsg"):
        assert ask(colony.user, kind, colonyname="c", fileid="\0") == (400, NUL)
        assert ask(colony.user, kind, colonyname="c", label="\0", name="x") == (400, NUL)
    added = ask(colony.user, "addblueprintmsg", blueprint=blueprint({}))
    assert ask(colony.user, "getblueprintsmsg", namespace="c", locationname="\0") == [added]
    changed = ask(colony.user, "updateblueprintmsg", blueprint=blueprint({}) | {"blueprintid": "\0"})
    assert changed == added


def test_the_typed_client_is_refused_as_well(colony: ColonyClient) -> None:
    from colonysim import Refused

    with pytest.raises(Refused, match="invalid byte sequence"):
        colony.submit("f", label="\0")


# ---------------------------------------------------------------- blueprints
def define(colony: ColonyClient, ask: Ask, **schema: Any) -> None:
    names = {"kind": "K", "listKind": "Ks", "singular": "k", "plural": "ks"}
    definition = {
        "kind": "BlueprintDefinition",
        "metadata": {"name": "d", "colonyname": "c"},
        "spec": {"names": names, "handler": {"executorType": "t", "functionName": "f"}, "schema": schema or None},
    }
    assert "metadata" in ask(colony, "addblueprintdefinitionmsg", blueprintdefinition=definition)


def blueprint(spec: dict[str, Any], **metadata: Any) -> dict[str, Any]:
    return {"kind": "K", "metadata": {"name": "b", "colonyname": "c"} | metadata, "spec": spec}


def test_numbers_in_the_texts_of_a_schema_have_the_shortest_digits(colony: ColonyClient, ask: Ask) -> None:
    define(colony, ask, type="object", properties={"n": {"type": "number", "enum": [-0.0, 3, 2.5, 10**21]}})
    refused = ask(colony.user, "addblueprintmsg", blueprint=blueprint({"n": 12345678901234567890}))
    assert refused[1].endswith("must be one of [-0 3 2.5 1e+21], got 12345678901234567000")


@pytest.mark.parametrize(
    ("old", "new", "changed"),
    [
        ({"a": 1}, {"a": True}, True),
        ({"a": 0}, {"a": False}, True),
        ({"a": [0]}, {"a": [False]}, True),
        ({"a": {"b": 1}}, {"a": {"b": True}}, True),
        ({"a": 2}, {"a": 2.0}, False),
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}, False),
        ({"a": 1}, {}, True),
        ({}, {"a": None}, True),
    ],
)
def test_a_changed_spec_raises_the_generation(
    colony: ColonyClient, ask: Ask, old: dict[str, Any], new: dict[str, Any], changed: bool
) -> None:
    define(colony, ask)
    ask(colony.user, "addblueprintmsg", blueprint=blueprint(old))
    ask(colony.user, "updateblueprintmsg", blueprint=blueprint(new))
    stored = ask(colony.user, "getblueprintmsg", namespace="c", name="b")
    assert stored["metadata"].get("generation", 0) == int(changed)
    assert len(ask(colony.user, "getblueprinthistorymsg", blueprintid=stored["blueprintid"])) == 1 + changed


def test_numbers_of_a_schema_pass_through_a_double(colony: ColonyClient, ask: Ask) -> None:
    define(colony, ask, type="object", properties={"n": {"type": "number", "enum": [9007199254740993, 10**23]}})
    shown = ask(colony.user, "getblueprintdefinitionmsg", colonyname="c", name="d")
    assert shown["spec"]["schema"]["properties"]["n"]["enum"] == [9007199254740992, 1e23]
    assert "kind" in ask(colony.user, "addblueprintmsg", blueprint=blueprint({"n": 9007199254740992}))


@pytest.mark.parametrize("value", [{}, {"ns": 5}, {"offset_s": 3600}, 5, []])
def test_no_object_is_taken_for_a_time(value: Any, colony: ColonyClient, ask: Ask) -> None:
    from colonysim.core.errors import Refusal

    define(colony, ask)
    with pytest.raises(Refusal, match="invalid JSON"):
        ask(colony.user, "addblueprintmsg", blueprint=blueprint({}, createdAt=value))


@pytest.mark.parametrize("sent", ["9999-12-31T23:59:59-23:59", "2026-01-01T00:00:00+24:00"])
def test_times_of_clients_come_back_with_their_offsets(sent: str, colony: ColonyClient, ask: Ask) -> None:
    define(colony, ask)
    reply = ask(colony.user, "addblueprintmsg", blueprint=blueprint({}, createdAt=sent))
    assert reply["metadata"]["createdAt"] == sent


def test_the_cron_of_a_blueprint_shows_its_workflow_as_a_client_would_send_it(colony: ColonyClient, ask: Ask) -> None:
    import json

    define(colony, ask)
    ask(colony.user, "addblueprintmsg", blueprint=blueprint({}, locationname="hall <1>"))
    (cron,) = ask(colony.user, "getcronsmsg", colonyname="c", count=10)
    workflow = json.loads(cron["workflowspec"])
    (node,) = workflow["functionspecs"]
    assert (workflow["colonyname"], node["nodename"], node["kwargs"]) == ("c", "t-f", {"kind": "K"})
    assert node["conditions"]["locationname"] == "hall <1>"
    assert '"hall \\u003c1\\u003e"' in cron["workflowspec"]  # a text that the server itself has written
    assert "channels" not in node


# ---------------------------------------------------------------- retention
@pytest.fixture
def sim() -> Simulation:
    return Simulation(mode="manual", retention=True, retention_policy_s=600)


def test_what_has_succeeded_goes_when_it_is_old(sim: Simulation, colony: ColonyClient) -> None:
    executor = colony.add_executor("t")
    process, waiting = colony.submit("f", executortype="t"), colony.submit("g", executortype="u")
    assigned = executor.assign()
    assert assigned is not None
    assigned.log("x")
    assigned.close()
    sim.advance(599)
    assert process.state == 2
    sim.advance(61)
    assert list(sim.world.processes) == [waiting.id]
    assert list(sim.world.logs) == []


def test_what_is_exactly_as_old_as_allowed_stays_until_the_next_look(sim: Simulation, colony: ColonyClient) -> None:
    """A look that finds something older deletes that alone, whatever its kind."""
    executor = colony.add_executor("t")
    for after_s in (30, 30):
        sim.advance(after_s)
        colony.submit_workflow({"a": {"executortype": "t"}})
        colony.submit("f", executortype="t", env={"A": "1"})
        for _ in range(2):
            assigned = executor.assign()
            assert assigned is not None
            if not assigned.details.graph_id:
                assigned.log("x")
            assigned.close()
    world = sim.world

    def counts() -> list[int]:
        return [len(table) for table in (world.processes, world.graphs, world.attributes, world.logs)]

    assert counts() == [4, 2, 2, 2]
    sim.advance(599.5)
    assert counts() == [4, 2, 2, 2]
    sim.advance(0.5)
    assert counts() == [2, 1, 1, 1]
    sim.advance(60)
    assert counts() == [0, 0, 0, 0]


def test_an_attribute_that_says_it_has_succeeded_goes_by_its_own_age(
    sim: Simulation, colony: ColonyClient, ask: Ask
) -> None:
    executor = colony.add_executor("t")
    process = colony.submit("f", executortype="t")
    executor.assign()
    attribute = {
        "targetid": process.id,
        "targetcolonyname": "c",
        "attributetype": 1,
        "key": "k",
        "value": "v",
        "state": 2,
    }
    ask(executor, "addattributemsg", attribute=attribute)
    assert len(process.details.attributes) == 1
    sim.advance(660)
    assert process.details.attributes == ()


def test_a_graph_goes_by_the_age_of_its_own_submission(sim: Simulation, colony: ColonyClient, ask: Ask) -> None:
    executor = colony.add_executor("t")
    graph = colony.submit_workflow({"a": {"executortype": "t"}})
    parent = executor.assign()
    assert parent is not None
    sim.advance(590)
    child = {"nodename": "b", "maxexectime": -1, "conditions": {"colonyname": "c", "executortype": "t"}}
    ask(executor, "addchildmsg", processgraphid=graph.id, parentprocessid=parent.id, spec=child)
    parent.close()
    last = executor.assign()
    assert last is not None
    last.close()
    sim.advance(70)
    assert sim.world.graphs == {}
    assert sim.world.processes == {}
