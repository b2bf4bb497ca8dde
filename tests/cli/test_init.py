"""colonysim init: files for a user's project that pass as they are, and that replace nothing."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

FILES = {"tests/conftest.py", "tests/test_worker.py", "scenarios/crashes.yaml"}


def init(*arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    words = [sys.executable, "-m", "colonysim", "init", *arguments]
    return subprocess.run(words, cwd=folder, capture_output=True, text=True, check=False)


def files(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*.*") if path.suffix in (".py", ".yaml")}


def test_what_it_writes_passes(tmp_path: Path) -> None:
    done = init(folder=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert files(tmp_path) == FILES
    assert "7 passed" in done.stdout
    assert "held        check 1: failed == 0 at the end" in done.stdout
    for name in FILES:
        text = (tmp_path / name).read_text()
        assert text.endswith("\n")
        assert max(map(len, text.splitlines())) <= 120


@pytest.mark.parametrize("name", sorted(FILES))
def test_a_file_that_is_there_is_kept_and_nothing_is_written(tmp_path: Path, name: str) -> None:
    (tmp_path / name).parent.mkdir(parents=True)
    (tmp_path / name).write_text("mine")
    done = init("--no-run", folder=tmp_path)
    assert done.returncode == 2
    assert name in done.stderr
    assert files(tmp_path) == {name}
    assert (tmp_path / name).read_text() == "mine"


def test_a_folder_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    done = init("nowhere", folder=tmp_path)
    assert done.returncode == 2
    assert "nowhere: there is no such folder" in done.stderr


def test_a_failing_test_gives_exit_code_1(tmp_path: Path) -> None:
    (tmp_path / "pytest.ini").write_text("[pytest]\naddopts = -k nothing_at_all\n")
    done = init(folder=tmp_path)
    assert done.returncode == 1
    assert files(tmp_path) == FILES
