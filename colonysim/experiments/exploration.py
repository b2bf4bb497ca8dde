"""Explores a scenario: runs it under many seeds, in parallel processes or wherever an executor of futures leads.

One run that goes wrong in any way, its whole process included, costs no other run. What has become of a seed does
not depend on how many run beside it, nor on the order in which they come back.
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
"""Programs see one virtual time in a process; an executor of futures may have threads."""
_AHEAD: Final = 3
"""So many seeds for each process are handed out before the first of them comes back."""


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What has become of one seed: small, since it travels. `failures` come without the stories.

    `faults` says how often each fault struck that is not turned off, `warnings` what did nothing,
    `notes` what of its traces is not as it was recorded.
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
        return not self.failures

    @property
    def failed_as(self) -> tuple[str, ...]:
        """The kinds and names of what failed, each once."""
        return tuple(dict.fromkeys(f"{failure.kind}: {failure.name}" for failure in self.failures))


class Struck(msgspec.Struct, frozen=True):
    """How often a fault struck under all seeds together, and under how many of them."""

    count: int
    seeds: int


class Overview(msgspec.Struct, frozen=True, kw_only=True):
    """What has become of all seeds, those that have come back in the order of their numbers.

    `failures` counts the seeds that failed by the kind and name of their failures. `warnings` tell of what did
    nothing under any seed, `notes` of what is not as it was recorded in the traces.
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
    """Run a scenario with one seed. Errors: ValueError for a scenario that cannot be run at all."""
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
    """The outcome of a run that came to no result."""
    return Outcome(seed=seed, failures=(Failure(kind="error", name=name, text=text[-_TEXT:]),))


def absolute(scenario: Scenario) -> Scenario:
    """The same scenario, to be run from whatever folder."""
    return replace(scenario, folder=str(Path(scenario.folder).resolve()))


def overview(outcomes: Iterable[Outcome], up_to_first: bool = False) -> Overview:
    """Sum up outcomes: all, or those up to the first that failed."""
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
    """What did nothing under any seed: faults that never struck, whatever the scenario accepts of a single seed,
    and what all seeds that were not broken off warn of.
    """
    told = {(one.kind, one.name): one for outcome in outcomes for one in outcome.warnings}
    for name in (name for name, struck in faults.items() if not struck.count):
        known = told.get(("fault", name))
        why = known.text.partition(": ")[2] if known else "it was not drawn, or it was accepted that it did not strike"
        text = f"fault {name!r} never struck under any of {len(outcomes)} seeds: {why}"
        yield RunWarning(kind="fault", name=name, path=known.path if known else "", text=text)
    whole = [outcome for outcome in outcomes if not any(failure.kind in BREAKS for failure in outcome.failures)]
    for key, warning in told.items():
        if (warning.kind != "fault" or faults[warning.name].count) and all(
            key in [(one.kind, one.name) for one in outcome.warnings] for outcome in whole
        ):
            yield warning


# ---------------------------------------------------------------- many
class Pool:
    """Where seeds are run: `width` of them at a time."""

    def __init__(self, width: int) -> None:
        self.width = width

    def submit(self, scenario: Scenario, seed: int) -> Future[Outcome]:
        """Begin a run."""
        return self.executor().submit(run_seed, scenario, seed)

    def executor(self) -> Executor:
        """What runs it."""
        raise TypeError("a pool knows where it runs")

    def mend(self) -> None:
        """A run has taken its process with it: go on all the same."""

    def close(self, at_once: bool) -> None:
        """Give back what it takes; `at_once`: without waiting for what still runs."""


class Processes(Pool):
    """Processes of this machine."""

    def __init__(self, width: int | None = None) -> None:
        super().__init__(width or os.cpu_count() or 1)
        self._made: ProcessPoolExecutor | None = None
        self._others: list[BaseProcess] = []

    def executor(self) -> ProcessPoolExecutor:
        if self._made is None:
            # Not fork: a program's threads, or a test runner's, would be lost halfway in the copy.
            context = multiprocessing.get_context("forkserver")
            context.set_forkserver_preload([__name__])
            self._others = multiprocessing.active_children()
            self._made = ProcessPoolExecutor(self.width, context, initializer=_prepare_worker)
        return self._made

    def mend(self) -> None:
        if self._made is not None:
            self._made.shutdown(wait=True, cancel_futures=True)
            self._made = None

    def close(self, at_once: bool) -> None:
        if self._made is None:
            return
        if at_once:
            for child in multiprocessing.active_children():
                if child not in self._others:
                    child.terminate()
        self._made.shutdown(wait=True, cancel_futures=True)
        self._made = None


def _prepare_worker() -> None:
    """Leave Ctrl-C, which a terminal sends to all processes, to the parent, and end when the parent has ended."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, name="colonysim-end-with-parent", daemon=True).start()


def _end_with_parent() -> None:
    """End this process when its parent has ended, by whatever signal: nobody would stop a busy worker then."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    wait([parent.sentinel])
    os._exit(1)


