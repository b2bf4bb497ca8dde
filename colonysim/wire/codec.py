"""Decode requests from bytes and encode replies to bytes, for every transport.

A fast decoder handles what clients normally send. Input that it rejects, or that it would read differently
from the reference, goes to a slower decoder that follows the reference exactly.
"""

from __future__ import annotations

import json
import re
from datetime import tzinfo
from functools import cache
from typing import Any, Final

import msgspec

from colonysim.core.engine import OPERATIONS, refused
from colonysim.core.errors import Refusal, Silence
from colonysim.core.golang import gotypes, units
from colonysim.core.golang.gojson import JsonError
from colonysim.core.protocol import Answer, Echo, Message, Push
from colonysim.core.registry import Operation
from colonysim.wire import crypto
from colonysim.wire.envelope import Envelope, open_envelope, open_payload, seal
from colonysim.wire.views import Views

_LONG_INTEGER: Final = 309
"""How many digits the largest double has before the decimal point."""
_LONG_RUN: Final = re.compile(rb"(?<![0-9])[0-9]{%d}" % _LONG_INTEGER)  # looks at each run once

EMPTY_TYPE: Final = (
    "invalid rpcMsg.PayloadType: empty (this usually means the client is misconfigured - check that "
    "COLONIES_PRVKEY and other environment variables are set correctly)"
)


class Incoming(msgspec.Struct, frozen=True, gc=False):
    """A request that has passed every check that does not need the world. `payload` is the message's JSON text."""

    caller_id: str
    message: Message
    payload: bytes
    has_nul: bool


class Outgoing(msgspec.Struct, frozen=True, gc=False):
    """A reply to send. An empty body has no envelope and no content type."""

    status: int
    body: bytes


class Dropped(Exception):
    """Raised for a message on /pubsub that makes the server close the connection."""


class Codec:
    """Translate between bytes and messages for one server, given its time zone and signature policy."""

    def __init__(self, zone: tzinfo, verify_signatures: bool = True) -> None:
        self.views = Views(zone)
        self.verify_signatures = verify_signatures
        self.presigned: dict[str, tuple[str, str]] = {}  # signature made in this process: (payload, signer's id)

    # ------------------------------------------------------------ in
    def read(self, body: bytes) -> Incoming:
        """Decode the body of a POST to /api. Raises the reference's refusals, in its order."""
        return self._read(open_envelope(body), streamed=False)

    def read_streamed(self, body: bytes) -> Incoming | None:
        """Decode a message that arrived on /pubsub; None if the server ignores it.

        Raises Dropped if the message makes the server close the connection, and the reference's refusals.
        """
        try:
            envelope = open_envelope(body)
            caller_id = self._caller(envelope)
        except Refusal as refusal:
            raise Dropped from refusal
        row = OPERATIONS.get(envelope.payloadtype)
        if row is None or not row.streamed:
            return None
        try:
            return decode_message(row, open_payload(envelope.payload), caller_id)
        except Silence as silence:
            if silence.status == 500:
                raise Dropped from silence
            return None

    def _read(self, envelope: Envelope, streamed: bool) -> Incoming:
        row = OPERATIONS.get(envelope.payloadtype)
        if row is not None and not row.signed:
            return _unsigned(row, envelope)
        caller_id = self._caller(envelope)
        if row is None or row.streamed is not streamed:
            name = envelope.payloadtype
            raise Refusal(403, f"invalid rpcMsg.PayloadType: {name}" if name else EMPTY_TYPE)
        return decode_message(row, open_payload(envelope.payload), caller_id)

    def _caller(self, envelope: Envelope) -> str:
        if self.verify_signatures:
            known = self.presigned.pop(envelope.signature, None) if self.presigned else None
            if known and known[0] == envelope.payload:
                return known[1]
            return crypto.recover(envelope.payload, envelope.signature)
        return envelope.signature

    # ------------------------------------------------------------ out
    def write(self, answer: Answer, payload: bytes = b"") -> Outgoing:
        """Encode the reply to a request. `payload` is the request's text, which an echo reply repeats."""
        if not answer.payload_type:
            return Outgoing(answer.status, b"")
        body = answer.body
        try:
            text = payload if isinstance(body, Echo) else self.views.json(body)
        except Refusal as refusal:
            return self.write(refused(answer.ticket, refusal))
        sealed = seal(answer.payload_type, text, answer.payload_type == "error")
        if answer.copies == 2:
            second = self.views.json(msgspec.structs.replace(body, status=500))
            sealed += seal("error", second, True)
        return Outgoing(answer.status, sealed)

    def write_push(self, push: Push) -> bytes:
        """Encode a message that the server pushes on a stream."""
        return seal(push.payload_type, self.views.json(push.body), False)


def payload_type_of(body: bytes) -> str:
    """Return the payload type that a request names, known or not; "" if the envelope cannot be read."""
    try:
        return open_envelope(body).payloadtype
    except Refusal:
        return ""


