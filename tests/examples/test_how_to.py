"""The how-to pages, word for word: their files are saved, their commands typed, and what they show is what is printed."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
import yaml

from .following import BLOCK, NAMED, Save, Type, environment, missing, run, steps

ROOT = Path(__file__).parent.parent.parent
PAGES = sorted((ROOT / "docs" / "how-to").glob("*.md"))
FENCE = re.compile(r"^```(\w+)$", re.M)
NOT_RUN = {"other-languages.md": ["json", "go", "julia", "rust"]}
"""Kinds of blocks that a page says are not run."""


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_reader_who_follows_a_how_to_sees_what_it_shows(page: Path, tmp_path: Path) -> None:
    project = tmp_path / "project"
    project.mkdir()
    variables = environment(tmp_path)
    for step in steps(page.read_text(encoding="utf-8")):
        if isinstance(step, Save):
            path = project / step.name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(step.text, encoding="utf-8")
            continue
        if step.command.startswith("bash ") and shutil.which("curl") is None:
            pytest.skip("there is no `curl`: apt-get install curl")
        status, printed = run(step.command, project, variables)
        assert (status != 0) is step.fails, f"{step.command}\n{printed}"
        assert missing(step.shown, printed) is None, f"{step.command}\n{printed}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_each_block_of_a_how_to_is_a_file_or_a_command(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    blocks = BLOCK.findall(text)
    assert [kind for kind in FENCE.findall(text) if kind not in NOT_RUN.get(page.name, ())] == [kind for kind, _ in blocks]
    assert [block for kind, block in blocks if kind != "console" and not NAMED.match(block)] == []
    assert [step for step in steps(text) if isinstance(step, Type)] != []


def test_the_workflow_for_ci_is_one_that_keeps_the_artifacts_of_failures() -> None:
    page = (ROOT / "docs" / "how-to" / "ci.md").read_text(encoding="utf-8")
    (text,) = (step.text for step in steps(page) if isinstance(step, Save) and step.name.endswith(".yml"))
    *_, tests, kept = yaml.safe_load(text)["jobs"]["tests"]["steps"]
    assert "--colonysim-artifacts=artifacts" in tests["run"]
    assert (kept["if"], kept["with"]["path"]) == ("failure()", "artifacts")
