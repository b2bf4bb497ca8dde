"""Metadata of files; their bytes are stored elsewhere, in S3 (docs/protocol/d-realtime-and-data.md 3)."""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from colonysim.core import files, lookup, storage
from colonysim.core.access import member
from colonysim.core.errors import Refusal
from colonysim.core.lookup import or_null
from colonysim.core.protocol import EMPTY, Empty, Message
from colonysim.core.registry import operation
from colonysim.core.replies import FileData
from colonysim.core.types import FileSpec, Timestamp
from colonysim.core.world import World


class AddFile(Message, frozen=True):
    file: FileSpec | None = None


def _colony_of_file(message: AddFile, _: None) -> str:
    assert message.file is not None
    return message.file.colonyname


@operation(
    "addfilemsg",
    AddFile,
    "Failed to add log",
    mismatch="Failed to add file, msg.MsgType does not match payloadType",
    find=lookup.given("file", "Failed to add file, msg.File is nil"),
    access=member(_colony_of_file),
)
def add_file(world: World, caller: str, message: AddFile, _: None) -> FileSpec | None:
    """Add a file revision. Revisions are numbered across the whole server.

    Quirk: a file that the storage refuses is answered with null and status 200; the protocol is always s3.
    """
    sent = message.file
    assert sent is not None
    file = replace(sent, fileid="", ref=replace(sent.ref, protocol="s3"), added=Timestamp(world.now_ns))
    try:
        storage.int32(400, file.ref.s3object.port)
        storage.text(400, file)
    except Refusal:
        return None
    world.last_file_number += 1
    file = replace(file, fileid=world.new_id(), sequencenr=world.last_file_number)
    world.files[file.fileid] = file
    return file


class GetFile(Message, frozen=True):
    colonyname: str = ""
    fileid: str = ""
    label: str = ""
    name: str = ""
    latest: bool = False


@operation(
    "getfilemsg",
    GetFile,
    "Failed to add log",
    mismatch="Failed to get file, msg.MsgType does not match payloadType",
    access=member(),
)
def get_file(world: World, caller: str, message: GetFile, _: None) -> tuple[FileSpec, ...]:
    """List one revision by its id, or the latest or all revisions of a label and name, newest first."""
    if message.fileid:
        storage.text(400, message.fileid)
        file = world.files.get(message.fileid)
        if file is None or file.colonyname != message.colonyname:
            raise Refusal(400, "Failed to get file")
        return (file,)
    if not (message.label and message.name):
        raise Refusal(500, "malformatted get file msg")
    storage.text(400, message.label, message.name)
    revisions = files.revisions(world, message.colonyname, message.label, message.name)
    if not revisions:
        raise Refusal(404, "Failed to get file")
    return tuple(revisions[:1] if message.latest else revisions)


class GetFiles(Message, frozen=True):
    colonyname: str = ""
    label: str = ""


@operation("getfilesmsg", GetFiles, "Failed to get files", access=member())
def get_files(world: World, caller: str, message: GetFiles, _: None) -> tuple[FileData, ...]:
    """List the latest revision of each file name with exactly this label."""
    if world.request.has_nul:
        storage.text(400, message.label)
    latest = files.latest(world, message.colonyname, message.label)
    return tuple(FileData(f.name, f.checksum, f.size, f.ref.s3object.object) for f in latest)


class GetFileLabels(Message, frozen=True):
    colonyname: str = ""
    name: str = ""
    exact: bool = False


@operation("getfilelabelsmsg", GetFileLabels, "Failed to get files", access=member())
def get_file_labels(world: World, caller: str, message: GetFileLabels, _: None) -> Any:
    """List labels with their revision counts: those starting with a text or, if `exact`, that label and those below."""
    if world.request.has_nul:
        storage.text(400, message.name)
    return or_null(files.labels(world, message.colonyname, message.name, message.exact))


class RemoveFile(Message, frozen=True):
    colonyname: str = ""
    fileid: str = ""
    label: str = ""
    name: str = ""


@operation("removefilemsg", RemoveFile, "Failed to remove file", access=member())
def remove_file(world: World, caller: str, message: RemoveFile, _: None) -> Empty:
    """Remove one revision by its id, or all of a label and name. Removing a missing file succeeds."""
    if message.fileid:
        storage.text(400, message.fileid)
        file = world.files.get(message.fileid)
        if file is not None and file.colonyname == message.colonyname:
            del world.files[message.fileid]
        return EMPTY
    if not (message.label and message.name):
        raise Refusal(400, "malformatted remove file msg")
    storage.text(400, message.label, message.name)
    for file in files.revisions(world, message.colonyname, message.label, message.name):
        del world.files[file.fileid]
    return EMPTY
