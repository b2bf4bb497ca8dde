"""The executor against a simulated Colonies server."""

import pytest

from colonysim import ProcessState


def submit(colony, *args):
    return colony.submit("add", list(args), executortype="adder", maxexectime=60, maxretries=3)


def test_it_adds(colony, colonysim, adder):
    process = submit(colony, 1, 2, 3)
    colonysim.run(for_s=20)
    assert process.output == [6]


def test_bad_arguments_fail_and_say_why(colony, colonysim, adder):
    process = submit(colony, "one", 2)
    colonysim.run(for_s=20)
    assert process.state is ProcessState.FAILED
    assert "bad arguments" in process.errors[0]


def test_it_waits_for_work_for_hours(colony, colonysim, adder):
    colonysim.run(for_s=4 * 3600)
    process = submit(colony, 4, 5)
    colonysim.run(for_s=20)
    assert process.output == [9]


LOST_REPLY = {"kind": "lose_reply", "match": {"types": "closesuccessfulmsg"}, "when": {"first": 1}}
CRASHES = {
    "kind": "crash",
    "actors": "adder",
    "times": {"mean_every_s": 60, "until_s": 600},
    "restart_after_s": [1, 20],
}


@pytest.mark.colonysim(faults=LOST_REPLY)
def test_a_lost_reply_does_not_stop_it(colony, colonysim, adder):
    processes = [submit(colony, n, n) for n in range(3)]
    colonysim.run(for_s=60)
    assert [process.output for process in processes] == [[0], [2], [4]]


@pytest.mark.colonysim(faults=CRASHES, seeds=10)
def test_crashes_lose_no_process(colony, colonysim, adder):
    processes = [colony.submit("add", [n, n], executortype="adder", maxexectime=60) for n in range(20)]
    colonysim.run(for_s=3600)
    assert [process.output for process in processes] == [[2 * n] for n in range(20)]
