"""The PyPI package against a simulation, in this process and over HTTP."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest
from crypto import Crypto
from pycolonies import Colonies

from colonysim import Simulation, WebServer
from colonysim.simulation import stock
from tests.serving import colony, executor, kind, server, sim

__all__ = ["colony", "executor", "kind", "sdk", "server", "sim"]


class Sdk(NamedTuple):
    """A client as its users have it, with the keys of the stock environment."""

    client: Colonies
    sim: Simulation
    owner_key: str = stock.COLONY_OWNER.private_key
    user_key: str = stock.USER_IDENTITY.private_key

    def executor(self, name: str = "my-executor", kind: str = "python-executor") -> str:
        """The private key of a new, approved executor."""
        crypto = Crypto()
        key: str = crypto.prvkey()
        executor = {"executorname": name, "executorid": crypto.id(key), "colonyname": "dev", "executortype": kind}
        self.client.add_executor(executor, self.owner_key)
        self.client.approve_executor("dev", name, self.owner_key)
        return key


@pytest.fixture(params=["in-process", "http"])
def sdk(request: pytest.FixtureRequest, colonysim: Simulation) -> Iterator[Sdk]:
    if request.param == "in-process":
        yield Sdk(Colonies("localhost", stock.PORT), colonysim)
        return
    with WebServer(colonysim) as server:
        yield Sdk(Colonies("127.0.0.1", server.port), colonysim)
    assert server.errors == []


def spec_of(funcname: str, args: list[Any] | None = None, **fields: Any) -> Any:
    from pycolonies import func_spec

    given = {"executortype": "python-executor", "maxexectime": 60, "maxwaittime": 60} | fields
    return func_spec(func=funcname, args=args or [], colonyname="dev", **given)
