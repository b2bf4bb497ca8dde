"""The id of a test or of a wider scope: the same whatever options and folder pytest is called with.

The ids of pytest begin at its root folder, which it finds from the arguments of the call: even the path of an option
may change it. Those here begin at the project of the test file, and seeds and the folders of artifacts come from them.
"""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path
from typing import Final

import pytest

_PROJECT_FILES: Final = (
    "pyproject.toml", "pytest.toml", ".pytest.toml", "pytest.ini", ".pytest.ini", "tox.ini", "setup.cfg", "setup.py",
    ".git", ".hg",
)  # fmt: skip
SESSION: Final = "session"
"""The id of the whole session."""


def id_of(node: pytest.Item | pytest.Collector) -> str:
    """Return the id of a test, class, module or session, such as `tests/test_f.py::test_it`."""
    if isinstance(node, pytest.Session):
        return SESSION
    within = node.nodeid.partition("::")[2]
    path = node.path.relative_to(_project_of(node.path)).as_posix()
    return f"{path}::{within}" if within else path


def seed_of(test_id: str) -> int:
    """Return the default seed of a test, made from its id."""
    return int.from_bytes(hashlib.sha256(test_id.encode()).digest()[:4])


def folder_of(folder: Path, test_id: str) -> Path:
    """Return the folder for the artifacts of one test."""
    return folder / "".join(char if char.isalnum() or char in "-_." else "_" for char in test_id)


@cache
def _project_of(path: Path) -> Path:
    """Return the nearest folder above a file that is a project's; without one, the first that is no package's."""
    for folder in path.parents:
        if any((folder / name).exists() for name in _PROJECT_FILES):
            return folder
    return next((folder for folder in path.parents if not (folder / "__init__.py").exists()), path.parent)
