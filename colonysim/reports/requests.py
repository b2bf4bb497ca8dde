"""Requests by type: their number, how long their answers took in virtual time, and the faults that struck them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, Final

import msgspec

from colonysim.core.operations.assignment import AssignProcess
from colonysim.core.records import SECOND_NS
from colonysim.core.registry import BY_MESSAGE, OPERATIONS
from colonysim.kernel.calls import CALLS_KEPT
from colonysim.kernel.kernel import Kernel
from colonysim.kernel.pending import LOST, Call

_POLL: Final = BY_MESSAGE[AssignProcess].name
_STREAMED: Final = frozenset(name for name, row in OPERATIONS.items() if row.streamed)
_AT_MOST_APART: Final = CALLS_KEPT // 8


class RequestKind(msgspec.Struct, frozen=True, kw_only=True):
    """The requests of one type. `waited`: they are assign calls that found no process at once, and so were parked.

    `refused`: their answer was an error. `unanswered`: there is no answer yet, or it was lost. The latencies, in
    virtual seconds, are those of the other ones; None if there are none. `faults`: how many requests each one struck.
    """

    type: str
    waited: bool
    count: int
    refused: int
    unanswered: int
    least_s: float | None
    median_s: float | None
    p95_s: float | None
    most_s: float | None
    faults: dict[str, int]


class _Counts:
    """What is counted of one type of requests."""

    def __init__(self) -> None:
        self.count = self.refused = self.unanswered = 0
        self.latencies: Counter[int] = Counter()
        self.faults: Counter[str] = Counter()

    def add(self, call: Call) -> None:
        self.count += 1
        if call.fault:
            self.faults[call.fault] += 1
        if call.answered_ns is None or call.status == LOST:
            self.unanswered += call.payload_type not in _STREAMED  # a subscription has no answer of its own
            return
        self.refused += (call.status or 0) >= 400
        self.latencies[call.answered_ns - call.at_ns] += 1

    def result(self, name: str, waited: bool) -> RequestKind:
        answered, spans = self.latencies.total(), sorted(self.latencies.items())
        return RequestKind(
            type=name,
            waited=waited,
            count=self.count,
            refused=self.refused,
            unanswered=self.unanswered,
            least_s=_at(spans, 1),
            median_s=_at(spans, -(-answered // 2)),
            p95_s=_at(spans, -(-answered * 95 // 100)),
            most_s=_at(spans, answered),
            faults=dict(self.faults),
        )


def _at(spans: Sequence[tuple[int, int]], rank: int) -> float | None:
    """Return the span of a rank, from 1 on, in seconds; `spans` are sorted and have a count each."""
    for span_ns, count in spans:
        rank -= count
        if rank <= 0:
            return span_ns / SECOND_NS
    return None


class RequestTally:
    """Counts the requests of one simulation. `seen`: the number of the last one that was counted, or is still open."""

    def __init__(self) -> None:
        self.seen = 0
        self._counts: dict[tuple[str, bool], _Counts] = {}
        self._open: list[Call] = []

    def follow(self, kernel: Kernel, happened: Sequence[Any] = ()) -> None:
        """Count the latest calls of a kernel before it drops them. Under its lock."""
        if kernel.calls_asked - self.seen >= _AT_MOST_APART:
            self.read(kernel.calls)

    def read(self, calls: Iterable[Call]) -> None:
        """Count the calls that are new, in the order of their numbers, and those that have been answered since."""
        unanswered, self._open = self._open, []
        for call in unanswered:
            self._take(call)
        for call in calls:
            if call.number > self.seen:
                self.seen = call.number
                self._take(call)

    def _take(self, call: Call) -> None:
        if call.status is None:
            self._open.append(call)
        else:
            self._count(self._counts, call)

    @staticmethod
    def _count(counts: dict[tuple[str, bool], _Counts], call: Call) -> None:
        lost = call.status == LOST and call.fault  # on the way, so that it waited for nothing
        waited = call.payload_type == _POLL and call.answered_ns != call.at_ns and not lost
        counts.setdefault((call.payload_type, waited), _Counts()).add(call)

    def kinds(self) -> tuple[RequestKind, ...]:
        """Return what was counted, the most frequent type first. Requests that are still open count as unanswered."""
        for call in self._open:
            self._count(self._counts, call)
        self._open = []
        counted = [counts.result(*key) for key, counts in self._counts.items()]
        return tuple(sorted(counted, key=lambda kind: -kind.count))
