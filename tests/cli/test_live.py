"""colonysim run --live: the page of a scenario while it runs, and afterwards."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import requests

from tests.cli.test_run import COMMAND, ENVIRONMENT, SCENARIO, run


@pytest.fixture
def scenario(tmp_path: Path) -> Path:
    path = tmp_path / "small.yaml"
    path.write_text(SCENARIO)
    return path


@contextmanager
def live(*words: object) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A run with its page, and the address of that."""
    command = [*COMMAND, "run", *map(str, words), "--live"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=ENVIRONMENT) as done:
        try:
            assert done.stderr is not None
            line = done.stderr.readline()
            assert line.startswith("live at http://"), line + done.stderr.read()
            yield done, line.split()[2]
        finally:
            done.kill()


def digest(text: str) -> str:
    (line,) = (line for line in text.splitlines() if line.startswith("  digest"))
    return line.split()[1]


def test_a_run_is_seen_under_way_and_cannot_be_changed(scenario: Path) -> None:
    with live(scenario, "--rate", 5) as (_, url):
        seen: set[int] = set()
        while len(seen) < 3:  # of 30, one each 0.8 s
            overview = requests.get(f"{url}overview").json()
            assert overview["read_only"].startswith("a scenario runs here")
            seen.add(requests.get(f"{url}tables/processes").json()["total"])
            refused = requests.post(f"{url}reset")
            assert (refused.status_code, refused.json()["error"]) == (409, overview["read_only"])
        assert max(seen) < 30
        assert "<script" in requests.get(url).text


def test_the_page_keeps_the_end_and_the_result_is_that_of_any_run(scenario: Path) -> None:
    with live(scenario, "--rate", 1e6) as (done, url):
        assert done.stderr is not None
        assert done.stdout is not None
        assert done.stderr.readline() == "the page shows the end of the run until Ctrl-C\n"
        assert requests.get(f"{url}tables/processes?state=success").json()["total"] == 30
        assert requests.post(f"{url}clock/advance", json={"seconds": 1}).status_code == 200
        done.send_signal(signal.SIGINT)
        printed = done.stdout.read()
        assert done.wait(60) == 0
    assert digest(printed) == digest(run("run", scenario).stdout)


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["--rate", 5], "--rate needs --live: without the page it has no effect"),
        (["--port", 5], "--port needs --live: without the page it has no effect"),
        (["--live", "--dry-run"], "--live has no effect with --dry-run"),
        (["--live", "--check-determinism"], "--live has no effect with --check-determinism"),
        (["--live", "--rate", 0], "greater than or equal to 0.001"),
        (["--live", "--set", "programs=[{name: p, code: 'p.py:p'}]"], "--live shows no scenario with programs"),
    ],
)
def test_options_that_have_no_effect_are_refused(scenario: Path, words: list[object], text: str) -> None:
    (scenario.parent / "p.py").write_text("def p(): pass\n")
    done = run("run", scenario, *words)
    assert done.returncode == 2
    assert text in done.stderr
