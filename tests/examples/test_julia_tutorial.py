"""The tutorial of Colonies.jl, as the messages which that SDK sends for it.

Its specs have neither file systems nor channels nor resources, its assign an extra `latest`, its channel
entries the keys `data` and `type`, which the server does not know (docs/protocol/c-workflows.md 1.1,
docs/protocol/d-realtime-and-data.md 9).
"""

from __future__ import annotations

from typing import Any

import pytest

from colonysim import identity
from colonysim import stock

from .conftest import Host
from .speaking import Speaker

USER = stock.USER_IDENTITY.private_key
OWNER = stock.COLONY_OWNER.private_key
EXECUTOR = identity.derived(7, "julia executor")
WAITING, RUNNING, SUCCESS, FAILED = range(4)


@pytest.fixture
def julia(host: Host) -> Speaker:
    return Speaker(host.name, host.port, "plain/text")


def function_spec(funcname: str, executortype: str, **fields: Any) -> dict[str, Any]:
    """`Colonies.FunctionSpec` with the defaults of the SDK."""
    conditions = {"colonyname": "dev", "executortype": executortype} | fields.pop("conditions", {})
    defaults: dict[str, Any] = {
        "nodename": "",
        "funcname": funcname,
        "args": [],
        "kwargs": {},
        "priority": 0,
        "maxwaittime": 0,
        "maxexectime": 60,
        "maxretries": 3,
        "conditions": conditions,
        "label": "",
        "env": {},
    }
    return defaults | fields


def register(julia: Speaker, kind: str = "helloworld-executor") -> None:
    executor = {"executorid": EXECUTOR.id, "executortype": kind, "executorname": "julia", "colonyname": "dev"}
    assert julia.must(OWNER, "addexecutormsg", {"executor": executor})["state"] == 0
    julia.must(OWNER, "approveexecutormsg", {"colonyname": "dev", "executorname": "julia"})


def assign(julia: Speaker) -> Any:
    return julia.must(EXECUTOR.private_key, "assignprocessmsg", {"colonyname": "dev", "timeout": 10, "latest": False})


def test_submitting_your_first_process(julia: Speaker) -> None:
    spec = function_spec(
        "execute",
        "container-executor",
        kwargs={"cmd": "echo 'Hello from Docker!'", "docker-image": "ubuntu:20.04"},
        maxexectime=55,
        label="hello-docker",
        conditions={"executornames": ["dev-docker"]},
    )
    process = julia.must(USER, "submitfuncspecmsg", {"spec": spec})
    assert process["state"] == WAITING
    assert process["spec"]["kwargs"]["docker-image"] == "ubuntu:20.04"
    assert process["spec"]["conditions"]["executornames"] == ["dev-docker"]


def test_building_an_executor(julia: Speaker) -> None:
    register(julia)
    spec = function_spec("helloworld", "helloworld-executor", maxexectime=55, label="my-hello")
    submitted = julia.must(USER, "submitfuncspecmsg", {"spec": spec})
    process = assign(julia)
    assert process["spec"]["funcname"] == "helloworld"
    log = {"processid": process["processid"], "message": "Julia says Hello World!\n"}
    julia.must(EXECUTOR.private_key, "addlogmsg", log)
    close = {"processid": process["processid"], "out": ["Hello World!"]}
    julia.must(EXECUTOR.private_key, "closesuccessfulmsg", close)
    wanted = {"colonyname": "dev", "processid": submitted["processid"], "count": 100, "since": 0}
    logs = julia.must(USER, "getlogsmsg", wanted)
    assert [entry["message"] for entry in logs] == ["Julia says Hello World!\n"]


def test_an_unknown_function_fails(julia: Speaker) -> None:
    register(julia)
    julia.must(USER, "submitfuncspecmsg", {"spec": function_spec("other", "helloworld-executor")})
    process = assign(julia)
    failure = {"processid": process["processid"], "errors": ["Unknown function: other"]}
    julia.must(EXECUTOR.private_key, "closefailedmsg", failure)
    failed = julia.must(USER, "getprocessmsg", {"processid": process["processid"]})
    assert (failed["state"], failed["errors"]) == (FAILED, ["Unknown function: other"])


def test_nothing_to_assign(julia: Speaker) -> None:
    register(julia)
    status, body = julia.say(
        EXECUTOR.private_key, "assignprocessmsg", {"colonyname": "dev", "timeout": 10, "latest": False}
    )
    assert (status, body["status"]) == (404, 404)


def test_sequential_workflow_with_a_child_added(julia: Speaker) -> None:
    register(julia)
    task1 = function_spec("helloworld", "helloworld-executor", nodename="task1")
    task2 = function_spec(
        "helloworld", "helloworld-executor", nodename="task2", conditions={"dependencies": ["task1"]}
    )
    workflow = {"colonyname": "dev", "functionspecs": [task1, task2]}
    graph = julia.must(USER, "submitworkflowspecmsg", {"spec": workflow})
    assert len(graph["processids"]) == 2

    process = assign(julia)
    assert process["spec"]["nodename"] == "task1"
    added = {
        "processgraphid": graph["processgraphid"],
        "parentprocessid": process["processid"],
        "childprocessid": "",
        "insert": False,
        "spec": function_spec("child-task", "helloworld-executor"),
    }
    child = julia.must(EXECUTOR.private_key, "addchildmsg", added)
    assert child["waitforparents"] is True

    names = []
    for _ in range(3):
        julia.must(EXECUTOR.private_key, "closesuccessfulmsg", {"processid": process["processid"], "out": [1]})
        names.append(process["spec"]["funcname"])
        if len(names) < 3:
            process = assign(julia)
    assert sorted(names) == ["child-task", "helloworld", "helloworld"]
    finished = julia.must(USER, "getprocessgraphmsg", {"processgraphid": graph["processgraphid"]})
    assert finished["state"] == SUCCESS


def test_channels(julia: Speaker) -> None:
    """The reference loses the text of these entries: the SDK's keys are not the server's."""
    register(julia)
    spec = function_spec("talk", "helloworld-executor") | {"channels": ["output"]}
    julia.must(USER, "submitfuncspecmsg", {"spec": spec})
    process = assign(julia)
    for sequence, text, kind in ((1, "First message", "data"), (2, "Second message", "data"), (3, "Done", "end")):
        entry = {"processid": process["processid"], "name": "output", "sequence": sequence, "data": text, "type": kind}
        julia.must(EXECUTOR.private_key, "channelappendmsg", entry)
    wanted = {"processid": process["processid"], "name": "output", "afterseq": 0, "limit": 100}
    entries = julia.must(USER, "channelreadmsg", wanted)
    assert [(entry["sequence"], entry["payload"], entry["type"]) for entry in entries] == [
        (1, None, "data"),
        (2, None, "data"),
        (3, None, "data"),
    ]


def test_logging_and_monitoring(julia: Speaker) -> None:
    register(julia)
    for _ in range(2):
        julia.must(USER, "submitfuncspecmsg", {"spec": function_spec("work", "helloworld-executor")})
    process = assign(julia)
    for text in ("Starting computation...\n", "Step 1 complete\n", "Finished!\n"):
        julia.must(EXECUTOR.private_key, "addlogmsg", {"processid": process["processid"], "message": text})
    statistics = julia.must(USER, "getcolonystatsmsg", {"colonyname": "dev"})
    assert (statistics["executors"], statistics["waitingprocesses"], statistics["runningprocesses"]) == (1, 1, 1)
    for state in (WAITING, RUNNING):
        wanted = {"colonyname": "dev", "count": 100, "state": state}
        assert len(julia.must(USER, "getprocessesmsg", wanted)) == 1
