"""The outer layer: envelopes, base64 and what surrounds a payload (a-foundation 2.1 to 2.3)."""

from __future__ import annotations

import base64
import binascii
from typing import Final

import msgspec

from colonysim.core.errors import Refusal, Silence
from colonysim.core.golang.gojson import JsonError
from colonysim.core.golang.gotypes import decode as decode_exactly

_ALPHABET: Final = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/")


class Envelope(msgspec.Struct, frozen=True, forbid_unknown_fields=True, gc=False):
    payloadtype: str = ""
    payload: str = ""
    signature: str = ""


_DECODER: Final = msgspec.json.Decoder(Envelope)


def open_envelope(body: bytes) -> Envelope:
    """The envelope in a request's body.

    Refusals: 400 with the decoder's text; 500 and an empty body for the text `null`.
    """
    try:
        return _DECODER.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        pass
    try:
        envelope = decode_exactly(body, Envelope)
    except JsonError as error:
        raise Refusal(400, str(error)) from None
    if envelope is None:
        raise Silence(500)
    return envelope  # type: ignore[no-any-return]


def seal(payload_type: str, payload: bytes, error: bool) -> bytes:
    """A reply's envelope, in the order of keys of the reference."""
    text = base64.b64encode(payload).decode()
    name = msgspec.json.encode(payload_type).decode()
    return f'{{"payloadtype":{name},"payload":"{text}","error":{"true" if error else "false"}}}'.encode()


def open_payload(text: str) -> bytes:
    """The bytes of a base64 text, as many as stand before the first mistake; no mistake is reported."""
    try:
        raw = text.encode("ascii")
        if len(raw) % 4 == 0:
            return binascii.a2b_base64(raw, strict_mode=True)
    except (UnicodeEncodeError, binascii.Error):
        pass
    raw = text.replace("\r", "").replace("\n", "").encode("utf-8", "surrogatepass")
    good = 0
    while good + 4 <= len(raw) and _ALPHABET.issuperset(raw[good : good + 4]):
        good += 4
    last = raw[good : good + 4]
    digits = last.rstrip(b"=")
    if len(last) == 4 and 2 <= len(digits) <= 3 and _ALPHABET.issuperset(digits):
        good += 4
    return binascii.a2b_base64(raw[:good])


def close_payload(payload: bytes) -> str:
    return base64.b64encode(payload).decode()
