"""Reads WebSocket frames, and describes protocol violations (RFC 6455) in the words of the reference.

wsproto's reader has one error for every violation; the reference lists all that it finds in a frame.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from colonysim.extras import needed_for

with needed_for("a web server"):
    from wsproto.frame_protocol import Opcode

PROTOCOL_ERROR: Final = 1002
MAX_CONTROL_BYTES: Final = 125
_FIN: Final = 0x80
_RESERVED: Final = ((0x40, "RSV1 set"), (0x20, "RSV2 set"), (0x10, "RSV3 set"))
_MASKED: Final = 0x80
_OPCODES: Final = frozenset(Opcode)
_CLOSE_CODES: Final = frozenset((*range(1000, 1004), *range(1007, 1014), *range(3000, 5000)))
_TOO_LONG: Final = 2**63


class ProtocolViolation(Exception):
    """A frame that violates the protocol. `str` is the reason in the close frame; "" means no close frame."""


class Frame(NamedTuple):
    """A whole message or a control frame."""

    opcode: Opcode
    payload: bytes


class FrameReader:
    """The messages and control frames of one client, in order. Feed it bytes, then ask for the next frame."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._message: Opcode | None = None  # of the message that is not complete yet
        self._payload = bytearray()  # received of it so far

    def feed(self, data: bytes) -> None:
        """Add bytes from the client."""
        self._buffer += data

    @property
    def waiting_bytes(self) -> int:
        """The bytes held of frames and messages that are incomplete."""
        return len(self._buffer) + len(self._payload)

    def next(self) -> Frame | None:
        """Return the next frame, or None if more bytes are needed.

        Raises ProtocolViolation, after which nothing is read.
        """
        while (read := self._frame()) is not None:
            opcode, last, payload = read
            if opcode.iscontrol():
                return Frame(opcode, payload)
            if opcode is not Opcode.CONTINUATION:
                self._message = opcode
            self._payload += payload
            if last:
                assert self._message is not None
                whole = Frame(self._message, bytes(self._payload))
                self._message, self._payload = None, bytearray()
                return whole
        return None

    def _frame(self) -> tuple[Opcode, bool, bytes] | None:
        """Opcode, whether it is the last of its message, and payload of the frame in front of the buffer."""
        buffer = self._buffer
        if len(buffer) < 2:
            return None
        if wrong := self._wrong(buffer[0], buffer[1]):
            raise ProtocolViolation(", ".join(wrong))
        start, size = 2, buffer[1] & 0x7F
        if size > MAX_CONTROL_BYTES:
            start += 2 if size == 126 else 8
            if len(buffer) < start:
                return None
            size = int.from_bytes(buffer[2:start])
            if size >= _TOO_LONG:
                raise ProtocolViolation("")
        start += 4
        if len(buffer) < start + size:
            return None
        opcode, last = Opcode(buffer[0] & 0x0F), bool(buffer[0] & _FIN)
        payload = _unmasked(bytes(buffer[start : start + size]), bytes(buffer[start - 4 : start]))
        del buffer[: start + size]
        return opcode, last, payload

    def _wrong(self, first: int, second: int) -> list[str]:
        """List the violations in the first two bytes of a frame."""
        code, size = first & 0x0F, second & 0x7F
        wrong = [text for bit, text in _RESERVED if first & bit]
        if code not in _OPCODES:
            wrong.append(f"bad opcode {code}")
        elif Opcode(code).iscontrol():
            if size > MAX_CONTROL_BYTES:
                wrong.append("len > 125 for control")
            if not first & _FIN:
                wrong.append("FIN not set on control")
        elif code == Opcode.CONTINUATION and self._message is None:
            wrong.append("continuation after FIN")
        elif code != Opcode.CONTINUATION and self._message is not None:
            wrong.append("data before FIN")
        if not second & _MASKED:
            wrong.append("bad MASK")
        return wrong


def _unmasked(payload: bytes, mask: bytes) -> bytes:
    if not any(mask):
        return payload
    size = len(payload)
    key = (mask * (size // 4 + 1))[:size]
    return (int.from_bytes(payload) ^ int.from_bytes(key)).to_bytes(size)


def close_code(payload: bytes) -> int | None:
    """Return the code of a close frame; None if it has none. Raises ProtocolViolation."""
    if len(payload) < 2:
        return None
    code = int.from_bytes(payload[:2])
    if code not in _CLOSE_CODES:
        raise ProtocolViolation(f"bad close code {code}")
    try:
        payload[2:].decode()
    except UnicodeDecodeError:
        raise ProtocolViolation("invalid utf8 payload in close frame") from None
    return code
