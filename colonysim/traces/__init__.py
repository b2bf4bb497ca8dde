"""Recorded workloads: readers of SWF, WfFormat and plain CSV, compressed or not, and of users' formats."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from itertools import islice, pairwise
from operator import attrgetter
from pathlib import Path
from typing import Final

from colonysim.traces import plain, swf, wfformat  # noqa: F401  # they register their formats
from colonysim.traces.formats import FORMATS, Format, TraceFormat, format_of
from colonysim.traces.record import (
    BadTrace,
    MissingTrace,
    Processors,
    ReadTally,
    Recording,
    TraceRecord,
    processors_note,
)
from colonysim.traces.wfformat import RecordedWorkflow, read_workflow

__all__ = [
    "FORMATS",
    "BadTrace",
    "MissingTrace",
    "Processors",
    "ReadTally",
    "RecordedWorkflow",
    "Recording",
    "TraceFormat",
    "TraceRecord",
    "format_of",
    "load",
    "read",
    "read_workflow",
]  # fmt: skip

MAX_PROCESSES: Final = 10_000_000
"""The most processes that are read from one trace."""


def read(path: Path, given: Format = "", tally: ReadTally | None = None, base: Path = Path()) -> Iterator[TraceRecord]:
    """Return the processes of a trace in the order of the file. Raises BadTrace with file and line; BadCode."""
    return format_of(path, given, base).read(path, ReadTally() if tally is None else tally)


def load(
    path: Path,
    given: Format = "",
    first: int = 0,
    count: int | None = None,
    base: Path = Path(),
    processors: Processors = "ignore",
    honours: Collection[str] = (),
) -> Recording:
    """Return the processes of a trace, sorted by time of submission, with notes on deviations from the recording.

    `first` and `count` select rows in the order of the file, before it is sorted. `base`: the folder of files with
    users' readers. `processors`: what becomes of them, for the notes. `honours`: `status` leaves out jobs that failed
    or were cancelled, `dependencies` says that preceding jobs have an effect. Raises BadTrace, BadCode.
    """
    tally = ReadTally()
    most = MAX_PROCESSES + 1 if count is None else min(count, MAX_PROCESSES + 1)
    records = list(islice(read(path, given, tally, base), first, first + most))
    if "status" in honours:
        kept = [record for record in records if record.is_good]
        if len(kept) < len(records):
            tally.skipped["the job failed or was cancelled (status 0 or 5)"] = len(records) - len(kept)
        records = kept
    if len(records) > MAX_PROCESSES:
        fix = "use a part of it, in a scenario with `first` and `count`"
        raise BadTrace(path, 0, f"it has more than {MAX_PROCESSES:,} processes", fix)
    if not records:
        raise _empty(path, tally, first)
    notes = tally.notes(honours)
    if tally.unsorted_line and any(later.submit_s < earlier.submit_s for earlier, later in pairwise(records)):
        records.sort(key=attrgetter("submit_s"))
        where = "" if first else f" (line {tally.unsorted_line} was submitted before the row above it)"
        notes.append(f"the rows were not in the order of submission and have been sorted{where}")
    total = sum(record.processors for record in records)
    if processors == "expand" and total > MAX_PROCESSES:
        fix = "use fewer rows with `count`, or `processors: occupy`"
        raise BadTrace(path, 0, f"its jobs become {total:,} processes, more than {MAX_PROCESSES:,}", fix)
    notes += processors_note(sum(record.processors > 1 for record in records), len(records), processors, total)
    return Recording(records, tuple(notes))


def _empty(path: Path, tally: ReadTally, first: int) -> BadTrace:
    """Return the error for a trace without processes, such as a failed download."""
    left_out = sum(tally.skipped.values())
    if tally.rows > left_out:
        fix = "give a smaller `first`"
        return BadTrace(path, 0, f"it ends before `first`: {first:,} of {tally.rows - left_out:,} are skipped", fix)
    if left_out:
        why = "; ".join(tally.notes())
        return BadTrace(path, 0, f"it has no process that ran ({why})", "take a trace with jobs that ran")
    return BadTrace(path, 0, "it has no processes", "fetch it again, or give the path of another")
