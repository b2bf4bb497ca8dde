"""The description of the control API, and the server held to it."""

from __future__ import annotations

from typing import Any

import pytest
import requests
from hypothesis import HealthCheck, given, settings

from colonysim import ColonyClient, Simulation, WebServer
from colonysim.simulation import stock
from colonysim.web.control import BODIES, QUERIES, Control
from colonysim.web.openapi import describe

schemathesis = pytest.importorskip("schemathesis", reason="schemathesis is not installed: pip install 'colonysim[dev]'")


def checks() -> list[Any]:
    from schemathesis.checks import not_a_server_error
    from schemathesis.specs.openapi import checks

    kept = (checks.status_code_conformance, checks.content_type_conformance, checks.response_schema_conformance)
    return [not_a_server_error, *kept, checks.unsupported_method]


def test_every_route_is_described_with_its_fields(server: WebServer, sim: Simulation) -> None:
    reply = requests.get(f"{server.url}/colonysim/openapi.json")
    described = reply.json()
    assert (reply.status_code, described["openapi"]) == (200, "3.1.0")
    for method, name in Control(sim).routes:
        operation = described["paths"][f"/colonysim/{name}"][method.lower()]
        assert operation["summary"].endswith("."), (method, name)
        assert tuple(one["name"] for one in operation.get("parameters", ())) == QUERIES.get((method, name), ())
        assert ("requestBody" in operation) is ((method, name) in BODIES)
    ids = [one["operationId"] for path in described["paths"].values() for one in path.values()]
    assert len(set(ids)) == len(ids)


ROUTES = sorted(Control(Simulation(mode="manual")).routes)


@pytest.mark.parametrize("route", ROUTES, ids=" ".join)
def test_the_server_keeps_to_the_description(route: tuple[str, str]) -> None:
    """Schemathesis makes requests of the description, right and wrong ones, and compares the answers with it."""
    sim = Simulation(mode="manual")
    stock.install(sim)
    colony = ColonyClient.stock(sim)
    colony.add_executor("cli")
    colony.submit("f")
    control = Control(sim)
    schema = schemathesis.openapi.from_dict(describe(control.routes, BODIES, QUERIES))
    method, name = route
    strategy: Any = schema[f"/colonysim/{name}"][method].as_strategy()
    with WebServer(sim, kind="asyncio") as server:

        @settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
        @given(strategy)
        def ask(case: Any) -> None:
            case.call_and_validate(base_url=server.url, checks=checks())

        ask()
    assert server.errors == []
