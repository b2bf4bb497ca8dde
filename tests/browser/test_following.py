"""The page follows the server: what happens shows without reloading, and what the reader does is left alone."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from pycolonies import Colonies, ColoniesConnectionError, func_spec

from colonysim import ColonyClient, ExecutorClient, Simulation, WebServer
from colonysim.simulation import stock
from tests.browser.driving import Browser

DIAMOND: dict[str, dict[str, Any]] = {
    "top": {"executortype": "cli"},
    "left": {"executortype": "cli", "after": ["top"]},
    "right": {"executortype": "cli", "after": ["top"]},
    "bottom": {"executortype": "cli", "after": ["left", "right"]},
}


def submit_by_sdk(server: WebServer, funcname: str) -> str:
    """Submit a function over HTTP by pycolonies, and return the id of the process."""
    spec = func_spec(func=funcname, args=[], colonyname="dev", executortype="cli", maxwaittime=-1, maxexectime=-1)
    process = Colonies("127.0.0.1", server.port).submit_func_spec(spec, stock.USER_IDENTITY.private_key)
    process_id: str = process.processid
    return process_id


def test_a_process_from_an_sdk_appears_without_reloading_and_has_a_page(
    page: Browser, server: WebServer, executor: ExecutorClient
) -> None:
    page.run("window.not_reloaded = true")
    page.sees("No process has been submitted yet")
    process_id = submit_by_sdk(server, "resize")
    page.sees("resize")
    page.click("main table a.id", process_id[:8])
    page.sees("Why it waits")
    page.sees(executor.sim.why_not(process_id).texts[0])
    assert page.text("h1") == "resize"
    process = executor.assign()
    assert process is not None
    page.sees("Running")
    process.log("half way")
    process.add_attribute("shape", "round")
    process.close([{"width": 640}])
    page.sees("Succeeded")
    page.sees("half way")
    page.sees("round")
    page.sees('{"width":640}')
    page.sees("RUNNING → SUCCESS")
    assert page.run("return window.not_reloaded") is True


def test_the_clock_is_stepped_paused_and_set(page: Browser, sim: Simulation, colony: ColonyClient) -> None:
    colony.submit("f", maxwaittime=10)
    page.sees("Next in 11 s: release tick", "#clock")
    assert page.text("#now") == "2026-01-01 00:00:00"
    page.click(".steps button", "+1 s")
    page.sees("00:00:01", "#now")
    page.click(".steps button", "Next event")
    page.sees("00:00:11", "#now")
    page.sees("Nothing is due", "#clock")
    page.sees("Failed")
    page.click(".steps button", "+1 h")
    page.sees("01:00:11", "#now")
    page.click("#pause")
    page.until(lambda: sim.kernel.clock.mode.value == "auto", "mode auto")
    page.sees("Pause", "#pause")
    page.run(
        "const mode = document.getElementById('mode'); mode.value = 'real'; mode.dispatchEvent(new Event('change'))"
    )
    page.until(lambda: page.run("return document.querySelector('.steps button').disabled"), "real time")
    page.click("#pause")
    page.until(lambda: sim.kernel.clock.mode.value == "manual", "mode manual")


def test_time_and_ages_go_on_while_a_clock_runs(page: Browser, sim: Simulation, colony: ColonyClient) -> None:
    colony.submit("f")
    page.sees("0 s")
    sim.set_clock("scaled", 3600)
    page.sees("passes 3,600 times as fast as real time", "#clock")
    page.until(lambda: page.text("#now") > "2026-01-01 02", "two hours")
    page.until(lambda: " h" in page.text("tbody time"), "the age of the process in hours")


def test_a_fault_is_added_switched_on_and_seen_to_strike(
    page: Browser, server: WebServer, sim: Simulation, colony: ColonyClient
) -> None:
    sim.faults.add({"kind": "lose_reply", "name": "gone", "enabled": False, "match": {"types": "submitfuncspecmsg"}})
    page.click("#nav a", "Faults")
    page.click("main .switch")
    page.until(lambda: sim.faults.all[0].enabled, "the fault is on")
    with pytest.raises(ColoniesConnectionError):
        submit_by_sdk(server, "lost")
    page.click("main td a", "1")
    page.sees("submitfuncspecmsg")
    page.click("main .opener")
    page.sees("Fault gone (lose_reply) struck this call.")
    page.sees('"funcname": "lost"')
    page.sees("Request, as it came")
    assert len(sim.world.processes) == 1  # it took effect


def test_a_fault_is_made_by_a_form_of_its_schema(page: Browser, sim: Simulation) -> None:
    page.click("#nav a", "Faults")
    page.until(lambda: page.find("#kind"), "the form")
    page.run(
        "const kind = document.getElementById('kind'); kind.value = 'delay'; kind.dispatchEvent(new Event('change'))"
    )
    page.until(lambda: page.find("[id='fault-delay-by_s']"), "the fields of a delay")
    page.click("main summary", "match")
    page.type("[id='fault-delay-name']", "slow")
    page.type("[id='fault-delay-match-types']", "assignprocessmsg, close*")
    page.type("[id='fault-delay-by_s']", "[1, 3]")
    page.click("main button", "Add the fault")
    page.sees("slow", "main table")
    (fault,) = sim.faults.all
    assert json.loads(json.dumps(requests_of(fault))) == {
        "kind": "delay", "name": "slow", "by_s": [1.0, 3.0], "match": {"types": ["assignprocessmsg", "close*"]},
    }  # fmt: skip
    page.type("[id='fault-delay-by_s']", "nonsense")
    page.click("main button", "Add the fault")
    page.sees("by_s", "#note.error")
    assert all("status of 400" in line for line in page.complaints())
    page.click("main button", "Remove")
    page.until(lambda: not sim.faults.all, "no fault")
    page.sees("There are no faults")
    assert page.run("return document.activeElement.id") == "main"  # the button is gone


def requests_of(fault: Any) -> dict[str, Any]:
    from colonysim.faults.registry import as_data

    return {name: value for name, value in as_data(fault).items() if value not in ({}, "request", True)}


def test_a_diamond_workflow_is_followed_to_its_end(
    page: Browser, colony: ColonyClient, executor: ExecutorClient
) -> None:
    graph = colony.submit_workflow(DIAMOND)
    page.click("#nav a", "Workflows")
    page.click("main table a.id", graph.id[:8])
    page.until(lambda: len(page.driver.find_elements("css selector", "svg .node")) == 4, "four nodes")

    def states() -> dict[str, str]:
        script = "return [...document.querySelectorAll('svg .node')].map((one) => one.getAttribute('aria-label'))"
        return dict(label.split(": ") for label in page.run(script))

    assert states() == {"top": "Waiting", **dict.fromkeys(("left", "right", "bottom"), "Waits for parents")}
    columns = page.run(
        "return [...document.querySelectorAll('svg .node')].map((one) => one.getBoundingClientRect().left)"
    )
    assert len(set(columns)) == 3  # left and right are in one layer
    for _ in range(4):
        process = executor.assign()
        assert process is not None
        name = process.spec.nodename
        page.until(lambda name=name: states()[name] == "Running · cli-1", f"{name} runs")  # type: ignore[misc]
        process.close([])
        page.until(lambda name=name: states()[name].startswith("Succeeded"), f"{name} has ended")  # type: ignore[misc]
    page.sees("Succeeded", "main .head")


def test_ten_thousand_processes_are_filtered_searched_sorted_and_paged(
    page: Browser, server: WebServer, colony: ColonyClient
) -> None:
    for number in range(10_000):
        colony.submit(f"function-{number % 100}", executortype="cli", priority=number % 3)
    page.sees("1–50 of 10,000")
    page.type("#search", "function-42")
    page.sees("1–50 of 100")
    page.click(".pager a", "Next")
    page.sees("51–100 of 100")
    assert {row.text for row in page.driver.find_elements("css selector", "tbody td:nth-child(3)")} == {"function-42"}
    page.click("thead a", "Priority")
    page.click("thead a", "Priority")
    page.until(lambda: page.text("tbody tr td:last-child") == "2", "the highest priority first")
    page.type("#search", "nosuch")
    page.sees("No process fits these filters.")
    page.type("#search", "")
    page.sees("1–50 of 10,000")
    page.click(".choices a", "Succeeded")
    page.sees("0 of 0")
    assert page.run("return document.querySelectorAll('tbody tr').length") <= 250


def test_focus_scroll_and_what_is_typed_stay_while_the_page_changes(page: Browser, colony: ColonyClient) -> None:
    for number in range(60):
        colony.submit(f"f{number}")
    page.sees("1–50 of 60")
    page.run("document.querySelectorAll('tbody a.id')[30].focus(); scrollTo(0, 400)")
    where = "const e = document.activeElement; return [e.title, Math.round(e.getBoundingClientRect().top)]"
    before = page.run(where)
    colony.submit("one-more")  # a row above, and the page scrolls along
    page.sees("1–50 of 61")
    assert page.run(where) == before
    page.click("#nav a", "Submit")
    page.type("#funcname", "half-typed")
    page.click("main summary", "Limits")
    colony.submit("another")
    page.click("#nav a", "Submit")
    page.until(lambda: page.run("return document.activeElement !== null"), "the page")
    page.run(
        "window.events = 0; new EventSource('/colonysim/events').addEventListener('overview', () => window.events++)"
    )
    page.until(lambda: page.run("return window.events") == 1, "the first event")
    colony.submit("a-third")
    page.until(lambda: page.run("return window.events") == 2, "the next event")
    assert page.find("#funcname").get_attribute("value") == "half-typed"
    assert page.run("return document.querySelector('main details').open") is True


def test_the_page_comes_back_when_the_server_does(window: Browser, sim: Simulation, kind: str) -> None:
    with WebServer(sim, kind=kind) as server:
        window.open(f"{server.url}/colonysim/")
        window.until(lambda: window.text("#live") == "live", "the stream")
        port = server.port
    window.until(lambda: window.text("#live") == "reconnecting…", "the loss")
    ColonyClient.stock(sim).submit("meanwhile")
    with WebServer(sim, port=port, kind=kind):
        window.until(lambda: window.text("#live") == "live", "the stream again")
        window.sees("meanwhile")


@pytest.fixture
def hostile(colony: ColonyClient) -> Callable[[], None]:
    """Everything that a user can name or write, with text that would be HTML."""

    def submit() -> None:
        bad = "<img src=x onerror=alert(1)><script>alert(1)</script>"
        executor = colony.add_executor("<b>type</b>", "<i>name</i>", location="<u>there</u>")
        for _ in range(2):
            colony.submit(bad, [bad], executortype="<b>type</b>", kwargs={bad: bad}, channels=["<b>talk</b>"])
        failed, running = executor.assign(), executor.assign()
        assert failed is not None
        assert running is not None
        failed.fail(bad)
        running.log(bad)
        running.add_attribute("<b>key</b>", bad)
        running.say("<b>talk</b>", bad.encode())
        colony.submit_workflow({"<b>node</b>": {"funcname": bad}})

    return submit


def test_what_users_submit_is_shown_as_text(page: Browser, sim: Simulation, hostile: Callable[[], None]) -> None:
    hostile()
    failed, process, _ = list(sim.world.processes)
    (graph,) = list(sim.world.graphs)
    page.sees("<img src=x")
    for address in (
        f"process/{failed}",
        f"process/{process}",
        "workflows",
        f"workflow/{graph}",
        "executors",
        "calls",
        "controls",
        "submit",
    ):
        page.run(f"location.hash = '#/{address}'")
        page.until(lambda: page.run("return document.querySelector('main h1') !== null"), address)
        assert (
            page.run("return document.querySelectorAll('main img, main script, main b b, main u, main i').length") == 0
        )
    page.run(f"location.hash = '#/process/{process}'")
    for text in ("<img src=x", "<b>key</b>", "<b>talk</b>", "<i>name</i>"):
        page.sees(text)


def test_a_page_of_another_origin_can_neither_read_nor_change(
    window: Browser, server: WebServer, sim: Simulation
) -> None:
    with WebServer(Simulation(mode="manual")) as other:
        window.open(f"{other.url}/colonysim/")
        script = """
            const [url, done] = arguments;
            const body = JSON.stringify({seconds: 3600});
            const tries = [
                fetch(url + "clock/advance", {method: "POST", body, headers: {"Content-Type": "application/json"}}),
                fetch(url + "clock/advance", {method: "POST", body, mode: "no-cors"}),
                fetch(url + "overview"),
            ];
            Promise.allSettled(tries).then((all) => done(all.map((one) => one.status)));
        """
        before = sim.now_ns
        outcomes = window.driver.execute_async_script(script, f"http://localhost:{server.port}/colonysim/")
    assert (sim.now_ns, outcomes) == (before, ["rejected"] * 3)


def test_the_page_works_with_a_token(window: Browser, sim: Simulation, kind: str) -> None:
    with WebServer(sim, kind=kind, control_token="s3cret") as server:
        window.open(f"{server.url}/colonysim/?token=s3cret")
        window.until(lambda: window.text("#live") == "live", "the stream")
        window.click(".steps button", "+1 s")
        window.sees("00:00:01", "#now")
        assert window.complaints() == []
    assert sim.now_ns == Simulation(mode="manual").now_ns + 10**9


def test_stock_identities_are_those_that_the_page_offers(page: Browser, colony: ColonyClient) -> None:
    page.click("#nav a", "Submit")
    page.until(lambda: page.find("#caller"), "the form")
    assert page.run("return document.getElementById('caller').value") == stock.USER_IDENTITY.id
