"""One recorded process, and what is wrong with a file that holds none."""

from __future__ import annotations

import gzip
import io
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec


class TraceRecord(msgspec.Struct, frozen=True, gc=False):
    """A process as a trace has it. Times in seconds from the beginning of the trace; "" for what is unknown."""

    submit_s: float
    run_s: float
    user: str = ""
    site: str = ""
    processors: int = 1
    requested_s: float = -1.0
    funcname: str = ""


class BadTrace(ValueError):
    """A trace that cannot be read: the file, the line (0 for the whole of it), what, and what would do."""

    def __init__(self, path: Path, line: int, what: str, fix: str) -> None:
        place = f"{path}:{line}" if line else str(path)
        super().__init__(f"{place}: {what}; {fix}")
        self.path = path
        self.line = line

    def __reduce__(self) -> tuple[type[ValueError], tuple[str]]:
        return ValueError, (str(self),)


def lines_of(path: Path) -> Iterator[str]:
    """The lines of a text file, compressed or not. Errors: BadTrace."""
    number = 0
    try:
        with open(path, "rb") as raw:
            packed = raw.read(2) == b"\x1f\x8b"
            raw.seek(0)
            stream: Iterable[bytes] = io.BufferedReader(gzip.GzipFile(fileobj=raw)) if packed else raw
            for line in stream:
                number += 1
                yield line.decode("utf-8", "replace")
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise BadTrace(path, number + 1, f"the compressed file is damaged ({error})", "fetch it again") from None
    except OSError as error:
        raise BadTrace(path, 0, f"cannot be read: {error.strerror or error}", "give the path of a trace") from None
