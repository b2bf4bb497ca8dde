"""Measured values from a file: one number a line, or a column of a CSV file."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Final

from colonysim.core.values import BadValue

MOST_BYTES: Final = 64 << 20
MOST_VALUES: Final = 1_000_000


def read(path: Path, column: str, most: float) -> tuple[float, ...]:
    """Return the values in a file, all from 0 to `most`; a file is read again only if it has changed.

    `column`: the name of a column of a CSV file, whose first line has the names; "" for a file with one value a line,
    in which empty lines and lines that begin with # are skipped. Raises BadValue for the field `file` or `column`.
    """
    try:
        found = path.stat()
        return _read(path, column, most, (str(path.absolute()), found.st_mtime_ns, found.st_size))
    except (OSError, ValueError) as error:
        if isinstance(error, BadValue):
            raise
        raise BadValue(f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}", ("file",)) from None


@lru_cache(maxsize=8)
def _read(path: Path, column: str, most: float, version: tuple[str, int, int]) -> tuple[float, ...]:
    if version[2] > MOST_BYTES:
        raise BadValue(f"{path}: it has more than {MOST_BYTES >> 20} MiB; use a sample of the values", ("file",))
    try:
        lines = path.read_text("utf-8-sig").splitlines()
    except UnicodeDecodeError:
        raise BadValue(f"{path}: it is not UTF-8 text", ("file",)) from None
    values = []
    for number, text in _column(path, lines, column) if column else _plain(lines):
        values.append(_number(text, most, f"{path}:{number}"))
        if len(values) > MOST_VALUES:
            raise BadValue(f"{path}: it has more than {MOST_VALUES:,} values; use a sample of them", ("file",))
    if not values:
        raise BadValue(f"{path}: it has no values", ("file",))
    return tuple(values)


def _plain(lines: list[str]) -> Iterator[tuple[int, str]]:
    for number, line in enumerate(lines, 1):
        if (text := line.strip()) and not text.startswith("#"):
            yield number, text


def _column(path: Path, lines: list[str], column: str) -> Iterator[tuple[int, str]]:
    rows = csv.reader(lines)
    try:
        names = [name.strip() for name in next(rows, [])]
        if column not in names:
            known = ", ".join(names) or "none"
            raise BadValue(f"{path}: there is no column {column!r}; the columns are {known}", ("column",))
        place = names.index(column)
        for row in rows:
            if row:
                yield rows.line_num, row[place].strip() if place < len(row) else ""
    except csv.Error as error:
        raise BadValue(f"{path}:{rows.line_num}: {error}", ("file",)) from None


def _number(text: str, most: float, where: str) -> float:
    try:
        value = float(text)
    except ValueError:
        hint = "; name the column of a CSV file in `column`" if "," in text or ";" in text else ""
        raise BadValue(f"{where}: {text[:80]!r} is not a number of seconds{hint}", ("file",)) from None
    if not 0 <= value <= most:
        raise BadValue(f"{where}: {value:g} must be from 0 to {most:g} seconds", ("file",))
    return value
