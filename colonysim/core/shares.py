"""What policies may know besides the process: the turns, weights and use of those who submit, and a memory.

It is part of the server's state, and is stored with it.
"""

from __future__ import annotations

from math import isfinite
from typing import Any, Final, NamedTuple

import msgspec

from colonysim.core.records import SECOND_NS, Process

FACTORS: Final = ("age", "fair_share", "size", "priority")
"""What the policy `multifactor` adds up."""
MOST_WEIGHT: Final = 100_000.0
_DAY_S: Final = 86_400
_MOST_HALVINGS: Final = 400.0
"""After so many half-lives the counts of use are scaled again, so that floats can hold them."""


def parse_weights(text: str) -> dict[str, float]:
    """Parse `name=number, name=number`; "" has no names. Raises ValueError."""
    found: dict[str, float] = {}
    for part in text.split(",") if text.strip() else ():
        name, equals, number = part.rpartition("=")
        name = name.strip()
        try:
            weight = float(number)
        except ValueError:
            weight = -1.0
        if not equals or not name or not isfinite(weight) or not 0.0 <= weight <= MOST_WEIGHT:
            raise ValueError(f"{part.strip()!r} is not a name, =, and a number from 0 to {MOST_WEIGHT:,.0f}")
        if name in found:
            raise ValueError(f"{name!r} is there twice")
        found[name] = weight
    return found


def wrong_user_weights(text: str) -> str:
    """Return why weights of users are invalid; "" if they are valid."""
    example = "write weights as alice=3,bob=1"
    try:
        zero = [name for name, weight in parse_weights(text).items() if not weight]
    except ValueError as error:
        return f"{error}; {example}"
    return f"the weight of {zero[0]!r} must be greater than 0; {example}" if zero else ""


def wrong_factor_weights(text: str) -> str:
    """Return why weights of factors are invalid; "" if they are valid."""
    example = f"the factors are {', '.join(FACTORS)}, as in age=1000,fair_share=2000"
    try:
        unknown = [name for name in parse_weights(text) if name not in FACTORS]
    except ValueError as error:
        return f"{error}; {example}"
    return f"there is no factor {unknown[0]!r}; {example}" if unknown else ""


class Rules(NamedTuple):
    """The settings of policies. Users without a weight have 1; factors without one have 0."""

    user_weights: dict[str, float] = {}
    factor_weights: dict[str, float] = {}
    full_age_s: int = 7 * _DAY_S
    full_size_cpus: int = 128
    usage_half_life_s: int = 7 * _DAY_S


class Submitter(msgspec.Struct):
    """Somebody who has submitted. `used` is CPU-seconds, each scaled up by the time at which they ended."""

    weight: float = 1.0
    running: int = 0
    ended: int = 0
    used: float = 0.0


def cpus_of(process: Process) -> float:
    """Return the number of CPUs that a process asks for; one that asks for none counts as 1."""
    return process.resources.cpu_milli / 1000 or 1.0


class Shares:
    """The state of policies. Those of users read it by its methods, and may write to `memory` alone.

    `turn` and `last_turns` are for policies that take turns: the rank of the process that was assigned last, and that
    of the last process of each submitter. Use is counted only for policies that want it. `now_ns`, nanoseconds since
    1970, is the time of the last change, which is that of the process to be ranked.
    """

    def __init__(self, rules: Rules | None = None) -> None:
        self.rules = rules or Rules()
        self.now_ns = 0
        self.turn = 0
        self.last_turns: dict[tuple[str, str], int] = {}
        self.submitters: dict[tuple[str, str], Submitter] = {}
        self.weight_of_all = 0.0
        self.used_by_all = 0.0
        self.scaled_from_ns = 0
        self.running_since: dict[str, int] = {}
        self.memory: dict[str, Any] = {}

    # ------------------------------------------------------------ for policies
    def weight(self, process: Process) -> float:
        """Return the weight of the user who submitted a process, from the setting `user_weights`."""
        return self.rules.user_weights.get(process.initiator_name, 1.0)

    def running(self, process: Process) -> int:
        """Return how many processes of the same submitter are running."""
        return self.submitter(process).running

    def ended(self, process: Process) -> int:
        """Return how many attempts of processes of the same submitter have ended, in any way."""
        return self.submitter(process).ended

    def used_s(self, process: Process) -> float:
        """Return the CPU-seconds of the same submitter's ended attempts, halved every `usage_half_life_s`."""
        return self.submitter(process).used / self._scale(self.now_ns)

    def used_part(self, process: Process) -> float:
        """Return the part of everybody's use that is of the same submitter, from 0 to 1."""
        return self.submitter(process).used / self.used_by_all if self.used_by_all else 0.0

    def entitled_part(self, process: Process) -> float:
        """Return the part of the weights of all who have submitted that is of the same submitter, from 0 to 1."""
        return self.submitter(process).weight / self.weight_of_all

    # ------------------------------------------------------------ counting
    def submitter(self, process: Process) -> Submitter:
        """Return the record of the submitter of a process, which may be new."""
        whose = process.colony, process.initiator_id
        found = self.submitters.get(whose)
        if found is None:
            found = self.submitters[whose] = Submitter(self.weight(process))
            self.weight_of_all += found.weight
        return found

    def start(self, process: Process, now_ns: int) -> None:
        """Count a process that begins to run."""
        self.now_ns = now_ns
        self.submitter(process).running += 1
        self.running_since[process.process_id] = now_ns

    def stop(self, process: Process, now_ns: int) -> None:
        """Count a process that runs no longer, and what it used."""
        self.now_ns = now_ns
        used_s = (now_ns - self.running_since.pop(process.process_id)) / SECOND_NS * cpus_of(process)
        submitter = self.submitter(process)
        submitter.running -= 1
        submitter.ended += 1
        scaled = used_s * self._scale(now_ns)
        submitter.used += scaled
        self.used_by_all += scaled

    def _scale(self, now_ns: int) -> float:
        """Return by how much more a CPU-second counts now than one that ended at `scaled_from_ns`."""
        halvings = (now_ns - self.scaled_from_ns) / (self.rules.usage_half_life_s * SECOND_NS)
        if halvings > _MOST_HALVINGS:
            self._scale_again(0.5 ** min(halvings, 1000.0), now_ns)
            return 1.0
        return float(2.0**halvings)

    def _scale_again(self, by: float, now_ns: int) -> None:
        for one in self.submitters.values():
            one.used *= by
        self.used_by_all *= by
        self.scaled_from_ns = now_ns
