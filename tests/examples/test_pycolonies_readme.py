"""The README of pycolonies, snippet by snippet.

Corrected, because the snippets are wrong in themselves: `approve_executor` takes the names of colony and
executor, not an id; and the endless loops run in a thread that ends with the test.
"""

from __future__ import annotations

from collections.abc import Callable

from crypto import Crypto
from pycolonies import Workflow, func_spec

from . import python_executor
from .conftest import Host

PRVKEY = "ddf7f7791208083b6a9ed975a72684f6406a269cfa36f1b1c32045c0a71fff05"
COLONY_PRVKEY = "ba949fa134981372d6da62b6a56f336ab4d843b22c02a4257dcf7d0d73097514"


def test_submitting_a_function(host: Host) -> None:
    client = host.client
    prvkey = PRVKEY

    spec = func_spec(
        func="echo",
        args=["hello world"],
        colonyname="dev",
        executortype="container-executor",
        maxexectime=60,
        maxwaittime=60,
    )

    process = client.submit_func_spec(spec, prvkey)
    assert len(process.processid) == 64


def test_implementing_an_executor(host: Host, in_background: Callable[[Callable[[], None]], None]) -> None:
    client = host.client
    colony_prvkey = COLONY_PRVKEY

    # Generate executor keys
    crypto = Crypto()
    executor_prvkey = crypto.prvkey()
    executorid = crypto.id(executor_prvkey)

    # Register executor
    executor = {
        "executorname": "my-executor",
        "executorid": executorid,
        "colonyname": "dev",
        "executortype": "python-executor",
    }
    client.add_executor(executor, colony_prvkey)
    client.approve_executor("dev", "my-executor", colony_prvkey)

    # Process loop
    def loop() -> None:
        while True:
            process = client.assign("dev", 10, executor_prvkey)
            if process:
                result = process.spec.args[0]  # Echo the first arg
                client.close(process.processid, [result], executor_prvkey)

    spec = func_spec("echo", ["hello world"], "dev", "python-executor", maxexectime=60, maxwaittime=60)
    process = client.submit_func_spec(spec, PRVKEY)
    in_background(loop)
    assert client.wait(process, 60, PRVKEY).output == ["hello world"]


def gen_nums(ctx={}):  # type: ignore[no-untyped-def]  # noqa: B006
    return 1, 2


def sum_nums(n1, n2, ctx={}):  # type: ignore[no-untyped-def]  # noqa: B006
    return n1 + n2


def test_workflows(host: Host, in_background: Callable[[Callable[[], None]], None]) -> None:
    client, prvkey = host.client, PRVKEY
    wf = Workflow(colonyname="dev")

    f1 = func_spec(
        func=gen_nums, args=[], colonyname="dev", executortype="python-executor", maxexectime=60, maxwaittime=60
    )
    wf.functionspecs.append(f1)

    f2 = func_spec(
        func=sum_nums, args=[], colonyname="dev", executortype="python-executor", maxexectime=60, maxwaittime=60
    )
    f2.conditions.dependencies.append("gen_nums")
    wf.functionspecs.append(f2)

    processgraph = client.submit_workflow(wf, prvkey)

    key = python_executor.register(client)
    in_background(lambda: python_executor.loop(client, key))
    last = client.find_process("sum_nums", processgraph.processids, prvkey)
    assert client.wait(last, 60, prvkey).output == [3]
