"""The parked assign calls of one pool, and which of them a waiting process wakes.

Part of THE HOT PATH, see `scheduling`.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, ClassVar, Final, NamedTuple

import msgspec

from colonysim.core.lanes import Demand

if TYPE_CHECKING:
    from colonysim.core.bounds import Tree

_MOST_FRESH: Final = 16  # up to this number, new groups are examined one by one; more go into trees
_UNLIMITED: Final = 2**80


class Poll(msgspec.Struct):
    """A parked assign call. `found_paused`: its last attempt found the colony paused."""

    ticket: int
    demand: Demand
    timer: int
    found_paused: bool = False
    serial: ClassVar[int] = 0

    @property
    def rank(self) -> int:
        """Its position among the heads of groups, as trees order them."""
        return self.ticket


class ResourceNeed(NamedTuple):
    """The resources that a process asks for, compared with those of groups, which are negative."""

    cpu_milli: int
    memory_bytes: int

    def fits(self, cpu_milli: int, memory_bytes: int) -> bool:
        """Whether a group with these negative amounts offers enough."""
        return cpu_milli <= -self.cpu_milli and memory_bytes <= -self.memory_bytes


GroupKey = tuple[str, "int | None", "int | None", "str | None"]


class Group:
    """Calls from one location that offer equal resources, of all executors or of one name, oldest first.

    Trees search for the least required amounts, but calls offer largest ones, so a group stores them negated.
    """

    __slots__ = ("cpu_milli", "indexes", "key", "memory_bytes", "number", "polls")

    def __init__(self, number: int, key: GroupKey, indexes: tuple[Index, ...]) -> None:
        _, cpu_milli, memory_bytes, _ = self.key = key
        self.number = number
        self.cpu_milli = -_UNLIMITED if cpu_milli is None else -cpu_milli
        self.memory_bytes = -_UNLIMITED if memory_bytes is None else -memory_bytes
        self.indexes = indexes
        self.polls: OrderedDict[int, Poll] = OrderedDict()  # a dict would look for its first call behind removed ones

    def head(self) -> Poll | None:
        """Return the oldest call, if any."""
        return next(iter(self.polls.values()), None)


class Index:
    """Finds, among groups that offer enough, the one whose oldest call has been parked longest.

    New groups are `fresh`. Once there are many, they form a tree together with all trees that are no larger, so each
    group is put into a new tree only a logarithmic number of times.
    """

    __slots__ = ("fresh", "trees")

    def __init__(self) -> None:
        self.fresh: dict[int, Group] = {}
        self.trees: list[Tree[Group, Poll]] = []

    def add(self, group: Group) -> None:
        """Add a new group that has a call."""
        self.fresh[group.number] = group
        if len(self.fresh) > _MOST_FRESH:
            from colonysim.core.bounds import Tree  # few servers need one

            groups = list(self.fresh.values())
            while self.trees and len(self.trees[-1].leaves) <= len(groups):
                groups += self.trees.pop().runs()
            self.trees.append(Tree(groups))
            self.fresh.clear()

    def discard(self, group: Group) -> None:
        """Remove an empty group."""
        if self.fresh.pop(group.number, None) is None:
            for tree in self.trees:
                tree.discard(group)
            self.trees = [tree for tree in self.trees if tree.leaves]

    def post(self, group: Group) -> None:
        """Take in the new head of a group."""
        for tree in self.trees:
            tree.post(group)

    def best(self, request: ResourceNeed) -> Poll | None:
        """Return the call that has been parked longest of those that offer enough, if any."""
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
    """The parked calls of one pool, indexed by location and name; None stands for any.

    Few processes name executors, so names are indexed from the first such process on.
    """

    __slots__ = ("groups", "groups_made", "has_names", "indexes")

    def __init__(self) -> None:
        self.groups: dict[GroupKey, Group] = {}
        self.indexes: dict[tuple[str | None, str | None], Index] = {}
        self.groups_made = 0
        self.has_names = False

    def park(self, poll: Poll) -> None:
        """Add a call."""
        self._add(poll, None)
        if self.has_names:
            self._add(poll, poll.demand.name)

    def _add(self, poll: Poll, name: str | None) -> None:
        demand = poll.demand
        key = demand.location, demand.cpu_milli, demand.memory_bytes, name
        if (group := self.groups.get(key)) is not None:
            group.polls[poll.ticket] = poll
        else:
            self._new_group(key, poll)

    def unpark(self, poll: Poll) -> None:
        """Remove a call."""
        self._remove(poll, None)
        if self.has_names:
            self._remove(poll, poll.demand.name)

    def _remove(self, poll: Poll, name: str | None) -> None:
        demand = poll.demand
        group = self.groups[demand.location, demand.cpu_milli, demand.memory_bytes, name]
        del group.polls[poll.ticket]
        if not group.polls:
            self._drop_group(group)
        else:
            for index in group.indexes:
                if index.trees:
                    index.post(group)

    def longest(self, location: str | None, name: str | None, request: ResourceNeed) -> Poll | None:
        """Return the call that has been parked longest of those that offer enough, if any."""
        if name is not None and not self.has_names:
            self._index_names()
        index = self.indexes.get((location, name))
        return None if index is None else index.best(request)

    def _index_names(self) -> None:
        self.has_names = True
        for poll in [poll for group in self.groups.values() for poll in group.polls.values()]:
            self._add(poll, poll.demand.name)

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
    """The keys of the indexes that contain a group: without a location, and with its own."""
    location, _, _, name = key
    return ((None, name), (location, name)) if location else ((None, name),)
