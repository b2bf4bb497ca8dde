"""How programs end: by errors, by something real, by crashes."""

from __future__ import annotations

import gc
import os
import sys
import threading
import time
from pathlib import Path
from time import sleep
from typing import Any

import pytest

from colonysim import ColonyClient, Crashed, ProcessState, ProgramFailed, Simulation, Stuck
from colonysim.faults import Crash, Times, When
from colonysim.kernel import actors
from colonysim.programs import program_thread
from colonysim.programs import turns as turns_module
from colonysim.programs.host import place, stack
from tests.programs.serving import START, serve


# ---------------------------------------------------------------- errors
def test_an_error_reaches_the_test_with_name_and_stack(sim: Simulation) -> None:
    def break_down() -> None:
        sleep(5)
        raise KeyError("lost key")

    sim.program(break_down, name="unlucky")
    with pytest.raises(
        ProgramFailed, match=r"program 'unlucky' failed: KeyError\('lost key'\)(.|\n)*in break_down"
    ) as e:
        sim.run()
    assert isinstance(e.value.error, KeyError)
    assert (sim.now - START).total_seconds() == 5


def test_a_supervised_program_is_started_anew(sim: Simulation) -> None:
    starts: list[float] = []

    def run() -> str:
        starts.append(time.time() - START.timestamp())
        sleep(1)
        if len(starts) < 3:
            raise RuntimeError
        return "done"

    program = sim.program(run, restart_after_s=10)
    sim.run()
    assert starts == [0, 11, 22]
    assert (program.result, program.lives) == ("done", 3)


def test_all_programs_can_be_stopped_after_several_have_failed(sim: Simulation) -> None:
    ended: list[int] = []

    def fail(number: int) -> None:
        try:
            sleep(1 if number else 100)
            raise RuntimeError
        finally:
            ended.append(number)

    for number in range(4):
        sim.program(fail, number)
    with pytest.raises(ProgramFailed):
        sim.run()
    sim.stop_programs()
    assert sorted(ended) == [0, 1, 2, 3]
    assert sim.kernel.programs is None


def test_a_program_blocked_by_something_real_is_told(sim: Simulation, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns_module, "STUCK_AFTER_S", 0.2)
    lock = threading.Lock()
    lock.acquire()

    def hang() -> None:
        lock.acquire()

    sim.program(hang, name="hanger")
    with pytest.raises(
        Stuck,
        match=r"program 'hanger' is blocked by something real(.|\n)*in hang(.|\n)*program hanger acts, at .*test_ends.py:[0-9]+ in hang",
    ):
        sim.run()
    with pytest.raises(Stuck, match="cannot go on"):
        sim.run()
    lock.release()


def test_a_program_that_polls_an_event_goes_on_in_virtual_time(sim: Simulation) -> None:
    event, polls = threading.Event(), 0

    def poll() -> None:
        nonlocal polls
        while not event.wait(0.5):
            polls += 1

    sim.program(poll, forever=True)
    sim.run(for_s=20)
    assert polls == 40


def test_no_garbage_is_collected_while_it_is_looked_where_a_thread_stands(monkeypatch: pytest.MonkeyPatch) -> None:
    """CPython up to 3.11.8 hangs where it does, once in a while."""
    real, collects = sys._current_frames, []

    def current_frames() -> Any:
        collects.append(gc.isenabled())
        return real()

    monkeypatch.setattr(sys, "_current_frames", current_frames)
    done = threading.Event()
    thread = threading.Thread(target=done.wait)
    thread.start()
    try:
        assert "in wait" in place(thread)
        assert "in wait" in stack(thread)
    finally:
        done.set()
        thread.join()
    assert collects == [False, False]
    assert gc.isenabled()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
@pytest.mark.filterwarnings("ignore:.*fork")
def test_a_child_process_is_no_program(sim: Simulation) -> None:
    statuses: list[int] = []

    def fork() -> None:
        child = os.fork()
        if not child:
            try:
                sleep(0.001)  # real: there is nobody to hand over to
                os._exit(7)
            finally:
                os._exit(8)
        statuses.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))

    sim.program(fork)
    sim.run()
    assert statuses == [7]


def test_a_program_that_computes_is_not_stuck(sim: Simulation, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns_module, "STUCK_AFTER_S", 0.1)

    def compute() -> None:
        begun_ns = time.thread_time_ns()
        while time.thread_time_ns() < begun_ns + 300_000_000:
            sum(range(1000))

    program = sim.program(compute)
    sim.run()
    assert program.over


@pytest.mark.skipif(not Path("/proc/self/schedstat").exists(), reason="this system does not tell who wants a processor")
def test_a_thread_that_wants_a_processor_which_others_have_is_busy() -> None:
    stop = threading.Event()

    def compute() -> None:
        while not stop.is_set():
            sum(range(1000))

    thread = threading.Thread(target=compute)
    thread.start()
    try:
        begun_ns = actors.busy_time_ns(thread)
        while actors.busy_time_ns(thread) < begun_ns + 50_000_000:
            pass  # the two threads want one interpreter, and whatever else this machine does
        assert actors.busy_time_ns(thread) >= actors.cpu_time_ns(thread) > 0
    finally:
        stop.set()
        thread.join()


