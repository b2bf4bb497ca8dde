"""Explore a scenario: run it with many seeds, in parallel processes or on any `concurrent.futures` executor.

A run that fails, even by killing its process, affects no other run. The outcome of a seed depends neither on how many
runs are parallel nor on the order in which they finish.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import traceback
from collections import Counter, deque
from collections.abc import Generator, Iterable, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from itertools import chain
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Final

import msgspec
from msgspec.structs import replace

from colonysim.scenarios.runner import BREAKS, Failure, Run
from colonysim.scenarios.scenario import Scenario
from colonysim.scenarios.warnings import RunWarning

_TEXT: Final = 500
_one_at_a_time: Final = threading.Lock()
"""The clock patches for programs are global to a process, and an executor may run seeds in several threads."""
_AHEAD: Final = 3
"""Seeds submitted ahead for each parallel process, so that none is idle."""


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """The outcome of one seed, small enough to send between processes: `failures` come without timelines.

    `faults`: how often each enabled fault struck. `warnings`: parts that did nothing. `notes`: deviations of its
    traces from the recordings. `real_s`: real seconds that the run took.
    """

    seed: int
    digest: str = ""
    failures: tuple[Failure, ...] = ()
    faults: dict[str, int] = {}
    warnings: tuple[RunWarning, ...] = ()
    notes: tuple[str, ...] = ()
    events: int = 0
    real_s: float = 0.0

    @property
    def ok(self) -> bool:
        """Whether the run had no failures."""
        return not self.failures

    @property
    def failed_as(self) -> tuple[str, ...]:
        """The kinds and names of the failures, each once."""
        return tuple(dict.fromkeys(f"{failure.kind}: {failure.name}" for failure in self.failures))


class Struck(msgspec.Struct, frozen=True):
    """How often a fault struck in all runs together (`count`), and in how many of them (`seeds`)."""

    count: int
    seeds: int


class Overview(msgspec.Struct, frozen=True, kw_only=True):
    """Summary of the outcomes of all seeds, which are in ascending order.

    `failed`: the seeds that failed. `failures`: how many seeds failed with each kind and name of failure.
    `warnings`: parts that did nothing under any seed. `notes`: deviations of traces from the recordings.
    `digests`: number of different histories. `slowest`: up to three seeds.
    """

    seeds: int
    failed: tuple[int, ...]
    failures: dict[str, int]
    faults: dict[str, Struck]
    warnings: tuple[RunWarning, ...]
    notes: tuple[str, ...]
    digests: int
    slowest: tuple[int, ...]
    outcomes: tuple[Outcome, ...]


def run_seed(scenario: Scenario, seed: int) -> Outcome:
    """Run a scenario with one seed. Raises ValueError if the scenario cannot be run."""
    try:
        with _one_at_a_time:
            run = Run(scenario, seed)
            result = run.execute()
    except ValueError:
        raise
    except Exception as error:
        return _broken(seed, type(error).__name__, "".join(traceback.format_exception(error)[-3:]).strip())
    failures = tuple(replace(failure, text=failure.text[:_TEXT], story="") for failure in result.failures)
    return Outcome(
        seed=seed,
        digest=result.digest,
        failures=failures,
        faults={fault.name: fault.count for fault in result.faults},
        warnings=result.warnings,
        notes=run.recorded_notes,
        events=result.cost.events,
        real_s=result.cost.real_s,
    )


def _broken(seed: int, name: str, text: str) -> Outcome:
    """Return the outcome of a run that ended with an error."""
    return Outcome(seed=seed, failures=(Failure(kind="error", name=name, text=text[-_TEXT:]),))


def absolute(scenario: Scenario) -> Scenario:
    """Return the scenario with an absolute folder, so that it can be run from any working directory."""
    return replace(scenario, folder=str(Path(scenario.folder).resolve()))


def overview(outcomes: Iterable[Outcome], up_to_first: bool = False) -> Overview:
    """Summarise outcomes: all, or with `up_to_first` those up to the first seed that failed."""
    listed = sorted(outcomes, key=lambda outcome: outcome.seed)
    if up_to_first:
        end = next((place for place, outcome in enumerate(listed, 1) if not outcome.ok), len(listed))
        listed = listed[:end]
    counted: Counter[str] = Counter()
    for outcome in listed:
        counted.update(outcome.failed_as)
    faults = _struck(listed)
    slowest = sorted(listed, key=lambda outcome: -outcome.real_s)[:3]
    return Overview(
        seeds=len(listed),
        failed=tuple(outcome.seed for outcome in listed if not outcome.ok),
        failures=dict(counted.most_common()),
        faults=faults,
        warnings=tuple(_idle_under_all(listed, faults)),
        notes=tuple(dict.fromkeys(note for outcome in listed for note in outcome.notes)),
        digests=len({outcome.digest for outcome in listed if outcome.digest}),
        slowest=tuple(outcome.seed for outcome in slowest),
        outcomes=tuple(listed),
    )


def _struck(outcomes: list[Outcome]) -> dict[str, Struck]:
    names = dict.fromkeys(name for outcome in outcomes for name in outcome.faults)
    counts = {name: [outcome.faults.get(name, 0) for outcome in outcomes] for name in names}
    return {name: Struck(sum(each), sum(map(bool, each))) for name, each in counts.items()}


def _idle_under_all(outcomes: list[Outcome], faults: dict[str, Struck]) -> Iterator[RunWarning]:
    """Yield a warning for each part that did nothing under any seed.

    These are faults that never struck, even if the scenario accepts that for a single seed, and the warnings that
    all runs share which were not aborted.
    """
    warnings = {(one.kind, one.name): one for outcome in outcomes for one in outcome.warnings}
    for name in (name for name, struck in faults.items() if not struck.count):
        known = warnings.get(("fault", name))
        why = known.text.partition(": ")[2] if known else "it was not drawn, or the scenario accepts that"
        text = f"fault {name!r} never struck under any of {len(outcomes)} seeds: {why}"
        yield RunWarning(kind="fault", name=name, path=known.path if known else "", text=text)
    whole = [outcome for outcome in outcomes if not any(failure.kind in BREAKS for failure in outcome.failures)]
    for key, warning in warnings.items():
        if (warning.kind != "fault" or faults[warning.name].count) and all(
            key in [(one.kind, one.name) for one in outcome.warnings] for outcome in whole
        ):
            yield warning


# ---------------------------------------------------------------- pools
class WorkerPool:
    """Base class of pools, which run seeds: `width` of them at a time. A subclass defines `executor`."""

    def __init__(self, width: int) -> None:
        self.width = width

    def submit(self, scenario: Scenario, seed: int) -> Future[Outcome]:
        """Start a run with one seed."""
        return self.executor().submit(run_seed, scenario, seed)

    def executor(self) -> Executor:
        """Return the `concurrent.futures` executor that runs the seeds."""
        raise TypeError(f"{type(self).__name__} must define executor()")

    def mend(self) -> None:
        """Recover after a run that killed its process."""

    def close(self, at_once: bool) -> None:
        """Release all resources; `at_once`: without waiting for runs in progress."""


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
            context.set_forkserver_preload([__name__])
            self._others = multiprocessing.active_children()
            self._made = ProcessPoolExecutor(self.width, context, initializer=_prepare_worker)
        return self._made

    def mend(self) -> None:
        """Discard the broken process pool; the next run starts another."""
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
    """Stops an exploration early. A signal handler or another thread may call `ask` at any moment.

    An exception raised in a signal handler may interrupt `concurrent.futures` while it holds a lock, which is then
    never released. This class uses a flag and a reentrant queue instead.
    """

    def __init__(self) -> None:
        self.asked = False
        self.finished: SimpleQueue[Future[Outcome] | None] = SimpleQueue()

    def ask(self) -> None:
        """Request the stop: no further seed starts, and runs in progress are abandoned."""
        self.asked = True
        self.finished.put(None)  # wakes the thread that waits for a result


def explore(
    scenario: Scenario, seeds: Iterable[int], pool: WorkerPool, stop_at_first: bool = False, stop: Stop | None = None
) -> Generator[Outcome, None, None]:
    """Run a scenario with many seeds, and yield each outcome as soon as its run has ended.

    `stop_at_first`: stop at the first failing seed, by the order of `seeds`. `stop`: object to stop the exploration
    early; use a new one for each exploration. Closes the pool at the end; if the caller closes this generator early,
    the pool's processes are terminated. Raises ValueError if there are no seeds or the scenario cannot be run.
    """
    stop = stop or Stop()
    coming = iter(seeds)
    first = next(coming, None)
    if first is None:
        raise ValueError("no seeds to explore: give at least one")
    sweep = _Sweep(absolute(scenario), chain((first,), coming), pool, stop_at_first, stop)
    done = False
    try:
        yield from sweep.outcomes()
        done = not stop.asked
    finally:
        pool.close(at_once=not done)


class _Sweep:
    """An exploration in progress.

    `places`: place in the order and seed of each submitted run. `suspects`: runs that a dead process may have been
    running; they are repeated one at a time, to find the seed that kills its process.
    """

    def __init__(
        self, scenario: Scenario, seeds: Iterator[int], pool: WorkerPool, stop_at_first: bool, stop: Stop
    ) -> None:
        self.scenario = scenario
        self.seeds = enumerate(seeds)
        self.pool = pool
        self.stop_at_first = stop_at_first
        self.stop = stop
        self.places: dict[Future[Outcome], tuple[int, int]] = {}
        self.suspects: deque[tuple[int, int]] = deque()
        self.last: int | None = None  # outcomes after this place are dropped

    def outcomes(self) -> Iterator[Outcome]:
        """Submit all runs, and yield their outcomes as they end."""
        self._submit_ahead()
        while (self.places or self.suspects) and not self.stop.asked:
            if not self.places:
                yield from self._run_suspects()
                self._submit_ahead()
                continue
            for place, seed, future in self._finished():
                if self.places.pop(future, None) is None:
                    continue  # it was abandoned in the meantime
                outcome = self._result(future, place, seed)
                if outcome is not None and self._counts(place, outcome):
                    yield outcome
            if not self.suspects:
                self._submit_ahead()

    def _finished(self) -> list[tuple[int, int, Future[Outcome]]]:
        """Wait until a run ends or a stop is requested, and return all runs that have ended, ordered by place."""
        ended = [self.stop.finished.get()]
        try:
            while True:
                ended.append(self.stop.finished.get_nowait())
        except Empty:
            pass
        known = [future for future in ended if future is not None and future in self.places]
        return sorted((*self.places[future], future) for future in known)

    def _submit(self, seed: int) -> Future[Outcome]:
        future = self.pool.submit(self.scenario, seed)
        future.add_done_callback(self.stop.finished.put)
        return future

    def _submit_ahead(self) -> None:
        """Submit seeds until enough are in progress."""
        while self.last is None and not self.stop.asked and len(self.places) < self.pool.width * _AHEAD:
            following = next(self.seeds, None)
            if following is None:
                return
            place, seed = following
            try:
                future = self._submit(seed)
            except BrokenProcessPool:
                self.suspects.append((place, seed))
                self._suspect_all()
                return
            self.places[future] = place, seed

    def _result(self, future: Future[Outcome], place: int, seed: int) -> Outcome | None:
        try:
            return future.result()
        except ValueError:
            raise
        except BrokenProcessPool:
            self.suspects.append((place, seed))
            self._suspect_all()
            return None
        except Exception as error:  # other executors have exceptions of their own for a process that died
            return _broken(seed, "process died", f"the process that ran this seed died: {error}")

    def _suspect_all(self) -> None:
        """Mark all runs in progress as suspects: a process died, and it is unknown which of them it was running."""
        for future, (place, seed) in list(self.places.items()):
            if not future.done() or future.cancelled() or future.exception() is not None:
                self.suspects.append((place, seed))
                del self.places[future]
        self.pool.mend()

    def _run_suspects(self) -> Iterator[Outcome]:
        """Repeat the suspect runs one at a time, and yield their outcomes."""
        while self.suspects and not self.stop.asked:
            place, seed = min(self.suspects)
            self.suspects.remove((place, seed))
            outcome = self._alone(seed)
            if outcome is not None and self._counts(place, outcome):
                yield outcome

    def _alone(self, seed: int) -> Outcome | None:
        """Run a seed while no other runs, because it may kill its process. Return None if a stop is requested."""
        try:
            future = self._submit(seed)
            while self.stop.finished.get() is not future:
                if self.stop.asked:
                    return None
            return future.result()
        except ValueError:
            raise
        except Exception as error:
            self.pool.mend()
            return _broken(seed, "process died", f"the process that ran this seed died: {error}")

    def _counts(self, place: int, outcome: Outcome) -> bool:
        """Return whether to yield an outcome. With `stop_at_first`, a failure cancels all runs after it."""
        if self.last is not None and place > self.last:
            return False
        if self.stop_at_first and not outcome.ok:
            self.last = place
            for future, (other, _) in list(self.places.items()):
                if other > place:
                    future.cancel()
                    del self.places[future]
        return True
