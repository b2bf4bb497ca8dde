"""The player of recorded conversations: what it takes for the same, and what it does not let pass."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from colonysim import Simulation
from colonysim.fronts.verify import census, player
from colonysim.fronts.verify.likeness import Likeness, Names
from colonysim.fronts.verify.targets import InProcess

CASES = Path(__file__).parent.parent / "conformance" / "cases"


def differences(expected: Any, actual: Any, **step: Any) -> list[str]:
    return list(Likeness(step).differences(expected, actual))


@pytest.mark.parametrize(
    ("expected", "actual", "place"),
    [
        ({"a": 1}, {"a": 2}, ".a: got 2, expected 1"),
        ({"a": 1}, {}, ".a: missing"),
        ({}, {"a": 1}, ".a: unexpected"),
        ({"a": None}, {"a": []}, ".a: got []"),
        ({"a": 0}, {"a": False}, ".a: got false"),
        ({"a": "1"}, {"a": 1}, ".a: got 1"),
        ({"a": [1, 2]}, {"a": [1, 3]}, ".a.1: got 3"),
        ({"a": [1]}, {"a": [1, 1]}, ".a: 2 items, expected 1"),
        ({"a": "${time+1.0}"}, {"a": "${time+9.0}"}, ".a: got"),
        ({"a": "${time+1.0}"}, {"a": "${ns+1.0}"}, ".a: got"),
    ],
)
def test_what_differs_is_named_by_its_place(expected: Any, actual: Any, place: str) -> None:
    found = differences(expected, actual)
    assert len(found) == 1
    assert found[0].startswith(place)


def test_times_are_the_same_within_a_tolerance() -> None:
    assert differences({"at": "${time+1.0}"}, {"at": "${time+1.2}"}) == []
    assert differences({"at": "${time+1.0}"}, {"at": "${time+1.2}"}, tolerance=0.1)


def test_what_has_no_order_is_compared_without_one() -> None:
    assert differences({"a": [1, 2]}, {"a": [2, 1]}, unordered=["a"]) == []
    assert differences({"a": [1, 2]}, {"a": [2, 2]}, unordered=["a"])


def test_what_is_ignored_may_differ() -> None:
    assert differences({"a": 1, "b": 1}, {"a": 2, "b": 1}, ignore=["a"]) == []


def test_ids_are_compared_by_who_they_belong_to() -> None:
    names = Names(1000.0)
    names.values["id.alice"] = "a" * 64
    seen = names.normalise({"by": "a" * 64, "of": ["b" * 64, "c" * 64, "b" * 64]})
    assert seen == {"by": "${id.alice}", "of": ["${hash#0}", "${hash#1}", "${hash#0}"]}


def play(case: dict[str, Any]) -> list[str]:
    return list(player.play(case, InProcess(Simulation(mode="manual", timezone="Europe/Stockholm"))))


@pytest.mark.parametrize("part", ["status", "payloadtype", "body"])
def test_a_reply_that_differs_in_any_part_fails(part: str) -> None:
    """A case of the recorded ones, with one part of one reply changed."""
    case = player.load(CASES / "b-processes" / "assign-by-name.json")
    assert play(case) == []
    step = next(step for step in reversed(case["steps"]) if part in step.get("expect", {}))
    step["expect"][part] = 299 if part == "status" else "something else"
    found = play(case)
    assert found
    assert any(f".{part}: got" in line for line in found)


def test_a_placeholder_that_stands_for_nothing_is_told() -> None:
    with pytest.raises(player.BadCase, match="nothing is known of"):
        play({"name": "x", "steps": [{"raw": "${never}"}]})


def test_a_case_that_fails_counts_for_nothing(tmp_path: Path) -> None:
    (tmp_path / "wrong.json").write_text(
        '{"steps": [{"as": "server", "call": "getcoloniesmsg", "expect": {"status": 299}}]}'
    )
    rows = {row.type: row for row in census.take([tmp_path])}
    assert rows["getcoloniesmsg"].cases == 0
