"""A journal whose file cannot be written any more, in the user's own process."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from colonysim import ColonyClient, JournalFailed, Simulation
from colonysim.core.operations.server import Version


@pytest.fixture
def pipe(tmp_path: Path) -> Iterator[tuple[Path, int]]:
    """A file that takes what is written until its reader goes."""
    path = tmp_path / "run.jsonl"
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    yield path, reader
    try:
        os.close(reader)
    except OSError:
        pass


def test_a_simulation_goes_on_without_its_journal(pipe: tuple[Path, int], capsys: pytest.CaptureFixture[str]) -> None:
    path, reader = pipe
    sim, kept = Simulation(mode="manual", journal=path), Simulation(mode="manual", journal=True)
    os.close(reader)
    for each in (sim, kept):
        colony = ColonyClient.create(each, "c")
        for _ in range(300):  # a journal is written a few hundred lines at a time
            colony.submit("f", executortype="t")
        each.advance(10)
    assert sim.journal is not None
    assert kept.journal is not None
    trouble = f"the journal {path} cannot be written: Broken pipe; it ends after "
    assert [text[: len(trouble)] for text in sim.observers.troubles] == [trouble]
    assert capsys.readouterr().err == f"colonysim: {sim.observers.troubles[0]}\n"
    assert sim.journal.digest() == kept.journal.digest()  # of all lines, whether they could be written or not
    sim.check()
    sim.journal.close()
    assert capsys.readouterr().err == ""


def test_a_simulation_that_shall_stop_with_its_journal_answers_what_took_effect_and_no_more(
    pipe: tuple[Path, int], capsys: pytest.CaptureFixture[str]
) -> None:
    path, reader = pipe
    sim = Simulation(mode="manual", journal=path, journal_errors="stop")
    colony = ColonyClient.create(sim, "c")
    os.close(reader)
    assert sim.begin(colony.id, Version(), outside=True).answer is not None  # such an answer writes the journal
    assert "the server refuses requests" in capsys.readouterr().err
    before = sim.snapshot()
    for act in (
        lambda: colony.submit("f", executortype="t"),
        lambda: sim.begin(colony.id, Version(), outside=True),
        lambda: sim.advance(1),
        lambda: sim.run_until_idle(10),
    ):
        with pytest.raises(JournalFailed, match="the server refuses requests"):
            act()
    assert sim.snapshot() == before
    fork = sim.fork()  # what the simulation holds can be saved and looked at
    fork.advance(1)


def test_a_journal_that_fails_at_the_end_is_told_and_not_raised(
    pipe: tuple[Path, int], capsys: pytest.CaptureFixture[str]
) -> None:
    path, reader = pipe
    sim = Simulation(mode="manual", journal=path)
    ColonyClient.create(sim, "c")
    os.close(reader)
    assert sim.journal is not None
    sim.journal.close()
    assert "cannot be written: Broken pipe" in capsys.readouterr().err
    assert len(sim.observers.troubles) == 1


@pytest.mark.parametrize("path", ["/dev/full", "/nowhere/run.jsonl", "."])
def test_a_journal_that_cannot_be_begun_is_an_error_of_the_simulation(path: str) -> None:
    with pytest.raises(OSError):
        Simulation(journal=path)


def test_only_known_ways_to_take_an_error_are_taken() -> None:
    with pytest.raises(ValueError, match="maybe"):
        Simulation(journal=True, journal_errors="maybe")
