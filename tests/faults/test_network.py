"""Messages on their way: faults that meet, and WebSockets and HTTP."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from colonysim import ColonyClient, Lost, Simulation, WebServer
from colonysim.core.operations.executors import ChangeExecutorId
from colonysim.core.operations.pubsub import SubscribeProcess
from colonysim.core.protocol import Answer, Hangup, Push
from colonysim.faults import (
    AnswerWith,
    AnyFault,
    Delay,
    Disconnect,
    Duplicate,
    Hazard,
    LoseReply,
    LoseRequest,
    Match,
    Partition,
    Restart,
    Times,
)
from colonysim.kernel.connections import Connection, ConnectionEnd, StreamRequest
from tests.faults.common import ONCE, SUBMITS, submit


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
    submit(colony)
    if isinstance(away, Hazard):
        change = ChangeExecutorId(colonyname="c", executorid="e" * 64)
        sim.call(executor.id, change)  # it takes the only connection
    sim.advance(30)
    assert len(sim.world.processes) == 1
    assert sim.journal is not None
    assert any(b'"arrive":null,"copy_of":' in line for line in sim.journal.lines)


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
        submit(colony)
    assert sim.now_ns - sim.world.started_ns == 12 * 10**9
    assert sim.calls[-1].verdict == "partition"
    assert len(sim.world.processes) == (what == "reply")


def test_what_is_delayed_gets_through_once_a_partition_has_healed(sim: Simulation, colony: ColonyClient) -> None:
    sim.faults.add(Delay(match=SUBMITS, by_s=10), Partition(times=Times(at_s=5), for_s=4))
    assert submit(colony).id in sim.world.processes


def test_a_partition_of_some_lets_the_delayed_replies_of_others_through(sim: Simulation, colony: ColonyClient) -> None:
    sim.faults.add(Delay(match=SUBMITS, by_s=10, what="reply"), Partition(actors="x", times=Times(at_s=5), for_s=50))
    assert submit(colony).id in sim.world.processes


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
    process = submit(colony)
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
