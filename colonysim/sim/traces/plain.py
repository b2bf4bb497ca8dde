"""Plain CSV with a header: `submit_s,run_s` and, where they are known, user, site, processors, funcname."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final, TextIO

from colonysim.sim.traces.record import BadTrace, TraceRecord, lines_of

COLUMNS: Final = TraceRecord.__struct_fields__
_NEEDED: Final = ("submit_s", "run_s")


def read(path: Path) -> Iterator[TraceRecord]:
    """The rows, which must stand in the order of submission. Errors: BadTrace."""
    rows = csv.reader(lines_of(path))
    header = [name.strip() for name in next(rows, [])]
    for name in _NEEDED:
        if name not in header:
            raise BadTrace(
                path, 1, f"there is no column {name!r}", f"the first line names the columns: {','.join(COLUMNS)}"
            )
    for name in header:
        if name not in COLUMNS:
            raise BadTrace(path, 1, f"nobody knows what column {name!r} is", f"use some of {', '.join(COLUMNS)}")
    last_s = float("-inf")
    for row in rows:
        if not row:
            continue
        record = _record(path, rows.line_num, header, row)
        if record.submit_s < last_s:
            raise BadTrace(path, rows.line_num, "submitted before the row above", "sort the rows by submit_s")
        last_s = record.submit_s
        yield record


def _record(path: Path, number: int, header: list[str], row: list[str]) -> TraceRecord:
    if len(row) != len(header):
        raise BadTrace(path, number, f"{len(row)} columns", f"the header has {len(header)}")
    given = dict(zip(header, (cell.strip() for cell in row), strict=True))
    try:
        submit_s, run_s = float(given["submit_s"]), float(given["run_s"])
        processors, requested_s = int(given.get("processors") or 1), float(given.get("requested_s") or -1)
    except ValueError as error:
        raise BadTrace(path, number, str(error), "times are numbers of seconds") from None
    if run_s < 0 or submit_s < 0:
        raise BadTrace(path, number, "a time below zero", "times are counted in seconds from the beginning")
    texts = (given.get("user", ""), given.get("site", ""))
    return TraceRecord(submit_s, run_s, *texts, processors, requested_s, given.get("funcname", ""))


def write(records: Iterable[TraceRecord], stream: TextIO) -> int:
    """Write records with all columns; returns how many."""
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(COLUMNS)
    count = 0
    for record in records:
        writer.writerow([f"{v:g}" if isinstance(v, float) and v.is_integer() else v for v in _cells(record)])
        count += 1
    return count


def _cells(record: TraceRecord) -> list[object]:
    return [getattr(record, name) for name in COLUMNS]
