"""Summaries of traces: number of processes, span, run times, users and sites."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterable
from itertools import pairwise

import msgspec

from colonysim.statistics.quantiles import Quantiles, quantiles
from colonysim.traces.record import TraceRecord


class TraceSummary(msgspec.Struct, frozen=True, kw_only=True):
    """The figures of a trace. `processors_busy` is the mean number that the work would keep busy.

    `notes`: deviations from the recording.
    """

    processes: int
    span_s: float
    work_s: float
    processors_busy: float
    users: int
    sites: int
    functions: int
    run_s: Quantiles
    between_s: Quantiles
    processors: Quantiles
    busiest_sites: list[tuple[str, int]]
    busiest_users: list[tuple[str, int]]
    notes: tuple[str, ...] = ()


def summarise(records: Iterable[TraceRecord], notes: tuple[str, ...] = ()) -> TraceSummary:
    """Summarise a trace, sorted by time of submission, in one pass."""
    runs, submits, processors = array("d"), array("d"), array("d")
    users: Counter[str] = Counter()
    sites: Counter[str] = Counter()
    functions: Counter[str] = Counter()
    work_s = 0.0
    for record in records:
        runs.append(record.run_s)
        submits.append(record.submit_s)
        processors.append(record.processors)
        work_s += record.run_s * record.processors
        users[record.user] += 1
        sites[record.site] += 1
        functions[record.funcname] += 1
    span_s = submits[-1] - submits[0] if submits else 0.0
    between = [later - earlier for earlier, later in pairwise(submits)]
    return TraceSummary(
        processes=len(runs),
        span_s=span_s,
        work_s=work_s,
        processors_busy=round(work_s / span_s, 3) if span_s else 0.0,
        users=len([name for name in users if name]),
        sites=len([name for name in sites if name]),
        functions=len([name for name in functions if name]),
        run_s=quantiles(list(runs)),
        between_s=quantiles(between),
        processors=quantiles(list(processors)),
        busiest_sites=_busiest(sites),
        busiest_users=_busiest(users),
        notes=notes,
    )


def _busiest(counted: Counter[str]) -> list[tuple[str, int]]:
    known = [(name, count) for name, count in counted.items() if name]
    return sorted(known, key=lambda entry: (-entry[1], entry[0]))[:10]
