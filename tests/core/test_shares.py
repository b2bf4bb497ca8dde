"""Policies that go by weights and by use: weighted_fair and multifactor, and users' own that take the state."""

from __future__ import annotations

import random
from typing import Any

import pytest

from colonysim import ColonyClient, Settings, Simulation
from colonysim.core.operations.closing import CloseSuccessful
from colonysim.core.policies import BadPolicy
from colonysim.core.records import RUNNING, Process
from colonysim.core.shares import Shares
from colonysim.core.values import BadValue

DAY_S = 86_400


def colony_of(*users: str, **settings: Any) -> tuple[ColonyClient, dict[str, Any]]:
    colony = ColonyClient.create(Simulation(mode="manual", stale_executor_duration_s=100 * DAY_S, **settings))
    return colony, {name: colony.add_user(name) for name in users}


def next_ones(executor: Any, count: int) -> list[str]:
    names = []
    for _ in range(count):
        process = executor.assign()
        assert process is not None
        names.append(process.spec.funcname)
        process.close()
    return names


# ---------------------------------------------------------------- weighted fair
def test_a_user_with_weight_3_gets_three_processes_for_one_of_another() -> None:
    colony, users = colony_of("a", "b", policy="weighted_fair", user_weights="a=3")
    executor = colony.add_executor("cli")
    for number in range(9):
        users["b"].submit(f"b{number}")
        users["a"].submit(f"a{number}")
    names = next_ones(executor, 12)
    assert [name[0] for name in names].count("a") == 9
    assert names[:4] == ["a0", "a1", "a2", "b0"]


def test_run_times_count_and_not_processes() -> None:
    """Ten processes of one second weigh as much as one of ten seconds."""
    colony, users = colony_of("short", "long", policy="weighted_fair")
    executor = colony.add_executor("cli")
    for _ in range(3):
        users["long"].submit("long", kwargs={"expected_s": 10})
    for _ in range(30):
        users["short"].submit("short", maxexectime=1)
    names = next_ones(executor, 22)
    assert (names.count("short"), names.count("long")) == (20, 2)


def test_who_comes_late_gets_no_run_time_for_the_time_before() -> None:
    colony, users = colony_of("old", "new", policy="weighted_fair")
    executor = colony.add_executor("cli")
    for number in range(8):
        users["old"].submit(f"a{number}")
    next_ones(executor, 5)
    for number in range(3):
        users["new"].submit(f"b{number}")
    assert next_ones(executor, 6) == ["a5", "b0", "a6", "b1", "a7", "b2"]


# ---------------------------------------------------------------- multifactor
@pytest.mark.parametrize(("days", "first"), [(5.0, "new"), (5.5, "heavy")])
def test_a_heavy_user_waits_until_the_age_outweighs_the_fair_share(days: float, first: str) -> None:
    """All use is of one of two users with equal weights: 2^-2 of 1000 points are 750 less, which is 5.25 days of age."""
    colony, users = colony_of("heavy", "new", policy="multifactor", factor_weights="age=1000,fair_share=1000")
    sim, executor = colony.sim, colony.add_executor("cli")
    users["heavy"].submit("before")
    users["new"].submit("other", executortype="other")  # so that the policy knows both
    process = executor.assign()
    sim.advance(1000)
    process.close()
    users["heavy"].submit("heavy")
    sim.advance(days * DAY_S)
    users["new"].submit("new")
    assert next_ones(executor, 1) == [first]


@pytest.mark.parametrize(("half_life_s", "first"), [(3600, "early"), (10 * DAY_S, "late")])
def test_use_is_halved_with_time(half_life_s: int, first: str) -> None:
    """`early` used more, but a day earlier."""
    colony, users = colony_of(
        "early", "late", policy="multifactor", factor_weights={"fair_share": 1}, usage_half_life_s=half_life_s
    )
    for name, lasts_s in (("early", 1000), ("late", 500)):
        executor = colony.add_executor("cli", f"for {name}")
        users[name].submit("before")
        process = executor.assign()
        colony.sim.advance(lasts_s)
        process.close()
        colony.sim.advance(DAY_S if name == "early" else 0)
    for name in ("late", "early"):
        users[name].submit(name)
    assert next_ones(colony.add_executor("cli", "last"), 1) == [first]
    colony.sim.check()


def test_size_and_priority_count_by_their_weights() -> None:
    for weights, order in (
        ("size=100", ["big", "small", "urgent"]),
        ("size=100,priority=30", ["big", "urgent", "small"]),
        ("size=100,priority=60", ["urgent", "big", "small"]),
        ("priority=1", ["urgent", "small", "big"]),
        ("", ["small", "big", "urgent"]),
    ):
        colony, users = colony_of("a", policy="multifactor", factor_weights=weights, full_size_cpus=4)
        executor = colony.add_executor("cli")
        users["a"].submit("small")
        users["a"].submit("big", cpu="3000m")
        users["a"].submit("urgent", priority=1)
        assert next_ones(executor, 3) == order


def test_the_users_weight_is_the_part_that_a_user_may_have() -> None:
    """Both have used as much; who has the greater weight has used less of what is due."""
    colony, users = colony_of("a", "b", policy="multifactor", user_weights={"b": 2}, factor_weights="fair_share=1")
    executors = [colony.add_executor("cli", name) for name in "xy"]
    for user in users.values():
        user.submit("before")
    running = [executor.assign() for executor in executors]
    colony.sim.advance(60)
    for process in running:
        process.close()
    users["a"].submit("a")
    users["b"].submit("b")
    assert next_ones(executors[0], 2) == ["b", "a"]


