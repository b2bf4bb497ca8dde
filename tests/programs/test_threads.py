"""Threads that programs start act in turn with all others, and wait in virtual time."""

from __future__ import annotations

import _thread
import queue
import sched
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from typing import Any

import pytest

from colonysim import ColonyClient, Simulation, Stuck
from colonysim.faults import Crash, Pause, SlowDown, Terminate, Times, When
from tests.programs.running import ran
from tests.programs.serving import START

MADE_BEFORE = {
    "event": threading.Event(),
    "condition": threading.Condition(),
    "semaphore": threading.Semaphore(0),
    "queue": queue.Queue[int](),
    "simple queue": queue.SimpleQueue[int](),
}
LOCKS_MADE_BEFORE = (threading.Lock(), threading.RLock(), threading.Lock())


def now() -> float:
    """Seconds since the simulation began."""
    return time.time() - START.timestamp()


@pytest.fixture(autouse=True)
def _no_thread_is_left() -> Iterator[None]:
    before = set(threading.enumerate())
    yield
    for thread in set(threading.enumerate()) - before:
        thread.join(5)
        assert not thread.is_alive(), thread


# ---------------------------------------------------------------- threads
@pytest.mark.parametrize("daemon", [True, False])
def test_a_heartbeat_beats_in_virtual_time(daemon: bool) -> None:
    beats: list[float] = []

    def program() -> list[Any]:
        stop = threading.Event()

        def beat() -> None:
            while not stop.wait(1):
                beats.append(now())

        thread = threading.Thread(target=beat, daemon=daemon)
        alive = [thread.is_alive()]
        thread.start()
        alive.append(thread.is_alive())
        time.sleep(30.5)
        stop.set()
        thread.join()
        return [*alive, thread.is_alive()]

    assert ran(program).result == [False, True, False]
    assert beats == list(range(1, 31))


def _timer() -> None:
    timer = threading.Timer(3, _thread.get_ident)
    timer.start()
    timer.join()


def _timer_cancelled() -> None:
    timer = threading.Timer(30, _thread.get_ident)
    timer.start()
    time.sleep(3)
    timer.cancel()
    timer.join()


def _pool() -> None:
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(lambda s: (time.sleep(s), s)[1], [3, 1, 2])) == [3, 1, 2]


def _future() -> None:
    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(time.sleep, 3)
        with pytest.raises(TimeoutError):
            future.result(timeout=1)
        assert wait([future], timeout=1).not_done == {future}
        assert now() == 2


def _join_with_a_limit() -> None:
    thread = threading.Thread(target=time.sleep, args=(3,))
    thread.start()
    thread.join(timeout=1)
    assert [thread.is_alive(), now()] == [True, 1]
    thread.join(timeout=100)


def _raw_thread() -> None:
    done = _thread.allocate_lock()
    done.acquire()
    _thread.start_new_thread(lambda: (time.sleep(3), done.release()), ())
    done.acquire()


def _event_set_by_another() -> None:
    event = threading.Event()
    threading.Timer(3, event.set).start()
    assert event.wait(10)


def _barrier() -> None:
    barrier = threading.Barrier(2)
    threading.Thread(target=lambda: (time.sleep(3), barrier.wait())).start()
    barrier.wait(10)


def _broken_barrier() -> None:
    with pytest.raises(threading.BrokenBarrierError):
        threading.Barrier(2).wait(3)


def _condition() -> None:
    condition, ready = threading.Condition(), []

    def notify() -> None:
        time.sleep(3)
        with condition:
            ready.append(1)
            condition.notify()

    threading.Thread(target=notify).start()
    with condition:
        assert condition.wait_for(lambda: ready, timeout=10)


def _lock() -> None:
    lock = threading.Lock()
    threading.Thread(target=lambda: lock.acquire() and (time.sleep(3), lock.release())).start()
    time.sleep(1)
    assert not lock.acquire(blocking=False)
    assert not lock.acquire(timeout=1)
    with lock:
        pass


def _recursive_lock() -> None:
    lock = threading.RLock()

    def hold() -> None:
        with lock, lock:
            time.sleep(3)

    threading.Thread(target=hold).start()
    time.sleep(1)
    with lock, lock:
        pass


def _bounded_queue() -> None:
    full: queue.Queue[int] = queue.Queue(1)
    full.put(1)
    with pytest.raises(queue.Full):
        full.put(2, timeout=1)
    threading.Timer(2, full.get).start()
    full.put(2)


def _task_done() -> None:
    tasks: queue.Queue[int] = queue.Queue()

    def work() -> None:
        time.sleep(tasks.get())
        tasks.task_done()

    threading.Thread(target=work).start()
    tasks.put(3)
    tasks.join()


def _sched() -> None:
    scheduler = sched.scheduler()
    scheduler.enter(3, 1, _thread.get_ident)
    scheduler.run()


def _empty(kind: Callable[[], Any]) -> Callable[[], None]:
    def get() -> None:
        with pytest.raises(queue.Empty):
            kind().get(timeout=3)

    return get


