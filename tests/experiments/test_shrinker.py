"""Shrinking: what is left fails in the same way, is as small as it can be, and can be written down and read back."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from colonysim.experiments.exploration import run_seed
from colonysim.experiments.minimise import at, fewest, least, most, paths, put
from colonysim.experiments.shrinker import CannotShrink, Shrunk, Size, Wanted, shrink
from colonysim.faults import Crash, LoseReply, Partition
from colonysim.scenarios.scenario import Scenario
from colonysim.scenarios.writer import as_data, as_text

# A client that sends again what it has no reply to, an executor group that is not needed, and noise.
TWICE = """
version: 1
name: submitted twice
phases: {storm_s: 3600, calm_s: 7200}
executors:
  - {name: fast, count: 6, service: {kind: exponential, mean_s: 30}}
  - {name: slow, count: 3, service: 60}
workload:
  - {name: people, arrivals: {kind: poisson, per_hour: 200}, count: 40, resends: 3, mix: [{maxexectime: 300, maxretries: 9}]}
  - {name: others, arrivals: {kind: poisson, per_hour: 100}, count: 30, mix: [{executortype: nobody}]}
faults:
  - {kind: lose_reply, match: {types: submitfuncspecmsg}, when: {probability: 0.02}, notice_s: 1}
  - {kind: delay, by_s: [0, 2], when: {probability: 0.1}}
  - {kind: crash, executor_type: cli, times: {mean_every_s: 600}, restart_after_s: 60}
  - {kind: partition, times: {mean_every_s: 1800}, for_s: [5, 20]}
checks:
  - {kind: each, name: soon, since: submitted, until: ended, within_s: 100000}
  - {kind: probe, name: sent once, that: retries <= 1}
"""
FAILS_WITH = ("check", "sent once")


def first_failing(scenario: Scenario, wanted: tuple[str, str], seeds: int = 50) -> int:
    for seed in range(1, seeds):
        if wanted in [(failure.kind, failure.name) for failure in run_seed(scenario, seed).failures]:
            return seed
    raise AssertionError(f"no seed fails with {wanted}")


@pytest.fixture(scope="module")
def scenario() -> Scenario:
    return Scenario.read(TWICE, overrides=("workload.1.mix.0.executortype=cli",))


@pytest.fixture(scope="module")
def seed(scenario: Scenario) -> int:
    return first_failing(scenario, FAILS_WITH)


@pytest.fixture(scope="module")
def shrunk(scenario: Scenario, seed: int) -> Shrunk:
    return shrink(scenario, seed, Wanted(*FAILS_WITH))


# ---------------------------------------------------------------- what is left
def test_what_is_left_fails_in_the_same_way_with_the_same_seed(shrunk: Shrunk, seed: int) -> None:
    again = run_seed(shrunk.scenario, seed)
    assert FAILS_WITH in [(failure.kind, failure.name) for failure in again.failures]
    assert again.digest == shrunk.digest
    assert shrunk.seed == shrunk.scenario.seed == seed


def test_what_does_not_matter_is_left_out(scenario: Scenario, shrunk: Shrunk) -> None:
    """Two retries take two crashes, or so: not ten of them, nor late requests, nor nine executors."""
    assert shrunk.complete
    assert [check.name for check in shrunk.scenario.checks] == ["sent once"]
    assert shrunk.after.faults <= 2
    assert shrunk.after.executors <= 3
    assert shrunk.after.processes <= 5
    assert shrunk.after.storm_s < scenario.phases.storm_s  # type: ignore[operator]
    assert shrunk.before.executors == 9


def test_nothing_can_be_left_out_of_what_is_left(shrunk: Shrunk) -> None:
    for name in ("faults", "executors", "workload"):
        entries = getattr(shrunk.scenario, name)
        for place in range(len(entries)):
            try:
                fewer = put(shrunk.scenario, (name,), (*entries[:place], *entries[place + 1 :]))
                failures = run_seed(fewer, shrunk.seed).failures
            except ValueError:
                continue  # the rest makes no sense without it
            assert [(failure.kind, failure.name) for failure in failures] != [FAILS_WITH], f"{name}.{place}"


def test_the_same_comes_out_each_time(scenario: Scenario, seed: int, shrunk: Shrunk) -> None:
    again = shrink(scenario, seed, Wanted(*FAILS_WITH))
    assert (again.scenario, again.digest, again.runs) == (shrunk.scenario, shrunk.digest, shrunk.runs)


def test_chance_is_taken_out(shrunk: Shrunk) -> None:
    """A fault that strikes now and then has become those of its strikes that matter."""
    for fault in shrunk.scenario.faults:
        if isinstance(fault, (Crash, Partition)):
            assert fault.times is not None
            assert fault.times.mean_every_s is None
            assert len(fault.times.at_s) == 1  # type: ignore[arg-type]


@pytest.mark.parametrize("copy", ["w-1", "w-2", "w-3"])
def test_a_fault_on_one_copy_of_an_executor_is_aimed_at_the_only_one_that_is_left(copy: str) -> None:
    """Fewer copies have other names: the last one has no number."""
    text = f"""