# ---------------------------------------------------------------- settings
@pytest.mark.parametrize(
    ("given", "words"),
    [
        (
            {"user_weights": "alice"},
            "'alice' is not a name, =, and a number from 0 to 100,000; write weights as alice=3",
        ),
        ({"user_weights": "alice=0"}, "the weight of 'alice' must be greater than 0"),
        ({"user_weights": "alice=nan"}, "is not a name"),
        ({"user_weights": "alice=1,alice=2"}, "'alice' is there twice"),
        ({"user_weights": {"alice": "much"}}, "is not a name"),
        ({"factor_weights": "luck=1"}, "there is no factor 'luck'; the factors are age, fair_share, size, priority"),
        ({"factor_weights": "age=-1"}, "is not a name"),
        ({"full_age_s": 5}, "full_age_s"),
    ],
)
def test_wrong_weights_are_refused_with_the_fix(given: dict[str, Any], words: str) -> None:
    with pytest.raises(BadValue, match=words):
        Settings(**given)


# ---------------------------------------------------------------- users' own
def fewest_running(process: Process, state: Shares) -> int:
    state.memory["ranked"] = state.memory.get("ranked", 0) + 1
    return int(state.running(process) * 10**9 + state.used_s(process) * 1000)


def test_a_function_with_two_parameters_gets_the_state() -> None:
    colony, users = colony_of("a", "b", policy=fewest_running)
    executors = [colony.add_executor("cli", name) for name in "xyz"]
    users["a"].submit("a0")
    process = executors[0].assign()
    users["a"].submit("a1")
    users["b"].submit("b0")
    assert next_ones(executors[1], 1) == ["b0"]
    colony.sim.advance(5)
    process.close()
    users["a"].submit("a2")
    shares = colony.sim.world.queues.shares
    a = next(p for p in colony.sim.world.processes.values() if p.spec.funcname == "a2")
    assert (shares.running(a), shares.ended(a), shares.weight(a), shares.used_part(a)) == (0, 1, 1.0, 1.0)
    assert shares.used_s(a) == 5.0
    assert shares.memory == {"ranked": 4}
    colony.sim.check()


def test_the_state_stays_in_forks_and_snapshots() -> None:
    colony, users = colony_of("a", "b", policy=fewest_running)
    executor = colony.add_executor("cli")
    for user in users.values():
        user.submit("f")
    executor.assign()
    colony.sim.advance(3)
    other = Simulation(mode="manual")
    other.restore(colony.sim.snapshot())
    for sim in (colony.sim, other):
        shares = sim.world.queues.shares
        running = next(iter(sim.world.processes_in(colony.name, RUNNING).values()))
        assert shares.running(running) == 1
        assert shares.memory == {"ranked": 2}
        sim.call(executor.id, CloseSuccessful(processid=running.process_id))
        assert shares.used_s(running) == 3.0
    assert other.snapshot() == colony.sim.snapshot()


def test_a_memory_that_cannot_be_stored_is_told() -> None:
    def keeps_a_set(process: Process, state: Shares) -> int:
        state.memory["seen"] = object()
        return 0

    colony, _ = colony_of(policy=keeps_a_set)
    colony.submit("f")
    with pytest.raises(ValueError, match="object"):
        colony.sim.snapshot()


def test_an_optional_parameter_is_not_the_state() -> None:
    colony, _ = colony_of(policy=lambda process, sign=-1: sign * process.submitted_ns)
    for name in "ab":
        colony.submit(name)
        colony.sim.advance(1)
    assert next_ones(colony.add_executor("cli"), 2) == ["b", "a"]


def test_a_policy_that_fails_with_the_state_is_told() -> None:
    colony, _ = colony_of(policy=lambda process, state: state.nothing)
    with pytest.raises(BadPolicy, match="has no attribute 'nothing'"):
        colony.submit("f")


# ---------------------------------------------------------------- no false alarms
def by_use_and_memory(process: Process, state: Shares) -> int:
    state.memory["n"] = (state.memory.get("n", 0) * 7 + 1) % 1000
    return int(state.used_part(process) * 10**6) * 1000 + state.memory["n"]


@pytest.mark.parametrize("policy", ["fair", "weighted_fair", "multifactor", by_use_and_memory])
def test_many_users_their_retries_and_restored_states_raise_no_alarm(policy: Any) -> None:
    chance = random.Random(str(policy))
    sim = Simulation(
        mode="manual", policy=policy, user_weights="u0=4,u1=0.5", usage_half_life_s=7, stale_executor_duration_s=10**6
    )
    colony = ColonyClient.create(sim, "c")
    users = [colony.add_user(f"u{number}") for number in range(4)]
    workers = [colony.add_executor("t", f"e{number}") for number in range(3)]
    running: list[Any] = []
    for round_ in range(500):
        match chance.randrange(4):
            case 0 | 1:
                spec = {"cpu": chance.choice(["", "2000m"]), "priority": chance.randrange(2)}
                wait = {"maxexectime": chance.choice([-1, 3]), "kwargs": {"expected_s": chance.randrange(9)}}
                chance.choice(users).submit("f", executortype="t", maxretries=2, **spec, **wait)
            case 2:
                if (process := chance.choice(workers).assign()) is not None:
                    running.append(process)
            case 3:
                sim.advance(chance.random() * 5)
                if running:
                    process = running.pop(chance.randrange(len(running)))
                    known = sim.world.processes[process.id]
                    if (known.state, known.executor_id) == (RUNNING, process.caller.id):
                        process.close()
        if round_ % 100 == 50:
            sim.check()
            sim.restore(sim.snapshot())
    sim.advance(7 * 500)
    users[0].submit("f", executortype="t")
    assert workers[0].assign() is not None
    sim.check()
    sim.fork().check()
