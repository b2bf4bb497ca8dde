"""How the page looks: no violation that axe-core can find, nothing wider than the window, at three widths and in both schemes."""

from __future__ import annotations

import pytest

from colonysim import ColonyClient, Simulation, WebServer
from colonysim.core.operations.crons import AddCron
from colonysim.core.operations.generators import AddGenerator
from colonysim.core.types import CronSpec, GeneratorSpec
from tests.browser.driving import WIDTHS, Browser
from tests.browser.test_following import DIAMOND

WORKFLOW = '{"colonyname":"dev","functionspecs":[{"funcname":"f","conditions":{"colonyname":"dev"}}]}'


@pytest.fixture
def kind() -> str:
    """One server will do: the page is the same."""
    return "asyncio"


@pytest.fixture
def addresses(sim: Simulation, colony: ColonyClient) -> dict[str, str]:
    """The address of each view, in a colony that has some of everything, and a word that the view shows."""
    executor = colony.add_executor("cli", "ann", location="attic")
    colony.add_executor("cli", "bob", approve=False)
    for name, seconds in (("nightly", 3600), ("hourly", 60)):
        colony.user.ask(AddCron(cron=CronSpec(colonyname="dev", name=name, interval=seconds, workflowspec=WORKFLOW)))
    generator = GeneratorSpec(colonyname="dev", name="batch", trigger=3, timeout=9, workflowspec=WORKFLOW)
    colony.user.ask(AddGenerator(generator=generator))
    sim.faults.add({"kind": "lose_reply", "name": "gone", "match": {"types": "getstatisticsmsg"}})
    sim.faults.add({"kind": "crash", "name": "off", "times": {"at_s": 10}, "enabled": False})
    graph = colony.submit_workflow(DIAMOND)
    for number in range(60):
        colony.submit("f", ["x" * 100, number], executortype="cli", channels=["talk"], maxexectime=60)
    for end in ("close", "fail", "hold"):
        process = executor.assign()
        assert process is not None
        process.log("a line " * 30)
        if end == "close":
            process.close([{"key": "value" * 30}])
        elif end == "fail":
            process.add_attribute("key", "v" * 200)
            process.fail("no space " * 30)
    colony.processes()[0].cancel()
    failed = next(one.process_id for one in sim.world.processes.values() if one.errors)
    views = ["processes", "workflows", "executors", "schedules", "failures", "faults", "controls", "submit"]
    number = sim.calls[-1].number
    return {view: f"#/{view}" for view in views} | {
        "process": f"#/process/{failed}",
        "workflow": f"#/workflow/{graph.id}",
        "calls": f"#/calls?open={number},{number - 1}",
    }


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", sorted(WIDTHS))
def test_no_view_has_a_fault_that_axe_finds_or_is_wider_than_the_window(
    window: Browser, server: WebServer, addresses: dict[str, str], width: int, scheme: str
) -> None:
    window.look_like(width, scheme)
    wrong: dict[str, list[str]] = {}
    for view, address in addresses.items():
        window.open("about:blank")
        window.open(f"{server.url}/colonysim/{address}")
        window.until(lambda: window.text("#live") == "live" and window.text("main h1"), view)
        violations = window.violations()
        if window.run("return document.documentElement.scrollWidth > innerWidth"):
            violations.append("the page is wider than the window")
        violations += window.complaints()
        if violations:
            wrong[view] = violations
    assert wrong == {}


def test_the_schemes_differ(page: Browser) -> None:
    colours = []
    for scheme in ("light", "dark"):
        page.look_like(900, scheme)
        colours.append(page.run("return getComputedStyle(document.body).backgroundColor"))
    assert colours[0] != colours[1]
