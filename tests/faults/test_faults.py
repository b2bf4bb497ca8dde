"""Faults: each kind does what it says, leaves the others' chance alone, and one seed is one history."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from msgspec.structs import force_setattr

from colonysim import AssignedProcess, ColonyClient, ExecutorClient, Lost, ProcessState, Refused, Simulation, WebServer
from colonysim.core.operations.assignment import AssignProcess
from colonysim.core.operations.closing import CloseFailed, CloseSuccessful
from colonysim.core.operations.executors import ChangeExecutorId
from colonysim.core.operations.pubsub import SubscribeProcess
from colonysim.core.protocol import Answer, Hangup, Push
from colonysim.faults.model import (
    KINDS,
    After,
    AnswerWith,
    AnyFault,
    BadFault,
    ClockSkew,
    Crash,
    Delay,
    Disconnect,
    Duplicate,
    Hazard,
    LoseReply,
    LoseRequest,
    Malformed,
    Match,
    Partition,
    Pause,
    Plan,
    Reorder,
    Restart,
    SlowDown,
    Swarm,
    Times,
    When,
    read_faults,
)
from colonysim.kernel.connections import Connection, ConnectionEnd, StreamRequest
from colonysim.kernel.pending import LOST
from tests.faults.storm import digest_of

SUBMITS = Match(types="submitfuncspecmsg")
CLOSES = Match(types="close*")
ONCE = When(first=1)


@pytest.fixture
def sim() -> Simulation:
    return Simulation(journal=True)


def _submit(colony: ColonyClient, **fields: Any) -> Any:
    return colony.submit("f", executortype="a", **fields)


# ---------------------------------------------------------------- requests and replies
def test_a_lost_request_has_no_effect(sim: Simulation, colony: ColonyClient) -> None:
    sim.faults.add(LoseRequest(match=SUBMITS, when=ONCE))
    with pytest.raises(Lost):
        _submit(colony)
    assert colony.processes() == []


def test_a_lost_reply_belongs_to_a_request_that_took_effect(sim: Simulation, colony: ColonyClient) -> None:
    sim.faults.add(LoseReply(match=SUBMITS, when=ONCE))
    with pytest.raises(Lost):
        _submit(colony)
    assert len(colony.processes()) == 1


def test_a_loss_is_noticed_after_the_time_it_takes(sim: Simulation, colony: ColonyClient) -> None:
    sim.faults.add(LoseRequest(match=SUBMITS, when=ONCE, notice_s=7))
    before = sim.now_ns
    with pytest.raises(Lost):
        _submit(colony)
    assert sim.now_ns - before == 7 * 10**9


def test_a_lost_assign_leaves_the_process_with_an_executor_that_does_not_know(
    sim: Simulation, colony: ColonyClient
) -> None:
    executor = colony.add_executor("a")
    process = _submit(colony, maxexectime=5, maxretries=1)
    sim.faults.add(LoseReply(match=Match(types="assignprocessmsg"), when=ONCE))
    with pytest.raises(Lost):
        executor.assign()
    assert process.state is ProcessState.RUNNING
    assert executor.assign(timeout_s=20) is not None
    assert process.retries == 1


def test_a_duplicate_takes_effect_twice(sim: Simulation, colony: ColonyClient) -> None:
    sim.faults.add(Duplicate(match=SUBMITS, when=ONCE, copies=2))
    first = _submit(colony)
    assert len(colony.processes()) == 3
    assert first.state is ProcessState.WAITING


def test_a_duplicate_may_come_later(sim: Simulation, colony: ColonyClient) -> None:
    sim.faults.add(Duplicate(match=SUBMITS, when=ONCE, after_s=3))
    _submit(colony)
    assert len(colony.processes()) == 1
    sim.advance(3)
    assert len(colony.processes()) == 2


@pytest.mark.parametrize(
    "away",
    [
        Restart(times=Times(at_s=5), down_s=60),
        Partition(times=Times(at_s=5), for_s=60),
        Hazard(hazard="connection_leak", pool_size=1, until_s=60),
    ],
    ids=["down", "cut off", "stopped"],
)
def test_a_copy_does_not_reach_a_server_that_is_not_there(away: AnyFault) -> None:
    sim = Simulation(mode="manual", journal=True)
    colony = ColonyClient.create(sim, "c")
    executor = colony.add_executor("a", "one")
    sim.faults.add(Duplicate(match=SUBMITS, after_s=10), away)
    _submit(colony)
    if isinstance(away, Hazard):
        change = ChangeExecutorId(colonyname="c", executorid="e" * 64)
        sim.call(executor.id, change)  # it takes the only connection
    sim.advance(30)
    assert len(sim.world.processes) == 1
    assert sim.journal is not None
    assert any(b'"arrive":null,"copy_of":' in line for line in sim.journal.lines)


@pytest.mark.parametrize(("what", "seconds"), [("request", 2), ("reply", 2), ("both", 4)])
def test_a_delay_takes_its_time(sim: Simulation, colony: ColonyClient, what: Any, seconds: int) -> None:
    sim.faults.add(Delay(match=SUBMITS, when=ONCE, by_s=2, what=what))
    before = sim.now_ns
    process = _submit(colony)
    assert sim.now_ns - before == seconds * 10**9
    submitted_ns = process.details.submitted_ns
    assert submitted_ns - before == (0 if what == "reply" else 2 * 10**9)


def test_a_delay_between_bounds_is_drawn(sim: Simulation, colony: ColonyClient) -> None:
    sim.faults.add(Delay(match=SUBMITS, when=When(first=20), by_s=(1.0, 2.0)))
    spans = []
    for _ in range(20):
        before = sim.now_ns
        _submit(colony)
        spans.append((sim.now_ns - before) / 1e9)
    assert all(1 <= span <= 2 for span in spans)
    assert len(set(spans)) > 10


def test_a_reordered_request_is_overtaken(sim: Simulation, colony: ColonyClient) -> None:
    sim.faults.add(Reorder(match=SUBMITS, when=ONCE, past=2, within_s=60))
    message = _message_of(colony, "late")
    late = sim.begin(colony.user.id, message)
    for name in ("x", "y"):
        assert late.answer is None
        sim.call(colony.user.id, _message_of(colony, name))
    assert late.answer is not None
    names = [process.spec.funcname for process in colony.processes()]
    assert sorted(names) == ["late", "x", "y"]
    in_order = sorted(sim.world.processes.values(), key=lambda process: process.serial)
    assert [process.spec.funcname for process in in_order] == ["x", "y", "late"]


def test_a_reordered_request_arrives_in_the_end(sim: Simulation, colony: ColonyClient) -> None:
    sim.faults.add(Reorder(match=SUBMITS, when=ONCE, past=5, within_s=9))
    before = sim.now_ns
    _submit(colony)
    assert sim.now_ns - before == 9 * 10**9


def _message_of(colony: ColonyClient, funcname: str) -> Any:
    from colonysim.core.operations.processes import SubmitFuncSpec
    from colonysim.simulation.client import function_spec

    return SubmitFuncSpec(spec=function_spec(colony.name, funcname, executortype="a"))


@pytest.mark.parametrize("served", [False, True])
def test_an_answer_of_ones_own(sim: Simulation, colony: ColonyClient, served: bool) -> None:
    sim.faults.add(AnswerWith(match=SUBMITS, when=ONCE, status=504, text="gateway timeout", served=served))
    with pytest.raises(Refused, match="504 gateway timeout"):
        _submit(colony)
    assert len(colony.processes()) == int(served)


def test_a_disconnect_gives_up_what_is_parked(sim: Simulation, colony: ColonyClient) -> None:
    executor = colony.add_executor("a")
    sim.faults.add(Disconnect(match=Match(types="assignprocessmsg"), when=ONCE, after_s=5))
    before = sim.now_ns
    with pytest.raises(Lost):
        executor.assign(timeout_s=60)
    assert sim.now_ns - before == 5 * 10**9
    process = _submit(colony)
    assert process.state is ProcessState.WAITING  # nobody is parked any more


def test_a_disconnect_at_once_loses_the_reply(sim: Simulation, colony: ColonyClient) -> None:
    sim.faults.add(Disconnect(match=SUBMITS, when=ONCE))
    with pytest.raises(Lost):
        _submit(colony)
    assert len(colony.processes()) == 1


def test_a_malformed_reply_cannot_be_read(sim: Simulation, colony: ColonyClient) -> None:
    sim.faults.add(Malformed(match=SUBMITS, when=ONCE, text="<html>"))
    with pytest.raises(Lost, match="<html>"):
        _submit(colony)
    assert len(colony.processes()) == 1


def test_calls_tell_what_was_done_to_them(sim: Simulation, colony: ColonyClient) -> None:
    sim.faults.add(LoseReply(name="bad line", match=SUBMITS, when=ONCE))
    with pytest.raises(Lost):
        _submit(colony)
    call = sim.calls[-1]
    assert (call.payload_type, call.fault, call.verdict, call.status) == (
        "submitfuncspecmsg", "bad line", "lose_reply", LOST,
    )  # fmt: skip
    assert sim.journal is not None
    assert any(b'"fault":"bad line"' in line for line in sim.journal.lines)


# ---------------------------------------------------------------- match
@pytest.mark.parametrize(
    ("match", "hit"),
    [
        (Match(), True),
        (Match(types=("assignprocessmsg", "submit*")), True),
        (Match(types="assignprocessmsg"), False),
        (Match(colony="c"), True),
        (Match(colony="d"), False),
        (Match(callers="user"), True),
        (Match(callers=("a-?", "us*")), True),
        (Match(callers="a-1"), False),
        (Match(role="user"), True),
        (Match(role="executor"), False),
        (Match(role="colony_owner"), False),
        (Match(executor_type="a"), False),
    ],
)
def test_a_fault_is_about_what_it_matches(sim: Simulation, colony: ColonyClient, match: Match, hit: bool) -> None:
    colony.add_executor("a")
    sim.faults.add(LoseRequest(match=match))
    if hit:
        with pytest.raises(Lost):
            _submit(colony)
    else:
        _submit(colony)


def test_an_executor_is_matched_by_name_type_role_and_the_colony_of_its_process(
    sim: Simulation, colony: ColonyClient
) -> None:
    executor = colony.add_executor("a")
    match = Match(callers="a-1", executor_type="a", role="executor", colony="c", types="closesuccessfulmsg")
    sim.faults.add(LoseRequest(match=match))
    _submit(colony)
    process = executor.assign()
    assert process is not None
    with pytest.raises(Lost):
        process.close()


# ---------------------------------------------------------------- trigger
@pytest.mark.parametrize(
    ("when", "hits"),
    [
        (When(first=2), [0, 1]),
        (When(nth=3), [2]),
        (When(every=2), [1, 3, 5]),
        (When(every=2, first=4), [1, 3]),
        (When(probability=0), []),
        (When(from_s=2, until_s=4), [2, 3]),
        (When(after=After(type="submitfuncspecmsg", count=2)), [2, 3, 4, 5]),
        (When(after=After(type="submitfuncspecmsg", wait_s=3), first=1), [3]),
    ],
)
def test_a_trigger_says_which_of_them(colony: ColonyClient, sim: Simulation, when: When, hits: list[int]) -> None:
    sim.faults.add(LoseRequest(match=SUBMITS, when=when))
    lost = []
    for number in range(6):
        try:
            _submit(colony)
        except Lost:
            lost.append(number)
        sim.advance(1)
    assert lost == hits


def test_chance_strikes_about_as_often_as_it_is_told(sim: Simulation, colony: ColonyClient) -> None:
    sim.faults.add(LoseRequest(match=SUBMITS, when=When(probability=0.3)))
    lost = 0
    for _ in range(1000):
        try:
            _submit(colony)
        except Lost:
            lost += 1
    assert 240 < lost < 360


# ---------------------------------------------------------------- the server
def test_a_restart_loses_what_is_in_memory_only(sim: Simulation, colony: ColonyClient) -> None:
    executor = colony.add_executor("a")
    process = _submit(colony, channels=["x"])
    running = executor.assign()
    assert running is not None
    process.say("x", b"hello")
    assert running.hear("x") == [b"hello"]
    poll = sim.begin(executor.id, AssignProcess(colonyname="c", timeout=100))
    sim.faults.add(Restart(times=Times(at_s=10), down_s=5))
    sim.advance(10)
    assert poll.answer is not None
    assert poll.answer.status == LOST
    with pytest.raises(Lost):
        colony.processes()
    sim.advance(5)
    assert process.state is ProcessState.RUNNING  # this is in the database
    assert running.hear("x") == []
    running.close()
    assert process.state is ProcessState.SUCCESS


def test_what_falls_due_while_the_server_is_down_happens_when_it_is_back(sim: Simulation, colony: ColonyClient) -> None:
    process = _submit(colony, maxwaittime=10)
    sim.faults.add(Restart(times=Times(at_s=5), down_s=60))
    sim.advance(40)
    assert sim.world.processes[process.id].state == ProcessState.WAITING
    sim.advance(30)
    assert process.state is ProcessState.FAILED


def test_crons_run_once_after_a_long_absence(sim: Simulation, colony: ColonyClient) -> None:
    from colonysim.core.operations.crons import AddCron
    from colonysim.core.types import CronSpec, WorkflowSpec
    from colonysim.simulation.client import function_spec

    workflow = WorkflowSpec(colonyname="c", functionspecs=[function_spec("c", "f", nodename="n", executortype="a")])
    text = msgspec.json.encode(workflow).decode()
    colony.user.ask(AddCron(cron=CronSpec(colonyname="c", name="n", interval=10, workflowspec=text)))
    sim.faults.add(Restart(times=Times(at_s=15), down_s=100))
    sim.advance(114)
    assert len(sim.world.processes) == 1
    sim.advance(1.5)
    assert len(sim.world.processes) == 2
    sim.check()


def test_a_partition_keeps_some_from_the_server_and_heals(sim: Simulation, colony: ColonyClient) -> None:
    near, far = colony.add_executor("a", name="near"), colony.add_executor("a", name="far")
    sim.faults.add(Partition(actors="far", times=Times(at_s=5), for_s=10))
    poll = sim.begin(far.id, AssignProcess(colonyname="c", timeout=100))
    sim.advance(6.5)
    assert poll.answer is not None
    assert poll.answer.status == LOST
    with pytest.raises(Lost):
        far.assign()
    assert near.assign() is None
    sim.advance(10)
    assert far.assign() is None


def test_a_partition_takes_what_another_fault_has_touched(sim: Simulation, colony: ColonyClient) -> None:
    executor = colony.add_executor("a", "one")
    sim.faults.add(
        Duplicate(match=Match(types="assignprocessmsg"), after_s=1000),
        Partition(times=Times(at_s=10), for_s=50, notice_s=1),
    )
    with pytest.raises(Lost):
        executor.assign(timeout_s=100)
    assert sim.now_ns - sim.world.started_ns == 11 * 10**9


@pytest.mark.parametrize("what", ["request", "reply"])
def test_what_is_delayed_does_not_get_through_a_partition(sim: Simulation, colony: ColonyClient, what: Any) -> None:
    sim.faults.add(Delay(match=SUBMITS, by_s=10, what=what), Partition(times=Times(at_s=5), for_s=50, notice_s=2))
    with pytest.raises(Lost):
        _submit(colony)
    assert sim.now_ns - sim.world.started_ns == 12 * 10**9
    assert sim.calls[-1].verdict == "partition"
    assert len(sim.world.processes) == (what == "reply")


def test_what_is_delayed_gets_through_once_a_partition_has_healed(sim: Simulation, colony: ColonyClient) -> None:
    sim.faults.add(Delay(match=SUBMITS, by_s=10), Partition(times=Times(at_s=5), for_s=4))
    assert _submit(colony).id in sim.world.processes


def test_a_partition_of_some_lets_the_delayed_replies_of_others_through(sim: Simulation, colony: ColonyClient) -> None:
    sim.faults.add(Delay(match=SUBMITS, by_s=10, what="reply"), Partition(actors="x", times=Times(at_s=5), for_s=50))
    assert _submit(colony).id in sim.world.processes


# ---------------------------------------------------------------- hazards
def test_without_hazards_the_executor_that_can_take_it_is_woken(sim: Simulation, colony: ColonyClient) -> None:
    assert _woken_by_name(sim, colony) == 200


def test_a_lossy_wakeup_wakes_one_that_cannot_take_it(sim: Simulation, colony: ColonyClient) -> None:
    sim.faults.add(Hazard(hazard="lossy_wakeup", until_s=1000))
    assert _woken_by_name(sim, colony) == 404


def test_a_lost_signal_wakes_nobody(sim: Simulation, colony: ColonyClient) -> None:
    sim.faults.add(Hazard(hazard="lost_signal", until_s=1000))
    assert _woken_by_name(sim, colony) == 404


def _woken_by_name(sim: Simulation, colony: ColonyClient) -> int | None:
    """What a parked call gets when a process comes for it by name, and another of its type was parked before."""
    other, wanted = colony.add_executor("a"), colony.add_executor("a")
    sim.begin(other.id, AssignProcess(colonyname="c", timeout=50))
    poll = sim.begin(wanted.id, AssignProcess(colonyname="c", timeout=50))
    _submit(colony, executornames=[wanted.name])
    sim.advance(60)
    return poll.call.status


def test_a_deadlocked_pool_answers_nothing_until_a_restart(sim: Simulation, colony: ColonyClient) -> None:
    process = _submit(colony)
    sim.faults.add(Hazard(hazard="pool_deadlock", pool_size=3, until_s=1000), Restart(times=Times(at_s=20)))
    assert [process.state, process.state] == [ProcessState.WAITING] * 2
    before = sim.now_ns
    with pytest.raises(Lost):
        process.state  # noqa: B018
    assert sim.now_ns - before == 20 * 10**9
    assert process.state is ProcessState.WAITING


def test_leaked_connections_stop_the_server_until_the_hazard_ends(sim: Simulation, colony: ColonyClient) -> None:
    executor = colony.add_executor("a")
    sim.faults.add(Hazard(hazard="connection_leak", pool_size=1, until_s=30))
    sim.call(executor.id, ChangeExecutorId(colonyname="c", executorid="5" * 64))
    with pytest.raises(Lost):
        colony.processes()
    assert sim.now_ns - sim.world.started_ns == 30 * 10**9
    assert colony.processes() == []


def test_a_retried_close_is_sent_twice(sim: Simulation, colony: ColonyClient) -> None:
    executor = colony.add_executor("a")
    executor.add_function("f")
    _submit(colony)
    process = executor.assign()
    assert process is not None
    sim.faults.add(Hazard(hazard="retried_close", until_s=1000))
    process.close()
    (function,) = sim.world.functions.values()
    assert function.counter == 2
    _submit(colony)
    again = executor.assign()
    assert again is not None
    with pytest.raises(Refused, match="as failed"):
        again.fail("x")  # the first try has failed it already


DOUBLE_CLOSE = Hazard(hazard="double_close", until_s=1000)


def _running(colony: ColonyClient, executor: ExecutorClient) -> AssignedProcess:
    _submit(colony)
    process = executor.assign()
    assert process is not None
    return process


@pytest.mark.parametrize("first", ["close", "fail"])
def test_a_double_close_answers_both_and_the_first_counts(sim: Simulation, colony: ColonyClient, first: str) -> None:
    executor = colony.add_executor("a")
    sim.faults.add(DOUBLE_CLOSE)
    process = _running(colony, executor)
    closes = {"close": lambda: process.close(["out"]), "fail": lambda: process.fail("error")}
    closes.pop(first)()
    (other,) = closes.values()
    other()  # not refused
    details = process.details
    assert details.state == (2 if first == "close" else 3)
    assert (list(details.output or ()), list(details.errors or ())) == (([], ["error"]), (["out"], []))[
        first == "close"
    ]
    assert [call.verdict for call in sim.calls if call.fault] == ["hazard"]
    sim.check()


@pytest.mark.parametrize(
    "between",
    ["time", "same kind", "somebody else", "another process", "off", "unlikely"],
)
def test_other_second_closes_are_refused_as_ever(sim: Simulation, colony: ColonyClient, between: str) -> None:
    executor, second = colony.add_executor("a"), colony.add_executor("a", "second")
    chance = 0.0 if between == "unlikely" else 1.0
    if between != "off":
        sim.faults.add(Hazard(hazard="double_close", until_s=1000, probability=chance))
    process = _running(colony, executor)
    process.close()
    if between == "time":
        sim.advance(0.001)
    if between == "another process":
        _running(colony, executor).close()
    message: Any = CloseFailed(processid=process.id)
    if between == "same kind":
        message = CloseSuccessful(processid=process.id)
    caller = second if between == "somebody else" else executor
    answer = sim.call(caller.id, message)
    assert answer.status == {"same kind": 200, "somebody else": 403}.get(between, 400)  # a success may be repeated
    assert process.details.state == 2


def test_how_often_a_double_close_happens_is_drawn_from_the_seed() -> None:
    def answers(seed: int) -> list[int]:
        sim = Simulation(seed=seed)
        colony = ColonyClient.create(sim, "c")
        executor = colony.add_executor("a")
        sim.faults.add(Hazard(hazard="double_close", until_s=1000, probability=0.3))
        statuses = []
        for _ in range(60):
            process = _running(colony, executor)
            process.close()
            statuses.append(sim.call(executor.id, CloseFailed(processid=process.id)).status)
        sim.check()
        return statuses

    assert answers(1) == answers(1) != answers(2)
    assert 5 < answers(1).count(200) < 35


# ---------------------------------------------------------------- websockets
class _Socket(Connection):
    """A connection that subscribes once."""

    def __init__(self, asked: StreamRequest) -> None:
        super().__init__(outside=False)
        self.asked: list[StreamRequest] = [asked]
        self.got: list[Push | Answer | Hangup] = []

    def next_request(self) -> StreamRequest | ConnectionEnd | None:
        return self.asked.pop() if self.asked else None

    def deliver(self, delivery: Push | Answer | Hangup, binary: bool) -> None:
        self.got.append(delivery)


def _subscribed(sim: Simulation, colony: ColonyClient, fault: AnyFault | None) -> tuple[_Socket, Any]:
    """A socket that waits for a process to succeed, which it then does."""
    executor = colony.add_executor("a")
    process = _submit(colony)
    if fault is not None:
        sim.faults.add(fault)
    message = SubscribeProcess(processid=process.id, executortype="a", state=2, timeout=1000)
    socket = _Socket(StreamRequest(colony.user.id, message))
    sim.kernel.serve(socket)
    sim.advance(5)
    running = executor.assign()
    assert running is not None
    running.close()
    return socket, process


SUBSCRIBES = Match(types="subscribeprocessmsg")


def test_without_faults_a_push_comes(sim: Simulation, colony: ColonyClient) -> None:
    socket, _ = _subscribed(sim, colony, None)
    assert [type(one) for one in socket.got] == [Push]


@pytest.mark.parametrize(
    "fault",
    [
        LoseRequest(match=SUBSCRIBES),
        LoseRequest(match=SUBSCRIBES, notice_s=2),
        Disconnect(match=SUBSCRIBES),
        Disconnect(match=SUBSCRIBES, after_s=3),
        Partition(times=Times(at_s=3), for_s=1),
        Restart(times=Times(at_s=3)),
    ],
)
def test_a_websocket_breaks(sim: Simulation, colony: ColonyClient, fault: AnyFault) -> None:
    socket, _ = _subscribed(sim, colony, fault)
    assert [type(one) for one in socket.got] == [Hangup]
    assert socket.closed
    assert not sim.world.subscriptions


def test_a_push_is_lost(sim: Simulation, colony: ColonyClient) -> None:
    socket, _ = _subscribed(sim, colony, LoseReply(match=SUBSCRIBES))
    sim.advance(100)
    assert socket.got == []


def test_a_push_is_late(sim: Simulation, colony: ColonyClient) -> None:
    socket, _ = _subscribed(sim, colony, Delay(match=SUBSCRIBES, by_s=3, what="reply"))
    assert socket.got == []
    sim.advance(3)
    assert [type(one) for one in socket.got] == [Push]


def test_a_late_subscription_is_one_all_the_same(sim: Simulation, colony: ColonyClient) -> None:
    socket, _ = _subscribed(sim, colony, Delay(match=SUBSCRIBES, by_s=3))
    assert [type(one) for one in socket.got] == [Push]


def test_a_subscription_may_be_refused_by_a_fault(sim: Simulation, colony: ColonyClient) -> None:
    socket, _ = _subscribed(sim, colony, AnswerWith(match=SUBSCRIBES, status=500, text="no"))
    assert [type(one) for one in socket.got] == [Answer]


# ---------------------------------------------------------------- adding and removing
def test_no_faults_cost_nothing(sim: Simulation, colony: ColonyClient) -> None:
    assert sim.kernel.network is None
    sim.faults.add(LoseRequest(name="x"))
    assert sim.kernel.network is not None
    sim.faults.remove("x")
    assert sim.kernel.network is None


def test_a_fault_can_be_turned_off_and_on(sim: Simulation, colony: ColonyClient) -> None:
    (fault,) = sim.faults.add(LoseRequest(match=SUBMITS))
    sim.faults.enable(fault.name, False)
    _submit(colony)
    sim.faults.enable(fault.name)
    with pytest.raises(Lost):
        _submit(colony)
    sim.faults.clear()
    _submit(colony)
    assert sim.faults.all == ()


def test_a_partition_ends_when_its_fault_is_removed(sim: Simulation, colony: ColonyClient) -> None:
    (fault,) = sim.faults.add(Partition(times=Times(at_s=1), for_s=1000))
    sim.advance(2)
    with pytest.raises(Lost):
        colony.processes()
    sim.faults.remove(fault.name)
    assert colony.processes() == []


def test_a_server_that_is_down_is_back_when_its_fault_is_removed(sim: Simulation, colony: ColonyClient) -> None:
    sim.faults.add(Restart(times=Times(at_s=1), down_s=1000))
    sim.advance(2)
    sim.faults.clear()
    assert colony.processes() == []


def test_a_reset_begins_all_faults_anew(sim: Simulation) -> None:
    sim.mark_initial()
    sim.faults.add(LoseRequest(match=Match(types="addcolonymsg"), when=ONCE))
    for _ in range(2):
        with pytest.raises(Lost):
            ColonyClient.create(sim, "d")
        ColonyClient.create(sim, "d")
        sim.reset()


def test_a_plan_ends_all_its_faults(sim: Simulation, colony: ColonyClient) -> None:
    sim.faults.add(Plan(faults=(LoseRequest(match=SUBMITS), Restart(times=Times(every_s=10))), until_s=30))
    with pytest.raises(Lost):
        _submit(colony)
    sim.advance(30)
    _submit(colony)
    assert sim.journal is not None
    assert sum(b'"kind":"restart"' in line for line in sim.journal.lines) == 2


@pytest.mark.parametrize("seed", range(5))
def test_a_swarm_draws_which_faults_are_active(seed: int) -> None:
    faults = tuple(LoseRequest(name=str(n)) for n in range(10))
    plan = Plan(faults=faults, swarm=Swarm(keep=0.5))
    names = [fault.name for fault in plan.active(seed)]
    assert names == [fault.name for fault in plan.active(seed)]
    assert 0 < len(names) < 10
    assert len({tuple(fault.name for fault in plan.active(s)) for s in range(20)}) > 15


def _swarm(count: int = 6) -> Plan:
    faults = tuple(LoseReply(name=f"f{place}", when=When(probability=0.1)) for place in range(count))
    return Plan(faults=faults, until_s=100, swarm=Swarm(keep=0.5))


def _names(sim: Simulation) -> list[str]:
    return [fault.name for fault in sim.faults.all]


def test_a_reset_with_another_seed_draws_the_swarm_anew() -> None:
    sim = Simulation(seed=1)
    sim.faults.add(_swarm())
    drawn = []
    for seed in (1, 2, 3, 1):
        sim.reset(seed=seed)
        drawn.append(_names(sim))
        assert drawn[-1] == [fault.name for fault in _swarm().active(seed)]
    assert drawn[0] == drawn[3]
    assert drawn[0] != drawn[1]
    before = _names(sim)
    sim.reset()
    assert _names(sim) == before


def test_what_was_removed_of_a_swarm_is_not_drawn_again() -> None:
    sim = Simulation(seed=1)
    first, *_ = sim.faults.add(_swarm())
    sim.faults.add(LoseRequest(name="mine", when=ONCE))
    sim.faults.remove(first.name)
    others = _names(sim)
    sim.faults.enable(others[0], False)
    sim.reset(seed=1)
    assert _names(sim) == others
    assert not sim.faults.all[0].enabled
    sim.faults.clear()
    sim.reset(seed=2)
    assert _names(sim) == []


def test_names_of_a_swarm_are_taken_even_where_it_does_not_draw_them() -> None:
    sim = Simulation(seed=1)
    sim.faults.add(_swarm())
    idle = next(fault for fault in _swarm().faults if fault.name not in _names(sim))
    with pytest.raises(BadFault, match=f"invalid name='{idle.name}': there is a fault of that name already"):
        sim.faults.add(idle)


def test_a_swarm_keeps_a_few_at_least() -> None:
    plan = Plan(faults=(LoseRequest(), Delay(by_s=1)), swarm=Swarm(keep=0, at_least=1))
    assert len(plan.active(3)) == 1


# ---------------------------------------------------------------- as data
def test_faults_are_the_same_in_python_and_as_data() -> None:
    data = {"kind": "delay", "by_s": [1, 2], "match": {"types": "close*"}, "when": {"probability": 0.5, "until_s": 9}}
    fault = Delay(by_s=(1, 2), match=Match(types="close*"), when=When(probability=0.5, until_s=9))
    assert read_faults([data]) == (fault,)
    assert msgspec.json.decode(msgspec.json.encode(Plan(faults=(fault,))), type=Plan) == Plan(faults=(fault,))


@pytest.mark.parametrize(
    ("data", "text"),
    [
        ({"kind": "loose_reply"}, r"fault 0: .*there is no kind `loose_reply` here; the kinds are lose_request"),
        ({"kind": "delay", "name": "x"}, "fault 'x': `by_s` is missing"),
        ({"kind": "delay", "by_s": -1}, r"invalid by_s=-1: must be at least 0"),
        ({"kind": "delay", "by_s": [2, 1]}, r"invalid by_s=\[2, 1\]: the least comes before the most"),
        (
            {"kind": "lose_reply", "when": {"probability": 5}},
            "when: invalid probability=5: must be at most 1; write 0.05 for 5 %",
        ),
        ({"kind": "lose_reply", "when": {"from_s": 5, "until_s": 5}}, "until_s=5.*later than from_s=5"),
        ({"kind": "lose_reply", "when": {"nth": 2, "first": 3}}, "leave out first and every"),
        ({"kind": "lose_reply", "match": {"types": "closesucessfulmsg"}}, "perhaps 'closesuccessfulmsg' is meant"),
        ({"kind": "lose_reply", "match": {"type": "x"}}, "there is no `type` here; did you mean `types`"),
        ({"kind": "crash"}, "either `when`"),
        ({"kind": "restart", "times": {}}, "times need one of at_s, every_s and mean_every_s"),
        ({"kind": "answer", "status": 200, "text": ""}, "invalid status=200: must be at least 400"),
        ({"kind": "hazard", "hazard": "fire"}, "invalid hazard='fire': must be lossy_wakeup or"),
        (5, "expected a Fault, or a mapping whose kind is lose_request.*, got int: 5"),
        *(
            (
                {"kind": "crash", "times": {"at_s": 1, "until_s": 9} | times},
                rf"invalid {name}.*=.*must be (at most 1,000,000,000|a finite number)",
            )
            for number in (1e300, float("inf"), float("nan"))
            for name, times in [("at_s", {"at_s": number}), ("at_s", {"at_s": [1, number]})]
        ),
        ({"kind": "crash", "times": {"at_s": 1, "from_s": float("inf")}}, "from_s=inf: must be a finite number"),
        ({"kind": "crash", "times": {"mean_every_s": 1e300}}, "mean_every_s=1e.300: must be at most 1,000,000,000"),
        ({"kind": "crash", "times": {"every_s": float("nan")}}, "every_s=nan: must be a finite number"),
        ({"kind": "lose_reply", "when": {"until_s": float("inf")}}, "until_s=inf: must be a finite number"),
        (
            {"kind": "lose_reply", "when": {"after": {"type": "versionmsg", "wait_s": 1e300}}},
            "wait_s=1e.300: must be at most 1,000,000,000",
        ),
        ({"kind": "lose_reply", "notice_s": [1, float("inf")]}, r"notice_s\[1\]=inf: must be a finite number"),
        ({"kind": "reorder", "within_s": float("inf")}, "within_s=inf: must be a finite number"),
        ({"kind": "slow_down", "when": {}, "for_s": 1, "factor": float("inf")}, "factor=inf: must be a finite number"),
        ({"kind": "clock_skew", "when": {}, "for_s": 1, "by_s": float("nan")}, "by_s=nan: must be a finite number"),
        (
            {"kind": "clock_skew", "when": {}, "for_s": 1, "by_s": -1e300},
            "by_s=-1e.300: must be at least -1,000,000,000",
        ),
        ({"kind": "clock_skew", "when": {}, "for_s": 1, "drift": float("inf")}, "drift=inf: must be a finite number"),
        ({"kind": "hazard", "hazard": "lost_signal", "until_s": float("inf")}, "until_s=inf: must be a finite number"),
    ],
)
def test_what_is_wrong_with_a_fault_is_told_with_the_fix(data: Any, text: str) -> None:
    with pytest.raises(BadFault, match=text):
        read_faults(data)


def test_a_plan_ends_within_a_run() -> None:
    with pytest.raises(BadFault, match="until_s=inf: must be a finite number"):
        Plan(until_s=float("inf"))


def test_of_several_faults_all_are_added_or_none() -> None:
    sim = Simulation(mode="manual")
    broken = Restart(times=Times(every_s=5, count=1))
    force_setattr(broken.times, "every_s", float("inf"))  # past all checks
    with pytest.raises(OverflowError):
        sim.faults.add(Partition(times=Times(at_s=1), for_s=9), Hazard(hazard="lost_signal", until_s=9), broken)
    assert sim.faults.all == ()
    sim.advance(2)
    assert ColonyClient.create(sim, "c").processes() == []
    assert sim.calls[-1].fault == ""
    sim.reset()
    assert [fault.name for fault in sim.faults.add(Restart(times=Times(at_s=5)))] == ["restart"]


def test_python_code_may_write_lists() -> None:
    fault = Delay(by_s=[1, 2], match=Match(types=["close*"]))  # type: ignore[arg-type]
    assert fault == Delay(by_s=(1, 2), match=Match(types=("close*",)))
    with pytest.raises(BadFault, match=r"by_s='soon': expected .*give seconds"):
        Delay(by_s="soon")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "fault",
    [
        Restart(times=Times(every_s=5)),
        Partition(times=Times(mean_every_s=5), for_s=1),
        Hazard(hazard="lost_signal"),
        Crash(times=Times(every_s=5)),
    ],
)
def test_what_lasts_needs_an_end(sim: Simulation, fault: AnyFault) -> None:
    with pytest.raises(BadFault, match="has no end: give it until_s"):
        sim.faults.add(fault)
    assert sim.faults.all == ()
    sim.faults.add(Plan(faults=(fault,), until_s=60))


def test_names_are_unique(sim: Simulation) -> None:
    assert [fault.name for fault in sim.faults.add(Delay(by_s=1), Delay(by_s=2))] == ["delay", "delay-2"]
    with pytest.raises(BadFault, match="there is a fault of that name already"):
        sim.faults.add(Delay(name="delay", by_s=1))
    with pytest.raises(BadFault, match="there is no fault 'x'; there are delay, delay-2"):
        sim.faults.remove("x")


# ---------------------------------------------------------------- chance and histories
TODAY = Times(mean_every_s=600, until_s=7200)
OFTEN = When(probability=0.1, until_s=7200)
STORM: dict[str, AnyFault] = {
    "lose_request": LoseRequest(when=OFTEN),
    "lose_reply": LoseReply(when=OFTEN),
    "duplicate": Duplicate(when=OFTEN),
    "delay": Delay(when=OFTEN, by_s=(0.1, 9)),
    "reorder": Reorder(when=OFTEN, within_s=5),
    "answer": AnswerWith(when=OFTEN, status=503, text="busy"),
    "disconnect": Disconnect(when=OFTEN),
    "malformed": Malformed(when=OFTEN),
    "crash": Crash(times=TODAY, restart_after_s=(1, 20)),
    "pause": Pause(times=TODAY, for_s=30),
    "slow_down": SlowDown(times=TODAY, factor=3, for_s=600),
    "clock_skew": ClockSkew(times=TODAY, by_s=-5, for_s=600),
    "restart": Restart(times=TODAY, down_s=5),
    "partition": Partition(times=TODAY, for_s=30),
    "hazard": Hazard(hazard="retried_close", until_s=7200, probability=0.2),
}


def test_every_kind_of_fault_is_in_the_storm() -> None:
    assert list(STORM) == list(KINDS)


@pytest.mark.parametrize("kind", STORM)
def test_every_fault_changes_the_history_and_every_seed_does(kind: str) -> None:
    digests = [
        digest_of(1, ()),
        digest_of(1, (STORM[kind],)),
        digest_of(1, (STORM[kind],)),
        digest_of(2, (STORM[kind],)),
    ]
    assert digests[1] == digests[2]
    assert len(set(digests)) == 3


@pytest.mark.parametrize("hash_seed", ["0", "1", "4711"])
def test_one_storm_is_one_history_in_every_process(hash_seed: str) -> None:
    plan = Plan(faults=tuple(STORM.values()))
    program = f"from tests.faults.storm import main; main({msgspec.json.encode(plan).decode()!r})"
    run = subprocess.run(
        [sys.executable, "-c", program],
        env=os.environ | {"PYTHONHASHSEED": hash_seed},
        capture_output=True,
        text=True,
        check=True,
    )
    assert run.stdout.strip() == digest_of(7, plan.faults)


def test_turning_one_fault_off_leaves_the_arrivals_and_the_others_alone() -> None:
    def strikes(*faults: AnyFault) -> tuple[list[int], list[int]]:
        """When requests were sent, and which of them the first fault struck."""
        sim = Simulation(seed=5)
        colony = ColonyClient.create(sim, "c")
        sim.faults.add(*faults)
        for _ in range(300):
            sim.begin(colony.user.id, _message_of(colony, "f"))
            sim.advance(1)
        calls = [call for call in sim.calls if call.payload_type == "submitfuncspecmsg"]
        struck = [number for number, call in enumerate(calls) if call.fault == "first"]
        return [call.at_ns for call in calls], struck

    first = LoseReply(name="first", when=When(probability=0.1))
    second = LoseRequest(name="second", when=When(probability=0.3))
    alone, both = strikes(first), strikes(first, second)
    assert alone == both
    assert len(alone[1]) > 10


def test_a_fault_draws_the_same_whoever_stands_before_it() -> None:
    def delays(*faults: AnyFault) -> dict[int, int]:
        sim = Simulation(seed=5)
        colony = ColonyClient.create(sim, "c")
        sim.faults.add(*faults)
        for _ in range(200):
            sim.begin(colony.user.id, _message_of(colony, "f"))
            sim.advance(100)
        calls = [call for call in sim.calls if call.payload_type == "submitfuncspecmsg"]
        slow = ((number, call) for number, call in enumerate(calls) if call.fault == "slow")
        return {number: (call.answered_ns or 0) - call.at_ns for number, call in slow}

    slow = Delay(name="slow", by_s=(1.0, 50.0), when=When(probability=0.5))
    alone, second = delays(slow), delays(LoseRequest(when=When(probability=0.5)), slow)
    assert len(second) > 20
    assert second.items() <= alone.items()
    assert second.keys() != alone.keys()


def test_a_partition_does_not_change_what_others_draw() -> None:
    def strikes(*faults: AnyFault) -> list[int]:
        sim = Simulation(seed=5)
        colony = ColonyClient.create(sim, "c")
        sim.faults.add(*faults)
        for _ in range(200):
            sim.begin(colony.user.id, _message_of(colony, "f"))
            sim.advance(1)
        calls = [call for call in sim.calls if call.payload_type == "submitfuncspecmsg"]
        return [number for number, call in enumerate(calls) if call.fault == "first" and not 50 <= number < 101]

    first = LoseReply(name="first", when=When(probability=0.2))
    partition = Partition(times=Times(at_s=50), for_s=50)
    assert strikes(first) == strikes(first, partition)


# ---------------------------------------------------------------- in tests, and over HTTP
@pytest.mark.colonysim(faults=Plan(faults=(LoseReply(match=SUBMITS, when=ONCE),)))
def test_the_marker_of_a_test_takes_faults(colonysim: Simulation) -> None:
    colony = ColonyClient.stock(colonysim)
    with pytest.raises(Lost):
        colony.submit("f")
    assert len(colony.processes()) == 1


@pytest.mark.colonysim(faults=[{"kind": "delay", "by_s": 1}, LoseRequest(name="x", enabled=False)])
def test_the_marker_of_a_test_takes_several(colonysim: Simulation) -> None:
    assert [fault.name for fault in colonysim.faults.all] == ["delay", "x"]
    ColonyClient.stock(colonysim).submit("f")
    assert colonysim.faults.counts == {"delay": 1, "x": 0}


def _over_http(sim: Simulation, work: Callable[[Any], None]) -> None:
    from colonysim.simulation import stock

    stock.install(sim)
    with WebServer(sim) as server:
        work(server)


def test_a_fault_acts_over_http_as_well() -> None:
    import urllib.request

    sim = Simulation()
    sim.faults.add(LoseRequest(match=Match(types="versionmsg"), when=ONCE))

    def work(server: Any) -> None:
        body = msgspec.json.encode({"payloadtype": "versionmsg", "payload": "eyJtc2d0eXBlIjoidmVyc2lvbm1zZyJ9"})
        with pytest.raises(OSError):
            urllib.request.urlopen(f"{server.url}/api", body)
        assert urllib.request.urlopen(f"{server.url}/api", body).status == 200

    _over_http(sim, work)
