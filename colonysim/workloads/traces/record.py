"""One recorded process, what a reader counts beside it, and the error for a file that cannot be read."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec

LATEST_S: Final = 253_402_300_799.0
"""The latest time of submission: the end of the year 9999, for traces that count from 1970."""
LONGEST_S: Final = 1e9
"""The longest run time, as for all spans of scenarios: 31 years."""
MOST_PROCESSORS: Final = 10**9
NUMBER: Final = re.compile(r"[-+]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][-+]?[0-9]+)?")


class TraceRecord(msgspec.Struct, frozen=True, gc=False):
    """A process as a trace has it. Times in seconds from the beginning of the trace; "" for what is unknown."""

    submit_s: float
    run_s: float
    user: str = ""
    site: str = ""
    processors: int = 1
    requested_s: float = -1.0
    funcname: str = ""


class Recording(NamedTuple):
    """The processes of a trace in the order of submission, and what a reader of results must know about them."""

    records: list[TraceRecord]
    notes: tuple[str, ...]


class ReadTally(msgspec.Struct):
    """What a reader counts beside the processes: rows left out and columns without effect."""

    rows: int = 0
    skipped: dict[str, int] = {}
    """Rows left out, by the reason."""
    header_line: int = 0
    unsorted_line: int = 0
    """The first row that was submitted before the one above it; 0 where there is none."""
    unsuccessful: int = 0
    preceded: int = 0

    def skip(self, reason: str) -> None:
        """Count a row that is left out."""
        self.skipped[reason] = self.skipped.get(reason, 0) + 1

    def notes(self) -> list[str]:
        """What was counted, in words."""
        found = []
        if self.header_line:
            found.append(f"line {self.header_line} is a header row and was skipped")
        for reason, count in self.skipped.items():
            found.append(f"{count:,} of {self.rows:,} rows were skipped: {reason}")
        if self.unsuccessful:
            found.append(
                f"{self.unsuccessful:,} of {self.rows:,} rows have the status failed or cancelled, which has no effect"
            )
        if self.preceded:
            found.append(
                f"{self.preceded:,} of {self.rows:,} rows name a preceding job, which has no effect, nor has think time"
            )
        return found


class BadTrace(ValueError):
    """A trace that cannot be read: the file, the line (0 for the whole of it), what is wrong, and the fix."""

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
    """A trace whose file does not exist."""


def in_range(value: float, name: str, most: float, unknown: bool = False) -> float:
    """The value, from 0 to `most`, or -1 where that may stand for unknown. Errors: ValueError."""
    if 0.0 <= value <= most or (unknown and value == -1.0):
        return value
    why = "below zero" if value < 0 else f"more than {most:.15g}"
    raise ValueError(f"{name} is {value:g}, which is {why}")


def number(text: str, name: str) -> float:
    """A decimal number as a trace writes it. Errors: ValueError."""
    if not NUMBER.fullmatch(text):
        raise ValueError(f"{name} is {shortened(text)}, which is no number")
    return float(text)


def shortened(value: Any, most: int = 60) -> str:
    """A value for an error message, cut where it is long."""
    shown = value if isinstance(value, str) and len(value) <= most else str(value)[:most]
    return repr(shown) if len(str(value)) <= most else f"{shown!r}…"


def processors_note(several: int, count: int) -> list[str]:
    """The note about records of several processors, where there are any."""
    if not several:
        return []
    return [f"{several:,} of {count:,} processes had more than one processor; each counts as one"]
