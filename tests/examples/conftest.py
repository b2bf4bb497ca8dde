"""Published examples against a simulation, in this process and over HTTP."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import NamedTuple

import pytest
from pycolonies import Colonies, ColoniesConnectionError

from colonysim import Simulation, WebServer
from colonysim import stock


class Host(NamedTuple):
    """Where the examples find a server: in place of the address they name."""

    name: str
    port: int
    sim: Simulation

    @property
    def client(self) -> Colonies:
        return Colonies(self.name, self.port, tls=False)


@pytest.fixture(params=["in-process", "http"])
def host(request: pytest.FixtureRequest, colonysim: Simulation) -> Iterator[Host]:
    if request.param == "in-process":
        yield Host("localhost", stock.PORT, colonysim)
        return
    with WebServer(colonysim) as server:
        yield Host("127.0.0.1", server.port, colonysim)
    assert server.errors == []


@pytest.fixture
def in_background(host: Host) -> Iterator[Callable[[Callable[[], None]], None]]:
    """Runs an endless example loop until its executor is removed, which its next assign tells it."""
    threads: list[threading.Thread] = []

    def run(loop: Callable[[], None]) -> None:
        def until_removed() -> None:
            try:
                loop()
            except ColoniesConnectionError as error:
                assert "not a member" in str(error) or "No process available" in str(error)

        thread = threading.Thread(target=until_removed)
        threads.append(thread)
        thread.start()

    yield run
    client = host.client
    for executor in client.list_executors("dev", stock.USER_IDENTITY.private_key) or []:
        client.remove_executor("dev", executor["executorname"], stock.COLONY_OWNER.private_key)
    for thread in threads:
        thread.join()
