"""The HTML report in a browser: complete, accessible, no wider than the window."""

from __future__ import annotations

from pathlib import Path

import pytest
from msgspec.structs import replace

from colonysim import ColonyClient, WebServer
from colonysim.experiments import report
from colonysim.scenarios.runner import Run
from tests.browser.driving import WIDTHS, Browser
from tests.scenarios.test_runner import FAULTS, SMALL


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = Run(replace(SMALL, faults=tuple(FAULTS), name="a-name-without-a-blank-" * 5, about="<b>not bold</b>"), 2)
    run.execute()
    path = tmp_path_factory.mktemp("report") / "report.html"
    report.write_html(run, path, "colonysim run " + "folder/" * 40 + "a.yaml --seed 2")
    return path


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", sorted(WIDTHS))
def test_a_report_has_no_fault_that_axe_finds_and_is_not_wider_than_the_window(
    window: Browser, path: Path, width: int, scheme: str
) -> None:
    window.look_like(width, scheme)
    window.open(path.as_uri())
    assert window.complaints() == []
    for details in window.driver.find_elements("css selector", "details"):
        window.run("arguments[0].open = true", details)
    assert window.violations() == []
    assert window.run("return document.documentElement.scrollWidth") == width


def test_a_report_shows_what_failed_before_everything_else_and_explains_its_figures(
    window: Browser, path: Path
) -> None:
    window.open(path.as_uri())
    titles = [one.text for one in window.driver.find_elements("css selector", "h2")]
    wanted = ["Why processes ended without success", "Failed processes", "Requests", "Queue and running processes"]
    assert [title for title in titles if title in wanted] == wanted
    text = window.text("#page")
    assert "<b>not bold</b>" in text
    assert "assignprocessmsg, waiting for a process" in text
    assert "left behind by executors that crashed or gave up" in text


def test_the_page_says_why_processes_failed_and_opens_the_report_of_the_server(
    page: Browser, server: WebServer, colony: ColonyClient
) -> None:
    executor = colony.add_executor("cli", "ann")
    page.click("#nav a", "Failures")
    page.sees("No process has ended without success.")
    for error in ("disk full", "<b>no GPU</b>"):
        colony.submit("train", executortype="cli")
        taken = executor.assign()
        assert taken is not None
        taken.fail(error)
    page.sees("2 processes ended without success")
    page.sees("<b>no GPU</b> 1 ×")
    page.click("summary", "train")
    page.sees("RUNNING → FAILED close by ann")
    page.click("main a", "All about this process")
    page.sees("disk full", "main")
    page.click("#nav a", "Failures")
    address = page.until(lambda: page.find("a.button").get_attribute("href"), "the link to the report")
    page.open(address)
    page.sees("Failed processes", "#page")
    assert "2 processes failed or were cancelled." in page.text("#page")
    assert page.violations() == []
