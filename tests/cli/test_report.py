"""The command that makes the HTML report of a journal."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from colonysim import ColonyClient, Simulation

from .test_main import run


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    path = tmp_path / "run.jsonl"
    sim = Simulation(mode="manual", seed=5, journal=path)
    colony = ColonyClient.create(sim, "lab")
    executor = colony.add_executor("cli", "ann")
    for error in ("disk full", ""):
        colony.submit("train", executortype="cli")
        sim.advance(3)
        taken = executor.assign()
        assert taken is not None
        sim.advance(2)
        taken.fail(error) if error else taken.close()
    assert sim.journal is not None
    sim.journal.close()
    return path


def data_of(path: Path) -> Any:
    return json.loads(re.findall(r'id="data">(.*?)</script>', path.read_text("utf-8"), re.DOTALL)[0])


def test_a_journal_becomes_a_report_beside_it(journal: Path) -> None:
    done = run("report", journal)
    assert done.returncode == 0, done.stderr
    data = data_of(journal.with_suffix(".html"))
    assert (data["name"], data["seed"], data["failures"]) == ("run", 5, [])
    (failed,) = data["failed_processes"]["shown"]
    assert (failed["function"], failed["executor"], failed["error"]) == ("train", "ann", "disk full")
    assert data["summary"]["waiting_s"]["max"] == 3.0
    assert data["command"] == f"colonysim replay {journal}"
    (row,) = data["executors"]["rows"]
    assert (row["name"], row["busy"]) == ("ann", 0.4)


def test_a_report_of_a_part_says_so_and_goes_where_it_is_asked_for(journal: Path, tmp_path: Path) -> None:
    lines = journal.read_text("utf-8").splitlines()
    until = next(number for number, line in enumerate(lines, 1) if "closefailedmsg" in line) - 1
    done = run("report", journal, "-o", tmp_path / "part.html", "--until", str(until))
    assert done.returncode == 0, done.stderr
    data = data_of(tmp_path / "part.html")
    assert data["failed_processes"]["total"] == 0
    assert f"the first {until} lines" in data["about"]
    assert data["command"].endswith(f"--until {until}")


def test_a_broken_invariant_of_the_recording_is_in_the_report(journal: Path) -> None:
    sim = Simulation(mode="manual", journal=journal)
    colony = ColonyClient.create(sim, "lab")
    process = colony.submit("f")
    del sim.world.processes[process.id]
    with pytest.raises(Exception, match="lost or doubled"):
        colony.submit("g")
    assert sim.journal is not None
    sim.journal.close()
    done = run("report", journal)
    assert (done.returncode, "differs" in done.stderr) == (1, True)  # a replay keeps its tables whole
    assert not journal.with_suffix(".html").exists()
    found = re.search(r"--until (\d+)", done.stderr)
    assert found is not None
    assert run("report", journal, "--until", found[1]).returncode == 0


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "not a colonysim journal"),
        ("{}\n", "not a colonysim journal"),
        (None, "No such file"),
    ],
)
def test_what_is_no_journal_is_refused(tmp_path: Path, text: str | None, words: str) -> None:
    path = tmp_path / "x.jsonl"
    if text is not None:
        path.write_text(text)
    done = run("report", path)
    assert (done.returncode, words in done.stderr) == (2, True), done.stderr
    assert not path.with_suffix(".html").exists()


def test_a_journal_with_nothing_in_it_and_one_cut_short_say_so(journal: Path) -> None:
    whole = journal.read_text("utf-8")
    journal.write_text(whole.splitlines()[0] + "\n")
    done = run("report", journal)
    assert (done.returncode, "only a header" in done.stderr) == (2, True)
    journal.write_text(whole[:-5])
    done = run("report", journal)
    assert (done.returncode, "incomplete" in done.stderr) == (2, True)


def test_a_report_overwrites_no_journal(journal: Path, tmp_path: Path) -> None:
    before = journal.read_bytes()
    done = run("report", journal, "-o", journal)
    assert (done.returncode, "would overwrite an input" in done.stderr) == (2, True)
    assert run("report", journal, "-o", tmp_path).returncode == 2
    assert journal.read_bytes() == before
