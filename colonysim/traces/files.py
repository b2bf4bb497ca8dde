"""Read the files of traces, compressed or not, with bounded memory.

Bounds: MAX_LINE bytes for a line, MAX_DOCUMENT bytes for a file that is read as a whole (JSON), and MAX_UNPACKED bytes
for any file.
"""

from __future__ import annotations

import bz2
import gzip
import lzma
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path, PurePosixPath
from typing import IO, Any, Final

from colonysim.traces.record import BadTrace, MissingTrace

MAX_LINE: Final = 65_536
MAX_DOCUMENT: Final = 128 << 20
MAX_UNPACKED: Final = 1 << 30
PACKED: Final = (".gz", ".bz2", ".xz", ".zip")
_CHUNK: Final = 1 << 18
_UTF8_MARK: Final = b"\xef\xbb\xbf"
_UTF16_MARKS: Final = (b"\xff\xfe", b"\xfe\xff")
_UNREADABLE: Final = {
    b"\x28\xb5\x2f\xfd": "Zstandard",
    b"7z\xbc\xaf\x27\x1c": "7-Zip",
    b"\x1f\x9d": "compress (.Z)",
    b"Rar!": "RAR",
}


def lines_of(path: Path, lossy: bool = False) -> Iterator[str]:
    r"""Yield the lines of a text file, compressed or not, without their ends (\n, \r\n or \r).

    `lossy`: bytes that are not UTF-8 are replaced, for formats whose texts are comments. Raises BadTrace.
    """
    number, held = 0, b""
    for chunk in _chunks(path):
        data = held + chunk
        held = b""
        if b"\r" in data:
            if data.endswith(b"\r") and chunk:  # its \n may be the first byte of the next chunk
                data, held = data[:-1], b"\r"
            data = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        if chunk:
            data, newline, rest = data.rpartition(b"\n")
            held = rest + held
            if len(held) > MAX_LINE:
                raise _too_long(path, number + data.count(b"\n") + len(newline) + 1)
            if not newline:
                continue
        elif not data:
            return
        lines = _decoded(path, number, data, lossy).split("\n")
        if max(map(len, lines)) > MAX_LINE:
            raise _too_long(path, number + next(n for n, line in enumerate(lines, 1) if len(line) > MAX_LINE))
        number += len(lines)
        yield from lines


def document_of(path: Path) -> bytes:
    """Return the content of a UTF-8 file, compressed or not, without a byte order mark. Raises BadTrace."""
    parts, size = [], 0
    for chunk in _chunks(path):
        size += len(chunk)
        if size > MAX_DOCUMENT:
            raise BadTrace(path, 0, f"it has more than {MAX_DOCUMENT:,} bytes when unpacked", "take a smaller one")
        parts.append(chunk)
    data = b"".join(parts)
    _decoded(path, 0, data, lossy=False)
    return data


def inner_name(path: Path) -> str:
    """Return the name that shows the format, in lower case: that of the uncompressed file, or of the file in a .zip.

    Raises BadTrace if a .zip cannot be read.
    """
    name = path.name.lower()
    if name.endswith(".zip") and not PurePosixPath(name.removesuffix(".zip")).suffix:
        with _read_errors(path), ExitStack() as opened:
            name = _member(path, opened.enter_context(zipfile.ZipFile(path))).filename.lower()
    for ending in PACKED:
        name = name.removesuffix(ending)
    return name


# ---------------------------------------------------------------- bytes
def _chunks(path: Path) -> Iterator[bytes]:
    """Yield the uncompressed bytes in pieces, without a byte order mark, and one empty piece at the end."""
    size = 0
    with ExitStack() as opened, _read_errors(path):
        stream = _opened(path, opened)
        while True:
            chunk = stream.read(_CHUNK)
            if size == 0:
                if chunk.startswith(_UTF16_MARKS):
                    raise BadTrace(path, 1, "it is UTF-16", "save it as UTF-8")
                chunk = chunk.removeprefix(_UTF8_MARK) or (chunk and stream.read(_CHUNK))
            size += len(chunk)
            if size > MAX_UNPACKED:
                raise BadTrace(
                    path, 0, f"it has more than {MAX_UNPACKED:,} bytes when unpacked", "cut a piece out of it"
                )
            yield chunk
            if not chunk:
                return


