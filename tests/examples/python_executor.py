"""An executor that runs the code which clients send along, as the examples of pycolonies have it."""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any

from crypto import Crypto
from pycolonies import Colonies

from colonysim import stock


def register(client: Colonies, name: str = "python-executor") -> str:
    """The private key of a new, approved executor of type python-executor."""
    crypto = Crypto()
    key: str = crypto.prvkey()
    executor = {
        "executorname": name,
        "executorid": crypto.id(key),
        "colonyname": "dev",
        "executortype": "python-executor",
    }
    client.add_executor(executor, stock.COLONY_OWNER.private_key)
    client.approve_executor("dev", name, stock.COLONY_OWNER.private_key)
    return key


def loop(client: Colonies, key: str) -> None:
    """Run one process after the other, for ever. The code sees the client under the name `colonies`."""
    while True:
        process = client.assign("dev", 10, key)
        function = _function(process.spec, {"colonies": client, "func_spec": _func_spec()})
        ctx = {"process": process, "executor_prvkey": key, "colonyname": "dev"}
        result = function(*(process.input or process.spec.args), ctx=ctx)
        if result is None:
            output: list[Any] = []
        else:
            output = list(result) if isinstance(result, tuple) else [result]
        client.close(process.processid, output, key)


def _function(spec: Any, names: dict[str, Any]) -> Callable[..., Any]:
    code = base64.b64decode(spec.env["code"]).decode()
    scope: dict[str, Any] = dict(names)
    exec(code, scope)  # what such an executor is for
    return scope[spec.funcname]  # type: ignore[no-any-return]


def _func_spec() -> Callable[..., Any]:
    from pycolonies import func_spec

    return func_spec  # type: ignore[no-any-return]
