"""Tables with indexes, so that finding the items of a colony, or one by its name, does not scan all items."""

from __future__ import annotations

import heapq
from bisect import bisect_left, bisect_right, insort
from collections.abc import Callable, Collection, Hashable, Iterable, Iterator, Sequence
from itertools import chain, islice
from operator import attrgetter
from typing import Any, Protocol, TypeVar

from colonysim.core.records import Subscription
from colonysim.core.types import Colony, FileSpec, Log


class Named(Protocol):
    """An item with a name that is unique in its colony."""

    @property
    def colony(self) -> str: ...
    @property
    def name(self) -> str: ...


K = TypeVar("K", bound=Hashable)
T = TypeVar("T")
N = TypeVar("N", bound=Named)

Index = tuple[Callable[[Any], Hashable], dict[Hashable, dict[Any, None]]]
"""A function that returns the value of an item, and the keys of the items by value."""


class IndexedTable(dict[K, T]):
    """Items by key in order of insertion, with indexes. Change it only by setting and deleting single items.

    `values` are the dotted names of the fields that each index looks at, by the name of the index. A field may change
    only by setting the item anew.
    """

    def __init__(self, **values: tuple[str, ...]) -> None:
        super().__init__()
        self._fields = values
        self.indexes: dict[str, Index] = {name: (attrgetter(*fields), {}) for name, fields in values.items()}

    def __reduce__(self) -> tuple[Any, ...]:
        return _indexed, (self._fields,), None, None, iter(self.items())  # so that copies have their indexes

    def __setitem__(self, key: K, item: T) -> None:
        old = self.get(key)
        super().__setitem__(key, item)
        for value_of, keys in self.indexes.values():
            value = value_of(item)
            if old is not None and (old_value := value_of(old)) != value:
                drop_key(keys, old_value, key)
            keys.setdefault(value, {})[key] = None

    def __delitem__(self, key: K) -> None:
        item = self[key]
        super().__delitem__(key)
        for value_of, keys in self.indexes.values():
            drop_key(keys, value_of(item), key)

    def where(self, index: str, *value: Any) -> list[T]:
        """Return the items with a value (one part for each field of the index), in the order in which they got it."""
        return [self[key] for key in self.indexes[index][1].get(value[0] if len(value) == 1 else value, ())]

    def count(self, index: str, *value: Any) -> int:
        """Return the number of items with a value."""
        return len(self.indexes[index][1].get(value[0] if len(value) == 1 else value, ()))


def _indexed(values: dict[str, tuple[str, ...]]) -> IndexedTable[Any, Any]:
    return IndexedTable(**values)


def drop_key(table: dict[Any, dict[K, None]], value: Hashable, key: K) -> None:
    """Take a key out of an index."""
    keys = table[value]
    del keys[key]
    if not keys:
        del table[value]


class NamedTable(IndexedTable[str, N]):
    """Items by id. No two of a colony have the same name."""

    def __init__(self) -> None:
        super().__init__(colony=("colony",), name=("colony", "name"))

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (), None, None, iter(self.items())  # so that copies have their indexes

    def named(self, colony: str, name: str) -> N | None:
        """Return a colony's item with a name, or None."""
        found = self.where("name", colony, name)
        return found[0] if found else None


class ColonyTable(dict[str, Colony]):
    """Colonies by name in order of insertion, with an index by id. Change it only by setting and deleting one."""

    def __init__(self) -> None:
        super().__init__()
        self._places: dict[str, int] = {}
        self._last_place = 0
        self._by_id: dict[str, list[tuple[int, str]]] = {}  # places and names, in order

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (), None, None, iter(self.items())  # so that copies have their indexes

    def __setitem__(self, name: str, colony: Colony) -> None:
        if name in self:
            self._forget_id(name)
        else:
            self._last_place += 1
            self._places[name] = self._last_place
        super().__setitem__(name, colony)
        insort(self._by_id.setdefault(colony.colonyid, []), (self._places[name], name))

    def __delitem__(self, name: str) -> None:
        self._forget_id(name)
        super().__delitem__(name)
        del self._places[name]

    def _forget_id(self, name: str) -> None:
        colony_id = self[name].colonyid
        same_id = self._by_id[colony_id]
        del same_id[bisect_left(same_id, (self._places[name], name))]
        if not same_id:
            del self._by_id[colony_id]

    def oldest(self, colony_id: str) -> Colony:
        """Return the colony with an id that was added first. Raises KeyError if there is none."""
        return self[self._by_id[colony_id][0][1]]


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

    def of_colony(self, colony: str) -> list[FileSpec]:
        """Return all revisions of a colony's files."""
        labels = self._labels.get(colony, {}).values()
        return [file for names in labels for revisions in names.values() for file in revisions.values()]

    def labels(self, colony: str) -> Collection[str]:
        """Return a colony's labels."""
        return self._labels.get(colony, {}).keys()

    def count(self, colony: str, label: str) -> int:
        """Return the number of revisions with exactly this label."""
        return self._counts.get((colony, label), 0)


