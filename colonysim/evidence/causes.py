"""Why processes ended without success: each cause with its count, its commonest texts, and some of the processes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Final

import msgspec

from colonysim.core.lifecycle import RAN_TOO_LONG, WAITED_TOO_LONG
from colonysim.core.records import CANCELLED, FAILED, REMOVED, Process
from colonysim.core.types import ZERO_TIME_NS
from colonysim.core.wording import show_count
from colonysim.core.world import World
from colonysim.invariants import Invariants

CLOSED: Final = "closed as failed by its executor"
RAN: Final = "ran longer than its maxexectime, with no retry left"
WAITED: Final = "waited longer than its maxwaittime"
RELATED: Final = "failed with another process of its workflow"
CANCELLED_BY: Final = "cancelled"
GONE: Final = "removed"

_BY_TRANSITION: Final = {
    "close": CLOSED,
    "ran too long": RAN,
    "waited too long": WAITED,
    "cascade": RELATED,
    "cancel": CANCELLED_BY,
}
_SHOWN: Final = 3
_TEXT: Final = 200


class Cause(msgspec.Struct, frozen=True):
    """One reason why processes ended without success.

    `texts`: the commonest errors that executors gave, each with its count. `processes`: ids of the first processes;
    `timelines`: the timeline of each, where a history is kept.
    """

    name: str
    count: int
    texts: tuple[tuple[str, int], ...] = ()
    processes: tuple[str, ...] = ()
    timelines: tuple[str, ...] = ()

    def __str__(self) -> str:
        """Describe it in a line: `12 processes closed as failed by their executor: "disk full" (9), "no GPU" (3)`."""
        shown = ", ".join(f'"{text}" ({count:,})' for text, count in self.texts)
        more = f": {shown}" if shown else ""
        name = self.name if self.count == 1 else self.name.replace(" its ", " their ")
        return f"{show_count(self.count, 'process')} {name}{more}"


def cause_of(process: Process, last_transition: str = "") -> str:
    """Return why a process ended without success, or an empty text if it did not.

    `last_transition`: the cause of its last change of state, where a history is kept; without it, an executor that
    gives the text of an exceeded limit is taken for the server.
    """
    if process.state == REMOVED:
        return GONE
    if process.state == CANCELLED:
        return CANCELLED_BY
    if process.state != FAILED:
        return ""
    if last_transition in _BY_TRANSITION:
        return _BY_TRANSITION[last_transition]
    if process.errors == [RAN_TOO_LONG]:
        return RAN
    if process.errors == [WAITED_TOO_LONG]:
        return WAITED
    return RELATED if process.ended_ns == ZERO_TIME_NS and not process.errors else CLOSED


def causes(processes: Iterable[Process], invariants: Invariants | None = None, removed: int = 0) -> tuple[Cause, ...]:
    """Return the causes of all processes that ended without success, the commonest first.

    `invariants`: the history of the processes, if one is kept. `removed`: how many processes were removed, which are
    not among `processes`.
    """
    counts: Counter[str] = Counter()
    texts: Counter[str] = Counter()
    first: dict[str, list[str]] = {}
    for process in processes:
        name = cause_of(process, "" if invariants is None else invariants.last_cause(process.process_id))
        if not name:
            continue
        counts[name] += 1
        if len(some := first.setdefault(name, [])) < _SHOWN:
            some.append(process.process_id)
        if name == CLOSED:
            texts[error_text(process)] += 1
    if removed:
        counts[GONE] += removed
    return tuple(
        Cause(
            name,
            count,
            tuple(texts.most_common(_SHOWN)) if name == CLOSED else (),
            tuple(first.get(name, ())),
            () if invariants is None else tuple(map(invariants.story, first.get(name, ()))),
        )
        for name, count in counts.most_common()
    )


def causes_in(world: World, invariants: Invariants | None = None) -> tuple[Cause, ...]:
    """Return the causes of all processes of a world that ended without success. Under the kernel's lock.

    `invariants`: the history of the processes, if one is kept; only with it, removed processes are counted.
    """
    ended = (table for tables in world.by_state.values() for table in (tables[FAILED], tables[CANCELLED]))
    processes = sorted(chain.from_iterable(table.values() for table in ended), key=lambda process: process.serial)
    return causes(processes, invariants, 0 if invariants is None else invariants.ledger.removed_unfinished)


def cause_lines(found: Iterable[Cause]) -> Iterator[str]:
    """Yield each cause in a line, followed by the timeline of its first process."""
    for cause in found:
        yield str(cause)
        for process_id, timeline in zip(cause.processes[:1], cause.timelines, strict=False):
            yield f"  for example process {process_id}"
            yield from (f"  {line}" for line in timeline.splitlines())


def error_text(process: Process) -> str:
    """Return the errors of a process in one line, shortened."""
    text = "; ".join(process.errors or ()) or "no errors given"
    text = " ".join(text.split())
    return text if len(text) <= _TEXT else f"{text[: _TEXT - 1]}…"
