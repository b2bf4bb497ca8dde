"""Exploring: many seeds side by side, whatever becomes of the processes that run them."""

from __future__ import annotations

import multiprocessing
import os
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from colonysim.experiments import parallel as module
from colonysim.experiments.exploration import Outcome, explore, overview, run_seed
from colonysim.experiments.parallel import Processes, Stop, WorkerPool
from colonysim.scenarios.scenario import Scenario

TWICE = """
version: 1
name: submitted twice
phases: {storm_s: 1800}
executors:
  - {name: cli, count: 4, service: {kind: exponential, mean_s: 20}}
workload:
  - {name: people, arrivals: {kind: poisson, per_hour: 200}, count: 50, resends: 3}
faults:
  - {kind: lose_reply, match: {types: submitfuncspecmsg}, when: {probability: 0.01}, notice_s: 1}
checks:
  - {kind: probe, name: once each, that: submitted <= 50}
"""
SEEDS = range(1, 21)


@pytest.fixture(scope="module")
def scenario() -> Scenario:
    return Scenario.read(TWICE)


@pytest.fixture(scope="module")
def alone(scenario: Scenario) -> dict[int, Outcome]:
    """What becomes of each seed when it is run by itself."""
    return {seed: run_seed(scenario, seed) for seed in SEEDS}


def told(outcome: Outcome) -> tuple[Any, ...]:
    return outcome.seed, outcome.digest, outcome.failures, outcome.events


class Dying(Processes):
    """Some seeds take their process with them; `fatal` says which."""

    def __init__(self, width: int, fatal: tuple[int, ...]) -> None:
        super().__init__(width)
        self.fatal = fatal

    def submit(self, function: Callable[..., Any], *arguments: Any) -> Future[Any]:
        return super().submit(die if arguments[0] in self.fatal else function, *arguments)


def die(seed: int) -> Outcome:
    os._exit(3)


class Inline(WorkerPool):
    """Runs each seed here and now; `told_of` notes which."""

    def __init__(self, run: Callable[[int], Outcome] | None = None) -> None:
        super().__init__(1)
        self.run = run
        self.told_of: list[int] = []
        self.closed: list[bool] = []

    def executor(self) -> Executor:
        raise AssertionError("nothing is run elsewhere")

    def submit(self, function: Callable[..., Any], *arguments: Any) -> Future[Any]:
        self.told_of.append(arguments[0])
        future: Future[Any] = Future()
        try:
            future.set_result((self.run or function)(*arguments))
        except Exception as error:
            future.set_exception(error)
        return future

    def close(self, at_once: bool) -> None:
        self.closed.append(at_once)


# ---------------------------------------------------------------- side by side
@pytest.mark.parametrize("width", [1, 2])
def test_what_becomes_of_a_seed_does_not_depend_on_where_it_runs(
    scenario: Scenario, alone: dict[int, Outcome], width: int
) -> None:
    outcomes = list(explore(scenario, SEEDS, Processes(width)))
    assert sorted(outcome.seed for outcome in outcomes) == list(SEEDS)
    for outcome in outcomes:
        assert told(outcome) == told(alone[outcome.seed])


def test_an_overview_counts_the_seeds_that_failed_by_what_failed(scenario: Scenario, alone: dict[int, Outcome]) -> None:
    view = overview(alone.values())
    failed = tuple(seed for seed in SEEDS if not alone[seed].ok)
    assert failed
    assert view.failed == failed
    assert view.failures == {"check: once each": len(failed)}
    assert view.digests == view.seeds == len(SEEDS)
    assert len(view.slowest) == 3


def test_the_pool_is_empty_afterwards_even_when_nobody_wants_the_rest(scenario: Scenario) -> None:
    before = multiprocessing.active_children()
    with closing(explore(scenario, range(1000), Processes(2))) as coming:
        next(coming)
        assert len(multiprocessing.active_children()) > len(before)
    assert [child for child in multiprocessing.active_children() if child not in before] == []


# ---------------------------------------------------------------- the first that fails
def test_the_first_failure_is_the_same_however_many_run_side_by_side(
    scenario: Scenario, alone: dict[int, Outcome]
) -> None:
    first = next(seed for seed in SEEDS if not alone[seed].ok)
    for width in (1, 3):
        view = overview(explore(scenario, SEEDS, Processes(width), stop_at_first=True), up_to_first=True)
        assert view.failed == (first,)
        assert view.seeds == SEEDS.index(first) + 1


def test_no_seed_is_begun_after_the_first_failure(scenario: Scenario, alone: dict[int, Outcome]) -> None:
    pool = Inline()
    first = next(seed for seed in SEEDS if not alone[seed].ok)
    list(explore(scenario, SEEDS, pool, stop_at_first=True))
    assert len(pool.told_of) <= SEEDS.index(first) + 3
    assert max(pool.told_of) < max(SEEDS)


# ---------------------------------------------------------------- what goes wrong
@pytest.mark.parametrize("fatal", [(1,), (7, 8), (20,)])
def test_a_process_that_dies_costs_its_own_seed_and_no_other(
    scenario: Scenario, alone: dict[int, Outcome], fatal: tuple[int, ...]
) -> None:
    outcomes = {outcome.seed: outcome for outcome in explore(scenario, SEEDS, Dying(2, fatal))}
    assert sorted(outcomes) == list(SEEDS)
    for seed, outcome in outcomes.items():
        if seed in fatal:
            assert outcome.failed_as == ("error: process died",)
        else:
            assert told(outcome) == told(alone[seed])


