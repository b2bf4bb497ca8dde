"""Mode auto lets time pass no faster than real time while somebody may still act."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress

import pytest
import requests

from colonysim import ColonyClient, ExecutorClient, Lost, Refused, Simulation, WebServer
from colonysim.simulation import bystanders, stock
from tests.serving import signed
from tests.web.test_websocket import Socket, listen_to_all


@pytest.fixture
def sim() -> Simulation:
    simulation = Simulation()
    stock.install(simulation)
    return simulation


@pytest.fixture
def colony(sim: Simulation) -> ColonyClient:
    return ColonyClient.stock(sim)


@pytest.fixture
def idle(sim: Simulation, colony: ColonyClient) -> Iterator[None]:
    """An executor that polls as long as the test lasts: each poll takes 100 s unless somebody may act."""
    executor, stop = colony.add_executor("gpu"), threading.Event()

    def poll() -> None:
        with suppress(Refused, Lost):  # it is unregistered where it is never heard
            while not stop.is_set():
                executor.assign(timeout_s=100)

    thread = threading.Thread(target=poll)
    thread.start()
    yield
    stop.set()
    with sim.kernel.locked():
        sim.kernel.disconnect_all()
    thread.join(10)


def take(colony: ColonyClient, executor: ExecutorClient) -> None:
    colony.submit("f", maxexectime=60)
    assert executor.assign() is not None


def elapsed_s(sim: Simulation) -> float:
    return (sim.world.now_ns - sim.world.started_ns) / 1e9


def sleep() -> None:
    time.sleep(0.3)


def run_a_child() -> None:
    subprocess.run([sys.executable, "-c", "import time; time.sleep(0.3)"], check=True)


@pytest.mark.usefixtures("idle")
@pytest.mark.parametrize("work", [sleep, run_a_child])
def test_who_holds_a_process_acts_whatever_it_does(
    sim: Simulation, colony: ColonyClient, work: Callable[[], None]
) -> None:
    executor = colony.add_executor("cli")
    take(colony, executor)
    work()
    assert elapsed_s(sim) < 60  # as long as the machine took, at most
    assert colony.processes() == []


def test_who_holds_a_process_and_waits_lets_time_pass(sim: Simulation, colony: ColonyClient) -> None:
    executor = colony.add_executor("cli")
    take(colony, executor)
    again = executor.assign(timeout_s=1000)
    assert again is not None
    assert again.retries == 1
    assert elapsed_s(sim) >= 60


def test_who_holds_a_process_and_waits_for_another_thread_lets_time_pass(sim: Simulation, colony: ColonyClient) -> None:
    executor, other = colony.add_executor("cli"), colony.add_executor("gpu")
    take(colony, executor)
    thread = threading.Thread(target=other.assign, args=(300,))
    thread.start()
    thread.join()
    assert elapsed_s(sim) == 300


def test_a_thread_that_sleeps_before_its_first_call_is_waited_for(sim: Simulation, colony: ColonyClient) -> None:
    executor = colony.add_executor("cli")

    def submit_later() -> None:
        time.sleep(0.2)
        colony.submit("f")

    thread = threading.Thread(target=submit_later)
    thread.start()
    assert executor.assign(timeout_s=100) is not None
    assert elapsed_s(sim) < 100
    thread.join()


# ---------------------------------------------------------------- outside
@pytest.fixture(params=["werkzeug", "asyncio"])
def server(sim: Simulation, request: pytest.FixtureRequest) -> Iterator[WebServer]:
    with WebServer(sim, kind=request.param) as server:
        yield server


def post(server: WebServer, kind: str, key: str, **message: object) -> requests.Response:
    return requests.post(server.url + "/api", data=signed(kind, message, key))


def poll(server: WebServer, executor: ExecutorClient, timeout_s: int) -> requests.Response:
    return post(server, "assignprocessmsg", executor.private_key, colonyname="dev", timeout=timeout_s)


def test_a_client_outside_that_works_keeps_its_process(
    sim: Simulation, colony: ColonyClient, server: WebServer
) -> None:
    executor, other = colony.add_executor("cli"), colony.add_executor("gpu")
    process = colony.submit("f", maxexectime=60)
    assert poll(server, executor, 10).status_code == 200
    thread = threading.Thread(target=poll, args=(server, other, 70))
    thread.start()
    time.sleep(0.3)
    assert elapsed_s(sim) < 60
    closed = post(server, "closesuccessfulmsg", executor.private_key, processid=process.id, out=[])
    assert closed.status_code == 200
    thread.join()  # nobody is left who could act
    assert elapsed_s(sim) >= 70


def test_a_client_outside_that_asks_for_more_work_is_known_to_wait(
    sim: Simulation, colony: ColonyClient, server: WebServer
) -> None:
    executor = colony.add_executor("cli")
    colony.submit("f", maxexectime=300)
    assert poll(server, executor, 10).status_code == 200
    assert poll(server, executor, 400).json()["payloadtype"] == "assignprocessmsg"
    assert elapsed_s(sim) >= 300


def test_a_client_outside_says_itself_when_it_waits(sim: Simulation, colony: ColonyClient, server: WebServer) -> None:
    executor, other = colony.add_executor("cli"), colony.add_executor("gpu")
    colony.submit("f", maxexectime=300)
    assert poll(server, executor, 10).status_code == 200
    sim.kernel.outside_actor("executor", waits=True)
    assert poll(server, other, 1000).status_code == 404
    assert elapsed_s(sim) >= 1000


def test_time_is_moved_by_hand_whoever_may_act(sim: Simulation, colony: ColonyClient, server: WebServer) -> None:
    executor = colony.add_executor("cli")
    process = colony.submit("f", maxexectime=300)
    assert poll(server, executor, 10).status_code == 200
    sim.advance(301)
    assert process.retries == 1


def test_a_subscription_of_a_client_outside_lasts_as_long_as_it_says(
    sim: Simulation, colony: ColonyClient, server: WebServer
) -> None:
    client = Socket(server)
    client.ask(listen_to_all(colony.add_executor("gpu"), 0, 1))
    began = time.monotonic()
    client.recv()
    client.reader.close()
    client.socket.close()
    assert time.monotonic() - began > 0.9  # real seconds; a slow machine only takes longer


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux says which threads want to run")
def test_a_thread_that_has_called_and_wants_to_run_may_act(sim: Simulation, colony: ColonyClient) -> None:
    """On a busy machine it may get no processor for long, and use no time of one."""

    def compute() -> None:
        colony.processes()
        hashlib.pbkdf2_hmac("sha256", b"", b"", 2_000_000)  # without the lock of the interpreter

    thread, seen = threading.Thread(target=compute), False
    thread.start()
    while thread.is_alive() and not seen:
        with sim.kernel.locked():
            seen = thread in sim.kernel.actors.callers and bystanders.may_act(sim.kernel)
    thread.join()
    assert seen
    with sim.kernel.locked():
        assert not bystanders.may_act(sim.kernel)
