"""Bugs planted in the core's own bookkeeping: the invariants see them, since they keep records of their own."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest

from colonysim import ColonyClient, ExecutorClient, InvariantViolation, Simulation
from colonysim.core import channels, graphs, intake, lifecycle, recurring, registration, retention, transitions
from colonysim.core.agenda import Agenda
from colonysim.core.lanes import LaneRun
from colonysim.core.operations.assignment import AssignProcess
from colonysim.core.operations.closing import CloseSuccessful
from colonysim.core.operations.crons import AddCron, RunCron
from colonysim.core.operations.generators import AddGenerator, PackGenerator
from colonysim.core.policies import POLICIES
from colonysim.core.records import RUNNING, SUCCESS, WAITING, Cron, Generator, Process
from colonysim.core.scheduling import Poll, Queues
from colonysim.core.types import CronSpec, GeneratorSpec
from colonysim.core.world import World

WORKFLOW = '{"colonyname":"c","functionspecs":[{"nodename":"n","conditions":{"executortype":"t"}}]}'


def nothing(*args: Any, **kwargs: Any) -> None:
    """What a function does whose work has been forgotten."""


def expect(text: str, do: Callable[[], object]) -> None:
    with pytest.raises(InvariantViolation, match=text):
        do()


def park(executor: ExecutorClient, timeout_s: int = 60) -> None:
    executor.sim.begin(executor.id, AssignProcess(colonyname="c", timeout=timeout_s))


# ---------------------------------------------------------------- queues
def test_late_processes_that_are_lost_when_the_queue_is_cleared(
    colony: ColonyClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    clear = LaneRun.forget_one

    def lose_late(self: LaneRun) -> None:
        length = len(self.fifo) + len(self.late)
        clear(self)
        if len(self.fifo) + len(self.late) < length:
            self.late = []

    monkeypatch.setattr(LaneRun, "forget_one", lose_late)
    gone, executor = colony.add_executor("t"), colony.add_executor("t")
    colony.submit("f", executortype="t")
    gone.assign()
    others = [colony.submit("f", executortype="t") for _ in range(100)]
    colony.remove_executor(gone)  # what it ran comes back, before all others
    for process in others[:90]:
        process.cancel()
    expect("was taken before .*, which stood in front of it", executor.assign)


def test_a_queue_that_finds_nothing_beside_a_waiting_process(
    colony: ColonyClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Queues, "take", nothing)
    executor = colony.add_executor("t", "e")
    colony.submit("f", executortype="t")
    expect("waits and was not given to e, which asked for work", executor.assign)


@pytest.mark.parametrize("kinds", [1, 100], ids=["one kind", "many kinds"])
def test_priorities_that_are_taken_the_wrong_way_round(
    colony: ColonyClient, monkeypatch: pytest.MonkeyPatch, kinds: int
) -> None:
    monkeypatch.setattr(intake, "PRIORITY_STEP_NS", -intake.PRIORITY_STEP_NS)
    executor = colony.add_executor("t")
    for number in range(kinds):
        colony.submit("f", executortype="t", cpu=f"{number + 1}m")
    colony.submit("f", executortype="t", cpu="1m", priority=3)
    expect("which stood in front of it|which should have got", executor.assign)


def test_a_queue_that_miscounts(colony: ColonyClient) -> None:
    colony.submit("f", executortype="t")
    (run,) = colony.sim.world.queues.pools["c", "t"].runs.values()
    run.live += 1
    expect("a queue counts 2 processes, and holds 1", colony.sim.check)


def test_a_process_that_is_listed_in_two_colonies(colony: ColonyClient) -> None:
    """Also in one that nobody has used since the tables were last gone through."""
    process = colony.submit("f", executortype="t")
    colony.sim.check()
    world = colony.sim.world
    world.tables_of("elsewhere")[WAITING][process.id] = world.processes[process.id]
    expect("processes are lost or doubled: 1 submitted, 0 removed, 2 in the tables of states", colony.sim.check)


def test_a_process_that_is_in_no_table_is_missed_by_the_next_request(colony: ColonyClient) -> None:
    process, other = (colony.submit("f", executortype="t") for _ in range(2))
    del colony.sim.world.tables_of("c")[WAITING][process.id]
    expect("processes are lost or doubled: 2 submitted, 0 removed, 1 in the tables of states", other.cancel)


def test_a_waiting_process_that_no_queue_holds(colony: ColonyClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Queues, "push", nothing)
    colony.submit("f", executortype="t")
    expect("waits, but is in no queue", colony.sim.check)


# ---------------------------------------------------------------- parked calls
def test_a_parked_call_that_is_not_woken(colony: ColonyClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lifecycle, "_wake", nothing)
    park(colony.add_executor("t", "e"))
    expect("waits, and e, which may have it, is parked and was not woken", lambda: colony.submit("f", executortype="t"))


@pytest.mark.parametrize(
    ("spec", "fits"),
    [
        ({"executornames": ["e"]}, True),
        ({"executornames": ["other"]}, False),
        ({"locationname": "hall"}, False),
        ({"cpu": "500m"}, True),
    ],
)
def test_only_calls_that_may_have_a_process_must_be_woken(
    colony: ColonyClient, monkeypatch: pytest.MonkeyPatch, spec: dict[str, Any], fits: bool
) -> None:
    monkeypatch.setattr(lifecycle, "_wake", nothing)
    park(colony.add_executor("t", "e"))
    if fits:
        expect("is parked and was not woken", lambda: colony.submit("f", executortype="t", **spec))
    else:
        colony.submit("f", executortype="t", **spec)
        colony.sim.check()


def test_the_youngest_parked_call_is_woken_first(colony: ColonyClient, monkeypatch: pytest.MonkeyPatch) -> None:
    def youngest(self: Queues, process: Process) -> Poll | None:
        return next(reversed(self.polls.values()), None)

    monkeypatch.setattr(Queues, "waiter", youngest)
    for name in ("old", "young"):
        park(colony.add_executor("t", name))
    expect("was given to young, although old has been parked for longer", lambda: colony.submit("f", executortype="t"))


def test_a_parked_call_whose_time_is_forgotten(colony: ColonyClient) -> None:
    park(colony.add_executor("t", "e"), timeout_s=10)
    (poll,) = colony.sim.world.queues.polls.values()
    colony.sim.world.agenda.cancel(poll.timer)
    expect("the ends of assign calls on the agenda are not those that are parked", colony.sim.check)
    colony.sim.advance(11)
    expect("of e got no answer", lambda: colony.submit("f"))


def test_a_parked_call_that_does_not_hear_of_the_end_of_a_pause(colony: ColonyClient) -> None:
    colony.pause()
    park(colony.add_executor("t", "e"))
    colony.sim.world.queues.pause_polls.clear()
    expect("of e still waits for the end of a pause", colony.resume)


def test_a_pause_that_is_overlooked(colony: ColonyClient, monkeypatch: pytest.MonkeyPatch) -> None:
    executor = colony.add_executor("t", "e")
    colony.submit("f", executortype="t")
    colony.pause()
    colony.sim.world.paused.clear()
    expect("was given to e, although assignments are paused", executor.assign)


def test_an_event_that_is_lost_when_the_agenda_is_rebuilt(
    colony: ColonyClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    cancel = Agenda.cancel

    def lose_one(self: Agenda, ticket: int) -> bool:
        before = len(self.heap)
        cancelled = cancel(self, ticket)
        if len(self.heap) < before:
            self.heap.pop()
        return cancelled

    monkeypatch.setattr(Agenda, "cancel", lose_one)
    executors = [colony.add_executor("t") for _ in range(160)]
    for executor in executors:
        park(executor)

    def wake() -> None:
        for _ in executors[:150]:
            colony.submit("f", executortype="t")

    expect("the agenda holds .* events, .* are pending", wake)  # without having been asked to look
    colony.sim.advance(61)
    expect("got no answer", lambda: colony.submit("g"))


# ---------------------------------------------------------------- limits
def test_an_execution_limit_that_is_passed(colony: ColonyClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transitions, "arm", nothing)
    executor = colony.add_executor("t")
    colony.submit("f", executortype="t", maxexectime=5)
    executor.assign()
    colony.sim.advance(10)
    expect(r"still runs at .*, past its maxexectime of 5 s", lambda: colony.submit("g"))


def test_a_waiting_limit_that_is_not_armed_after_a_retry(colony: ColonyClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transitions, "arm_wait", nothing)
    executor = colony.add_executor("t")
    colony.submit("f", executortype="t", maxexectime=1, maxwaittime=20, maxretries=3)
    executor.assign()
    colony.sim.advance(10)
    colony.sim.advance(30)
    expect(r"still waits at .*, past its maxwaittime of 20 s", lambda: colony.submit("g"))


def test_a_limit_that_comes_too_early(colony: ColonyClient, monkeypatch: pytest.MonkeyPatch) -> None:
    arm = transitions.arm
    monkeypatch.setattr(transitions, "arm", lambda world, process, ns: arm(world, process, ns - 3_000_000_000))
    executor = colony.add_executor("t")
    colony.submit("f", executortype="t", maxexectime=10)
    executor.assign()
    expect("was ended by its maxexectime of 10 s before that was over", lambda: colony.sim.advance(20))


def test_limits_are_watched_over_in_a_world_that_was_going_on_before(colony: ColonyClient) -> None:
    executor = colony.add_executor("t")
    colony.submit("f", executortype="t", maxexectime=20)
    executor.assign()
    colony.submit("f", executortype="t", maxwaittime=10)
    fork = colony.sim.fork()
    fork.check()
    for bucket in fork.world.release_ticks.values():
        bucket.clear()
    fork.advance(60)
    expect("still waits at .*, past its maxwaittime of 10 s", lambda: fork.call(colony.user.id, AssignProcess()))


def test_those_behind_a_thousand_others_may_wait_longer_until_fewer_wait(colony: ColonyClient) -> None:
    crowd = [colony.submit("f", executortype="t", priority=1) for _ in range(1000)]
    last = colony.submit("g", executortype="t", maxwaittime=3)
    colony.sim.advance(10)
    assert last.state == WAITING
    colony.sim.check()
    colony.sim.world.beyond_scan_limit.clear()  # the core forgets it
    crowd[0].cancel()
    colony.sim.advance(10)
    expect("past its maxwaittime of 3 s", colony.statistics)


def test_an_executor_that_gives_no_sign_and_stays(colony: ColonyClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registration, "expect_cleanup", nothing)
    colony.add_executor("t", "e").assign()
    colony.sim.advance(700)
    expect("executor 'e' of colony 'c' is registered at .*, last heard of at", lambda: colony.submit("f"))


def test_an_executor_that_keeps_what_it_ran(colony: ColonyClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transitions, "requeue_after_removal", nothing)
    executor = colony.add_executor("t", "e")
    colony.submit("f", executortype="t")
    executor.assign()
    expect("is still assigned to e, which is no longer registered", lambda: colony.remove_executor(executor))


@pytest.mark.parametrize("workflow", [False, True])
def test_a_retention_that_is_skipped(monkeypatch: pytest.MonkeyPatch, workflow: bool) -> None:
    monkeypatch.setattr(retention, "expect", nothing)
    colony = ColonyClient.create(Simulation(mode="manual", retention=True, retention_policy_s=100), "c")
    executor = colony.add_executor("t")
    if workflow:
        colony.submit_workflow({"a": {"executortype": "t"}})
    else:
        colony.submit("f", executortype="t")
    assigned = executor.assign()
    assert assigned is not None
    assigned.close()
    colony.sim.advance(200)
    expect("still exists at .*, too old for the retention policy", lambda: colony.submit("g"))


# ---------------------------------------------------------------- crons and generators
def add_cron(colony: ColonyClient, **fields: Any) -> Cron:
    colony.user.ask(AddCron(cron=CronSpec(colonyname="c", name="x", workflowspec=WORKFLOW, **fields)))
    (cron,) = colony.sim.world.crons.values()
    return cron


def add_generator(colony: ColonyClient, packs: int, **fields: Any) -> Generator:
    spec = GeneratorSpec(colonyname="c", name="g", workflowspec=WORKFLOW, **fields)
    generator_id = colony.user.ask(AddGenerator(generator=spec)).generator.generator_id
    for number in range(packs):
        colony.user.ask(PackGenerator(generatorid=generator_id, arg=str(number)))
    return colony.sim.world.generators[generator_id]


def test_a_timer_of_a_cron_that_stays_when_it_is_run_by_hand(
    colony: ColonyClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    arm = recurring._arm_cron

    def forget_the_old(world: World, cron: Cron) -> None:
        cron.timer = 0
        arm(world, cron)

    monkeypatch.setattr(recurring, "_arm_cron", forget_the_old)
    cron = add_cron(colony, interval=100)
    colony.sim.advance(50)
    colony.user.ask(RunCron(cronid=cron.cron_id))
    expect("is on the agenda 2 times", colony.sim.check)
    expect("ran .* before its time", lambda: colony.sim.advance(100))


def test_a_cron_that_loses_its_interval(colony: ColonyClient, monkeypatch: pytest.MonkeyPatch) -> None:
    add_cron(colony, interval=100)
    monkeypatch.setattr(recurring, "next_run", lambda world, cron: world.now_ns + 200_000_000_000)
    expect("runs next at .*, not after its interval at", lambda: colony.sim.advance(400))


def test_a_cron_that_does_not_wait_for_its_workflow(colony: ColonyClient, monkeypatch: pytest.MonkeyPatch) -> None:
    cron = add_cron(colony, interval=10, waitforprevprocessgraph=True)
    colony.sim.advance(15)
    cron.previous_graph_id = ""  # forgotten
    expect("ran before its workflow .* had ended", lambda: colony.sim.advance(20))


@pytest.mark.parametrize(
    "when",
    [
        {"interval": 10},
        {"interval": -1, "cronexpression": "* * * * * *"},
        {"interval": -1, "cronexpression": "0 0 0 30 2 *"},
    ],
)
def test_a_workflow_that_the_client_named_is_waited_for_until_the_first_look(
    colony: ColonyClient, when: dict[str, Any]
) -> None:
    """The first look forgets it, also where it finds no time for a run (docs/protocol/c-workflows.md 6.6)."""
    named = colony.submit_workflow({"n": {}})
    cron = add_cron(colony, waitforprevprocessgraph=True, prevprocessgraphid=named.id, **when)
    colony.user.ask(RunCron(cronid=cron.cron_id))
    assert cron.previous_graph_id == named.id
    colony.sim.advance(30)
    colony.user.ask(RunCron(cronid=cron.cron_id))
    assert cron.previous_graph_id != named.id
    colony.sim.check()


def test_a_generator_whose_time_is_up_and_that_does_nothing(
    colony: ColonyClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    arm = recurring.arm_generator

    def full_ones(world: World, generator: Generator) -> None:
        if len(generator.queue) >= generator.trigger:
            arm(world, generator)

    monkeypatch.setattr(recurring, "arm_generator", full_ones)
    add_generator(colony, 2, trigger=5, timeout=10)
    colony.sim.advance(20)
    expect("holds 2 arguments, too few for a batch, but its time is up", lambda: colony.submit("f"))


def test_a_generator_that_uses_the_last_arguments_first(colony: ColonyClient, monkeypatch: pytest.MonkeyPatch) -> None:
    put = recurring._with_args
    monkeypatch.setattr(recurring, "_with_args", lambda spec, args: put(spec, args[::-1]))
    add_generator(colony, 2, trigger=2, timeout=-1)
    expect("where .* had waited longest", lambda: colony.sim.advance(5))


# ---------------------------------------------------------------- graphs and channels
PAIR = {"a": {"executortype": "t"}, "b": {"executortype": "t", "after": ["a"]}}


def test_a_process_that_is_dropped_from_a_living_graph(colony: ColonyClient) -> None:
    graph = colony.submit_workflow(PAIR)
    transitions.leave(colony.sim.world, colony.sim.world.processes[graph.processes["b"].id], "remove")
    expect("was removed, but its graph .* still exists", lambda: colony.submit("f"))


def test_a_graph_that_is_removed_without_its_processes(colony: ColonyClient) -> None:
    executor = colony.add_executor("t")
    graph = colony.submit_workflow(PAIR)
    del colony.sim.world.graphs[graph.id]
    expect("still exists, but its graph .* does not", executor.assign)


def test_a_child_that_is_not_released(colony: ColonyClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transitions, "release", nothing)
    executor = colony.add_executor("t")
    colony.submit_workflow(PAIR)
    first = executor.assign()
    assert first is not None
    expect("still waits for its parents, which all have succeeded", first.close)


def test_a_child_that_does_not_get_what_its_parents_put_out(
    colony: ColonyClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    executor = colony.add_executor("t")
    colony.submit_workflow(PAIR)
    first = executor.assign()
    assert first is not None
    first.close(["x"])
    monkeypatch.setattr(graphs, "chain", type("Empty", (), {"from_iterable": staticmethod(lambda many: [])}))
    expect(r"got None, where its parents put out \['x'\]", executor.assign)


def test_a_graph_that_goes_on_after_a_failure(colony: ColonyClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(graphs, "_fail_all", nothing)
    executor = colony.add_executor("t")
    colony.submit_workflow(PAIR)
    first = executor.assign()
    assert first is not None
    expect("continues although a process that others depend on has failed", lambda: first.fail("no"))


def test_a_graph_that_is_not_looked_at(colony: ColonyClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(graphs, "evaluate", nothing)
    executor = colony.add_executor("t")
    colony.submit_workflow(PAIR)
    expect("was not evaluated after one of its processes changed its state", executor.assign)


def test_channels_that_stay_after_the_end(colony: ColonyClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(channels, "drop", nothing)
    process = colony.submit("f", executortype="t", channels=["chat"])
    expect("has ended, but its channels still exist", process.cancel)


def test_channels_that_do_not_know_who_runs_the_process(colony: ColonyClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(channels, "assigned", nothing)
    executor = colony.add_executor("t")
    colony.submit("f", executortype="t", channels=["chat"])
    expect("but its channel 'chat' is for nobody", executor.assign)


# ---------------------------------------------------------------- no false alarms
@pytest.mark.parametrize("exclusive", [True, False], ids=["exclusive", "distributed"])
@pytest.mark.parametrize("policy", list(POLICIES))
def test_a_long_mixed_history_raises_no_alarm_under_any_policy(policy: str, exclusive: bool) -> None:
    chance = random.Random(f"{policy}{exclusive}")
    sim = Simulation(mode="manual", policy=policy, exclusive_assign=exclusive, stale_executor_duration_s=40)
    colony = ColonyClient.create(sim, "c")
    workers = [colony.add_executor("t", f"e{n}", location=chance.choice(["", "Hall", "hall"])) for n in range(4)]
    for _ in range(600):
        match chance.randrange(8):
            case 0 | 1 | 2:
                colony.submit("f", **_any_process(chance))
            case 3:
                ask = AssignProcess(colonyname="c", timeout=-1, availablecpu=chance.choice(["", "150m"]))
                sim.begin(chance.choice(workers).id, ask)
            case 4 | 5:
                park(chance.choice(workers), chance.randrange(1, 30))
            case 6:
                if running := list(sim.world.processes_in("c", RUNNING).values()):
                    process = chance.choice(running)
                    sim.begin(process.executor_id, CloseSuccessful(processid=process.process_id))
            case 7:
                chance.choice([colony.pause, colony.resume, colony.resume])()
                sim.advance(chance.random() * 6)
                number = chance.randrange(len(workers))
                if chance.random() < 0.2:
                    colony.remove_executor(workers[number])
                    workers[number] = colony.add_executor("t", workers[number].name)
    assert sim.world.processes_in("c", SUCCESS)
    sim.check()
    fork = sim.fork()
    fork.advance(100)
    fork.check()


def _any_process(chance: random.Random) -> dict[str, Any]:
    return {
        "executortype": "t",
        "priority": chance.randrange(-2, 3),
        "cpu": chance.choice(["", "100m", "200m"]),
        "storage": chance.choice(["", "", "", "1Mi"]),
        "locationname": chance.choice(["", "", "hall"]),
        "executornames": chance.choice([[], [], ["e1", "e2"], ["*"]]),
        "maxwaittime": chance.choice([-1, 20, 60]),
        "maxexectime": chance.choice([-1, 5]),
        "maxretries": chance.choice([0, 2]),
        "kwargs": {"expected_s": chance.randrange(1, 9)},
    }
