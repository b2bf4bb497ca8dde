"""What programs write is kept for each of them, with virtual times, and passed on."""

from __future__ import annotations

import logging
import sys
import time

import pytest

from colonysim import Crashed, ProgramFailed, Simulation
from colonysim.faults import Crash, Times


def test_output_is_kept_with_virtual_times_and_passed_on(sim: Simulation, capsys: pytest.CaptureFixture[str]) -> None:
    def program(name: str) -> None:
        print("begin", name)
        time.sleep(5)
        print("half a ", end="")
        time.sleep(1)
        print("line")
        sys.stderr.writelines(["one\n", "two\n"])

    before = sys.stdout, sys.stderr
    made = [sim.program(program, name, name=name) for name in "ab"]
    sim.run()
    assert (sys.stdout, sys.stderr) == before
    start = sim.world.started_ns
    for one, name in zip(made, "ab", strict=True):
        seen = [((at_ns - start) // 10**9, stream, line) for at_ns, stream, line in one.output.lines]
        assert seen == [
            (0, "stdout", f"begin {name}"),
            (6, "stdout", "half a line"),
            (6, "stderr", "one"),
            (6, "stderr", "two"),
        ]
    assert {"begin a", "begin b", "half a half a line"} < set(capsys.readouterr().out.split("\n"))


def test_a_failure_shows_the_last_output(sim: Simulation, capsys: pytest.CaptureFixture[str]) -> None:
    def program() -> None:
        handler = logging.StreamHandler()
        logger = logging.Logger("worker")
        logger.addHandler(handler)
        logger.warning("about to fail")
        time.sleep(3)
        sys.exit("bad luck")

    sim.program(program, name="p")
    with pytest.raises(ProgramFailed, match=r"its last output:\n  2026-01-01 00:00:00.* stderr: about to fail"):
        sim.run()


def test_a_dead_program_writes_no_more(sim: Simulation, capsys: pytest.CaptureFixture[str]) -> None:
    def program() -> None:
        try:
            time.sleep(100)
        except Crashed:
            print("last words")
            raise

    made = sim.program(program)
    sim.faults.add(Crash(times=Times(at_s=3)))
    sim.run()
    assert made.output.lines == []
    assert "last words" not in capsys.readouterr().out


def test_what_a_program_logs_is_kept_once_whoever_handles_it(sim: Simulation, caplog: pytest.LogCaptureFixture) -> None:
    def program() -> None:
        silent, loud = logging.getLogger("silent"), logging.Logger("loud")
        loud.addHandler(logging.StreamHandler())
        time.sleep(2)
        silent.info("below the level")
        silent.warning("about %s", "this")
        loud.warning("that")

    one = sim.program(program)
    sim.run()
    start = sim.world.started_ns
    seen = [((at_ns - start) // 10**9, stream, line) for at_ns, stream, line in one.output.lines]
    assert seen == [(2, "log", "WARNING silent: about this"), (2, "stderr", "that")]
    assert [record.getMessage() for record in caplog.records] == ["about this"]
