"""Standard output and error of a command: handle closed streams, missing characters and full disks."""

from __future__ import annotations

import errno
import io
import os
import sys
from contextlib import suppress
from typing import Final

_UNWRITABLE: Final = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EBADF, errno.EPIPE)


def prepare() -> None:
    """Replace closed streams by the null device, and escape characters that an encoding lacks."""
    if None in (sys.stdin, sys.stdout, sys.stderr):
        while (taken := os.open(os.devnull, os.O_RDWR)) <= 2:  # else a file opened later would get descriptor 0, 1 or 2
            pass
        os.close(taken)
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, io.TextIOWrapper(io.FileIO(os.devnull, "w"), encoding="utf-8"))
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def unwritable(error: OSError) -> str | None:
    """Return the message for an error of standard output; None if the error has another source."""
    if error.filename is not None or error.errno not in _UNWRITABLE:
        return None
    return f"the output cannot be written: {error.strerror}"


def flush() -> None:
    """Flush standard output. Raises OSError if it cannot be written."""
    with suppress(ValueError):  # it is closed
        sys.stdout.flush()


def give_up() -> None:
    """Discard unwritten output, which the interpreter would otherwise try to write again at its end."""
    with suppress(OSError, ValueError):
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, sys.stdout.fileno())
        os.close(null)
