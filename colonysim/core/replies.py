"""Reply bodies that the server does not store. Plain structs have the wire's field names and order."""

from __future__ import annotations

import msgspec

from colonysim.core.records import Cron, Generator, Process, ProcessGraph


class AssignReply(msgspec.Struct, frozen=True, gc=False):
    """The process that an assign call returns; `exact_start` prints its start time to the nanosecond."""

    process: Process
    exact_start: bool


class Statistics(msgspec.Struct, frozen=True):
    """Counters of one colony or of the whole server, in the order of the reply."""

    colonies: int = 0
    executors: int = 0
    activeexecutors: int = 0
    unregisteredexecutors: int = 0
    waitingprocesses: int = 0
    runningprocesses: int = 0
    successfulprocesses: int = 0
    failedprocesses: int = 0
    cancelledprocesses: int = 0
    waitingworkflows: int = 0
    runningworkflows: int = 0
    successfulworkflows: int = 0
    failedworkflows: int = 0
    cancelledworkflows: int = 0


class VersionReply(msgspec.Struct, frozen=True):
    buildversion: str
    buildtime: str
    msgtype: str


class ServerInfo(msgspec.Struct, frozen=True):
    """The reply to getserverinfomsg; an empty build time is shown as the server's current time."""

    build_version: str
    build_time: str
    now_ns: int


class ClusterNode(msgspec.Struct, frozen=True):
    name: str = ""
    host: str = ""
    port: int = 0
    peerport: int = 0
    relayport: int = 0
    apiport: int = 0


class ClusterInfo(msgspec.Struct, frozen=True):
    nodes: tuple[ClusterNode, ...]
    leader: ClusterNode


class PauseStatus(msgspec.Struct, frozen=True):
    msgtype: str
    colonyname: str
    ispaused: bool


class GraphNode(msgspec.Struct, frozen=True):
    """One process in the drawing of a graph: position in pixels, and state for the colour."""

    process_id: str
    label: str
    x: int
    y: int
    type: str
    state: int


class GraphEdge(msgspec.Struct, frozen=True):
    source: str
    target: str
    animated: bool


class GraphReply(msgspec.Struct, frozen=True):
    """A graph as replies show it. `fresh` marks the reply to its submission, which shows no times."""

    graph: ProcessGraph
    roots: tuple[str, ...] | None
    process_ids: tuple[str, ...] | None
    nodes: tuple[GraphNode, ...] = ()
    edges: tuple[GraphEdge, ...] = ()
    fresh: bool = False


class CronReply(msgspec.Struct, frozen=True):
    cron: Cron
    checker_period_ms: int = 0


class GeneratorReply(msgspec.Struct, frozen=True):
    generator: Generator
    queue_size: int = 0
    checker_period_ms: int = 0


class FileData(msgspec.Struct, frozen=True):
    name: str
    checksum: str
    size: int
    s3filename: str


class FileLabel(msgspec.Struct, frozen=True):
    name: str
    files: int
