"""A program ends alone, as a process with a status."""

from __future__ import annotations

import _thread
import atexit
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from colonysim import ColonyClient, Crashed, ProgramFailed, Simulation
from tests.programs.running import ran
from tests.programs.serving import START


def _in_a_thread(end: Callable[[], object]) -> Callable[[], object]:
    def program() -> None:
        threading.Thread(target=end, daemon=True).start()
        time.sleep(100)

    return program


def _raise_exit(*code: object) -> Callable[[], object]:
    def end() -> None:
        raise SystemExit(*code)

    return end


def _bound_early(end: Callable[[int], object] = os._exit) -> None:
    end(0)


@pytest.mark.parametrize(
    "end",
    [
        lambda: os._exit(0),
        lambda: os._exit(256),
        _bound_early,
        sys.exit,
        lambda: sys.exit(0),
        _raise_exit(),
        _raise_exit(None),
        _in_a_thread(lambda: os._exit(0)),
    ],
)
def test_a_program_that_ends_with_status_0_has_ended_well(sim: Simulation, end: Callable[[], object]) -> None:
    program, other = sim.program(end), sim.program(time.sleep, 5)
    sim.run()
    assert (program.state, program.status, other.state) == ("over", 0, "over")


@pytest.mark.parametrize(
    ("end", "status"),
    [
        (lambda: os._exit(3), 3),
        (lambda: os._exit(-1), 255),
        (_in_a_thread(lambda: os._exit(4)), 4),
        (lambda: sys.exit(5), 5),
        (_raise_exit("it went wrong"), 1),
        (lambda: 1 / 0, 1),
    ],
)
def test_any_other_status_is_told_with_the_place(sim: Simulation, end: Callable[[], object], status: int) -> None:
    program = sim.program(end, name="p")
    with pytest.raises(ProgramFailed, match=r"program 'p' (ended with status|failed)(.|\n)*test_exit.py") as e:
        sim.run()
    assert (e.value.status, program.status, program.state) == (status, status, "failed")


def test_an_exit_in_a_thread_ends_that_thread_only() -> None:
    def program() -> float:
        threading.Thread(target=lambda: sys.exit(3)).start()
        time.sleep(5)
        return time.time()

    assert ran(program).result == START.timestamp() + 5


def test_a_status_other_than_0_starts_a_supervised_program_anew(sim: Simulation) -> None:
    starts: list[float] = []

    def run() -> None:
        starts.append(time.time() - START.timestamp())
        os._exit(1 if len(starts) < 3 else 0)

    program = sim.program(run, restart_after_s=10)
    sim.run()
    assert starts == [0, 10, 20]
    assert (program.lives, program.state) == (3, "over")


def test_nothing_of_a_process_that_is_gone_reaches_the_server(sim: Simulation, colony: ColonyClient) -> None:
    seen: list[str] = []

    def other() -> None:
        try:
            time.sleep(100)
        finally:
            try:
                colony.submit("last words of a thread")
            except Crashed:
                seen.append("cut off")

    def run() -> None:
        threading.Thread(target=other).start()
        time.sleep(1)
        try:
            os._exit(0)
        finally:
            colony.submit("last words")

    program = sim.program(run)
    sim.run()
    assert (program.state, colony.processes(), seen) == ("over", [], ["cut off"])
    assert sim.now_ns == START.timestamp() * 10**9 + 10**9


RUN = """
import _thread
import atexit
import os
import signal
import subprocess
import time

def executor():
    time.sleep(1)
    os._exit(0)

def test_1(colonysim):
    colonysim.program(executor)
    colonysim.run()

def test_2():
    raise AssertionError("is told")
"""


def test_the_test_run_goes_on(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(RUN)
    result = pytester.runpytest_subprocess("-p", "no:randomly")
    result.assert_outcomes(passed=1, failed=1)
    assert result.ret == 1


# ---------------------------------------------------------------- atexit
def _exits(end: Callable[[], object]) -> list[tuple[str, float]]:
    """What the functions that a program registers do when it ends in this way, with their times."""
    told: list[tuple[str, float]] = []

    def note(what: str, more: str = "") -> None:
        time.sleep(1)
        told.append((what + more, time.time() - START.timestamp()))

    def program() -> None:
        atexit.register(note, "first")
        atexit.register(note, "second", more="!")
        atexit.register(lambda: 1 / 0)
        atexit.register(sys.exit, 3)
        atexit.register(note, "never")
        atexit.unregister(note)
        atexit.register(note, "first")
        atexit.register(note, "second", more="!")
        threading.Thread(target=time.sleep, args=(5,)).start()
        end()

    before = vars(atexit)["_ncallbacks"]()
    with suppress(ProgramFailed):
        ran(program)
    assert vars(atexit)["_ncallbacks"]() == before
    return told


@pytest.mark.parametrize(
    "end", [lambda: None, sys.exit, lambda: sys.exit(3), lambda: 1 / 0, lambda: os.kill(os.getpid(), signal.SIGINT)]
)
def test_functions_registered_by_atexit_run_at_the_end_of_the_program(end: Callable[[], object]) -> None:
    assert _exits(end) == [("second!", 6), ("first", 7)]


@pytest.mark.parametrize(
    "end", [lambda: os._exit(0), lambda: os.kill(os.getpid(), signal.SIGTERM), os.abort, lambda: os.kill(0, 9)]
)
def test_they_do_not_run_where_a_process_is_killed(end: Callable[[], object]) -> None:
    assert _exits(end) == []


AT_EXIT = """
import atexit, tempfile, weakref
from colonysim import Simulation

class Own: pass
kept = []

def program():
    atexit.register(print, "program")
    import decimal_like
    kept.append(Own())
    weakref.finalize(kept[0], print, "finalizer")
    tempfile.TemporaryDirectory()

sim = Simulation()
sim.program(program)
sim.run()
sim.stop_programs()
print("end")
"""


def test_modules_register_for_the_process(tmp_path: Path) -> None:
    (tmp_path / "decimal_like.py").write_text("import atexit\natexit.register(print, 'module')\n")
    command = [sys.executable, "-W", "ignore", "-c", AT_EXIT]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["program", "end", "module", "finalizer"]


# ---------------------------------------------------------------- what would end the test run
def test_an_abort_ends_the_program_with_the_status_of_its_signal() -> None:
    with pytest.raises(ProgramFailed, match="ended with status 134") as e:
        ran(os.abort)
    assert "os.abort() was called" in str(e.value)


@pytest.mark.parametrize(
    "end",
    [lambda: os.killpg(os.getpgrp(), signal.SIGTERM), lambda: os.killpg(0, signal.SIGTERM), _thread.interrupt_main],
)
def test_a_signal_to_its_group_reaches_the_program_alone(end: Callable[[], object]) -> None:
    def program() -> list[int]:
        got: list[int] = []
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda number, _: got.append(number))
        end()
        time.sleep(1)
        return got

    assert len(ran(program).result) == 1


@pytest.mark.parametrize("name", ["execv", "execve", "execvp", "execl"])
def test_what_would_replace_the_process_is_refused_with_the_fix(name: str) -> None:
    def program() -> None:
        more = [{}] if name == "execve" else []
        getattr(os, name)(sys.executable, *(["x"] if name == "execl" else [["x"]]), *more)

    with pytest.raises(ProgramFailed, match="would replace the process that runs the tests") as e:
        ran(program)
    assert "restart_after_s" in str(e.value)
