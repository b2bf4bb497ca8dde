"""Every message type × every role: who is let in, and in which words the others are not.

Source: docs/protocol/a-foundation.md 4, 5.
"""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from colonysim import Simulation
from colonysim.core.engine import OPERATIONS
from colonysim.core.settings import STOCK_SERVER_ID
from colonysim.web.endpoint import Endpoint

SERVER = STOCK_SERVER_ID
ROLES = {
    "server owner": SERVER,
    "colony owner": "0" * 64,
    "user": "1" * 64,
    "executor": "2" * 64,
    "holder": "3" * 64,
    "pending executor": "4" * 64,
    "rejected executor": "5" * 64,
    "removed executor": "6" * 64,
    "other colony's owner": "7" * 64,
    "other colony's user": "8" * 64,
    "other colony's executor": "9" * 64,
    "stranger": "a" * 64,
}
MEMBERS = {"user", "executor", "holder"}
ANY_STATE = MEMBERS | {"pending executor", "rejected executor", "removed executor"}

NOT_MEMBER = "Access denied, not a member of Colony with name <c>"
NOT_OWNER = "Access denied, not colony owner"
NOT_SERVER = "Access denied, not server owner"
SILENCE = ""

# Who passes, and what the others are told.
EVERYBODY = (set(ROLES), None)
SERVER_OWNER = ({"server owner"}, NOT_SERVER)
OWNER = ({"colony owner"}, NOT_OWNER)
MEMBER = (MEMBERS, NOT_MEMBER)
MEMBER_ANY_STATE = (ANY_STATE, NOT_MEMBER)
MEMBER_OR_OWNER = (MEMBERS | {"colony owner"}, NOT_OWNER)
MEMBER_SILENTLY = (MEMBERS, SILENCE)

CONDITIONS = {"colonyname": "c", "executortype": "t"}
SPEC = {"funcname": "f", "maxexectime": -1, "conditions": CONDITIONS}
WORKFLOW = {"colonyname": "c", "functionspecs": [SPEC | {"nodename": "n"}]}
FILE = {"colonyname": "c", "label": "/l", "name": "n"}
BLUEPRINT = {"kind": "K", "metadata": {"name": "b2", "colonyname": "c"}, "spec": {}}
DEFINITION = {"kind": "BlueprintDefinition", "metadata": {"name": "d2", "colonyname": "c"}}

