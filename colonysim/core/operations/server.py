"""The server itself: version, info, statistics, cluster, owner (docs/protocol/a-foundation.md 6.1)."""

from __future__ import annotations

from typing import Any

from colonysim.core import replies, storage
from colonysim.core.access import anyone, server_owner
from colonysim.core.errors import Refusal
from colonysim.core.protocol import ECHO, Message
from colonysim.core.records import FAILED, RUNNING, SUCCESS, UNREGISTERED, WAITING
from colonysim.core.registry import operation
from colonysim.core.replies import ClusterInfo, ClusterNode, ServerInfo, Statistics
from colonysim.core.world import World


class Version(Message, frozen=True):
    buildversion: str = ""
    buildtime: str = ""


@operation("versionmsg", Version, "Failed to get server version", access=anyone, signed=False)
def version(world: World, caller: str, message: Version, _: None) -> replies.VersionReply:
    """Return the server's version, which the reference leaves empty."""
    return replies.VersionReply("", "", "versionmsg")


class GetServerInfo(Message, frozen=True):
    pass


@operation("getserverinfomsg", GetServerInfo, "", access=anyone, signed=False)
def get_server_info(world: World, caller: str, message: GetServerInfo, _: None) -> ServerInfo:
    """Return version and build time. The payload of this message is never decoded."""
    return ServerInfo(world.settings.build_version, world.settings.build_time, world.now_ns)


class GetStatistics(Message, frozen=True):
    pass


@operation(
    "getstatisticsmsg",
    GetStatistics,
    "Failed to get statistics",
    mismatch="Failed to get server version, msg.MsgType does not match payloadType",
    access=server_owner,
)
def get_statistics(world: World, caller: str, message: GetStatistics, _: None) -> Statistics:
    """Count the whole server's colonies, executors and processes. Quirk: the other counters are always 0."""
    if world.unreadable_names and any(storage.unparsable(e.name, e.colony) for e in world.executors.values()):
        raise Refusal(500, "Failed to parse Executor name")

    def count(state: int) -> int:
        return sum(len(tables[state]) for tables in world.by_state.values())

    return Statistics(
        colonies=len(world.colonies),
        executors=sum(executor.state != UNREGISTERED for executor in world.executors.values()),
        waitingprocesses=count(WAITING),
        runningprocesses=count(RUNNING),
        successfulprocesses=count(SUCCESS),
        failedprocesses=count(FAILED),
    )


class GetCluster(Message, frozen=True):
    pass


@operation("getclustermsg", GetCluster, "Failed to get cluster info", access=server_owner)
def get_cluster(world: World, caller: str, message: GetCluster, _: None) -> ClusterInfo:
    """Return a cluster of one node."""
    node = ClusterNode("server", "localhost", 2379, 2380, 25100, 50080)
    return ClusterInfo((node,), node)


class ChangeServerId(Message, frozen=True):
    serverid: str = ""


def _new_server_id(world: World, caller: str, message: ChangeServerId) -> None:
    if not message.serverid:
        raise Refusal(400, "Failed to change colony Id, colony Id is empty")


@operation("changeserveridmsg", ChangeServerId, "Failed to change colony Id", find=_new_server_id, access=server_owner)
def change_server_id(world: World, caller: str, message: ChangeServerId, _: None) -> Any:
    """Change the server owner's id. Quirk: its length and characters are not checked."""
    if world.request.has_nul:
        storage.text(403, message.serverid)
    world.server_id = message.serverid
    return ECHO
