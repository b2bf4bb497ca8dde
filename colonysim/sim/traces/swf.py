"""The Standard Workload Format of the Parallel Workloads Archive: 18 columns a line, -1 for unknown."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from colonysim.sim.traces.record import BadTrace, TraceRecord, lines_of

_COLUMNS: Final = 18
_UNKNOWN: Final = "-1"
_FIX: Final = "a line has 18 numbers: number, submit, wait, run, processors, … (see the archive's page on SWF)"


def read(path: Path) -> Iterator[TraceRecord]:
    """What was submitted, without what never ran. Errors: BadTrace."""
    last_s = float("-inf")
    for number, line in enumerate(lines_of(path), 1):
        columns = line.split()
        if not columns or columns[0][0] == ";":
            continue
        if len(columns) < _COLUMNS:
            raise BadTrace(path, number, f"{len(columns)} columns", _FIX)
        try:
            submit_s, run_s, requested_s = float(columns[1]), float(columns[3]), float(columns[8])
            processors = int(float(columns[4]))
        except ValueError:
            raise BadTrace(path, number, f"{line.strip()[:60]!r} holds what is no number", _FIX) from None
        if submit_s < last_s:
            raise BadTrace(
                path, number, f"submitted at {submit_s:g} s, before the line above", "sort the lines by time"
            )
        last_s = submit_s
        if run_s < 0:
            continue  # cancelled before it began
        if processors < 1:
            processors = max(1, int(float(columns[7])))
        user, site, program = columns[11], columns[15], columns[13]
        yield TraceRecord(
            submit_s,
            run_s,
            "" if user == _UNKNOWN else user,
            "" if site == _UNKNOWN else site,
            processors,
            requested_s,
            "" if program == _UNKNOWN else program,
        )


def sites(path: Path) -> dict[str, str]:
    """The names of partitions that the header gives, by number."""
    found = {}
    for line in lines_of(path):
        if not line.startswith(";"):
            break
        label, _, rest = line.lstrip("; ").partition(":")
        number, *name = rest.split()[:2] if label.strip() == "Partition" and rest.split() else [""]
        if name:
            found[number] = name[0]
    return found
