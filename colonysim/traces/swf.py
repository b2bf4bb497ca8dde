"""The Standard Workload Format of the Parallel Workloads Archive: 18 columns a line, -1 for unknown."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from sys import intern  # few different names, repeated in each row
from typing import Final

from colonysim.traces.files import lines_of
from colonysim.traces.formats import trace_format
from colonysim.traces.record import (
    LATEST_S,
    LONGEST_S,
    MOST_PROCESSORS,
    NUMBER,
    BadTrace,
    ReadTally,
    TraceRecord,
    in_range,
    number,
)

_COLUMNS: Final = (
    "job number", "submit time", "wait time", "run time", "number of processors", "mean cpu time", "memory",
    "number of requested processors", "requested time", "requested memory", "status", "user", "group", "program",
    "queue", "partition", "preceding job", "think time",
)  # fmt: skip
_UNKNOWN: Final = "-1"
_FIX: Final = "a line has 18 numbers: number, submit, wait, run, processors, … (see the page on SWF of the archive)"
_FIX_VALUE: Final = "times are seconds from the beginning of the trace, -1 means unknown"
_NUMBERS: Final = re.compile(r"[-+.0-9eE \t]*")
_PARTIAL: Final = frozenset("234")
_UNSUCCESSFUL: Final = frozenset("05")


@trace_format("swf", ".swf", ".txt")
def read(path: Path, tally: ReadTally) -> Iterator[TraceRecord]:
    """Yield the jobs that ran, in the order of the file; the tally counts the others. Raises BadTrace."""
    last_s, numeric = float("-inf"), _NUMBERS.fullmatch
    for place, line in enumerate(lines_of(path, lossy=True), 1):
        columns = line.split()
        if not columns or columns[0][0] == ";":
            continue
        if len(columns) != 18 or not numeric(line):
            _header(path, place, columns, tally)
            continue
        tally.rows += 1
        try:
            submit_s, run_s, processors = float(columns[1]), float(columns[3]), float(columns[4])
            requested_s, status = float(columns[8]), columns[10]
            if not (0.0 <= submit_s <= LATEST_S and 0.0 <= run_s <= LONGEST_S and 0.0 < processors <= MOST_PROCESSORS):
                processors = _unusual(columns)
            if not 0.0 <= requested_s <= LONGEST_S:
                in_range(requested_s, "the requested time", LONGEST_S, unknown=True)
        except ValueError:
            raise _bad(path, place, columns) from None
        if submit_s < last_s and not tally.unsorted_line:
            tally.unsorted_line = place
        last_s = submit_s
        if status in _PARTIAL:
            tally.skip("parts of an interrupted job (status 2, 3 or 4), which has a row for the whole")
            continue
        if run_s < 0:
            tally.skip("the job never ran (run time -1)")
            continue
        if status in _UNSUCCESSFUL:
            tally.unsuccessful += 1
        is_preceded = columns[16][0] != "-" and columns[16] != "0"
        if is_preceded:
            tally.preceded += 1
        user, site, program = columns[11], columns[15], columns[13]
        yield TraceRecord(
            submit_s,
            run_s,
            "" if user == _UNKNOWN else intern(user),
            "" if site == _UNKNOWN else intern(site),
            int(processors),
            requested_s,
            "" if program == _UNKNOWN else intern(program),
            job=columns[0],
            after=columns[16] if is_preceded else "",
            think_s=_thought(columns) if is_preceded else 0.0,
            is_good=status not in _UNSUCCESSFUL,
        )


def _thought(columns: list[str]) -> float:
    """Return the think time of a row, 0 if it is unknown."""
    think_s = float(columns[17])
    return think_s if 0.0 <= think_s <= LONGEST_S else 0.0


def _unusual(columns: list[str]) -> float:
    """Check the values of a row one by one. Returns its processors: those requested if the used ones are unknown.

    Raises ValueError with the column.
    """
    in_range(float(columns[1]), "the submit time", LATEST_S)
    in_range(float(columns[3]), "the run time", LONGEST_S, unknown=True)
    used = in_range(float(columns[4]), "the number of processors", MOST_PROCESSORS, unknown=True)
    requested = in_range(float(columns[7]), "the number of requested processors", MOST_PROCESSORS, unknown=True)
    return used if used >= 1 else max(1.0, requested)


def _bad(path: Path, place: int, columns: list[str]) -> BadTrace:
    """Return the error for a row with an invalid value."""
    for name, text in zip(_COLUMNS, columns, strict=True):
        try:
            number(text, f"the {name}")
        except ValueError as error:
            return BadTrace(path, place, str(error), _FIX)
    try:
        _unusual(columns)
        in_range(float(columns[8]), "the requested time", LONGEST_S, unknown=True)
    except ValueError as error:
        return BadTrace(path, place, str(error), _FIX_VALUE)
    return BadTrace(path, place, "a value is out of range", _FIX_VALUE)


def _header(path: Path, place: int, columns: list[str], tally: ReadTally) -> None:
    """Accept a header row, which precedes all others and has no numbers. Raises BadTrace."""
    numbers = sum(NUMBER.fullmatch(text) is not None for text in columns)
    if not tally.rows and not tally.header_line and not numbers and len(columns) > 2 and columns[0][0].isalpha():
        tally.header_line = place
        return
    if len(columns) != len(_COLUMNS):
        raise BadTrace(path, place, f"{len(columns)} columns", _FIX)
    raise _bad(path, place, columns)


def sites(path: Path) -> dict[str, str]:
    """Return the names of the partitions in the header, by number."""
    found = {}
    for line in lines_of(path, lossy=True):
        if not line.startswith(";"):
            break
        label, _, rest = line.lstrip("; ").partition(":")
        number, *name = rest.split()[:2] if label.strip() == "Partition" and rest.split() else [""]
        if name:
            found[number] = name[0]
    return found
