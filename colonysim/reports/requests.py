"""Requests by type: their number, how long their answers took in virtual time, and the faults that struck them."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from itertools import islice
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


_Outcome = tuple[str, int | None, str, int | None]
"""The type, the status and the fault of a call, and its latency in nanoseconds, None if it has no answer."""


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
    """What is counted of one type of requests. `latencies`: those above zero, in nanoseconds."""

    def __init__(self) -> None:
        self.count = self.refused = self.unanswered = self.at_once = 0
        self.latencies = array("q")
        self.faults: dict[str, int] = {}

    def result(self, name: str, waited: bool) -> RequestKind:
        latencies, answered = sorted(self.latencies), self.at_once + len(self.latencies)

        def at(rank: int) -> float | None:
            """Return the latency of a rank, from 1 on, in seconds."""
            if not answered:
                return None
            return 0.0 if rank <= self.at_once else latencies[rank - self.at_once - 1] / SECOND_NS

        return RequestKind(
            type=name,
            waited=waited,
            count=self.count,
            refused=self.refused,
            unanswered=self.unanswered,
            least_s=at(1),
            median_s=at(-(-answered // 2)),
            p95_s=at(-(-answered * 95 // 100)),
            most_s=at(answered),
            faults=self.faults,
        )


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

    def read(self, calls: Sequence[Call]) -> None:
        """Count the calls that are new, in the order of their numbers, and those that have been answered since."""
        new = self._open
        if calls:
            unread = calls[-1].number - self.seen
            new = [*new, *islice(calls, max(0, len(calls) - unread), None)]
            self.seen = calls[-1].number
        self._open = []
        alike: dict[_Outcome, int] = {}  # most calls are alike, and are counted together
        for call in new:
            if (status := call.status) is None:
                self._open.append(call)
                continue
            answered_ns = call.answered_ns
            latency_ns = None if answered_ns is None else answered_ns - call.at_ns
            outcome: _Outcome = (call.payload_type, status, call.fault, latency_ns)
            alike[outcome] = alike.get(outcome, 0) + 1
        for outcome, count in alike.items():
            self._count(outcome, count)

    def _count(self, outcome: _Outcome, count: int) -> None:
        kind, status, fault, latency_ns = outcome
        # A poll that was lost on the way has waited for nothing.
        waited = kind == _POLL and latency_ns != 0 and not (status == LOST and fault)
        counts = self._counts.get((kind, waited))
        if counts is None:
            counts = self._counts[kind, waited] = _Counts()
        counts.count += count
        if fault:
            counts.faults[fault] = counts.faults.get(fault, 0) + count
        if latency_ns is None or status == LOST:
            counts.unanswered += 0 if kind in _STREAMED else count  # a subscription has no answer of its own
            return
        if status and status >= 400:
            counts.refused += count
        if latency_ns:
            counts.latencies.extend([latency_ns] * count)
        else:
            counts.at_once += count

    def kinds(self) -> tuple[RequestKind, ...]:
        """Return what was counted, the most frequent type first. Requests that are still open count as unanswered."""
        for call in self._open:
            self._count((call.payload_type, call.status, call.fault, None), 1)
        self._open = []
        counted = [counts.result(*key) for key, counts in self._counts.items()]
        return tuple(sorted(counted, key=lambda kind: -kind.count))