def test_an_error_in_a_run_is_the_outcome_of_that_seed(scenario: Scenario) -> None:
    def run(seed: int) -> Outcome:
        if seed == 2:
            raise ZeroDivisionError("division by zero")
        return Outcome(seed=seed, digest="d")

    view = overview(explore(scenario, range(4), Inline(run)))
    assert view.seeds == 4
    assert view.failed == (2,)
    assert "division by zero" in view.outcomes[2].failures[0].text


def test_a_scenario_that_cannot_be_run_is_told_at_once_and_the_pool_given_back() -> None:
    scenario = Scenario.read("""
version: 1
workload: [{name: recorded, trace: {file: nowhere.swf}}]
""")
    pool = Inline()
    with pytest.raises(ValueError, match="nowhere"):
        list(explore(scenario, SEEDS, pool))
    assert pool.closed == [True]


def test_an_interruption_leaves_what_there_was(scenario: Scenario) -> None:
    pool, outcomes = Inline(), []

    def interrupted() -> Iterator[int]:
        yield from range(5)
        raise KeyboardInterrupt

    with closing(explore(scenario, interrupted(), pool)) as coming, pytest.raises(KeyboardInterrupt):
        outcomes.extend(iter(lambda: next(coming).seed, None))
    assert outcomes
    assert pool.closed == [True]


def test_a_stop_ends_the_exploration_and_closes_the_pool_at_once(scenario: Scenario) -> None:
    pool, stop = Inline(lambda seed: Outcome(seed=seed, digest="d")), Stop()
    outcomes = []
    for outcome in explore(scenario, range(1000), pool, stop=stop):
        outcomes.append(outcome)
        stop.ask()
    assert len(outcomes) == len(pool.told_of) < 10  # what had ended is still told
    assert pool.closed == [True]


def test_a_stop_at_any_moment_ends_the_exploration(scenario: Scenario) -> None:
    """A signal handler runs between two instructions: here after each call that the module makes into C."""

    def explored(moment: int) -> int:
        """Ask for the stop after so many calls, and return how many calls there were."""
        stop, calls = Stop(), 0

        def see(frame: FrameType, event: str, argument: Any) -> None:
            nonlocal calls
            if event == "c_return" and frame.f_code.co_filename == module.__file__:
                calls += 1
                if calls == moment:
                    stop.ask()

        def run(seed: int) -> Outcome:
            if seed == 2:
                raise BrokenProcessPool  # so that seeds are run again alone
            return Outcome(seed=seed, digest="d")

        before = sys.getprofile()
        sys.setprofile(see)
        try:
            list(explore(scenario, range(6), Inline(run), stop=stop))
        finally:
            sys.setprofile(before)
        return calls

    moment = 1
    while explored(moment) >= moment:
        moment += 1
    assert moment > 30


# ---------------------------------------------------------------- clusters
@pytest.mark.filterwarnings("ignore")
def test_a_cluster_gives_the_same_as_this_machine(scenario: Scenario, alone: dict[int, Outcome]) -> None:
    pytest.importorskip("distributed")
    from colonysim.experiments.clusters import Cluster

    outcomes = list(explore(scenario, SEEDS, Cluster("local", 2)))
    assert sorted(told(outcome) for outcome in outcomes) == sorted(told(outcome) for outcome in alone.values())


@pytest.mark.filterwarnings("ignore")
def test_an_existing_cluster_is_found_by_its_address(scenario: Scenario, alone: dict[int, Outcome]) -> None:
    distributed = pytest.importorskip("distributed")
    from colonysim.experiments.clusters import Cluster

    with distributed.LocalCluster(n_workers=1, threads_per_worker=2, dashboard_address=None) as cluster:
        outcomes = list(explore(scenario, range(1, 6), Cluster(cluster.scheduler_address)))
        assert cluster.scheduler_info["workers"], "the cluster is somebody else's, and goes on"
    assert sorted(told(outcome) for outcome in outcomes) == [told(alone[seed]) for seed in range(1, 6)]


@pytest.mark.filterwarnings("ignore")
def test_a_cluster_that_is_not_there_is_told_with_what_would_do() -> None:
    pytest.importorskip("distributed")
    from colonysim.experiments.clusters import Cluster, NoCluster

    with pytest.raises(NoCluster, match="dask scheduler"):
        Cluster("nonsense")


class Brittle(WorkerPool):
    """One process, which dies while the fourth run is handed to it."""

    def __init__(self) -> None:
        super().__init__(1)
        self.asked = 0

    def submit(self, function: Callable[..., Any], *arguments: Any) -> Future[Any]:
        self.asked += 1
        if self.asked == 4:
            raise BrokenProcessPool("died")
        future: Future[Any] = Future()
        future.set_result(Outcome(seed=arguments[0]))
        return future


def test_a_pool_that_breaks_while_nothing_is_under_way_loses_no_seed(scenario: Scenario) -> None:
    assert [outcome.seed for outcome in explore(scenario, range(10), Brittle())] == list(range(10))


def test_notes_on_traces_are_told_once_for_all_seeds(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("submit_s,run_s,processors\n0,1,4\n5,1,1\n")
    text = "executors: [{name: x, service: {kind: process}}]\nworkload: [{name: w, trace: {file: t.csv}}]\n"
    (tmp_path / "s.yaml").write_text("version: 1\n" + text)
    scenario = Scenario.load(tmp_path / "s.yaml")
    seen = overview(run_seed(scenario, seed) for seed in range(3))
    assert seen.notes == ("trace t.csv: 1 of 2 processes had more than one processor; each counts as one",)
