"""Tables by id with an index by name, so that finding an item by its name does not scan all items."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Protocol, TypeVar

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