def _filled(kind: Callable[[], Any]) -> Callable[[], None]:
    def get() -> None:
        filled = kind()
        threading.Timer(3, filled.put, [7]).start()
        assert filled.get(timeout=100) == 7

    return get


@pytest.mark.parametrize(
    "code",
    [
        _timer, _timer_cancelled, _pool, _future, _join_with_a_limit, _raw_thread, _event_set_by_another, _barrier,
        _broken_barrier, _condition, _lock, _recursive_lock, _bounded_queue, _task_done, _sched,
        lambda: threading.Event().wait(3), lambda: threading.Semaphore(0).acquire(timeout=3),
        _empty(queue.Queue), _empty(queue.SimpleQueue), _empty(queue.LifoQueue),
        _filled(queue.Queue), _filled(queue.SimpleQueue), _filled(queue.PriorityQueue),
    ],
)  # fmt: skip
def test_waits_take_virtual_time(code: Callable[[], object]) -> None:
    def program() -> float:
        code()
        return now()

    assert ran(program).result == 3


@pytest.mark.parametrize("name", MADE_BEFORE)
def test_what_a_module_has_made_before_is_waited_for_as_well(name: str) -> None:
    made: Any = MADE_BEFORE[name]

    def tell() -> None:
        time.sleep(3)
        with made if name == "condition" else threading.Lock():
            (
                made.set() if name == "event" else made.notify() if name == "condition"
                else made.release() if name == "semaphore" else made.put(1)
            )  # fmt: skip

    def program() -> list[float]:
        waited = {"event": lambda: made.wait(1), "condition": lambda: made.wait(1)}.get(name)
        with made if name == "condition" else threading.Lock():
            if waited is not None:
                assert not waited()
            elif name == "semaphore":
                assert not made.acquire(timeout=1)
            else:
                with pytest.raises(queue.Empty):
                    made.get(timeout=1)
        first = now()
        threading.Thread(target=tell).start()
        with made if name == "condition" else threading.Lock():
            made.wait() if waited is not None else made.acquire() if name == "semaphore" else made.get()
        return [first, now()]

    assert ran(program).result == [1, 4]


@pytest.mark.parametrize("lock", LOCKS_MADE_BEFORE[:2])
def test_a_lock_that_a_module_has_made_before_is_waited_for_as_well(lock: Any) -> None:
    def hold() -> None:
        with lock:
            time.sleep(3)

    def program() -> list[Any]:
        threading.Thread(target=hold).start()
        time.sleep(1)
        tried = [lock.acquire(blocking=False), lock.acquire(timeout=1), now()]
        with lock:
            return [*tried, now()]

    assert ran(program).result == [False, False, 2, 3]
    assert lock.acquire(blocking=False)
    lock.release()


def refusals(lock: Any) -> list[str]:
    """The texts with which a lock refuses wrong arguments; they differ between versions of Python."""
    texts = []
    for args in ((False, 3), (True, -2)):
        with pytest.raises(ValueError) as e:
            lock.acquire(*args)
        texts.append(str(e.value))
    with pytest.raises(RuntimeError):
        lock.release()
    return texts


def test_wrong_arguments_are_refused_as_ever() -> None:
    def program() -> list[list[str]]:
        return [refusals(lock) for lock in (threading.Lock(), LOCKS_MADE_BEFORE[0])]

    assert ran(program).result == [refusals(threading.Lock())] * 2


# ---------------------------------------------------------------- what a program sees of its threads
def test_a_program_sees_its_own_threads_only(sim: Simulation) -> None:
    seen: list[Any] = []

    def program() -> None:
        main = threading.current_thread()
        thread = threading.Thread(target=time.sleep, args=(3,), name="sleeper")
        thread.start()
        seen.append(
            [threading.main_thread() is main, threading.enumerate() == [main, thread], threading.active_count()]
        )
        for other in threading.enumerate():
            if other is not threading.main_thread():
                other.join()
        seen.append([now(), threading.enumerate() == [main]])

    sim.program(program)
    sim.program(time.sleep, 10)
    sim.run()
    assert seen == [[True, True, 2], [3, True]]


def test_a_program_ends_with_its_last_thread_that_is_no_daemon() -> None:
    done: list[float] = []
    pools: list[ThreadPoolExecutor] = []

    def program() -> str:
        threading.Thread(target=lambda: (time.sleep(5), done.append(now()))).start()
        threading.Thread(target=lambda: (time.sleep(50), done.append(now())), daemon=True).start()
        pools.append(ThreadPoolExecutor(2))  # nobody shuts it down
        pools[0].submit(lambda: (time.sleep(8), done.append(now())))
        return "main"

    assert ran(program).result == "main"
    assert done == [5, 8]


