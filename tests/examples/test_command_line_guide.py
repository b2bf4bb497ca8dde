"""The guide to the official command-line tool: every message it really sent, and the replies it got.

`cli-messages.jsonl` was recorded against a reference server. Ids that the server draws differ from run to run
and are followed; times are not compared, for the guide was walked through by hand.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from colonysim import identity

from colonysim.conformance import Comparison
from colonysim import stock

from .conftest import Host
from .speaking import Speaker

LINES = [json.loads(line) for line in (Path(__file__).parent / "cli-messages.jsonl").read_text().splitlines()]
HEX64 = re.compile(r"[0-9a-f]{64}")
BY_SERVER_OWNER = {"addcolonymsg", "getcoloniesmsg", "removecolonymsg"}
BY_COLONY_OWNER = {
    "addusermsg", "removeusermsg", "addexecutormsg", "approveexecutormsg", "rejectexecutormsg", "removeexecutormsg",
    "removeallprocessesmsg", "removeallprocessgraphsmsg",
}  # fmt: skip
TIMES = [
    "added", "buildtime", "commissiontime", "endtime", "execdeadline", "lastheardfromtime", "lastrun", "nextrun",
    "firstpack", "prioritytime", "starttime", "submissiontime", "timestamp", "waitdeadline", "minwaittime", "maxwaittime",
    "minexectime", "maxexectime", "avgwaittime", "avgexectime", "host", "port",
]  # fmt: skip
SECONDS_BETWEEN_COMMANDS = 0.7  # quick fingers: the cron of every fifth second has not run before it is run by hand


@pytest.mark.colonysim(timezone="Europe/Stockholm")
def test_every_command_of_the_guide(host: Host) -> None:
    speaker = Speaker(host.name, host.port, "text/plain")
    ids: dict[str, str] = {}  # as recorded → as drawn here
    command, played = "", 0
    for line in LINES:
        if "command" in line:
            command = line["command"]
            host.sim.advance(SECONDS_BETWEEN_COMMANDS)
            continue
        message = json.loads(HEX64.sub(lambda match: ids.get(match[0], match[0]), json.dumps(line["message"])))
        status, reply = speaker.say(_key(command, line), line["payloadtype"], message)
        assert status == line["status"], (command, reply)
        _follow(line["reply"], reply, ids)
        expected = json.loads(HEX64.sub(lambda match: ids.get(match[0], match[0]), json.dumps(line["reply"])))
        limits = Comparison({"ignore": [*TIMES, *_free_order(line)], "unordered": _free_lists(line)})
        assert list(limits.differences(expected, reply)) == [], (command, line["payloadtype"])
        played += 1
    assert played == sum("payloadtype" in line for line in LINES) > 80


def _key(command: str, line: dict[str, Any]) -> str | None:
    if not line["signed"]:
        return None
    given = re.search(r"--prvkey ([0-9a-f]{64})", command)
    if given:
        return given[1]
    if line["payloadtype"] in BY_SERVER_OWNER:
        return stock.SERVER_KEY
    owner = line["payloadtype"] in BY_COLONY_OWNER
    return stock.COLONY_OWNER.private_key if owner else stock.USER_IDENTITY.private_key


def _free_order(line: dict[str, Any]) -> list[str]:
    """What the reference leaves open: the order of children and of a graph's nodes, and so what hangs on it."""
    if line["payloadtype"] in ("submitworkflowspecmsg", "getprocessgraphmsg", "getprocessgraphsmsg"):
        return ["nodes", "edges", "processids"]
    return ["children"]


def _free_lists(line: dict[str, Any]) -> list[str]:
    """Lists in no promised order: those of files, and the files of a snapshot."""
    whole = [""] if line["payloadtype"] in ("getfilelabelsmsg", "getfilesmsg") else []
    return [*whole, "fileids"]


def _follow(recorded: Any, actual: Any, ids: dict[str, str]) -> None:
    """Learn which id here stands for which id there."""
    if isinstance(recorded, dict) and isinstance(actual, dict):
        for key in recorded:
            _follow(recorded[key], actual.get(key), ids)
    elif isinstance(recorded, list) and isinstance(actual, list):
        for one, other in zip(recorded, actual, strict=False):
            _follow(one, other, ids)
    elif isinstance(recorded, str) and isinstance(actual, str) and HEX64.fullmatch(recorded) and HEX64.fullmatch(actual):
        ids.setdefault(recorded, actual)


def test_the_recorded_executor_key_is_its_own() -> None:
    """The key on the guide's command lines belongs to the executor that the guide adds."""
    key = next(match[1] for line in LINES if (match := re.search(r"--prvkey (\w+)", line.get("command", ""))))
    added = next(line for line in LINES if line.get("payloadtype") == "addexecutormsg")
    assert identity.identity(key).id == added["message"]["executor"]["executorid"]
