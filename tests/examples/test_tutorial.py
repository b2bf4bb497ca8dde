"""Documents word for word: their files are saved, their commands typed, and what they show is what is printed."""

from __future__ import annotations

from pathlib import Path

import pytest

from .following import Save, Type, environment, missing, run, steps

ROOT = Path(__file__).parent.parent.parent
TUTORIAL = ROOT / "docs" / "tutorial.md"
FAILING = ROOT / "docs" / "failing-test.md"


@pytest.mark.parametrize(("document", "commands"), [(TUTORIAL, 5), (FAILING, 6)], ids=["tutorial", "failing test"])
def test_a_reader_who_follows_a_document_sees_what_it_shows(document: Path, commands: int, tmp_path: Path) -> None:
    project = tmp_path / "project"
    project.mkdir()
    variables = environment(tmp_path)
    typed = 0
    for step in steps(document.read_text(encoding="utf-8")):
        if isinstance(step, Save):
            (project / step.name).write_text(step.text, encoding="utf-8")
            continue
        status, printed = run(step.command, project, variables)
        assert (status != 0) is step.fails, printed
        assert missing(step.shown, printed) is None, printed
        typed += 1
    assert typed == commands


def test_the_reader_is_told_to_save_files_and_to_see_two_tests_fail() -> None:
    found = list(steps(TUTORIAL.read_text(encoding="utf-8")))
    assert {step.name for step in found if isinstance(step, Save)} == {
        "squarer.py",
        "test_squarer.py",
        "test_faults.py",
        "test_storm.py",
    }
    assert sum(step.fails for step in found if isinstance(step, Type)) == 2


@pytest.mark.parametrize(
    ("shown", "line"),
    [
        (["one", "…", "three"], None),
        (["o…e", "two"], None),
        (["two", "one"], "one"),
        (["one", "two 2"], "two 2"),
        (["on"], "on"),
    ],
)
def test_a_line_that_was_not_printed_is_found(shown: list[str], line: str | None) -> None:
    assert missing(shown, "one\ntwo\nthree\n") == line
