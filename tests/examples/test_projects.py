"""The example projects: the commands of each README, word for word, in a copy of its folder.

With NODE_REQUIRED in the environment those in JavaScript and TypeScript fail without Node and npm instead of being skipped:
so does `.ci/run`, which installs both. npm gets packages from its registry, as pip does.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from .following import Type, environment, run, steps

ROOT = Path(__file__).parent.parent.parent / "examples"
PROJECTS = sorted(path.parent for path in ROOT.glob("*/README.md"))
REQUIRED = bool(os.environ.get("NODE_REQUIRED"))


@pytest.mark.parametrize("project", PROJECTS, ids=lambda path: path.name)
def test_each_command_of_an_example_succeeds(project: Path, tmp_path: Path) -> None:
    commands = [step.command for step in steps((project / "README.md").read_text(encoding="utf-8")) if isinstance(step, Type)]
    assert commands != []
    for tool, package in (("node", "nodejs"), ("npm", "npm")):
        if any(command.startswith(f"{tool} ") for command in commands) and shutil.which(tool) is None:
            reason = f"there is no `{tool}`: apt-get install {package}"
            pytest.fail(f"NODE_REQUIRED is set, but {reason}", pytrace=False) if REQUIRED else pytest.skip(reason)
    copy = shutil.copytree(project, tmp_path / project.name, ignore=shutil.ignore_patterns("node_modules", "build"))
    for command in commands:
        status, printed = run(command, copy, environment(tmp_path))
        assert status == 0, f"{command}\n{printed}"


def test_the_index_of_examples_lists_each() -> None:
    index = (ROOT / "README.md").read_text(encoding="utf-8")
    assert [f"({project.name}/README.md)" in index for project in PROJECTS] == [True] * 6
    assert {path.name for path in ROOT.iterdir()} == {"README.md", *(project.name for project in PROJECTS)}