def test_a_program_that_never_lets_time_move_is_told(
    sim: Simulation, colony: ColonyClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(program_thread, "STEPS_AT_ONCE", 1000)

    def spin() -> None:
        while True:
            colony.statistics()

    sim.program(spin, name="spinner")
    with pytest.raises(Stuck, match="'spinner' has taken 1000 steps without time moving"):
        sim.run()


# ---------------------------------------------------------------- crashes
def test_a_crash_ends_code_that_catches_everything_it_should(sim: Simulation, colony: ColonyClient) -> None:
    last: list[str] = []

    def stubborn() -> None:
        try:
            while True:
                try:
                    sleep(10)
                    colony.statistics()
                except Exception:
                    last.append("caught")
        finally:
            last.append("finally")
            try:
                colony.submit("last words")
            except Crashed:
                last.append("cut off")
                raise

    program = sim.program(stubborn, forever=True)
    sim.faults.add(Crash(times=Times(at_s=25)))
    sim.run(for_s=60)
    assert program.state == "crashed"
    assert last == ["finally", "cut off"]
    assert colony.processes() == []


def test_what_a_crashed_program_waited_for_is_given_up(sim: Simulation, colony: ColonyClient) -> None:
    executor = colony.add_executor("a")
    sim.program(serve, executor, forever=True)
    sim.faults.add(Crash(times=Times(at_s=5)))
    sim.run(for_s=10)
    process = colony.submit("f", executortype="a")
    assert process.state is ProcessState.WAITING


def test_a_crashed_program_comes_back_with_an_empty_memory(sim: Simulation) -> None:
    lives: list[float] = []

    def run() -> None:
        lives.append(time.time() - START.timestamp())
        sleep(1000)

    program = sim.program(run)
    sim.faults.add(Crash(times=Times(at_s=(10, 50)), restart_after_s=7))
    sim.run()
    assert lives == [0, 17, 57]
    assert program.state == "over"
    assert (sim.now - START).total_seconds() == 1057


@pytest.mark.parametrize("seed", range(6))
def test_a_program_comes_back_that_is_started_anew_before_it_knows_of_its_crash(seed: int) -> None:
    sim = Simulation(seed=seed)
    colony = ColonyClient.create(sim, "c")

    def busy() -> None:
        while True:
            sleep(10)
            colony.statistics()

    programs = [sim.program(busy, name=f"p{number}", forever=True) for number in range(3)]
    sim.run(for_s=15)
    sim.faults.add(Crash(actors="p2", times=Times(at_s=15), restart_after_s=0))
    sim.run(for_s=100)
    assert [(program.lives, program.state) for program in programs] == [(1, "running"), (1, "running"), (2, "running")]
    sim.stop_programs()
    for thread in threading.enumerate():
        if thread.name == "colonysim-program-p2":
            thread.join(5)
            assert not thread.is_alive()


def test_what_a_dead_program_swallows_does_not_hold_up_its_next_life(sim: Simulation, colony: ColonyClient) -> None:
    lives: list[float] = []

    def undead() -> None:
        lives.append(time.time() - START.timestamp())
        while True:
            try:
                colony.statistics()
                sleep(1)
            except BaseException:
                if len(lives) > 1:
                    raise

    sim.program(undead, forever=True)
    sim.faults.add(Crash(times=Times(at_s=5), restart_after_s=0))
    sim.run(for_s=20)
    assert lives == [0, 5]


@pytest.mark.parametrize("step", range(1, 9))
def test_a_program_can_crash_at_any_step(sim: Simulation, colony: ColonyClient, step: int) -> None:
    executor = colony.add_executor("a")
    processes = [colony.submit("f", executortype="a", maxexectime=20, maxretries=3) for _ in range(3)]
    program = sim.program(serve, executor, forever=True)
    sim.faults.add(Crash(when=When(nth=step), restart_after_s=1))
    sim.run(for_s=120)
    assert program.lives == 2
    assert [process.state for process in processes] == [ProcessState.SUCCESS] * 3


def test_a_program_that_swallows_its_own_death_is_left_standing(sim: Simulation, colony: ColonyClient) -> None:
    def undead() -> None:
        while True:
            try:
                colony.statistics()
                sleep(1)
            except BaseException:
                pass

    program = sim.program(undead, forever=True)
    other = sim.program(sleep, 100)
    sim.faults.add(Crash(actors="undead", times=Times(at_s=5)))
    sim.run()
    assert (program.state, other.state) == ("crashed", "over")


def test_a_crash_closes_the_websockets_of_a_program(colonysim: Simulation) -> None:
    import websocket

    from tests.serving import signed

    def listen() -> None:
        socket = websocket.create_connection("ws://localhost:50080/pubsub")
        body = signed("subscribeprocessmsg", {"processid": "5" * 64, "executortype": "a", "state": 2, "timeout": 1000})
        socket.send(body.decode())
        socket.recv()

    colonysim.program(listen)
    colonysim.program(sleep, 10)
    colonysim.faults.add(Crash(actors="listen", times=Times(at_s=5)))
    colonysim.run()
    assert len(colonysim.kernel.connections) == 0
