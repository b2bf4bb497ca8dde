"""Keep the latest calls for inspection, within limits of number and memory."""

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
"""The most memory for the messages and replies of the kept calls, as estimated by `held_bytes`."""

LARGE_BYTES: Final = 6 * 2**10
"""A message with longer JSON is large: CALLS_KEPT of this size may fill CALLS_KEPT_BYTES."""

HUGE_BYTES: Final = 2**20

_NEVER_LARGE: Final[frozenset[type]] = frozenset({Empty, type(None)})
_SMALL_AFTER_SMALL_MESSAGES: Final = _NEVER_LARGE | {Process, AssignReply, ErrorBody}
_BYTES_PER_VALUE: Final = 64
_FEW_VALUES: Final = 16


def _encodable(value: Any) -> Any:
    """Convert a value that JSON cannot represent."""
    return [value.ns, value.offset_s] if isinstance(value, Timestamp) else repr(value)


ENCODER: Final = msgspec.json.Encoder(enc_hook=_encodable)
"""Writes messages and replies as JSON, for journals and to estimate their size."""


class Calls(deque[Call]):
    """The latest calls, oldest first. The oldest are dropped if there are too many, or if they hold too much memory.

    Measuring a call (`weigh`) takes about as long as serving it. As long as no large message has come, replies of the
    types in `small` cannot be large and are not measured. After a large message, the next CALLS_KEPT calls are all
    measured; after a huge one, all calls. A process that many small messages have made large is always measured (see
    `may_have_grown`). A call that exceeds the limit alone is kept without its message and its reply.
    """

    __slots__ = ("_weigh_left", "_weighed", "held_bytes", "small")  # faster than attributes in a dict

    def __init__(self) -> None:
        super().__init__(maxlen=CALLS_KEPT)
        self.small = _SMALL_AFTER_SMALL_MESSAGES
        self.held_bytes = 0
        self._weighed: list[tuple[int, int]] = []  # a heap of (call number, bytes held)
        self._weigh_left = 0  # number of calls for which all replies are measured

    def expect(self, size: int) -> None:
        """Prepare for a message, or a restored state, of `size` bytes."""
        if size > LARGE_BYTES:
            self.small = frozenset()
            self._weigh_left = max(self._weigh_left, CALLS_KEPT if size <= HUGE_BYTES else sys.maxsize)

    def __getitem__(self, place: Any) -> Any:
        """Return the call at an index, or the list of those in a slice, such as `calls[-2:]`."""
        return list(self)[place] if isinstance(place, slice) else super().__getitem__(place)

    def clear(self) -> None:
        """Drop all calls."""
        super().clear()
        self._weighed.clear()
        self.held_bytes = 0

    def weigh(self, call: Call) -> None:
        """Measure a call that has its reply, and drop the oldest calls beyond the limit of memory."""
        size = _held_bytes(call.message) + _held_bytes(call.body)
        self._weigh_left -= 1
        if self._weigh_left <= 0:
            self.small = _SMALL_AFTER_SMALL_MESSAGES
        if size > CALLS_KEPT_BYTES:
            call.message, call.body, size = b"", None, 0
        self.held_bytes += size
        heapq.heappush(self._weighed, (call.number, size))
        oldest = super().__getitem__
        while self and (self._weighed[0][0] < oldest(0).number or self.held_bytes > CALLS_KEPT_BYTES):
            number, size = heapq.heappop(self._weighed)
            self.held_bytes -= size
            while self and oldest(0).number <= number:
                self.popleft()


def may_have_grown(body: Any) -> bool:
    """Return whether a reply is a process with many attributes, relatives, or inputs from its parents.

    Each of these may have come with a small message, so no large message announced this reply.
    """
    process = body.process if type(body) is AssignReply else body
    if type(process) is not Process or not (process.attributes or process.graph_id):
        return False
    values = len(process.attributes) + len(process.input or ()) + len(process.parents) + len(process.children)
    return values > _FEW_VALUES


def _held_bytes(value: Any) -> int:
    """Estimate the memory of a message or reply: the length of its JSON, plus a fixed amount for each value."""
    if type(value) in _NEVER_LARGE:
        return 0
    try:
        text = ENCODER.encode(value)
    except (ValueError, OverflowError, RecursionError, TypeError):
        text = ascii(value).encode()
    return len(text) + _BYTES_PER_VALUE * (text.count(b",") + text.count(b"[") + text.count(b"{"))
