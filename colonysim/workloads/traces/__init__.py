"""Recorded workloads: readers of SWF, WfFormat and plain CSV, packed or not."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice, pairwise
from operator import attrgetter
from pathlib import Path
from typing import Final

from colonysim.workloads.traces import files, plain, swf, wfformat
from colonysim.workloads.traces.record import (
    BadTrace,
    MissingTrace,
    ReadTally,
    Recording,
    TraceRecord,
    processors_note,
    shortened,
)
from colonysim.workloads.traces.wfformat import RecordedWorkflow, read_workflow

__all__ = [
    "BadTrace",
    "MissingTrace",
    "ReadTally",
    "RecordedWorkflow",
    "Recording",
    "TraceRecord",
    "format_of",
    "load",
    "read",
    "read_workflow",
]  # fmt: skip

FORMATS: Final = ("swf", "wfformat", "csv")
MAX_PROCESSES: Final = 10_000_000
"""So many processes are read from one trace at most."""


def format_of(path: Path, given: str = "") -> str:
    """The format that is given, or the one of the file's name, or for a .zip of the file in it. Errors: BadTrace."""
    if given:
        if given not in FORMATS:
            raise BadTrace(path, 0, f"there is no format {shortened(given)}", f"use one of {', '.join(FORMATS)}")
        return given
    name = files.inner_name(path)
    if name.endswith((".swf", ".txt")):
        return "swf"
    if name.endswith(".json"):
        return "wfformat"
    if name.endswith(".csv"):
        return "csv"
    fix = f"name it .swf, .json or .csv (and {', '.join(files.PACKED)}), or say --format {'|'.join(FORMATS)}"
    raise BadTrace(path, 0, "the name tells no format", fix)


def read(path: Path, kind: str = "", tally: ReadTally | None = None) -> Iterator[TraceRecord]:
    """The processes of a trace in the order of the file. Errors: BadTrace, which names file and line."""
    kind = format_of(path, kind)
    tally = ReadTally() if tally is None else tally
    if kind == "swf":
        return swf.read(path, tally)
    if kind == "csv":
        return plain.read(path, tally)
    return wfformat.read(path, tally)


def load(path: Path, kind: str = "", first: int = 0, count: int | None = None) -> Recording:
    """The processes of a trace, sorted by their time of submission, with notes on what is not as it was recorded.

    `first` and `count` cut a piece out of the file as it stands, which is then sorted. Errors: BadTrace.
    """
    tally = ReadTally()
    most = MAX_PROCESSES + 1 if count is None else min(count, MAX_PROCESSES + 1)
    records = list(islice(read(path, kind, tally), first, first + most))
    if len(records) > MAX_PROCESSES:
        fix = "cut a piece out of it, in a scenario with `first` and `count`"
        raise BadTrace(path, 0, f"it holds more than {MAX_PROCESSES:,} processes", fix)
    if not records:
        raise _empty(path, tally, first)
    notes = tally.notes()
    if tally.unsorted_line and any(later.submit_s < earlier.submit_s for earlier, later in pairwise(records)):
        records.sort(key=attrgetter("submit_s"))
        where = "" if first else f" (line {tally.unsorted_line} comes before the row above it)"
        notes.append(f"the rows were not in the order of submission and have been sorted{where}")
    notes += processors_note(sum(record.processors > 1 for record in records), len(records))
    return Recording(records, tuple(notes))


def _empty(path: Path, tally: ReadTally, first: int) -> BadTrace:
    """The error for a trace without processes: a failed download must not pass for a workload."""
    left_out = sum(tally.skipped.values())
    if tally.rows > left_out:
        fix = "give a smaller `first`"
        return BadTrace(path, 0, f"it ends before `first`: {first:,} of {tally.rows - left_out:,} are skipped", fix)
    if left_out:
        why = "; ".join(tally.notes())
        return BadTrace(path, 0, f"it holds no process that ran ({why})", "take a trace with jobs that ran")
    return BadTrace(path, 0, "it holds no process", "fetch it again, or give the path of another")
