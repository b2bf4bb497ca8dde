"""The agenda against a sorted list."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
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


def test_without_a_rank_an_event_comes_with_those_of_rank_0() -> None:
    agenda = Agenda()
    for number, ranks in ((1, [1]), (2, []), (3, [0]), (4, [-1])):
        agenda.add(100, Ring(number), *ranks)
    assert [event.number for _, event in taken(agenda)] == [4, 2, 3, 1]  # type: ignore[attr-defined]


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


# ---------------------------------------------------------------- long histories
class PlainList:
    """What an agenda is, with everything sorted anew each time."""

    def __init__(self) -> None:
        self.entries: list[tuple[int, int, int, Event]] = []

    def first(self) -> tuple[int, int, int, Event] | None:
        return min(self.entries, key=lambda entry: entry[:3], default=None)

    def without(self, ticket: int) -> bool:
        kept = [entry for entry in self.entries if entry[2] != ticket]
        kept, self.entries = self.entries, kept
        return len(kept) > len(self.entries)


class Both:
    """An agenda and a plain list; each step is done to both and compared."""

    def __init__(self, pick: Callable[[int], int]) -> None:
        self.pick = pick
        self.agenda, self.plain = Agenda(), PlainList()
        self.now_ns = self.rebuilt = self.surfaced = 0
        self.tickets: list[int] = []

    def add(self) -> None:
        due_ns, rank = self.now_ns + self.pick(60), self.pick(3)
        event = Ring(len(self.tickets))
        ticket = self.agenda.add(due_ns, event, rank)
        assert ticket not in self.tickets[-1:]
        self.tickets.append(ticket)
        self.plain.entries.append((due_ns, rank, ticket, event))

    def cancel(self) -> None:
        """Mostly something that stands on it still; now and then something that has gone."""
        if not self.tickets:
            return
        known = [entry[2] for entry in self.plain.entries] if self.pick(8) else self.tickets
        if known:
            ticket, before = known[self.pick(len(known))], len(self.agenda.heap)
            assert self.agenda.cancel(ticket) is self.plain.without(ticket)
            self.rebuilt += len(self.agenda.heap) < before

    def pop(self) -> None:
        first, before = self.plain.first(), len(self.agenda.heap)
        assert self.agenda.next_due() == (first and first[0])
        self.surfaced += len(self.agenda.heap) < before
        if first is not None:
            assert self.agenda.may_be_due(first[0])
            assert not self.agenda.may_be_due(first[0] - 1)
            assert self.agenda.peek() is first[3]
            assert self.agenda.pop() is first[3]
            self.plain.without(first[2])
            self.now_ns = first[0]
        else:
            assert not self.agenda.may_be_due(10**30)

    def compare(self) -> None:
        assert len(self.agenda) == len(self.plain.entries)
        expected = [(due, rank, event) for due, rank, _, event in sorted(self.plain.entries, key=lambda e: e[:3])]
        assert self.agenda.entries() == expected


def test_a_long_history_with_rebuilt_heaps_is_that_of_a_sorted_list() -> None:
    both = Both(random.Random(3).randrange)
    for step in range(30_000):
        kinds = [both.add, both.add, both.pop] if step // 1500 % 2 else [both.add, both.cancel, both.cancel, both.pop]
        if not both.plain.entries and step % 1500 == 0:
            kinds = [both.add]
        kinds[both.pick(len(kinds))]()
        if step % 20 == 0:
            both.compare()
    assert both.rebuilt >= 5
    assert both.surfaced >= 100


@pytest.mark.parametrize("rate", [1, 4])
@given(st.data())
@hypothesis_settings(max_examples=60)
def test_a_short_history_is_that_of_a_sorted_list(rate: int, data: st.DataObject) -> None:
    def pick(count: int) -> int:
        return data.draw(st.integers(0, count - 1))

    both = Both(pick)
    steps = [both.add] * rate + [both.cancel, both.pop]
    for place in data.draw(st.lists(st.integers(0, len(steps) - 1), max_size=50)):
        steps[place]()
    both.compare()
