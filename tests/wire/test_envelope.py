"""Envelopes and base64: docs/protocol/a-foundation.md 2.1 to 2.3."""

from __future__ import annotations

import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from colonysim.core.errors import Refusal, Silence
from colonysim.wire.envelope import Envelope, open_envelope, open_payload, seal


@pytest.mark.parametrize(
    "body",
    [
        b'{"payloadtype":"t","payload":"p","signature":"s"}',
        b'{"PAYLOADTYPE":"t","Payload":"p","sIGNATURE":"s"}',
        b' {"signature" : "s",\t"payload":"p" , "payloadtype":"t"}\r\n',
        b'{"payloadtype":"x","payloadtype":"t","payload":"p","payload":null,"signature":"s"}',
        b'{"version":9,"error":true,"msg":{"a":[]},"payloadtype":"t","payload":"p","signature":"s"}',
        b'{"payloadtype":"\\u0074","payload":"p","signature":"s"}',
    ],
)
def test_spellings_of_one_envelope(body: bytes) -> None:
    assert open_envelope(body) == Envelope("t", "p", "s")


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b"", "unexpected end of JSON input"),
        (b"true", "json: cannot unmarshal bool into Go value of type rpc.RPCMsg"),
        (b"[]", "json: cannot unmarshal array into Go value of type rpc.RPCMsg"),
        (b'{"payloadtype":5}', "json: cannot unmarshal number into Go struct field RPCMsg.payloadtype of type string"),
        (b'{"PayloadType":5}', "json: cannot unmarshal number into Go struct field RPCMsg.payloadtype of type string"),
        (b'{"payload":{},"signature":1}', "json: cannot unmarshal object into Go struct field RPCMsg.payload of type string"),
        (b'{"payload":5}}', "invalid character '}' after top-level value"),
    ],
)  # fmt: skip
def test_bad_envelopes(body: bytes, text: str) -> None:
    with pytest.raises(Refusal) as refused:
        open_envelope(body)
    assert (refused.value.status, refused.value.text) == (400, text)


def test_null_gives_an_empty_500() -> None:
    with pytest.raises(Silence) as silence:
        open_envelope(b"null")
    assert silence.value.status == 500


@pytest.mark.parametrize(
    ("text", "raw"),
    [
        ("eyJhIjoxfQ==", b'{"a":1}'),
        ("eyJh\r\nIjoxfQ==\n", b'{"a":1}'),
        ("eyJhIjoxfR==", b'{"a":1}'),  # spare bits
        ("eyJhIjoxfQ==!!!!", b'{"a":1}'),
        ("eyJhIjoxfQ==eyJh", b'{"a":1}'),
        ("eyJhIjoxfQ", b'{"a":1'),
        ("eyJhIjoxfQ=", b'{"a":1'),
        ("eyJh!joxfQ==", b'{"a'),
        ("eyJh Ijox", b'{"a'),
        ("____", b""),
        ("!", b""),
        ("", b""),
        ("====", b""),
        ("A===", b""),
        ("å", b""),
    ],
)
def test_base64_is_read_up_to_the_first_mistake(text: str, raw: bytes) -> None:
    assert open_payload(text) == raw


@given(st.binary())
def test_whole_payloads_are_read_as_they_are(raw: bytes) -> None:
    assert open_payload(base64.b64encode(raw).decode()) == raw


def test_a_sealed_reply_has_three_keys_in_order() -> None:
    assert seal("t", b"{}", False) == b'{"payloadtype":"t","payload":"e30=","error":false}'
    assert json.loads(seal('a"b', b"x", True)) == {"payloadtype": 'a"b', "payload": "eA==", "error": True}
