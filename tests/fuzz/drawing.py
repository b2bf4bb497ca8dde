"""Messages that could be valid in a given world, and odd values to spoil them with. All chance is the caller's."""

from __future__ import annotations

import json
import random
from collections.abc import Iterable
from typing import Any, Final

from colonysim.core.golang import gotypes
from colonysim.core.registry import Operation
from colonysim.core.world import World

NAMES: Final = ("a", "b", "x", "e1", "e2", "u1", "ch")
_IDS: Final = tuple(character * 64 for character in "0123456789abcdef")
_CRONS: Final = (
    "* * * * * *",
    "0 0 0 1 1 *",
    "@every 1s",
    "@hourly",
    "0 0 0 , * 5",
    "TZ=Asia/Tokyo @daily",
    "0 0 0 30 2 *",
)
_TIMES: Final = (
    "2026-01-01T00:00:00Z",
    "0001-01-01T00:00:00Z",
    "9999-12-31T23:59:59-02:00",
    "2026-03-29T02:30:00.5+01:00",
)
_AMOUNTS: Final = ("", "500m", "2000m", "1Gi", "10Mi", "1", "1Kb")
_NUMBERS: Final[dict[str, tuple[int, ...]]] = {
    "state": (-1, 0, 0, 1, 1, 2, 3, 4),
    "timeout": (-1, -1, 1, 5, 60),
    "count": (1, 2, 10, 100),
    "limit": (0, 1, 10),
    "maxexectime": (-1, -1, 0, 1, 5, 100),
    "maxwaittime": (-1, -1, 0, 1, 5, 100),
    "maxretries": (-1, 0, 1, 3),
    "priority": (0, 0, 1, -5, 100),
    "trigger": (1, 2, 3, -1),
    "interval": (-1, -1, 1, 10, 100),
    "attributetype": (0, 1, 2, 3, 4),
    "nodes": (0, 1),
    "days": (1, 7),
    "seconds": (1, 100),
}
_ALWAYS: Final = frozenset(
    [
        "colonyname",
        "executorname",
        "executorid",
        "executortype",
        "name",
        "kind",
        "metadata",
        "conditions",
        "functionspecs",
        "workflowspec",
        "funcname",
        "nodename",
        "targetid",
        "key",
        "value",
        "names",
        "namespace",
        "userid",
        "colonyid",
        "colony",
        "user",
        "executor",
        "fun",
        "cron",
        "generator",
        "file",
        "ref",
        "s3object",
        "protocol",
        "label",
        "trigger",
        "interval",
        "location",
        "blueprint",
        "blueprintdefinition",
        "attribute",
        "spec",
        "cronexpression",
        "handler",
        "executorType",
        "functionName",
        "capabilities",
        "allocations",
        "processid",
        "processgraphid",
    ]
)
ODD_TEXTS: Final = (
    "", "\0", "a\0b", "\x7f\u2028\ufffd", "é" * 300, "x" * 5000, "%", "_%a", "\\", "'; --", "a:b", "a/../b", "/", "{}", "null",
    "%a" * 60 + "b", "%_a" * 40, "_%" * 500, "a" * 300 + "%", "[" * 50, "0" * 70, "9" * 400, "@every é", "* * * * *", "0 0 0 29 2 ,", "TZ=Nowhere * * * * * *", "TZ=", "5m", "-1Gi", "\U0001f600",
)  # fmt: skip
ODD_NUMBERS: Final = (
    "0", "-1", "-0", "1.0", "1e0", "1.5", "1e400", "-1e-400", "2147483647", "2147483648", "-2147483649", "9223372036854775807",
    "9223372036854775808", "-9223372036854775808", "18446744073709551616", "1" * 310, "-" + "7" * 400, "0.1e1", "50001", "1000000000000",
)  # fmt: skip
ODD_VALUES: Final = (
    "null", "true", "false", '""', "[]", "{}", "[null]", '{"":null}', '{"a":{"a":{"a":[]}}}', "[[[[[1]]]]]", '[1,"x",true,null,{}]',
    "[" * 190 + "]" * 190, "[" * 260 + "]" * 260, '{"items":' * 180 + "{}" + "}" * 180, '{"items":' * 2000 + "{}" + "}" * 2000,
    "[" * 9990 + "]" * 9990, "[" * 10_001,
)  # fmt: skip


