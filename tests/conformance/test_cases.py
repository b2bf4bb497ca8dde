"""Every recorded case, in this process and over HTTP."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from colonysim import WebServer
from colonysim.conformance import player
from colonysim.conformance.targets import Http, InProcess, Target, simulation_for_cases
from colonysim.simulation.simulation import Simulation

CASES = sorted(player.CASES.rglob("*.json"))


@pytest.fixture(scope="module")
def simulation() -> Simulation:
    return simulation_for_cases()


@pytest.fixture(scope="module")
def in_process(simulation: Simulation) -> Target:
    return InProcess(simulation)


@pytest.fixture(scope="module", params=["werkzeug", "asyncio"])
def over_http(request: pytest.FixtureRequest, simulation: Simulation) -> Iterator[Target]:
    with WebServer(simulation, kind=request.param) as server:
        yield Http(server.url, virtual=True)
    assert server.errors == []


def _id(path: Path) -> str:
    return f"{path.parent.name}/{path.stem}"


def test_there_are_cases() -> None:
    assert len(CASES) >= 298


@pytest.mark.parametrize("path", CASES, ids=_id)
def test_case_in_process(path: Path, simulation: Simulation, in_process: Target) -> None:
    in_process.reset()
    assert list(player.play(player.load_case(path), in_process)) == []
    simulation.check()


@pytest.mark.parametrize("path", CASES, ids=_id)
def test_case_over_http(path: Path, simulation: Simulation, over_http: Target) -> None:
    over_http.reset()
    assert list(player.play(player.load_case(path), over_http)) == []
    simulation.check()