class Stop:
    """Stops an exploration early. A signal handler or another thread may call `ask` at any moment.

    An exception raised in a signal handler can strike anywhere, also where `concurrent.futures` holds a lock that is
    then never released. A flag and a reentrant queue cannot.
    """

    def __init__(self) -> None:
        self.asked = False
        self.finished: SimpleQueue[Future[Outcome] | None] = SimpleQueue()

    def ask(self) -> None:
        """Stop: no further seed begins, and those that run are given up."""
        self.asked = True
        self.finished.put(None)  # wakes the thread that waits for a result


def explore(
    scenario: Scenario, seeds: Iterable[int], pool: Pool, stop_at_first: bool = False, stop: Stop | None = None
) -> Generator[Outcome, None, None]:
    """Run a scenario under many seeds, and yield the outcome of each as it comes.

    `stop_at_first`: go no further than the first seed that fails, first by its place among the seeds.
    `stop`: ends the exploration early when asked; it serves one exploration. The pool is closed at the end, and its
    processes are terminated where the caller wants no more. Errors: ValueError for a scenario that cannot be run.
    """
    stop = stop or Stop()
    coming = iter(seeds)
    first = next(coming, None)
    if first is None:
        raise ValueError("there are no seeds to explore: give at least one")
    under_way = _Sweep(absolute(scenario), chain((first,), coming), pool, stop_at_first, stop)
    done = False
    try:
        yield from under_way.outcomes()
        done = not stop.asked
    finally:
        pool.close(at_once=not done)


class _Sweep:
    """Seeds under way. `places` are those of the seeds handed out, by future."""

    def __init__(self, scenario: Scenario, seeds: Iterator[int], pool: Pool, stop_at_first: bool, stop: Stop) -> None:
        self.scenario = scenario
        self.seeds = enumerate(seeds)
        self.pool = pool
        self.stop_at_first = stop_at_first
        self.stop = stop
        self.places: dict[Future[Outcome], tuple[int, int]] = {}
        self.suspects: deque[tuple[int, int]] = deque()
        self.last: int | None = None  # the place after which nothing matters any more

    def outcomes(self) -> Iterator[Outcome]:
        self._hand_out()
        while (self.places or self.suspects) and not self.stop.asked:
            if not self.places:
                yield from self._question()
                self._hand_out()
                continue
            for place, seed, future in self._finished():
                if self.places.pop(future, None) is None:
                    continue  # it was given up meanwhile
                outcome = self._result(future, place, seed)
                if outcome is not None and self._matters(place, outcome):
                    yield outcome
            if not self.suspects:
                self._hand_out()

    def _finished(self) -> list[tuple[int, int, Future[Outcome]]]:
        """Wait until a run has ended or a stop is asked for, and return all that have ended, by their places."""
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

    def _hand_out(self) -> None:
        while self.last is None and not self.stop.asked and len(self.places) < self.pool.width * _AHEAD:
            following = next(self.seeds, None)
            if following is None:
                return
            place, seed = following
            try:
                future = self._submit(seed)
            except BrokenProcessPool:
                self.suspects.append((place, seed))
                self._lose_all()
                return
            self.places[future] = place, seed

    def _result(self, future: Future[Outcome], place: int, seed: int) -> Outcome | None:
        try:
            return future.result()
        except ValueError:
            raise
        except BrokenProcessPool:
            self.suspects.append((place, seed))
            self._lose_all()
            return None
        except Exception as error:  # an executor elsewhere says in its own words that it lost a process
            return _broken(seed, "process died", f"the process that ran it is gone: {error}")

    def _lose_all(self) -> None:
        """A process has died, and nobody can say by which seed: each that was under way is run again, alone."""
        for future, (place, seed) in list(self.places.items()):
            if not future.done() or future.cancelled() or future.exception() is not None:
                self.suspects.append((place, seed))
                del self.places[future]
        self.pool.mend()

    def _question(self) -> Iterator[Outcome]:
        while self.suspects and not self.stop.asked:
            place, seed = min(self.suspects)
            self.suspects.remove((place, seed))
            outcome = self._alone(seed)
            if outcome is not None and self._matters(place, outcome):
                yield outcome

    def _alone(self, seed: int) -> Outcome | None:
        """Run a seed that may be the one that takes its process with it; None where a stop is asked for meanwhile."""
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
            return _broken(seed, "process died", f"the process that ran it is gone: {error}")

    def _matters(self, place: int, outcome: Outcome) -> bool:
        """Whether somebody wants to know; the first failure may be the last that does."""
        if self.last is not None and place > self.last:
            return False
        if self.stop_at_first and not outcome.ok:
            self.last = place
            for future, (other, _) in list(self.places.items()):
                if other > place:
                    future.cancel()
                    del self.places[future]
        return True
