"""Citations of docs/protocol: each one names a page and sections that are there, in the one form that is used."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGES = {path.name: path for path in (ROOT / "docs" / "protocol").glob("*.md") if path.name != "README.md"}
FOLDERS = ("colonysim", "tests", "benchmarks", "scenarios")
CITING = sorted({path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py")} - {Path(__file__)})
CITATION = re.compile(r"docs/protocol/([\w-]+\.md) (\d+(?:\.\d+)?(?:(?:, | to | and )\d+(?:\.\d+)?)*)")
MENTION = re.compile(r"docs/protocol/[\w-]+\.md")
SHORT = re.compile(r"(?<![\w/-])(?:" + "|".join(name.removesuffix(".md") for name in PAGES) + r")(?:\.md)? \d")
HEADING = re.compile(r"^#{2,3} (\d+(?:\.\d+)?)\.? ", re.M)


def sections(page: str) -> list[str]:
    return HEADING.findall(PAGES[page].read_text(encoding="utf-8"))


def flaws(text: str) -> list[str]:
    """What is wrong with the citations in a text."""
    found = [f"{short[0]}… is not written as docs/protocol/PAGE.md SECTION" for short in SHORT.finditer(text)]
    good = list(CITATION.finditer(text))
    if len(good) != len(MENTION.findall(text)):
        found.append("a page is named without a section")
    for page, numbers in (match.groups() for match in good):
        if page not in PAGES:
            found.append(f"docs/protocol/{page} is not there")
        else:
            cited = re.findall(r"\d+(?:\.\d+)?", numbers)
            found += [
                f"docs/protocol/{page} has no section {number}" for number in cited if number not in sections(page)
            ]
    return found


def test_the_pages_are_there() -> None:
    assert {"a-foundation.md", "b-processes.md", "c-workflows.md", "d-realtime-and-data.md", "corners.md"} == set(PAGES)


@pytest.mark.parametrize("page", sorted(PAGES))
def test_no_section_number_of_a_page_is_used_twice(page: str) -> None:
    assert len(set(sections(page))) == len(sections(page)) > 5


def test_every_citation_leads_to_a_section() -> None:
    wrong = {
        path.relative_to(ROOT).as_posix(): found
        for path in CITING
        if (found := flaws(path.read_text(encoding="utf-8")))
    }
    assert wrong == {}


def test_the_core_cites_its_sources() -> None:
    """A change of the form that this test looks for would make it empty."""
    assert sum(len(CITATION.findall(path.read_text(encoding="utf-8"))) for path in CITING) > 100


@pytest.mark.parametrize(
    ("text", "flaw"),
    [
        ("docs/protocol/b-processes.md 5.99", "has no section 5.99"),
        ("docs/protocol/b-processes.md 4.3, 77", "has no section 77"),
        ("docs/protocol/b-processes.md 4.3 to 4.40", "has no section 4.40"),
        ("docs/protocol/e-nothing.md 1", "e-nothing.md is not there"),
        ("docs/protocol/b-processes.md", "named without a section"),
        ("by b-processes 4.3", "is not written as"),
        ("by corners.md 4", "is not written as"),
    ],
)
def test_a_wrong_citation_is_found(text: str, flaw: str) -> None:
    (found,) = flaws(text)
    assert flaw in found
