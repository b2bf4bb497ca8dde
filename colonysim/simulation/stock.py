"""The stock development environment: a colony and a user, with the keys that published tutorials use."""

from __future__ import annotations

from typing import Final

from colonysim.core.operations.colonies import AddColony
from colonysim.core.operations.users import AddUser
from colonysim.core.settings import STOCK_SERVER_KEY
from colonysim.core.types import Colony, User
from colonysim.simulation.simulation import Simulation
from colonysim.wire.identity import Identity

PORT: Final = 50080
SERVER_KEY: Final = STOCK_SERVER_KEY
COLONY: Final = "dev"
USER: Final = "myuser"
COLONY_OWNER: Final = Identity(
    "ba949fa134981372d6da62b6a56f336ab4d843b22c02a4257dcf7d0d73097514",
    "4787a5071856a4acf702b2ffcea422e3237a679c681314113d86139461290cf4",
)
USER_IDENTITY: Final = Identity(
    "ddf7f7791208083b6a9ed975a72684f6406a269cfa36f1b1c32045c0a71fff05",
    "3fc05cf3df4b494e95d6a3d297a34f19938f7daa7422ab0d4f794454133341ac",
)


def install(sim: Simulation) -> None:
    """Add the colony and the user to an empty server, and mark that state for `reset`. Raises ValueError."""
    owner = sim.world.server_id
    steps = (
        (owner, AddColony(colony=Colony(colonyid=COLONY_OWNER.id, name=COLONY))),
        (COLONY_OWNER.id, AddUser(user=User(colonyname=COLONY, userid=USER_IDENTITY.id, name=USER))),
    )
    for caller_id, message in steps:
        answer = sim.call(caller_id, message)
        if not answer.ok:
            raise ValueError(f"cannot set up the stock environment: {answer.body.message}")
    sim.kernel.mark_initial()


def environment(host: str, port: int, server_key: str) -> dict[str, str]:
    """Return the environment variables that SDKs and the `colonies` command-line tool read."""
    return {
        "COLONIES_TLS": "false",
        "COLONIES_SERVER_TLS": "false",
        "COLONIES_SERVER_HOST": host,
        "COLONIES_SERVER_PORT": str(port),
        "COLONIES_SERVER_PRVKEY": server_key,
        "COLONIES_COLONY_NAME": COLONY,
        "COLONIES_COLONY_PRVKEY": COLONY_OWNER.private_key,
        "COLONIES_PRVKEY": USER_IDENTITY.private_key,
    }
