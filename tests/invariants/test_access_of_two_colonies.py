"""Messages that can name two colonies: the invariant of roles asks about the colony that the server asks about."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from functools import cache
from typing import Any, Final

import msgspec
import pytest

from colonysim import Simulation
from colonysim.core.engine import OPERATIONS
from colonysim.core.settings import STOCK_SERVER_ID
from colonysim.kernel.kernel import Stuck
from tests.core.test_access_matrix import FILE, MATRIX, SPEC

COLONIES: Final = ("c", "d")
Path = tuple[str | int, ...]

# Fields beside those of the matrix that name something in a colony.
MORE: Final[dict[str, dict[str, Any]]] = {
    "addchildmsg": {"childprocessid": "$node"},
    "addcronmsg": {"cron": {"prevprocessgraphid": "$graph"}},
    "addfilemsg": {"file": {"fileid": "$file"}},
    "addfunctionmsg": {"fun": {"executorname": "executor"}},
    "addexecutorlogmsg": {"executorname": "executor"},
    "addexecutormsg": {"executor": {"executorid": "$executor"}},
    "addusermsg": {"user": {"userid": "$user"}},
    "addattributemsg": {"attribute": {"targetcolonyname": "c", "targetprocessgraphid": "$graph"}},
    "approveexecutormsg": {"executorname": "executor"},
    "changecolonyidmsg": {"colonyid": "$owner"},
    "changeexecutoridmsg": {"executorid": "$executor"},
    "changeuseridmsg": {"userid": "$user"},
    "getexecutorbyidmsg": {"executorid": "$executor"},
    "getfilemsg": {"label": "/l", "name": "n"},
    "getfunctionsmsg": {"executorname": "executor"},
    "getlogsmsg": {"executorname": "executor"},
    "getprocesshistmsg": {"executorid": "$executor"},
    "getsnapshotmsg": {"snapshotid": "$snapshot"},
    "getuserbyidmsg": {"userid": "$user"},
    "removesnapshotmsg": {"snapshotid": "$snapshot"},
    "reportallocationmsg": {"executorname": "executor"},
    "updateexecutormsg": {"executorname": "executor"},
    "submitfuncspecmsg": {"spec": {"label": "l"}},
}
STREAMED: Final = {
    "subscribeprocessesmsg": {"colonyname": "c", "executortype": "t", "state": 0, "timeout": 1},
    "subscribeprocessmsg": {"colonyname": "c", "processid": "$waiting", "executortype": "t", "state": 1, "timeout": 1},
    "subscribechannelmsg": {"processid": "$running", "name": "ch", "timeout": 1},
}


def _id(number: int) -> str:
    return f"{number:064x}"


OWNER: Final = {"c": _id(1), "d": _id(2)}
USER: Final = {"c": _id(11), "d": _id(12)}
EXECUTOR: Final = {"c": _id(21), "d": _id(22)}
PENDING: Final = {"c": _id(31), "d": _id(32)}
USER_OF_BOTH, EXECUTOR_OF_BOTH, USER_AND_EXECUTOR = _id(41), _id(42), _id(43)
CALLERS: Final = (
    STOCK_SERVER_ID,
    *OWNER.values(),
    *USER.values(),
    *EXECUTOR.values(),
    *PENDING.values(),
    USER_OF_BOTH,
    EXECUTOR_OF_BOTH,
    USER_AND_EXECUTOR,
    _id(99),
)


class Stage:
    """Two colonies with one of everything, and with members of both."""

    def __init__(self) -> None:
        self.sim = Simulation(mode="manual")
        self.ids: dict[str, dict[str, str]] = {}
        for colony in COLONIES:
            self.ask(STOCK_SERVER_ID, "addcolonymsg", {"colony": {"colonyid": OWNER[colony], "name": colony}})
        for colony in COLONIES:
            self._add_members(colony)
        for colony in COLONIES:
            self.ids[colony] = self._add_everything(colony)

    def ask(self, caller: str, kind: str, message: dict[str, Any]) -> Any:
        answer = call(self.sim, caller, kind, message)
        assert answer.status == 200, (kind, answer.body)
        return answer.body

    def _add_members(self, colony: str) -> None:
        owner = OWNER[colony]
        for name, user_id in (("user", USER[colony]), ("both", USER_OF_BOTH)):
            self.ask(owner, "addusermsg", {"user": {"colonyname": colony, "userid": user_id, "name": name}})
        executors = {"executor": EXECUTOR[colony], "pending executor": PENDING[colony], "both": EXECUTOR_OF_BOTH}
        if colony == "c":
            user = {"colonyname": colony, "userid": USER_AND_EXECUTOR, "name": "mixed"}
            self.ask(owner, "addusermsg", {"user": user})
        else:
            executors["mixed"] = USER_AND_EXECUTOR
        for name, executor_id in executors.items():
            executor = {"executorid": executor_id, "executorname": name, "executortype": "t", "colonyname": colony}
            self.ask(owner, "addexecutormsg", {"executor": executor})
            if name != "pending executor":
                self.ask(owner, "approveexecutormsg", {"colonyname": colony, "executorname": name})

    def _add_everything(self, colony: str) -> dict[str, str]:
        owner, user, executor = OWNER[colony], USER[colony], EXECUTOR[colony]
        spec = SPEC | {"conditions": {"colonyname": colony, "executortype": "t"}}
        workflow = {"colonyname": colony, "functionspecs": [spec | {"nodename": "n"}]}
        text = json.dumps(workflow)
        assign = {"colonyname": colony, "timeout": -1}
        graph = self.ask(user, "submitworkflowspecmsg", {"spec": workflow})
        node = self.ask(executor, "assignprocessmsg", assign).process
        self.ask(user, "submitfuncspecmsg", {"spec": spec | {"channels": ["ch"]}})
        running = self.ask(executor, "assignprocessmsg", assign).process
        waiting = self.ask(user, "submitfuncspecmsg", {"spec": spec | {"env": {"k": "v"}}})
        fun = {"executorname": "executor", "colonyname": colony, "funcname": "f"}
        cron = {"colonyname": colony, "name": "c", "interval": 99, "workflowspec": text}
        generator = {"colonyname": colony, "name": "g", "trigger": 9, "workflowspec": text}
        metadata = {"name": "d", "colonyname": colony}
        handler = {"executorType": "t", "functionName": "f"}
        definition = {"metadata": metadata, "spec": {"names": {"kind": "K"}, "handler": handler}}
        self.ask(owner, "addlocationmsg", {"location": {"colonyname": colony, "name": "here"}})
        self.ask(owner, "addblueprintdefinitionmsg", {"blueprintdefinition": definition})
        blueprint = {"kind": "K", "metadata": {"name": "b", "colonyname": colony}, "spec": {}}
        snapshot = {"colonyname": colony, "label": "/l", "name": "s"}
        return {
            "$graph": graph.graph.graph_id,
            "$node": node.process_id,
            "$running": running.process_id,
            "$waiting": waiting.process_id,
            "$attribute": waiting.attributes[0].attributeid,
            "$function": self.ask(executor, "addfunctionmsg", {"fun": fun}).functionid,
            "$cron": self.ask(user, "addcronmsg", {"cron": cron}).cron.cron_id,
            "$generator": self.ask(user, "addgeneratormsg", {"generator": generator}).generator.generator_id,
            "$file": self.ask(user, "addfilemsg", {"file": FILE | {"colonyname": colony}}).fileid,
            "$snapshot": self.ask(user, "createsnapshotmsg", snapshot).snapshot_id,
            "$blueprint": self.ask(user, "addblueprintmsg", {"blueprint": blueprint}).blueprintid,
            "$owner": owner,
            "$user": user,
            "$executor": executor,
        }


def call(sim: Simulation, caller: str, kind: str, message: dict[str, Any]) -> Any:
    return sim.call(caller, msgspec.convert({"msgtype": kind} | message, OPERATIONS[kind].message))


@cache
def stage() -> Stage:
    return Stage()


# ---------------------------------------------------------------- messages
def _merged(one: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    """Both, those in one another too."""
    both = {key: value for key, value in other.items() if not isinstance(value, dict)}
    parts = {key: _merged(one.get(key, {}), value) for key, value in other.items() if isinstance(value, dict)}
    return one | both | parts


def _places(value: Any, path: Path = ()) -> Iterator[Path]:
    """Where a message names a colony, or something in one."""
    items: Any = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        if isinstance(item, str) and (key in ("colonyname", "namespace") or item.startswith("$")):
            yield (*path, key)
        elif key == "workflowspec":
            yield from _places(json.loads(item), (*path, key))
        else:
            yield from _places(item, (*path, key))


def _put(value: Any, choice: dict[Path, str], path: Path = ()) -> Any:
    """The message with each of its names taken from the colony chosen for it."""
    if path and path[-1] == "workflowspec" and isinstance(value, str):
        return json.dumps(_put(json.loads(value), choice, path))
    if isinstance(value, dict):
        return {key: _put(item, choice, (*path, key)) for key, item in value.items()}
    if isinstance(value, list):
        return [_put(item, choice, (*path, place)) for place, item in enumerate(value)]
    if (colony := choice.get(path)) is None:
        return value
    return stage().ids[colony][value] if value.startswith("$") else colony


def variants(kind: str) -> list[dict[str, Any]]:
    """The message with the names of two colonies in all ways."""
    plain = STREAMED.get(kind) or MATRIX[kind][1]
    found = []
    for message in (plain, _merged(plain, MORE[kind])) if kind in MORE else (plain,):
        places = list(_places(message))
        for colonies in itertools.product(COLONIES, repeat=len(places)):
            found.append(_put(message, dict(zip(places, colonies, strict=True))))
    return found


NAMING: Final = [kind for kind in sorted([*MATRIX, *STREAMED]) if kind not in ("versionmsg", "getserverinfomsg")]


def test_every_message_type_is_sent_or_takes_no_role() -> None:
    assert {*NAMING, "versionmsg", "getserverinfomsg"} == set(OPERATIONS)


@pytest.mark.parametrize("kind", NAMING)
def test_two_colonies_in_one_message_are_no_violation(kind: str) -> None:
    """Whoever asks: members and owners of one, of the other and of both, the server's owner and a stranger."""
    let_in, reads = 0, kind.startswith(("get", "search", "channelread"))
    for message in variants(kind):
        sim = stage().sim.fork()
        for caller in CALLERS:
            try:
                passed = call(sim, caller, kind, message).status != 403
            except Stuck:  # it has subscribed, and nothing comes
                passed = kind in STREAMED
            let_in += passed
            if passed and not reads:
                sim.check()
                sim = stage().sim.fork()
        sim.check()
    assert let_in
