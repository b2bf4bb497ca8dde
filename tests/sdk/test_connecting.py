"""Clients that a fault keeps from connecting are told so as by a real network, in virtual time."""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import Callable, Iterator

import pytest
import requests
import urllib3

from colonysim import ColonyClient, Simulation, intercept
from colonysim.faults import Partition, Restart, Times
from colonysim.simulation import stock
from tests.serving import signed

URL = f"http://localhost:{stock.PORT}/api"
HERE = ("localhost", stock.PORT)
STATISTICS = signed("getcolonystatsmsg", {"colonyname": "dev"})


@pytest.fixture(autouse=True)
def inside(sim: Simulation) -> Iterator[None]:
    with intercept(sim):
        yield


@pytest.fixture(params=["partition", "restart"])
def cut_off(request: pytest.FixtureRequest, sim: Simulation, colony: ColonyClient) -> Simulation:
    """Keep everybody from the server for 500 seconds; clients notice after 100."""
    sim.set_clock("auto")
    times = Times(at_s=1)
    if request.param == "partition":
        sim.faults.add(Partition(times=times, for_s=500, notice_s=100))
    else:
        sim.faults.add(Restart(times=times, down_s=500, notice_s=100))
    sim.advance(2)
    return sim


def by_requests(timeout_s: float | None) -> None:
    requests.post(URL, data=STATISTICS, timeout=timeout_s)


def by_a_session_that_retries_nothing(timeout_s: float | None) -> None:
    retry = urllib3.Retry(total=0, connect=0, redirect=3)
    with requests.Session() as session:
        session.mount("http://", requests.adapters.HTTPAdapter(max_retries=retry))
        session.post(URL, data=STATISTICS, timeout=timeout_s)


def by_urllib3(timeout_s: float | None) -> None:
    with urllib3.PoolManager(retries=False) as pool:
        pool.request("POST", URL, body=STATISTICS, timeout=timeout_s)


def by_httpx(timeout_s: float | None) -> None:
    import httpx

    httpx.post(URL, content=STATISTICS, timeout=timeout_s)


def by_socket(timeout_s: float | None) -> None:
    socket.create_connection(HERE, timeout_s).close()


def errors(client: Callable[..., None]) -> tuple[type[Exception], type[Exception]]:
    """What a client raises when connecting takes too long, and when it is refused."""
    if client is by_httpx:
        httpx = pytest.importorskip("httpx")
        return httpx.ConnectTimeout, httpx.ConnectError
    if client is by_urllib3:
        return urllib3.exceptions.ConnectTimeoutError, urllib3.exceptions.NewConnectionError
    if client is by_socket:
        return TimeoutError, ConnectionRefusedError
    return requests.ConnectTimeout, requests.ConnectionError


CLIENTS = [by_requests, by_a_session_that_retries_nothing, by_urllib3, by_httpx, by_socket]


@pytest.mark.parametrize("client", CLIENTS)
def test_connecting_times_out_after_so_much_virtual_time(cut_off: Simulation, client: Callable[..., None]) -> None:
    before = cut_off.now
    with pytest.raises(errors(client)[0]):
        client(4)
    assert (cut_off.now - before).total_seconds() == 4


@pytest.mark.parametrize("client", CLIENTS)
def test_without_a_time_out_connecting_fails_when_the_fault_is_noticed(
    cut_off: Simulation, client: Callable[..., None]
) -> None:
    before = cut_off.now
    with pytest.raises(errors(client)[1]):
        client(None)
    assert (cut_off.now - before).total_seconds() == 100


@pytest.mark.parametrize("client", CLIENTS)
def test_afterwards_clients_connect_again(cut_off: Simulation, client: Callable[..., None]) -> None:
    cut_off.advance(1000)
    client(4)


def test_an_adapter_tries_to_connect_again(cut_off: Simulation) -> None:
    retry = urllib3.Retry(connect=10, allowed_methods=None, backoff_factor=0)
    with requests.Session() as session:
        session.mount("http://", requests.adapters.HTTPAdapter(max_retries=retry))
        assert session.post(URL, data=STATISTICS, timeout=(60, 60)).status_code == 200


def test_an_event_loop_is_refused_at_once(cut_off: Simulation) -> None:
    before = cut_off.now

    async def connect() -> None:
        await asyncio.open_connection(*HERE)

    with pytest.raises(ConnectionRefusedError):
        asyncio.run(connect())
    assert cut_off.now == before


def test_connect_ex_returns_the_numbers_of_real_sockets(cut_off: Simulation) -> None:
    with socket.socket() as one, socket.socket() as other:
        one.settimeout(4)
        assert one.connect_ex(HERE) == errno.EAGAIN
        assert other.connect_ex(HERE) == errno.ECONNREFUSED


def test_a_partition_of_one_program_keeps_only_that_one_from_connecting(sim: Simulation, colony: ColonyClient) -> None:
    sim.set_clock("auto")
    sim.faults.add(Partition(times=Times(at_s=1), for_s=500, notice_s=100, actors=["cut"]))
    seen: dict[str, str] = {}

    def connect(name: str) -> None:
        try:
            socket.create_connection(HERE, 4).close()
            seen[name] = "connected"
        except TimeoutError:
            seen[name] = "timed out"

    for name in ("cut", "other"):
        sim.program(connect, name, name=name, starts_after_s=2)
    sim.run_until_idle()
    assert seen == {"cut": "timed out", "other": "connected"}
    assert sim.faults.counts["partition"] == 1
