"""The order of assignment, computed from what was submitted and when.

The policies are those of colonysim.core.policies, implemented again, because the ranks of the core may be wrong. A
user's own policy is called again.
"""

from __future__ import annotations

from typing import Any, Final

from colonysim.core.policies import OwnRank, Shares
from colonysim.core.records import WAITING
from colonysim.core.world import World
from colonysim.invariants.ledger import ProcessRecord

_SECOND_NS: Final = 1_000_000_000
_DAY_NS: Final = 86_400 * _SECOND_NS
_LAST: Final = 2**62


class Ranking:
    """Computes the rank of each process that starts to wait, by the policy of the settings; the lowest goes first."""

    def __init__(self, world: World) -> None:
        self.policy = world.settings.policy
        self._own = world.queues.policy if isinstance(world.queues.policy, OwnRank) else None
        self._turn = 0
        self._last_turns: dict[tuple[str, str], int] = {}
        self._given: dict[str, int] = {}
        if self.policy == "fair":  # turns depend on a history that these records have not seen
            self._turn = world.queues.shares.turn
            self._last_turns.update(world.queues.shares.last_turns)
            self._given = {p.process_id: p.rank for p in world.processes.values() if p.state == WAITING}

    def rank(self, record: ProcessRecord) -> int:
        """Return the rank of a process that starts to wait now."""
        spec = record.process.spec
        rank = record.submitted_ns
        if spec.priority:  # a step of priority is worth a day, in 64 bits
            rank -= spec.priority * _DAY_NS
            if not -(2**63) <= rank < 2**63:
                rank = (rank + 2**63) % 2**64 - 2**63
        if self.policy == "reference":
            return rank
        if self.policy == "fair":
            return self._next_turn(record)
        if self._own is not None:  # it depends on the process alone, so it gives the same rank as in the core
            return self._own(record.process, Shares())
        value_ns = self._deadline(record) if self.policy == "deadline" else _length(record)
        return _LAST + rank if value_ns is None else value_ns

    def _next_turn(self, record: ProcessRecord) -> int:
        if (given := self._given.pop(record.process_id, None)) is not None and not record.story:
            return given
        whose = record.process.colony, record.process.initiator_id
        turn = self._last_turns[whose] = max(self._turn, self._last_turns.get(whose, -1) + 1)
        return turn

    def _deadline(self, record: ProcessRecord) -> int | None:
        return record.wait_ns if record.process.spec.maxwaittime > 0 else None

    def taken(self, rank: int) -> None:
        """Note an assignment, which advances the turns of the policy `fair`."""
        self._turn = rank


def _length(record: ProcessRecord) -> int | None:
    """Return how long a process states that it will run, in nanoseconds."""
    spec = record.process.spec
    expected: Any = (spec.kwargs or {}).get("expected_s")
    if isinstance(expected, (int, float)) and not isinstance(expected, bool) and 0 <= expected < _LAST / 1e9:
        return int(expected * _SECOND_NS)
    return spec.maxexectime * _SECOND_NS if spec.maxexectime > 0 else None
