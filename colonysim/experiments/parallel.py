"""Run many jobs in parallel processes, or on any `concurrent.futures` executor, whatever happens to the processes.

A job that fails, even by killing its process, affects no other. Its result depends neither on how many jobs are
parallel nor on the order in which they finish.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from itertools import chain
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from queue import Empty, SimpleQueue
from typing import Any, Final, Generic, TypeVar

J = TypeVar("J")
R = TypeVar("R")

one_at_a_time: Final = threading.Lock()
"""Held during a run: the patches for programs are global to a process, and an executor may have several threads."""
_AHEAD: Final = 3
"""Jobs submitted ahead for each parallel process, so that none is idle."""
_PRELOADED: Final = ("colonysim.experiments.compare", "colonysim.experiments.exploration")
"""What the processes of a pool import once, before they are copied from one that has."""


class WorkerPool:
    """Base class of pools, which run jobs: `width` of them at a time. A subclass defines `executor`."""

    def __init__(self, width: int) -> None:
        self.width = width

    def submit(self, function: Callable[..., R], *arguments: Any) -> Future[R]:
        """Start a job: a call of a function that another process can import, with arguments that can be pickled."""
        return self.executor().submit(function, *arguments)

    def executor(self) -> Executor:
        """Return the `concurrent.futures` executor that runs the jobs."""
        raise TypeError(f"{type(self).__name__} must define executor()")

    def mend(self) -> None:
        """Recover after a job that killed its process."""

    def close(self, at_once: bool) -> None:
        """Release all resources; `at_once`: without waiting for jobs in progress."""


class InThisProcess(WorkerPool):
    """This process, one job after the other."""

    def __init__(self) -> None:
        super().__init__(1)

    def submit(self, function: Callable[..., R], *arguments: Any) -> Future[R]:
        """Do a job at once."""
        future: Future[R] = Future()
        try:
            future.set_result(function(*arguments))
        except Exception as error:
            future.set_exception(error)
        return future


class KnownFirst(WorkerPool):
    """A pool that does only the jobs whose results are not known. `known`: returns the result of a job, or None."""

    def __init__(self, pool: WorkerPool, known: Callable[[Any], Any]) -> None:
        super().__init__(pool.width)
        self.pool = pool
        self.known = known

    def submit(self, function: Callable[..., R], *arguments: Any) -> Future[R]:
        """Start a job, or return a future that has its known result."""
        result = self.known(*arguments)
        if result is None:
            return self.pool.submit(function, *arguments)
        future: Future[R] = Future()
        future.set_result(result)
        return future

    def mend(self) -> None:
        """Recover after a job that killed its process."""
        self.pool.mend()

    def close(self, at_once: bool) -> None:
        """Release all resources; `at_once`: without waiting for jobs in progress."""
        self.pool.close(at_once)


class Processes(WorkerPool):
    """Processes of this machine: `width` of them, by default one per core."""

    def __init__(self, width: int | None = None) -> None:
        super().__init__(width or os.cpu_count() or 1)
        self._made: ProcessPoolExecutor | None = None
        self._others: list[BaseProcess] = []

    def executor(self) -> ProcessPoolExecutor:
        """Return the process pool, started on first use."""
        if self._made is None:
            # Not fork: a copy of this process would lack the threads of programs or of a test runner.
            context = multiprocessing.get_context("forkserver")
            context.set_forkserver_preload([*_PRELOADED])
            self._others = multiprocessing.active_children()
            self._made = ProcessPoolExecutor(self.width, context, initializer=_prepare_worker)
        return self._made

    def mend(self) -> None:
        """Discard the broken process pool; the next job starts another."""
        if self._made is not None:
            self._made.shutdown(wait=True, cancel_futures=True)
            self._made = None

    def close(self, at_once: bool) -> None:
        """Stop the process pool; `at_once`: terminate its processes."""
        if self._made is None:
            return
        if at_once:
            for child in multiprocessing.active_children():
                if child not in self._others:
                    child.terminate()
        self._made.shutdown(wait=True, cancel_futures=True)
        self._made = None


def _prepare_worker() -> None:
    """Ignore Ctrl-C, which the parent handles, and end this process when the parent has ended."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, name="colonysim-end-with-parent", daemon=True).start()


