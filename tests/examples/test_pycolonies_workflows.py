"""The workflows tutorial of pycolonies: DAGs, dynamic map-reduce, retries and deadlines.

Corrected, because the snippets are wrong in themselves: outputs that are objects cannot be read by the
package's own model of a process, so `fetch_a` and `fetch_b` return their numbers; and the colony is the stock
one, `dev`, with its user's key.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
from pycolonies import ColoniesConnectionError, Workflow, func_spec

from colonysim import stock

from . import python_executor
from .conftest import Host

prvkey = stock.USER_IDENTITY.private_key
colony_name = "dev"
WAITING, RUNNING, SUCCESS, FAILED = range(4)

# ruff: noqa: A001, ARG001, B006, F821
# mypy: disable-error-code="no-untyped-def, name-defined"


# ---------------------------------------------------------------- multiple dependencies
def fetch_a(ctx={}):
    return 10


def fetch_b(ctx={}):
    return 20


def merge(a, b, ctx={}):
    return a + b


def test_workflow_with_multiple_dependencies(
    host: Host, in_background: Callable[[Callable[[], None]], None]
) -> None:
    client = host.client
    wf = Workflow(colonyname=colony_name)

    # Two parallel fetchers
    f_a = func_spec(func=fetch_a, args=[], colonyname=colony_name,
                    executortype="python-executor", maxexectime=60, maxwaittime=60)  # fmt: skip
    wf.functionspecs.append(f_a)

    f_b = func_spec(func=fetch_b, args=[], colonyname=colony_name,
                    executortype="python-executor", maxexectime=60, maxwaittime=60)  # fmt: skip
    wf.functionspecs.append(f_b)

    # Merge depends on both fetchers
    f_merge = func_spec(func=merge, args=[], colonyname=colony_name,
                        executortype="python-executor", maxexectime=60, maxwaittime=60)  # fmt: skip
    f_merge.conditions.dependencies.append("fetch_a")
    f_merge.conditions.dependencies.append("fetch_b")
    wf.functionspecs.append(f_merge)

    processgraph = client.submit_workflow(wf, prvkey)

    for name in ("one", "two"):  # the fetchers may run side by side
        key = python_executor.register(client, name)
        in_background(lambda key=key: python_executor.loop(client, key))  # type: ignore[misc]
    last = client.find_process("merge", processgraph.processids, prvkey)
    assert client.wait(last, 60, prvkey).output == [30]


# ---------------------------------------------------------------- dynamic workflows
def map(ctx={}):
    code = '''def gen_nums(ctx={}):
    return 1, 2'''

    processgraphid = ctx["process"].processgraphid
    map_processid = ctx["process"].processid
    executor_prvkey = ctx["executor_prvkey"]

    # Get the processgraph
    processgraph = colonies.get_processgraph(processgraphid, executor_prvkey)

    # Find the reduce process
    reduce_process = colonies.find_process("reduce", processgraph.processids, executor_prvkey)
    reduce_processid = reduce_process.processid

    # Add child processes dynamically
    insert = True
    for i in range(5):
        f = func_spec(
            func="gen_nums",
            args=[],
            colonyname=ctx["colonyname"],
            executortype="python-executor",
            maxexectime=100,
            maxwaittime=100,
            code=code
        )
        colonies.add_child(
            processgraphid,
            map_processid,
            reduce_processid,
            f,
            f"gen_nums_{i}",
            insert,
            executor_prvkey
        )
        insert = False


def reduce(*nums, ctx={}):
    total = 0
    for n in nums:
        total += n
    return total


def test_dynamic_map_reduce_ends_in_15(host: Host, in_background: Callable[[Callable[[], None]], None]) -> None:
    client = host.client
    wf = Workflow(colonyname=colony_name)

    # Map function
    f_map = func_spec(
        func=map,
        args=[],
        colonyname=colony_name,
        executortype="python-executor",
        maxexectime=100,
        maxwaittime=100
    )  # fmt: skip
    wf.functionspecs.append(f_map)

    # Reduce function - depends on map
    f_reduce = func_spec(
        func=reduce,
        args=[],
        colonyname=colony_name,
        executortype="python-executor",
        maxexectime=100,
        maxwaittime=100
    )  # fmt: skip
    f_reduce.conditions.dependencies.append("map")
    wf.functionspecs.append(f_reduce)

    processgraph = client.submit_workflow(wf, prvkey)
    # Result: (1+2) * 5 = 15

    key = python_executor.register(client)
    in_background(lambda: python_executor.loop(client, key))
    last = client.find_process("reduce", processgraph.processids, prvkey)
    assert client.wait(last, 90, prvkey).output == [15]

    # Get workflow status
    processgraph = client.get_processgraph(processgraph.processgraphid, prvkey)
    assert processgraph.state == SUCCESS
    assert len(processgraph.processids) == 7

    # Get individual process details
    seen = []
    for pid in processgraph.processids:
        process = client.get_process(pid, prvkey)
        seen.append((process.spec.funcname, process.state))
    assert seen == [("map", SUCCESS), ("gen_nums", SUCCESS), ("reduce", SUCCESS), *[("gen_nums", SUCCESS)] * 4]


# ---------------------------------------------------------------- across platforms
def test_cross_platform_workflows(host: Host) -> None:
    client = host.client
    wf = Workflow(colonyname=colony_name)

    # Fetch from data source (container executor)
    f1 = func_spec(func="fetch", args=["dataset"],
                   colonyname=colony_name,
                   executortype="container-executor",
                   maxexectime=300, maxwaittime=60)  # fmt: skip
    wf.functionspecs.append(f1)

    # Process on HPC (hpc executor)
    f2 = func_spec(func="process", args=[],
                   colonyname=colony_name,
                   executortype="hpc-executor",
                   maxexectime=3600, maxwaittime=300)  # fmt: skip
    f2.conditions.dependencies.append("fetch")
    wf.functionspecs.append(f2)

    # Store results (cloud executor)
    f3 = func_spec(func="store", args=[],
                   colonyname=colony_name,
                   executortype="cloud-executor",
                   maxexectime=120, maxwaittime=60)  # fmt: skip
    f3.conditions.dependencies.append("process")
    wf.functionspecs.append(f3)

    processgraph = client.submit_workflow(wf, prvkey)
    assert processgraph.state == WAITING
    assert len(processgraph.processids) == 3


# ---------------------------------------------------------------- error handling
@pytest.mark.colonysim(stale_executor_duration_s=100_000)
def test_error_handling(host: Host) -> None:
    client = host.client
    f = func_spec(
        func="my_function",
        args=[],
        colonyname=colony_name,
        executortype="python-executor",
        maxexectime=300,   # 5 minutes max execution
        maxwaittime=60,    # 1 minute to find executor
        maxretries=3       # Retry up to 3 times on failure
    )  # fmt: skip
    key = python_executor.register(client)
    process = client.submit_func_spec(f, prvkey)
    attempts = 0
    while client.get_process(process.processid, prvkey).state != FAILED:
        try:
            client.assign(colony_name, 310, key)
        except ColoniesConnectionError:
            continue
        attempts += 1
    assert attempts == 4

    unwanted = client.submit_func_spec(func_spec("nobody", [], colony_name, "no-executor", maxwaittime=60), prvkey)
    host.sim.advance(63)
    assert client.get_process(unwanted.processid, prvkey).errors == ["Maximum waiting time limit exceeded"]
