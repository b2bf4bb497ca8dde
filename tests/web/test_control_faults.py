"""Faults over HTTP: the control API takes them, and clients outside meet them, on both servers."""

from __future__ import annotations

import json
from typing import Any

import pytest
import requests

from colonysim import ColonyClient, Simulation, WebServer
from colonysim.faults import Delay, LoseReply, Malformed, Match, When
from colonysim.simulation import stock
from tests.serving import Wire, opened, signed

SUBMIT = {
    "spec": {
        "funcname": "f",
        "maxexectime": -1,
        "maxwaittime": -1,
        "conditions": {"colonyname": stock.COLONY, "executortype": "a"},
    }
}


@pytest.fixture
def control(server: WebServer) -> Any:
    def control(method: str, path: str = "faults", body: Any = None) -> Any:
        data = body if isinstance(body, str) else None if body is None else json.dumps(body)
        headers = {"Content-Type": "application/json"}
        reply = requests.request(method, f"{server.url}/colonysim/{path}", data=data, headers=headers, timeout=20)
        return reply.status_code, reply.json()

    return control


def test_faults_are_added_listed_turned_off_and_removed(control: Any, sim: Simulation) -> None:
    fault = {"kind": "lose_reply", "match": {"types": ["closesuccessfulmsg"]}, "when": {"probability": 0.1}}
    assert control("POST", body=fault) == (200, [fault | {"name": "lose_reply"}])
    assert control("POST", body=[{"kind": "delay", "by_s": 2, "name": "slow"}])[0] == 200
    assert [one["name"] for one in control("GET")[1]] == ["lose_reply", "slow"]
    assert sim.faults.all[1] == Delay(name="slow", by_s=2)
    assert control("PATCH", body={"name": "slow", "enabled": False})[1][1]["enabled"] is False
    assert control("DELETE", "faults?name=slow")[1] == [fault | {"name": "lose_reply"}]
    assert control("DELETE") == (200, [])


def test_each_fault_is_listed_with_how_often_it_struck(server: WebServer, control: Any) -> None:
    faults = [
        {"kind": "answer", "name": "away", "status": 503, "text": "away", "when": {"first": 2}},
        {"kind": "lose_reply", "name": "other", "match": {"types": ["closesuccessfulmsg"]}},
    ]
    assert control("POST", body=faults)[0] == 200
    assert [fault["strikes"] for fault in control("GET")[1]] == [0, 0]
    for _ in range(3):
        requests.post(f"{server.url}/api", data=signed("submitfuncspecmsg", SUBMIT), timeout=20)
    away, other = control("GET")[1]
    assert away["strikes"] == 2
    assert "never_struck" not in away
    assert other["strikes"] == 0
    assert other["never_struck"] == "no request that it is about was sent in its time"


def test_a_plan_is_added_as_a_whole(control: Any, sim: Simulation) -> None:
    plan = {"until_s": 60, "faults": [{"kind": "restart", "times": {"every_s": 10}}, {"kind": "reorder"}]}
    assert control("POST", body=plan)[0] == 200
    assert [fault.name for fault in sim.faults.all] == ["restart", "reorder"]


@pytest.mark.parametrize(
    ("method", "path", "body", "text"),
    [
        ("POST", "faults", {"kind": "delay", "by_s": -1}, "by_s=-1"),
        ("POST", "faults", {"kind": "restart", "times": {"every_s": 1}}, "has no end: give it until_s"),
        ("POST", "faults", {"kind": "fire"}, "the kinds are lose_request"),
        ("POST", "faults", {"faults": [{"kind": "delay"}]}, "faults.0: `by_s` is missing"),
        ("POST", "faults", '{"kind": "reorder", "past": 1, "past": 2}', "the key 'past' is given twice"),
        ("POST", "faults", '{"kind": "reorder", "past": NaN}', "NaN is not a JSON number"),
        ("POST", "faults", "[" * 100_000, "nested 100000 deep, beyond the limit control_depth=32"),
        ("POST", "faults", "{", "Expecting property name"),
        ("DELETE", "faults?name=x", None, "there is no fault 'x'"),
        ("PATCH", "faults", {"name": "x", "enabled": True}, "there is no fault 'x'"),
    ],
)
def test_what_is_wrong_is_told_and_changes_nothing(
    control: Any, sim: Simulation, method: str, path: str, body: Any, text: str
) -> None:
    status, reply = control(method, path, body)
    assert status == 400
    assert text in reply["error"]
    assert sim.faults.all == ()


def test_a_lost_reply_is_a_connection_that_closes(wire: Wire, sim: Simulation) -> None:
    sim.faults.add(LoseReply(match=Match(types="submit*"), when=When(first=1)))
    wire.post(signed("submitfuncspecmsg", SUBMIT))
    assert wire.closed()
    assert len(sim.world.processes) == 1


def test_a_malformed_reply_comes_as_it_is_told(wire: Wire, sim: Simulation) -> None:
    sim.faults.add(Malformed(match=Match(types="submit*"), text="<html>oops"))
    wire.post(signed("submitfuncspecmsg", SUBMIT))
    status, _, body = wire.reply()
    assert (status, body) == ("HTTP/1.1 200 OK", b"<html>oops")


def test_a_delayed_request_is_answered_when_time_has_moved(wire: Wire, sim: Simulation, control: Any) -> None:
    sim.faults.add(Delay(match=Match(types="submit*"), by_s=5))
    wire.post(signed("submitfuncspecmsg", SUBMIT))
    while not any(call.verdict == "delay" for call in list(sim.calls)):
        control("GET", "calls")
    assert sim.world.processes == {}
    assert control("POST", "clock/advance", {"seconds": 5})[0] == 200
    assert opened(wire.reply()[2])["spec"]["funcname"] == "f"


def test_calls_tell_over_http_what_was_done_to_them(wire: Wire, sim: Simulation, control: Any) -> None:
    sim.faults.add(LoseReply(name="gone", match=Match(types="submit*")))
    wire.post(signed("submitfuncspecmsg", SUBMIT))
    assert wire.closed()
    last = control("GET", "calls")[1][-1]
    assert (last["fault"], last["verdict"], last["status"]) == ("gone", "lose_reply", 0)


def test_a_double_close_is_answered_200_twice_over_http(server: WebServer, sim: Simulation, control: Any) -> None:
    fault = {"kind": "hazard", "hazard": "double_close", "until_s": 1000}
    assert control("POST", body=fault)[0] == 200
    colony = ColonyClient.stock(sim)
    executor, process = colony.add_executor("a"), colony.submit("f", executortype="a")
    assert executor.assign() is not None
    for kind, fields in (("closesuccessfulmsg", {"out": ["x"]}), ("closefailedmsg", {"errors": ["e"]})):
        body = signed(kind, {"processid": process.id, **fields}, executor.private_key)
        reply = requests.post(f"{server.url}/api", data=body, timeout=20)
        assert (reply.status_code, reply.json()["payloadtype"], opened(reply.text)) == (200, kind, {})
    assert process.state == 2
    assert control("DELETE") == (200, [])
    reply = requests.post(f"{server.url}/api", data=body, timeout=20)
    assert reply.status_code == 400