def _free_json(rng: random.Random, depth: int = 2) -> Any:
    kind = rng.randrange(8 if depth else 6)
    if kind < 6:
        return (None, True, rng.randrange(-5, 100), rng.random() * 1e3, rng.choice(NAMES), 2**53 + 1)[kind]
    if kind == 6:
        return [_free_json(rng, depth - 1) for _ in range(rng.randrange(3))]
    return {rng.choice(NAMES): _free_json(rng, depth - 1) for _ in range(rng.randrange(3))}


class Drawer:
    """Draws what could be a valid message in a world."""

    def __init__(self, rng: random.Random, world: World) -> None:
        self.rng = rng
        self.world = world

    def message(self, row: Operation) -> dict[str, Any]:
        """A message of a type, most of its fields filled in with what there is in the world."""
        message = self._struct(row.message, row.name, 3)
        message["msgtype"] = row.name
        return message

    def _struct(self, cls: Any, kind: str, depth: int) -> dict[str, Any]:
        rng, filled = self.rng, {}
        for name, shape in gotypes.shapes_of(cls).items():
            if name in _ALWAYS or rng.random() < (0.9 if depth == 3 else 0.25):
                filled[name] = self._value(name, shape, kind, depth)
        return filled

    def _value(self, name: str, shape: gotypes.GoShape, kind: str, depth: int) -> Any:
        if shape.kind == "struct":
            return self._struct(shape.inner, kind, depth - 1) if depth else {}
        if shape.kind == "list":
            return self._list(name, shape, kind, depth)
        if shape.kind == "map":
            return {
                self.rng.choice(NAMES): self._value(name, shape.inner, kind, depth)
                for _ in range(self.rng.randrange(3))
            }
        if shape.kind == "string":
            return self._text(name, kind)
        if shape.kind == "int":
            return self.rng.choice(_NUMBERS.get(name, (0, 1, 2, 10)))
        choices: dict[str, Any] = {
            "bool": lambda: self.rng.random() < 0.3,
            "float": lambda: self.rng.choice((0, 1, -1.5, 12.25)),
            "time": lambda: self.rng.choice(_TIMES),
            "bytes": lambda: self.rng.choice(("eA==", "", [1, 2, 255])),
            "any": lambda: _free_json(self.rng),
        }
        return choices[shape.kind]()

    def _list(self, name: str, shape: gotypes.GoShape, kind: str, depth: int) -> list[Any]:
        if name == "functionspecs":
            return self._nodes(shape, kind)
        if name == "dependencies":
            return []
        if name == "channels":
            return ["ch"] * (self.rng.random() < 0.7)
        return [self._value(name.removesuffix("s"), shape.inner, kind, depth) for _ in range(self.rng.randrange(3))]

    def _nodes(self, shape: gotypes.GoShape, kind: str) -> list[Any]:
        """A workflow's nodes, each of which may depend on earlier ones."""
        names = "abcd"[: self.rng.randrange(1, 5)]
        nodes = []
        for place, name in enumerate(names):
            node = self._value("functionspec", shape.inner, kind, 2)
            node["nodename"] = name
            node["conditions"]["dependencies"] = [one for one in names[:place] if self.rng.random() < 0.5]
            nodes.append(node)
        return nodes

    def _one_of(self, things: Iterable[str], otherwise: str = "0" * 64) -> str:
        found = list(things)
        return self.rng.choice(found) if found and self.rng.random() < 0.95 else otherwise

    def _text(self, name: str, kind: str) -> str:
        world, choice = self.world, self.rng.choice
        lowered = name.lower()
        if lowered in ("colonyname", "namespace", "targetcolonyname"):
            return "c" if self.rng.random() < 0.93 else choice(("d", "", "nowhere"))
        tables: dict[str, Any] = {
            "processid": world.processes, "parentprocessid": world.processes, "childprocessid": world.processes,
            "targetid": world.processes, "processgraphid": world.graphs, "prevprocessgraphid": world.graphs,
            "cronid": world.crons, "generatorid": world.generators, "attributeid": world.attributes,
            "functionid": world.functions,
        }  # fmt: skip
        if lowered in tables:
            if kind.startswith("add") and lowered != "targetid" and "process" not in lowered:
                return ""
            return self._one_of(tables[lowered])
        if lowered in ("executorid", "userid", "colonyid", "serverid"):
            return choice(_IDS) if kind.startswith(("add", "change")) else self._one_of(world.executors_by_id)
        if lowered == "blueprintid":
            return "" if kind.startswith("add") else self._one_of(b.blueprintid for b in world.blueprints.values())
        if lowered in ("snapshotid", "fileid"):
            table = world.snapshots if lowered == "snapshotid" else world.files
            return self._one_of(str(key) for key in table) if self.rng.random() < 0.3 else ""
        return self._word(lowered, kind)

    def _word(self, name: str, kind: str) -> str:
        choice = self.rng.choice
        if name == "workflowspec":
            nodes = [{"nodename": "a", "funcname": "f", "conditions": {"executortype": "t"}}]
            return json.dumps({"colonyname": "c", "functionspecs": nodes})
        if name == "executorname" and kind not in ("addexecutormsg", "removeexecutormsg", "rejectexecutormsg"):
            return choice(("e1", "e1", "e2"))
        if name in ("cpu", "mem", "storage", "availablecpu", "availablemem"):
            return choice(_AMOUNTS)
        words: dict[str, tuple[str, ...]] = {
            "executortype": ("t", "t", "t2", ""), "cronexpression": _CRONS, "kind": ("K",), "protocol": ("s3",),
            "label": ("/a", "/a/b", "", "%"), "funcname": ("f", "g"), "locationname": ("", "", "a"), "type": ("object", "string", "number"),
            "scope": ("Namespaced",), "payloadtype": ("", "end"), "text": ("", "m", "%m_"), "initiator": ("", "u1"), "functionname": ("f",),
        }  # fmt: skip
        return choice(words.get(name, NAMES))


