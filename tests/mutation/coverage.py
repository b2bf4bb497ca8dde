"""Which lines of the mutated modules a test or a scenario runs."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from tests.mutation.mutants import Source

Lines = dict[str, list[int]]
"""Line numbers by module."""


class Recorder:
    """Notes the lines that run inside `recording`."""

    def __init__(self, sources: list[Source]) -> None:
        self._modules = {str(source.path): source.module for source in sources}
        self._seen: set[tuple[str, int]] = set()

    @contextmanager
    def recording(self) -> Iterator[None]:
        self._seen.clear()
        before = sys.gettrace()
        threading.settrace(self._called)
        sys.settrace(self._called)
        try:
            yield
        finally:
            sys.settrace(before)
            threading.settrace(None)  # type: ignore[arg-type]

    def lines(self) -> Lines:
        found: Lines = {}
        for path, line in sorted(self._seen):
            found.setdefault(self._modules[path], []).append(line)
        return found

    def _called(self, frame: FrameType, event: str, argument: Any) -> Any:
        if frame.f_code.co_filename not in self._modules:
            return None
        self._seen.add((frame.f_code.co_filename, frame.f_lineno))
        return self._line

    def _line(self, frame: FrameType, event: str, argument: Any) -> Any:
        self._seen.add((frame.f_code.co_filename, frame.f_lineno))
        return self._line
