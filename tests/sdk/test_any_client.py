"""Any client that opens a TCP connection reaches the simulation inside `intercept`."""

from __future__ import annotations

import asyncio
import http.client
import json
import socket
import ssl
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import suppress

import pytest
import requests
import urllib3
import websocket

from colonysim import ColonyClient, Lost, Simulation, intercept
from colonysim.simulation import stock
from tests.serving import signed
from tests.web.test_websocket import listen_to_all

URL = f"http://localhost:{stock.PORT}/api"


STATISTICS = signed("getcolonystatsmsg", {"colonyname": "dev"})


@pytest.fixture(autouse=True)
def inside(sim: Simulation) -> Iterator[None]:
    with intercept(sim):
        yield


def with_requests(body: bytes) -> bytes:
    return requests.post(URL, data=body).content


def with_a_session(body: bytes) -> bytes:
    with requests.Session() as session:
        session.mount("http://", requests.adapters.HTTPAdapter(max_retries=3))
        return session.post(URL, data=body).content


def with_urllib(body: bytes) -> bytes:
    with urllib.request.urlopen(urllib.request.Request(URL, data=body)) as reply:
        return bytes(reply.read())


def with_http_client(body: bytes) -> bytes:
    connection = http.client.HTTPConnection("localhost", stock.PORT)
    for _ in range(2):  # on one connection
        connection.request("POST", "/api", body=body)
        content = connection.getresponse().read()
    connection.close()
    return content


def with_urllib3(body: bytes) -> bytes:
    with urllib3.PoolManager() as pool:
        pool.request("GET", f"http://127.0.0.1:{stock.PORT}/health")
        return pool.request("POST", URL, body=body).data


def with_a_socket(body: bytes) -> bytes:
    with socket.create_connection(("localhost", stock.PORT)) as connection:
        connection.sendall(
            b"POST /api HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(body)
        )
        connection.sendall(body)
        text = b"".join(iter(lambda: connection.recv(7), b""))
    return text.partition(b"\r\n\r\n")[2]


def with_httpx(body: bytes) -> bytes:
    httpx = pytest.importorskip("httpx")
    return bytes(httpx.post(URL, content=body, timeout=None).content)


def with_httpx_in_a_loop(body: bytes) -> bytes:
    httpx = pytest.importorskip("httpx")

    async def ask() -> bytes:
        async with httpx.AsyncClient(timeout=None) as client:
            return bytes((await client.post(URL, content=body)).content)

    return asyncio.run(ask())


def with_aiohttp(body: bytes) -> bytes:
    aiohttp = pytest.importorskip("aiohttp")

    async def ask() -> bytes:
        async with aiohttp.ClientSession() as session, session.post(URL, data=body) as reply:
            return bytes(await reply.read())

    return asyncio.run(ask())


CLIENTS = [
    with_requests, with_a_session, with_urllib, with_http_client, with_urllib3, with_a_socket, with_httpx,
    with_httpx_in_a_loop, with_aiohttp,
]  # fmt: skip


@pytest.mark.parametrize("post", CLIENTS)
def test_an_http_client_is_served(sim: Simulation, colony: ColonyClient, post: Callable[[bytes], bytes]) -> None:
    calls = len(sim.calls)
    assert json.loads(post(STATISTICS))["payloadtype"] == "getcolonystatsmsg"
    assert {call.payload_type for call in sim.calls[calls:]} == {"getcolonystatsmsg"}


@pytest.mark.parametrize("post", [client for client in CLIENTS if client is not with_a_session])
def test_a_client_that_waits_lets_time_move(
    sim: Simulation, colony: ColonyClient, post: Callable[[bytes], bytes]
) -> None:
    sim.set_clock("auto")
    executor = colony.add_executor("cli")
    body = signed("assignprocessmsg", {"colonyname": "dev", "timeout": 300}, executor.private_key)
    before = sim.now
    with suppress(urllib.error.HTTPError):
        post(body)
    assert (sim.now - before).total_seconds() in (300, 600)


def with_websockets(message: bytes) -> str | bytes:
    client = pytest.importorskip("websockets.sync.client")
    with client.connect(f"ws://localhost:{stock.PORT}/pubsub") as connection:
        connection.send(message.decode())
        return connection.recv()  # type: ignore[no-any-return]


