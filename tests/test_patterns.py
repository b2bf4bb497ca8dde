"""No regular expression of the package takes more than linear time, whatever text it is given.

Python's engine tries again from each place to which it can step back. That takes linear time where each character
can be read in one way only: then it learns at once that the other ways fail. A search begins anew at each place, so a
repeat that something must follow should not run over places where the pattern can begin. Both rules are checked on
the parsed patterns; nothing is timed here.
"""

from __future__ import annotations

import importlib
import pkgutil
import re
from collections.abc import Iterator
from pathlib import Path
from re import _constants as sre  # type: ignore[attr-defined]
from re import _parser  # type: ignore[attr-defined]
from typing import Any, NamedTuple

import pytest

import colonysim

_PACKAGE = Path(colonysim.__file__).parent
_ALPHABET = [*map(chr, range(256)), "\u2028", "\u3000", "\ud800", "\udbff", "\udc00", "\udfff", "é"]
_REPEATS = (sre.MAX_REPEAT, sre.MIN_REPEAT, sre.POSSESSIVE_REPEAT)
_LONGEST_BOUNDED = 400  # a pattern that takes no longer text than that costs no more than that at each place
_SEARCHES = r"\b{name}\.(search|sub|subn|split|findall|finditer)\("

ANY_WAY = {
    "scenarios.scenario._COPY": "steps back over the first repeat once, and looks at nine digits each time",
    "experiments.shrinker._COPY": "steps back over the first repeat once, and digits end at the next hyphen",
    "core.values._AT": "msgspec's texts end with the mark that it needs, so the first place fits",
    "core.values._LIMIT": "searches msgspec's own words, in which no value of the caller's stands",
    "core.values._TYPES": "searches msgspec's own words, in which no value of the caller's stands",
    "core.golang.units._STRING": "nothing behind its first character can fail, so it never steps back",
    "http.http1._ABSOLUTE": "the scheme and the host end at characters that they cannot hold; the rest takes all",
}
"""Patterns that the rules below refuse, with the reason why they are linear all the same."""


class Place(NamedTuple):
    """Some part of a pattern: which places read its first and its last character; whether it may be empty."""

    first: frozenset[int]
    last: frozenset[int]
    empty: bool


class Reading:
    """The places of a pattern that read one character each, and which may follow which."""

    def __init__(self, pattern: re.Pattern[Any]) -> None:
        text = pattern.pattern
        self.flags = pattern.flags
        self.chars: list[frozenset[str]] = []
        self.follow: dict[int, set[int]] = {}
        self.repeated: set[int] = set()
        self.doubled = False  # one place follows another in two ways
        self.whole = self.sequence(_parser.parse(text, pattern.flags))

    def sequence(self, items: Any) -> Place:
        made = Place(frozenset(), frozenset(), True)
        for operator, argument in items:
            part = self.part(operator, argument)
            for each in made.last:
                self.link(each, part.first)
            made = Place(
                made.first | part.first if made.empty else made.first,
                made.last | part.last if part.empty else part.last,
                made.empty and part.empty,
            )
        return made

    def link(self, place: int, others: frozenset[int]) -> None:
        self.doubled |= bool(self.follow[place] & others)
        self.follow[place] |= others

    def part(self, operator: Any, argument: Any) -> Place:
        if operator in _REPEATS:
            least, most, body = argument
            known = len(self.chars)
            inner = self.sequence(body)
            if most > 1:
                for each in inner.last:
                    self.link(each, inner.first)
                self.doubled |= inner.empty
                self.repeated |= set(range(known, len(self.chars)))
            return inner._replace(empty=inner.empty or least == 0)
        if operator is sre.BRANCH:
            parts = [self.sequence(branch) for branch in argument[1]]
            first = frozenset[int]().union(*(part.first for part in parts))
            last = frozenset[int]().union(*(part.last for part in parts))
            return Place(first, last, any(part.empty for part in parts))
        if operator is sre.SUBPATTERN:
            return self.sequence(argument[-1])
        if operator is sre.ATOMIC_GROUP:
            return self.sequence(argument)
        if operator in (sre.AT, sre.ASSERT, sre.ASSERT_NOT):
            return Place(frozenset(), frozenset(), True)
        number = len(self.chars)
        self.chars.append(frozenset(char for char in _ALPHABET if self.reads(operator, argument, char)))
        self.follow[number] = set()
        return Place(frozenset([number]), frozenset([number]), False)

    def reads(self, operator: Any, argument: Any, char: str) -> bool:
        code = ord(char)
        if operator is sre.LITERAL:
            return bool(code == argument)
        if operator is sre.NOT_LITERAL:
            return bool(code != argument)
        if operator is sre.ANY:
            return char != "\n" or bool(self.flags & re.DOTALL)
        if operator is sre.RANGE:
            return bool(argument[0] <= code <= argument[1])
        if operator is sre.CATEGORY:
            name = str(argument)
            letter = {"DIGIT": "d", "SPACE": "s", "WORD": "w"}[name.rpartition("_")[2]]
            return re.match("\\" + (letter.upper() if "NOT" in name else letter), char) is not None
        assert operator is sre.IN, operator
        negated = argument[0][0] is sre.NEGATE
        return negated != any(self.reads(each[0], each[1], char) for each in argument[negated:])

    def unclear(self) -> bool:
        """Whether a character in a repeat can be read in two ways. Elsewhere that happens a fixed number of times."""
        return self.doubled or any(
            self.chars[one] & self.chars[other]
            for group in (self.follow[place] for place in self.repeated)
            for one in group
            for other in group
            if one < other
        )

    def begins_within(self) -> bool:
        """Whether something must follow a repeat that runs over characters with which the pattern begins."""
        starts = frozenset().union(*(self.chars[each] for each in self.whole.first))
        return any(self.chars[each] & starts for each in self.repeated if each not in self.whole.last)


