"""Storms of all kinds of faults: one seed is one history."""

from __future__ import annotations

import os
import subprocess
import sys

import msgspec
import pytest

from colonysim.faults import (
    AnswerWith,
    AnyFault,
    ClockSkew,
    Crash,
    Delay,
    Disconnect,
    Duplicate,
    Hazard,
    LoseReply,
    LoseRequest,
    Malformed,
    Partition,
    Pause,
    Plan,
    Reorder,
    Restart,
    SlowDown,
    Terminate,
    Times,
    When,
)
from colonysim.faults.registry import KINDS
from tests.faults.storm import digest_of

TODAY = Times(mean_every_s=600, until_s=7200)
OFTEN = When(probability=0.1, until_s=7200)
STORM: dict[str, AnyFault] = {
    "lose_request": LoseRequest(when=OFTEN),
    "lose_reply": LoseReply(when=OFTEN),
    "duplicate": Duplicate(when=OFTEN),
    "delay": Delay(when=OFTEN, by_s=(0.1, 9)),
    "reorder": Reorder(when=OFTEN, within_s=5),
    "answer": AnswerWith(when=OFTEN, status=503, text="busy"),
    "disconnect": Disconnect(when=OFTEN),
    "malformed": Malformed(when=OFTEN),
    "crash": Crash(times=TODAY, restart_after_s=(1, 20)),
    "terminate": Terminate(times=TODAY, grace_s=5, restart_after_s=(1, 20)),
    "pause": Pause(times=TODAY, for_s=30),
    "slow_down": SlowDown(times=TODAY, factor=3, for_s=600),
    "clock_skew": ClockSkew(times=TODAY, by_s=-5, for_s=600),
    "restart": Restart(times=TODAY, down_s=5),
    "partition": Partition(times=TODAY, for_s=30),
    "hazard": Hazard(hazard="retried_close", until_s=7200, probability=0.2),
}


def test_every_kind_of_fault_is_in_the_storm() -> None:
    assert list(STORM) == list(KINDS)


@pytest.mark.parametrize("kind", STORM)
def test_every_fault_changes_the_history_and_every_seed_does(kind: str) -> None:
    digests = [
        digest_of(1, ()),
        digest_of(1, (STORM[kind],)),
        digest_of(1, (STORM[kind],)),
        digest_of(2, (STORM[kind],)),
    ]
    assert digests[1] == digests[2]
    assert len(set(digests)) == 3


@pytest.mark.parametrize("hash_seed", ["0", "1", "4711"])
def test_one_storm_is_one_history_in_every_process(hash_seed: str) -> None:
    plan = Plan(faults=tuple(STORM.values()))
    program = f"from tests.faults.storm import main; main({msgspec.json.encode(plan).decode()!r})"
    run = subprocess.run(
        [sys.executable, "-c", program],
        env=os.environ | {"PYTHONHASHSEED": hash_seed},
        capture_output=True,
        text=True,
        check=True,
    )
    assert run.stdout.strip() == digest_of(7, plan.faults)
