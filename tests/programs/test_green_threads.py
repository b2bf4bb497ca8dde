"""Libraries that replace threads by their own: programs say so before anything has run."""

from __future__ import annotations

import subprocess
import sys

import pytest

CODE = """
import gevent.monkey
gevent.monkey.patch_all()
from colonysim import Simulation
try:
    Simulation().program(print, "ran")
except RuntimeError as error:
    print(error)
"""


def test_under_gevent_a_program_is_refused_with_the_fix() -> None:
    pytest.importorskip("gevent")
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", CODE], capture_output=True, text=True, check=False)
    assert "programs need real threads, and gevent has replaced them" in done.stdout, done.stderr
    assert "WebServer" in done.stdout
