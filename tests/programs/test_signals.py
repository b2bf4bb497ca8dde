"""Programs have signal handlers, alarms and process numbers of their own."""

from __future__ import annotations

import asyncio
import os
import queue
import signal
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from colonysim import ColonyClient, ProcessState, ProgramFailed, Simulation
from colonysim.faults import Pause, Terminate, Times
from colonysim.programs.program import Program
from tests.programs.running import ran
from tests.programs.serving import START, serve


def now() -> float:
    """Seconds since the simulation began."""
    return time.time() - START.timestamp()


def tell(sim: Simulation, program: Program, at_s: float, number: int = signal.SIGTERM, **options: Any) -> None:
    """Have a program told to end after so many seconds."""
    options = {"grace_s": 10.0, **options}
    with sim.kernel.lock:
        due_ns = sim.kernel.world.now_ns + round(at_s * 10**9)
        sim.kernel.timetable.add(due_ns, lambda: program.terminate(number, **options), "a test")


# ---------------------------------------------------------------- handlers
def test_handlers_are_the_programs_own() -> None:
    def program() -> list[Any]:
        seen = [signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT) is signal.default_int_handler]
        seen.append(signal.signal(signal.SIGTERM, signal.SIG_IGN))
        seen.append(signal.signal(signal.SIGTERM, print))
        seen.append(signal.getsignal(signal.SIGTERM) is print)
        return seen

    before = signal.getsignal(signal.SIGTERM)
    assert ran(program).result == [signal.SIG_DFL, True, signal.SIG_DFL, signal.SIG_IGN, True]
    assert ran(program).result == [signal.SIG_DFL, True, signal.SIG_DFL, signal.SIG_IGN, True]
    assert signal.getsignal(signal.SIGTERM) is before


@pytest.mark.parametrize(
    ("number", "handler", "error"),
    [(signal.SIGKILL, print, OSError), (99, print, ValueError), (signal.SIGTERM, "no", TypeError)],
)
def test_wrong_handlers_are_refused_as_ever(number: int, handler: Any, error: type[Exception]) -> None:
    def program() -> None:
        with pytest.raises(error):
            signal.signal(number, handler)

    ran(program)


def test_only_the_main_thread_sets_handlers() -> None:
    def program() -> list[str]:
        texts: list[str] = []

        def other() -> None:
            with pytest.raises(ValueError) as e:
                signal.signal(signal.SIGTERM, signal.SIG_IGN)
            texts.append(str(e.value))

        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
        return texts

    assert ran(program).result == ["signal only works in main thread of the main interpreter"]


def _waits() -> list[Callable[[], object]]:
    return [
        lambda: time.sleep(10),
        lambda: threading.Event().wait(10),
        lambda: threading.Lock().acquire() and threading.Condition().acquire() and time.sleep(10),
        lambda: _ignored(queue.Empty, lambda: queue.SimpleQueue[int]().get(timeout=10)),
    ]


def _ignored(error: type[Exception], code: Callable[[], object]) -> None:
    with pytest.raises(error):
        code()


@pytest.mark.parametrize("wait", _waits())
def test_a_handler_runs_at_once_and_the_wait_goes_on(sim: Simulation, wait: Callable[[], object]) -> None:
    seen: list[Any] = []

    def program() -> float:
        signal.signal(signal.SIGUSR1, lambda number, frame: seen.append((number, now(), frame is not None)))
        wait()
        return now()

    made = sim.program(program)
    tell(sim, made, 3, signal.SIGUSR1, grace_s=100)
    sim.run()
    assert (made.result, seen) == (10, [(signal.SIGUSR1, 3, True)])


def test_a_handler_that_raises_ends_the_wait(sim: Simulation) -> None:
    class Interrupted(Exception):
        pass

    def interrupt(*_: Any) -> None:
        raise Interrupted

    def program() -> float:
        signal.signal(signal.SIGUSR1, interrupt)
        with pytest.raises(Interrupted):
            time.sleep(10)
        return now()

    made = sim.program(program)
    tell(sim, made, 3, signal.SIGUSR1)
    sim.run()
    assert made.result == 3


def test_a_handler_may_sleep_and_call_the_server(sim: Simulation, colony: ColonyClient) -> None:
    executor = colony.add_executor("a")

    def leave(*_: Any) -> None:
        time.sleep(2)
        colony.submit("the last one", executortype="b")
        os._exit(0)

    def program() -> None:
        signal.signal(signal.SIGTERM, leave)
        serve(executor)

    made = sim.program(program)
    tell(sim, made, 5)
    sim.run()
    assert (made.state, made.status, len(colony.processes())) == ("over", 0, 1)
    assert sim.now_ns == (START.timestamp() + 7) * 10**9


