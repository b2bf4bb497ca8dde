"""The history of a simulation, a line for each thing that went in or came out.

Two runs with one seed have the same lines, and so the same digest.
"""

from __future__ import annotations

import hashlib
from typing import Any, Final

import msgspec

from colonysim.core.protocol import Answer, Delivery, Message, Push
from colonysim.core.registry import BY_MESSAGE

_ENCODER: Final = msgspec.json.Encoder(order="deterministic", enc_hook=repr)


class Journal:
    """An event log of JSON lines: what was asked, what was answered, and when."""

    def __init__(self) -> None:
        self._digest = hashlib.sha256()
        self.lines: list[bytes] = []

    def asked(self, now_ns: int, ticket: int, caller_id: str, message: Message) -> None:
        name = BY_MESSAGE[type(message)].name
        self._write({"at": now_ns, "ask": ticket, "caller": caller_id, "type": name, "message": message})

    def told(self, now_ns: int, deliveries: list[Delivery]) -> None:
        for delivery in deliveries:
            if isinstance(delivery, Answer):
                line: dict[str, Any] = {"at": now_ns, "answer": delivery.ticket, "status": delivery.status}
                line |= {"type": delivery.payload_type, "body": delivery.body}
            elif isinstance(delivery, Push):
                line = {"at": now_ns, "push": delivery.stream, "type": delivery.payload_type, "body": delivery.body}
            else:
                line = {"at": now_ns, type(delivery).__name__.lower(): delivery.stream}
            self._write(line)

    def moved(self, now_ns: int) -> None:
        """Time was moved by hand."""
        self._write({"at": now_ns})

    def struck(self, now_ns: int, line: dict[str, Any]) -> None:
        """A fault has done something."""
        self._write({"at": now_ns} | line)

    def digest(self) -> str:
        """SHA-256 of all lines so far."""
        return self._digest.hexdigest()

    def _write(self, line: dict[str, Any]) -> None:
        text = _ENCODER.encode(line)
        self.lines.append(text)
        self._digest.update(text)
        self._digest.update(b"\n")
