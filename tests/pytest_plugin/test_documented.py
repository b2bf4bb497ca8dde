"""docs/fixtures.md lists every fixture with its scope, every argument of the marker and every option."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from colonysim.core.settings import Settings
from colonysim.pytest_plugin import marker, options

PAGE = (Path(__file__).parents[2] / "docs" / "fixtures.md").read_text(encoding="utf-8")


def rows(heading: str) -> list[list[str]]:
    """The cells of the rows of the table below a heading."""
    section = PAGE.partition(f"## {heading}\n")[2].partition("\n## ")[0]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in section.splitlines() if line[:3] == "| `"]


def names(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


def test_each_fixture_is_listed_with_its_scope(pytester: pytest.Pytester) -> None:
    printed = pytester.runpytest("--fixtures", "-p", "no:cacheprovider").outlines
    mine = [line for line in printed if "colonysim/pytest_plugin/fixtures.py" in line.replace("\\", "/")]
    found = [re.match(r"(\w+)(?: \[(\w+) scope\])? --", line) for line in mine]
    assert {one[1]: one[2] or "function" for one in found if one} == {
        name: scope for cell, scope, _ in rows("Fixtures") for name in names(cell)
    }


def test_each_argument_of_the_marker_is_listed_once() -> None:
    listed = [names(cell)[0] for cell, _ in rows("The marker")]
    assert sorted(listed) == sorted((*marker.OF_TESTS, *marker.of_simulation()))
    examples = re.findall(r"`(\w+)=\"", PAGE.partition("Further keywords")[2].partition("## ")[0])
    assert examples == [name for name in examples if name in Settings.__struct_fields__] != []


def test_each_option_is_listed_with_its_ini_key_and_variable() -> None:
    listed = {names(first)[0].split()[0]: names(second)[:2] for first, second, _ in rows("Options")}
    assert listed == {
        f"--colonysim-{name.replace('_', '-')}": [f"colonysim_{name}", f"COLONYSIM_{name.upper()}"]
        for name in options.OPTIONS
    }
