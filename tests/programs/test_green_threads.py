"""Libraries that replace threads by their own: programs say so before anything has run."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec

import pytest

CODE = """
import {module}
{module}.{patch}()
from colonysim import Simulation
try:
    Simulation().program(print, "ran")
except RuntimeError as error:
    print(error)
"""
INSIDE = """
import sys, time
from colonysim import ProgramFailed, Simulation

def patch():
    import {module}
    {module}.{patch}()

def wait():
    import {library}
    {library}.sleep(1)

for program in (patch, wait):
    sim = Simulation()
    sim.program(program)
    try:
        sim.run()
    except ProgramFailed as failed:
        print(failed)
    sim.stop_programs()
import {library}
{library}.sleep(0)
print("works outside")
"""
LIBRARIES = [("gevent", "gevent.monkey", "patch_all"), ("eventlet", "eventlet", "monkey_patch")]


def _told(code: str, library: str, module: str, patch: str) -> str:
    if find_spec(library) is None:  # imported here, it would warn at each later fork of this process
        pytest.skip(f"{library} is not installed")
    code = code.format(library=library, module=module, patch=patch)
    command = [sys.executable, "-W", "ignore", "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize(("library", "module", "patch"), LIBRARIES)
def test_where_threads_are_replaced_a_program_is_refused_with_the_fix(library: str, module: str, patch: str) -> None:
    told = _told(CODE, library, module, patch)
    assert f"programs need real threads, and {library} has replaced them" in told
    assert "WebServer" in told


@pytest.mark.parametrize(("library", "module", "patch"), LIBRARIES)
def test_a_program_that_uses_such_a_library_is_told_the_fix(library: str, module: str, patch: str) -> None:
    told = _told(INSIDE, library, module, patch)
    assert told.count(f"RuntimeError('programs need real threads, and {library} waits in real time") == 2
    assert "works outside" in told
