"""Parked assign calls of one pool: which of them a waiting process wakes.

Part of THE HOT PATH, see `scheduling`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Final, NamedTuple

import msgspec

from colonysim.core.lanes import Demand

if TYPE_CHECKING:
    from colonysim.core.bounds import Tree

_MOST_FRESH: Final = 16  # so many groups are looked at one by one; more go into trees
_UNLIMITED: Final = 2**80


class Poll(msgspec.Struct):
    """A parked assign call. `found_paused`: its last try found the colony paused."""

    ticket: int
    demand: Demand
    timer: int
    found_paused: bool = False
    serial: ClassVar[int] = 0

    @property
    def rank(self) -> int:
        """Its place among the heads of groups, as trees order them."""
        return self.ticket


class ResourceNeed(NamedTuple):
    """What a process asks for, compared with the amounts of groups, which are negative."""

    cpu_milli: int
    memory_bytes: int

    def fits(self, cpu_milli: int, memory_bytes: int) -> bool:
        return cpu_milli <= -self.cpu_milli and memory_bytes <= -self.memory_bytes


GroupKey = tuple[str, "int | None", "int | None", "str | None"]


class Group:
    """Calls from one location with equal amounts, of all executors or of one name, in the order of parking.

    Trees look for the least amounts and calls have most amounts, so a group has them with the opposite sign.
    """

    __slots__ = ("cpu_milli", "indexes", "key", "memory_bytes", "number", "polls")

    def __init__(self, number: int, key: GroupKey, indexes: tuple[Index, ...]) -> None:
        _, cpu_milli, memory_bytes, _ = self.key = key
        self.number = number
        self.cpu_milli = -_UNLIMITED if cpu_milli is None else -cpu_milli
        self.memory_bytes = -_UNLIMITED if memory_bytes is None else -memory_bytes
        self.indexes = indexes
        self.polls: dict[int, Poll] = {}

    def head(self) -> Poll | None:
        return next(iter(self.polls.values()), None)


class Index:
    """Groups among which the one is found whose head has been parked longest of those that have enough.

    New groups are `fresh`. When these are many, they become a tree together with all trees that are no larger, so
    that each group is put into a new tree only a logarithmic number of times.
    """

    __slots__ = ("fresh", "trees")

    def __init__(self) -> None:
        self.fresh: dict[int, Group] = {}
        self.trees: list[Tree[Group, Poll]] = []

    def add(self, group: Group) -> None:
        """Take in a new group, which has a call."""
        self.fresh[group.number] = group
        if len(self.fresh) > _MOST_FRESH:
            from colonysim.core.bounds import Tree  # few servers need one

            groups = list(self.fresh.values())
            while self.trees and len(self.trees[-1].leaves) <= len(groups):
                groups += self.trees.pop().runs()
            self.trees.append(Tree(groups))
            self.fresh.clear()

    def discard(self, group: Group) -> None:
        if self.fresh.pop(group.number, None) is None:
            for tree in self.trees:
                tree.discard(group)
            self.trees = [tree for tree in self.trees if tree.leaves]

    def post(self, group: Group) -> None:
        """The group has another head."""
        for tree in self.trees:
            tree.post(group)

    def best(self, request: ResourceNeed) -> Poll | None:
        found: Poll | None = None
        for group in self.fresh.values():
            if request.fits(group.cpu_milli, group.memory_bytes):
                head = group.head()
                if head is not None and (found is None or head.ticket < found.ticket):
                    found = head
        for tree in self.trees:
            if (best := tree.best(request)) and (found is None or best[1].ticket < found.ticket):
                found = best[1]
        return found


class Waiters:
    """The parked calls of one pool, indexed by location and name, each of which may be None for any."""

    __slots__ = ("groups", "groups_made", "indexes")

    def __init__(self) -> None:
        self.groups: dict[GroupKey, Group] = {}
        self.indexes: dict[tuple[str | None, str | None], Index] = {}
        self.groups_made = 0

    def park(self, poll: Poll) -> None:
        demand = poll.demand
        for name in (None, demand.name):
            key = demand.location, demand.cpu_milli, demand.memory_bytes, name
            if (group := self.groups.get(key)) is not None:
                group.polls[poll.ticket] = poll
            else:
                self._new_group(key, poll)

    def unpark(self, poll: Poll) -> None:
        demand = poll.demand
        for name in (None, demand.name):
            group = self.groups[demand.location, demand.cpu_milli, demand.memory_bytes, name]
            del group.polls[poll.ticket]
            if not group.polls:
                self._drop_group(group)
            else:
                for index in group.indexes:
                    if index.trees:
                        index.post(group)

    def longest(self, location: str | None, name: str | None, request: ResourceNeed) -> Poll | None:
        """The call parked longest among those that have enough."""
        index = self.indexes.get((location, name))
        return None if index is None else index.best(request)

    def _new_group(self, key: GroupKey, poll: Poll) -> None:
        indexes = []
        for place in _places(key):
            if (index := self.indexes.get(place)) is None:
                index = self.indexes[place] = Index()
            indexes.append(index)
        self.groups_made += 1
        group = self.groups[key] = Group(self.groups_made, key, tuple(indexes))
        group.polls[poll.ticket] = poll
        for index in indexes:
            index.add(group)

    def _drop_group(self, group: Group) -> None:
        del self.groups[group.key]
        for place, index in zip(_places(group.key), group.indexes, strict=True):
            index.discard(group)
            if not index.fresh and not index.trees:
                del self.indexes[place]


def _places(key: GroupKey) -> tuple[tuple[str | None, str | None], ...]:
    """Where a group is looked for: by those who ask for its location, and by those who ask for none."""
    location, _, _, name = key
    return ((None, name), (location, name)) if location else ((None, name),)
