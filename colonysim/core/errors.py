"""Refusals: the errors that a request can be answered with."""

from __future__ import annotations

NUL_TEXT = 'pq: invalid byte sequence for encoding "UTF8": 0x00'


class Refusal(Exception):
    """The server refuses a request, which has then changed nothing unless a quirk says otherwise.

    `status` is the HTTP status and the `status` in the error body, `text` its message.
    """

    def __init__(self, status: int, text: str) -> None:
        super().__init__(status, text)
        self.status = status
        self.text = text

    def __str__(self) -> str:
        return f"{self.status} {self.text}"


class Silence(Refusal):
    """A refusal with a status and an empty body, without an envelope.

    Quirk: 200 if a membership check fails in two of the statistics calls, 500 if the reference crashes inside a
    request (docs/protocol/a-foundation.md 2.6).
    """

    def __init__(self, status: int) -> None:
        super().__init__(status, "")


class DoubleRefusal(Refusal):
    """A refusal with two concatenated envelopes, the second with status 500, so that the body is not valid JSON.

    Quirk: log calls answer a storage error this way (docs/protocol/b-processes.md 6.2).
    """
