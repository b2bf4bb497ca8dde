"""Wrong requests to every route of the control API: an error that says what is wrong, and nothing changes."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from colonysim import ColonyClient, Simulation
from colonysim.evidence.tables import TABLES
from colonysim.http.http1 import HttpRequest, request_to
from colonysim.simulation import stock
from colonysim.web.control import BODIES, MOST_ACTORS, MOST_FAULTS, MOST_NAME, QUERIES, Control

ROUTES = sorted(Control(Simulation(mode="manual")).routes)
TAKE_A_BODY = sorted(BODIES)
TAKE_NONE = [route for route in ROUTES if route not in BODIES]
LOST = {"kind": "lose_reply", "name": "lost", "when": {"first": 1}}
ID = stock.USER_IDENTITY.id
GET_COLONY = {"msgtype": "getcolonymsg", "colonyname": "dev"}
NAN, HUGE = "@nan@", "@huge@"
"""Numbers that JSON does not have, and that no field takes: written as they stand."""

NO_OBJECT: list[bytes] = [
    b"x", b"{", b"{}{}", b"[", b"[[]]", b"null", b"true", b"1", b"1.5", b'"text"', b"NaN", b"[NaN]", b"\xff\xfe{}", b"\x00",
    b'{"unknown": 1}', b'{"": 1}', b'{"name": 1, "name": 2}', b'{"seed": 1, "seed": 2}', b"[" * 33 + b"]" * 33,
    b'{"a":' * 33 + b"1" + b"}" * 33, b'{"name": "\\ud800"}', b"'{}'", b"\xef\xbb\xbf{}", b"{" + b" " * 1_048_576 + b"}",
]  # fmt: skip

WRONG_FIELDS: dict[tuple[str, str], list[dict[str, Any]]] = {
    ("PUT", "clock"): [
        {}, {"mode": None}, {"mode": 1}, {"mode": "tea"}, {"mode": ["auto"]}, {"mode": ""}, {"rate": 2}, {"rate": "2"},
        *({"mode": "scaled", "rate": rate} for rate in (0, -1, 1e-9, 1e10, NAN, HUGE, "1", True, [], {}, 10**400)),
    ],
    ("POST", "clock/advance"): [
        {}, {"seconds": None}, {"to": 5}, {"to": ""}, {"to": "tomorrow"}, {"to": "2020-01-01T00:00:00Z"},
        {"to": "2026-13-01T00:00:00Z"}, {"seconds": 1, "to": "2027-01-01T00:00:00Z"}, {"until": "tea"}, {"until": 1},
        {"until": "idle", "seconds": 1}, {"limit_seconds": 5}, {"seconds": 1, "limit_seconds": 5},
        *({"seconds": seconds} for seconds in (-1, 1e13, 1e300, NAN, HUGE, "1", True, [1], {"s": 1}, 10**400)),
        *({"until": "idle", "limit_seconds": limit} for limit in (-1, 1e13, NAN, HUGE, "1", True, [1], 10**400)),
    ],
    ("POST", "reset"): [{"seed": seed} for seed in (1.5, "7", True, [7], {}, 2**64, -(2**63) - 1, 10**400, NAN, HUGE)],
    ("POST", "seed"): [
        {}, *({"seed": seed} for seed in (None, 1.5, "7", True, [7], {}, 2**64, -(2**63) - 1, 10**400, NAN, HUGE)),
    ],
    ("POST", "faults"): [
        {}, {"kind": None}, {"kind": 1}, {"kind": "nosuch"}, {"name": "x"}, {"faults": 1}, {"faults": [1]},
        {"faults": [LOST, {"kind": "nosuch"}]}, {"faults": [], "unknown": 1}, LOST, {**LOST, "name": 1},
        {**LOST, "name": "n", "when": {"first": -1}}, {**LOST, "name": "n", "when": {"first": 1.5}},
        {**LOST, "name": "n", "when": {"probability": 2}}, {**LOST, "name": "n", "when": {"probability": NAN}},
        {**LOST, "name": "n", "when": {"first": HUGE}}, {**LOST, "name": "n", "when": 1}, {**LOST, "name": "n", "when": []},
        {**LOST, "name": "n", "match": {"types": 5}}, {**LOST, "name": "n", "match": {"unknown": 5}},
        {**LOST, "name": "n", "enabled": "yes"}, {**LOST, "name": "n", "notice_s": -1}, {**LOST, "name": "n", "unknown": 1},
        {"kind": "crash", "actors": "*", "times": {"at_s": -1}}, {"kind": "crash", "times": {"at_s": NAN}},
        {"kind": "restart", "times": {"mean_every_s": 5}}, {"kind": "restart"},
        {"kind": "answer", "name": "n", "status": 200, "text": "x"}, {"kind": "hazard", "hazard": "nosuch"},
        {"kind": "duplicate", "name": "n", "when": {"first": 1}, "copies": 10**400},
        {"kind": "partition", "name": "n", "actors": 5},
    ],
    ("PATCH", "faults"): [
        {}, {"name": "lost"}, {"enabled": False}, {"name": "nosuch", "enabled": True}, {"name": 1, "enabled": True},
        {"name": "lost", "enabled": "no"}, {"name": "lost", "enabled": 0}, {"name": "lost", "enabled": None},
        {"name": ["lost"], "enabled": False}, {"name": "", "enabled": False}, {"name": "lost", "enabled": NAN},
    ],
    ("POST", "snapshots"): [
        {"name": name} for name in (1, None, "", " ", "a\nb", "\x00", "x" * (MOST_NAME + 1), ["x"], {}, True, NAN)
    ] + [
        {"name": "nosuch", "restore": True}, {"restore": True}, {"restore": 1}, {"restore": "yes"}, {"restore": None},
        {"name": "kept", "restore": []},
    ],
    ("POST", "actors"): [
        {}, {"waits": True}, {"name": "a", "waits": 1}, {"name": "a", "waits": "yes"}, {"name": "a", "gone": None},
        {"name": "a", "waits": True, "gone": True},
        *({"name": name} for name in (1, None, "", " ", "a\nb", "x" * (MOST_NAME + 1), ["x"], {}, True, HUGE)),
    ],
    ("POST", "calls"): [
        {}, {"caller": ID}, {"payload": GET_COLONY}, {"caller": 1, "payload": GET_COLONY}, {"caller": ID, "payload": 1},
        *({"caller": caller, "payload": GET_COLONY} for caller in ("", "me", ID[:-1], ID.upper(), ID + "\n", None)),
        *({"caller": ID, "payload": {"msgtype": kind}} for kind in (1, None, "", "nosuchmsg", "subscribeprocessmsg", [])),
        {"caller": ID, "payload": {}}, {"caller": ID, "payload": [GET_COLONY]}, {"caller": ID, "payload": "{}"},
        {"caller": ID, "payload": {"msgtype": "getcolonymsg", "colonyname": 5}},
        {"caller": ID, "payload": GET_COLONY, "key": "x"},
    ],
}  # fmt: skip

WRONG_PAGES = [
    "offset=x", "offset=-1", "offset=", "offset=1&offset=2", "limit=x", "limit=1.5", "limit=" + "9" * 5000, "search=",
    "sort=nosuch", "sort=", "descending=1", "descending=yes", "page=2", "colour=red", "limit=%D9%A1",
]  # fmt: skip

WRONG_QUERIES: dict[tuple[str, str], list[str]] = {
    ("GET", "why-not"): ["", "process=", "process=x", "process=a&process=b", "proces=a", "process=%00", "process=%ff"],
    ("GET", "story"): ["", "process=", "process=x", "process=a&process=b", "proces=a", "process=" + "x" * 100_000],
    ("DELETE", "faults"): ["name=", "name=nosuch", "nmae=lost", "name=lost&name=lost", "token=x"],
    ("GET", "calls"): [
        "after=x", "after=-1", "after=1.5", "after=", "limit=x", "limit=-1", "limit=1e3", "limit=nan", "limit=", "lim=1",
        "limit=1&limit=2", "limit=" + "9" * 5000, "after=" + "9" * 20, "limit=%D9%A1", "limit=1_000",
    ],
    ("GET", "process"): ["", "process=", "process=x", "process=a&process=b", "id=a", "process=%00"],
    ("GET", "workflow"): ["", "workflow=", "workflow=x", "workflow=a&workflow=b", "graph=a"],
    ("GET", "wire"): ["", "call=", "call=x", "call=-1", "call=0", "call=" + "9" * 18, "call=" + "9" * 5000, "number=1"],
    **{("GET", f"tables/{name}"): WRONG_PAGES for name in TABLES},
    ("GET", "events"): ["limit=x", "limit=-1", "limit=1.5", "limit=", "after=1", "limit=1&limit=1", "limit=" + "9" * 5000],
}  # fmt: skip


@pytest.fixture
def control() -> Control:
    """A simulation in which something has happened, with a fault, an actor and a snapshot."""
    sim = Simulation(mode="manual", journal=True)
    stock.install(sim)
    colony = ColonyClient.stock(sim)
    colony.add_executor("cli")
    colony.submit("f", maxwaittime=50)
    sim.faults.add(LOST)
    sim.kernel.outside_actor("acts", waits=True)
    control = Control(sim)
    control.snapshots["kept"] = sim.snapshot()
    return control


def state_of(control: Control) -> tuple[Any, ...]:
    sim = control.sim
    assert sim.journal is not None
    actors = {name: actor.waits_for for name, actor in sim.kernel.actors.registered.items()}
    clock = sim.now_ns, sim.kernel.clock.mode, sim.kernel.clock.rate, sim.settings
    faults = sim.faults.all, sim.faults.counts, sim.faults.idle
    return sim.snapshot(), clock, faults, actors, dict(control.snapshots), list(sim.journal.lines), list(sim.calls)


def refused(control: Control, request: HttpRequest) -> tuple[int, str]:
    """Status and text of an error that has changed nothing."""
    request.remote = request.local = "127.0.0.1"
    before = state_of(control)
    status, body, kind = control.answer(request)
    told = json.loads(body)
    assert 400 <= status < 500, (status, told)
    assert kind == "application/json"
    assert list(told) == ["error"]
    assert told["error"]
    assert "Traceback" not in told["error"]
    assert state_of(control) == before
    return status, told["error"]


def request_of(
    route: tuple[str, str], body: bytes = b"", query: str = "", kind: str = "application/json"
) -> HttpRequest:
    headers = {"host": "localhost"} | ({"content-type": kind} if kind else {})
    return HttpRequest(route[0], f"/colonysim/{route[1]}", query, headers, body=body)


def text_of(fields: dict[str, Any]) -> bytes:
    return json.dumps(fields).replace(f'"{NAN}"', "NaN").replace(f'"{HUGE}"', "1e999").encode()


def test_the_tables_have_every_route() -> None:
    assert WRONG_FIELDS.keys() == BODIES.keys()
    assert WRONG_QUERIES.keys() == QUERIES.keys()
    assert BODIES.keys() | QUERIES.keys() <= set(ROUTES)


@pytest.mark.parametrize("route", TAKE_A_BODY, ids=" ".join)
def test_a_body_that_is_no_object_of_the_route_is_refused(control: Control, route: tuple[str, str]) -> None:
    for body in NO_OBJECT:
        refused(control, request_of(route, body))


@pytest.mark.parametrize("route", TAKE_A_BODY, ids=" ".join)
def test_wrong_fields_are_refused(control: Control, route: tuple[str, str]) -> None:
    for fields in WRONG_FIELDS[route]:
        refused(control, request_of(route, text_of(fields)))


@pytest.mark.parametrize("route", QUERIES, ids=" ".join)
def test_wrong_queries_are_refused(control: Control, route: tuple[str, str]) -> None:
    for query in WRONG_QUERIES[route]:
        refused(control, request_of(route, query=query))


@pytest.mark.parametrize("route", ROUTES, ids=" ".join)
def test_a_field_that_no_query_has_is_refused(control: Control, route: tuple[str, str]) -> None:
    for query in ("unknown=1", "a=1&b=2", "&".join(f"f{number}=1" for number in range(1000))):
        refused(control, request_of(route, query=query))


@pytest.mark.parametrize("route", TAKE_NONE, ids=" ".join)
def test_a_body_where_none_is_taken_is_refused(control: Control, route: tuple[str, str]) -> None:
    """A name in the body of a DELETE would otherwise be overlooked, and every fault removed."""
    for body in (b"{}", b'{"name": "lost"}', b"x"):
        _, text = refused(control, request_of(route, body))
        assert "takes no body" in text


@pytest.mark.parametrize("route", ROUTES, ids=" ".join)
def test_a_body_that_was_cut_off_is_not_taken_for_an_empty_one(control: Control, route: tuple[str, str]) -> None:
    request = request_of(route)
    request.problem = "unexpected EOF"
    assert refused(control, request) == (400, "the body is incomplete: unexpected EOF")


@pytest.mark.parametrize("name", ["", *sorted({name for _, name in ROUTES})])
def test_other_methods_are_refused(control: Control, name: str) -> None:
    for method in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "get", "BREW"):
        if (method, name) not in ROUTES and (method, name) != ("GET", ""):
            status, text = refused(control, request_of((method, name)))
            assert status == 405, (method, name)
            assert "takes" in text


@pytest.mark.parametrize("route", [route for route in ROUTES if route[0] != "GET"], ids=" ".join)
@pytest.mark.parametrize("kind", ["", "text/plain", "application/x-www-form-urlencoded", "application/jsonx"])
def test_other_content_types_are_refused(control: Control, route: tuple[str, str], kind: str) -> None:
    status, text = refused(control, request_of(route, b"{}", kind=kind))
    assert status == 415
    assert "Content-Type: application/json" in text


@pytest.mark.parametrize(
    "name", ["nosuch", "clock/nosuch", "../api", "%2e%2e", "health\x00", "clock/advance/1", "ÿ", "x" * 9999]
)
def test_paths_that_are_not_there_are_refused(control: Control, name: str) -> None:
    for method in ("GET", "POST", "DELETE"):
        assert refused(control, request_of((method, name)))[0] == 404


def test_there_are_no_more_actors_than_can_be_kept(control: Control) -> None:
    for number in range(MOST_ACTORS - 1):
        control.sim.kernel.outside_actor(f"a{number}", waits=True)
    assert refused(control, request_of(("POST", "actors"), b'{"name": "one more"}'))[0] == 409
    assert control.answer(request_of(("POST", "actors"), b'{"name": "a5", "gone": true}'))[0] == 200


@pytest.mark.parametrize("form", ["list", "plan", "swarm that draws none"])
def test_there_are_no_more_faults_than_can_be_kept(control: Control, form: str) -> None:
    def body(number: int) -> bytes:
        faults: Any = [{"kind": "reorder"}] * number
        if form == "plan":
            faults = {"faults": faults}
        elif form == "swarm that draws none":
            faults = {"faults": faults, "swarm": {"keep": 0, "at_least": 0}}
        return json.dumps(faults).encode()

    status, text = refused(control, request_of(("POST", "faults"), body(MOST_FAULTS)))
    assert status == 409
    assert f"1 faults and {MOST_FAULTS} more are too many: at most {MOST_FAULTS} can be added" in text
    assert control.answer(request_of(("POST", "faults"), body(MOST_FAULTS - 1)))[0] == 200
    assert refused(control, request_of(("POST", "faults"), body(1)))[0] == 409
    assert control.answer(request_of(("DELETE", "faults")))[0] == 200
    assert control.answer(request_of(("POST", "faults"), body(1)))[0] == 200


FIELDS = st.sampled_from(
    [
        "seconds",
        "to",
        "until",
        "limit_seconds",
        "mode",
        "rate",
        "seed",
        "name",
        "restore",
        "enabled",
        "waits",
        "gone",
        "kind",
        "when",
        "match",
        "times",
        "faults",
    ]
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(FIELDS, inner, max_size=4),
    max_leaves=8,
)


@given(st.sampled_from(TAKE_A_BODY), st.dictionaries(FIELDS, JSON, max_size=4))
def test_whatever_comes_is_answered_or_refused(route: tuple[str, str], fields: dict[str, Any]) -> None:
    """No body brings a server of its own fault about, and what is refused changes nothing."""
    control = Control(Simulation(mode="manual", journal=True))
    before = state_of(control)
    request = request_to(route[0], f"/colonysim/{route[1]}", {"content-type": "application/json"}, text_of(fields))
    status, body, _ = control.answer(request)
    assert status < 500
    json.loads(body)
    if status >= 400:
        assert state_of(control) == before
