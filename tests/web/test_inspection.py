"""One thing in full, the overview, and calls made for people, by the control API."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
from typing import Any

import pytest
import requests

from colonysim import ColonyClient, ExecutorClient, ProcessState, Simulation, WebServer
from colonysim.core.operations.crons import AddCron
from colonysim.core.operations.generators import AddGenerator, PackGenerator
from colonysim.core.types import CronSpec, GeneratorSpec
from colonysim.simulation import stock
from tests.serving import signed

WORKFLOW = json.dumps({"colonyname": "dev", "functionspecs": [{"funcname": "f", "conditions": {"colonyname": "dev"}}]})


@pytest.fixture
def ask(server: WebServer) -> Any:
    def ask(method: str, path: str, body: Any = None) -> Any:
        reply = requests.request(method, f"{server.url}/colonysim/{path}", json=body)
        return reply.json() | ({} if reply.ok else {"refused": reply.status_code})

    return ask


# ---------------------------------------------------------------- one thing
def test_a_process_is_shown_with_all_that_belongs_to_it(ask: Any, sim: Simulation, colony: ColonyClient) -> None:
    executor = colony.add_executor("cli", "ann")
    graph = colony.submit_workflow(
        {"a": {"executortype": "cli", "channels": ["talk"]}, "b": {"executortype": "cli", "after": ["a"]}}
    )
    process = executor.assign()
    assert process is not None
    process.log("began")
    process.add_attribute("key", "value")
    process.say("talk", b"hello")
    found = ask("GET", f"process?process={process.id}")
    assert (found["state"], found["executor"], found["workflow"]) == ("running", "ann", graph.id)
    assert [log["text"] for log in found["logs"]] == ["began"]
    assert [(one["key"], one["value"]) for one in found["wire"]["attributes"]] == [("key", "value")]
    (channel,) = found["channels"]
    assert [(one["sender"], one["text"]) for one in channel["messages"]] == [("ann", "hello")]
    (child,) = found["children"]
    assert (child["name"], child["waits_for_parents"]) == ("b", True)
    (parent,) = ask("GET", f"process?process={child['id']}")["parents"]
    assert parent["id"] == process.id


def test_a_workflow_is_shown_with_its_edges(ask: Any, colony: ColonyClient) -> None:
    graph = colony.submit_workflow({"a": {}, "b": {"after": ["a"]}, "c": {"after": ["a"]}, "d": {"after": ["b", "c"]}})
    found = ask("GET", f"workflow?workflow={graph.id}")
    names = {node["id"]: node["name"] for node in found["nodes"]}
    edges = {node["name"]: [names[parent] for parent in node["parents"]] for node in found["nodes"]}
    assert edges == {"a": [], "b": ["a"], "c": ["a"], "d": ["b", "c"]}


def test_crons_and_generators_tell_when_they_run_and_how_many_packs_wait(
    ask: Any, sim: Simulation, colony: ColonyClient
) -> None:
    cron = CronSpec(colonyname="dev", name="nightly", interval=60, workflowspec=WORKFLOW)
    generator = GeneratorSpec(colonyname="dev", name="batch", trigger=3, timeout=90, workflowspec=WORKFLOW)
    colony.user.ask(AddCron(cron=cron))
    colony.user.ask(AddGenerator(generator=generator))
    (generator_id,) = sim.world.generators
    sim.advance(10)
    for arg in ("x", "y"):
        colony.user.ask(PackGenerator(generatorid=generator_id, arg=arg))
    (shown,) = ask("GET", "tables/crons")["rows"]
    assert (shown["name"], shown["schedule"], shown["functions"]) == ("nightly", "every 60 s", ["f"])
    assert 0 < shown["next_ns"] - sim.now_ns <= 60 * 10**9
    (shown,) = ask("GET", "tables/generators")["rows"]
    assert (shown["queued"], shown["trigger"], shown["next_ns"] - sim.now_ns) == (2, 3, 90 * 10**9)
    assert "nightly" in [event["about"] for event in ask("GET", "overview")["due"]]


# ---------------------------------------------------------------- calls on the wire
def test_a_call_is_shown_as_it_came_and_as_it_was_answered(ask: Any, server: WebServer, sim: Simulation) -> None:
    reply = requests.post(f"{server.url}/api", data=signed("getcolonymsg", {"colonyname": "dev", "extra": 1}))
    number = sim.calls[-1].number
    found = ask("GET", f"wire?call={number}")
    assert json.loads(found["request"]) == {"msgtype": "getcolonymsg", "colonyname": "dev", "extra": 1}
    assert (found["exact"], found["status"], reply.status_code) == (True, 200, 200)
    assert json.loads(found["reply"]) == {"colonyid": stock.COLONY_OWNER.id, "name": "dev"}
    assert "payload" not in ask_calls(server)[-1]


def ask_calls(server: WebServer) -> list[dict[str, Any]]:
    calls: list[dict[str, Any]] = requests.get(f"{server.url}/colonysim/calls").json()
    return calls


def test_a_call_of_this_process_is_shown_as_a_client_would_send_it(
    ask: Any, sim: Simulation, colony: ColonyClient
) -> None:
    colony.submit("f", ["x"], executortype="cli", maxwaittime=5)
    found = ask("GET", f"wire?call={sim.calls[-1].number}")
    spec = {"funcname": "f", "args": ["x"], "maxwaittime": 5, "maxexectime": -1, "maxretries": -1}
    conditions = {"colonyname": "dev", "executortype": "cli"}
    assert json.loads(found["request"]) == {"msgtype": "submitfuncspecmsg", "spec": {**spec, "conditions": conditions}}
    assert found["exact"] is False


def test_a_long_request_is_shown_as_well_though_its_text_is_not_kept(
    ask: Any, server: WebServer, sim: Simulation
) -> None:
    spec = {"funcname": "f" * 5000, "conditions": {"colonyname": "dev", "executortype": "cli"}}
    requests.post(f"{server.url}/api", data=signed("submitfuncspecmsg", {"spec": spec}))
    call = sim.calls[-1]
    found = ask("GET", f"wire?call={call.number}")
    assert (call.payload, found["exact"]) == (b"", False)
    assert json.loads(found["request"])["spec"]["funcname"] == "f" * 5000


def test_a_call_tells_which_fault_struck_it(ask: Any, sim: Simulation, colony: ColonyClient) -> None:
    sim.faults.add({"kind": "lose_reply", "name": "gone", "when": {"first": 1}})
    with pytest.raises(ConnectionError):
        colony.submit("f")
    found = ask("GET", f"wire?call={sim.calls[-1].number}")
    assert (found["answer"], found["fault"], found["verdict"], found["reply"]) == ("lost", "gone", "lose_reply", None)
    assert ask("GET", "tables/calls?fault=gone")["total"] == 1


# ---------------------------------------------------------------- calls made for people
def test_any_client_can_be_spoken_for(ask: Any, sim: Simulation, colony: ColonyClient) -> None:
    spec = {"funcname": "f", "conditions": {"colonyname": "dev", "executortype": "cli"}}
    payload = {"msgtype": "submitfuncspecmsg", "spec": spec}
    answer = ask("POST", "calls", {"caller": stock.USER_IDENTITY.id, "payload": payload})
    assert (answer["status"], answer["body"]["initiatorname"]) == (200, "myuser")
    assert list(sim.world.processes) == [answer["body"]["processid"]]
    colony.add_executor("cli", "ann", approve=False)
    for msgtype, state in (("rejectexecutormsg", "rejected"), ("approveexecutormsg", "approved")):
        payload = {"msgtype": msgtype, "colonyname": "dev", "executorname": "ann"}
        assert ask("POST", "calls", {"caller": stock.COLONY_OWNER.id, "payload": payload})["status"] == 200
        assert ask("GET", "tables/executors")["rows"][0]["state"] == state
    for msgtype, paused in (("pauseassignmentsmsg", True), ("resumeassignmentsmsg", False)):
        payload = {"msgtype": msgtype, "colonyname": "dev"}
        ask("POST", "calls", {"caller": stock.COLONY_OWNER.id, "payload": payload})
        assert ask("GET", "overview")["colonies"][0]["paused"] is paused


def test_a_refusal_of_the_protocol_is_an_answer(ask: Any) -> None:
    payload = {"msgtype": "pauseassignmentsmsg", "colonyname": "dev"}
    answer = ask("POST", "calls", {"caller": stock.USER_IDENTITY.id, "payload": payload})
    assert (answer["status"], answer["body"]["status"]) == (403, 403)


def test_a_call_whose_answer_a_fault_holds_back_is_told_to_wait(ask: Any, sim: Simulation) -> None:
    sim.faults.add({"kind": "delay", "by_s": 5, "what": "reply"})
    payload = {"msgtype": "getcolonymsg", "colonyname": "dev"}
    answer = ask("POST", "calls", {"caller": stock.USER_IDENTITY.id, "payload": payload})
    assert answer == {"number": sim.calls[-1].number, "status": None, "body": None}
    sim.advance(5)
    assert ask("GET", f"wire?call={answer['number']}")["status"] == 200


# ---------------------------------------------------------------- time and faults
def test_time_moves_to_the_next_event_alone(ask: Any, sim: Simulation, colony: ColonyClient) -> None:
    first, second = colony.submit("f", maxwaittime=10), colony.submit("f", maxwaittime=20)
    assert ask("POST", "clock/advance", {"until": "next"})["now"] == "2026-01-01T00:00:11Z"
    assert (first.state, second.state) == (ProcessState.FAILED, ProcessState.WAITING)
    ask("POST", "clock/advance", {"until": "next"})
    assert second.state is ProcessState.FAILED
    found = ask("POST", "clock/advance", {"until": "next"})
    assert (found["refused"], "no event is due" in found["error"]) == (409, True)


def test_the_overview_tells_what_is_due_and_who_is_waited_for(
    ask: Any, sim: Simulation, colony: ColonyClient, executor: ExecutorClient
) -> None:
    colony.submit("f", maxwaittime=10)
    sim.kernel.outside_actor("robot", waits=False)
    found = ask("GET", "overview")
    assert (found["mode"], found["due_total"], found["due"][0]["event"]) == ("manual", 1, "ReleaseTick")
    assert "robot" in found["acts"]
    assert found["colonies"][0]["processes"]["waiting"] == 1
    assert found["colonies"][0]["executors"] == 1
    assert found["problems"] == []


def test_the_schema_of_faults_has_every_kind_with_its_fields(ask: Any) -> None:
    schema = ask("GET", "faults/kinds")
    assert {"lose_reply", "crash", "restart", "hazard"} <= schema["kinds"].keys()
    assert schema["kinds"]["delay"]["required"] == ["kind", "by_s"]
    assert "probability" in schema["$defs"]["When"]["properties"]


def test_a_thread_that_only_waits_is_not_said_to_act(ask: Any, sim: Simulation) -> None:
    done = threading.Event()

    def client() -> None:
        ColonyClient.stock(sim).statistics()
        done.wait()

    thread = threading.Thread(target=client, name="a client")
    thread.start()
    try:
        ask("GET", "overview")
        while "a client" in ask("GET", "overview")["acts"]:  # until it has come to its wait
            pass
        assert "a client acts" in sim.why()
    finally:
        done.set()
        thread.join()


# ---------------------------------------------------------------- what failed
@pytest.fixture
def failed(colony: ColonyClient) -> dict[str, str]:
    """A server in which processes have failed in two ways: the first id of each function."""
    executor, ids = colony.add_executor("cli", "ann"), {}
    for error in ("disk full", "<b>no GPU</b>", "disk full"):
        process = colony.submit("train", executortype="cli")
        ids.setdefault("train", process.id)
        taken = executor.assign()
        assert taken is not None
        taken.fail(error)
    ids["late"] = colony.submit("late", executortype="gpu", maxwaittime=5).id
    colony.sim.advance(10)
    return ids


def test_a_server_says_why_processes_failed(ask: Any, sim: Simulation, failed: dict[str, str]) -> None:
    found = ask("GET", "causes")
    assert found["now_ns"] == sim.now_ns
    first, second = found["causes"]
    assert (first["cause"], first["count"]) == ("closed as failed by its executor", 3)
    assert first["texts"] == [{"text": "disk full", "count": 2}, {"text": "<b>no GPU</b>", "count": 1}]
    assert (first["processes"][0]["id"], first["processes"][0]["function"]) == (failed["train"], "train")
    assert len(first["processes"]) == 3
    assert "close by ann" in first["processes"][0]["story"][2]
    assert (second["cause"], second["count"], second["texts"]) == ("waited longer than its maxwaittime", 1, [])
    assert second["processes"][0]["id"] == failed["late"]


def test_a_server_in_which_nothing_failed_has_no_causes(ask: Any, colony: ColonyClient) -> None:
    colony.submit("f")
    assert ask("GET", "causes")["causes"] == []


def test_a_server_makes_a_report_that_runs_its_own_script_and_nothing_else(
    server: WebServer, failed: dict[str, str]
) -> None:
    reply = requests.get(f"{server.url}/colonysim/report")
    assert (reply.status_code, reply.headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    (policy,) = [value for name, value in reply.headers.items() if name == "Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; script-src 'sha256-")
    assert reply.headers["X-Content-Type-Options"] == "nosniff"
    (script,) = re.findall(r"<script>(.*?)</script>", reply.text, re.DOTALL)
    assert base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() in policy
    data = json.loads(re.findall(r'id="data">(.*?)</script>', reply.text, re.DOTALL)[0])
    assert data["failed_processes"]["total"] == 4
    assert data["failed_processes"]["shown"][0]["id"] == failed["train"]
    assert [one["count"] for one in data["causes"]] == [3, 1]
    assert "<b>no GPU" not in reply.text.replace("<b>no GPU<\\/b>", "")  # only within the data, of which text is made


def test_the_report_of_an_empty_server_is_a_page_too(server: WebServer) -> None:
    reply = requests.get(f"{server.url}/colonysim/report")
    assert (reply.status_code, "<!doctype html>" in reply.text) == (200, True)


def test_who_may_not_use_the_control_api_gets_no_report(server: WebServer) -> None:
    reply = requests.get(f"{server.url}/colonysim/report", headers={"Origin": "http://elsewhere.example"})
    assert (reply.status_code, list(reply.json())) == (403, ["error"])
