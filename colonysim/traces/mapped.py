"""CSV in the columns of others, such as tables of Google and Alibaba: a map says which column has what."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from msgspec import Meta

from colonysim.core.values import Value
from colonysim.traces.files import lines_of
from colonysim.traces.formats import TraceFormat
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

Name = Annotated[str, Meta(min_length=1)] | Annotated[int, Meta(ge=1, le=10_000)]
"""The name of a column in the header, or its number from 1 on in a file without a header."""

_UNITS: Final = {"ns": 1e-9, "us": 1e-6, "ms": 1e-3, "s": 1.0, "min": 60.0, "h": 3600.0, "d": 86_400.0}
_TIMES: Final = ("submit_s", "run_s", "requested_s", "deadline_s", "think_s")
_NUMBERS: Final = ("processors", "priority")
_TEXTS: Final = ("user", "site", "funcname", "job", "after")
FIELDS: Final = (*_TIMES, *_NUMBERS, *_TEXTS)
"""What columns may be."""
_NEEDED: Final = ("submit_s", "run_s")
_MOST_PRIORITY: Final = 50_000


class Column(Value, frozen=True, kw_only=True):
    """A column, less another one if `minus` names it. `unit` is that of times; a `date` is written as in ISO 8601."""

    column: Name
    minus: Name | None = None
    unit: Literal["ns", "us", "ms", "s", "min", "h", "d", "date"] = "s"


AnyColumn = Name | Column
Columns = dict[str, AnyColumn]


def wrong_columns(columns: Mapping[str, AnyColumn]) -> str:
    """Return why a map of columns is invalid; "" if it is valid."""
    for name in columns:
        if name not in FIELDS:
            return f"there is no field {name!r}; the fields are {', '.join(FIELDS)}"
    for name in _NEEDED:
        if columns and name not in columns:
            return f"{name} is missing: it needs the times of submission and the run times"
    kinds = {type(one) for column in columns.values() for one in _names(column)}
    return "columns are either all named or all numbered" if len(kinds) > 1 else ""


def _names(column: AnyColumn) -> list[str | int]:
    if not isinstance(column, Column):
        return [column]
    return [column.column] if column.minus is None else [column.column, column.minus]


def format_with(columns: Mapping[str, AnyColumn]) -> TraceFormat:
    """Return the format of CSV files whose columns are those of a map; others are ignored."""

    def read(path: Path, tally: ReadTally) -> Iterator[TraceRecord]:
        rows = csv.reader((line + "\n" for line in lines_of(path)), strict=True)
        try:
            yield from _records(path, rows, columns, tally)
        except csv.Error as error:
            fix = "close each quotation mark in its row"
            raise BadTrace(path, rows.line_num, f"it is not CSV ({error})", fix) from None

    return TraceFormat("csv", read)


def _records(path: Path, rows: Any, columns: Mapping[str, AnyColumn], tally: ReadTally) -> Iterator[TraceRecord]:
    given = {name: one if isinstance(one, Column) else Column(column=one) for name, one in columns.items()}
    by_number = any(isinstance(one.column, int) for one in given.values())
    header = None if by_number else [cell.strip() for cell in next(rows, [])]
    places = {name: [_place(path, header, one) for one in _names(column)] for name, column in given.items()}
    last_s = float("-inf")
    for row in rows:
        if not row or (len(row) == 1 and not row[0].strip()):
            continue
        tally.rows += 1
        try:
            texts = {name: [row[place].strip() for place in some] for name, some in places.items()}
            record = _record(texts, given, tally)
        except IndexError:
            what = f"it has {len(row)} columns, too few for the map"
            raise BadTrace(path, rows.line_num, what, "correct `columns`, or the row") from None
        except ValueError as error:
            raise BadTrace(path, rows.line_num, str(error), "correct `columns`, their `unit`, or the row") from None
        if record is None:
            continue
        if record.submit_s < last_s and not tally.unsorted_line:
            tally.unsorted_line = rows.line_num
        last_s = record.submit_s
        yield record


def _place(path: Path, header: list[str] | None, name: str | int) -> int:
    if isinstance(name, int):
        return name - 1
    assert header is not None
    if name not in header:
        fix = f"the first line has {', '.join(header)}; without a header number the columns from 1"
        raise BadTrace(path, 1, f"there is no column {shortened(name)}", fix)
    return header.index(name)


def _record(texts: dict[str, list[str]], given: dict[str, Column], tally: ReadTally) -> TraceRecord | None:
    """Return the record of a row; None, and count it, if its times are not known."""
    if not all(all(texts[name]) for name in _NEEDED):
        tally.skip("they have no time of submission or no run time")
        return None
    fields: dict[str, Any] = {name: some[0] for name, some in texts.items() if name in _TEXTS}
    for name in (*_TIMES, *_NUMBERS):
        if name in texts and all(texts[name]):
            first, *minus = [_value(text, name, given[name].unit) for text in texts[name]]
            fields[name] = round(first - sum(minus), 9)
    if fields["run_s"] < 0:
        tally.skip("their run time is below zero")
        return None
    submit_s = in_range(fields["submit_s"], "submit_s", LATEST_S)
    for name in ("run_s", "requested_s", "think_s"):
        in_range(fields.get(name, 0.0), name, LONGEST_S, unknown=name == "requested_s")
    if "deadline_s" in fields:
        if not submit_s <= fields["deadline_s"] <= LATEST_S:
            raise ValueError(f"deadline_s is {fields['deadline_s']:.15g}, which is before submit_s ({submit_s:.15g})")
    if "processors" in fields:
        fields["processors"] = max(1, int(in_range(fields["processors"], "processors", MOST_PROCESSORS)))
    if "priority" in fields:
        if not -_MOST_PRIORITY <= fields["priority"] <= _MOST_PRIORITY or fields["priority"] % 1:
            raise ValueError(f"priority is {fields['priority']:g}, and must be a whole number up to {_MOST_PRIORITY:,}")
        fields["priority"] = int(fields["priority"])
    return TraceRecord(**fields)


def _value(text: str, name: str, unit: str) -> float:
    if name in _NUMBERS:
        return number(text, name)
    if unit != "date":
        return number(text, name) * _UNITS[unit]
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(f"{name} is {shortened(text)}, which is not a date such as 2026-01-31T12:00:00Z") from None
    return (moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)).timestamp()
