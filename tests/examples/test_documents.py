"""Every Python example of the documents does what it says.

Blocks marked ```python are run: those that define tests by pytest, each in a file of its own; the others one after
the other, as they are read, in one namespace for each document, in a folder that holds the shipped scenarios. Blocks
that begin with the name of a file, `# name.py`, are files that readers save: test_tutorial.py follows these documents.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from .following import NAMED

ROOT = Path(__file__).parent.parent.parent
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(r"^```python\n(.*?)^```", re.S | re.M)
IS_TEST = re.compile(r"^(def test_|class Test|Test\w+ = )", re.M)


def blocks(document: Path) -> list[tuple[int, str]]:
    """The blocks with the number of the line before each."""
    text = document.read_text(encoding="utf-8")
    return [(text.count("\n", 0, found.start(1)), found[1]) for found in BLOCK.finditer(text) if not NAMED.match(found[1])]


def of_kind(is_test: bool) -> list[Path]:
    return [d for d in DOCUMENTS if any(bool(IS_TEST.search(block)) is is_test for _, block in blocks(d))]


def test_there_are_examples() -> None:
    assert of_kind(True) != []
    assert of_kind(False) != []


@pytest.mark.parametrize("document", of_kind(False), ids=lambda path: path.name)
def test_examples_run(document: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(ROOT / "scenarios", tmp_path / "scenarios")
    monkeypatch.chdir(tmp_path)
    namespace: dict[str, Any] = {"__name__": "__main__"}
    for line, block in blocks(document):
        if not IS_TEST.search(block):
            exec(compile("\n" * line + block, str(document), "exec", dont_inherit=True), namespace)


UNHURRIED = "from hypothesis import settings\nsettings.register_profile('x', deadline=None, derandomize=True)\nsettings.load_profile('x')\n"


@pytest.mark.parametrize("document", of_kind(True), ids=lambda path: path.name)
def test_examples_that_are_tests_pass(document: Path, pytester: pytest.Pytester) -> None:
    pytester.makeconftest(UNHURRIED)
    for line, block in blocks(document):
        if IS_TEST.search(block):
            pytester.path.joinpath(f"test_line_{line}.py").write_text(block, encoding="utf-8")
    result = pytester.runpytest_subprocess("-p", "no:randomly", "-p", "no:cacheprovider")
    assert result.ret == pytest.ExitCode.OK
