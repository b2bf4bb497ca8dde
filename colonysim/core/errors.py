"""All that a server may say no with."""

from __future__ import annotations

NUL_TEXT = 'pq: invalid byte sequence for encoding "UTF8": 0x00'


class Refusal(Exception):
    """A request is turned down and has changed nothing.

    `status` is the HTTP status and the `status` of the failure object, `text` its message.
    """

    def __init__(self, status: int, text: str) -> None:
        super().__init__(status, text)
        self.status = status
        self.text = text

    def __str__(self) -> str:
        return f"{self.status} {self.text}"


class Silence(Refusal):
    """Answered with a status and an empty body, without an envelope.

    Quirk: 200 where a membership check fails in two of the statistics calls, 500 where the reference
    faults inside a request (docs/protocol/a-foundation.md 2.6).
    """

    def __init__(self, status: int) -> None:
        super().__init__(status, "")


class DoubleRefusal(Refusal):
    """Answered with two envelopes one behind the other, the second with status 500.

    Quirk: what a storage error does to the log calls (docs/protocol/b-processes.md 6.2). The body is no valid JSON.
    """
