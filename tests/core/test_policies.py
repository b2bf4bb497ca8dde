"""The order in which waiting processes are given out, under each policy."""

from __future__ import annotations

from typing import Any

import pytest

from colonysim import ColonyClient, Simulation


def _taken(policy: str, submissions: list[dict[str, Any]], users: int = 1) -> list[str]:
    """The functions in the order in which one executor gets them; all are there before it asks."""
    colony = ColonyClient.create(Simulation(mode="manual", policy=policy))
    submitters = [colony.add_user(f"u{number}") for number in range(users)]
    executor = colony.add_executor("cli")
    for spec in submissions:
        given = dict(spec)
        submitters[given.pop("user", 0)].submit(given.pop("name"), **given)
    names = []
    for _ in submissions:
        process = executor.assign()
        assert process is not None
        names.append(process.spec.funcname)
        process.close()
    return names


def test_the_reference_goes_by_submission_and_priority() -> None:
    submissions = [{"name": "a"}, {"name": "b"}, {"name": "c", "priority": 1}]
    assert _taken("reference", submissions) == ["c", "a", "b"]


def test_the_earliest_deadline_goes_first_and_who_has_none_last() -> None:
    submissions = [
        {"name": "none"},
        {"name": "late", "maxwaittime": 100},
        {"name": "soon", "maxwaittime": 10},
        {"name": "urgent but without a deadline", "priority": 5},
    ]
    assert _taken("deadline", submissions) == ["soon", "late", "urgent but without a deadline", "none"]


def test_the_shortest_expected_goes_first() -> None:
    submissions = [
        {"name": "unknown"},
        {"name": "by its limit", "maxexectime": 50},
        {"name": "by what it says", "maxexectime": 900, "kwargs": {"expected_s": 1.5}},
        {"name": "says nonsense", "maxexectime": 70, "kwargs": {"expected_s": "soon"}},
    ]
    assert _taken("shortest", submissions) == ["by what it says", "by its limit", "says nonsense", "unknown"]


def test_fair_shares_give_a_turn_to_each_who_submits() -> None:
    submissions = [{"name": f"a{number}", "user": 0} for number in range(4)]
    submissions += [{"name": f"b{number}", "user": 1} for number in range(2)]
    submissions += [{"name": "c0", "user": 2}]
    assert _taken("fair", submissions, users=3) == ["a0", "b0", "c0", "a1", "b1", "a2", "a3"]


def test_whoever_comes_late_gets_no_turns_for_the_time_before() -> None:
    """After five turns of another's, a newcomer has the next one, not the next five."""
    colony = ColonyClient.create(Simulation(mode="manual", policy="fair"))
    old, new = colony.add_user("old"), colony.add_user("new")
    executor = colony.add_executor("cli")
    for number in range(8):
        old.submit(f"a{number}")
    for _ in range(5):
        assert executor.assign() is not None
    for number in range(3):
        new.submit(f"b{number}")
    names = [process.spec.funcname for _ in range(6) if (process := executor.assign())]
    assert names == ["b0", "a5", "b1", "a6", "b2", "a7"]


@pytest.mark.parametrize("policy", ["deadline", "shortest", "fair"])
def test_a_process_that_comes_back_is_ranked_anew_and_snapshots_keep_the_order(policy: str) -> None:
    sim = Simulation(mode="manual", policy=policy)
    colony = ColonyClient.create(sim)
    executor = colony.add_executor("cli")
    for number in range(20):
        colony.submit(f"f{number}", maxwaittime=1000 - number % 7, maxexectime=5, maxretries=-1)
    assert executor.assign() is not None
    sim.advance(10)
    twin = sim.fork()
    ours, theirs = ([sim_.world.queues.first(20)] for sim_ in (sim, twin))
    assert [p.process_id for p in ours[0]] == [p.process_id for p in theirs[0]]
    assert len(ours[0]) == 20
    sim.check()


def test_an_unknown_policy_is_told_with_those_there_are() -> None:
    with pytest.raises(ValueError, match="invalid policy='luck': must be reference or"):
        Simulation(policy="luck")
