"""What is left when a server stops, and who may wait in it: parked requests, open subscriptions, clients that are gone."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable

import pytest
import requests

from colonysim import ColonyClient, ProcessState, Simulation, WebServer
from colonysim.simulation import stock
from tests.serving import Wire, signed

from .test_websocket import Socket, frame


def stocked(mode: str) -> Simulation:
    simulation = Simulation(mode=mode)
    stock.install(simulation)
    return simulation


def until(condition: Callable[[], bool]) -> None:
    """Wait for something another thread does; the test's time limit is the limit."""
    tick = threading.Event()
    while not condition():
        tick.wait(0.001)


def assign(key: str, timeout_s: int) -> bytes:
    return signed("assignprocessmsg", {"colonyname": "dev", "timeout": timeout_s}, key)


def test_a_server_that_stops_leaves_no_poll_behind(kind: str) -> None:
    sim = stocked("manual")
    colony = ColonyClient.stock(sim)
    executors = [colony.add_executor("cli") for _ in range(20)]
    with WebServer(sim, kind=kind) as server:
        wires = [Wire(server) for _ in executors]
        for wire, executor in zip(wires, executors, strict=True):
            wire.post(assign(executor.private_key, 60))
        until(lambda: len(sim.world.queues.polls) == len(executors))
    assert not sim.world.queues.polls
    assert not [thread.name for thread in threading.enumerate() if thread.name == "colonysim-connection"]
    assert colony.submit("f").state is ProcessState.WAITING
    for wire in wires:
        wire.close()


def test_a_server_that_never_ran_gives_its_port_free(kind: str) -> None:
    server = WebServer(stocked("manual"), kind=kind)
    server.stop()
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(("127.0.0.1", server.port))


def test_subscriptions_do_not_keep_time_from_passing(kind: str) -> None:
    """In mode auto, after a subscription on /pubsub, a poll still ends when nothing comes."""
    sim = stocked("auto")
    executor = ColonyClient.stock(sim).add_executor("cli")
    with WebServer(sim, kind=kind) as server:
        listener = Socket(server)
        message = {"colonyname": "dev", "executortype": "cli", "state": 0, "timeout": 5}
        listener.send(frame(1, signed("subscribeprocessesmsg", message, executor.private_key)))
        reply = requests.post(f"{server.url}/api", data=assign(executor.private_key, 10), timeout=20)
        assert reply.status_code == 404
        listener.close()


def test_what_goes_on_for_ever_keeps_nobody_from_being_served(kind: str) -> None:
    """In mode auto, beside a poll with no end and a cron: time runs on, and others are answered."""
    sim = stocked("auto")
    colony = ColonyClient.stock(sim)
    executor = colony.add_executor("cli")
    node = {"nodename": "n", "funcname": "f", "conditions": {"colonyname": "dev", "executortype": "other"}}
    workflow = f'{{"colonyname":"dev","functionspecs":[{str(node).replace(chr(39), chr(34))}]}}'
    cron = {"colonyname": "dev", "name": "c", "interval": 60, "workflowspec": workflow}
    with WebServer(sim, kind=kind) as server:
        added = requests.post(f"{server.url}/api", data=signed("addcronmsg", {"cron": cron}), timeout=20)
        assert added.status_code == 200
        with Wire(server) as wire:
            wire.post(assign(executor.private_key, 1_000_000_000))
            for _ in range(3):
                assert requests.get(f"{server.url}/health", timeout=20).status_code == 200
            requests.put(f"{server.url}/colonysim/clock", json={"mode": "manual"}, timeout=20)


def test_clients_that_went_without_a_word_are_forgotten_by_a_reset(kind: str) -> None:
    sim = stocked("manual")
    with WebServer(sim, kind=kind) as server:
        requests.post(f"{server.url}/colonysim/actors", json={"name": "gone"})
        assert "gone" in sim.kernel.actors.registered
        requests.post(f"{server.url}/colonysim/reset")
        assert sim.kernel.actors.registered == {}


def test_half_a_connection_is_enough_to_hear_the_control_api(kind: str) -> None:
    with WebServer(stocked("manual"), kind=kind) as server, Wire(server) as wire:
        wire.send(b"GET /colonysim/clock HTTP/1.1\r\nHost: localhost\r\n\r\n")
        wire.socket.shutdown(socket.SHUT_WR)
        assert wire.reply()[0] == "HTTP/1.1 200 OK"


def test_who_waits_for_leave_to_send_a_body_gets_it_before_the_answer(kind: str) -> None:
    """Also where the body has come all the same."""
    body = signed("getcolonymsg", {"colonyname": "dev"})
    with WebServer(stocked("manual"), kind=kind) as server, Wire(server) as wire:
        wire.post(body, "Expect: 100-continue")
        assert wire.reply()[0] == "HTTP/1.1 100 Continue"
        assert wire.reply()[0] == "HTTP/1.1 200 OK"


@pytest.mark.parametrize("limit", [0, 1])
def test_as_many_calls_as_are_asked_for(kind: str, limit: int) -> None:
    with WebServer(stocked("manual"), kind=kind) as server:
        assert len(requests.get(f"{server.url}/colonysim/calls?limit={limit}").json()) == limit
