"""What the page changes: submit, approve, pause, snapshots, reset; and that it can be done by keyboard."""

from __future__ import annotations

from colonysim import ColonyClient, Simulation
from colonysim.core.records import APPROVED, REJECTED
from tests.browser.driving import Browser


def test_a_function_is_submitted_by_a_form(page: Browser, sim: Simulation, colony: ColonyClient) -> None:
    page.click("#nav a", "Submit")
    page.type("#funcname", "train")
    page.type("#executortype", "gpu")
    page.type("#args", '["resnet", {"epochs": 3}]')
    page.type("#kwargs", '{"fast": true}')
    page.click("main summary", "Limits")
    page.type("#priority", "4")
    page.type("#maxexectime", "60")
    page.type("#executornames", "a, b")
    page.click("main button", "Submit the function")
    page.sees("Why it waits")
    (process,) = sim.world.processes.values()
    spec = process.spec
    assert (spec.funcname, spec.args, spec.kwargs) == ("train", ["resnet", {"epochs": 3}], {"fast": True})
    assert (spec.priority, spec.maxexectime, spec.maxwaittime, spec.maxretries) == (4, 60, -1, -1)
    assert (spec.conditions.executortype, spec.conditions.executornames) == ("gpu", ["a", "b"])


def test_a_mistake_in_a_form_is_told_and_nothing_is_lost(page: Browser, sim: Simulation) -> None:
    page.click("#nav a", "Submit")
    page.type("#funcname", "train")
    page.type("#executortype", "gpu")
    page.type("#args", '{"not": "a list"}')
    page.click("main button", "Submit the function")
    page.sees("Arguments: expected a list", "#note.error")
    assert page.find("#funcname").get_attribute("value") == "train"
    assert page.text("#status") == "" or "Arguments" in page.run("return document.getElementById('status').textContent")
    assert not sim.world.processes


def test_executors_are_approved_and_rejected(page: Browser, sim: Simulation, colony: ColonyClient) -> None:
    colony.add_executor("cli", "ann", approve=False)
    page.click("#nav a", "Executors")
    page.click("main button", "Approve")
    page.sees("Approved", "main table")
    assert sim.world.executors["dev", "ann"].state == APPROVED
    page.click("main button", "Reject")
    page.sees("Rejected", "main table")
    assert sim.world.executors["dev", "ann"].state == REJECTED


def test_assignments_are_paused_and_go_on(page: Browser, sim: Simulation) -> None:
    page.click("#nav a", "Controls")
    page.click("main td button", "Pause")
    page.sees("Paused: resume")
    assert list(sim.world.paused) == ["dev"]
    page.click("main td button", "Paused")
    page.until(lambda: not sim.world.paused, "assignments go on")


def test_snapshots_are_taken_and_restored_and_the_server_reset(
    page: Browser, sim: Simulation, colony: ColonyClient
) -> None:
    colony.submit("first")
    page.click("#nav a", "Controls")
    page.type("#snapshot", "one process")
    page.click("main button", "Take a snapshot")
    page.sees("one process", "main .list")
    colony.submit("second")
    page.click("main .list button", "Restore")
    page.until(lambda: [one.spec.funcname for one in sim.world.processes.values()] == ["first"], "the snapshot")
    page.type("#seed", "42")
    page.click("main button", "Reset")
    page.sees("The seed is 42.")
    assert (sim.settings.seed, len(sim.world.processes)) == (42, 0)


def test_a_refusal_of_the_server_is_shown(page: Browser, sim: Simulation, colony: ColonyClient) -> None:
    page.click(".steps button", "Next event")
    page.sees("no event is due", "#note.error")
    assert all("status of 409" in line for line in page.complaints())
    page.click("#note button")
    assert page.driver.find_elements("css selector", "#note") == []


def test_everything_is_reached_by_keyboard(page: Browser, colony: ColonyClient) -> None:
    from selenium.webdriver.common.keys import Keys

    process = colony.submit("f")
    page.sees("1–1 of 1")
    body = page.find("body")
    seen: list[str] = []
    for _ in range(60):
        body.send_keys(Keys.TAB)
        script = "const e = document.activeElement; return e.title || e.textContent.trim() || e.id || e.className"
        seen.append(page.run(script))
        if seen[-1] == process.id:
            break
        body = page.driver.switch_to.active_element
    assert seen[0] == "Skip to the content"
    assert {"Processes", "Faults", "Resume", "search", process.id} <= set(seen)
    page.driver.switch_to.active_element.send_keys(Keys.ENTER)
    page.sees("Why it waits")
    assert page.run("return document.activeElement.id") == "main"
    assert page.driver.title == "f · colonysim"