def test_an_event_that_a_handler_sets_ends_the_main_loop(sim: Simulation) -> None:
    stop = threading.Event()  # as one of a module

    def program() -> float:
        signal.signal(signal.SIGTERM, lambda *_: stop.set())
        while not stop.wait(60):
            pass
        return now()

    made = sim.program(program)
    tell(sim, made, 75)
    sim.run()
    assert made.result == 75


def test_pause_waits_for_a_signal(sim: Simulation) -> None:
    def program() -> float:
        signal.signal(signal.SIGTERM, lambda *_: None)
        signal.pause()
        return now()

    made = sim.program(program)
    tell(sim, made, 4)
    sim.run()
    assert made.result == 4


def test_a_loop_handles_signals_as_it_does_in_a_process(sim: Simulation) -> None:
    async def program() -> float:
        stop = asyncio.Event()
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
        await stop.wait()
        return now()

    made = sim.program(program)
    tell(sim, made, 4)
    sim.run()
    assert made.result == 4


def test_a_loop_is_interrupted_from_the_keyboard(sim: Simulation) -> None:
    async def program() -> None:
        try:
            await asyncio.sleep(100)
        except asyncio.CancelledError:
            await asyncio.sleep(2)  # it tidies up
            raise

    made = sim.program(program)
    tell(sim, made, 4, signal.SIGINT)
    sim.run()
    assert made.state == "over"
    assert sim.now_ns == (START.timestamp() + 6) * 10**9


# ---------------------------------------------------------------- alarms
def test_an_alarm_rings_in_virtual_time() -> None:
    def program() -> list[Any]:
        rung: list[Any] = []
        signal.signal(signal.SIGALRM, lambda *_: rung.append(now()))
        assert signal.alarm(5) == 0
        time.sleep(2.5)
        assert signal.alarm(4) == 3
        time.sleep(10)
        signal.setitimer(signal.ITIMER_REAL, 1, 0.5)
        time.sleep(1.75)
        assert signal.getitimer(signal.ITIMER_REAL) == (0.25, 0.5)
        assert signal.setitimer(signal.ITIMER_REAL, 0) == (0.25, 0.5)
        time.sleep(5)
        return rung

    assert ran(program).result == [6.5, 13.5, 14.0]


def test_an_alarm_without_a_handler_ends_the_program(sim: Simulation) -> None:
    def program() -> None:
        signal.alarm(5)
        time.sleep(100)

    made = sim.program(program)
    sim.run()
    assert (made.state, sim.now_ns) == ("crashed", (START.timestamp() + 5) * 10**9)


def test_a_timer_of_processor_time_is_refused(sim: Simulation) -> None:
    sim.program(lambda: signal.setitimer(signal.ITIMER_VIRTUAL, 1))
    with pytest.raises(ProgramFailed, match=r"take signal\.ITIMER_REAL"):
        sim.run()


# ---------------------------------------------------------------- numbers of processes
@pytest.mark.parametrize("send", [lambda: os.kill(os.getpid(), 10), lambda: signal.raise_signal(10)])
def test_a_program_sends_itself_a_signal(send: Callable[[], None]) -> None:
    def program() -> list[int]:
        seen: list[int] = []
        signal.signal(10, lambda number, _: seen.append(number))
        send()
        return seen

    assert ran(program).result == [10]


def test_programs_send_each_other_signals(sim: Simulation) -> None:
    pids: list[int] = []

    def one() -> float:
        pids.append(os.getpid())
        signal.signal(signal.SIGUSR1, lambda *_: None)
        signal.pause()
        return now()

    def other() -> int:
        time.sleep(3)
        os.kill(pids[0], 0)
        os.kill(pids[0], signal.SIGUSR1)
        return os.getpid()

    first, second = sim.program(one), sim.program(other)
    sim.run()
    assert first.result == 3
    assert len({os.getpid(), second.result, *pids}) == 3


