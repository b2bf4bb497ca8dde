"""Plain CSV with a header: `submit_s,run_s` and, where they are known, user, site, processors, funcname."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final, TextIO

from colonysim.core.wording import show_exact
from colonysim.traces.files import lines_of
from colonysim.traces.formats import trace_format
from colonysim.traces.record import (
    LATEST_S,
    LONGEST_S,
    MOST_PROCESSORS,
    BadTrace,
    ReadTally,
    TraceRecord,
    in_range,
    number,
    shortened,
)

COLUMNS: Final = TraceRecord.__struct_fields__[:7]
_NEEDED: Final = ("submit_s", "run_s")
_OTHER_DIVIDERS: Final = {";": "semicolons", "\t": "tabs", "|": "bars"}
_FIX: Final = "times are numbers of seconds from the beginning, processors are counted from 1"


@trace_format("csv", ".csv")
def read(path: Path, tally: ReadTally) -> Iterator[TraceRecord]:
    """Yield the rows in the order of the file. Raises BadTrace."""
    rows = csv.reader((line + "\n" for line in lines_of(path)), strict=True)
    try:
        header = _header(path, next(rows, []))
        last_s = float("-inf")
        for row in rows:
            if not row or (len(row) == 1 and not row[0].strip()):
                continue
            tally.rows += 1
            record = _record(path, rows.line_num, header, row)
            if record.submit_s < last_s and not tally.unsorted_line:
                tally.unsorted_line = rows.line_num
            last_s = record.submit_s
            yield record
    except csv.Error as error:
        raise BadTrace(
            path, rows.line_num, f"it is not CSV ({error})", "close each quotation mark in its row"
        ) from None


def _header(path: Path, cells: list[str]) -> list[str]:
    """Return the names of the columns, in lower case and stripped. Raises BadTrace."""
    header = [name.strip().lower() for name in cells]
    names = f"the first line names the columns: {','.join(COLUMNS)}"
    if len(header) == 1:
        for divider, called in _OTHER_DIVIDERS.items():
            if divider in header[0]:
                raise BadTrace(path, 1, f"its columns are separated by {called}", "separate them by commas")
    for name in _NEEDED:
        if name not in header:
            raise BadTrace(path, 1, f"there is no column {name!r}", names)
    for place, name in enumerate(header):
        if name not in COLUMNS:
            fix = f"use some of {', '.join(COLUMNS)}"
            raise BadTrace(path, 1, f"unknown column {shortened(name)}", fix)
        if name in header[:place]:
            raise BadTrace(path, 1, f"column {name!r} is there twice", "name each column once")
    return header


def _record(path: Path, line: int, header: list[str], row: list[str]) -> TraceRecord:
    if len(row) != len(header):
        raise BadTrace(
            path, line, f"it has {len(row)} columns, the header {len(header)}", "give each row as many cells"
        )
    given = dict(zip(header, (cell.strip() for cell in row), strict=True))
    try:
        submit_s = in_range(number(given["submit_s"], "submit_s"), "submit_s", LATEST_S)
        run_s = in_range(number(given["run_s"], "run_s"), "run_s", LONGEST_S)
        requested_s = number(given.get("requested_s") or "-1", "requested_s")
        in_range(requested_s, "requested_s", LONGEST_S, unknown=True)
        processors = in_range(number(given.get("processors") or "1", "processors"), "processors", MOST_PROCESSORS)
        if processors < 1 or not processors.is_integer():
            raise ValueError(f"processors is {show_exact(processors)}, and must be a whole number, at least 1")
    except ValueError as error:
        raise BadTrace(path, line, str(error), _FIX) from None
    texts = (given.get("user", ""), given.get("site", ""))
    return TraceRecord(submit_s, run_s, *texts, int(processors), requested_s, given.get("funcname", ""))


def write(records: Iterable[TraceRecord], stream: TextIO) -> int:
    """Write records with all columns. Returns their number."""
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(COLUMNS)
    count = 0
    for record in records:
        writer.writerow([_cell(getattr(record, name)) for name in COLUMNS])
        count += 1
    return count


def _cell(value: object) -> object:
    """Format a number: whole numbers without a point, with all their digits."""
    return int(value) if isinstance(value, float) and value.is_integer() else value
