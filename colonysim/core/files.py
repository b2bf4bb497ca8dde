"""Looking through file revisions and their labels (d-realtime-and-data 3.3)."""

from __future__ import annotations

from collections import Counter

from colonysim.core.like import Like
from colonysim.core.replies import FileLabel
from colonysim.core.specs import FileSpec
from colonysim.core.world import World


def revisions(world: World, colony: str, label: str, name: str) -> list[FileSpec]:
    """All revisions of one file, newest first."""
    found = (f for f in world.files.values() if f.colonyname == colony and f.label == label and f.name == name)
    return sorted(found, key=lambda file: -file.sequencenr)


def latest(world: World, colony: str, label: str) -> list[FileSpec]:
    """The newest revision of every name with exactly that label."""
    newest = {f.name: f for f in world.files.values() if f.colonyname == colony and f.label == label}
    return list(newest.values())


def labels(world: World, colony: str, name: str, exact: bool) -> list[FileLabel]:
    """Labels with their numbers of revisions, sorted.

    Quirk: `%` and `_` are wildcards. Where `exact`, nothing is found unless some file has exactly that label.
    """
    counts = Counter(file.label for file in world.files.values() if file.colonyname == colony)
    if exact and name:
        below = Like(f"{name}/%")
        found = {label for label in counts if label == name or below.matches(label)} if name in counts else set()
    else:
        prefix = Like(f"{name}%")
        found = {label for label in counts if prefix.matches(label)}
    return [FileLabel(label, counts[label]) for label in sorted(found)]
