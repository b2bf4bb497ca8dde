"""Which connections are kept where there are too many."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from colonysim.http.admission import Admission, AllBusy


def test_the_one_that_never_asked_and_has_waited_longest_goes_first() -> None:
    admission: Admission[str] = Admission(3)
    for name in ("asked", "first", "second"):
        assert admission.admit(name) is None
    assert admission.begin_request("asked")
    admission.end_request("asked")
    assert [admission.admit(name) for name in ("third", "fourth", "fifth")] == ["first", "second", "third"]


def test_of_those_that_have_asked_the_longest_idle_goes() -> None:
    admission: Admission[str] = Admission(2)
    for name in ("one", "two"):
        admission.admit(name)
        admission.begin_request(name)
    admission.end_request("two")
    admission.end_request("one")
    assert admission.admit("three") == "two"
    assert not admission.begin_request("two")


def test_where_all_are_busy_a_new_one_is_refused() -> None:
    admission: Admission[str] = Admission(1)
    admission.admit("one")
    admission.begin_request("one")
    with pytest.raises(AllBusy):
        admission.admit("two")
    assert admission.make_room() is None
    admission.remove("one")
    assert admission.admit("two") is None
    assert admission.make_room() == "two"
    assert len(admission) == 0


@given(
    st.integers(1, 4),
    st.lists(st.tuples(st.sampled_from(["admit", "begin", "rest", "leave"]), st.integers(0, 7)), max_size=60),
)
def test_there_are_never_too_many_and_no_busy_one_goes(limit: int, steps: list[tuple[str, int]]) -> None:
    admission: Admission[int] = Admission(limit)
    waiting: set[int] = set()
    busy: set[int] = set()
    for step, name in steps:
        if step == "admit" and name not in waiting | busy:
            try:
                leaves = admission.admit(name)
            except AllBusy:
                assert len(busy) == limit
                continue
            assert leaves is None or leaves in waiting
            assert (leaves is None) == (len(waiting | busy) < limit)
            waiting = (waiting - {leaves}) | {name}
        elif step == "begin":
            assert admission.begin_request(name) == (name in waiting)
            if name in waiting:
                waiting.remove(name)
                busy.add(name)
        elif step == "rest":
            admission.end_request(name)
            if name in busy:
                busy.remove(name)
                waiting.add(name)
        elif step == "leave":
            admission.remove(name)
            waiting.discard(name)
            busy.discard(name)
        assert len(admission) == len(waiting | busy) <= limit