def with_websockets_in_a_loop(message: bytes) -> str | bytes:
    client = pytest.importorskip("websockets.asyncio.client")

    async def listen() -> str | bytes:
        async with client.connect(f"ws://localhost:{stock.PORT}/pubsub") as connection:
            await connection.send(message.decode())
            return await connection.recv()  # type: ignore[no-any-return]

    return asyncio.run(listen())


def with_aiohttp_s_websocket(message: bytes) -> str | bytes:
    aiohttp = pytest.importorskip("aiohttp")

    async def listen() -> str:
        url = f"ws://localhost:{stock.PORT}/pubsub"
        async with aiohttp.ClientSession() as session, session.ws_connect(url) as connection:
            await connection.send_str(message.decode())
            return str(await connection.receive_str())

    return asyncio.run(listen())


def with_websocket_client(message: bytes) -> str | bytes:
    connection = websocket.WebSocket()
    connection.connect(f"ws://localhost:{stock.PORT}/pubsub")
    connection.send(message.decode())
    frame: str = connection.recv()
    connection.close()
    return frame


@pytest.mark.parametrize(
    "listen", [with_websockets, with_websockets_in_a_loop, with_aiohttp_s_websocket, with_websocket_client]
)
def test_a_websocket_client_gets_what_it_waits_for(
    sim: Simulation, colony: ColonyClient, listen: Callable[[bytes], str | bytes]
) -> None:
    sim.set_clock("auto")

    def submit() -> None:
        colony.submit("f")

    with sim.kernel.locked():
        sim.kernel.timetable.add(sim.world.now_ns + 10**10, threading.Thread(target=submit).start)
    frame = listen(listen_to_all(colony.add_executor("gpu"), 0, 60))
    assert json.loads(frame)["payloadtype"] == "subscribeprocessmsg"


def test_large_replies_come_whole(sim: Simulation, colony: ColonyClient) -> None:
    process = colony.submit("f", ["x" * 3_000_000])
    body = signed("getprocessmsg", {"processid": process.id})
    lengths = {len(post(body)) for post in (with_requests, with_urllib3, with_a_socket, with_httpx, with_aiohttp)}
    assert min(lengths) > 4_000_000


# ---------------------------------------------------------------- what leads nowhere
def test_nothing_on_that_host_and_port_leaves_for_the_network(sim: Simulation) -> None:
    context = ssl.create_default_context()
    with (
        socket.create_connection(("localhost", stock.PORT)) as connection,
        pytest.raises(ssl.SSLError, match="WRONG_VERSION_NUMBER"),
    ):
        context.wrap_socket(connection, server_hostname="localhost")
    with pytest.raises(OSError):
        urllib.request.urlopen(f"https://localhost:{stock.PORT}/api")
    assert requests.get(f"http://localhost:{stock.PORT}/nowhere").status_code == 404
    with socket.socket() as connection:
        assert connection.connect_ex(("127.0.0.1", stock.PORT)) == 0
        connection.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
        assert connection.recv(15) == b"HTTP/1.1 200 OK"


def test_another_host_that_there_is_not_can_be_simulated(sim: Simulation) -> None:
    with intercept(sim, "colonies.example.org", 443):
        pool = urllib3.PoolManager()
        assert pool.request("GET", "http://colonies.example.org:443/health").status == 200
        with pytest.raises(OSError):
            socket.getaddrinfo("other.invalid", 443)
    with pytest.raises(OSError):
        socket.getaddrinfo("colonies.example.invalid", 443)


def test_afterwards_connections_are_broken_and_sockets_as_they_were(sim: Simulation) -> None:
    other = Simulation()
    before = socket.getaddrinfo
    with intercept(other):
        connection = http.client.HTTPConnection("localhost", stock.PORT)
        connection.request("GET", "/health")
        assert connection.getresponse().read() == b""
        assert socket.socket.connect is not socket.socket.__base__.connect  # type: ignore[union-attr]
    assert connection.sock.recv(1) == b""
    with pytest.raises(BrokenPipeError):
        connection.sock.send(b"GET")
    connection.close()
    assert socket.getaddrinfo is before


# ---------------------------------------------------------------- time-outs
def delayed(sim: Simulation, what: str = "reply") -> None:
    sim.set_clock("auto")
    sim.faults.add({"kind": "delay", "match": {"types": "submitfuncspecmsg"}, "by_s": 120, "what": what})


SPEC = {"funcname": "f", "conditions": {"colonyname": "dev", "executortype": "cli"}}
SUBMIT = signed("submitfuncspecmsg", {"spec": SPEC})


