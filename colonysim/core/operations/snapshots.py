"""Snapshots of labels (docs/protocol/d-realtime-and-data.md 4). Every refusal after the access rules has status 500."""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from colonysim.core import files, storage
from colonysim.core.access import member
from colonysim.core.errors import Refusal
from colonysim.core.lookup import or_null
from colonysim.core.protocol import EMPTY, Empty, Message
from colonysim.core.records import Snapshot
from colonysim.core.registry import operation
from colonysim.core.world import World


class CreateSnapshot(Message, frozen=True):
    colonyname: str = ""
    label: str = ""
    name: str = ""


@operation("createsnapshotmsg", CreateSnapshot, "Failed to create snapshot", access=member())
def create_snapshot(world: World, caller: str, message: CreateSnapshot, _: None) -> Snapshot:
    """Record the latest revisions at a label and below it; none if no file has exactly that label."""
    colony, label = message.colonyname, message.label.removesuffix("/")
    if world.snapshots.named(colony, message.name) is not None:
        if storage.unparsable(message.name, colony):
            raise storage.duplicate_key(500, "prod_snapshots_pkey")
        raise Refusal(500, f"Snapshot with name <{message.name}> in Colony <{colony}> already exists")
    if world.request.has_nul:
        storage.text(500, message)
    file_ids: list[str] = []
    for found in files.labels(world, colony, label, exact=True) if label else _below_empty(world, colony):
        file_ids += (file.fileid for file in files.latest(world, colony, found.name))
    snapshot = Snapshot(world.new_id(), colony, label, message.name, tuple(file_ids) or None, world.now_ns)
    world.snapshots[snapshot.snapshot_id] = snapshot
    return replace(snapshot, fresh=True)


def _below_empty(world: World, colony: str) -> list[Any]:
    """Return the labels for a snapshot of the empty label: that label and those starting with /, if it has files."""
    found = files.labels(world, colony, "", exact=False)
    if not any(label.name == "" for label in found):
        return []
    return [label for label in found if label.name == "" or label.name.startswith("/")]


class GetSnapshot(Message, frozen=True):
    colonyname: str = ""
    snapshotid: str = ""
    name: str = ""


@operation("getsnapshotmsg", GetSnapshot, "Failed to get snapshot", access=member())
def get_snapshot(world: World, caller: str, message: GetSnapshot, _: None) -> Snapshot:
    """Return a snapshot by its id, or else by its name."""
    colony = message.colonyname
    if world.request.has_nul:
        storage.text(500, message.snapshotid or message.name)
    if message.snapshotid:
        snapshot = world.snapshots.get(message.snapshotid)
        if snapshot is None or snapshot.colony != colony:
            text = f"Snapshot not found with Id <{message.snapshotid}> in Colony <{colony}> does not exists"
            raise Refusal(500, text)
    elif message.name:
        snapshot = world.snapshots.named(colony, message.name)
        if snapshot is None:
            raise Refusal(500, f"Snapshot not found with name <{message.name}> in Colony <{colony}> does not exists")
    else:
        raise Refusal(500, "Failed to get snapshot, malformatted msg")
    if storage.unparsable(snapshot.name, colony):
        raise Refusal(500, "invalid split name")
    return snapshot


class GetSnapshots(Message, frozen=True):
    colonyname: str = ""


@operation("getsnapshotsmsg", GetSnapshots, "Failed to get snapshots", access=member())
def get_snapshots(world: World, caller: str, message: GetSnapshots, _: None) -> Any:
    """List the snapshots of a colony, newest first."""
    found = world.snapshots.where("colony", message.colonyname)
    if any(storage.unparsable(snapshot.name, snapshot.colony) for snapshot in found):
        raise Refusal(500, "invalid split name")
    return or_null(reversed(found))


class RemoveSnapshot(Message, frozen=True):
    colonyname: str = ""
    snapshotid: str = ""
    name: str = ""


@operation("removesnapshotmsg", RemoveSnapshot, "Failed to remove snapshot", access=member())
def remove_snapshot(world: World, caller: str, message: RemoveSnapshot, _: None) -> Empty:
    """Remove a snapshot by its id, or else by its name. Removing a missing one succeeds."""
    if world.request.has_nul:
        storage.text(500, message.snapshotid or message.name)
    if message.snapshotid:
        snapshot = world.snapshots.get(message.snapshotid)
    elif message.name:
        snapshot = world.snapshots.named(message.colonyname, message.name)
    else:
        raise Refusal(500, "Failed to remove snapsnot, malformatted msg")
    if snapshot is not None and snapshot.colony == message.colonyname:
        del world.snapshots[snapshot.snapshot_id]
    return EMPTY


class RemoveAllSnapshots(Message, frozen=True):
    colonyname: str = ""


@operation("removeallsnapshotmsg", RemoveAllSnapshots, "Failed to remove snapshot", access=member())
def remove_all_snapshots(world: World, caller: str, message: RemoveAllSnapshots, _: None) -> Empty:
    """Remove all snapshots of a colony."""
    for snapshot in world.snapshots.where("colony", message.colonyname):
        del world.snapshots[snapshot.snapshot_id]
    return EMPTY
