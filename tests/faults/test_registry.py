"""Faults as data: read, written and refused as in Python."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import msgspec
import pytest
from hypothesis import find

from colonysim.core.values import read_value
from colonysim.faults import (
    BadFault,
    Delay,
    Hit,
    Match,
    MessageFault,
    Plan,
    Repeat,
    RequestInfo,
    RequestVerdict,
    When,
    read_faults,
)
from colonysim.faults.fault import FAULTS
from colonysim.faults.registry import KINDS
from colonysim.faults.triggers import FaultNumber
from colonysim.hypothesis import message_faults
from colonysim.scenarios import Scenario
from colonysim.scenarios.writer import as_data


def test_faults_are_the_same_in_python_and_as_data() -> None:
    data = {"kind": "delay", "by_s": [1, 2], "match": {"types": "close*"}, "when": {"probability": 0.5, "until_s": 9}}
    fault = Delay(by_s=(1, 2), match=Match(types="close*"), when=When(probability=0.5, until_s=9))
    assert read_faults([data]) == (fault,)
    assert read_value(Plan, msgspec.json.decode(msgspec.json.encode(Plan(faults=(fault,))))) == Plan(faults=(fault,))


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (
            {"kind": "loose_reply"},
            r"fault 0: .*there is no kind `loose_reply` here; did you mean `lose_reply`. the kinds are lose_request",
        ),
        ({"kind": "delay", "name": "x"}, "fault 'x': `by_s` is missing"),
        ({"kind": "delay", "by_s": -1}, r"invalid by_s=-1: must be at least 0"),
        ({"kind": "delay", "by_s": [2, 1]}, r"invalid by_s=\[2, 1\]: the least comes before the most"),
        (
            {"kind": "lose_reply", "when": {"probability": 5}},
            "when: invalid probability=5: must be at most 1; write 0.05 for 5 %",
        ),
        ({"kind": "lose_reply", "when": {"from_s": 5, "until_s": 5}}, "until_s=5.*later than from_s=5"),
        ({"kind": "lose_reply", "when": {"nth": 2, "first": 3}}, "nth cannot be combined with first or every"),
        ({"kind": "lose_reply", "match": {"types": "closesucessfulmsg"}}, "did you mean 'closesuccessfulmsg'?"),
        ({"kind": "lose_reply", "match": {"type": "x"}}, "there is no `type` here; did you mean `types`"),
        ({"kind": "crash"}, "either `when`"),
        ({"kind": "restart", "times": {}}, "times need one of at_s, every_s, mean_every_s and mtbf_s"),
        ({"kind": "answer", "status": 200, "text": ""}, "invalid status=200: must be at least 400"),
        ({"kind": "hazard", "hazard": "fire"}, "invalid hazard='fire': must be lossy_wakeup or"),
        (5, "expected a Fault, or a mapping whose kind is lose_request.*, got int: 5"),
        *(
            (
                {"kind": "crash", "times": {"at_s": 1, "until_s": 9} | times},
                rf"invalid {name}.*=.*must be (at most 1,000,000,000|a finite number)",
            )
            for number in (1e300, float("inf"), float("nan"))
            for name, times in [("at_s", {"at_s": number}), ("at_s", {"at_s": [1, number]})]
        ),
        ({"kind": "crash", "times": {"at_s": 1, "from_s": float("inf")}}, "from_s=inf: must be a finite number"),
        ({"kind": "crash", "times": {"mean_every_s": 1e300}}, "mean_every_s=1e.300: must be at most 1,000,000,000"),
        ({"kind": "crash", "times": {"every_s": float("nan")}}, "every_s=nan: must be a finite number"),
        ({"kind": "lose_reply", "when": {"until_s": float("inf")}}, "until_s=inf: must be a finite number"),
        (
            {"kind": "lose_reply", "when": {"after": {"type": "versionmsg", "wait_s": 1e300}}},
            "wait_s=1e.300: must be at most 1,000,000,000",
        ),
        ({"kind": "lose_reply", "notice_s": [1, float("inf")]}, r"notice_s\[1\]=inf: must be a finite number"),
        ({"kind": "reorder", "within_s": float("inf")}, "within_s=inf: must be a finite number"),
        ({"kind": "slow_down", "when": {}, "for_s": 1, "factor": float("inf")}, "factor=inf: must be a finite number"),
        ({"kind": "clock_skew", "when": {}, "for_s": 1, "by_s": float("nan")}, "by_s=nan: must be a finite number"),
        (
            {"kind": "clock_skew", "when": {}, "for_s": 1, "by_s": -1e300},
            "by_s=-1e.300: must be at least -1,000,000,000",
        ),
        ({"kind": "clock_skew", "when": {}, "for_s": 1, "drift": float("inf")}, "drift=inf: must be a finite number"),
        ({"kind": "hazard", "hazard": "lost_signal", "until_s": float("inf")}, "until_s=inf: must be a finite number"),
    ],
)
def test_what_is_wrong_with_a_fault_is_told_with_the_fix(data: Any, text: str) -> None:
    with pytest.raises(BadFault, match=text):
        read_faults(data)


def test_python_code_may_write_lists() -> None:
    fault = Delay(by_s=[1, 2], match=Match(types=["close*"]))  # type: ignore[arg-type]
    assert fault == Delay(by_s=(1, 2), match=Match(types=("close*",)))
    with pytest.raises(BadFault, match=r"by_s='soon': expected .*give seconds"):
        Delay(by_s="soon")  # type: ignore[arg-type]


@pytest.mark.parametrize("first", ["Restart", "Crash", "Hazard", "LoseReply"])
def test_kinds_are_listed_in_one_order_whichever_is_imported_first(first: str) -> None:
    program = f"from colonysim.faults import {first}; from colonysim.faults.registry import KINDS; print(*KINDS)"
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert run.stdout.split() == list(KINDS)


def test_a_registered_class_is_a_kind_everywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    class Flood(MessageFault, tag="flood"):
        """Each request arrives `times` times more."""

        times: FaultNumber = 2

        def on_request(self, request: RequestInfo, hit: Hit) -> RequestVerdict:
            return Repeat(self.times)

    with pytest.raises(BadFault, match="there is no kind `flood`"):
        read_faults({"kind": "flood"})
    monkeypatch.setitem(FAULTS.known, "flood", Flood)
    assert read_faults({"kind": "flood", "times": 3}) == (Flood(times=3),)
    text = "version: 1\nphases: {storm_s: 60}\nfaults: [{kind: flood}]\n"
    scenario = Scenario.read(text)
    assert scenario.faults == (Flood(),)
    assert as_data(scenario)["faults"] == [{"kind": "flood"}]
    definitions = Scenario.schema()["$defs"]
    assert {"$ref": "#/$defs/Flood"} in definitions["Fault"]["anyOf"]
    assert "flood" in definitions["Flood"]["properties"]["kind"]["enum"]
    assert find(message_faults(), lambda fault: fault.kind == "flood")
