"""Child processes of programs: virtual time stands still while one runs."""

from __future__ import annotations

import math
import multiprocessing
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from colonysim import ColonyClient, ProcessState, Simulation, Stuck
from tests.programs.running import ran
from tests.programs.serving import START

QUICK = [sys.executable, "-c", "import time; time.sleep(0.1)"]


def _polls() -> None:
    child = subprocess.Popen(QUICK)
    while child.poll() is None:
        time.sleep(1)


def _answer(queue: Any) -> None:
    queue.put("answer")


def _process_with_a_queue() -> None:
    queue = multiprocessing.get_context("fork").Queue()
    process = multiprocessing.get_context("fork").Process(target=_answer, args=(queue,))
    process.start()
    assert queue.get(timeout=30) == "answer"
    process.join(timeout=30)
    assert process.exitcode == 0


def _waits(timeout: float | None) -> Callable[[], None]:
    return lambda: (subprocess.Popen(QUICK).wait(timeout), None)[1]


@pytest.mark.parametrize(
    "code",
    [
        lambda: subprocess.run(QUICK, timeout=30, check=True),
        lambda: subprocess.run(QUICK, timeout=0.01, check=True),
        _waits(None),
        _waits(5),
        _waits(30),
        _polls,
        lambda: subprocess.check_output(QUICK, timeout=0.01),
        lambda: subprocess.Popen(QUICK, stdout=-1, stderr=-1).communicate(timeout=5),
        lambda: os.system("true"),
        _process_with_a_queue,
    ],
)
@pytest.mark.filterwarnings("ignore:.*fork")
def test_a_child_process_takes_no_virtual_time(code: Callable[[], object]) -> None:
    def program() -> float:
        code()
        return time.time()

    assert ran(program).result == START.timestamp()


def test_an_executor_that_runs_a_command_closes_in_time(sim: Simulation, colony: ColonyClient) -> None:
    executor, process = colony.add_executor("cli"), colony.submit("train", maxexectime=60, maxretries=3)

    def work() -> None:
        got = executor.assign(timeout_s=100)
        subprocess.run(QUICK, timeout=30, check=True)
        assert got is not None
        got.close(["done"])

    sim.program(work)
    sim.run()
    assert (process.state, process.retries, sim.now_ns) == (ProcessState.SUCCESS, 0, START.timestamp() * 10**9)


# ---------------------------------------------------------------- children that take virtual time
def _now() -> float:
    return time.time() - START.timestamp()


def test_a_child_takes_as_long_as_is_said_for_its_command() -> None:
    def program() -> list[Any]:
        subprocess.run(QUICK, timeout=30, check=True)
        seen: list[Any] = [_now()]
        with pytest.raises(subprocess.TimeoutExpired):
            subprocess.run(["sleep", "0"], timeout=7)
        seen.append(_now())
        child = subprocess.Popen(["sleep", "0.01"])
        while child.poll() is None:
            time.sleep(4)
        return [*seen, _now(), child.returncode]

    assert ran(program, child_s={"sleep *": 10, "*python*": 20}).result == pytest.approx([20, 27, 39, 0], abs=0.06)


def test_a_child_that_stays_ends_when_it_is_killed() -> None:
    def program() -> list[Any]:
        child = subprocess.Popen(["sleep", "1000"])
        time.sleep(60)
        seen: list[Any] = [child.poll()]
        with pytest.raises(subprocess.TimeoutExpired):
            child.wait(timeout=30)
        child.terminate()
        return [*seen, child.wait(), _now()]

    assert ran(program, child_s={"sleep *": math.inf}).result == [None, -15, 90]


def test_a_child_that_never_ends_is_told(sim: Simulation, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("colonysim.programs.turns.CHILD_PATIENCE_S", 0.1)
    children: list[Any] = []

    def program() -> None:
        children.append(subprocess.Popen(["sleep", "1000"]))
        children[0].wait()

    sim.program(program, name="p")
    with pytest.raises(Stuck, match=r"'p' is blocked by a child process \(sleep 1000\)"):
        sim.run()
    sim.stop_programs()
    assert children[0].wait() == -9


def test_wrong_spans_are_refused(sim: Simulation) -> None:
    with pytest.raises(ValueError, match="child_s: 'sleep': give seconds, 0 or more"):
        sim.program(print, child_s={"sleep": -1})


def test_the_helpers_of_multiprocessing_outlive_the_program_that_started_them(tmp_path: Path) -> None:
    """Else the process that runs the programs would find them dead, and warn."""
    (tmp_path / "own.py").write_text(
        "import multiprocessing, os\n"
        "from multiprocessing import resource_tracker\n"
        "from colonysim import Simulation\n"
        "def program():\n"
        "    for way in ('spawn', 'forkserver'):\n"
        "        child = multiprocessing.get_context(way).Process(target=os.getpid)\n"
        "        child.start()\n"
        "        child.join()\n"
        "        assert child.exitcode == 0\n"
        "if __name__ == '__main__':\n"
        "    sim = Simulation()\n"
        "    sim.program(program)\n"
        "    sim.run()\n"
        "    sim.stop_programs()\n"
        "    resource_tracker.ensure_running()\n"
        "    child = multiprocessing.get_context('forkserver').Process(target=os.getpid)\n"
        "    child.start()\n"
        "    child.join()\n"
        "    print(child.exitcode)\n"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "own.py"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert (done.stdout, done.stderr) == ("0\n", "")


@pytest.mark.parametrize("end", [lambda child: child.terminate(), lambda child: child.kill()])
def test_a_child_that_works_can_be_ended(end: Callable[[Any], None]) -> None:
    def program() -> list[Any]:
        child = subprocess.Popen(["sleep", "1000"])
        end(child)
        return [child.wait() < 0, _now()]

    assert ran(program).result == [True, 0]


def test_a_child_that_waits_for_its_input_does_not_hold_time() -> None:
    def program() -> list[Any]:
        with subprocess.Popen(["cat"], stdin=-1, stdout=-1) as child:
            assert child.stdin is not None
            assert child.stdout is not None
            told: list[Any] = []
            for number in range(3):
                child.stdin.write(b"%d\n" % number)
                child.stdin.flush()
                told.append(child.stdout.readline())
                time.sleep(1)
            with pytest.raises(subprocess.TimeoutExpired):
                child.wait(timeout=5)
            return [told, child.poll(), _now()]

    told, status, seconds = ran(program).result
    assert (told, status) == ([b"0\n", b"1\n", b"2\n"], None)
    assert seconds == pytest.approx(8, abs=0.1)


@pytest.mark.parametrize(
    ("end", "status"), [(lambda: sys.exit(5), 5), (lambda: os._exit(6), 6), (lambda: 1 / 0, 1), (lambda: None, 0)]
)
@pytest.mark.parametrize("where", ["main thread", "another thread"])
def test_a_forked_child_ends_with_its_own_status(end: Callable[[], Any], status: int, where: str) -> None:
    found: list[int] = []

    def fork() -> None:
        pid = os.fork()
        if pid == 0:
            end()
        else:
            found.append(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))

    def program() -> None:
        if where == "main thread":
            fork()
        else:
            thread = threading.Thread(target=fork)
            thread.start()
            thread.join()

    ran(program)
    ends_with_the_thread = where == "another thread" and status != 6
    assert found == [0 if ends_with_the_thread else status]
