"""Messages from bytes and answers to bytes: what every front calls.

The fast decoder takes what clients really send. Whatever it does not like, and what it would read in
another way than the reference, goes to the exact one.
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
"""The largest double has so many digits before the point."""
_LONG_RUN: Final = re.compile(rb"(?<![0-9])[0-9]{%d}" % _LONG_INTEGER)  # each run is looked at once

EMPTY_TYPE: Final = (
    "invalid rpcMsg.PayloadType: empty (this usually means the client is misconfigured - check that "
    "COLONIES_PRVKEY and other environment variables are set correctly)"
)


class Incoming(msgspec.Struct, frozen=True, gc=False):
    """A request that has passed all checks that need no world. `payload` is the message's text."""

    caller_id: str
    message: Message
    payload: bytes
    has_nul: bool


class Outgoing(msgspec.Struct, frozen=True, gc=False):
    """A reply for the front. An empty body has no envelope and no content type."""

    status: int
    body: bytes


class Dropped(Exception):
    """What has come on /pubsub ends the connection."""


class Codec:
    """Bytes to messages and back, for one server's zone and signature policy."""

    def __init__(self, zone: tzinfo, verify_signatures: bool = True) -> None:
        self.views = Views(zone)
        self.verify_signatures = verify_signatures
        self.vouched: dict[str, tuple[str, str]] = {}  # signatures just made here: payload and signer's id

    # ------------------------------------------------------------ in
    def read(self, body: bytes) -> Incoming:
        """The request in the body of a POST to /api. Refusals as the reference gives them, in its order."""
        return self._read(open_envelope(body), streamed=False)

    def read_streamed(self, body: bytes) -> Incoming | None:
        """The request in a message on /pubsub; None for what is ignored there.

        Errors: Dropped for what ends the connection. Refusals as the reference gives them.
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
            if self.vouched and (known := self.vouched.pop(envelope.signature, None)) and known[0] == envelope.payload:
                return known[1]
            return crypto.recover(envelope.payload, envelope.signature)
        return envelope.signature

    # ------------------------------------------------------------ out
    def write(self, answer: Answer, payload: bytes = b"") -> Outgoing:
        """The reply to a request; `payload` is what an echo repeats."""
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
        """A message on a stream."""
        return seal(push.payload_type, self.views.json(push.body), False)


def payload_type_of(body: bytes) -> str:
    """The type that a request names, served or not; "" where it cannot be read."""
    try:
        return open_envelope(body).payloadtype
    except Refusal:
        return ""


# ---------------------------------------------------------------- messages
def _unsigned(row: Operation, envelope: Envelope) -> Incoming:
    if row.name == "getserverinfomsg":  # its payload is never looked at
        return Incoming("", row.message(), b"", False)
    return decode_message(row, open_payload(envelope.payload), "")


def decode_message(row: Operation, payload: bytes, caller_id: str) -> Incoming:
    """The message in a payload.

    Refusals: 400 where it is no JSON, its type is not the envelope's, or it is nested too deep; an empty 500 for
    `null`.
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
    """On /pubsub the decoder's own text is told; one type keeps silent (d-realtime-and-data 2.7)."""
    return Silence(400) if row.name == "subscribeprocessmsg" else Refusal(row.decode_status, text)


def _decode_fast(row: Operation, payload: bytes) -> Message | None:
    """The message, or None where the fast decoder fails or may read something else than the reference."""
    reader = _reader(row.name)
    try:
        message: Message = reader.decoder.decode(payload)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    if reader.has_doubles and (b"-0" in payload or _has_long_integer(payload)):
        return None
    if reader.merging and (b"\\u00" in payload or any(payload.count(key) > 1 for key in reader.merging)):
        if _repeats_a_key(payload):
            return None
    return message


def _has_long_integer(payload: bytes) -> bool:
    """Whether a text has an integer that may be beyond the range of a double, wherever it stands.

    The fast decoder keeps such a one where free JSON is taken. Each run of so many digits covers one of the places
    that lie as far apart: only where one of those has a digit, the whole text is searched.
    """
    places = payload[_LONG_INTEGER - 1 :: _LONG_INTEGER]
    return len(places.translate(None, b"0123456789")) != len(places) and _LONG_RUN.search(payload) is not None


class _Reader(msgspec.Struct, frozen=True):
    """A message type's decoder, the keys whose repetition means a merge, and whether -0 is not 0 in it."""

    decoder: Any
    merging: tuple[bytes, ...]
    has_doubles: bool


@cache
def _reader(name: str) -> _Reader:
    message = OPERATIONS[name].message
    merging: dict[str, None] = {}
    doubles = _survey(message, merging)
    keys = tuple(f'"{key}"'.encode() for key in merging)
    return _Reader(msgspec.json.Decoder(message), keys, doubles)


def _survey(cls: type[msgspec.Struct], merging: dict[str, None], seen: tuple[type, ...] = ()) -> bool:
    """Collect the keys of objects, maps and lists of objects; whether any field takes a double, free JSON included."""
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
                doubles |= _survey(shape.inner, merging, (*seen, shape.inner))
    return doubles


class _Repeated(Exception):
    pass


def _repeats_a_key(payload: bytes) -> bool:
    """Whether any object of a text that is JSON has a key twice."""

    def check(pairs: list[tuple[str, Any]]) -> None:
        if len({key for key, _ in pairs}) != len(pairs):
            raise _Repeated

    try:
        json.loads(payload, object_pairs_hook=check)
    except (_Repeated, RecursionError):
        return True
    return False