version: 1
name: one of three
phases: {{storm_s: 600, calm_s: 600}}
executors: [{{name: w, count: 3, service: 30}}]
workload: [{{name: people, arrivals: {{kind: poisson, per_hour: 300}}, count: 12, mix: [{{maxexectime: 60}}]}}]
faults: [{{kind: crash, actors: {copy}, times: {{at_s: 100}}, restart_after_s: 60}}]
checks: [{{kind: probe, name: no retries, that: retries == 0, at: end}}]
"""
    scenario = Scenario.read(text)
    seed = first_failing(scenario, ("check", "no retries"))
    shrunk = shrink(scenario, seed)
    (group,), (fault,) = shrunk.scenario.executors, shrunk.scenario.faults
    assert isinstance(fault, Crash)
    assert (group.count, fault.actors, shrunk.after.executors) == (1, ("w",), 1)


def test_a_lost_reply_is_pinned_to_one_request() -> None:
    """The reply to one submission: whose it is and which one, and nothing of probability."""
    check = "checks=[{kind: probe, name: once, that: submitted <= 70}]"
    scenario = Scenario.read(TWICE, overrides=(check, "workload.1.mix=[{maxexectime: 300, maxretries: 9}]"))
    small = shrink(scenario, first_failing(scenario, ("check", "once")), Wanted("check", "once"))
    (fault,) = small.scenario.faults
    assert isinstance(fault, LoseReply)
    assert fault.match.types == ("submitfuncspecmsg",)
    assert (fault.when.probability, fault.when.first) == (1.0, 1)
    assert small.after.executors == 1, "nothing would come to rest without it, which is another failure"
    assert small.after.processes == 71


def test_what_is_left_fails_in_no_other_way(scenario: Scenario, seed: int, shrunk: Shrunk) -> None:
    before = {(failure.kind, failure.name) for failure in run_seed(scenario, seed).failures}
    after = {(failure.kind, failure.name) for failure in run_seed(shrunk.scenario, seed).failures}
    assert FAILS_WITH in after <= before


def test_a_swarm_becomes_the_faults_that_it_drew(scenario: Scenario) -> None:
    swarm = put(scenario, ("swarm",), Scenario.read("{version: 1, swarm: {keep: 0.5}}").swarm)
    found = first_failing(swarm, FAILS_WITH)
    small = shrink(swarm, found, Wanted(*FAILS_WITH))
    assert small.scenario.swarm is None
    assert small.before.faults == len(swarm.plan().active(found))
    assert FAILS_WITH in [(one.kind, one.name) for one in run_seed(small.scenario, found).failures]


# ---------------------------------------------------------------- limits
def test_no_more_runs_than_allowed_and_the_best_so_far(scenario: Scenario, seed: int, shrunk: Shrunk) -> None:
    sizes: list[Size] = []
    some = shrink(scenario, seed, Wanted(*FAILS_WITH), limit=20, progress=lambda runs, size: sizes.append(size))
    assert some.runs == 20
    assert not some.complete
    assert some.after == sizes[-1]
    assert shrunk.after.processes <= some.after.processes <= some.before.processes
    assert FAILS_WITH in [(failure.kind, failure.name) for failure in run_seed(some.scenario, seed).failures]


def test_an_interruption_gives_the_best_so_far(scenario: Scenario, seed: int) -> None:
    def enough(runs: int, size: Size) -> None:
        if runs == 15:
            raise KeyboardInterrupt

    some = shrink(scenario, seed, Wanted(*FAILS_WITH), progress=enough)
    assert not some.complete
    assert FAILS_WITH in [(failure.kind, failure.name) for failure in run_seed(some.scenario, seed).failures]


def test_a_seed_that_does_not_fail_so_is_refused_with_what_it_does(scenario: Scenario, seed: int) -> None:
    with pytest.raises(CannotShrink, match="check 'sent once'"):
        shrink(scenario, seed, Wanted("check", "another"))


# ---------------------------------------------------------------- writing it down
def test_what_is_left_is_written_so_that_it_reads_back_the_same(shrunk: Shrunk, tmp_path: Path) -> None:
    path = tmp_path / "small.yaml"
    path.write_text(as_text(shrunk.scenario, tmp_path, "why\nand how"), encoding="utf-8")
    assert path.read_text(encoding="utf-8").startswith("# why\n# and how\nversion: 1\n")
    again = Scenario.load(path)
    assert as_data(again) == as_data(shrunk.scenario)
    assert run_seed(again, again.seed).digest == shrunk.digest


def test_every_shipped_scenario_survives_being_written(tmp_path: Path) -> None:
    files = sorted((Path(__file__).parents[2] / "scenarios").glob("*.yaml"))
    assert files
    for file in files:
        scenario = Scenario.load(file)
        path = tmp_path / file.name
        path.write_text(as_text(scenario, tmp_path), encoding="utf-8")
        written = Scenario.load(path)
        named = ("folder", "workload", "programs", "crons", "generators")  # have paths, which are relative to the file
        own = ("settings", "invariants", "checks") if ".py:" in file.read_text() else ()
        own += ("executors",) if ".csv" in file.read_text() else ()
        for field in Scenario.__struct_fields__:
            if field not in named + own:
                assert getattr(written, field) == getattr(scenario, field), f"{file.name}: {field}"
        assert [w.name for w in written.workload] == [w.name for w in scenario.workload]
        assert as_text(written, file.parent) == as_text(scenario, file.parent)


def test_files_that_a_scenario_names_are_found_from_wherever_it_is_written(tmp_path: Path) -> None:
    (tmp_path / "here").mkdir()
    (tmp_path / "there").mkdir()
    (tmp_path / "here" / "trace.csv").write_text("submit_s,run_s\n0,1\n5,1\n")
    text = "{version: 1, workload: [{name: recorded, trace: {file: trace.csv}}], executors: [{name: cli}]}"
    (tmp_path / "here" / "s.yaml").write_text(text)
    scenario = Scenario.load(tmp_path / "here" / "s.yaml")
    (tmp_path / "there" / "s.yaml").write_text(as_text(scenario, tmp_path / "there"))
    assert "../here/trace.csv" in (tmp_path / "there" / "s.yaml").read_text()
    assert run_seed(Scenario.load(tmp_path / "there" / "s.yaml"), 1).digest == run_seed(scenario, 1).digest


# ---------------------------------------------------------------- the parts it is made of
@given(st.sets(st.integers(0, 30), max_size=4), st.integers(31, 60))
def test_the_fewest_are_exactly_those_that_are_needed(needed: set[int], size: int) -> None:
    def holds(items: Sequence[int]) -> bool:
        return needed <= set(items)

    assert set(fewest(tuple(range(size)), holds)) == needed


@given(st.lists(st.sets(st.integers(0, 12), min_size=1, max_size=3), min_size=1, max_size=3))
def test_none_of_the_fewest_can_be_left_out(alternatives: list[set[int]]) -> None:
    """Even where several sets would do, and so no single one is needed."""

    def holds(items: Sequence[int]) -> bool:
        return any(one <= set(items) for one in alternatives)

    left = fewest(tuple(range(13)), holds)
    assert holds(left)
    for place in range(len(left)):
        assert not holds((*left[:place], *left[place + 1 :]))


@given(st.integers(1, 1000), st.integers(0, 1000))
def test_the_least_and_the_most_are_found_by_halving(bound: int, more: int) -> None:
    high = bound + more
    tried: list[int] = []

    def holds(number: int) -> bool:
        tried.append(number)
        return number >= bound

    assert least(1, high, holds) == bound
    assert len(tried) <= 12
    assert most(0, high, lambda number: number <= bound) == bound


def test_parts_are_reached_by_their_path(scenario: Scenario) -> None:
    changed = put(scenario, ("executors", 1, "count"), 7)
    assert at(changed, ("executors", 1, "count")) == 7
    assert changed.executors[0] == scenario.executors[0]
    assert list(paths(scenario, ("count",))) == [
        ("executors", 0, "count"),
        ("executors", 1, "count"),
        ("workload", 0, "count"),
        ("workload", 1, "count"),
        ("faults", 2, "times", "count"),
        ("faults", 3, "times", "count"),
    ]
    with pytest.raises(ValueError, match="count"):
        put(scenario, ("faults", 2, "times", "count"), 0)
