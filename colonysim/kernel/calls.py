"""The latest calls, kept to be looked at, within bounds of number and of memory."""

from __future__ import annotations

import heapq
import sys
from collections import deque
from typing import Any, Final

import msgspec

from colonysim.core.protocol import Empty, ErrorBody
from colonysim.core.records import Process
from colonysim.core.replies import AssignReply
from colonysim.core.types import Timestamp
from colonysim.kernel.pending import Call

CALLS_KEPT: Final = 10_000
CALLS_KEPT_BYTES: Final = 64 * 2**20
"""What the messages and replies of the kept calls may hold together, as `held_bytes` estimates it."""

LARGE_BYTES: Final = 6 * 2**10
"""A message of which the JSON is longer is large: as many as are kept may hold the whole of CALLS_KEPT_BYTES."""

HUGE_BYTES: Final = 2**20

_NEVER_LARGE: Final[frozenset[type]] = frozenset({Empty, type(None)})
_SMALL_AS_ASKED: Final = _NEVER_LARGE | {Process, AssignReply, ErrorBody}
_BYTES_PER_VALUE: Final = 64
_FEW_VALUES: Final = 16


def _plain(value: Any) -> Any:
    """What JSON has no form for."""
    return [value.ns, value.offset_s] if isinstance(value, Timestamp) else repr(value)


ENCODER: Final = msgspec.json.Encoder(enc_hook=_plain)
"""Writes messages and replies as JSON, for journals and to estimate their size."""


class Calls(deque[Call]):
    """The latest calls, oldest first; the oldest go when there are too many, or when they hold too much.

    To weigh a call takes about as long as to serve it. While no large message has come, replies of the types in
    `small` are not large and are not weighed; after one, all is weighed for as many calls as are kept, and after a
    huge one for good. The pictures of a process that many small messages have made large are weighed always (see
    `may_have_grown`). A call that is too large by itself stays without its message and its reply.
    """

    __slots__ = ("_calm_left", "_weighed", "held_bytes", "small")  # found faster than in a dict

    def __init__(self) -> None:
        super().__init__(maxlen=CALLS_KEPT)
        self.small = _SMALL_AS_ASKED
        self.held_bytes = 0
        self._weighed: list[tuple[int, int]] = []  # a heap: the number of a call, and what it holds
        self._calm_left = 0  # calls to weigh until none is expected to be large

    def expect(self, size: int) -> None:
        """A message, or a whole state, comes that is so many bytes long."""
        if size > LARGE_BYTES:
            self.small = frozenset()
            self._calm_left = max(self._calm_left, CALLS_KEPT if size <= HUGE_BYTES else sys.maxsize)

    def clear(self) -> None:
        super().clear()
        self._weighed.clear()
        self.held_bytes = 0

    def weigh(self, call: Call) -> None:
        """A call has its reply: count what it holds, and let go what is too much."""
        size = _held_bytes(call.message) + _held_bytes(call.body)
        self._calm_left -= 1
        if self._calm_left <= 0:
            self.small = _SMALL_AS_ASKED
        if size > CALLS_KEPT_BYTES:
            call.message, call.body, size = b"", None, 0
        self.held_bytes += size
        heapq.heappush(self._weighed, (call.number, size))
        while self and (self._weighed[0][0] < self[0].number or self.held_bytes > CALLS_KEPT_BYTES):
            number, size = heapq.heappop(self._weighed)
            self.held_bytes -= size
            while self and self[0].number <= number:
                self.popleft()


def may_have_grown(body: Any) -> bool:
    """Whether a reply is a picture of a process with many attributes, relatives, or outputs of its parents.

    Each of them may have come with a small message of its own.
    """
    process = body.process if type(body) is AssignReply else body
    if type(process) is not Process or not (process.attributes or process.graph_id):
        return False
    values = len(process.attributes) + len(process.input or ()) + len(process.parents) + len(process.children)
    return values > _FEW_VALUES


def _held_bytes(value: Any) -> int:
    """About what a message or a reply takes in memory: its JSON, and a fixed amount for each value in it."""
    if type(value) in _NEVER_LARGE:
        return 0
    try:
        text = ENCODER.encode(value)
    except (ValueError, OverflowError, RecursionError, TypeError):
        text = ascii(value).encode()
    return len(text) + _BYTES_PER_VALUE * (text.count(b",") + text.count(b"[") + text.count(b"{"))