def _opened(path: Path, opened: ExitStack) -> Any:
    """Open the file for reading, uncompressed. Its first bytes, not its name, decide how it is compressed."""
    raw: IO[bytes] = opened.enter_context(path.open("rb"))
    first = raw.read(6)
    raw.seek(0)
    for mark, name in _UNREADABLE.items():
        if first.startswith(mark):
            raise BadTrace(
                path, 0, f"it is compressed by {name}, which cannot be read", "unpack it, or pack it by gzip"
            )
    if first.startswith(b"\x1f\x8b"):
        return opened.enter_context(gzip.GzipFile(fileobj=raw))
    if first.startswith(b"BZh"):
        return opened.enter_context(bz2.BZ2File(raw))
    if first.startswith(b"\xfd7zXZ\x00"):
        return opened.enter_context(lzma.LZMAFile(raw))
    if first.startswith(b"PK"):
        archive = opened.enter_context(zipfile.ZipFile(raw))
        return opened.enter_context(archive.open(_member(path, archive)))
    return raw


def _member(path: Path, archive: zipfile.ZipFile) -> zipfile.ZipInfo:
    """Return the only file in an archive, ignoring metadata of file managers. Raises BadTrace."""
    found = [
        info
        for info in archive.infolist()
        if not info.is_dir() and not info.filename.startswith("__MACOSX/") and info.filename[:1] != "."
    ]
    if len(found) != 1:
        raise BadTrace(path, 0, f"the archive has {len(found)} files, not one", "unpack it and name the one to read")
    return found[0]


@contextmanager
def _read_errors(path: Path) -> Iterator[None]:
    """Raise errors of reading and decompressing as BadTrace."""
    try:
        yield
    except BadTrace:
        raise
    except FileNotFoundError:
        raise MissingTrace(path, 0, "cannot be read: No such file or directory", "give the path of a trace") from None
    except OSError as error:
        if error.errno is not None:
            fix = "give the path of a trace that is readable"
            raise BadTrace(path, 0, f"cannot be read: {error.strerror or error}", fix) from None
        raise BadTrace(path, 0, f"the compressed file is damaged ({error})", "fetch it again") from None
    except (EOFError, zlib.error, lzma.LZMAError, zipfile.BadZipFile) as error:
        raise BadTrace(path, 0, f"the compressed file is damaged ({error})", "fetch it again") from None
    except (RuntimeError, MemoryError, ValueError) as error:  # a password, an unknown method, a name with a NUL
        raise BadTrace(path, 0, f"cannot be read ({error or type(error).__name__})", "unpack it first") from None


# ---------------------------------------------------------------- text
def _decoded(path: Path, number: int, data: bytes, lossy: bool) -> str:
    """Return the text of whole lines that follow line `number`. Raises BadTrace."""
    if b"\0" in data:
        line = number + 1 + data.count(b"\n", 0, data.index(b"\0"))
        raise BadTrace(
            path, line, "it has a NUL byte, so it is not text", "is it packed in a way of its own? Unpack it"
        )
    try:
        return data.decode("utf-8", "replace" if lossy else "strict")
    except UnicodeDecodeError as error:
        line = number + 1 + data.count(b"\n", 0, error.start)
        raise BadTrace(path, line, f"byte 0x{data[error.start]:02x} is not UTF-8", "save it as UTF-8") from None


def _too_long(path: Path, line: int) -> BadTrace:
    return BadTrace(
        path, line, f"the line has more than {MAX_LINE:,} bytes", "a row is a line of its own; is it a trace?"
    )
