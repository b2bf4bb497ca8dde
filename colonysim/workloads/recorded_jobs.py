"""What traces say of jobs besides times and places: priorities, deadlines, and jobs that come after others."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import ceil
from typing import Final

from msgspec.structs import replace

from colonysim.core.history import Entry, Transition
from colonysim.core.records import RUNNING, WAITING
from colonysim.core.types import FunctionSpec
from colonysim.traces.record import TraceRecord

_MOST_LIMIT: Final = 2**31 - 1


def with_limits(spec: FunctionSpec, record: TraceRecord, speed: float) -> FunctionSpec:
    """Return a spec with the recorded priority, and with the time up to the deadline as `maxwaittime`."""
    if record.priority:
        spec = replace(spec, priority=record.priority)
    if record.deadline_s >= 0:
        left_s = (record.deadline_s - record.submit_s) / speed
        spec = replace(spec, maxwaittime=min(max(1, ceil(left_s)), _MOST_LIMIT))
    return spec


class Precedence:
    """Which jobs of a trace wait for which others, and which processes those have become.

    A job waits only for a job that stands before it in the order of submission, so no two wait for each other. `held`
    are the jobs that wait, by their places; `freed` is called with a place when its preceding job has ended.
    """

    def __init__(self, records: Sequence[TraceRecord], freed: Callable[[int], None]) -> None:
        self.freed = freed
        self.held: set[int] = set()
        self._after: dict[int, list[int]] = {}  # by the place of the preceding job
        self._places: dict[str, int] = {}  # of running jobs, by their processes
        by_name: dict[str, int] = {}
        for place, record in enumerate(records):
            before = by_name.get(record.after) if record.after else None
            if before is not None:
                self.held.add(place)
                self._after.setdefault(before, []).append(place)
            if record.job:
                by_name[record.job] = place
        self.count = len(self.held)

    def began(self, place: int, process_id: str) -> None:
        """Note the process of a job."""
        if place in self._after:
            self._places[process_id] = place

    def ended(self, place: int) -> None:
        """Free the jobs that wait for one that has ended, was refused, or was lost for good."""
        for other in self._after.pop(place, ()):
            self.held.discard(other)
            self.freed(other)

    def read(self, happened: list[Entry]) -> None:
        """Free the jobs whose preceding jobs have ended in a step."""
        for entry in happened:
            if type(entry) is Transition and entry.new not in (WAITING, RUNNING):
                place = self._places.pop(entry.process_id, None)
                if place is not None:
                    self.ended(place)
