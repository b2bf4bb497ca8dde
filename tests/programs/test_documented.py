"""The table of docs/programs.md says what programs get: each row is run."""

from __future__ import annotations

import asyncio
import atexit
import concurrent.futures
import datetime
import importlib
import multiprocessing
import os
import pathlib
import platform
import queue
import random
import re
import secrets
import select
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from colonysim import ProgramFailed, Simulation
from tests.programs.running import ran
from tests.programs.serving import START

PAGE = Path(__file__).parents[2] / "docs" / "programs.md"
ROW = re.compile(r"^\| `(?P<code>[^|]+)` \| (?P<kind>[^|]+) \|$", re.MULTILINE)
TABLE = PAGE.read_text().partition("| in a program | kind |")[2].partition("\n\n")[0]
ROWS = [(row["code"], row["kind"].strip()) for row in ROW.finditer(TABLE)]
NAMES: dict[str, Any] = {
    module.__name__.partition(".")[0]: importlib.import_module(module.__name__.partition(".")[0])
    for module in (
        asyncio, atexit, concurrent.futures, datetime, multiprocessing, os, pathlib, platform, queue, random, secrets, select, signal,
        socket, ssl, subprocess, sys, tempfile, threading, time, uuid,
    )
}  # fmt: skip
NAMES |= {"MADE_BEFORE": random.Random(), "PAIR": socket.socketpair()}


def _run(code: str) -> Any:
    """What the last statement of a row gives."""
    *before, last = code.split("; ")
    for statement in before:
        exec(statement, NAMES)
    return eval(last, NAMES)


def _takes(code: str, kind: str) -> None:
    seconds, _, error = re.fullmatch(r"(?:real, )?takes (\d+) s(, then (\S+))?", kind).groups()  # type: ignore[union-attr]

    def program() -> None:
        if error is None:
            _run(code)
        else:
            with pytest.raises(eval(error, NAMES)):
                _run(code)

    sim = Simulation(seed=3)
    sim.program(program)
    sim.run()
    sim.stop_programs()
    taken_s = (sim.now_ns - sim.world.started_ns) / 10**9
    assert taken_s == pytest.approx(int(seconds), abs=0.01)  # poll() counts whole milliseconds


def _is_the_clock(code: str, kind: str) -> None:
    found = ran(lambda: (time.sleep(5), _run(code))[1]).result
    if isinstance(found, datetime.datetime):
        found = found.timestamp()
    if isinstance(found, time.struct_time):
        found = datetime.datetime(*found[:6], tzinfo=datetime.UTC).timestamp()
    assert found == START.timestamp() + 5


def _is_from_the_start(code: str, kind: str) -> None:
    first, later = ran(lambda: (_run(code), time.sleep(5), _run(code))[::2]).result
    assert [b - a for a, b in zip(first, later, strict=True)] == [5, 5]
    assert first == ran(lambda: _run(code)).result


def _goes_on_by_looks(code: str, kind: str) -> None:
    first, later = ran(lambda: (_run(code), time.sleep(5), _run(code))[::2]).result
    assert [*first, *later] == pytest.approx([number / 10**6 for number in range(1, 7)])


def _is_its_name(code: str, kind: str) -> None:
    assert ran(lambda: _run(code), name="worker 1").result == ("worker-1",) * 4


def _is_from_the_seed(code: str, kind: str) -> None:
    drawn = [ran(lambda: _run(code), seed=seed, name="p").result for seed in (1, 1, 2)]
    assert drawn[0] == drawn[1] != drawn[2]


def _is_its_own(code: str, kind: str) -> None:
    def look() -> list[Any]:
        shared = [signal.getsignal(signal.SIGTERM), dict(os.environ), os.getcwd(), random.getstate()]
        return [*shared, os.getpid(), threading.enumerate()]

    before = look()
    inside = ran(lambda: (_run(code), look())[1]).result
    assert look() == before
    assert inside != before


def _ends_the_program(code: str, kind: str) -> None:
    program = ran(lambda: (_run(code), time.sleep(5)))
    assert (program.state, program.status, program.result) == ("over", 0, None)


def _kills_the_program(code: str, kind: str) -> None:
    program = ran(lambda: (_run(code), time.sleep(5)))
    assert (program.state, program.result) == ("crashed", None)


def _is_refused(code: str, kind: str) -> None:
    with pytest.raises(ProgramFailed, match=kind.partition(": ")[2]):
        ran(lambda: _run(code))


CHECKS: dict[str, Callable[[str, str], None]] = {
    "takes": _takes,
    "real": _takes,
    "the clock": _is_the_clock,
    "from the start": _is_from_the_start,
    "from the seed": _is_from_the_seed,
    "its own: its name": _is_its_name,
    "its own": _is_its_own,
    "one more microsecond": _goes_on_by_looks,
    "ends the program": _ends_the_program,
    "kills the program": _kills_the_program,
    "refused": _is_refused,
}


@pytest.mark.parametrize(("code", "kind"), ROWS, ids=[code for code, _ in ROWS])
def test_the_table_of_programs_tells_the_truth(code: str, kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    check = next(check for beginning, check in CHECKS.items() if kind.startswith(beginning))
    check(code, kind)


def test_the_table_is_read() -> None:
    assert len(ROWS) == TABLE.count("\n| `") >= 35
