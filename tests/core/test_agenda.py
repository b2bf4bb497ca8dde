"""The agenda against a sorted list."""

from __future__ import annotations

from collections.abc import Iterator

from hypothesis import given
from hypothesis import strategies as st

from colonysim.core.agenda import Agenda, Event


class Ring(Event, frozen=True):
    number: int


def taken(agenda: Agenda) -> Iterator[tuple[int, Event]]:
    """Everything, as it falls due."""
    while (due_ns := agenda.next_due()) is not None:
        first = agenda.peek()
        assert agenda.pop() is first
        yield due_ns, first


def test_ties_are_broken_by_rank_then_by_order_of_entry() -> None:
    agenda = Agenda()
    for number, rank in ((1, 5), (2, 5), (3, 0)):
        agenda.add(100, Ring(number), rank)
    assert list(taken(agenda)) == [(100, Ring(3)), (100, Ring(1)), (100, Ring(2))]


def test_what_is_taken_is_there_no_more() -> None:
    agenda = Agenda()
    ticket = agenda.add(100, Ring(1))
    assert not agenda.may_be_due(99)
    assert agenda.may_be_due(100)
    assert list(taken(agenda)) == [(100, Ring(1))]
    assert not agenda.cancel(ticket)
    assert len(agenda) == 0


def test_a_cancelled_event_never_comes() -> None:
    agenda = Agenda()
    ticket = agenda.add(1, Ring(1))
    assert agenda.cancel(ticket)
    assert not agenda.cancel(ticket)
    assert list(taken(agenda)) == []


def test_cancelled_events_leave_no_trace() -> None:
    agenda = Agenda()
    for number in range(10_000):
        agenda.cancel(agenda.add(number, Ring(number)))
    assert len(agenda) == 0
    assert len(agenda.heap) < 200


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 3), st.booleans())))
def test_everything_comes_in_order_once(entries: list[tuple[int, int, bool]]) -> None:
    agenda = Agenda()
    expected = []
    for number, (due, rank, cancelled) in enumerate(entries):
        ticket = agenda.add(due, Ring(number), rank)
        if cancelled:
            agenda.cancel(ticket)
        else:
            expected.append((due, rank, number))
    assert [(due, rank, event.number) for due, rank, event in agenda.entries()] == sorted(expected)  # type: ignore[attr-defined]
    assert list(taken(agenda)) == [(due, Ring(number)) for due, _, number in sorted(expected)]
