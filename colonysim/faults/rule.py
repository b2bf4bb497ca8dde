"""Whom a fault is about and whether it strikes now: matching, counting and chance, for one fault at a time."""

from __future__ import annotations

from functools import cached_property
from typing import Any

from colonysim.core.protocol import Message
from colonysim.core.records import SECOND_NS
from colonysim.core.world import World
from colonysim.faults.model import After, Fault, Match, Span, Times, When, fits
from colonysim.kernel import randomness

_NEVER_NS = 1 << 62


class Subject:
    """A request that faults are matched against. What it takes to know is looked up when it is asked for."""

    def __init__(self, world: World, caller_id: str, type_name: str, message: Message | None, actor: str = "") -> None:
        self.world = world
        self.caller_id = caller_id
        self.type_name = type_name
        self.message = message
        self.actor = actor

    @classmethod
    def supposed(cls, type_name: str, *, colony: str, role: str, names: tuple[str, ...], executor_type: str) -> Subject:
        """A request that might be sent, of which all is known beforehand."""
        subject = cls.__new__(cls)
        subject.type_name = type_name
        subject.__dict__.update(colony=colony, role=role, names=names, executor_type=executor_type)
        return subject

    @cached_property
    def colony(self) -> str:
        """The colony a message is about, or its caller's."""
        if found := _colony_named_in(self.message):
            return found
        process = self.world.processes.get(getattr(self.message, "processid", ""))
        if process is not None:
            return process.colony
        records = self.world.executors_by_id.get(self.caller_id)
        return records[0].colony if records else ""

    @cached_property
    def executor_type(self) -> str:
        records = self.world.executors_by_id.get(self.caller_id)
        return records[0].executor_type if records else ""

    @cached_property
    def names(self) -> tuple[str, ...]:
        """All that the caller is called by."""
        world, caller_id = self.world, self.caller_id
        names = [record.name for record in world.executors_by_id.get(caller_id, ())]
        names += [user.name for user in world.users_by_id.get((self.colony, caller_id), ())]
        return (*names, caller_id, self.actor)

    @cached_property
    def role(self) -> str:
        world, caller_id = self.world, self.caller_id
        if caller_id in world.executors_by_id:
            return "executor"
        if caller_id == world.server_id:
            return "server_owner"
        if any(colony.colonyid == caller_id for colony in world.colonies.values()):
            return "colony_owner"
        return "user" if (self.colony, caller_id) in world.users_by_id else "unknown"

    def fits(self, match: Match) -> bool:
        return (
            (not match.types or fits(match.types, self.type_name))
            and (not match.executor_type or match.executor_type == self.executor_type)
            and (not match.colony or match.colony == self.colony)
            and (not match.role or match.role == self.role)
            and (not match.callers or fits(match.callers, *self.names))
        )


def _colony_named_in(message: Any) -> str:
    """The colony name in a message, or in the spec it carries."""
    if found := getattr(message, "colonyname", ""):
        return str(found)
    for field in getattr(message, "__struct_fields__", ()):
        inner = getattr(message, field)
        if found := getattr(inner, "colonyname", "") or getattr(getattr(inner, "conditions", None), "colonyname", ""):
            return str(found)
    return ""


class Rule:
    """A fault at work: how often it has been asked, whether it has been armed, and its own chance.

    It is at work from `begun_ns` on: what would have been before has not happened, and does not count.
    `until_ns` is the end of what it has begun.
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
        self.seen = 0
        self.struck = 0
        trigger: When | Times | None = getattr(fault, "when", None) or getattr(fault, "times", None)
        self.after: After | None = trigger.after if trigger is not None else None
        self.heard = 0
        self.armed_ns: int | None = start_ns if self.after is None else None

    def hears(self, type_name: str, status: int, now_ns: int) -> bool:
        """An answer has been given; True if that is what the fault has been waiting for."""
        after = self.after
        if after is None or self.armed_ns is not None or type_name != after.type or status != after.status:
            return False
        self.heard += 1
        if self.heard < after.count:
            return False
        self.armed_ns = now_ns + round(after.wait_s * SECOND_NS)
        return True

    def strikes(self, when: When, now_ns: int) -> bool:
        """Count one more that matches, and say whether it is hit."""
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

    def lasts_until(self, until_ns: int) -> None:
        """What it has begun lasts until then at least: strikes that overlap end together, with the last of them."""
        self.until_ns = max(self.until_ns, until_ns)

    def next_time(self, times: Times, now_ns: int) -> int | None:
        """When it strikes next by itself, None for never again."""
        if self.armed_ns is None or (times.count is not None and self.struck >= times.count):
            return None
        base_ns, last_ns = self.armed_ns, self.end_ns - 1
        if times.until_s is not None:
            last_ns = min(last_ns, self.start_ns + round(times.until_s * SECOND_NS) - 1)
        from_ns = max(now_ns, self.start_ns + round(times.from_s * SECOND_NS))
        if times.mean_every_s is not None:
            wait_ns = round(self.chance.expovariate(1 / times.mean_every_s) * SECOND_NS)
            due_ns = max(from_ns, base_ns) + max(wait_ns, 1)
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
        return due_ns if due_ns <= last_ns else None

    def span_ns(self, span: Span) -> int:
        """A span of time in nanoseconds: the same throughout a strike, and whatever happens to other strikes."""
        if isinstance(span, (int, float)):
            return round(span * SECOND_NS)
        source = randomness.source(self.seed, f"fault/{self.name}/strike/{self.struck}")
        return randomness.drawer(span, source)(None)
