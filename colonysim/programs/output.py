"""What programs write to their standard streams: passed on, and kept for each program with virtual times."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any, Final

from colonysim.kernel.clock import show_time
from colonysim.stdlib import inplace
from colonysim.stdlib.here import here

_FORMAT: Final = logging.Formatter("%(levelname)s %(name)s: %(message)s")
MOST_LINES: Final = 1000
"""So many of the latest lines of a program are kept."""
SHOWN_LINES: Final = 20
"""So many lines of a program are shown in reports."""


class KeptStream:
    """A standard stream while programs act. What a program that has died still writes is dropped."""

    def __init__(self, stream: Any, name: str) -> None:
        self._stream = stream
        self._name = name

    def write(self, text: str) -> int:
        """Write text, and keep it if a program writes it."""
        who = here.thread
        if who is not None:
            if who.program.doomed:
                return len(text)
            who.program.output.write(who.program.now_ns, self._name, text)
        return self._stream.write(text)  # type: ignore[no-any-return]

    def writelines(self, lines: Iterable[str]) -> None:
        """Write several texts."""
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


class Output:
    """The latest lines that a program has written: `lines` are (virtual nanoseconds, stream, text)."""

    def __init__(self) -> None:
        self.lines: list[tuple[int, str, str]] = []
        self._open: dict[str, str] = {}
        self.writes = 0
        """How often something was written."""

    def write(self, now_ns: int, stream: str, text: str) -> None:
        """Keep what is written; a line counts from its end."""
        self.writes += 1
        *complete, rest = (self._open.get(stream, "") + text).split("\n")
        self._open[stream] = rest
        self.lines += [(now_ns, stream, line) for line in complete]
        del self.lines[:-MOST_LINES]

    def __str__(self) -> str:
        return "\n".join(self.shown(SHOWN_LINES))

    def shown(self, most: int = MOST_LINES) -> list[str]:
        """Return the last lines, each with its virtual time and stream, and an unfinished one of each stream."""
        shown = [f"  {show_time(now_ns)} {stream}: {line}" for now_ns, stream, line in self.lines]
        shown += [f"  unfinished {stream}: {line}" for stream, line in self._open.items() if line]
        return shown[-most:]


def _call_handlers(real: Any) -> Callable[..., None]:
    """Keep what a program logs, also if no handler writes it to the program's own streams."""

    def call_handlers(self: logging.Logger, record: logging.LogRecord) -> None:
        who = here.thread
        output = None if who is None else who.program.output
        writes = 0 if output is None else output.writes
        real(self, record)
        if output is not None and output.writes == writes and not who.program.doomed:
            with suppress(TypeError, ValueError):  # arguments that do not fit the text
                output.write(who.program.now_ns, "log", f"{_FORMAT.format(record)}\n")

    return call_handlers


def patch() -> list[inplace.Undo]:
    """Replace the method; what is returned puts it back."""
    return [inplace.replace_function(logging.Logger.callHandlers, _call_handlers)]


class Standard:
    """The standard streams of this process; those of programs while they act."""

    def __init__(self) -> None:
        self._before: tuple[Any, Any] | None = None

    def begin(self) -> None:
        """Programs begin to act."""
        self._before = sys.stdout, sys.stderr
        sys.stdout, sys.stderr = KeptStream(sys.stdout, "stdout"), KeptStream(sys.stderr, "stderr")

    def end(self) -> None:
        """They act no more."""
        if self._before is not None:
            (sys.stdout, sys.stderr), self._before = self._before, None
