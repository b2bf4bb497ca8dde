"""What programs write to their standard streams: passed on, and kept for each program with virtual times."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import Any, Final

from colonysim.kernel.clock import show_time
from colonysim.stdlib.here import here

MOST_LINES: Final = 1000
"""So many of the latest lines of a program are kept."""
_SHOWN: Final = 20


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

    def write(self, now_ns: int, stream: str, text: str) -> None:
        """Keep what is written; a line counts from its end."""
        *complete, rest = (self._open.get(stream, "") + text).split("\n")
        self._open[stream] = rest
        self.lines += [(now_ns, stream, line) for line in complete]
        del self.lines[:-MOST_LINES]

    def __str__(self) -> str:
        return "\n".join(f"  {show_time(now_ns)} {stream}: {line}" for now_ns, stream, line in self.lines[-_SHOWN:])


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