def test_the_order_of_threads_is_drawn_from_the_seed() -> None:
    def program() -> list[int]:
        order: list[int] = []

        def act(number: int) -> None:
            for _ in range(3):
                time.sleep(1)
                order.append(number)

        threads = [threading.Thread(target=act, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return order

    orders = [ran(program, seed=seed, name="p").result for seed in range(10)]
    assert len({tuple(order) for order in orders}) > 5
    assert [ran(program, seed=seed, name="p").result for seed in range(10)] == orders


# ---------------------------------------------------------------- dead-locks
@pytest.mark.parametrize("locks", [None, LOCKS_MADE_BEFORE])
def test_a_deadlock_is_told_at_once_with_both_stacks(sim: Simulation, locks: Any) -> None:
    def one(a: Any, b: Any) -> None:
        with a:
            time.sleep(1)
            with b:
                pass

    def program() -> None:
        a, b, _ = locks or (threading.Lock(), threading.RLock(), None)
        threading.Thread(target=one, args=(a, b), name="first").start()
        with b:
            time.sleep(1)
            a.acquire()

    sim.program(program, name="p")
    sim.program(lambda: [time.sleep(1) for _ in range(1000)], name="other")
    with pytest.raises(Stuck, match="threads wait for each other") as e:
        sim.run()
    text = str(e.value)
    for part in ("program p, thread first waits", "program p waits", "in one", "in program\n    a.acquire()"):
        assert part in text
    assert sim.now_ns == START.timestamp() * 10**9 + 10**9


def test_a_thread_that_joins_one_which_waits_for_its_lock_is_deadlocked(sim: Simulation) -> None:
    def program() -> None:
        lock = threading.Lock()
        with lock:
            thread = threading.Thread(target=lock.acquire, name="taker")
            thread.start()
            thread.join()

    sim.program(program, name="p")
    with pytest.raises(Stuck, match=r"threads wait for each other(.|\n)*thread.join"):
        sim.run()


def test_who_waits_for_ever_is_told_with_what_it_waits_for(sim: Simulation) -> None:
    sim.program(lambda: threading.Event().wait(), name="p")
    with pytest.raises(Stuck, match=r"no further event can happen(.|\n)*program p waits for another thread"):
        sim.run()


# ---------------------------------------------------------------- faults
def _beats(sim: Simulation, **options: Any) -> list[float]:
    """A program whose thread beats each 10 s, while its main thread sleeps."""
    beats: list[float] = []

    def program() -> None:
        stop = threading.Event()

        def beat() -> None:
            while not stop.wait(10):
                beats.append(now())

        threading.Thread(target=beat).start()
        time.sleep(1000)

    sim.program(program, name="p", forever=True, **options)
    return beats


def test_threads_crash_with_their_program(sim: Simulation) -> None:
    beats = _beats(sim)
    sim.faults.add(Crash(actors="p", times=Times(at_s=25), restart_after_s=10))
    sim.run(for_s=60)
    assert beats == [10, 20, 45, 55]


def test_threads_stand_still_with_their_program(sim: Simulation) -> None:
    beats = _beats(sim)
    sim.faults.add(Pause(times=Times(at_s=25), for_s=30))
    sim.run(for_s=80)
    assert beats == [10, 20, 55, 65, 75]


def test_threads_are_slow_with_their_program(sim: Simulation) -> None:
    beats = _beats(sim)
    sim.faults.add(SlowDown(times=Times(at_s=15), factor=3, for_s=20))
    sim.run(for_s=70)
    assert beats == [10, 20, 50, 60, 70]


@pytest.mark.parametrize("step", range(1, 12))
def test_a_program_with_a_pool_can_crash_at_any_step(sim: Simulation, colony: ColonyClient, step: int) -> None:
    def program() -> None:
        with ThreadPoolExecutor(3) as pool:
            list(pool.map(lambda number: (time.sleep(number), colony.statistics()), range(4)))

    made = sim.program(program)
    sim.faults.add(Crash(when=When(nth=step), restart_after_s=1))
    sim.run()
    assert (made.state, made.lives) == ("over", 2)


def test_an_error_in_a_thread_leaves_the_program_alive(sim: Simulation, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[Any] = []
    monkeypatch.setattr(threading, "excepthook", lambda args: told.append(args.exc_type))

    def program() -> str:
        thread = threading.Thread(target=lambda: {}["missing"])
        thread.start()
        thread.join()
        return "goes on"

    made = sim.program(program)
    sim.run()
    assert (made.result, told) == ("goes on", [KeyError])


def test_a_thread_may_join_one_that_the_ending_program_has_waited_for(sim: Simulation) -> None:
    joined: list[float] = []

    def work() -> None:
        first = threading.Thread(target=time.sleep, args=[1])
        first.start()

        def join_later() -> None:
            time.sleep(5)
            first.join()
            joined.append(now())

        threading.Thread(target=join_later).start()

    sim.program(work)
    sim.run_until_idle()
    assert joined == [5.0]


def test_an_interrupted_join_does_not_end_the_thread(sim: Simulation) -> None:
    seen: list[float] = []

    def work() -> None:
        def sleep() -> None:
            time.sleep(10)
            seen.append(now())

        thread = threading.Thread(target=sleep)
        thread.start()
        try:
            thread.join()
        except KeyboardInterrupt:
            assert thread.is_alive()
            thread.join()
            seen.append(now())

    sim.faults.add(Terminate(times=Times(at_s=3), actors=["work"], signal="SIGINT", grace_s=60))
    sim.program(work, name="work")
    sim.run_until_idle()
    assert seen == [10.0, 10.0]