def _end_with_parent() -> None:
    """End this process when its parent has ended, even by SIGKILL: nothing else would stop a busy worker then."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    wait([parent.sentinel])
    os._exit(1)


class Stop:
    """Stops running jobs early. A signal handler or another thread may call `ask` at any moment.

    An exception raised in a signal handler may interrupt `concurrent.futures` while it holds a lock, which is then
    never released. This class uses a flag and a reentrant queue instead.
    """

    def __init__(self) -> None:
        self.asked = False
        self.finished: SimpleQueue[Future[Any] | None] = SimpleQueue()

    def ask(self) -> None:
        """Request the stop: no further job starts, and those in progress are abandoned."""
        self.asked = True
        self.finished.put(None)  # wakes the thread that waits for a result


def run_all(
    function: Callable[[J], R],
    jobs: Iterable[J],
    pool: WorkerPool,
    *,
    broken: Callable[[J, str, str], R],
    is_last: Callable[[R], bool] = lambda result: False,
    stop: Stop | None = None,
) -> Generator[tuple[int, R], None, None]:
    """Call a function with each job, and yield the job's place in the order and its result as soon as there is one.

    `broken`: makes the result of a job that raised an exception or killed its process, from the job, the kind of
    failure and its text. `is_last`: whether no job after this one is wanted. `stop`: object to stop early; use a new
    one for each call. Closes the pool at the end; if the caller closes this generator early, the pool's processes are
    terminated. Raises ValueError if there are no jobs, and what the function raises of that class: a job that cannot
    be run.
    """
    stop = stop or Stop()
    coming = iter(jobs)
    done = False
    try:
        first = next(coming)
    except StopIteration:
        raise ValueError("no jobs to run: give at least one") from None
    batch = _Batch(function, chain((first,), coming), pool, broken, is_last, stop)
    try:
        yield from batch.results()
        done = not stop.asked
    finally:
        pool.close(at_once=not done)


class _Batch(Generic[J, R]):
    """Jobs in progress.

    `places`: place in the order and job of each submitted call. `suspects`: jobs that a dead process may have been
    running; they are repeated one at a time, to find the one that kills its process.
    """

    def __init__(
        self,
        function: Callable[[J], R],
        jobs: Iterator[J],
        pool: WorkerPool,
        broken: Callable[[J, str, str], R],
        is_last: Callable[[R], bool],
        stop: Stop,
    ) -> None:
        self.function = function
        self.jobs = enumerate(jobs)
        self.pool = pool
        self.broken = broken
        self.is_last = is_last
        self.stop = stop
        self.places: dict[Future[R], tuple[int, J]] = {}
        self.suspects: deque[tuple[int, J]] = deque()
        self.last: int | None = None  # results after this place are dropped

    def results(self) -> Iterator[tuple[int, R]]:
        """Submit all jobs, and yield their places and results as they end."""
        self._submit_ahead()
        while (self.places or self.suspects) and not self.stop.asked:
            if not self.places:
                yield from self._run_suspects()
                self._submit_ahead()
                continue
            for place, job, future in self._finished():
                if self.places.pop(future, None) is None:
                    continue  # it was abandoned in the meantime
                result = self._result(future, place, job)
                if result is not None and self._counts(place, result):
                    yield place, result
            if not self.suspects:
                self._submit_ahead()

    def _finished(self) -> list[tuple[int, J, Future[R]]]:
        """Wait until a job ends or a stop is requested, and return all jobs that have ended, ordered by place."""
        ended = [self.stop.finished.get()]
        try:
            while True:
                ended.append(self.stop.finished.get_nowait())
        except Empty:
            pass
        known = [future for future in ended if future is not None and future in self.places]
        return sorted(((*self.places[future], future) for future in known), key=lambda each: each[0])

    def _submit(self, job: J) -> Future[R]:
        future = self.pool.submit(self.function, job)
        future.add_done_callback(self.stop.finished.put)
        return future

    def _submit_ahead(self) -> None:
        """Submit jobs until enough are in progress."""
        while self.last is None and not self.stop.asked and len(self.places) < self.pool.width * _AHEAD:
            following = next(self.jobs, None)
            if following is None:
                return
            place, job = following
            try:
                future = self._submit(job)
            except BrokenProcessPool:
                self.suspects.append((place, job))
                self._suspect_all()
                return
            self.places[future] = place, job

    def _result(self, future: Future[R], place: int, job: J) -> R | None:
        try:
            return future.result()
        except ValueError:
            raise
        except BrokenProcessPool:
            self.suspects.append((place, job))
            self._suspect_all()
            return None
        except Exception as error:  # other executors have exceptions of their own for a process that died
            return self.broken(job, "process died", f"the process that ran this seed died: {error}")

    def _suspect_all(self) -> None:
        """Mark all jobs in progress as suspects: a process died, and it is unknown which of them it was running."""
        for future, (place, job) in list(self.places.items()):
            if not future.done() or future.cancelled() or future.exception() is not None:
                self.suspects.append((place, job))
                del self.places[future]
        self.pool.mend()

    def _run_suspects(self) -> Iterator[tuple[int, R]]:
        """Repeat the suspects one at a time, and yield their places and results."""
        while self.suspects and not self.stop.asked:
            suspect = min(self.suspects, key=lambda each: each[0])
            self.suspects.remove(suspect)
            place, job = suspect
            result = self._alone(job)
            if result is not None and self._counts(place, result):
                yield place, result

    def _alone(self, job: J) -> R | None:
        """Run a job while no other runs, because it may kill its process. Return None if a stop is requested."""
        try:
            future = self._submit(job)
            while self.stop.finished.get() is not future:
                if self.stop.asked:
                    return None
            return future.result()
        except ValueError:
            raise
        except Exception as error:
            self.pool.mend()
            return self.broken(job, "process died", f"the process that ran this seed died: {error}")

    def _counts(self, place: int, result: R) -> bool:
        """Return whether to yield a result. The last one that is wanted cancels all jobs after it."""
        if self.last is not None and place > self.last:
            return False
        if self.is_last(result):
            self.last = place
            for future, (other, _) in list(self.places.items()):
                if other > place:
                    future.cancel()
                    del self.places[future]
        return True
