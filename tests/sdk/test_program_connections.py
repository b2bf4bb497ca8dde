"""Connections that programs open by sockets are closed when their life ends, in the order in which they were opened."""

from __future__ import annotations

import asyncio
import gc
import http.client
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator

import pytest
from wsproto import ConnectionType, WSConnection
from wsproto.events import Request, TextMessage

from colonysim import ColonyClient, ExecutorClient, Simulation, intercept
from colonysim.faults import Crash, Times
from colonysim.simulation import stock
from tests.serving import signed
from tests.web.test_websocket import listen_to_all

kept: list[socket.socket] = []
"""What programs leave open."""


@pytest.fixture(autouse=True)
def inside(sim: Simulation) -> Iterator[None]:
    with intercept(sim):
        yield
    sim.stop_programs()
    while kept:
        kept.pop().close()


def ask_for_work(executor: ExecutorClient) -> socket.socket:
    """Send a request for a process on a connection of its own, and wait for nothing."""
    body = signed("assignprocessmsg", {"colonyname": "dev", "timeout": 1000}, executor.private_key)
    connection = socket.create_connection(("localhost", stock.PORT))
    kept.append(connection)
    connection.sendall(b"POST /api HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
    return connection


def subscribe(executor: ExecutorClient) -> socket.socket:
    """Subscribe to processes over a websocket of its own."""
    connection = socket.create_connection(("localhost", stock.PORT))
    kept.append(connection)
    client = WSConnection(ConnectionType.CLIENT)
    connection.sendall(client.send(Request(host="localhost", target="/pubsub")))
    client.receive_data(connection.recv(1000))
    list(client.events())
    connection.sendall(client.send(TextMessage(data=listen_to_all(executor, 0, 1000).decode())))
    return connection


def abandoned(sim: Simulation) -> list[int]:
    """The numbers of the requests whose clients have hung up, in that order."""
    assert sim.journal is not None
    lines = [json.loads(line) for line in sim.journal.lines]
    return [line[2] for line in lines if line[0] == "abandon"]


def leave_all(executor: ExecutorClient) -> None:
    for _ in range(4):
        ask_for_work(executor)
    time.sleep(10)


def close_in_another_order(executor: ExecutorClient) -> None:
    connections = [ask_for_work(executor) for _ in range(4)]
    try:
        time.sleep(1000)
    finally:
        for connection in reversed(connections):
            connection.close()


@pytest.mark.parametrize("code", [leave_all, close_in_another_order])
def test_requests_that_wait_are_given_up_in_their_order(code: Callable[[ExecutorClient], None]) -> None:
    sim = Simulation(seed=1, journal=True)
    stock.install(sim)
    executor = ColonyClient.stock(sim).add_executor("cli")
    with intercept(sim):
        program = sim.program(code, executor, name="p", forever=True)
        sim.faults.add(Crash(actors="p", times=Times(at_s=20)))
        sim.run(for_s=30)
        assert program.state == ("over" if code is leave_all else "crashed")
        numbers = abandoned(sim)
        assert len(numbers) == 4
        assert numbers == sorted(numbers)
        sim.stop_programs()


def test_the_subscription_of_a_program_that_crashed_is_over(sim: Simulation, colony: ColonyClient) -> None:
    executor = colony.add_executor("cli")

    def program() -> None:
        subscribe(executor)
        time.sleep(1000)

    sim.program(program, name="p", forever=True)
    sim.faults.add(Crash(actors="p", times=Times(at_s=20)))
    sim.run(for_s=10)
    assert len(sim.world.subscriptions.all()) == 1
    sim.run(for_s=20)
    assert len(sim.world.subscriptions.all()) == 0


def test_the_subscription_of_a_client_that_went_without_a_word_is_over(sim: Simulation, colony: ColonyClient) -> None:
    connection = subscribe(colony.add_executor("cli"))
    assert len(sim.world.subscriptions.all()) == 1
    connection.close()
    assert len(sim.world.subscriptions.all()) == 0


def waits_for_a_reply(executor: ExecutorClient) -> None:
    connection = http.client.HTTPConnection("localhost", stock.PORT)
    connection.request(
        "POST", "/api", signed("assignprocessmsg", {"colonyname": "dev", "timeout": 1000}, executor.private_key)
    )
    connection.getresponse()


def keeps_a_stream(executor: ExecutorClient) -> None:
    async def main() -> None:
        reader, writer = await asyncio.open_connection("localhost", stock.PORT)
        writer.write(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
        await reader.readline()
        await asyncio.sleep(1000)

    asyncio.run(main())


def keeps_a_connection_in_a_thread(executor: ExecutorClient) -> None:
    thread = threading.Thread(target=waits_for_a_reply, args=(executor,))
    thread.start()
    thread.join()


@pytest.mark.parametrize("code", [waits_for_a_reply, keeps_a_stream, keeps_a_connection_in_a_thread])
def test_nothing_warns_of_what_a_program_that_crashed_has_left_open(
    sim: Simulation, colony: ColonyClient, code: Callable[[ExecutorClient], None]
) -> None:
    program = sim.program(code, colony.add_executor("cli"), name="p", forever=True)
    sim.faults.add(Crash(actors="p", times=Times(at_s=20)))
    sim.run(for_s=30)
    assert program.state == "crashed"
    gc.collect()  # a ResourceWarning is an error, here as in the thread of the program
