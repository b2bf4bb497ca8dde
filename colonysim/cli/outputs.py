"""Check the files that a command will write before it starts, so that no input is lost and no work is wasted."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from colonysim.cli.console import FAILED, BadOutput, err, fail


def check(read: Iterable[Path | None], written: Mapping[str, Path | None]) -> None:
    """Check that files can be written, are not read by the command, and are not named twice. Raises BadOutput.

    `written`: the file of each option that names one. Creates and changes nothing.
    """
    inputs = {_place(path) for path in read if path is not None} - {None}
    taken: dict[object, str] = {}
    for option, path in written.items():
        if path is None:
            continue
        if wrong := _unwritable(path):
            raise BadOutput(f"{path}: cannot be written: {wrong}")
        place = _place(path)
        if place is None:
            continue
        if place in inputs:
            raise BadOutput(f"{path}: {option} would overwrite an input: give another name")
        if place in taken:
            raise BadOutput(f"{path}: {taken[place]} and {option} would overwrite each other: give each its own file")
        taken[place] = option


def require(read: Iterable[Path | None], written: Mapping[str, Path | None]) -> None:
    """Exit with code 2 if `check` raises."""
    try:
        check(read, written)
    except BadOutput as error:
        fail(str(error))


def _unwritable(path: Path) -> str:
    """Return why a file cannot be written; "" if it seems that it can."""
    try:
        if path.is_dir():
            return "it is a folder"
        if not path.parent.is_dir():
            return "its folder does not exist"
        if not os.access(path if path.exists() else path.parent, os.W_OK):
            return "permission denied"
    except (OSError, ValueError) as error:
        return getattr(error, "strerror", None) or str(error)
    return ""


def _place(path: Path) -> object:
    """Return a key that is equal for all names of a file; None if it is not a regular file, such as a terminal."""
    try:
        if not path.exists():
            return path.resolve()
        found = path.stat()
        return (found.st_dev, found.st_ino) if path.is_file() else None
    except (OSError, ValueError, RuntimeError):  # reported when the file is read
        return None


def write(path: Path, text: str) -> None:
    """Write an output file, and say so on stderr. Exits with code 1 if it cannot be written, as on a full disk."""
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        fail(f"{path}: cannot be written: {error.strerror or error}", FAILED)
    err.print(f"written  {path}")
