"""Recorded workloads: readers of SWF, WfFormat and plain CSV, all streaming, compressed or not."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from colonysim.sim.traces import plain, swf, wfformat
from colonysim.sim.traces.record import BadTrace, TraceRecord
from colonysim.sim.traces.wfformat import RecordedWorkflow, read_workflow

__all__ = ["BadTrace", "RecordedWorkflow", "TraceRecord", "format_of", "read", "read_workflow"]

FORMATS = ("swf", "wfformat", "csv")


def format_of(path: Path) -> str:
    """The format that a file's name speaks of. Errors: BadTrace."""
    name = path.name.removesuffix(".gz")
    if name.endswith((".swf", ".txt")):
        return "swf"
    if name.endswith(".json"):
        return "wfformat"
    if name.endswith(".csv"):
        return "csv"
    fix = f"name it .swf, .json or .csv (and .gz), or say --format {'|'.join(FORMATS)}"
    raise BadTrace(path, 0, "the name tells no format", fix)


def read(path: Path, kind: str = "") -> Iterator[TraceRecord]:
    """The processes of a trace in the order of the file. Errors: BadTrace, which names file and line."""
    kind = kind or format_of(path)
    if kind == "swf":
        return swf.read(path)
    if kind == "csv":
        return plain.read(path)
    if kind == "wfformat":
        return wfformat.read(path)
    raise BadTrace(path, 0, f"there is no format {kind!r}", f"use one of {', '.join(FORMATS)}")