# message type → (who may, its fields, what a member is told who is not the one it takes: role → text)
HOLDER = {"user", "executor"}
MATRIX: dict[str, tuple[tuple[set[str], str | None], dict[str, Any], dict[str, str]]] = {
    "versionmsg": (EVERYBODY, {}, {}),
    "getserverinfomsg": (EVERYBODY, {}, {}),
    "addcolonymsg": (SERVER_OWNER, {"colony": {"colonyid": "b" * 64, "name": "new"}}, {}),
    "addexecutormsg": (OWNER, {"executor": {"executorid": "b" * 64, "executorname": "n", "colonyname": "c"}}, {}),
    "addfunctionmsg": (
        MEMBER,
        {"fun": {"executorname": "holder", "colonyname": "c", "funcname": "g"}},
        dict.fromkeys(HOLDER, "Not allowed to add a function to another executor"),
    ),
    "addusermsg": (OWNER, {"user": {"colonyname": "c", "userid": "b" * 64, "name": "n"}}, {}),
    "approveexecutormsg": (OWNER, {"colonyname": "c", "executorname": "pending executor"}, {}),
    "changecolonyidmsg": (OWNER, {"colonyname": "c", "colonyid": "b" * 64}, {}),
    "changeexecutoridmsg": (MEMBER_ANY_STATE, {"colonyname": "c", "executorid": "b" * 64}, {}),
    "changeserveridmsg": (SERVER_OWNER, {"serverid": "b" * 64}, {}),
    "changeuseridmsg": (MEMBER_ANY_STATE, {"colonyname": "c", "userid": "b" * 64}, {}),
    "getclustermsg": (SERVER_OWNER, {}, {}),
    "getcoloniesmsg": (SERVER_OWNER, {}, {}),
    "getcolonymsg": (MEMBER, {"colonyname": "c"}, {}),
    "getcolonystatsmsg": (MEMBER_SILENTLY, {"colonyname": "c"}, {}),
    "getexecutorbyidmsg": (MEMBER, {"colonyname": "c", "executorid": ROLES["executor"]}, {}),
    "getexecutormsg": (MEMBER, {"colonyname": "c", "executorname": "executor"}, {}),
    "getexecutorsmsg": (MEMBER_ANY_STATE, {"colonyname": "c"}, {}),
    "getfunctionsmsg": (MEMBER, {"colonyname": "c"}, {}),
    "getstatisticsmsg": (SERVER_OWNER, {}, {}),
    "getuserbyidmsg": (MEMBER_ANY_STATE, {"colonyname": "c", "userid": ROLES["user"]}, {}),
    "getusermsg": (MEMBER_ANY_STATE, {"colonyname": "c", "name": "user"}, {}),
    "getusersmsg": (MEMBER_ANY_STATE, {"colonyname": "c"}, {}),
    "rejectexecutormsg": (OWNER, {"colonyname": "c", "executorname": "executor"}, {}),
    "removecolonymsg": (SERVER_OWNER, {"colonyname": "c"}, {}),
    "removeexecutormsg": (OWNER, {"colonyname": "c", "executorname": "executor"}, {}),
    "removefunctionmsg": (
        MEMBER,
        {"functionid": "$function"},
        dict.fromkeys(HOLDER, "Not allowed to remove a function from another executor"),
    ),
    "removeusermsg": (OWNER, {"colonyname": "c", "name": "user"}, {}),
    "reportallocationmsg": (MEMBER_ANY_STATE, {"colonyname": "c", "executorname": "holder"}, {}),
    "updateexecutormsg": (MEMBER_ANY_STATE, {"colonyname": "c", "executorname": "holder"}, {}),
    "addattributemsg": (
        MEMBER,
        {"attribute": {"targetid": "$running", "key": "k", "value": "v"}},
        dict.fromkeys(
            HOLDER, f"Failed to add attribute, only executor with id <{ROLES['holder']}> is allowed to set attributes"
        ),
    ),
    "addexecutorlogmsg": (
        MEMBER,
        {"colonyname": "c", "executorname": "holder", "message": "m"},
        {
            "user": "Failed to add executor log, executor not found",
            "executor": "Failed to add executor log, executor name mismatch",
        },
    ),
    "addlogmsg": (
        MEMBER,
        {"processid": "$running", "message": "m"},
        dict.fromkeys(HOLDER, "Failed to add log, not allowed to add log, only the assigned Executor may att logs"),
    ),
    "assignprocessmsg": (MEMBER, {"colonyname": "c", "timeout": -1}, {}),
    "cancelprocessmsg": (MEMBER, {"processid": "$waiting"}, {}),
    "closefailedmsg": (
        MEMBER,
        {"processid": "$running"},
        dict.fromkeys(HOLDER, "Failed to close process as failed, not allowed to close process as failed"),
    ),
    "closesuccessfulmsg": (
        MEMBER,
        {"processid": "$running"},
        dict.fromkeys(HOLDER, "Failed to close process as successful, not allowed to close process as successful"),
    ),
    "getattributemsg": (MEMBER, {"attributeid": "$attribute"}, {}),
    "getlogsmsg": (MEMBER, {"colonyname": "c", "processid": "$running", "count": 1}, {}),
    "getpausestatusmsg": (MEMBER_ANY_STATE, {"colonyname": "c"}, {}),
    "getprocessesmsg": (MEMBER, {"colonyname": "c", "count": 1}, {}),
    "getprocesshistmsg": (MEMBER_SILENTLY, {"colonyname": "c", "seconds": 9}, {}),
    "getprocessmsg": (MEMBER, {"processid": "$waiting"}, {}),
    "pauseassignmentsmsg": (OWNER, {"colonyname": "c"}, {}),
    "removeallprocessesmsg": (OWNER, {"colonyname": "c"}, {}),
    "removeprocessmsg": (MEMBER, {"processid": "$waiting"}, {}),
    "resumeassignmentsmsg": (OWNER, {"colonyname": "c"}, {}),
    "searchlogsmsg": (MEMBER, {"colonyname": "c", "days": 1, "count": 1}, {}),
    "setoutputmsg": (
        MEMBER,
        {"processid": "$running", "out": [1]},
        dict.fromkeys(HOLDER, "Failed to close process as successful, not allowed to close process as successful"),
    ),
    "submitfuncspecmsg": (MEMBER, {"spec": SPEC}, {}),
    "addchildmsg": (MEMBER, {"processgraphid": "$graph", "parentprocessid": "$node", "spec": SPEC}, {}),
    "addcronmsg": (
        MEMBER,
        {"cron": {"colonyname": "c", "name": "x", "interval": 5, "workflowspec": json.dumps(WORKFLOW)}},
        {},
    ),
    "addgeneratormsg": (
        MEMBER,
        {"generator": {"colonyname": "c", "name": "x", "trigger": 5, "workflowspec": json.dumps(WORKFLOW)}},
        {},
    ),
    "cancelprocessgraphmsg": (MEMBER, {"processgraphid": "$graph"}, {}),
    "getcronmsg": (MEMBER, {"cronid": "$cron"}, {}),
    "getcronsmsg": (MEMBER, {"colonyname": "c", "count": 1}, {}),
    "getgeneratormsg": (MEMBER, {"generatorid": "$generator"}, {}),
    "getgeneratorsmsg": (MEMBER, {"colonyname": "c", "count": 1}, {}),
    "getprocessgraphmsg": (MEMBER, {"processgraphid": "$graph"}, {}),
    "getprocessgraphsmsg": (MEMBER, {"colonyname": "c", "count": 1}, {}),
    "packgeneratormsg": (MEMBER, {"generatorid": "$generator", "arg": "a"}, {}),
    "removeallprocessgraphsmsg": (OWNER, {"colonyname": "c"}, {}),
    "removecronmsg": (MEMBER, {"cronid": "$cron"}, {}),
    "removegeneratormsg": (MEMBER, {"generatorid": "$generator"}, {}),
    "removeprocessgraphmsg": (MEMBER, {"processgraphid": "$graph"}, {}),
    "resolvegeneratormsg": (MEMBER, {"colonyname": "c", "generatorname": "g"}, {}),
    "runcronmsg": (MEMBER, {"cronid": "$cron"}, {}),
    "submitworkflowspecmsg": (MEMBER, {"spec": WORKFLOW}, {}),
    "addblueprintdefinitionmsg": (OWNER, {"blueprintdefinition": DEFINITION}, {}),
    "addblueprintmsg": (MEMBER_OR_OWNER, {"blueprint": BLUEPRINT}, {}),
    "addfilemsg": (MEMBER, {"file": FILE}, {}),
    "addlocationmsg": (OWNER, {"location": {"colonyname": "c", "name": "n"}}, {}),
    "channelappendmsg": (
        MEMBER,
        {"processid": "$running", "name": "ch", "payload": "eA=="},
        {"executor": "Not authorized to write to channel"},
    ),
    "channelreadmsg": (
        MEMBER,
        {"processid": "$running", "name": "ch"},
        {"executor": "Not authorized to read from channel"},
    ),
    "createsnapshotmsg": (MEMBER, {"colonyname": "c", "label": "/l", "name": "s2"}, {}),
    "getblueprintdefinitionmsg": (MEMBER_OR_OWNER, {"colonyname": "c", "name": "d"}, {}),
    "getblueprintdefinitionsmsg": (MEMBER_OR_OWNER, {"colonyname": "c"}, {}),
    "getblueprinthistorymsg": (MEMBER_OR_OWNER, {"blueprintid": "$blueprint"}, {}),
    "getblueprintmsg": (MEMBER_OR_OWNER, {"namespace": "c", "name": "b"}, {}),
    "getblueprintsmsg": (MEMBER_OR_OWNER, {"namespace": "c"}, {}),
    "getfilelabelsmsg": (MEMBER, {"colonyname": "c"}, {}),
    "getfilemsg": (MEMBER, {"colonyname": "c", "fileid": "$file"}, {}),
    "getfilesmsg": (MEMBER, {"colonyname": "c", "label": "/l"}, {}),
    "getlocationmsg": (MEMBER_ANY_STATE, {"colonyname": "c", "name": "here"}, {}),
    "getlocationsmsg": (MEMBER_ANY_STATE, {"colonyname": "c"}, {}),
    "getsnapshotmsg": (MEMBER, {"colonyname": "c", "name": "s"}, {}),
    "getsnapshotsmsg": (MEMBER, {"colonyname": "c"}, {}),
    "reconcileblueprintmsg": (MEMBER, {"namespace": "c", "name": "b"}, {}),
    "removeallsnapshotmsg": (MEMBER, {"colonyname": "c"}, {}),
    "removeblueprintdefinitionmsg": (OWNER, {"namespace": "c", "name": "d"}, {}),
    "removeblueprintmsg": (MEMBER_OR_OWNER, {"namespace": "c", "name": "b"}, {}),
    "removefilemsg": (MEMBER, {"colonyname": "c", "fileid": "$file"}, {}),
    "removelocationmsg": (OWNER, {"colonyname": "c", "name": "here"}, {}),
    "removesnapshotmsg": (MEMBER, {"colonyname": "c", "name": "s"}, {}),
    "updateblueprintmsg": (
        MEMBER_OR_OWNER,
        {"blueprint": BLUEPRINT | {"metadata": {"name": "b", "colonyname": "c"}}},
        {},
    ),
    "updateblueprintstatusmsg": (MEMBER, {"colonyname": "c", "blueprintname": "b", "status": {"a": 1}}, {}),
}


