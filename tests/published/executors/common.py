"""What the executors of this folder share: a client, a key, and how they register. Nothing here knows of a simulation."""

from __future__ import annotations

import os
import time
from typing import Any

from crypto import Crypto
from pycolonies import Colonies

NAME, KEY = os.environ["EXECUTOR_NAME"], os.environ["EXECUTOR_PRVKEY"]
WORK_S = float(os.environ.get("WORK_S", "5"))
POLL_S = int(os.environ.get("POLL_S", "10"))


def connect() -> Colonies:
    """A client of the server that the environment names."""
    return Colonies(os.environ["COLONIES_SERVER_HOST"], int(os.environ["COLONIES_SERVER_PORT"]))


def register(client: Colonies) -> None:
    """Add and approve this executor, again and again until the server has it."""
    owner = os.environ["COLONIES_COLONY_PRVKEY"]
    record = {
        "executorname": NAME,
        "executorid": Crypto().id(KEY),
        "colonyname": "dev",
        "executortype": "published",
    }
    while True:
        try:
            client.add_executor(record, owner)
        except Exception:
            pass  # it may be there from an earlier life
        try:
            client.approve_executor("dev", NAME, owner)
            return
        except Exception:
            time.sleep(1)


def unregister(client: Colonies) -> None:
    """Remove this executor, if the server can be reached."""
    try:
        client.remove_executor("dev", NAME, os.environ["COLONIES_COLONY_PRVKEY"])
    except Exception:
        pass


def take(client: Colonies) -> Any:
    """The next process, None where there is none just now."""
    try:
        return client.assign("dev", POLL_S, KEY)
    except Exception as error:
        if "timeout" not in str(error).lower() and "no process" not in str(error).lower():
            time.sleep(1)
        return None


def close(client: Colonies, process: Any, output: list[Any]) -> None:
    """Close a process, if it is still this executor's."""
    try:
        client.close(process.processid, output, KEY)
    except Exception:
        time.sleep(1)
