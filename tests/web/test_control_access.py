"""Whom the control API answers: this machine and the token's owners, and no web pages from elsewhere."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping

import pytest
import requests
from hypothesis import given
from hypothesis import strategies as st

from colonysim import ColonyClient, Simulation, WebServer
from colonysim.http.http1 import HttpRequest
from colonysim.http.limits import Limits
from colonysim.web.assets import page_files
from colonysim.web.control import Control
from colonysim.web.control_access import ControlAccess
from tests.serving import Wire, signed

GET_COLONY = signed("getcolonymsg", {"colonyname": "dev"})
JSON = {"Content-Type": "application/json"}
CHANGES = [
    ("PUT", "clock", b'{"mode":"scaled","rate":2}'),
    ("POST", "clock/advance", b'{"seconds":3600}'),
    ("POST", "reset", b"{}"),
    ("POST", "seed", b'{"seed":9}'),
    ("POST", "faults", b'{"kind":"crash","times":{"at_s":1}}'),
    ("PATCH", "faults", b'{"name":"x","enabled":true}'),
    ("DELETE", "faults", b""),
    ("POST", "snapshots", b"{}"),
    ("POST", "actors", b'{"name":"x"}'),
    ("POST", "calls", b'{"caller":"%b","payload":{"msgtype":"getcolonymsg"}}' % (b"0" * 64)),
]


def status_of(server: WebServer, method: str, path: str, headers: Mapping[str, str], body: bytes = b"") -> int:
    """What a raw request is answered: no client adds headers of its own."""
    lines = {"Host": f"127.0.0.1:{server.port}", "Content-Length": str(len(body))} | dict(headers)
    text = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    with Wire(server) as wire:
        wire.send(f"{method} /colonysim/{path} HTTP/1.1\r\n{text}\r\n".encode("latin-1") + body)
        return int(wire.reply()[0].split()[1])


def asked(
    method: str = "GET",
    name: str = "clock",
    body: bytes = b"",
    *,
    query: str = "",
    remote: str = "127.0.0.1",
    local: str = "127.0.0.1",
    **headers: str,
) -> HttpRequest:
    fields = {key.replace("_", "-"): value for key, value in headers.items()}
    return HttpRequest(method, f"/colonysim/{name}", query, fields, body=body, remote=remote, local=local)


# ---------------------------------------------------------------- web pages
@pytest.mark.parametrize(("method", "path", "body"), CHANGES)
@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Origin": "http://evil.example", "Content-Type": "text/plain"}, 403),
        ({"Origin": "http://evil.example", **JSON}, 403),
        ({"Origin": "null", **JSON}, 403),
        ({"Host": "evil.example", "Origin": "http://evil.example", **JSON}, 403),
        ({"Sec-Fetch-Site": "cross-site", **JSON}, 403),
        ({"Content-Type": "text/plain"}, 415),
        ({"Content-Type": "application/x-www-form-urlencoded"}, 415),
        ({"Content-Type": "multipart/form-data; boundary=x"}, 415),
        ({"Content-Type": "text/plain; application/json"}, 415),
        ({"Content-Type": ""}, 415),
    ],
)
def test_a_page_from_elsewhere_changes_nothing(
    server: WebServer, sim: Simulation, method: str, path: str, body: bytes, headers: dict[str, str], status: int
) -> None:
    ColonyClient.stock(sim).submit("f")
    before = sim.snapshot(), sim.kernel.clock.mode, list(sim.faults.all)
    assert status_of(server, method, path, headers, body) == status
    assert (sim.snapshot(), sim.kernel.clock.mode, list(sim.faults.all)) == before
    assert sim.kernel.actors.registered == {}


@pytest.mark.parametrize(
    "path",
    ["", "health", "clock", "calls", "events", "snapshots", "coverage", "nowhere", "overview", "wire", "page/main.js"],
)
@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "evil.example"},
        {"Host": "evil.example:50080"},
        {"Host": "127.0.0.1.evil.example"},
        {"Host": "localhost.evil.example"},
        {"Host": "192.0.2.1"},
        {"Host": ""},
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
)
def test_a_page_from_elsewhere_reads_nothing(server: WebServer, path: str, headers: dict[str, str]) -> None:
    assert status_of(server, "GET", path, headers) == 403


@pytest.mark.parametrize("host", ["127.0.0.1:{}", "localhost:{}", "LOCALHOST:{}", "[::1]:{}", "localhost", "127.0.0.2"])
def test_this_machine_is_answered_under_all_its_names(server: WebServer, host: str) -> None:
    host = host.format(server.port)
    for headers in ({}, {"Origin": f"http://{host}", "Sec-Fetch-Site": "same-origin"}, {"Sec-Fetch-Site": "none"}):
        assert status_of(server, "GET", "", {"Host": host, **headers}) == 200
        assert status_of(server, "POST", "reset", {"Host": host, **headers, **JSON}, b"{}") == 200


@pytest.mark.parametrize("media_type", ["application/json", "Application/JSON; charset=utf-8", "application/json;x"])
def test_json_is_taken_however_it_is_written(server: WebServer, media_type: str) -> None:
    assert status_of(server, "POST", "reset", {"Content-Type": media_type}, b"{}") == 200


def test_a_change_without_body_needs_no_type(server: WebServer) -> None:
    assert status_of(server, "POST", "reset", {}) == 200
    assert status_of(server, "DELETE", "faults", {}) == 200
    assert status_of(server, "POST", "reset", {}, b"{}") == 415


def test_no_page_gets_leave_to_ask(server: WebServer) -> None:
    preflight = {"Origin": "http://evil.example", "Access-Control-Request-Method": "POST"}
    reply = requests.options(f"{server.url}/colonysim/reset", headers=preflight)
    assert reply.status_code == 403
    assert not [name for name in reply.headers if name.lower().startswith("access-control")]


def test_replies_are_not_for_other_sites(server: WebServer) -> None:
    headers = requests.get(f"{server.url}/colonysim/").headers
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "no-referrer"
    assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]


def test_the_protocol_itself_answers_every_origin(server: WebServer, wire: Wire) -> None:
    """As the reference does (docs/protocol/a-foundation.md 1.4)."""
    wire.post(GET_COLONY, "Origin: http://evil.example")
    status, headers, _ = wire.reply()
    assert (status, headers["access-control-allow-origin"]) == ("HTTP/1.1 200 OK", "*")


@given(st.text(st.characters(codec="latin-1", exclude_categories=["Cc"])))
def test_no_other_host_or_origin_gets_through(text: str) -> None:
    control = Control(Simulation())
    known = re.fullmatch(r"(?i)(localhost|127\.\d+\.\d+\.\d+|\[[0-9a-f:.]+\])(:\d{1,5})?", text.strip())
    if not known:
        assert control.answer(asked(host=text))[0] == 403
        assert control.answer(asked(host="localhost", origin=text))[0] == 403
        assert control.answer(asked(host="localhost", origin=f"http://{text}"))[0] == 403


# ---------------------------------------------------------------- other machines
def test_the_address_listened_on_is_this_machine(sim: Simulation) -> None:
    control = Control(sim, ControlAccess(host="box.example"))
    at_home = {"remote": "192.0.2.5", "local": "192.0.2.5"}
    assert control.answer(asked(host="box.example:5", **at_home))[0] == 200
    assert control.answer(asked(host="192.0.2.5:5", **at_home))[0] == 200
    assert control.answer(asked(host="192.0.2.5:5", remote="192.0.2.6", local="192.0.2.5"))[0] == 403
    assert control.answer(asked(host="192.0.2.6:5", **at_home))[0] == 403


def test_with_a_token_everybody_needs_it(sim: Simulation, kind: str) -> None:
    with WebServer(sim, kind=kind, control_token="s3cret") as server:
        assert status_of(server, "GET", "clock", {}) == 401
        assert status_of(server, "GET", "clock", {"Authorization": "Bearer s3cret"}) == 200
        assert status_of(server, "GET", "clock", {"authorization": "bearer s3cret", "Host": "box.example"}) == 200
        assert status_of(server, "GET", "clock?token=s3cret", {}) == 200
        assert status_of(server, "POST", "reset?token=s3cret", JSON, b"{}") == 401
        for wrong in ("Bearer other", "Bearer ", "Basic s3cret", "s3cret", "Bearer s3cret x", "Bearer s3cre\xdf"):
            assert status_of(server, "POST", "reset", {"Authorization": wrong, **JSON}, b"{}") == 401
        told = requests.get(f"{server.url}/colonysim/clock")
        assert told.headers["WWW-Authenticate"].startswith("Bearer")
        assert "Authorization: Bearer TOKEN" in told.json()["error"]


def test_a_token_does_not_let_pages_from_elsewhere_in(sim: Simulation) -> None:
    control = Control(sim, ControlAccess(from_anywhere=True, token="t"))
    known = {"authorization": "Bearer t", "host": "box.example", "remote": "192.0.2.7"}
    assert control.answer(asked(**known, origin="http://box.example"))[0] == 200
    assert control.answer(asked(**known, origin="http://evil.example"))[0] == 403
    assert control.answer(asked("POST", "reset", b"{}", **known, content_type="text/plain"))[0] == 415


def test_a_token_is_made_up_where_other_machines_may_ask(sim: Simulation) -> None:
    tokens = set()
    for _ in range(2):
        server = WebServer(sim, control_from_anywhere=True)
        server.stop()
        assert server.control_token is not None
        tokens.add(server.control_token)
    assert len(tokens) == 2
    assert all(len(token) >= 32 for token in tokens)
    closed = WebServer(sim)
    closed.stop()
    assert closed.control_token is None


@pytest.mark.parametrize("token", ["", " ", "a b", "ä", "a\n"])
def test_a_token_that_cannot_be_sent_is_refused(token: str) -> None:
    with pytest.raises(ValueError, match="must be visible ASCII characters"):
        ControlAccess(token=token)


def test_the_page_needs_the_token_and_its_scripts_and_styles_do_not(sim: Simulation) -> None:
    """Browsers send no token when they load them; they are in every copy of the package."""
    control = Control(sim, ControlAccess(token="a&b"))
    assert control.answer(asked(name="", host="x"))[0] == 401
    assert control.answer(asked(name="", query="token=a%26b", host="x"))[0] == 200
    for name in page_files().keys() - {"index.html"}:
        assert control.answer(asked(name=f"page/{name}", host="x"))[0] == 200
        assert control.answer(asked(name=f"page/{name}", host="x", origin="http://evil.example"))[0] == 403
        assert control.answer(asked(name=f"page/{name}", remote="192.0.2.7"))[0] == 403


# ---------------------------------------------------------------- bodies
def test_bodies_of_the_control_api_are_short_and_shallow(sim: Simulation) -> None:
    control = Control(sim, limits=Limits(control_body_bytes=1000, control_depth=5))

    def answer(body: bytes) -> tuple[int, str]:
        request = asked("POST", "faults", body, content_type="application/json")
        status, text, _ = control.answer(request)
        return status, json.loads(text)["error"]

    assert answer(b"[" * 6) == (400, "lists and objects are nested 6 deep, beyond the limit control_depth=5")
    assert answer(b'{"a":' * 6) == (400, "lists and objects are nested 6 deep, beyond the limit control_depth=5")
    assert answer(b"[" * 1001)[0] == 413
    assert "deep" not in answer(b'["[[[[[[[[[[", "\\"[[[[[[[[["]')[1]
    assert "deep" not in answer(b"[[[]],[[]],[[]],[[]]]")[1]


@pytest.mark.parametrize(("method", "path"), sorted({(method, path) for method, path, _ in CHANGES}))
def test_no_body_breaks_a_route(server: WebServer, method: str, path: str) -> None:
    deep, long = b"[" * 100_000, b'{"name":"' + b"x" * 2_000_000 + b'"}'
    odd = [b"[", b"nul", b"5", b'"x"', b"[5]", b"[[]]", b'{"faults":5}', b"\xff", b"1e999", b'{"seconds":1e999}']
    for body in (deep, long, b'{"a":' * 50_000, *odd):
        status = status_of(server, method, path, JSON, body)
        assert 400 <= status < 500 or (method, path) in (("DELETE", "faults"),)
    assert server.errors == []


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "localhost"])
@pytest.mark.parametrize(
    ("anywhere", "token", "sent", "remote_status", "own_status"),
    [
        (False, None, None, 403, 200),
        (False, "secret", "secret", 403, 200),
        (False, "secret", None, 403, 401),
        (True, "secret", None, 401, 401),
        (True, "secret", "other", 401, 401),
        (True, "secret", "secret", 200, 200),
        (True, None, None, 401, 401),  # a token is made up
    ],
)
def test_no_other_machine_uses_the_control_api_without_the_token(
    sim: Simulation, host: str, anywhere: bool, token: str | None, sent: str | None, remote_status: int, own_status: int
) -> None:
    control = Control(sim, ControlAccess(from_anywhere=anywhere, token=token, host=host))
    headers = {"host": "localhost"} | ({"authorization": f"Bearer {sent}"} if sent else {})
    for remote, status in (("192.0.2.7", remote_status), ("127.0.0.1", own_status), ("::1", own_status)):
        request = HttpRequest("GET", "/colonysim/clock", "", headers, remote=remote, local="192.0.2.1")
        assert control.answer(request)[0] == status
