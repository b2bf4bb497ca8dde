"""The YAML of scenario files: what plain words mean, what is refused and where, and that nothing grows unbounded."""

from __future__ import annotations

import contextlib
import json
import math
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from colonysim.scenarios import yaml12
from colonysim.scenarios.yaml12 import BadYaml


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1:30", "1:30"), ("12:30:45", "12:30:45"), ("0100", 100), ("-010", -10), ("+5", 5), ("0o17", 15),
        ("0x1F", 31), ("0b1", "0b1"), ("1_000", "1_000"), ("1e3", 1000.0), ("1E+3", 1000.0), ("1.", 1.0), (".5", 0.5),
        ("-1.5e-3", -0.0015), ("yes", "yes"), ("No", "No"), ("on", "on"), ("OFF", "OFF"), ("true", True),
        ("False", False), ("TRUE", True), ("tRue", "tRue"), ("~", None), ("null", None), ("Null", None), ("", None),
        ("2026-01-01", "2026-01-01"), ("2026-01-01T00:00:00Z", "2026-01-01T00:00:00Z"), ("=", "="), (".inf", math.inf),
        ("-.INF", -math.inf), ("'1'", "1"), ('"yes"', "yes"), ("!!str 12", "12"), ("! 12", "12"), ("!!int '12'", 12), ("!!float 3", 3.0),
        ('"\\ud83d\\ude00"', "\N{GRINNING FACE}"), ("&a x", "x"), ("\ufeff7", 7), ("%YAML 1.2\n---\n7", 7),
        ("{a: &a {b: 1}, c: *a}", {"a": {"b": 1}, "c": {"b": 1}}),
        ("[&x {a: 1, b: 2}, {<<: *x, b: 3}]", [{"a": 1, "b": 2}, {"a": 1, "b": 3}]),
        ("[&x {a: 1}, &y {a: 2, b: 2}, {<<: [*x, *y]}]", [{"a": 1}, {"a": 2, "b": 2}, {"a": 1, "b": 2}]),
        ("{'<<': 1}", {"<<": 1}), ("[&x 1, &x 2, *x]", [1, 2, 2]),
    ],
)  # fmt: skip
def test_plain_words_mean_what_yaml_1_2_says(text: str, value: Any) -> None:
    data = yaml12.read(text).data
    assert data == value
    assert type(data) is type(value)


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("a: 1\nb: 2\na: 3", 3, "the key 'a' is given twice, first in line 1"),
        ("a:\n  b: 1\n  'b': 2", 3, "the key 'b' is given twice, first in line 2"),
        ("a: [{b: {c: 1,\n c: 1}}]", 2, "the key 'c' is given twice, first in line 1"),
        ("a: &a {x: 1}\nb:\n  <<: *a\n  <<: *a", 4, "the key '<<' is given twice, first in line 3"),
        ("a: &a [*a]", 1, "the alias *a refers to a node that contains it"),
        ("a: 1\nb: &b {c: {d: *b}}", 2, "the alias *b refers to a node"),
        ("a: *b", 1, "undefined alias 'b'"),
        ("\n" + "[" * 5000, 2, "more than 64 levels deep"),
        ("{a: " * 5000, 1, "more than 64 levels deep"),
        ("- " * 5000, 1, "more than 64 levels deep"),
        ("a0: &a0 [1]\n" + "".join(f"a{n + 1}: &a{n + 1} [*a{n}]\n" for n in range(99)), 63, "64 levels deep"),
        ("--- 1\n--- 2", 2, "a second document begins here"),
        ("a:\n\tb: 1", 2, "there is a tab; YAML is indented and divided by spaces"),
        ("a: !!python/object/apply:os.system [x]", 1, "the tag '!!python/object/apply:os.system' cannot be used"),
        ("a: 1\nb: !mine x", 2, "the tag '!mine' cannot be used here; write the value without it"),
        ("!!set {a}", 1, "the tag '!!set'"),
        ("!!binary aGk=", 1, "the tag '!!binary'"),
        ("!!int x", 1, "the tag '!!int'"),
        ("!!map [1]", 1, "the tag '!!map'"),
        ("a: 1\nb\0: 2", 2, "character U+0000 is not allowed here"),
        ('a: "\\ud83d"', 1, "half of a surrogate pair"),
        ('"\\U00110000"', 0, "is not YAML"),
        ("1: a", 1, "a key must be a text, and 1 is not; write '1'"),
        ("[{~: a}]", 1, "a key must be a text, and ~ is not"),
        ("? [a]\n: b", 1, "not a list or a mapping"),
        ("<<: 5", 1, "the value of `<<` must be a mapping"),
        ("9" * 5000, 1, "a number has 5,000 characters"),
        ("a: b: c", 1, "a second colon in a line"),
        ("a: [1\nb: 2", 2, "is not YAML"),
        ("x" * (yaml12.MAX_BYTES + 1), 0, "at most 524,288 are allowed"),
    ],
)
def test_what_cannot_be_read_is_told_with_its_line(text: str, line: int, words: str) -> None:
    with pytest.raises(BadYaml) as told:
        yaml12.read(text)
    assert words in str(told.value)
    assert told.value.line == line


def test_aliases_of_aliases_are_refused_before_they_are_copied() -> None:
    """A billion values: this ends only where they are counted and not made."""
    text = "a: &a [x,x,x,x,x,x,x,x,x]\n"
    text += "".join(f"{chr(98 + n)}: &{chr(98 + n)} [{','.join(['*' + chr(97 + n)] * 9)}]\n" for n in range(9))
    with pytest.raises(BadYaml, match="the aliases expand to more than 10,000 values") as told:
        yaml12.read(text)
    assert told.value.line == 4


def test_what_an_alias_stands_for_is_changed_for_itself() -> None:
    data = yaml12.read("[&a {b: 1}, *a]").data
    data[0]["b"] = 2
    assert data == [{"b": 2}, {"b": 1}]


# PyYAML breaks lines at three characters where YAML 1.2 does not.
TEXTS = st.text(st.characters(exclude_characters="\x7f\x85\u2028\u2029"), max_size=8)
TEXTS |= st.sampled_from(
    ["1e3", "0o17", "0100", "1:30", "yes", "null", "~", "<<", "=", ".inf", "2026-01-01", "0x1F", ""]
)
PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**12), 10**12)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXTS,
    lambda below: st.lists(below, max_size=4) | st.dictionaries(TEXTS, below, max_size=4),
    max_leaves=12,
)


@given(PLAIN)
def test_json_is_read_as_what_it_says(value: Any) -> None:
    assert yaml12.read(json.dumps(value)).data == value


@given(PLAIN)
def test_what_is_written_is_read_as_it_was(value: Any) -> None:
    text = yaml12.write(value)
    assert yaml12.read(text).data == value
    assert yaml.safe_load(text) == value  # and by those who read YAML 1.1


@given(st.text(alphabet="ab:-[]{},&*!'\"#|>%@`? \n\t0123.e~<", max_size=60))
def test_no_text_leads_to_anything_but_bad_yaml(text: str) -> None:
    with contextlib.suppress(BadYaml):
        yaml12.read(text)
