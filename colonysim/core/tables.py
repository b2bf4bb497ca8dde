"""Tables by id with an index by name, so that finding an item by its name does not scan all items."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Collection, Iterable, Iterator
from itertools import islice
from typing import Any, Protocol, TypeVar

from colonysim.core.records import Subscription
from colonysim.core.types import FileSpec


class Named(Protocol):
    """An item with a name that is unique in its colony."""

    @property
    def colony(self) -> str: ...
    @property
    def name(self) -> str: ...


N = TypeVar("N", bound=Named)


class NamedTable(dict[str, N]):
    """Items by id in order of insertion. Change it only by setting and deleting single items."""

    def __init__(self) -> None:
        super().__init__()
        self._by_name: dict[tuple[str, str], N] = {}

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (), None, None, iter(self.items())  # so that copies have their indexes

    def __setitem__(self, item_id: str, item: N) -> None:
        super().__setitem__(item_id, item)
        self._by_name[item.colony, item.name] = item

    def __delitem__(self, item_id: str) -> None:
        item = self[item_id]
        super().__delitem__(item_id)
        del self._by_name[item.colony, item.name]

    def named(self, colony: str, name: str) -> N | None:
        """Return a colony's item with a name, or None."""
        return self._by_name.get((colony, name))


Revisions = dict[str, FileSpec]
"""The revisions of one file by their ids, oldest first."""


class FileTable(dict[str, FileSpec]):
    """File revisions by id, oldest first. Change it only by setting and deleting single items."""

    def __init__(self) -> None:
        super().__init__()
        self._labels: dict[str, dict[str, dict[str, Revisions]]] = {}  # by colony, label and name
        self._counts: dict[tuple[str, str], int] = {}  # revisions by colony and label

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (), None, None, iter(self.items())  # so that copies have their indexes

    def __setitem__(self, file_id: str, file: FileSpec) -> None:
        super().__setitem__(file_id, file)
        label = file.colonyname, file.label
        names = self._labels.setdefault(file.colonyname, {}).setdefault(file.label, {})
        names.setdefault(file.name, {})[file_id] = file
        self._counts[label] = self._counts.get(label, 0) + 1

    def __delitem__(self, file_id: str) -> None:
        file = self[file_id]
        super().__delitem__(file_id)
        colony, label = file.colonyname, file.label
        labels = self._labels[colony]
        names = labels[label]
        revisions = names[file.name]
        del revisions[file_id]
        self._counts[colony, label] -= 1
        if not revisions:
            del names[file.name]
        if not names:
            del labels[label], self._counts[colony, label]
        if not labels:
            del self._labels[colony]

    def revisions(self, colony: str, label: str, name: str) -> Iterable[FileSpec]:
        """Return all revisions of one file, oldest first."""
        return self._labels.get(colony, {}).get(label, {}).get(name, {}).values()

    def at(self, colony: str, label: str) -> Iterable[Revisions]:
        """Return the revisions of each file with exactly this label."""
        return self._labels.get(colony, {}).get(label, {}).values()

    def labels(self, colony: str) -> Collection[str]:
        """Return a colony's labels."""
        return self._labels.get(colony, {}).keys()

    def count(self, colony: str, label: str) -> int:
        """Return the number of revisions with exactly this label."""
        return self._counts.get((colony, label), 0)


