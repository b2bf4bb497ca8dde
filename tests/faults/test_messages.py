"""Faults of messages: each kind does what it says to a request and its reply."""

from __future__ import annotations

from typing import Any

import pytest

from colonysim import ColonyClient, Lost, ProcessState, Refused, Simulation
from colonysim.faults import (
    AnswerWith,
    BadFault,
    Delay,
    Disconnect,
    Duplicate,
    LoseReply,
    LoseRequest,
    Malformed,
    Match,
    Reorder,
    When,
)
from colonysim.kernel.pending import LOST
from tests.faults.common import ONCE, SUBMITS, message_of, submit


def test_a_lost_request_has_no_effect(sim: Simulation, colony: ColonyClient) -> None:
    sim.faults.add(LoseRequest(match=SUBMITS, when=ONCE))
    with pytest.raises(Lost):
        submit(colony)
    assert colony.processes() == []


def test_a_lost_reply_belongs_to_a_request_that_took_effect(sim: Simulation, colony: ColonyClient) -> None:
    sim.faults.add(LoseReply(match=SUBMITS, when=ONCE))
    with pytest.raises(Lost):
        submit(colony)
    assert len(colony.processes()) == 1


def test_a_loss_is_noticed_after_the_time_it_takes(sim: Simulation, colony: ColonyClient) -> None:
    sim.faults.add(LoseRequest(match=SUBMITS, when=ONCE, notice_s=7))
    before = sim.now_ns
    with pytest.raises(Lost):
        submit(colony)
    assert sim.now_ns - before == 7 * 10**9


def test_a_lost_assign_leaves_the_process_with_an_executor_that_does_not_know(
    sim: Simulation, colony: ColonyClient
) -> None:
    executor = colony.add_executor("a")
    process = submit(colony, maxexectime=5, maxretries=1)
    sim.faults.add(LoseReply(match=Match(types="assignprocessmsg"), when=ONCE))
    with pytest.raises(Lost):
        executor.assign()
    assert process.state is ProcessState.RUNNING
    assert executor.assign(timeout_s=20) is not None
    assert process.retries == 1


def test_a_duplicate_takes_effect_twice(sim: Simulation, colony: ColonyClient) -> None:
    sim.faults.add(Duplicate(match=SUBMITS, when=ONCE, copies=2))
    first = submit(colony)
    assert len(colony.processes()) == 3
    assert first.state is ProcessState.WAITING


def test_a_duplicate_may_come_later(sim: Simulation, colony: ColonyClient) -> None:
    sim.faults.add(Duplicate(match=SUBMITS, when=ONCE, after_s=3))
    submit(colony)
    assert len(colony.processes()) == 1
    sim.advance(3)
    assert len(colony.processes()) == 2


@pytest.mark.parametrize(("what", "seconds"), [("request", 2), ("reply", 2), ("both", 4)])
def test_a_delay_takes_its_time(sim: Simulation, colony: ColonyClient, what: Any, seconds: int) -> None:
    sim.faults.add(Delay(match=SUBMITS, when=ONCE, by_s=2, what=what))
    before = sim.now_ns
    process = submit(colony)
    assert sim.now_ns - before == seconds * 10**9
    submitted_ns = process.details.submitted_ns
    assert submitted_ns - before == (0 if what == "reply" else 2 * 10**9)


def test_a_delay_between_bounds_is_drawn(sim: Simulation, colony: ColonyClient) -> None:
    sim.faults.add(Delay(match=SUBMITS, when=When(first=20), by_s=(1.0, 2.0)))
    spans = []
    for _ in range(20):
        before = sim.now_ns
        submit(colony)
        spans.append((sim.now_ns - before) / 1e9)
    assert all(1 <= span <= 2 for span in spans)
    assert len(set(spans)) > 10


def test_a_reordered_request_is_overtaken(sim: Simulation, colony: ColonyClient) -> None:
    sim.faults.add(Reorder(match=SUBMITS, when=ONCE, past=2, within_s=60))
    message = message_of(colony, "late")
    late = sim.begin(colony.user.id, message)
    for name in ("x", "y"):
        assert late.answer is None
        sim.call(colony.user.id, message_of(colony, name))
    assert late.answer is not None
    names = [process.spec.funcname for process in colony.processes()]
    assert sorted(names) == ["late", "x", "y"]
    in_order = sorted(sim.world.processes.values(), key=lambda process: process.serial)
    assert [process.spec.funcname for process in in_order] == ["x", "y", "late"]


def test_a_reordered_request_arrives_in_the_end(sim: Simulation, colony: ColonyClient) -> None:
    sim.faults.add(Reorder(match=SUBMITS, when=ONCE, past=5, within_s=9))
    before = sim.now_ns
    submit(colony)
    assert sim.now_ns - before == 9 * 10**9


@pytest.mark.parametrize("served", [False, True])
def test_an_answer_of_ones_own(sim: Simulation, colony: ColonyClient, served: bool) -> None:
    sim.faults.add(AnswerWith(match=SUBMITS, when=ONCE, status=504, text="gateway timeout", served=served))
    with pytest.raises(Refused, match="504 gateway timeout"):
        submit(colony)
    assert len(colony.processes()) == int(served)


def test_a_disconnect_gives_up_what_is_parked(sim: Simulation, colony: ColonyClient) -> None:
    executor = colony.add_executor("a")
    sim.faults.add(Disconnect(match=Match(types="assignprocessmsg"), when=ONCE, after_s=5))
    before = sim.now_ns
    with pytest.raises(Lost):
        executor.assign(timeout_s=60)
    assert sim.now_ns - before == 5 * 10**9
    process = submit(colony)
    assert process.state is ProcessState.WAITING  # nobody is parked any more


def test_a_disconnect_at_once_loses_the_reply(sim: Simulation, colony: ColonyClient) -> None:
    sim.faults.add(Disconnect(match=SUBMITS, when=ONCE))
    with pytest.raises(Lost):
        submit(colony)
    assert len(colony.processes()) == 1


def test_a_malformed_reply_cannot_be_read(sim: Simulation, colony: ColonyClient) -> None:
    sim.faults.add(Malformed(match=SUBMITS, when=ONCE, text="<html>"))
    with pytest.raises(Lost, match="<html>"):
        submit(colony)
    assert len(colony.processes()) == 1


def test_calls_tell_what_was_done_to_them(sim: Simulation, colony: ColonyClient) -> None:
    sim.faults.add(LoseReply(name="bad line", match=SUBMITS, when=ONCE))
    with pytest.raises(Lost):
        submit(colony)
    call = sim.calls[-1]
    assert (call.payload_type, call.fault, call.verdict, call.status) == (
        "submitfuncspecmsg", "bad line", "lose_reply", LOST,
    )  # fmt: skip
    assert sim.journal is not None
    assert any(b'"fault":"bad line"' in line for line in sim.journal.lines)


def test_how_long_a_request_is_held_back_at_most_is_drawn(sim: Simulation, colony: ColonyClient) -> None:
    sim.faults.add(Reorder(match=SUBMITS, when=When(first=20), past=5, within_s=(2, 9)))
    spans = []
    for _ in range(20):
        before = sim.now_ns
        submit(colony)
        spans.append((sim.now_ns - before) / 1e9)
    assert all(2 <= span <= 9 for span in spans)
    assert len(set(spans)) > 10


@pytest.mark.parametrize("within_s", [0, (0, 0), -1])
def test_a_request_must_be_held_back_for_some_time(within_s: Any) -> None:
    with pytest.raises(BadFault, match="invalid within_s="):
        Reorder(within_s=within_s)
