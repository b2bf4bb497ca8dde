"""Plans: sets of faults for one run, with their common end, and a swarm that draws which of them are on."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta
from msgspec.structs import force_setattr

from colonysim.core.values import Value
from colonysim.faults.fault import check_end
from colonysim.faults.registry import AnyFault, named
from colonysim.kernel import randomness
from colonysim.kernel.randomness import Positive, Probability


class Swarm(Value, frozen=True, kw_only=True, omit_defaults=True):
    """Draws for each seed which faults of a plan are on: each with probability `keep`, but `at_least` so many."""

    keep: Probability = 0.5
    at_least: Annotated[int, Meta(ge=0, le=1_000_000_000)] = 1


class Plan(Value, frozen=True, kw_only=True, omit_defaults=True):
    """Faults for one run. All of them end `until_s` seconds after its start, whatever they say themselves.

    `swarm`: only some of them are on, drawn for each seed. Errors: BadValue for a name that is given twice, and for a
    fault without an end in a plan without one.
    """

    faults: tuple[AnyFault, ...] = ()
    until_s: Positive | None = None
    swarm: Swarm | None = None

    def check(self) -> None:
        force_setattr(self, "faults", named(self.faults))
        if self.until_s is None:
            for fault in self.faults:
                check_end(fault)

    def active(self, seed: int) -> tuple[AnyFault, ...]:
        """Return the faults that are on under a seed: all enabled ones, or those that the swarm draws."""
        faults = [fault for fault in self.faults if fault.enabled]
        if self.swarm is None:
            return tuple(faults)
        draws = [(randomness.source(seed, f"swarm/{fault.name}").random(), fault) for fault in faults]
        drawn = sorted(draws, key=lambda draw: draw[0])
        count = max(sum(draw < self.swarm.keep for draw, _ in draws), self.swarm.at_least)
        kept = {fault.name for _, fault in drawn[:count]}
        return tuple(fault for fault in faults if fault.name in kept)
