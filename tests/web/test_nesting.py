"""Messages of any depth are served or refused in plain words, however they come and whatever has called."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from colonysim import ColonyClient, Simulation, WebServer
from colonysim.core.golang.units import MAX_DEPTH, levels
from colonysim.simulation import stock
from colonysim.wire import identity
from tests.serving import Wire, opened

DEPTHS = (1, 40, 100, 198, 199, 200, 201, 300, 2_000, 9_999)


def schema(depth: int) -> bytes:
    """A definition with a schema, all in all so deep; property and item add one level each."""
    text = '{"items":' * (depth - 6) + "{}" + "}" * (depth - 6)
    spec = '{"names":{"kind":"K"},"schema":{"properties":{"a":' + text + "}}}"
    return ('"blueprintdefinition":{"metadata":{"name":"n","colonyname":"dev"},"spec":' + spec + "}").encode()


def free(depth: int) -> bytes:
    head = '"spec":{"funcname":"f","conditions":{"colonyname":"dev","executortype":"cli"},"args":'
    return (head + "[" * (depth - 2) + "]" * (depth - 2) + "}").encode()


def hidden(depth: int) -> bytes:
    """Texts with brackets, which close and open what they do not."""
    head = b'"spec":{"funcname":"f","conditions":{"colonyname":"dev","executortype":"cli"},"args":'
    return head + b'["]\\"",' * (depth - 3) + b"[]" + b',"["]' * (depth - 3) + b"}"


def unknown(depth: int) -> bytes:
    """A field that no message has."""
    return free(3) + b',"nosuch":' + b"[" * (depth - 1) + b"]" * (depth - 1)


def posted(server: WebServer, kind: str, fields: bytes, key: str) -> tuple[str, Any]:
    payload = b64encode(b'{"msgtype":"' + kind.encode() + b'",' + fields + b"}").decode()
    envelope = {"payloadtype": kind, "payload": payload, "signature": identity.sign(payload, key)}
    with Wire(server) as wire:
        wire.post(json.dumps(envelope).encode())
        status, _, body = wire.reply()
    return status.split()[1], opened(body)


@pytest.mark.parametrize("depth", DEPTHS)
@pytest.mark.parametrize(
    ("name", "fields", "least", "owner"),
    [
        ("addblueprintdefinitionmsg", schema, 6, True),
        ("submitfuncspecmsg", free, 3, False),
        ("submitfuncspecmsg", hidden, 4, False),
    ],
)
def test_what_is_kept_lies_as_deep_as_is_allowed_or_is_refused(
    server: WebServer, name: str, fields: Callable[[int], bytes], least: int, owner: bool, depth: int
) -> None:
    key = stock.COLONY_OWNER.private_key if owner else stock.USER_IDENTITY.private_key
    status, body = posted(server, name, fields(max(depth, least)), key)
    if depth <= MAX_DEPTH:
        assert status == "200", body
    else:
        assert (status, body["message"]) == (
            "400",
            "lists and objects in a message may be nested at most 200 levels deep",
        )


@pytest.mark.parametrize("depth", DEPTHS)
def test_a_field_that_no_message_has_may_be_as_deep_as_in_the_reference(server: WebServer, depth: int) -> None:
    assert posted(server, "submitfuncspecmsg", unknown(max(depth, 2)), stock.USER_IDENTITY.private_key)[0] == "200"


def _below(frames: int, work: Callable[[], None]) -> None:
    if frames:
        _below(frames - 1, work)
    else:
        work()


@pytest.mark.parametrize("frames", range(0, 800, 80))
def test_a_deep_caller_gets_an_answer_or_a_clear_error_and_nothing_changes(frames: int) -> None:
    sim = Simulation(mode="manual")
    stock.install(sim)
    colony = ColonyClient.stock(sim)
    value: Any = []
    for _ in range(150):
        value = [value]
    before = len(sim.world.processes)

    refused: list[str] = []

    def submit() -> None:
        try:
            colony.submit("f", [value])
        except ValueError as error:
            refused.append(str(error))

    _below(frames, submit)
    assert all("nested too deeply for" in text for text in refused)
    assert len(sim.world.processes) == before + (not refused)


JSON = st.recursive(
    st.none() | st.text('[]{}"\\a'),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text('[]{}"\\'), inner, max_size=4),
    max_leaves=80,
)


def _depth(value: Any) -> int:
    if isinstance(value, dict):
        value = list(value.values())
    return 1 + max(map(_depth, value), default=0) if isinstance(value, list) else 0


@given(JSON)
def test_levels_are_counted_whatever_stands_in_texts(value: Any) -> None:
    padded = [value, *[[]] * 60]
    assert levels(json.dumps(padded).encode()) == max(2, 1 + _depth(value))
