"""WebSockets and signatures of an SDK inside `intercept`, in virtual time."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from email.utils import format_datetime
from typing import Any

import crypto
import pytest
import requests
import websocket
from crypto import Crypto

from colonysim import AssignedProcess, ColonyClient, ExecutorClient, ProcessHandle, Simulation, WebServer, intercept
from colonysim.simulation import stock
from colonysim.wire import identity
from tests.serving import opened, signed
from tests.web.test_websocket import listen, listen_to_all, listen_to_channel

URL = f"ws://localhost:{stock.PORT}/pubsub"


@pytest.fixture(autouse=True)
def inside(sim: Simulation) -> Iterator[None]:
    with intercept(sim):
        yield


@pytest.fixture
def process(colony: ColonyClient) -> ProcessHandle:
    return colony.submit("f", channels=["chat"])


@pytest.fixture
def assigned(executor: ExecutorClient, process: ProcessHandle) -> AssignedProcess:
    assigned = executor.assign()
    assert assigned is not None
    return assigned


def connect() -> Any:
    return websocket.create_connection(URL)


def test_a_subscriber_gets_what_it_waits_for(assigned: AssignedProcess) -> None:
    client = connect()
    client.send(listen(assigned.id, 2).decode())
    assigned.close()
    assert opened(client.recv())["state"] == 2


def test_waiting_for_a_message_moves_time(sim: Simulation, assigned: AssignedProcess) -> None:
    sim.set_clock("auto")
    before = sim.now
    client = connect()
    client.send(listen_to_channel(assigned.id, 30))
    assert opened(client.recv()) == []
    assert (sim.now - before).total_seconds() == 30


def test_the_other_side_may_be_another_thread(
    sim: Simulation, executor: ExecutorClient, process: ProcessHandle
) -> None:
    sim.set_clock("auto")

    def work() -> None:
        assigned = executor.assign(timeout_s=100)
        assert assigned is not None
        for number in range(5):
            assigned.say("chat", b"%d" % number, number)

    thread = threading.Thread(target=work)
    client = connect()
    client.send(listen_to_channel(process.id, 1000))
    thread.start()
    assert [opened(client.recv())[0]["sequence"] for _ in range(5)] == [0, 1, 2, 3, 4]
    thread.join()


def test_closing_a_connection_ends_waiting_on_it(sim: Simulation, assigned: AssignedProcess) -> None:
    client = connect()
    client.send(listen_to_channel(assigned.id, 1000))

    def listen() -> None:
        with pytest.raises(websocket.WebSocketConnectionClosedException):
            client.recv()

    def close() -> None:
        time.sleep(5)
        client.close()

    sim.program(listen)
    sim.program(close)
    sim.run()
    sim.stop_programs()
    assert sim.now_ns - sim.world.started_ns == 5 * 10**9


def test_queued_requests_start_at_the_moment_the_one_before_ends(sim: Simulation, assigned: AssignedProcess) -> None:
    """Whether the client looks or not."""
    client = connect()
    for _ in range(3):
        client.send(listen_to_channel(assigned.id, 5))
    sim.advance(4)
    sim.advance(11)
    assert [opened(client.recv()) for _ in range(3)] == [[], [], []]
    assert client.poll() is None
    assert sim.world.channel_streams == {}


def test_a_dropped_connection_swallows_nothing(sim: Simulation, colony: ColonyClient, executor: ExecutorClient) -> None:
    first, second = connect(), connect()
    first.send(listen_to_all(executor, 1, 1))
    first.send(listen_to_all(executor, 0, 100))
    second.send(listen_to_all(executor, 0, 100))
    sim.advance(2)
    for name in "abcd":
        colony.submit(name)
    with pytest.raises(websocket.WebSocketConnectionClosedException):
        first.recv()
    with pytest.raises(websocket.WebSocketConnectionClosedException):
        first.send(listen_to_all(executor, 0, 100))
    assert [opened(second.recv())["spec"]["funcname"] for _ in range(4)] == list("abcd")


def test_refusals_come_as_frames_and_nonsense_ends_it(assigned: AssignedProcess) -> None:
    client = connect()
    client.send(listen("zz", 2))
    assert opened(client.recv()) == {"status": 403, "message": "Invalid process with Id zz"}
    client.send("nonsense")
    with pytest.raises(websocket.WebSocketConnectionClosedException):
        client.recv()


def test_binary_requests_get_binary_pushes(colony: ColonyClient, executor: ExecutorClient) -> None:
    client = connect()
    client.send_binary(listen_to_all(executor, 0))
    colony.submit("f")
    assert isinstance(client.recv(), bytes)


def test_closing_ends_the_subscriptions(sim: Simulation, assigned: AssignedProcess) -> None:
    with connect() as client:
        client.send(listen(assigned.id, 2))
        assert len(sim.world.subscriptions) == 1
    assert len(sim.world.subscriptions) == 0


def test_signatures_are_those_of_the_slow_way(sim: Simulation) -> None:
    """pycolonies' own code and libsecp256k1 agree, byte for byte."""
    key = identity.derived(7, "somebody").private_key
    texts = ["", "a", "colonies", "ü" * 100, "x" * 10_000]
    fast = [Crypto().sign(text, key) for text in texts]
    fast_id = Crypto().id(key)
    assert crypto.sign.__module__ == "colonysim.sdk.intercept"
    assert [_slow(text, key) for text in texts] == fast
    assert fast_id == identity.identity(key).id


def _slow(text: str, key: str) -> str:
    """The signature by pycolonies' pure Python, which `intercept` has set aside."""
    code = "import sys; from crypto import Crypto; print(Crypto().sign(sys.argv[1], sys.argv[2]))"
    return subprocess.run(
        [sys.executable, "-c", code, text, key], check=True, capture_output=True, text=True
    ).stdout.strip()


@pytest.mark.parametrize("path", ["/api", "/api/", "/api/?q=1", "/x/../api", "/health/", "/nowhere"])
@pytest.mark.parametrize("method", ["post", "get", "head"])
def test_replies_are_as_over_http(sim: Simulation, server: WebServer, path: str, method: str) -> None:
    """Redirects are followed, and there are the same headers; the date alone is one of virtual time."""
    body = signed("getcolonymsg", {"colonyname": "dev"})
    inside, outside = (
        requests.request(method, f"http://localhost:{port}{path}", data=body) for port in (stock.PORT, server.port)
    )
    for replies in zip([*inside.history, inside], [*outside.history, outside], strict=True):
        here, there = ((r.status_code, r.reason, r.content, r.encoding, dict(r.headers)) for r in replies)
        assert here[4].pop("Date") == format_datetime(sim.now, usegmt=True)
        there[4].pop("Date")
        there[4].pop("Connection", None)
        assert here == there


def test_other_places_are_left_alone(sim: Simulation) -> None:
    import requests

    with pytest.raises(requests.ConnectionError):
        requests.post(f"http://localhost:{stock.PORT + 1}/api", data="{}", timeout=1)


def test_what_is_imported_meanwhile_is_put_back(
    sim: Simulation, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "latecomer.py").write_text(
        "from websocket import create_connection\nfrom requests.api import request\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    real = websocket.create_connection, requests.api.request
    with intercept(sim):
        import latecomer  # type: ignore[import-not-found]

        assert latecomer.create_connection is not real[0]
    assert (latecomer.create_connection, latecomer.request) == real
    assert (websocket.create_connection, requests.request) == real
    del sys.modules["latecomer"]
