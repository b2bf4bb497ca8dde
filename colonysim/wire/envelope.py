"""Open and seal envelopes, with their base64 payloads (docs/protocol/a-foundation.md 2.1 to 2.3)."""

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
    """The outer JSON object of a request. `payload` is base64 text."""

    payloadtype: str = ""
    payload: str = ""
    signature: str = ""


_DECODER: Final = msgspec.json.Decoder(Envelope)


def open_envelope(body: bytes) -> Envelope:
    """Decode the envelope in a request's body.

    Raises Refusal 400 with the decoder's text if it is malformed; Silence 500 (an empty reply) for `null`.
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
    """Encode a reply's envelope, with its keys in the reference's order."""
    text = base64.b64encode(payload).decode()
    name = msgspec.json.encode(payload_type).decode()
    return f'{{"payloadtype":{name},"payload":"{text}","error":{"true" if error else "false"}}}'.encode()


def open_payload(text: str) -> bytes:
    """Decode a base64 text up to its first error; the reference ignores errors, so none is raised."""
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
    """Encode a payload as base64."""
    return base64.b64encode(payload).decode()