# ---------------------------------------------------------------- spoiling
def spoiled(rng: random.Random, message: dict[str, Any]) -> str:
    """The text of a message with some value replaced, left out, doubled or spelled in another way."""
    marks: list[str] = []
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        holder: Any = message
        while True:
            keys = list(holder) if isinstance(holder, dict) else list(range(len(holder)))
            if not keys:
                break
            key = rng.choice(keys)
            inner = holder[key]
            if isinstance(inner, (dict, list)) and inner and rng.random() < 0.7:
                holder = inner
                continue
            _spoil(rng, holder, key, marks)
            break
    text = json.dumps(message, ensure_ascii=rng.random() < 0.5)
    for place, raw in enumerate(marks):
        text = text.replace(f'"\\u0001{place}\\u0001"', raw)
    return text


def _spoil(rng: random.Random, holder: Any, key: Any, marks: list[str]) -> None:
    how = rng.randrange(8)
    if how == 0 and isinstance(holder, dict):
        del holder[key]
    elif how == 1 and isinstance(holder, dict):
        spelled = rng.choice((key.upper(), key.title(), key.replace("s", "\u017f")))
        holder[spelled] = holder[key] if rng.random() < 0.5 else holder.pop(key)
    elif how == 2 and isinstance(holder, list):
        holder.extend(holder[:2])
    elif how == 3:
        holder[key] = rng.choice(ODD_TEXTS)
    else:  # JSON that Python would not write: its text goes in afterwards
        marks.append(rng.choice(ODD_NUMBERS if how < 6 else ODD_VALUES))
        holder[key] = f"\x01{len(marks) - 1}\x01"


def garbled(rng: random.Random, text: bytes) -> bytes:
    """Bytes with a few of them changed, left out, put in or doubled, or cut off."""
    raw = bytearray(text)
    for _ in range(rng.choice((1, 1, 2, 5))):
        place, how = rng.randrange(len(raw) + 1), rng.randrange(5)
        if how == 0:
            raw[place:place] = bytes([rng.choice(b'{}[]",:\\0123456789eE.-\x00\xff \xc3u')])
        elif how == 1:
            del raw[place : place + rng.choice((1, 1, 5))]
        elif how == 2 and place < len(raw):
            raw[place] ^= 1 << rng.randrange(8)
        elif how == 3:
            raw[place:place] = raw[place : place + 40]
        else:
            del raw[max(place, len(raw) // 2) :]
    return bytes(raw)
