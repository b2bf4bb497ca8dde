"""The page docs/coverage.md is what `colonysim coverage` says today."""

from __future__ import annotations

from pathlib import Path

from colonysim.conformance import coverage
from colonysim.conformance.player import CASES

ROOT = Path(__file__).parent.parent.parent


def test_the_page_is_current() -> None:
    """Made anew by: colonysim coverage --markdown > docs/coverage.md"""
    rows = coverage.measure([CASES])
    assert (ROOT / "docs" / "coverage.md").read_text() == coverage.as_markdown(rows)


def test_every_message_type_is_in_a_passing_case() -> None:
    rows = coverage.measure([CASES])
    assert [row.type for row in rows if not row.cases] == []
