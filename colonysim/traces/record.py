"""One recorded process, the counts that a reader keeps, and the error for unreadable files."""

from __future__ import annotations

import re
from collections.abc import Collection
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple

import msgspec

from colonysim.core.wording import show_exact

LATEST_S: Final = 253_402_300_799.0
"""The latest time of submission: the end of the year 9999, in seconds since 1970."""
LONGEST_S: Final = 1e9
"""The longest run time, as for all spans of scenarios: 31 years."""
MOST_PROCESSORS: Final = 10**9
Processors = Literal["occupy", "expand", "ignore"]
"""What becomes of the processors of a recorded job: CPUs of one process, processes, or nothing."""
NUMBER: Final = re.compile(r"[-+]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][-+]?[0-9]+)?")


class TraceRecord(msgspec.Struct, frozen=True, gc=False):
    """A process as recorded. Times in seconds from the beginning of the trace; "" if unknown.

    `deadline_s`: when it has to start at the latest. `job` names it; it comes `think_s` after the end of job `after`.
    `is_good`: whether it neither failed nor was cancelled.
    """

    submit_s: float
    run_s: float
    user: str = ""
    site: str = ""
    processors: int = 1
    requested_s: float = -1.0
    funcname: str = ""
    priority: int = 0
    deadline_s: float = -1.0
    job: str = ""
    after: str = ""
    think_s: float = 0.0
    is_good: bool = True


class Recording(NamedTuple):
    """The processes of a trace in the order of submission, with notes for readers of the results."""

    records: list[TraceRecord]
    notes: tuple[str, ...]


class ReadTally(msgspec.Struct):
    """Counts of rows that were left out and of columns without effect."""

    rows: int = 0
    skipped: dict[str, int] = {}
    """Rows left out, by the reason."""
    header_line: int = 0
    unsorted_line: int = 0
    """The first row that was submitted before the one above it; 0 if there is none."""
    unsuccessful: int = 0
    preceded: int = 0

    def skip(self, reason: str) -> None:
        """Count a row that is left out, with the reason."""
        self.skipped[reason] = self.skipped.get(reason, 0) + 1

    def notes(self, honours: Collection[str] = ()) -> list[str]:
        """Return notes on the counts. `honours`: which of `status` and `dependencies` have an effect."""
        found = []
        if self.header_line:
            found.append(f"line {self.header_line} is a header row and was skipped")
        for reason, count in self.skipped.items():
            found.append(f"{count:,} of {self.rows:,} rows were skipped: {reason}")
        if self.unsuccessful and "status" not in honours:
            found.append(
                f"{self.unsuccessful:,} of {self.rows:,} rows have the status failed or cancelled, which has no effect"
            )
        if self.preceded and "dependencies" not in honours:
            found.append(
                f"{self.preceded:,} of {self.rows:,} rows name a preceding job, which has no effect, nor has think time"
            )
        return found


class BadTrace(ValueError):
    """A trace cannot be read. Has the file, the line (0 for the whole file), what is wrong, and the fix."""

    def __init__(self, path: Path, line: int, what: str, fix: str) -> None:
        place = f"{path}:{line}" if line else str(path)
        super().__init__(f"{place}: {what}; {fix}")
        self.path = path
        self.line = line
        self.what = what
        self.fix = fix

    def __reduce__(self) -> tuple[type[BadTrace], tuple[Path, int, str, str]]:
        return type(self), (self.path, self.line, self.what, self.fix)


class MissingTrace(BadTrace):
    """The file of a trace does not exist."""


def in_range(value: float, name: str, most: float, unknown: bool = False) -> float:
    """Return a value from 0 to `most`, or -1 if that may mean unknown. Raises ValueError for others."""
    if 0.0 <= value <= most or (unknown and value == -1.0):
        return value
    why = "below zero" if value < 0 else f"more than {show_exact(most)}"
    raise ValueError(f"{name} is {show_exact(value)}, which is {why}")


def number(text: str, name: str) -> float:
    """Parse a decimal number of a trace. Raises ValueError."""
    if not NUMBER.fullmatch(text):
        raise ValueError(f"{name} is {shortened(text)}, which is not a number")
    return float(text)


def shortened(value: Any, most: int = 60) -> str:
    """Return a value for an error message, shortened if it is long."""
    shown = value if isinstance(value, str) and len(value) <= most else str(value)[:most]
    return repr(shown) if len(str(value)) <= most else f"{shown!r}…"


def processors_note(several: int, count: int, use: Processors = "ignore", total: int = 0) -> list[str]:
    """Return a note on what becomes of recorded processors, if that is not what was recorded.

    `several` of `count` records have more than one of the `total` processors.
    """
    if use == "occupy":
        return [f"each of {count:,} processes takes as many CPUs as it had processors, {total:,} in all"]
    if use == "expand":
        return [
            f"{several:,} of {count:,} jobs had more than one processor; each became as many independent processes, "
            f"{total:,} in all"
        ]
    if not several:
        return []
    return [f"{several:,} of {count:,} processes had more than one processor; each counts as one"]
