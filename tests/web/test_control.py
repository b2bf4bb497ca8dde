"""The control API."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import requests

from colonysim import ColonyClient, ProcessState, Simulation, WebServer
from colonysim.faults import Restart, Times
from colonysim.http.http1 import HttpRequest
from colonysim.http.limits import DEFAULTS, Limits
from colonysim.web.control import Control
from colonysim.web.control_access import ControlAccess
from tests.serving import signed


@pytest.fixture
def ask(server: WebServer) -> Any:
    def ask(method: str, path: str, body: Any = None) -> Any:
        reply = requests.request(method, f"{server.url}/colonysim/{path}", json=body)
        assert reply.headers["Content-Type"] == "application/json"
        return reply.json() | {"status": reply.status_code} if isinstance(reply.json(), dict) else reply.json()

    return ask


def test_the_clock(ask: Any) -> None:
    assert ask("GET", "clock") == {
        "now": "2026-01-01T00:00:00Z",
        "now_ns": 1767225600000000000,
        "mode": "manual",
        "rate": 1.0,
        "status": 200,
    }
    assert ask("POST", "clock/advance", {"seconds": 1.5})["now"] == "2026-01-01T00:00:01.5Z"
    assert ask("POST", "clock/advance", {"to": "2026-02-01T00:00:00Z"})["now"] == "2026-02-01T00:00:00Z"
    assert ask("PUT", "clock", {"mode": "scaled", "rate": 2})["mode"] == "scaled"
    assert ask("PUT", "clock", {"mode": "manual"})["mode"] == "manual"


def test_advancing_until_nothing_is_to_come(ask: Any, sim: Simulation) -> None:
    process = ColonyClient.stock(sim).submit("f", maxwaittime=30)
    assert ask("POST", "clock/advance", {"until": "idle"})["now"] == "2026-01-01T00:00:31Z"
    assert process.state is ProcessState.FAILED


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "text"),
    [
        ("POST", "clock/advance", {}, 400, "say how far to advance"),
        ("POST", "clock/advance", {"seconds": -1}, 400, "time does not go back"),
        ("POST", "clock/advance", {"hours": 1}, 400, "unknown field `hours`"),
        ("POST", "clock/advance", {"until": "tea"}, 400, '{"until": "idle"'),
        ("POST", "clock/advance", {"until": "next", "limit_seconds": 5}, 400, "has no effect"),
        ("POST", "clock/advance", {"seconds": 1e12}, 400, "after the year 9999: give 251,634,988,800 at most"),
        ("POST", "clock/advance", {"seconds": 1e300}, 400, "after the year 9999"),
        ("POST", "clock/advance", {"to": "9999-12-31T23:59:59-12:00"}, 400, "the last time to advance to is 9999"),
        ("POST", "clock/advance", {"until": "idle", "limit_seconds": 1e300}, 400, "after the year 9999"),
        ("POST", "clock/advance", {"until": "idle", "limit_seconds": -1}, 400, "time does not go back"),
        (
            "POST",
            "faults",
            {"kind": "crash", "times": {"at_s": 1e300}},
            400,
            "invalid at_s=1e+300: must be at most 1,000,000,000",
        ),
        ("PUT", "clock", {"mode": "scaled", "rate": 1e-320}, 400, "from 1e-06 to 1e+09, not 1e-320"),
        ("PUT", "clock", {"mode": "slow"}, 400, "Invalid enum value 'slow'"),
        ("PUT", "clock", {"mode": "scaled", "rate": 0}, 400, "rate must be greater than 0"),
        ("GET", "clock/advance", None, 405, "takes POST, not GET"),
        ("GET", "cl0ck", None, 404, "the routes are actors, calls, causes, clock"),
        ("POST", "snapshots", {"name": "x", "restore": True}, 404, "no snapshot named 'x'"),
        ("POST", "seed", {}, 400, 'the field seed is missing: give {"seed": 7}'),
    ],
)
def test_bad_requests_are_told_with_the_fix(
    ask: Any, method: str, path: str, body: Any, status: int, text: str
) -> None:
    reply = ask(method, path, body)
    assert reply["status"] == status
    assert text in reply["error"]


def test_the_clock_can_be_read_after_a_step_that_was_too_long(ask: Any) -> None:
    before = ask("GET", "clock")
    ask("POST", "clock/advance", {"seconds": 1e12})
    assert ask("GET", "clock") == before
    assert ask("POST", "clock/advance", {"to": "9999-12-31T00:00:00Z"})["now"] == "9999-12-31T00:00:00Z"
    assert ask("POST", "clock/advance", {"seconds": 1})["error"].endswith("give 0 at most")


def test_a_number_that_nothing_can_hold_is_told_of(sim: Simulation) -> None:
    control = Control(sim)
    control.routes["GET", "health"] = lambda body, query: round(float("inf"))
    status, body, _ = control.answer(HttpRequest("GET", "/colonysim/health", "", {}))
    assert (status, json.loads(body)) == (400, {"error": "cannot convert float infinity to integer"})


def test_reset_and_seed(ask: Any, sim: Simulation) -> None:
    ColonyClient.stock(sim).submit("f")
    ask("POST", "reset")
    assert sim.world.processes == {}
    assert list(sim.world.colonies) == ["dev"]
    ask("POST", "seed", {"seed": 9})
    assert sim.settings.seed == 9
    assert list(sim.world.colonies) == ["dev"]


def test_snapshots(ask: Any, sim: Simulation) -> None:
    colony = ColonyClient.stock(sim)
    process = colony.submit("f")
    ask("POST", "snapshots", {"name": "before"})
    process.cancel()
    ask("POST", "snapshots", {"name": "before", "restore": True})
    assert process.state is ProcessState.WAITING
    assert [snapshot["name"] for snapshot in ask("GET", "snapshots")] == ["before"]


def test_calls_events_and_coverage(ask: Any, sim: Simulation) -> None:
    ColonyClient.stock(sim).submit("f", maxwaittime=5)
    calls = ask("GET", "calls?limit=1")
    assert [(call["payload_type"], call["status"]) for call in calls] == [("submitfuncspecmsg", 200)]
    assert ask("GET", f"calls?after={calls[0]['number']}") == []
    assert [event["event"] for event in ask("GET", "events")] == ["ReleaseTick"]
    sim.faults.add(Restart(times=Times(at_s=60)))
    assert [event["about"] for event in ask("GET", "events")][1:] == ["fault restart"]
    assert len(ask("GET", "coverage")) == 99


def test_why_and_health(ask: Any) -> None:
    assert "the clock is manual" in ask("GET", "clock/why")["why"]
    assert ask("GET", "health") == {"ok": True, "problems": [], "status": 200}


def test_why_a_process_waits_and_what_its_life_was(ask: Any, sim: Simulation) -> None:
    process = ColonyClient.stock(sim).submit("f", executortype="t")
    found = ask("GET", f"why-not?process={process.id}")
    assert (found["state"], found["reasons"][0]["kind"], found["would_get"]) == ("WAITING", "no executor", [])
    assert "no executor of type 't' is registered" in found["reasons"][0]["text"]
    (line,) = ask("GET", f"story?process={process.id}")["story"]
    assert "submit by myuser" in line
    for path in ("why-not", "story"):
        assert ask("GET", f"{path}?process=x")["status"] == 404
    process.remove()
    assert len(ask("GET", f"story?process={process.id}")["story"]) == 2  # what is gone was here
    assert ask("GET", "why-not")["error"] == "the field process is missing from the query: give ?process=<its id>"


def test_other_machines_are_turned_away(sim: Simulation) -> None:
    request = HttpRequest("GET", "/colonysim/clock", "", {}, remote="192.0.2.7")
    assert Control(sim).answer(request)[0] == 403
    control = Control(sim, ControlAccess(from_anywhere=True, token="t"))
    assert control.answer(request)[0] == 401
    request.headers["authorization"] = "Bearer t"
    status, body, _ = control.answer(request)
    assert (status, json.loads(body)["mode"]) == (200, "manual")


def test_a_type_that_is_not_served_is_kept_under_its_name(server: WebServer, ask: Any, sim: Simulation) -> None:
    requests.post(f"{server.url}/api", data=signed("brewcoffeemsg", {}))
    call = ask("GET", "calls?limit=1")[0]
    assert (call["payload_type"], call["status"]) == ("brewcoffeemsg", 403)
    assert call["body"] == "invalid rpcMsg.PayloadType: brewcoffeemsg"


def test_every_route_and_limit_is_documented(sim: Simulation) -> None:
    text = (Path(__file__).parents[2] / "docs" / "control-api.md").read_text()
    for method, name in Control(sim).routes:
        assert f"| `{method} {name}` |" in text
    for name in Limits.__struct_fields__:
        assert re.search(rf"\| `{name}`.* \| {int(getattr(DEFAULTS, name))} \|", text), name
