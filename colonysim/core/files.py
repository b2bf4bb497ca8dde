"""Search file revisions and their labels (docs/protocol/d-realtime-and-data.md 3.3)."""

from __future__ import annotations

from colonysim.core.like import Like
from colonysim.core.replies import FileLabel
from colonysim.core.types import FileSpec
from colonysim.core.world import World


def revisions(world: World, colony: str, label: str, name: str) -> list[FileSpec]:
    """Return all revisions of one file, newest first."""
    return sorted(world.files.revisions(colony, label, name), key=lambda file: -file.sequencenr)


def latest(world: World, colony: str, label: str) -> list[FileSpec]:
    """Return the newest revision of each file with exactly this label, ordered by the files' oldest revisions."""
    files = sorted(world.files.at(colony, label), key=lambda revisions: next(iter(revisions.values())).sequencenr)
    return [next(reversed(revisions.values())) for revisions in files]


def labels(world: World, colony: str, name: str, exact: bool) -> list[FileLabel]:
    """Return the labels that start with `name`, sorted, with their revision counts.

    If `exact`, return the label `name` and those below it, but nothing unless a file has exactly that label.
    Quirk: `%` and `_` are wildcards.
    """
    known = world.files.labels(colony)
    if exact and name:
        below = Like(f"{name}/%")
        found = {label for label in known if label == name or below.matches(label)} if name in known else set()
    else:
        prefix = Like(f"{name}%")
        found = {label for label in known if prefix.matches(label)}
    return [FileLabel(label, world.files.count(colony, label)) for label in sorted(found)]
