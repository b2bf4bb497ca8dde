"""What the executors of this folder share: a client, a key, and how they register. Nothing here knows of a simulation."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import time
from collections.abc import Awaitable, Callable
from typing import Any

from crypto import Crypto
from pycolonies import Colonies

NAME, KEY = os.environ["EXECUTOR_NAME"], os.environ["EXECUTOR_PRVKEY"]
COLONY, OWNER_KEY = os.environ["COLONIES_COLONY_NAME"], os.environ["COLONIES_COLONY_PRVKEY"]
ADDRESS = f"{os.environ['COLONIES_SERVER_HOST']}:{os.environ['COLONIES_SERVER_PORT']}"
WORK_S = float(os.environ.get("WORK_S", "5"))
POLL_S = int(os.environ.get("POLL_S", "10"))


def connect() -> Colonies:
    """A client of the server that the environment names."""
    return Colonies(os.environ["COLONIES_SERVER_HOST"], int(os.environ["COLONIES_SERVER_PORT"]))


def record() -> dict[str, str]:
    """This executor as it is added to the colony."""
    return {
        "executorname": NAME,
        "executorid": Crypto().id(KEY),
        "colonyname": COLONY,
        "executortype": "published",
    }


def register(client: Colonies) -> None:
    """Add and approve this executor, again and again until the server has it."""
    while True:
        try:
            client.add_executor(record(), OWNER_KEY)
        except Exception:
            pass  # it may be there from an earlier life
        try:
            client.approve_executor(COLONY, NAME, OWNER_KEY)
            return
        except Exception:
            time.sleep(1)


def unregister(client: Colonies) -> None:
    """Remove this executor, if the server can be reached."""
    try:
        client.remove_executor(COLONY, NAME, OWNER_KEY)
    except Exception:
        pass


def take(client: Colonies) -> Any:
    """The next process, None where there is none just now."""
    try:
        return client.assign(COLONY, POLL_S, KEY)
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


# ---------------------------------------------------------------- for clients of their own
def signed(message: dict[str, Any], key: str = KEY) -> str:
    """The body of a request, or the text of a subscription."""
    payload = base64.b64encode(json.dumps(message).encode()).decode()
    return json.dumps({"payloadtype": message["msgtype"], "payload": payload, "signature": Crypto().sign(payload, key)})


def answered(body: bytes | str) -> Any:
    """What a reply says. Raises RuntimeError if it is an error."""
    reply = json.loads(body)
    content = json.loads(base64.b64decode(reply["payload"]))
    if reply["error"]:
        raise RuntimeError(content["message"])
    return content


Ask = Callable[..., Awaitable[Any]]
"""Sends a message, signed with the key that is given or the executor's, and returns what the reply says."""


async def register_by(ask: Ask) -> None:
    """As `register`, by a function that sends messages."""
    while True:
        try:
            await ask({"msgtype": "addexecutormsg", "executor": record()}, OWNER_KEY)
        except Exception:
            pass  # it may be there from an earlier life
        try:
            await ask({"msgtype": "approveexecutormsg", "colonyname": COLONY, "executorname": NAME}, OWNER_KEY)
            return
        except Exception:
            await asyncio.sleep(1)


async def take_by(ask: Ask, timeout_s: int = POLL_S) -> Any:
    """As `take`, by a function that sends messages."""
    try:
        return await ask({"msgtype": "assignprocessmsg", "colonyname": COLONY, "timeout": timeout_s})
    except Exception as error:
        if "timeout" not in str(error).lower() and "no process" not in str(error).lower():
            await asyncio.sleep(1)
        return None


async def close_by(ask: Ask, process: Any, output: list[Any]) -> None:
    """As `close`, by a function that sends messages."""
    try:
        await ask({"msgtype": "closesuccessfulmsg", "processid": process["processid"], "out": output})
    except Exception:
        await asyncio.sleep(1)
