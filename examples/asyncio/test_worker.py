"""The asyncio executor against a simulated Colonies server."""

import pytest

from colonysim import ProcessState


def submit(colony, seconds):
    return colony.submit("sleep", [seconds], executortype="sleeper", maxexectime=120)


def test_three_processes_run_at_once_and_the_fourth_waits(colony, colonysim, sleeper):
    processes = [submit(colony, 60) for _ in range(4)]
    colonysim.run(for_s=61)
    assert [process.state for process in processes] == [ProcessState.SUCCESS] * 3 + [ProcessState.RUNNING]
    colonysim.run(for_s=60)
    assert processes[3].output == ["slept 60 s"]


LOSSES = [
    {"kind": "lose_request", "match": {"types": ["assignprocessmsg", "close*"]}, "when": {"probability": 0.1}},
    {"kind": "lose_reply", "match": {"types": ["assignprocessmsg", "close*"]}, "when": {"probability": 0.1}},
]


@pytest.mark.colonysim(faults=LOSSES, seeds=10)
def test_lost_messages_lose_no_process(colony, colonysim, sleeper):
    processes = [submit(colony, 10) for _ in range(20)]
    colonysim.run(for_s=3600)
    assert [process.output for process in processes] == [["slept 10 s"]] * 20
