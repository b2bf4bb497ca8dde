"""LIKE patterns: their meaning against the plainest reference, and their cost in steps."""

from __future__ import annotations

import re
from functools import cache

import pytest
from hypothesis import given
from hypothesis import strategies as st

from colonysim import ColonyClient, Simulation
from colonysim.core.like import Like
from colonysim.core.operations.files import AddFile, GetFileLabels
from colonysim.core.operations.logs import SearchLogs
from colonysim.core.types import FileSpec
from tests.steps import steps


def _plainly(pattern: str, text: str) -> bool:
    """The definition, case by case; remembers what it has looked at, so that it ends."""

    @cache
    def covers(at: int, place: int) -> bool:
        if at == len(pattern):
            return place == len(text)
        char = pattern[at]
        if char == "%":
            return covers(at + 1, place) or (place < len(text) and covers(at, place + 1))
        if char == "\\":
            if at + 1 == len(pattern):
                return place == len(text)
            return place < len(text) and text[place] == pattern[at + 1] and covers(at + 2, place + 1)
        return place < len(text) and char in ("_", text[place]) and covers(at + 1, place + 1)

    return covers(0, 0)


def _as_expression(pattern: str) -> re.Pattern[str]:
    parts = re.findall(r"\\.|\\\Z|.", pattern, re.DOTALL)
    plain = {"%": ".*", "_": ".", "\\": ""}
    return re.compile("".join(plain.get(p) or (re.escape(p[-1]) if p != "\\" else "") for p in parts), re.DOTALL)


_CHARS = "ab%_\\\n\U0001f600"


@given(st.text(_CHARS, max_size=12), st.text(_CHARS, max_size=14))
def test_a_pattern_means_what_its_definition_says(pattern: str, text: str) -> None:
    found = Like(pattern).matches(text)
    assert found == _plainly(pattern, text)
    assert found == (_as_expression(pattern).fullmatch(text) is not None)


@given(st.text("ab", max_size=40), st.data())
def test_a_pattern_made_from_a_text_matches_it(text: str, data: st.DataObject) -> None:
    parts = []
    at = 0
    while at < len(text):
        length = data.draw(st.integers(0, 4))
        if length == 0:
            parts.append(data.draw(st.sampled_from(["_", text[at], "\\" + text[at]])))
            at += 1
        else:
            parts.append("%")
            at += length
    assert Like("".join(parts)).matches(text)


@pytest.mark.parametrize(
    ("pattern", "text", "found"),
    [
        ("", "", True), ("", "a", False), ("%", "", True), ("_", "", False), ("_", "\n", True), ("a%b", "a\nb", True),
        ("_", "\U0001f600", True), ("__", "\U0001f600", False), ("A", "a", False), (r"100\%", "100%", True),
        (r"100\%", "1000", False), (r"a\\b", r"a\b", True), (r"\_", "_", True), (r"\_", "x", False), ("é", "e\u0301", False),
        ("%_%", "", False), ("a%a", "a", False), ("%a_a%", "bbaxa", True), ("ab%_", "ab", False), (r"\a", "a", True),
    ],
)  # fmt: skip
def test_wildcards_escapes_and_what_counts_as_one_character(pattern: str, text: str, found: bool) -> None:
    assert Like(pattern).matches(text) is found


@pytest.mark.parametrize("hard", ["%a", "%_a", "%a_a", "%a%_", "%__", "_a", "a_", "%aaaa_a"])
@pytest.mark.parametrize("end", ["b", "%b", "_b%", "c%"])
def test_steps_grow_as_pattern_and_text_do(hard: str, end: str) -> None:
    """Matching by trial would take longer than the universe has; trying each place would take size times as long."""
    costs = [steps(lambda size=size: Like(hard * size + end).matches("a" * 4 * size)) for size in (100, 800)]
    assert costs[1] <= 8.5 * costs[0]


def test_a_long_search_among_long_texts_takes_steps_as_its_parts_are_long() -> None:
    pattern, text = Like("%" + "a_" * 2000 + "b%"), "a" * 8000
    assert steps(lambda: pattern.matches(text)) <= 4 * (4000 + 8000)


def test_a_search_with_many_wildcards_is_answered(sim: Simulation, colony: ColonyClient) -> None:
    """In the lines of a log, and in the labels of files."""
    executor = colony.add_executor()
    colony.submit("f")
    process = executor.assign()
    assert process is not None
    process.log("a" * 100)
    search = SearchLogs(colonyname="c", text="%a" * 30 + "b", days=1, count=10)
    assert executor.ask(search) is None
    label = "/" + "a" * 100
    executor.ask(AddFile(file=FileSpec(colonyname="c", label=label, name="f", checksum="1", checksumalg="SHA256")))
    assert not executor.ask(GetFileLabels(colonyname="c", name="/" + "%a" * 30 + "b"))
    assert len(executor.ask(GetFileLabels(colonyname="c", name="/" + "%a" * 30))) == 1