class Talk:
    """Speaks to a simulation that takes callers at their word."""

    def __init__(self, sim: Simulation) -> None:
        self.sim = sim
        self.endpoint = Endpoint(sim)

    def say(self, caller: str, kind: str, message: dict[str, Any]) -> tuple[int, Any]:
        payload = base64.b64encode(json.dumps({"msgtype": kind} | message).encode()).decode()
        envelope = {"payloadtype": kind, "payload": payload, "signature": caller}
        reply = self.endpoint.exchange(json.dumps(envelope).encode(), self.sim.wait)
        assert reply is not None
        if not reply.body:
            return reply.status, None
        return reply.status, json.loads(base64.b64decode(json.loads(reply.body)["payload"]))

    def must(self, role: str, kind: str, message: dict[str, Any]) -> Any:
        status, body = self.say(ROLES[role], kind, message)
        assert status == 200, (kind, body)
        return body


@pytest.fixture(scope="module")
def prepared() -> tuple[Simulation, dict[str, str]]:
    """A server with one of everything, and the ids of it."""
    sim = Simulation(mode="manual", verify_signatures=False)
    talk = Talk(sim)
    for name, owner in (("c", "colony owner"), ("other", "other colony's owner")):
        talk.must("server owner", "addcolonymsg", {"colony": {"colonyid": ROLES[owner], "name": name}})
    for colony, owner, user in (
        ("c", "colony owner", "user"),
        ("other", "other colony's owner", "other colony's user"),
    ):
        talk.must(owner, "addusermsg", {"user": {"colonyname": colony, "userid": ROLES[user], "name": "user"}})
    for role in ("executor", "holder", "pending executor", "rejected executor", "removed executor"):
        executor = {"executorid": ROLES[role], "executorname": role, "executortype": "t", "colonyname": "c"}
        talk.must("colony owner", "addexecutormsg", {"executor": executor})
    stranger = {"executorid": ROLES["other colony's executor"], "executorname": "e", "colonyname": "other"}
    talk.must("other colony's owner", "addexecutormsg", {"executor": stranger | {"executortype": "t"}})
    talk.must("other colony's owner", "approveexecutormsg", {"colonyname": "other", "executorname": "e"})
    for role, verb in (
        ("executor", "approve"), ("holder", "approve"), ("rejected executor", "reject"), ("removed executor", "remove"),
    ):  # fmt: skip
        talk.must("colony owner", f"{verb}executormsg", {"colonyname": "c", "executorname": role})
    ids: dict[str, str] = {}
    graph = talk.must("user", "submitworkflowspecmsg", {"spec": WORKFLOW})
    ids["$graph"], ids["$node"] = graph["processgraphid"], graph["processids"][0]
    talk.must("holder", "assignprocessmsg", {"colonyname": "c", "timeout": -1})
    ids["$running"] = talk.must("user", "submitfuncspecmsg", {"spec": SPEC | {"channels": ["ch"]}})["processid"]
    talk.must("holder", "assignprocessmsg", {"colonyname": "c", "timeout": -1})
    waiting = talk.must("user", "submitfuncspecmsg", {"spec": SPEC | {"env": {"k": "v"}}})
    ids["$waiting"], ids["$attribute"] = waiting["processid"], waiting["attributes"][0]["attributeid"]
    ids["$function"] = talk.must(
        "holder", "addfunctionmsg", {"fun": {"executorname": "holder", "colonyname": "c", "funcname": "f"}}
    )["functionid"]
    ids["$cron"] = talk.must(
        "user",
        "addcronmsg",
        {"cron": {"colonyname": "c", "name": "c", "interval": 99, "workflowspec": json.dumps(WORKFLOW)}},
    )["cronid"]
    ids["$generator"] = talk.must(
        "user",
        "addgeneratormsg",
        {"generator": {"colonyname": "c", "name": "g", "trigger": 9, "workflowspec": json.dumps(WORKFLOW)}},
    )["generatorid"]
    ids["$file"] = talk.must("user", "addfilemsg", {"file": FILE})["fileid"]
    talk.must("user", "createsnapshotmsg", {"colonyname": "c", "label": "/l", "name": "s"})
    talk.must("colony owner", "addlocationmsg", {"location": {"colonyname": "c", "name": "here"}})
    handler = {"executorType": "t", "functionName": "f"}
    definition = {"metadata": {"name": "d", "colonyname": "c"}, "spec": {"names": {"kind": "K"}, "handler": handler}}
    talk.must("colony owner", "addblueprintdefinitionmsg", {"blueprintdefinition": definition})
    blueprint = BLUEPRINT | {"metadata": {"name": "b", "colonyname": "c"}}
    ids["$blueprint"] = talk.must("user", "addblueprintmsg", {"blueprint": blueprint})["blueprintid"]
    return sim, ids


