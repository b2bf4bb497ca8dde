"""The formats of traces: one reader each, found by name or by the ending of the file's name.

To add one, write a function that yields the records of a file, decorated with `trace_format`. Users pass a function of
their own, which takes the path and yields records: named as `file.py:function` in a scenario, as an object in Python,
or by an entry point of `colonysim.traces`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

from colonysim.extensions import BadCode, Loader, Registry, error_line, reference, shown
from colonysim.traces import files
from colonysim.traces.record import (
    LATEST_S,
    LONGEST_S,
    MOST_PROCESSORS,
    BadTrace,
    MissingTrace,
    ReadTally,
    TraceRecord,
    in_range,
    shortened,
)

Read = Callable[[Path, ReadTally], Iterator[TraceRecord]]
"""Yields the records of a file, in its order, and counts rows that it leaves out in the tally. Raises BadTrace."""


class TraceFormat(NamedTuple):
    """A format of traces. `suffixes` end the names of its files; `workflow`: a file is one workflow, not a trace."""

    name: str
    read: Read
    suffixes: tuple[str, ...] = ()
    workflow: bool = False


Format = str | TraceFormat | Callable[[Path], Iterable[TraceRecord]]
"""A format, its name, or a function that reads it; "" means that the file's name shows the format."""


FORMATS: Final[Registry[TraceFormat]] = Registry("formats", "function", "traces", callable)
"""All formats of traces."""


def trace_format(name: str, *suffixes: str, workflow: bool = False) -> Callable[[Read], Read]:
    """Register the reader of a format that comes with colonysim."""

    def register(read: Read) -> Read:
        FORMATS.add(name)(TraceFormat(name, read, suffixes, workflow))
        return read

    return register


def format_of(path: Path, given: Format = "", base: Path = Path()) -> TraceFormat:
    """Return the given format, or that of the file's name (for a .zip, the name of the file in it).

    `given`: a name, code as `file.py:function` relative to the folder `base`, or a function. Raises BadTrace, BadCode.
    """
    if isinstance(given, TraceFormat):
        return given
    if callable(given):
        return _own(reference(given), given)
    if given in FORMATS.known:
        return FORMATS.known[given]
    if given:
        if ":" not in given and not FORMATS.knows(given):
            raise BadTrace(path, 0, f"there is no format {shortened(given)}", f"use one of {FORMATS.names()}")
        loader = Loader(base)
        with loader.active():
            return _own(given, FORMATS.find(given, loader), loader)
    return _by_name(path)


def _by_name(path: Path) -> TraceFormat:
    name = files.inner_name(path)
    for one in FORMATS.known.values():
        if name.endswith(one.suffixes):
            return one
    for offered in FORMATS.offered():
        if name.endswith(f".{offered}"):
            return format_of(path, offered)
    endings = ", ".join(sorted((one.suffixes[0] for one in FORMATS.known.values()), reverse=True))
    fix = f"name it {endings} (and {', '.join(files.PACKED)}), or name the format: {FORMATS.names()}"
    raise BadTrace(path, 0, "its name does not show its format", fix)


# ---------------------------------------------------------------- users' readers
def _own(name: str, function: Any, loader: Loader | None = None) -> TraceFormat:
    def read(path: Path, tally: ReadTally) -> Iterator[TraceRecord]:
        loading = loader or Loader(Path())
        with loading.active():
            yield from _checked(name, function, path, tally)

    return TraceFormat(name, read)


def _checked(name: str, function: Any, path: Path, tally: ReadTally) -> Iterator[TraceRecord]:
    """Yield the records of a user's reader. Raises BadTrace if it yields invalid records or raises an exception."""
    if not path.exists():
        raise MissingTrace(path, 0, "cannot be read: No such file or directory", "give the path of a trace")
    last_s = float("-inf")
    try:
        for record in function(path):
            tally.rows += 1
            what = f"record {tally.rows} of {name}"
            if not isinstance(record, TraceRecord):
                raise BadTrace(path, 0, f"{what} is {shown(record)}", "yield colonysim.scenarios.TraceRecord")
            try:
                _check(record)
            except (TypeError, ValueError) as error:
                raise BadTrace(path, 0, f"{what}: {error}", "see colonysim.scenarios.TraceRecord") from None
            if record.submit_s < last_s and not tally.unsorted_line:
                tally.unsorted_line = tally.rows
            last_s = record.submit_s
            yield record
    except (BadTrace, BadCode):
        raise
    except Exception as error:
        raise BadTrace(path, 0, f"{name} raises {error_line(error)}", "correct the reader") from error


def _check(record: TraceRecord) -> None:
    """Raise ValueError or TypeError for values that no built-in reader would yield."""
    in_range(record.submit_s, "submit_s", LATEST_S)
    in_range(record.run_s, "run_s", LONGEST_S)
    in_range(record.requested_s, "requested_s", LONGEST_S, unknown=True)
    if in_range(record.processors, "processors", MOST_PROCESSORS) < 1:
        raise ValueError("processors is 0, and must be at least 1")
    for name in ("user", "site", "funcname"):
        if not isinstance(getattr(record, name), str):
            raise TypeError(f"{name} is {shown(getattr(record, name))}, not text")