def _patterns() -> Iterator[tuple[str, re.Pattern[Any], bool]]:
    """All compiled patterns of the package: their names, and whether they are searched for."""
    for module in pkgutil.walk_packages(colonysim.__path__, "colonysim."):
        if module.name.endswith("__main__"):
            continue
        loaded = importlib.import_module(module.name)
        source = Path(str(loaded.__file__)).read_text()
        for name, value in vars(loaded).items():
            if isinstance(value, re.Pattern) and f"\n{name}" in source:
                searched = re.search(_SEARCHES.format(name=name), source) is not None
                yield f"{module.name.removeprefix('colonysim.')}.{name}", value, searched


PATTERNS = list(_patterns())


def _is_linear(pattern: re.Pattern[Any], searched: bool) -> bool:
    if _parser.parse(pattern.pattern, pattern.flags).getwidth()[1] <= _LONGEST_BOUNDED:
        return True
    reading = Reading(pattern)
    return not reading.unclear() and not (searched and reading.begins_within())


@pytest.mark.parametrize(("name", "pattern", "searched"), PATTERNS, ids=[each[0] for each in PATTERNS])
def test_a_pattern_reads_each_character_in_one_way(name: str, pattern: re.Pattern[Any], searched: bool) -> None:
    assert _is_linear(pattern, searched) != (name in ANY_WAY), pattern.pattern


def test_the_exceptions_are_there() -> None:
    assert set(ANY_WAY) <= {name for name, _, _ in PATTERNS}
    assert len(PATTERNS) >= 50


@pytest.mark.parametrize(
    "text", [r"(a+)+b", r"(ab?|b)*c", r"a*a*b", r"(ab|a.)*c", r"(\w+\s?)+!", r"x.*y.*z", r"(a?)*b"]
)
def test_costly_patterns_are_told(text: str) -> None:
    assert not _is_linear(re.compile(text), False)


@pytest.mark.parametrize("text", [r"\$\{([^}]+)\}", r"\s+\Z|\s+x", r"[0-9]+;"])
def test_patterns_that_are_costly_to_search_for_are_told(text: str) -> None:
    assert not _is_linear(re.compile(text), True)


@pytest.mark.parametrize("text", [r";[0-9]+(:[0-9]+)+(\.[0-9]*)?", r"\$\{([^${}]+)\}", r'"(?:[^"\\]|\\.)*"?', r"a*b*"])
def test_linear_patterns_are_let_through(text: str) -> None:
    assert _is_linear(re.compile(text), True)


def test_patterns_are_compiled_once_and_by_name() -> None:
    """What is written where it is used is not among those that are checked here."""
    inline = re.compile(r"\bre\.(match|search|sub|subn|split|findall|finditer|fullmatch)\((.*)")
    found = [
        f"{path.relative_to(_PACKAGE)}: {line.strip()}"
        for path in sorted(_PACKAGE.rglob("*.py"))
        for line in path.read_text().splitlines()
        if inline.search(line)
    ]
    assert found == []