def _filled(value: Any, ids: dict[str, str]) -> Any:
    if isinstance(value, dict):
        return {key: _filled(item, ids) for key, item in value.items()}
    return ids.get(value, value) if isinstance(value, str) else value


def test_the_matrix_has_every_message_type() -> None:
    assert set(MATRIX) == {name for name, row in OPERATIONS.items() if not row.streamed}


@pytest.mark.parametrize("kind", sorted(MATRIX))
def test_who_may_call(kind: str, prepared: tuple[Simulation, dict[str, str]]) -> None:
    sim, ids = prepared
    (allowed, refusal), message, others = MATRIX[kind]
    for role, caller in ROLES.items():
        status, body = Talk(sim.fork()).say(caller, kind, _filled(message, ids))
        text = body.get("message") if isinstance(body, dict) else None
        if role not in allowed:
            if refusal == SILENCE:
                assert (status, body) == (200, None), role
            else:
                assert (status, text) == (403, refusal), role
        elif role in others:
            assert (status, text) == (403, others[role]), role
        else:
            assert status != 403, (role, text)
            assert body is not None or status == 200, role


@pytest.mark.parametrize("kind", sorted(name for name in MATRIX if MATRIX[name][0][1]))
def test_a_refused_call_changes_nothing(kind: str, prepared: tuple[Simulation, dict[str, str]]) -> None:
    sim, ids = prepared
    (allowed, _), message, _ = MATRIX[kind]
    for role in ("stranger", "pending executor"):
        if role in allowed:
            continue
        fork = sim.fork()
        before = fork.snapshot()
        Talk(fork).say(ROLES[role], kind, _filled(message, ids))
        assert fork.snapshot() == before, role
