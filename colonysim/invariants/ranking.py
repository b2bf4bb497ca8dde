"""The order of assignment, computed from what was submitted and when.

The policies are those of colonysim.core.policies, implemented again, because the ranks of the core may be wrong. A
user's own policy is called again; if it takes the state of policies, with a state that is counted here again.
"""

from __future__ import annotations

from copy import deepcopy
from typing import Any, Final

from colonysim.core.policies import OwnRank
from colonysim.core.records import WAITING, Process
from colonysim.core.shares import Shares
from colonysim.core.world import World
from colonysim.invariants.ledger import ProcessRecord

_SECOND_NS: Final = 1_000_000_000
_DAY_NS: Final = 86_400 * _SECOND_NS
_LAST: Final = 2**62
_BY_TURNS: Final = ("fair", "weighted_fair")


class Ranking:
    """Computes the rank of each process that starts to wait, by the policy of the settings; the lowest goes first."""

    def __init__(self, world: World) -> None:
        self.policy = world.settings.policy
        self._world = world
        self._own = world.queues.policy if isinstance(world.queues.policy, OwnRank) else None
        self._turn = 0
        self._last_turns: dict[tuple[str, str], int] = {}
        self._given: dict[str, int] = {}
        self._use: Use | None = None
        self._state = Shares()
        has_state = self._own is not None and self._own.takes_state
        if self.policy in _BY_TURNS or self.policy == "multifactor" or has_state:
            # they depend on a history that these records have not seen
            self._turn = world.queues.shares.turn
            self._last_turns.update(world.queues.shares.last_turns)
            self._given = {p.process_id: p.rank for p in world.processes.values() if p.state == WAITING}
        if self.policy == "multifactor":
            self._use = Use(world)
        elif has_state:
            self._state = _copied(world)
        self._counts = has_state
        self.counts_use: Final = self._use is not None or has_state
        """Whether it must be told of each process that starts or stops to run."""
        self._weights: Final = world.settings.policy_rules.user_weights

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
        if self._given and (given := self._given.pop(record.process_id, None)) is not None and not record.story:
            return given
        if self.policy in _BY_TURNS:
            return self._next_turn(record)
        if self._use is not None:
            return self._use.rank(record)
        if self._own is not None:  # it depends on the process and the state, so it gives the same rank as in the core
            self._state.now_ns = self._world.now_ns
            return self._own(record.process, self._state)
        value_ns = self._deadline(record) if self.policy == "deadline" else _length(record)
        return _LAST + rank if value_ns is None else value_ns

    def _next_turn(self, record: ProcessRecord) -> int:
        process = record.process
        whose = process.colony, process.initiator_id
        if self.policy == "fair":
            turn = max(self._turn, self._last_turns.get(whose, -1) + 1)
        else:  # the time at which it would end if each user had a machine as fast as the user's weight
            stated_s = _stated(record)
            length_s = 1.0 if stated_s is None else stated_s
            began = max(self._turn, self._last_turns.get(whose, 0))
            turn = began + round(length_s * _SECOND_NS / self._weights.get(process.initiator_name, 1.0))
        self._last_turns[whose] = turn
        return turn

    def _deadline(self, record: ProcessRecord) -> int | None:
        return record.wait_ns if record.process.spec.maxwaittime > 0 else None

    def taken(self, rank: int) -> None:
        """Note an assignment, which advances the turns of policies that have them."""
        self._turn = rank

    def started(self, process: Process, now_ns: int) -> None:
        """Note that a process runs."""
        if self._use is not None:
            self._use.since[process.process_id] = now_ns
        elif self._counts:
            self._state.start(process, now_ns)

    def stopped(self, process: Process, now_ns: int) -> None:
        """Note that a process runs no longer."""
        if self._use is not None:
            self._use.stopped(process, now_ns)
        elif self._counts:
            self._state.stop(process, now_ns)


class Use:
    """Who has used how much, for the policy `multifactor`: the sum over all attempts that have ended.

    An attempt counts twice as much as one that ended a half-life earlier, so nothing has to be halved as time passes.
    """

    def __init__(self, world: World) -> None:
        self.settings = world.settings
        rules = world.settings.policy_rules
        self.weights, self.user_weights = rules.factor_weights, rules.user_weights
        shares = world.queues.shares
        self.used = {whose: one.used for whose, one in shares.submitters.items()}
        self.entitled = {whose: one.weight for whose, one in shares.submitters.items()}
        self.total, self.from_ns = shares.used_by_all, shares.scaled_from_ns
        self.since = dict(shares.running_since)

    def _known(self, process: Process) -> tuple[str, str]:
        whose = process.colony, process.initiator_id
        if whose not in self.used:
            self.used[whose] = 0.0
            self.entitled[whose] = self.user_weights.get(process.initiator_name, 1.0)
        return whose

    def stopped(self, process: Process, now_ns: int) -> None:
        whose = self._known(process)
        cpus = process.resources.cpu_milli / 1000 if process.resources.cpu_milli else 1.0
        cpu_s = (now_ns - self.since.pop(process.process_id)) / _SECOND_NS * cpus
        halvings = (now_ns - self.from_ns) / (self.settings.usage_half_life_s * _SECOND_NS)
        if halvings > 400.0:  # so that floats can hold the sums
            factor = 0.5 ** min(halvings, 1000.0)
            self.used = {name: one * factor for name, one in self.used.items()}
            self.total *= factor
            self.from_ns, halvings = now_ns, 0.0
        counted = cpu_s * 2.0**halvings
        self.used[whose] += counted
        self.total += counted

    def rank(self, record: ProcessRecord) -> int:
        """Return minus the sum of the weighted factors, in millionths, up to what all processes have in common."""
        process, weight = record.process, self.weights.get
        whose = self._known(process)
        used = self.used[whose] / self.total if self.total else 0.0
        entitled, everybody = self.entitled[whose], 0.0
        for one in self.entitled.values():
            everybody += one
        fair_share: float = 0.5 ** (used / (entitled / everybody))
        size = min(1.0, (process.resources.cpu_milli / 1000 or 1.0) / self.settings.full_size_cpus)
        rest = weight("fair_share", 0.0) * fair_share + weight("size", 0.0) * size
        age_weight = round(weight("age", 0.0) * 1e6)
        age = age_weight * record.submitted_ns // (self.settings.full_age_s * _SECOND_NS)
        return age - round(rest * 1e6) - round(weight("priority", 0.0) * 1e6) * process.spec.priority


def _copied(world: World) -> Shares:
    """Return a state of policies as it is now, which goes on by what is noted here."""
    old = world.queues.shares
    new = Shares(world.settings.policy_rules)
    new.submitters, new.weight_of_all = deepcopy(old.submitters), old.weight_of_all
    new.used_by_all, new.scaled_from_ns = old.used_by_all, old.scaled_from_ns
    new.running_since, new.memory = dict(old.running_since), deepcopy(old.memory)
    return new


def _stated(record: ProcessRecord) -> float | None:
    """Return how long a process states that it will run, in seconds."""
    spec = record.process.spec
    expected: Any = (spec.kwargs or {}).get("expected_s")
    if isinstance(expected, (int, float)) and not isinstance(expected, bool) and 0 <= expected < _LAST / 1e9:
        return expected
    return spec.maxexectime if spec.maxexectime > 0 else None


def _length(record: ProcessRecord) -> int | None:
    """Return the same in nanoseconds."""
    stated_s = _stated(record)
    return None if stated_s is None else int(stated_s * _SECOND_NS)