# ---------------------------------------------------------------- messages
def _unsigned(row: Operation, envelope: Envelope) -> Incoming:
    if row.name == "getserverinfomsg":  # its payload is never decoded
        return Incoming("", row.message(), b"", False)
    return decode_message(row, open_payload(envelope.payload), "")


def decode_message(row: Operation, payload: bytes, caller_id: str) -> Incoming:
    """Decode a payload into a message of the operation's type.

    Raises Refusal 400 if the payload is not JSON, its type differs from the envelope's, or it is nested too
    deep; Silence 500 (an empty reply) for `null`.
    """
    depth = units.levels(payload)
    if depth and not units.has_room(depth):
        raise Refusal(400, units.NO_ROOM)
    message = _decode_fast(row, payload) if depth <= units.MAX_DEPTH else None
    if message is None:
        message = _decode_exactly(row, payload)
    if message.msgtype != row.name:
        raise Refusal(row.decode_status, row.wrong_msgtype)
    return Incoming(caller_id, message, payload, b"\\u0000" in payload)


def _decode_exactly(row: Operation, payload: bytes) -> Message:
    try:
        message = gotypes.decode(payload, row.message)
    except JsonError as error:
        if row.streamed:
            raise _stream_refusal(row, str(error)) from None
        raise Refusal(400, row.invalid_json) from None
    if message is None:
        if row.null_crashes:
            raise Silence(500)
        return row.message()
    return message  # type: ignore[no-any-return]


def _stream_refusal(row: Operation, text: str) -> Refusal:
    """On /pubsub the reply carries the decoder's own text; one type gets no reply.

    Source: docs/protocol/d-realtime-and-data.md 2.7.
    """
    return Silence(400) if row.name == "subscribeprocessmsg" else Refusal(row.decode_status, text)


def _decode_fast(row: Operation, payload: bytes) -> Message | None:
    """Decode with msgspec; None if it fails or might read the payload differently from the reference."""
    decoder = _decoder(row.name)
    try:
        message: Message = decoder.json.decode(payload)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    if decoder.has_doubles and (b"-0" in payload or _has_long_integer(payload)):
        return None
    if decoder.merging and (b"\\u00" in payload or any(payload.count(key) > 1 for key in decoder.merging)):
        if _repeats_a_key(payload):
            return None
    return message


def _has_long_integer(payload: bytes) -> bool:
    """Whether a text contains an integer that may exceed the range of a double.

    The fast decoder would accept it in a field of free JSON. A run of `_LONG_INTEGER` digits always covers one of
    the sampled bytes, so the whole text is searched only if a sampled byte is a digit.
    """
    samples = payload[_LONG_INTEGER - 1 :: _LONG_INTEGER]
    return len(samples.translate(None, b"0123456789")) != len(samples) and _LONG_RUN.search(payload) is not None


class _FastDecoder(msgspec.Struct, frozen=True):
    """The msgspec decoder of a message type, and what it reads differently from the reference.

    `merging` holds the quoted keys whose values the reference merges when the key is repeated. `has_doubles` says
    whether a field takes a double, so that -0 differs from 0.
    """

    json: Any
    merging: tuple[bytes, ...]
    has_doubles: bool


@cache
def _decoder(name: str) -> _FastDecoder:
    message = OPERATIONS[name].message
    merging: dict[str, None] = {}
    has_doubles = _collect_merging_keys(message, merging)
    keys = tuple(f'"{key}"'.encode() for key in merging)
    return _FastDecoder(msgspec.json.Decoder(message), keys, has_doubles)


def _collect_merging_keys(cls: type[msgspec.Struct], merging: dict[str, None], seen: tuple[type, ...] = ()) -> bool:
    """Add the keys of objects, maps and lists of objects to `merging`.

    Returns whether any field, nested ones included, takes a double or free JSON.
    """
    doubles = False
    for name, shape in gotypes.shapes_of(cls).items():
        while shape.kind in ("list", "map"):
            if shape.kind == "map" or shape.inner.kind in ("struct", "map"):
                merging[name] = None
            shape = shape.inner
        doubles |= shape.kind in ("any", "float")
        if shape.kind == "struct":
            merging[name] = None
            if shape.inner not in seen:
                doubles |= _collect_merging_keys(shape.inner, merging, (*seen, shape.inner))
    return doubles


class _Repeated(Exception):
    pass


def _repeats_a_key(payload: bytes) -> bool:
    """Whether any object in a valid JSON text repeats a key."""

    def check(pairs: list[tuple[str, Any]]) -> None:
        if len({key for key, _ in pairs}) != len(pairs):
            raise _Repeated

    try:
        json.loads(payload, object_pairs_hook=check)
    except (_Repeated, RecursionError):
        return True
    return False
