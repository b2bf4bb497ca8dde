"""What did nothing in a run, or cannot do anything in any, is told; what did something is not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from colonysim import ColonyClient, Lost, Simulation
from colonysim.experiments.exploration import Outcome, explore, overview, run_seed
from colonysim.experiments.parallel import Processes
from colonysim.faults import (
    AnswerWith,
    ClockSkew,
    Crash,
    Delay,
    Hazard,
    LoseReply,
    LoseRequest,
    Match,
    Partition,
    Pause,
    Restart,
    SlowDown,
    Swarm,
    Times,
    When,
)
from colonysim.faults.triggers import After
from colonysim.scenarios.checks import Each, Eventually, LeadsTo, Probe
from colonysim.scenarios.lint import lint
from colonysim.scenarios.programs import ProgramGroup
from colonysim.scenarios.runner import run
from colonysim.scenarios.scenario import CronPlan, GeneratorPlan, Phases, Scenario
from colonysim.traces import BadTrace
from colonysim.workloads.arrivals import At, Every, Once, Poisson
from colonysim.workloads.executors import ExecutorGroup
from colonysim.workloads.submissions import Submission
from colonysim.workloads.workload import Trace, Workload

SCENARIOS = Path(__file__).parents[2] / "scenarios"
FINE = Scenario(
    phases=Phases(storm_s=600, calm_s=600),
    executors=(ExecutorGroup(name="e", count=3, service=5.0),),
    workload=(Workload(name="w", arrivals=Every(10.0)),),
)
ONCE = When(first=1)
CLOSES = Match(types="closesuccessfulmsg")


def told(warnings: Any) -> list[tuple[str, str, str]]:
    return [(one.kind, one.name, one.path) for one in warnings]


def test_a_run_in_which_all_did_something_warns_of_nothing() -> None:
    fault = LoseReply(match=CLOSES, when=When(every=10))
    result = run(replace(FINE, faults=(fault,), checks=(Probe(that="running <= 3"), Each(within_s=60))))
    assert result.ok
    assert result.warnings == ()
    assert [(one.name, one.kind, one.drawn) for one in result.faults] == [("lose_reply", "lose_reply", True)]
    assert result.faults[0].count == 6  # of 60 closes, and of those sent again


@pytest.mark.parametrize("path", sorted(SCENARIOS.glob("*.yaml")), ids=lambda path: path.stem)
def test_all_of_a_shipped_scenario_does_something(path: Path) -> None:
    if path.stem == "grid_day":
        pytest.skip("needs a recorded workload, which is not part of colonysim")
    assert lint(Scenario.load(path)) == []
    assert [str(one) for one in run(Scenario.load(path)).warnings] == []


# ---------------------------------------------------------------- faults that can never strike
NEVER: list[tuple[Any, str]] = [
    (Crash(actors="nosuch", times=Times(at_s=5)), "no executor or program is called 'nosuch'; the names are e-1, e-2, e-3"),
    (Crash(actors=("e-4", "f-*"), times=Times(at_s=5)), "is called 'e-4' or 'f-*'"),
    (Pause(executor_type="gpu", for_s=5, when=When(nth=3)), "is of type 'gpu'; their types are cli"),
    (Crash(actors="e-?", executor_type="gpu", times=Times(at_s=5)), "is of type 'gpu'"),
    (Crash(times=Times(at_s=600)), "it would strike after 10 min at the earliest, and the storm is over after 10 min"),
    (Crash(times=Times(at_s=(700, 800))), "after 11 min 40 s at the earliest"),
    (Restart(times=Times(every_s=601)), "after 10 min 1 s at the earliest"),
    (Restart(times=Times(every_s=100, until_s=90)), "until_s is 90"),
    (LoseReply(when=When(from_s=600)), "the storm is over after 10 min"),
    (LoseReply(when=When(after=After(type="assignprocessmsg", wait_s=700))), "after 11 min 40 s at the earliest"),
    (Hazard(hazard="lossy_wakeup", from_s=900), "after 15 min at the earliest"),
    (Hazard(hazard="lossy_wakeup", probability=0), "its probability is 0"),
    (LoseReply(when=When(probability=0)), "its probability is 0"),
    (Crash(when=When(probability=0)), "its probability is 0"),
    (LoseReply(match=Match(colony="other")), "there is no colony 'other'; the colony is dev"),
    (LoseReply(match=Match(types="addblueprintmsg")), "nobody sends 'addblueprintmsg'; the requests sent are assignprocessmsg"),
    (LoseReply(match=Match(types=("getprocess*", "addlogmsg"))), "nobody sends 'getprocess*' or 'addlogmsg'"),
    (LoseReply(match=Match(types="closefailedmsg")), "nobody sends 'closefailedmsg'"),
    (LoseReply(match=Match(types="submitworkflowspecmsg")), "nobody sends 'submitworkflowspecmsg'"),
    (LoseReply(match=Match(executor_type="gpu")), "no executor has the type 'gpu'; the executors have cli"),
    (LoseReply(match=Match(callers="nosuch")), "no client that fits its match sends a request that fits it"),
    (LoseReply(match=Match(role="user", types="assignprocessmsg")), "no client that fits its match"),
    (LoseReply(match=Match(role="server_owner")), "no client that fits its match"),
    (LoseReply(when=When(after=After(type="submitworkflowspecmsg"))), "it waits for submitworkflowspecmsg"),
    (Partition(actors="nosuch", for_s=5, times=Times(at_s=5)), "no executor or user is called 'nosuch'"),
    (Delay(by_s=0), "it changes nothing, for by_s is 0"),
    (Pause(for_s=(0, 0), times=Times(at_s=5)), "it changes nothing, for for_s is 0"),
    (SlowDown(factor=1, for_s=5, times=Times(at_s=5)), "factor is 1"),
    (ClockSkew(for_s=5, times=Times(at_s=5)), "by_s and drift are 0"),
    (ClockSkew(by_s=9, for_s=5, times=Times(at_s=5)), "simulated executors never read a clock"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("fault", "why"), NEVER, ids=lambda one: type(one).__name__ if not isinstance(one, str) else ""
)
def test_a_fault_that_can_never_strike_is_found_without_a_run_and_told_after_one(fault: Any, why: str) -> None:
    scenario = replace(FINE, faults=(LoseReply(name="fine", match=CLOSES, when=ONCE), replace(fault, name="idle")))
    (warning,) = lint(scenario)
    assert (warning.kind, warning.name, warning.path) == ("fault", "idle", "faults.1")
    assert why in warning.text
    result = run(scenario)
    assert result.ok
    assert result.warnings == (warning,)


IDLE_BY_CHANCE: list[tuple[Any, str]] = [
    (LoseReply(match=CLOSES, when=When(nth=500)), "only 61 requests that it is about came, too few for its nth"),
    (LoseReply(match=Match(callers="late"), when=When(until_s=99)), "no request that it is about was sent"),
    (LoseReply(when=When(after=After(type="closesuccessfulmsg", count=99))), "99 x closesuccessfulmsg answered with 200"),
    (LoseReply(match=CLOSES, when=When(probability=1e-9)), "none was drawn, at a probability of 1e-09"),
    (LoseRequest(match=CLOSES, when=ONCE), "it would have struck once, and another fault decided each time"),
    (Crash(times=Times(mean_every_s=1e9)), "its time did not come"),
    (Partition(actors="late", for_s=5, times=Times(at_s=5)), "none of the actors that it cuts off called the server meanwhile"),
    (Hazard(hazard="pool_deadlock"), "nothing that it could harm happened"),
    (Hazard(hazard="connection_leak"), "nothing that it could harm happened"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("fault", "why"), IDLE_BY_CHANCE, ids=lambda one: type(one).__name__ if not isinstance(one, str) else ""
)
def test_a_fault_that_happens_not_to_strike_is_told_with_the_reason(fault: Any, why: str) -> None:
    late = ExecutorGroup(name="late", starts=300.0)
    first = LoseReply(name="fine", match=CLOSES, when=ONCE)
    scenario = replace(FINE, executors=(*FINE.executors, late), faults=(first, replace(fault, name="idle")))
    assert [one for one in lint(scenario) if one.kind == "fault"] == []
    result = run(scenario)
    assert [one.count for one in result.faults] == [1, 0]
    (warning,) = [one for one in result.warnings if one.kind == "fault"]
    assert (warning.name, warning.path) == ("idle", "faults.1")
    assert "never struck: " in warning.text
    assert why in warning.text


def test_faults_that_are_off_or_not_drawn_are_not_warned_of() -> None:
    faults = tuple(LoseReply(name=name, match=CLOSES, when=ONCE) for name in "abc")
    off = Crash(name="off", actors="nosuch", times=Times(at_s=5), enabled=False)
    result = run(replace(FINE, faults=(*faults, off), swarm=Swarm(keep=0, at_least=1)))
    assert sorted((one.drawn, one.count) for one in result.faults) == [(False, 0), (False, 0), (True, 1)]
    assert result.warnings == ()


def test_a_swarm_that_never_draws_is_told() -> None:
    faults = (LoseReply(match=CLOSES, when=ONCE),)
    assert told(lint(replace(FINE, faults=faults, swarm=Swarm(keep=0, at_least=0)))) == [("swarm", "swarm", "swarm")]


@given(
    st.sampled_from([0.0, 599.0, 600.0, 1e6]), st.sampled_from([None, 1.0, 700.0]), st.sampled_from(["e-1", "x", "w"])
)
@settings(max_examples=40, deadline=None)
def test_what_is_said_never_to_strike_does_not_strike(from_s: float, until_s: float | None, caller: str) -> None:
    if until_s is not None and until_s <= from_s:
        return
    fault = Delay(by_s=1.0, match=Match(callers=caller), when=When(from_s=from_s, until_s=until_s))
    scenario = replace(FINE, faults=(fault,))
    if lint(scenario):
        assert run(scenario).faults[0].count == 0


@pytest.mark.parametrize("hazard", ["lossy_wakeup", "lost_signal"])
def test_a_lost_wakeup_counts_where_a_process_stayed_beside_a_parked_call(hazard: Any) -> None:
    """Only e-3 may have what is submitted, so a lossy wake-up finds the wrong one two times of three."""
    fault = Hazard(hazard=hazard, until_s=600)
    picky = Workload(name="w", arrivals=Every(10.0), mix=(Submission(executornames=["e-3"]),))
    assert run(replace(FINE, faults=(fault,), workload=(picky,))).faults[0].count > 0
    busy = run(replace(FINE, faults=(fault,), executors=(ExecutorGroup(name="e", service=500.0),)))
    assert busy.faults[0].count < 10  # of 60: nobody is parked while the only one is busy


def test_shrunk_or_broken_runs_do_not_warn_of_what_may_have_been_to_come() -> None:
    late = LoseReply(match=CLOSES, when=When(from_s=500, first=1))
    boom = ProgramGroup(name="boom", code="os.path:normpath", args=[5])  # a TypeError at once
    result = run(replace(FINE, faults=(late,), programs=(boom,)))
    assert [failure.kind for failure in result.failures] == ["program"]
    assert result.faults[0].count == 0
    assert result.warnings == ()


# ---------------------------------------------------------------- nothing at all
@pytest.mark.parametrize(
    "scenario",
    [
        replace(FINE, workload=()),
        Scenario(phases=Phases(storm_s=10)),
        replace(FINE, workload=(Workload(name="w", arrivals=Once(at_s=700)),)),
        replace(FINE, workload=(Workload(name="w", arrivals=Every(1.0), from_s=50, until_s=50),)),
        replace(FINE, workload=(), crons=(CronPlan(name="c", every_s=900, submit=Submission()),)),
    ],
    ids=["no workload", "nothing", "late", "no time", "a cron that is late"],
)
def test_a_run_that_submits_nothing_has_failed(scenario: Scenario) -> None:
    result = run(scenario)
    assert [(failure.kind, failure.name) for failure in result.failures] == [("nothing", "nothing was tested")]
    assert "no process was submitted" in result.failures[0].text


def test_another_failure_is_not_told_as_nothing() -> None:
    refused = Workload(name="w", arrivals=Once(3), mix=(Submission(args=json.loads("[" * 250 + "]" * 250)),))
    assert [failure.kind for failure in run(replace(FINE, workload=(refused,))).failures] == ["submit"]


# ---------------------------------------------------------------- workloads, crons, generators
LATE = (
    Workload(name="late", arrivals=Once(at_s=700)),
    Workload(name="late", arrivals=At((601.0, 650.0))),
    Workload(name="late", arrivals=Every(1.0), from_s=600),
    Workload(name="late", arrivals=Every(1.0), from_s=9, until_s=9),
)


@pytest.mark.parametrize("late", LATE)
def test_a_workload_that_submits_nothing_is_told(late: Workload) -> None:
    scenario = replace(FINE, workload=(*FINE.workload, late))
    assert told(lint(scenario)) == [("workload", "late", "workload.1")]
    assert told(run(scenario).warnings) == [("workload", "late", "workload.1")]


def test_an_empty_piece_of_a_trace_is_refused(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("submit_s,run_s\n0,1\n")
    trace = Workload(name="t", trace=Trace(file="t.csv", first=5))
    with pytest.raises(BadTrace, match="it ends before `first`"):
        run(replace(FINE, workload=(*FINE.workload, trace), folder=str(tmp_path)))


def test_a_cron_and_a_generator_that_never_start_anything_are_told() -> None:
    one = Submission(generator="g")
    cron = CronPlan(name="c", every_s=1000, submit=Submission())
    generator = GeneratorPlan(name="g", trigger=50, submit=Submission())
    feed = Workload(name="feed", arrivals=Once(3), mix=(one,))
    result = run(replace(FINE, workload=(*FINE.workload, feed), crons=(cron,), generators=(generator,)))
    assert told(result.warnings) == [("cron", "c", "crons.0"), ("generator", "g", "generators.0")]
    assert "it got 3 arguments, and starts at 50" in result.warnings[1].text
    busy = (replace(cron, every_s=60), replace(generator, trigger=2))
    assert run(replace(FINE, workload=(feed,), crons=busy[:1], generators=busy[1:])).warnings == ()


# ---------------------------------------------------------------- executors
IDLERS: list[tuple[ExecutorGroup, str, bool]] = [
    (ExecutorGroup(name="idle", type="gpu"), "no process asks for type 'gpu'; processes ask for cli", True),
    (ExecutorGroup(name="idle", starts=1e6), "never asked for work", False),
    (ExecutorGroup(name="idle", count=9, starts=1e6), "9 of 9 executors 'idle' never asked for work", False),
]


@pytest.mark.parametrize(("group", "why", "foreseen"), IDLERS)
def test_executors_that_never_get_anything_are_told_with_the_reason(
    group: ExecutorGroup, why: str, foreseen: bool
) -> None:
    scenario = replace(FINE, executors=(*FINE.executors, group))
    assert [one.path for one in lint(scenario)] == (["executors.1"] if foreseen else [])
    (warning,) = run(scenario).warnings
    assert (warning.kind, warning.name, warning.path) == ("executors", "idle", "executors.1")
    assert why in warning.text


@pytest.mark.parametrize(
    ("submission", "why"),
    [
        (Submission(location="lund"), "locations lund"),
        (Submission(executornames=["e-1"]), "names e-1"),
    ],
)
def test_executors_whose_conditions_nothing_meets_are_told(submission: Submission, why: str) -> None:
    groups = (ExecutorGroup(name="e", count=2, location="Lund"), ExecutorGroup(name="idle"))
    workload = Workload(name="w", arrivals=Every(10.0), mix=(submission,))
    (warning,) = lint(replace(FINE, executors=groups, workload=(workload,)))
    assert warning.name == "idle"
    assert why in warning.text


def test_executors_without_enough_memory_never_get_anything() -> None:
    groups = (ExecutorGroup(name="big", memory="4Gi"), ExecutorGroup(name="small", memory="1Gi"))
    workload = Workload(name="w", arrivals=Every(10.0), mix=(Submission(memory="2Gi"),))
    (warning,) = run(replace(FINE, executors=groups, workload=(workload,))).warnings
    assert warning.name == "small"
    assert "memory did not fit" in warning.text


def test_programs_that_get_no_work_or_never_ask_are_told(tmp_path: Path) -> None:
    code = "import time\ndef sleeps():\n    time.sleep(5)\ndef ends():\n    pass\n"
    (tmp_path / "code.py").write_text(code)
    gpu = ProgramGroup(name="gpu", code="code.py:sleeps", executor_type="gpu", registered=True)
    idle = ProgramGroup(name="idle", code="code.py:ends")
    scenario = replace(FINE, programs=(gpu, idle), folder=str(tmp_path))
    result = run(scenario)
    assert result.ok, result.failures
    assert told(result.warnings) == [("program", "gpu", "programs.0"), ("program", "idle", "programs.1")]
    assert "'gpu', an executor of type 'gpu', never got a process" in result.warnings[0].text
    assert "'idle' never asked or waited for anything" in result.warnings[1].text


# ---------------------------------------------------------------- checks
def test_checks_that_checked_nothing_are_told() -> None:
    checks = (
        Probe(name="calm", that="queue_depth <= 5", at="faults"),
        LeadsTo(name="leads", when="queue_depth > 500", then="queue_depth == 0", within_s=5),
        Eventually(name="looked", that="unfinished == 0", within_s=600),
    )
    result = run(replace(FINE, checks=checks))
    assert result.ok
    assert told(result.warnings) == [("check", "calm", "checks.0"), ("check", "leads", "checks.1")]
    assert "the scenario has no faults" in result.warnings[0].text
    assert "queue_depth > 500 never became true" in result.warnings[1].text
    assert [finding.looked for finding in result.findings[:2]] == [0, 0]


def test_each_without_a_process_is_told() -> None:
    result = run(replace(FINE, workload=(), checks=(Each(within_s=5),)))
    assert told(result.warnings)[-1] == ("check", "check 1", "checks.0")


@pytest.mark.parametrize("that", ["turnaround_s.p95 < 60", "turnaround_s.p95 > 0", "turnaround_s.mean != 5", "utilisation <= 1"])  # fmt: skip
def test_a_figure_over_nothing_fails_a_check_whatever_is_asked(that: str) -> None:
    lonely = Scenario(phases=Phases(storm_s=10), workload=(Workload(name="w", arrivals=Once()),))
    result = run(replace(lonely, checks=(Probe(that=that, at="end"),)))
    (finding,) = result.findings
    assert not finding.passed
    assert finding.value is None
    assert "has no value: there was nothing to measure" in str(finding)


# ---------------------------------------------------------------- policies
@pytest.mark.parametrize(
    ("policy", "known", "missing"),
    [
        ("deadline", Submission(maxwaittime=500), "maxwaittime"),
        ("shortest", Submission(maxexectime=500), "maxexectime"),
        ("shortest", Submission(kwargs={"expected_s": 5}), "expected_s"),
    ],
)
def test_a_policy_that_knows_nothing_of_any_process_is_told(policy: str, known: Submission, missing: str) -> None:
    scenario = replace(FINE, settings={"policy": policy})
    (warning,) = lint(scenario)
    assert (warning.kind, warning.path) == ("policy", "settings.policy")
    assert missing in warning.text
    assert run(scenario).warnings == (warning,)
    workload = replace(FINE.workload[0], mix=(Submission(), known))
    assert lint(replace(scenario, workload=(workload,))) == []


@pytest.mark.parametrize(
    ("settings", "users", "priority", "why"),
    [
        ({"policy": "fair"}, 1, 0, "'{}' submitted all of them"),
        ({"policy": "fair"}, 2, 0, ""),
        ({"policy": "weighted_fair"}, 1, 0, "'{}' submitted all of them"),
        ({"policy": "weighted_fair"}, 2, 0, ""),
        (
            {"policy": "multifactor"},
            1,
            0,
            "they do not differ in any factor with a weight (fair_share, size, priority)",
        ),
        (
            {"policy": "multifactor", "factor_weights": "age=5"},
            2,
            1,
            "`factor_weights` gives a weight to no factor but",
        ),
        (
            {"policy": "multifactor", "factor_weights": "size=5"},
            2,
            1,
            "do not differ in any factor with a weight (size)",
        ),
        ({"policy": "multifactor", "factor_weights": "priority=5"}, 2, 1, ""),
        ({"policy": "multifactor"}, 2, 0, ""),
    ],
)
def test_a_policy_that_cannot_tell_processes_apart_is_told(
    settings: dict[str, Any], users: int, priority: int, why: str
) -> None:
    first = FINE.workload[0]
    mix = (Submission(), Submission(priority=priority))
    result = run(replace(FINE, settings=settings, workload=(replace(first, users=users, mix=mix),)))
    if not why:
        assert result.warnings == ()
        return
    (warning,) = result.warnings
    assert (warning.kind, warning.name, warning.path) == ("policy", settings["policy"], "settings.policy")
    assert why.format(first.name) in warning.text


def test_a_weight_of_somebody_who_submits_nothing_is_told() -> None:
    first = FINE.workload[0]
    settings = {"policy": "weighted_fair", "user_weights": {f"{first.name}-1": 2, "nobody": 3}}
    (warning,) = run(replace(FINE, settings=settings, workload=(replace(first, users=2),))).warnings
    assert warning.text == "the weight of user 'nobody' has no effect: 'nobody' submitted nothing"


# ---------------------------------------------------------------- accepting
def test_a_scenario_accepts_what_chance_may_bring() -> None:
    rare = LoseReply(name="rare", match=CLOSES, when=When(probability=1e-9))
    spare = ExecutorGroup(name="spare", type="gpu")
    scenario = replace(FINE, faults=(rare,), executors=(*FINE.executors, spare))
    assert len(run(scenario).warnings) == 2
    assert run(replace(scenario, accept=("fault: rare", "executors: spa*"))).warnings == ()
    assert told(run(replace(scenario, accept=("fault: spare",))).warnings) == told(run(scenario).warnings)


@pytest.mark.parametrize("pattern", ["rare", "faults: rare", "fault:", "fault : "])
def test_a_pattern_that_no_warning_fits_is_refused(pattern: str) -> None:
    with pytest.raises(ValueError, match="does not name a warning; write `kind: name`"):
        replace(FINE, accept=(pattern,))


# ---------------------------------------------------------------- explore
def test_a_fault_that_struck_under_one_seed_of_many_is_no_finding() -> None:
    some = LoseReply(name="some", match=CLOSES, when=When(probability=0.01))
    none = LoseReply(name="none", match=CLOSES, when=When(probability=1e-9))
    scenario = replace(FINE, faults=(some, none), accept=("fault: none",))
    outcomes = [run_seed(scenario, seed) for seed in range(6)]
    view = overview(outcomes)
    assert 0 < view.faults["some"].seeds < 6
    assert view.faults["some"].count == sum(outcome.faults["some"] for outcome in outcomes)
    assert (view.faults["none"].count, view.faults["none"].seeds) == (0, 0)
    assert told(view.warnings) == [("fault", "none", "")]
    assert "under any of 6 seeds" in view.warnings[0].text


def test_what_all_seeds_warn_of_is_a_finding_and_what_one_of_them_does_not_is_none() -> None:
    scenario = replace(FINE, executors=(*FINE.executors, ExecutorGroup(name="idle", type="gpu")))
    outcomes = [run_seed(scenario, seed) for seed in range(3)]
    assert told(overview(outcomes).warnings) == [("executors", "idle", "executors.1")]
    assert overview([*outcomes, Outcome(seed=9, digest="x")]).warnings == ()


def test_exploring_no_seed_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one"):
        list(explore(FINE, range(0), Processes(1)))


# ---------------------------------------------------------------- counts in Python
def test_counts_of_faults_stay_when_the_faults_are_gone() -> None:
    sim = Simulation(seed=7)
    colony = ColonyClient.create(sim, "lab")
    sim.faults.add(
        LoseReply(match=Match(types="submitfuncspecmsg"), when=When(first=2)),
        AnswerWith(name="away", status=503, text="away", match=Match(types="getprocessmsg")),
    )
    for _ in range(2):
        with pytest.raises(Lost):
            colony.submit("f")
    assert sim.faults.counts == {"lose_reply": 2, "away": 0}
    assert sim.faults.idle == {"away": "no request that it is about was sent in its time"}
    sim.faults.clear()
    assert sim.faults.counts == {"lose_reply": 2, "away": 0}
    assert list(sim.faults.idle) == ["away"]
    sim.faults.add(LoseReply(match=CLOSES, when=ONCE))
    assert sim.faults.counts["lose_reply"] == 0  # another of the same name


def test_a_partition_counts_what_it_takes_and_not_its_beginning() -> None:
    scenario = replace(FINE, faults=(Partition(actors="e-1", for_s=60, times=Times(at_s=100)),))
    assert run(scenario).faults[0].count >= 1
    nobody = replace(FINE, faults=(Partition(actors="w", for_s=5, times=Times(at_s=101)),))  # between two submissions
    assert run(nobody).faults[0].count == 0


@pytest.mark.parametrize(
    ("executors", "faults", "why"),
    [
        ((), (), "there are no executors"),
        ((ExecutorGroup(name="x", type="gpu"),), (), "no process asked for type 'gpu'"),
        ((ExecutorGroup(name="x", starts=9e8),), (), "executor 'x' never asked for work"),
        ((ExecutorGroup(name="x"),), (Crash(times=Times(at_s=0), pick=None),), "executor 'x' never got a process"),
    ],
)
def test_a_run_in_which_no_executor_ever_gets_a_process_is_not_green(executors: Any, faults: Any, why: str) -> None:
    impatient = Workload(name="w", arrivals=Poisson(100), count=3, mix=(Submission(maxwaittime=10),))
    result = run(Scenario(phases=Phases(storm_s=600), executors=executors, faults=faults, workload=(impatient,)))
    assert not result.ok
    (failure,) = result.failures
    assert failure.text.startswith("nothing was tested: no executor ever got a process (")
    assert why in failure.text