class Subscriptions:
    """All process subscriptions: those to one process, and general ones, of which one is told in turn.

    General ones are found by their keys, a type with a state behind it, or by a text that keys begin with. A queue
    is made for each such text that is asked for and found, and kept in the order of turns until it is empty.
    """

    def __init__(self) -> None:
        self.any = False  # there are some
        self._made = self._turns = 0
        self._of_stream: dict[int, dict[int, Subscription]] = {}
        self._of_process: dict[str, dict[tuple[str, int], dict[int, Subscription]]] = {}
        self._turn_of: dict[int, int] = {}  # of general ones
        self._keys: list[str] = []  # sorted
        self._by_key: dict[str, dict[int, Subscription]] = {}
        self._by_beginning: dict[str, dict[int, Subscription]] = {}
        self._lengths: dict[int, int] = {}  # of the beginnings, with how many have each

    def __len__(self) -> int:
        return sum(map(len, self._of_stream.values()))

    def add(self, subscription: Subscription) -> None:
        self.any = True
        self._made += 1
        self._of_stream.setdefault(subscription.stream, {})[self._made] = subscription
        if subscription.process_id:
            of_process = self._of_process.setdefault(subscription.process_id, {})
            matched = subscription.executor_type, subscription.state
            of_process.setdefault(matched, {})[self._made] = subscription
            return
        key = _key(subscription)
        if key not in self._by_key:
            insort(self._keys, key)
            self._by_key[key] = {}
        self._put_last(self._made, subscription)

    def of_process(self, process_id: str, executor_type: str, state: int) -> Iterable[Subscription]:
        """Those to one process that match, oldest first."""
        return self._of_process.get(process_id, {}).get((executor_type, state), {}).values()

    def take_turn(self, key: str, exact: bool) -> Subscription | None:
        """The general one whose turn it is among those with the key, or with a key that begins so."""
        queue = self._by_key.get(key) if exact else self._by_beginning.get(key) or self._gather(key)
        if not queue:
            return None
        number, subscription = next(iter(queue.items()))
        self._put_last(number, subscription)
        return subscription

    def forget_stream(self, stream: int) -> list[Subscription]:
        """Take out all subscriptions of a stream."""
        gone = self._of_stream.pop(stream, {})
        for number, subscription in gone.items():
            if subscription.process_id:
                self._forget_of_process(number, subscription)
            else:
                self._forget_general(number, subscription)
        self.any = bool(self._of_stream)
        return list(gone.values())

    def all(self) -> list[Subscription]:
        """General ones in the order of their turn, then those to processes, by process."""
        general = {number: each for queue in self._by_key.values() for number, each in queue.items()}
        found = [general[number] for number in sorted(general, key=self._turn_of.__getitem__)]
        for of_process in self._of_process.values():
            listed = {number: each for matching in of_process.values() for number, each in matching.items()}
            found += [listed[number] for number in sorted(listed)]
        return found

    def _forget_of_process(self, number: int, subscription: Subscription) -> None:
        of_process = self._of_process[subscription.process_id]
        matched = subscription.executor_type, subscription.state
        del of_process[matched][number]
        if not of_process[matched]:
            del of_process[matched]
        if not of_process:
            del self._of_process[subscription.process_id]

    def _forget_general(self, number: int, subscription: Subscription) -> None:
        del self._turn_of[number]
        key = _key(subscription)
        queue = self._by_key[key]
        del queue[number]
        if not queue:
            del self._by_key[key], self._keys[bisect_left(self._keys, key)]
        for beginning, queue in list(self._queues_of(key)):
            del queue[number]
            if not queue:
                del self._by_beginning[beginning]
                self._lengths[len(beginning)] -= 1
                if not self._lengths[len(beginning)]:
                    del self._lengths[len(beginning)]

    def _put_last(self, number: int, subscription: Subscription) -> None:
        self._turns += 1
        self._turn_of[number] = self._turns
        key = _key(subscription)
        for queue in (self._by_key[key], *(queue for _, queue in self._queues_of(key))):
            queue.pop(number, None)
            queue[number] = subscription

    def _queues_of(self, key: str) -> Iterator[tuple[str, dict[int, Subscription]]]:
        """The beginnings of a key that have queues."""
        for length in self._lengths:
            if length <= len(key) and (queue := self._by_beginning.get(key[:length])) is not None:
                yield key[:length], queue

    def _gather(self, beginning: str) -> dict[int, Subscription] | None:
        found: list[tuple[int, Subscription]] = []
        for key in islice(self._keys, bisect_left(self._keys, beginning), None):
            if not key.startswith(beginning):
                break
            found += self._by_key[key].items()
        if not found:
            return None
        found.sort(key=lambda item: self._turn_of[item[0]])
        queue = self._by_beginning[beginning] = dict(found)
        self._lengths[len(beginning)] = self._lengths.get(len(beginning), 0) + 1
        return queue


def _key(subscription: Subscription) -> str:
    return f"{subscription.executor_type}{subscription.state}"
