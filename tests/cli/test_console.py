"""Tables in terminals of any width: no figure is cut."""

from __future__ import annotations

from io import StringIO

import pytest
from rich.console import Console

from colonysim.cli import console
from colonysim.core.settings import describe

HEADS = ("policy", "runs", "waiting, mean", "turnaround, mean")
ROWS = [("reference", "2 ok", "9.73 ± 47.6 s", "69.9 ± 109 s"), ("fair", "1 of 2 FAILED", "10.2 ± 54.5 s", "n/a")]


def printed(monkeypatch: pytest.MonkeyPatch, width: int) -> str:
    text = StringIO()
    monkeypatch.setattr(console, "out", Console(file=text, width=width, soft_wrap=True, highlight=False, markup=False))
    console.print_table(HEADS, ROWS, "means of 2 seeds")
    return text.getvalue()


@pytest.mark.parametrize("width", [20, 40, 57, 58, 59, 60, 61, 80, 160])
def test_every_cell_is_whole_at_every_width(monkeypatch: pytest.MonkeyPatch, width: int) -> None:
    lines = printed(monkeypatch, width).splitlines()
    assert lines[0] == "means of 2 seeds"
    for row in ROWS:
        for cell in row:
            assert any(cell in line for line in lines), cell


def test_a_wide_terminal_gets_a_table_and_a_narrow_one_a_block_for_each_row(monkeypatch: pytest.MonkeyPatch) -> None:
    assert len(printed(monkeypatch, 80).splitlines()) == 4
    assert printed(monkeypatch, 50).splitlines()[1:5] == [
        "policy reference",
        "  runs              2 ok",
        "  waiting, mean     9.73 ± 47.6 s",
        "  turnaround, mean  69.9 ± 109 s",
    ]


def test_every_setting_has_a_meaning_and_says_what_it_takes() -> None:
    assert [setting.name for setting in describe() if not (setting.values and setting.meaning)] == []
