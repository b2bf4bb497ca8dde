"""Runs of scenarios: storm and calm, one seed one history, what fails and how it is told."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from colonysim.core.operations.assignment import AssignProcess
from colonysim.core.usual import USUAL
from colonysim.faults import Crash, Delay, Duplicate, LoseReply, Match, Partition, Restart, Times, When
from colonysim.kernel.randomness import Exponential
from colonysim.scenarios.checks import Eventually, Probe
from colonysim.scenarios.runner import Run, run
from colonysim.scenarios.scenario import CronPlan, GeneratorPlan, Phases, Scenario
from colonysim.workloads.arrivals import Bursts, Every, Once, Poisson
from colonysim.workloads.executors import ExecutorGroup
from colonysim.workloads.submissions import Diamond, MapReduce, Submission
from colonysim.workloads.workload import Workload

ROOT = Path(__file__).parents[2]
ARCHIVE = ROOT.parent / "shared" / "traces"

SMALL = Scenario(
    name="small",
    phases=Phases(storm_s=1800, calm_s=3600),
    executors=(ExecutorGroup(name="x", count=4, service=Exponential(20.0), success=0.95),),
    workload=(
        Workload(
            name="w",
            arrivals=Poisson(400.0),
            mix=(
                Submission(weight=3, funcname="single", maxexectime=90, maxretries=3),
                Submission(funcname="graph", workflow=Diamond(3), maxexectime=90, maxretries=3),
            ),
            resends=3,
        ),
    ),
)


def test_a_run_comes_to_rest_and_tells_its_figures() -> None:
    result = run(SMALL)
    assert result.ok
    assert result.storm_s == 1800
    assert 1800 < result.end_s < 1800 + 3600
    figures = result.summary
    assert figures.unfinished == 0
    assert figures.submitted == figures.succeeded + figures.failed > 150
    assert 0.2 < figures.utilisation < 1
    assert pickle.loads(pickle.dumps(result)) == result


def test_one_seed_is_one_result_and_another_seed_another() -> None:
    first, again = run(SMALL, 1), run(SMALL, 1)
    assert replace(first, cost=again.cost) == again
    assert len({run(SMALL, seed).digest for seed in (1, 2, 3)}) == 3


def test_a_run_is_the_same_in_another_process_under_another_hash_seed() -> None:
    program = (
        "from tests.scenarios.test_runner import SMALL, FAULTS\n"
        "from msgspec.structs import replace\n"
        "from colonysim.scenarios.runner import run\n"
        "print(run(replace(SMALL, faults=tuple(FAULTS)), 1).digest)"
    )
    digests = {
        subprocess.run(
            [sys.executable, "-c", program],
            env=os.environ | {"PYTHONHASHSEED": hash_seed, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            check=True,
            cwd=ROOT,
        ).stdout.strip()
        for hash_seed in ("0", "4711")
    }
    assert digests == {run(replace(SMALL, faults=tuple(FAULTS)), 1).digest}


FAULTS: list[Any] = [
    Crash(times=Times(mean_every_s=100.0), restart_after_s=30.0),
    LoseReply(match=Match(types="closesuccessfulmsg"), when=When(probability=0.1)),
    Duplicate(match=Match(types="submit*"), when=When(probability=0.1)),
    Delay(by_s=(1.0, 20.0), when=When(probability=0.1)),
    Partition(for_s=120.0, times=Times(at_s=600.0)),
    Restart(down_s=60.0, times=Times(at_s=1000.0)),
]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: type(fault).__name__)
def test_every_fault_makes_another_history_and_nothing_is_lost(fault: Any) -> None:
    calm = run(SMALL, 1)
    stormy = run(replace(SMALL, faults=(fault,)), 1)
    assert stormy.ok, stormy.failures
    assert stormy.digest != calm.digest


def test_a_fault_leaves_the_arrivals_as_they_were() -> None:
    calm, stormy = Run(SMALL, 1), Run(replace(SMALL, faults=(FAULTS[0],)), 1)
    calm.execute()
    stormy.execute()
    assert calm.metrics.submitted_ns == stormy.metrics.submitted_ns


def test_all_faults_together_still_come_to_rest() -> None:
    done = Run(replace(SMALL, faults=tuple(FAULTS)), 2)
    result = done.execute()
    assert result.ok, result.failures
    assert {band.kind for band in done.strikes.bands} >= {"partition", "restart", "crash", "lose_reply"}
    assert done.sim.faults.all == ()
    assert all(band.to_ns <= done.storm_end_ns for band in done.strikes.bands)


# ---------------------------------------------------------------- what fails
def test_what_does_not_come_to_rest_fails_with_a_story() -> None:
    lonely = Submission(executortype="nobody")
    scenario = Scenario(phases=Phases(calm_s=100), workload=(Workload(name="w", arrivals=Once(2), mix=(lonely,)),))
    result = run(scenario)
    assert [failure.kind for failure in result.failures] == ["rest"]
    assert result.failures[0].text.startswith("2 waiting, 0 running")
    assert "NEW → WAITING" in result.failures[0].story
    assert "'nobody'" in result.failures[0].story  # what keeps it from being assigned
    assert result.end_s == 100


def test_a_check_that_fails_is_told_with_time_and_value() -> None:
    burst = Workload(name="w", arrivals=Bursts(20, 600.0), count=20)
    checks = (Probe(that="queue_depth <= 9", name="short"), Eventually(that="unfinished == 0", within_s=1))
    result = run(replace(SMALL, workload=(burst,), checks=checks))
    assert [(failure.kind, failure.name) for failure in result.failures] == [("check", "short")]
    assert (result.findings[0].first_s, result.findings[0].value) == (0, 10)
    assert result.findings[1].passed


def test_a_broken_core_is_caught_and_ends_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """The last one that was submitted is taken first."""

    def take_last(self: Any, demand: Any) -> Any:
        pool = self.pools.get((demand.colony, demand.executor_type))
        found = pool.best(demand) if pool else None
        if found is None:
            return None
        run, _ = found
        last = run.fifo.pop()
        run.live -= 1
        return last

    from colonysim.core.scheduling import Queues

    monkeypatch.delitem(USUAL, AssignProcess)
    monkeypatch.setattr(Queues, "take", take_last)
    result = run(replace(SMALL, workload=(Workload(name="w", arrivals=Once(30)),), faults=()))
    assert [failure.kind for failure in result.failures] == ["invariant"]
    assert "was taken before" in result.failures[0].text
    assert "WAITING" in result.failures[0].story


def test_submissions_that_are_all_refused_fail_the_run() -> None:
    workload = Workload(name="w", arrivals=Once(3), mix=(Submission(args=json.loads("[" * 250 + "]" * 250)),))
    result = run(Scenario(workload=(workload,)))
    assert [failure.kind for failure in result.failures] == ["submit"]
    assert "all 3 submissions were refused: lists and objects in a message may be nested" in result.failures[0].text


# ---------------------------------------------------------------- crons and generators
def test_crons_run_through_the_storm_and_no_longer() -> None:
    cron = CronPlan(name="tick", every_s=60, submit=Submission(funcname="tick"))
    scenario = replace(SMALL, workload=(), crons=(cron,), phases=Phases(storm_s=605, calm_s=600))
    done = Run(scenario)
    assert done.execute().ok
    assert 9 <= len(done.metrics) <= 10
    assert not done.sim.world.crons
    assert max(done.metrics.submitted_ns) <= done.storm_end_ns


def test_generators_are_fed_by_submissions() -> None:
    plan = GeneratorPlan(name="pack", trigger=5, submit=Submission(workflow=MapReduce(2), funcname="batch"))
    feed = Workload(name="feed", arrivals=Every(10.0), count=23, mix=(Submission(generator="pack"),))
    done = Run(replace(SMALL, workload=(feed,), generators=(plan,)))
    assert done.execute().ok
    assert len(done.metrics) == 4 * 3  # four full batches, three packs are left


def test_what_names_no_generator_is_told() -> None:
    feed = Workload(name="feed", arrivals=Once(), mix=(Submission(generator="pick"),))
    with pytest.raises(ValueError, match=r"workload\.0\.mix: there is no generator 'pick'; the generators are: none"):
        Scenario(workload=(feed,))


def test_progress_is_told_on_the_way() -> None:
    told: list[float] = []
    many = Workload(name="w", arrivals=Once(4000))
    Run(
        replace(SMALL, workload=(many,), executors=(ExecutorGroup(name="x", count=50),)), 1, lambda s, m: told.append(s)
    ).execute()
    assert told == sorted(told)
    assert told


@pytest.mark.skipif(not ARCHIVE.exists(), reason="no recorded workloads in ../shared/traces beside the clone")
def test_a_piece_of_the_recorded_grid_runs() -> None:
    scenario = Scenario.load(ROOT / "scenarios" / "grid_day.yaml", ("workload.0.trace.count=2000", "sites.total=3000"))
    result = run(scenario)
    assert result.summary.succeeded == 2000
