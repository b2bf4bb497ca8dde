"""A fault at work: counts what it is about, and decides by its trigger and its chance whether it strikes now."""

from __future__ import annotations

from typing import Final

from colonysim.core.records import SECOND_NS
from colonysim.faults.fault import Fault, Hit
from colonysim.faults.triggers import After, Span, Times, When
from colonysim.kernel import randomness

_NEVER_NS: Final = 1 << 62


class OwnClock:
    """The failures of one actor under a fault with times between failures. It has failed `count` times."""

    def __init__(self, rule: Rule, between_s: Span, actor: str) -> None:
        self.rule = rule
        self.purpose = f"{rule.name}/actor/{actor}"
        self.between = randomness.drawer(between_s, randomness.source(rule.seed, f"fault/{self.purpose}/between"))
        self.count = 0

    def next_time(self, times: Times, from_ns: int) -> int | None:
        """Return when the actor fails next if it works from a time on; None for never again."""
        return self.rule.within(times, self.rule.begins(times, from_ns) + max(self.between(None), 1))

    def hit(self, now_ns: int) -> Hit:
        """Count a failure, and return it as a strike, whose random numbers do not depend on other actors."""
        self.count += 1
        return Hit(self.rule.seed, self.purpose, self.count, now_ns)


class Rule:
    """A fault at work in one run. All times are virtual, in nanoseconds since 1970.

    It is at work from `begun_ns` to `end_ns`: times before that are left out. `until_ns` is the end of what its strikes
    have begun, `down_until_ns` that of the time for which they keep the server down. `armed_ns` is when what it waits
    for (`after`) was there, None before. It has `seen` that many requests or steps that it is about, and has `struck`
    that often.
    """

    def __init__(self, fault: Fault, seed: int, start_ns: int, end_ns: int | None, begun_ns: int) -> None:
        self.fault = fault
        self.name = fault.name
        self.seed = seed
        self.start_ns = start_ns
        self.begun_ns = begun_ns
        self.end_ns = _NEVER_NS if end_ns is None else end_ns
        self.chance = randomness.source(seed, f"fault/{fault.name}")
        self.until_ns = 0
        self.down_until_ns = 0
        self.seen = 0
        self.struck = 0
        self.after: After | None = fault.trigger.after if fault.trigger is not None else None
        self.heard = 0
        self.armed_ns: int | None = start_ns if self.after is None else None
        self.clocks: dict[str, OwnClock] = {}  # of the actors that fail on their own, by name

    def hears(self, type_name: str, status: int, now_ns: int) -> bool:
        """Count an answer of the server; return whether it is the one that the fault has been waiting for."""
        after = self.after
        if after is None or self.armed_ns is not None or type_name != after.type or status != after.status:
            return False
        self.heard += 1
        if self.heard < after.count:
            return False
        wait = randomness.drawer(after.wait_s, randomness.source(self.seed, f"fault/{self.name}/wait"))
        self.armed_ns = now_ns + wait(None)
        return True

    def strikes(self, when: When, now_ns: int) -> bool:
        """Count one more that the fault is about, and return whether the fault strikes it."""
        since_ns = now_ns - self.start_ns
        if since_ns < when.from_s * SECOND_NS or now_ns >= self.end_ns:
            return False
        if when.until_s is not None and since_ns >= when.until_s * SECOND_NS:
            return False
        if self.armed_ns is None or now_ns < self.armed_ns:
            return False
        self.seen = seen = self.seen + 1
        if (when.nth is not None and seen != when.nth) or (when.first is not None and seen > when.first):
            return False
        if when.every is not None and seen % when.every:
            return False
        if when.probability < 1 and self.chance.random() >= when.probability:
            return False
        self.strike()
        return True

    def strike(self) -> None:
        """Count a strike."""
        self.struck += 1

    def hit(self, now_ns: int) -> Hit:
        """Return the present strike."""
        return Hit(self.seed, self.name, self.struck, now_ns)

    def lasts_until(self, until_ns: int) -> None:
        """Let what it has begun last until then at least: strikes that overlap end together, with the last of them."""
        self.until_ns = max(self.until_ns, until_ns)

    def next_time(self, times: Times, now_ns: int) -> int | None:
        """Return when it strikes next by itself, None for never again."""
        if self.armed_ns is None:
            return None
        base_ns, begins_ns = self.armed_ns, self.begins(times, now_ns)
        if times.mtbf_s is not None:
            works_ns = max(begins_ns, self.until_ns, self.down_until_ns)
            due_ns = works_ns + max(randomness.drawer(times.mtbf_s, self.chance)(None), 1)
        elif times.mean_every_s is not None:
            wait_ns = round(self.chance.expovariate(1 / times.mean_every_s) * SECOND_NS)
            due_ns = begins_ns + max(wait_ns, 1)
        elif times.every_s is not None:
            period_ns = max(round(times.every_s * SECOND_NS), 1)
            base_ns = max(base_ns, self.start_ns + round(times.from_s * SECOND_NS))
            due_ns = base_ns + max((now_ns - base_ns) // period_ns + 1, 1) * period_ns
        else:
            assert isinstance(times.at_s, tuple)
            moments = sorted(base_ns + round(at_s * SECOND_NS) for at_s in times.at_s)
            moments = [moment for moment in moments if moment >= self.begun_ns]
            if self.struck >= len(moments):
                return None
            due_ns = max(moments[self.struck], now_ns)
        return self.within(times, due_ns)

    def begins(self, times: Times, now_ns: int) -> int:
        """Return when it begins to strike by itself, now or later. What it waits for must have been there."""
        assert self.armed_ns is not None
        return max(now_ns, self.armed_ns, self.start_ns + round(times.from_s * SECOND_NS))

    def within(self, times: Times, due_ns: int) -> int | None:
        """Return a time at which it is due if it may strike once more and is not over by then, else None."""
        if times.count is not None and self.struck >= times.count:
            return None
        last_ns = self.end_ns - 1
        if times.until_s is not None:
            last_ns = min(last_ns, self.start_ns + round(times.until_s * SECOND_NS) - 1)
        return due_ns if due_ns <= last_ns else None

    def clock_of(self, actor: str, between_s: Span) -> OwnClock:
        """Return the clock of an actor that fails on its own."""
        if actor not in self.clocks:
            self.clocks[actor] = OwnClock(self, between_s, actor)
        return self.clocks[actor]
