"""Counting what code does, so that tests of its cost do not depend on the speed of the machine."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import colonysim

_PACKAGE = str(Path(colonysim.__file__).parent)


def steps(work: Callable[[], object]) -> int:
    """How many lines of the package's Python code run, each time that one runs. Instructions are not told reliably."""
    count = 0

    def trace(frame: FrameType, event: str, argument: Any) -> Any:
        nonlocal count
        if not frame.f_code.co_filename.startswith(_PACKAGE):
            return None
        count += event == "line"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        work()
    finally:
        sys.settrace(before)
    return count
