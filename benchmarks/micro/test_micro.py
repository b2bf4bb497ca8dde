"""Single operations, under pytest-benchmark: `pytest benchmarks/micro`, with --benchmark-compare for another run."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC
from itertools import count
from typing import Any

import msgspec
import pytest

from benchmarks.graphs import chain, fan_in, fan_out, workflow
from benchmarks.measure import ASSIGN, USER_ID, Stage, submit_message
from colonysim.core.agenda import Agenda
from colonysim.core.events import PollOver
from colonysim.core.operations.assignment import AssignProcess
from colonysim.core.operations.closing import CloseSuccessful
from colonysim.core.protocol import Answer
from colonysim.wire import crypto, identity
from colonysim.wire.codec import Codec
from colonysim.wire.envelope import close_payload

Benchmark = Callable[..., Any]
KEY = "11" * 32


@pytest.mark.parametrize("waiting", [0, 1_000, 100_000])
def test_life_cycle(benchmark: Benchmark, waiting: int) -> None:
    stage = Stage()
    message = submit_message()
    for _ in range(waiting):
        stage.sim.call(USER_ID, message)
    benchmark(stage.life_cycle)


@pytest.mark.parametrize("waiting", [1, 1_000, 100_000])
def test_assign(benchmark: Benchmark, waiting: int) -> None:
    stage = Stage()
    message, executor = submit_message(), stage.executors[0]
    for _ in range(waiting - 1):
        stage.sim.call(USER_ID, message)

    def set_up() -> None:
        stage.sim.call(USER_ID, message)

    benchmark.pedantic(stage.sim.call, args=(executor, ASSIGN), setup=set_up, rounds=2_000)  # type: ignore[attr-defined]


@pytest.mark.parametrize("sets", [1, 100, 1_000])
def test_assign_among_condition_sets(benchmark: Benchmark, sets: int) -> None:
    stage = Stage()
    for number in range(2 * sets + 4_000):
        stage.submit(cpu=f"{number % sets}m")
    executor = stage.executors[0]
    benchmark.pedantic(stage.sim.call, args=(executor, ASSIGN), rounds=2_000)  # type: ignore[attr-defined]


def test_assign_that_finds_nothing(benchmark: Benchmark) -> None:
    stage = Stage()
    benchmark(stage.sim.call, stage.executors[0], ASSIGN)


@pytest.mark.parametrize("parked", [1, 10_000])
def test_submit_that_wakes_one_of_many(benchmark: Benchmark, parked: int) -> None:
    stage = Stage(executors=parked)
    poll, message, turn = AssignProcess(colonyname="dev", timeout=3600), submit_message(), count()
    for executor in stage.executors:
        stage.sim.begin(executor, poll)

    def submit_and_park() -> None:
        stage.sim.call(USER_ID, message)
        stage.sim.begin(stage.executors[next(turn) % parked], poll)

    benchmark(submit_and_park)


@pytest.mark.parametrize("shape", [chain, fan_out, fan_in], ids=lambda shape: shape.__name__)
def test_submit_a_graph_of_10_000(benchmark: Benchmark, shape: Any) -> None:
    message = workflow(10_000, shape)
    benchmark.pedantic(lambda: Stage().ok(USER_ID, message), rounds=3)  # type: ignore[attr-defined]


def test_arm_and_cancel_a_timer(benchmark: Benchmark) -> None:
    agenda, event, due = Agenda(), PollOver(1), count()
    for number in range(100_000):
        agenda.add(number * 1_000, event)
    benchmark(lambda: agenda.cancel(agenda.add(next(due), event)))


# ---------------------------------------------------------------- wire
def _request(message: Any, kind: str) -> bytes:
    payload = close_payload(msgspec.json.encode(msgspec.structs.replace(message, msgtype=kind)))
    return msgspec.json.encode({"payloadtype": kind, "payload": payload, "signature": identity.sign(payload, KEY)})


def test_read_a_request(benchmark: Benchmark) -> None:
    body = _request(submit_message(args=["a", 1, {"b": [2.5]}]), "submitfuncspecmsg")
    assert benchmark(Codec(UTC).read, body).caller_id == identity.identity(KEY).id


def test_read_a_request_without_its_signature(benchmark: Benchmark) -> None:
    body = _request(CloseSuccessful(processid="a" * 64), "closesuccessfulmsg")
    benchmark(Codec(UTC, verify_signatures=False).read, body)


def test_write_a_reply(benchmark: Benchmark) -> None:
    process = Stage().submit(args=["a", 1, {"b": [2.5]}]).body
    benchmark(Codec(UTC).write, Answer(1, 200, "submitfuncspecmsg", process))


def test_recover_a_signature(benchmark: Benchmark) -> None:
    signature = identity.sign("payload", KEY)
    assert benchmark(crypto.recover, "payload", signature) == identity.identity(KEY).id