class Subscriptions:
    """All process subscriptions: to single processes, and general ones, of which one in rotation is notified.

    General ones are found by their keys, an executor type followed by a state, or by a prefix of keys. A queue, in the
    order of the rotation, is created for each prefix that is searched and found, and kept until it is empty.
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
        self._lengths: dict[int, int] = {}  # prefixes of keys, with the number of subscriptions for each

    def __len__(self) -> int:
        return sum(map(len, self._of_stream.values()))

    def add(self, subscription: Subscription) -> None:
        """Add a subscription."""
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
        """Return the matching subscriptions to one process, oldest first."""
        return self._of_process.get(process_id, {}).get((executor_type, state), {}).values()

    def take_turn(self, key: str, exact: bool) -> Subscription | None:
        """Return the next general subscription with a key, or unless `exact` with a key that starts with it."""
        queue = self._by_key.get(key) if exact else self._by_beginning.get(key) or self._gather(key)
        if not queue:
            return None
        number, subscription = next(iter(queue.items()))
        self._put_last(number, subscription)
        return subscription

    def forget_stream(self, stream: int) -> list[Subscription]:
        """Remove and return all subscriptions of a stream."""
        gone = self._of_stream.pop(stream, {})
        for number, subscription in gone.items():
            if subscription.process_id:
                self._forget_of_process(number, subscription)
            else:
                self._forget_general(number, subscription)
        self.any = bool(self._of_stream)
        return list(gone.values())

    def all(self) -> list[Subscription]:
        """Return the general ones in order of rotation, then those to single processes."""
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
        """Iterate over the prefixes of a key that have queues."""
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


_log_time = attrgetter("timestamp")


class Logbook:
    """Log lines by colony, process and executor, each in order of time; no two have the same time.

    A process belongs to one colony. Names of executors do not, so their lines are kept by name and colony.
    """

    def __init__(self) -> None:
        self.of_colony: dict[str, list[Log]] = {}
        self.of_process: dict[str, list[Log]] = {}
        self.of_executor: dict[str, dict[str, list[Log]]] = {}
        self.last_ns: int | None = None  # time of the last line that has not been removed

    def __len__(self) -> int:
        return sum(map(len, self.of_colony.values()))

    def __iter__(self) -> Iterator[Log]:
        """All lines, oldest first."""
        return heapq.merge(*self.of_colony.values(), key=_log_time)

    def add(self, log: Log) -> None:
        """Add a line that is newer than all others."""
        self.of_colony.setdefault(log.colonyname, []).append(log)
        if log.processid:
            self.of_process.setdefault(log.processid, []).append(log)
        self.of_executor.setdefault(log.executorname, {}).setdefault(log.colonyname, []).append(log)
        self.last_ns = log.timestamp

    def remove(self, colony: str, before_ns: int | None = None) -> None:
        """Remove the lines of a colony, or those before a time. The cost does not depend on other lines."""
        logs = self.of_colony.get(colony, [])
        gone = logs if before_ns is None else logs[: bisect_left(logs, before_ns, key=_log_time)]
        if not gone:
            return
        last_ns = gone[-1].timestamp
        for process_id in dict.fromkeys(log.processid for log in gone if log.processid):
            _cut(self.of_process, process_id, last_ns)
        for name in dict.fromkeys(log.executorname for log in gone):
            _cut(self.of_executor[name], colony, last_ns)
            if not self.of_executor[name]:
                del self.of_executor[name]
        _cut(self.of_colony, colony, last_ns)
        if last_ns == self.last_ns:
            self.last_ns = max((logs[-1].timestamp for logs in self.of_colony.values()), default=None)

    def oldest_ns(self, colony: str) -> int | None:
        """Return the time of the first line of a colony; None if there is none."""
        logs = self.of_colony.get(colony)
        return logs[0].timestamp if logs else None

    # ------------------------------------------------------------ reading
    def since(self, colony: str, time_ns: int) -> Iterator[Log]:
        """Return the lines of a colony from a time on, oldest first."""
        logs = self.of_colony.get(colony, [])
        return islice(logs, bisect_left(logs, time_ns, key=_log_time), None)

    def after(self, parts: Sequence[list[Log]], time_ns: int, count: int) -> list[Log]:
        """Return the first lines after a time, or from the beginning if that is not positive."""
        starts = [bisect_right(logs, time_ns, key=_log_time) if time_ns > 0 else 0 for logs in parts]
        ahead = [logs[start : start + count] for logs, start in zip(parts, starts, strict=True)]
        return sorted(chain.from_iterable(ahead), key=_log_time)[:count]

    def latest(self, parts: Sequence[list[Log]], count: int) -> list[Log]:
        """Return the last lines, oldest first."""
        found = sorted(chain.from_iterable(logs[max(len(logs) - count, 0) :] for logs in parts), key=_log_time)
        return found[max(len(found) - count, 0) :]


def _cut(table: dict[str, list[Log]], key: str, last_ns: int) -> None:
    """Remove the lines of a list up to a time, and the list if none is left."""
    logs = table[key]
    del logs[: bisect_right(logs, last_ns, key=_log_time)]
    if not logs:
        del table[key]