# ---------------------------------------------------------------- being told to end
@pytest.mark.parametrize(
    "leave",
    [lambda: sys.exit(0), lambda: sys.exit(143), lambda: os._exit(1), lambda: signal.default_int_handler(2, None)],
)
def test_who_ends_because_it_was_told_to_has_not_failed(sim: Simulation, leave: Callable[[], object]) -> None:
    def program() -> None:
        signal.signal(signal.SIGTERM, lambda *_: leave())
        time.sleep(100)

    made = sim.program(program)
    tell(sim, made, 3)
    sim.run()
    assert (made.state, sim.now_ns) == ("over", (START.timestamp() + 3) * 10**9)


def test_an_error_while_it_ends_is_a_failure(sim: Simulation) -> None:
    def program() -> None:
        signal.signal(signal.SIGTERM, lambda *_: {}["missing"])
        time.sleep(100)

    made = sim.program(program, name="p")
    tell(sim, made, 3)
    with pytest.raises(ProgramFailed, match="'p' failed: KeyError"):
        sim.run()


@pytest.mark.parametrize("handled", [True, False])
def test_what_is_left_after_the_grace_dies(sim: Simulation, handled: bool) -> None:
    ended: list[float] = []

    def program() -> None:
        if handled:
            signal.signal(signal.SIGTERM, lambda *_: ended.append(now()))
        try:
            time.sleep(100)
        finally:
            ended.append(now())

    made = sim.program(program)
    tell(sim, made, 3, grace_s=7)
    sim.run()
    assert (made.state, ended) == ("crashed", [3, 10] if handled else [3])


@pytest.mark.parametrize("how", ["ends", "is killed", "has no handler"])
def test_who_was_told_to_end_comes_back_where_that_is_asked_for(sim: Simulation, how: str) -> None:
    lives: list[float] = []

    def program() -> None:
        lives.append(now())
        if how != "has no handler":
            signal.signal(signal.SIGTERM, lambda *_: sys.exit() if how == "ends" else None)
        time.sleep(100)

    made = sim.program(program)
    tell(sim, made, 10, grace_s=5, restart_after_s=20)
    sim.run()
    assert lives == [0, 35 if how == "is killed" else 30]
    assert (made.state, made.lives) == ("over", 2)


def test_a_program_that_stands_still_handles_its_signal_later(sim: Simulation) -> None:
    seen: list[float] = []

    def program() -> None:
        signal.signal(signal.SIGTERM, lambda *_: seen.append(now()))
        time.sleep(50)

    made = sim.program(program)
    sim.faults.add(Pause(times=Times(at_s=2), for_s=30))
    tell(sim, made, 3, grace_s=100)
    sim.run()
    assert seen == [32]


@pytest.mark.parametrize("given", ["SIGTERM", "SIGINT"])
def test_the_fault_terminate_sends_a_signal_and_starts_the_program_anew(sim: Simulation, given: Any) -> None:
    seen: list[tuple[str, float]] = []

    def program() -> None:
        seen.append(("begins", now()))
        signal.signal(getattr(signal, given), lambda *_: seen.append(("is told", now())))
        time.sleep(100)

    made = sim.program(program, name="p")
    sim.faults.add(Terminate(actors="p", signal=given, times=Times(at_s=5), grace_s=3, restart_after_s=20))
    sim.run()
    assert seen == [("begins", 0), ("is told", 5), ("begins", 28)]
    assert (made.state, sim.faults.counts) == ("over", {"terminate": 1})


def test_an_executor_that_finishes_its_process_first_loses_nothing(sim: Simulation, colony: ColonyClient) -> None:
    executor = colony.add_executor("a")
    processes = [colony.submit("f", executortype="a", maxexectime=60, maxretries=3) for _ in range(3)]

    def program() -> None:
        stopping: list[int] = []
        signal.signal(signal.SIGTERM, lambda number, _: stopping.append(number))
        while not stopping:
            process = executor.assign(timeout_s=1)
            if process is not None:
                time.sleep(5)
                process.close([])

    made = sim.program(program)
    tell(sim, made, 7, grace_s=30)
    sim.run()
    assert [process.state for process in processes] == [ProcessState.SUCCESS] * 2 + [ProcessState.WAITING]
    assert made.state == "over"


def test_the_wakeup_descriptor_takes_its_keyword_in_programs_and_beside_them(sim: Simulation) -> None:
    def program() -> int:
        return signal.set_wakeup_fd(-1, warn_on_full_buffer=False)

    started = sim.program(program)
    sim.run()
    assert started.result == -1
    before = signal.set_wakeup_fd(-1, warn_on_full_buffer=False)  # the functions are still replaced
    assert signal.set_wakeup_fd(before, warn_on_full_buffer=True) == -1
