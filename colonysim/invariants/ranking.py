"""In which order processes are given out, worked out from what was submitted and when.

The policies are those of colonysim.core.policies, written once more: what the core has worked out is not looked at.
A user's own is asked once more.
"""

from __future__ import annotations

from typing import Any, Final

from colonysim.core.policies import OwnRank, Shares
from colonysim.core.records import WAITING
from colonysim.core.world import World
from colonysim.invariants.ledger import Book

_SECOND_NS: Final = 1_000_000_000
_DAY_NS: Final = 86_400 * _SECOND_NS
_LAST: Final = 2**62


class Ranking:
    """The rank of each process that begins to wait, by the policy of the settings; the lowest goes first."""

    def __init__(self, world: World) -> None:
        self.policy = world.settings.policy
        self._own = world.queues.policy if isinstance(world.queues.policy, OwnRank) else None
        self._turn = 0
        self._last_turns: dict[tuple[str, str], int] = {}
        self._given: dict[str, int] = {}
        if self.policy == "fair":  # whose turn it is follows from history alone, which these books did not see
            self._turn = world.queues.shares.turn
            self._last_turns.update(world.queues.shares.last_turns)
            self._given = {p.process_id: p.rank for p in world.processes.values() if p.state == WAITING}

    def rank(self, book: Book) -> int:
        """The rank of a process that begins to wait now."""
        spec = book.process.spec
        rank = book.submitted_ns
        if spec.priority:  # a step of priority is worth a day, in 64 bits
            rank -= spec.priority * _DAY_NS
            if not -(2**63) <= rank < 2**63:
                rank = (rank + 2**63) % 2**64 - 2**63
        if self.policy == "reference":
            return rank
        if self.policy == "fair":
            return self._next_turn(book)
        if self._own is not None:  # a function of the process alone, which gives the same as for the core
            return self._own(book.process, Shares())
        value_ns = self._deadline(book) if self.policy == "deadline" else _length(book)
        return _LAST + rank if value_ns is None else value_ns

    def _next_turn(self, book: Book) -> int:
        if (given := self._given.pop(book.process_id, None)) is not None and not book.story:
            return given
        whose = book.process.colony, book.process.initiator_id
        turn = self._last_turns[whose] = max(self._turn, self._last_turns.get(whose, -1) + 1)
        return turn

    def _deadline(self, book: Book) -> int | None:
        return book.wait_ns if book.process.spec.maxwaittime > 0 else None

    def taken(self, rank: int) -> None:
        """Somebody has been given a process."""
        self._turn = rank


def _length(book: Book) -> int | None:
    """How long it says it will run, ns."""
    spec = book.process.spec
    expected: Any = (spec.kwargs or {}).get("expected_s")
    if isinstance(expected, (int, float)) and not isinstance(expected, bool) and 0 <= expected < _LAST / 1e9:
        return int(expected * _SECOND_NS)
    return spec.maxexectime * _SECOND_NS if spec.maxexectime > 0 else None