def late_requests() -> None:
    with pytest.raises(requests.ReadTimeout) as late:
        requests.post(URL, data=SUBMIT, timeout=5)
    assert isinstance(late.value, Lost)


def late_session() -> None:
    with requests.Session() as session, pytest.raises(requests.ReadTimeout):
        session.post(URL, data=SUBMIT, timeout=(3, 5))


def late_urllib3_timeout() -> None:
    with pytest.raises(requests.ReadTimeout):
        requests.post(URL, data=SUBMIT, timeout=urllib3.Timeout(connect=1, read=5))  # type: ignore[arg-type]


def late_urllib3() -> None:
    with pytest.raises(urllib3.exceptions.ReadTimeoutError):
        urllib3.PoolManager().request("POST", URL, body=SUBMIT, timeout=5, retries=False)


def late_urllib() -> None:
    with pytest.raises(TimeoutError):
        urllib.request.urlopen(urllib.request.Request(URL, data=SUBMIT), timeout=5)


def late_httpx() -> None:
    httpx = pytest.importorskip("httpx")
    with pytest.raises(httpx.ReadTimeout):
        httpx.post(URL, content=SUBMIT, timeout=5)


@pytest.mark.parametrize("what", ["request", "reply"])
@pytest.mark.parametrize(
    "late", [late_requests, late_session, late_urllib3_timeout, late_urllib3, late_urllib, late_httpx]
)
def test_a_client_gives_up_after_so_much_virtual_time(
    sim: Simulation, colony: ColonyClient, late: Callable[[], None], what: str
) -> None:
    delayed(sim, what)
    before = sim.now
    late()
    assert (sim.now - before).total_seconds() == 5
    assert len(sim.world.processes) == (1 if what == "reply" else 0)
    sim.advance(120)
    assert len(sim.world.processes) == 1  # a request that is under way arrives all the same


def test_a_client_that_cannot_connect_gives_up_connecting(sim: Simulation, colony: ColonyClient) -> None:
    sim.set_clock("auto")
    sim.faults.add({"kind": "partition", "times": {"at_s": 1}, "for_s": 500, "notice_s": 100})
    sim.advance(2)
    before = sim.now
    with pytest.raises(requests.ConnectTimeout):
        requests.post(URL, data=SUBMIT, timeout=(4, 50))
    assert (sim.now - before).total_seconds() == 4
    assert not sim.world.processes


def test_what_comes_in_time_is_not_late(sim: Simulation, colony: ColonyClient) -> None:
    delayed(sim)
    before = sim.now
    assert requests.post(URL, data=SUBMIT, timeout=121).status_code == 200
    assert (sim.now - before).total_seconds() == 120


def test_an_adapter_that_retries_gets_its_reply(sim: Simulation, colony: ColonyClient) -> None:
    sim.faults.add({"kind": "lose_reply", "match": {"types": "submitfuncspecmsg"}, "when": {"first": 2}})
    sim.set_clock("auto")
    retry = urllib3.Retry(total=3, allowed_methods=None, backoff_factor=0)
    with requests.Session() as session:
        session.mount("http://", requests.adapters.HTTPAdapter(max_retries=retry))
        assert session.post(URL, data=SUBMIT).status_code == 200
    assert len(sim.world.processes) == 3  # both that were lost took effect


@pytest.mark.parametrize("way", ["create_connection", "settimeout", "default", "WebSocket"])
def test_a_websocket_gives_up_after_so_much_virtual_time(sim: Simulation, colony: ColonyClient, way: str) -> None:
    sim.set_clock("auto")
    url = f"ws://localhost:{stock.PORT}/pubsub"
    if way == "default":
        websocket.setdefaulttimeout(5)
    try:
        if way == "WebSocket":
            connection = websocket.WebSocket()
            connection.settimeout(5)
            connection.connect(url)
        else:
            connection = websocket.create_connection(url, timeout=5 if way == "create_connection" else None)
    finally:
        websocket.setdefaulttimeout(None)
    if way == "settimeout":
        connection.settimeout(5)
    connection.send(listen_to_all(colony.add_executor("gpu"), 0, 60).decode())
    before = sim.now
    with pytest.raises(websocket.WebSocketTimeoutException):
        connection.recv()
    assert (sim.now - before).total_seconds() == 5
    connection.close()
