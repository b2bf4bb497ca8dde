"""The player of recorded conversations: what it takes for the same, and what it does not let pass."""

from __future__ import annotations

import random
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from colonysim import Simulation
from colonysim.conformance import coverage, player
from colonysim.conformance.comparison import Comparison, Names
from colonysim.conformance.targets import InProcess

CASES = player.CASES


def differences(expected: Any, actual: Any, **step: Any) -> list[str]:
    return list(Comparison(step).differences(expected, actual))


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
    case = player.load_case(CASES / "b-processes" / "assign-by-name.json")
    assert play(case) == []
    step = next(step for step in reversed(case["steps"]) if part in step.get("expect", {}))
    step["expect"][part] = 299 if part == "status" else "something else"
    found = play(case)
    assert found
    assert any(f".{part}: got" in line for line in found)


# ---------------------------------------------------------------- lists without an order
def like(expected: Any, actual: Any, **step: Any) -> bool:
    return not list(Comparison({"unordered": ["l"]} | step).differences({"l": expected}, {"l": actual}))


@pytest.mark.parametrize(
    ("expected", "actual"),
    [
        ([2, 1.5, 10], [10.0, 2.2, 1]),  # a whole number may be like a broken one, and is then sorted elsewhere
        ([{"n": 1.0}, {"n": 2.0}, {"n": 3.0}], [{"n": 3.5}, {"n": 2.4}, {"n": 1.4}]),
        ([1.0, 2.0], [2.5, 0.5]),  # 1.0 is like both, 2.0 is like 2.5 only
        ([[1, "a"], [1.2, "b"]], [[1.1, "b"], [1.0, "a"]]),
        (["${time+1.0}", "${time+2.4}"], ["${time+2.9}", "${time+1.1}"]),
        ([{"l": [1, 2.0]}, {"l": [5, 6]}], [{"l": [6, 5.0]}, {"l": [2, 1.0]}]),
    ],
)
def test_lists_in_another_order_are_alike(expected: Any, actual: Any) -> None:
    assert like(expected, actual)


@pytest.mark.parametrize(
    ("expected", "actual"),
    [
        ([1.0, 1.0], [1.0, 9.0]),
        ([1, 2], [1, 3]),
        ([1.0, 5.0, 5.0], [1.0, 1.0, 5.0]),
        ([True, 1.0], [1.0, 1.0]),
        ([{"n": 1.0, "id": "a"}, {"n": 9.0, "id": "b"}], [{"n": 1.0, "id": "b"}, {"n": 9.0, "id": "a"}]),
    ],
)
def test_lists_of_other_items_are_not_alike(expected: Any, actual: Any) -> None:
    assert not like(expected, actual)


numbers = st.integers(-4, 4) | st.integers(-40, 40).map(lambda tenths: tenths / 10)
items = (
    numbers
    | st.sampled_from(["a", "b", "${time+1.0}", "${time+3.0}", True, None])
    | st.fixed_dictionaries({"n": numbers})
)


@given(
    listed=st.lists(items, max_size=6),
    chance=st.randoms(use_true_random=False),
    tolerance=st.sampled_from([0.0, 0.25, 1.6]),
)
def test_unordered_lists_are_alike_if_and_only_if_some_order_makes_them_so(
    listed: list[Any], chance: random.Random, tolerance: float
) -> None:
    """Compared with all orders that there are, one after the other."""
    other = [item + chance.choice([0, 0.2, -1.5, 1]) if type(item) in (int, float) else item for item in listed]
    chance.shuffle(other)
    ordered = Comparison({"tolerance": tolerance})
    some_order = any(not list(ordered.differences(listed, list(order))) for order in permutations(other))
    assert like(listed, other, tolerance=tolerance) is some_order
    assert like(listed, chance.sample(listed, len(listed)), tolerance=tolerance)


def test_long_lists_in_another_order_are_compared_in_the_square_of_their_length() -> None:
    count = 400
    expected = [float(number) for number in range(count)]
    assert like(expected, [number + 1.2 for number in reversed(expected)])
    assert not like(expected, [number + 1.2 for number in reversed(expected)], tolerance=1.1)


def test_a_placeholder_that_stands_for_nothing_is_told() -> None:
    with pytest.raises(player.BadCase, match="unknown placeholder"):
        play({"name": "x", "steps": [{"raw": "${never}"}]})


def test_a_case_that_fails_counts_for_nothing(tmp_path: Path) -> None:
    (tmp_path / "wrong.json").write_text(
        '{"steps": [{"as": "server", "call": "getcoloniesmsg", "expect": {"status": 299}}]}'
    )
    rows = {row.type: row for row in coverage.measure([tmp_path])}
    assert rows["getcoloniesmsg"].cases == 0
