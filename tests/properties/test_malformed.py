"""Whatever comes in, an answer that the facts know goes out, and a refused message changes nothing."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from colonysim import ColonyClient, Simulation
from colonysim.core.engine import OPERATIONS
from colonysim.core.golang import gotypes
from colonysim.core.golang.gojson import JsonError, scan
from colonysim.core.registry import Operation
from colonysim.web.endpoint import Endpoint
from colonysim.wire import codec

KNOWN_STATUSES = {200, 400, 403, 404, 409, 500, 503}
NAMES = sorted(name for name, row in OPERATIONS.items() if not row.streamed)
USER = "1" * 64

simple = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
values = st.recursive(
    simple,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


def fields_of(cls: type, depth: int = 3) -> st.SearchStrategy[dict[str, Any]]:
    """Messages of a type, with fields left out, of wrong types, and in odd spellings."""
    parts: dict[str, st.SearchStrategy[Any]] = {}
    for name, shape in gotypes.shapes_of(cls).items():
        parts[name] = _field(shape, depth) | values
    spelled = st.sampled_from([str.lower, str.upper, str.title, str])
    return st.builds(
        lambda full, left_out, spell: {spell(k): v for k, v in full.items() if k not in left_out},
        st.fixed_dictionaries(parts),
        st.sets(st.sampled_from(sorted(parts)) if parts else st.nothing(), max_size=6),
        spelled,
    )


def _field(shape: gotypes.GoShape, depth: int) -> st.SearchStrategy[Any]:
    if shape.kind == "struct":
        return fields_of(shape.inner, depth - 1) if depth else st.just({})
    if shape.kind == "list":
        return st.lists(_field(shape.inner, depth), max_size=2)
    if shape.kind == "map":
        return st.dictionaries(st.text(max_size=3), _field(shape.inner, depth), max_size=2)
    return {
        "string": st.sampled_from(["c", "", "x", "\0", "e", "10Gi", "5m", "*", "0 0 * * * *", "a:b", "{}"]) | st.text(),
        "int": st.sampled_from([0, 1, -1, 2, 100, 101, 2**31, 2**63 - 1, -(2**63)]) | st.integers(-(2**64), 2**64),
        "bool": st.booleans(),
        "float": st.floats(allow_nan=False, allow_infinity=False),
        "time": st.sampled_from(["2026-01-01T00:00:00Z", "", "9999-12-31T23:59:59-02:00", "0000-01-01T00:00:00Z"]),
        "bytes": st.sampled_from(["eA==", [1, 2], [256], "?"]),
        "any": values,
    }[shape.kind]


@pytest.fixture(scope="module")
def simulation() -> Simulation:
    sim = Simulation(mode="manual", verify_signatures=False)
    colony = ColonyClient.create(sim, "c")
    executor = colony.add_executor("t", "e")
    colony.submit("f", executortype="t")
    executor.assign()
    return sim


def _exchange(sim: Simulation, body: bytes) -> None:
    """Ask; check that the answer is one the facts know, and that a refusal leaves no trace."""
    before = sim.snapshot()
    endpoint = Endpoint(sim)
    begun = endpoint.begin(body, outside=False)
    if isinstance(begun, tuple):
        pending, incoming = begun
        if pending.answer is None:
            sim.abandon(pending)
            return
        reply = endpoint.finish(pending, incoming)
    else:
        reply = begun
    assert reply is not None
    assert reply.status in KNOWN_STATUSES
    if not reply.body:
        assert reply.status in (200, 500)
    elif reply.body.count(b'{"payloadtype"') == 1:
        envelope = json.loads(reply.body)
        shown = json.loads(base64.b64decode(envelope["payload"]))
        assert envelope["error"] is (envelope["payloadtype"] == "error")
        if envelope["error"]:
            assert shown["status"] == reply.status
            assert isinstance(shown["message"], str)
            assert shown["message"]
    if reply.status != 200:
        assert _without_ids(sim.snapshot(), before)


def _without_ids(after: bytes, before: bytes) -> bool:
    return after == before


def _callers(sim: Simulation) -> list[str]:
    world = sim.world
    users = [user.userid for user in world.users.values()]
    return [world.server_id, world.colonies["c"].colonyid, *users, *world.executors_by_id, "stranger"]


@pytest.mark.parametrize("name", NAMES)
def test_messages_of_any_shape(name: str, simulation: Simulation) -> None:
    callers = _callers(simulation)

    @given(message=fields_of(OPERATIONS[name].message), caller=st.sampled_from(callers), keep_type=st.booleans())
    @hypothesis_settings(max_examples=40)
    def check(message: dict[str, Any], caller: str, keep_type: bool) -> None:
        if keep_type:
            message = {key: value for key, value in message.items() if key.lower() != "msgtype"} | {"msgtype": name}
        payload = base64.b64encode(json.dumps(message).encode()).decode()
        fork = simulation.fork()
        _exchange(fork, json.dumps({"payloadtype": name, "payload": payload, "signature": caller}).encode())

    check()


@given(body=st.binary(max_size=60) | st.text(max_size=60).map(lambda text: text.encode("utf-8", "surrogatepass")))
@hypothesis_settings(max_examples=500)
def test_bodies_of_any_bytes(body: bytes) -> None:
    _exchange(SIGNED, body)


@given(
    name=st.sampled_from(NAMES),
    payload=st.binary(max_size=40),
    signature=st.text(alphabet="0123456789abcdefxyzÅ", max_size=132) | st.just("00" * 65) | st.just("ff" * 65),
    garbage=st.text(alphabet="=+/-_ \n!a", max_size=8),
)
@hypothesis_settings(max_examples=500)
def test_envelopes_of_any_content(name: str, payload: bytes, signature: str, garbage: str) -> None:
    text = base64.b64encode(payload).decode() + garbage
    _exchange(SIGNED, json.dumps({"payloadtype": name, "payload": text, "signature": signature}).encode())


SIGNED = Simulation(mode="manual")


# ---------------------------------------------------------------- the two decoders
def _outcome(row: Operation, payload: bytes) -> Any:
    try:
        return gotypes.decode(payload, row.message)
    except JsonError:
        return "refused"


@pytest.mark.parametrize("name", NAMES)
def test_the_fast_decoder_reads_what_the_exact_one_reads(name: str) -> None:
    row = OPERATIONS[name]

    @given(message=fields_of(row.message), doubled=st.booleans())
    @hypothesis_settings(max_examples=40)
    def check(message: dict[str, Any], doubled: bool) -> None:
        text = json.dumps(message)
        if doubled and message:  # every key twice: what comes later merges into what came before
            text = text[:-1] + ", " + text[1:]
        fast = codec._decode_fast(row, text.encode())
        if fast is not None:
            assert fast == _outcome(row, text.encode())

    check()


@given(text=st.text(alphabet='{}[]",:0123456789.eE+-truefalsn\\ud8 \n', max_size=30))
@hypothesis_settings(max_examples=1000)
def test_the_scanner_takes_what_is_json_and_nothing_else(text: str) -> None:
    def refuse(name: str) -> None:
        raise ValueError(name)

    try:
        json.loads(text, parse_constant=refuse, strict=True)
        valid = True
    except ValueError:
        valid = False
    try:
        scan(text.encode())
        scanned = True
    except JsonError:
        scanned = False
    assert scanned is valid
