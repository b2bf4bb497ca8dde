"""Standard output and error of a command: always there, able to write any text, and a full one is no mistake."""

from __future__ import annotations

import errno
import io
import os
import sys
from contextlib import suppress
from typing import Final

_UNWRITABLE: Final = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EBADF, errno.EPIPE)


def prepare() -> None:
    """Put the null device in the place of closed streams, and escape what an encoding has no character for."""
    if None in (sys.stdin, sys.stdout, sys.stderr):
        while (taken := os.open(os.devnull, os.O_RDWR)) <= 2:  # else the next file that is opened takes their number
            pass
        os.close(taken)
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, io.TextIOWrapper(io.FileIO(os.devnull, "w"), encoding="utf-8"))
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def unwritable(error: OSError) -> str | None:
    """What to say of an error of standard output; None for an error of something else."""
    if error.filename is not None or error.errno not in _UNWRITABLE:
        return None
    return f"the output cannot be written: {error.strerror}"


def flush() -> None:
    """Write what is left. Errors: OSError where standard output takes no more."""
    with suppress(ValueError):  # it has been closed
        sys.stdout.flush()


def give_up() -> None:
    """Drop what standard output has not taken: the interpreter would try again when it ends."""
    with suppress(OSError, ValueError):
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, sys.stdout.fileno())
        os.close(null)
