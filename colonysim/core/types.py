"""The wire's data types: frozen structs that messages carry and tables store unchanged.

Field names are the names on the wire, in the order of the replies. In a field of type `X | None`, `null` sets None;
in others, `null` leaves the zero value. PLAIN marks a field that is optional here for speed, but a plain object in
the reference: `null` leaves the value that an earlier duplicate has set.
"""

from __future__ import annotations

from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta

Int = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]
"""A 64-bit integer; the reference rejects larger numbers as invalid JSON."""

Int64 = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1, extra={"go": "int64"})]
"""A 64-bit integer whose type the reference's error texts call int64."""

ZERO_TIME_NS: Final = -62_135_596_800_000_000_000
"""0001-01-01T00:00:00Z, the unset time, in nanoseconds since 1970."""


class Timestamp:
    """A time sent by a client: nanoseconds since 1970 UTC, and its offset from UTC in seconds. Never changed.

    It is not a Struct, so that the decoder accepts only texts for it, not JSON objects.
    """

    __slots__ = ("ns", "offset_s")

    def __init__(self, ns: int = ZERO_TIME_NS, offset_s: int = 0) -> None:
        self.ns = ns
        self.offset_s = offset_s

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Timestamp) and (self.ns, self.offset_s) == (other.ns, other.offset_s)

    def __repr__(self) -> str:
        return f"Timestamp(ns={self.ns}, offset_s={self.offset_s})"


UNSET_TIME: Final = Timestamp()

PLAIN: Final = Meta(extra={"plain": True})


class Spec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, gc=False):
    """Base class of data in messages. The fast decoder rejects unknown keys, the exact decoder ignores them."""


# ---------------------------------------------------------------- identities
class Colony(Spec, frozen=True):
    colonyid: str = ""
    name: str = ""


class User(Spec, frozen=True):
    colonyname: str = ""
    userid: str = ""
    name: str = ""
    email: str = ""
    phone: str = ""


# ---------------------------------------------------------------- executors
class Gpu(Spec, frozen=True):
    name: str = ""
    mem: str = ""
    count: Int = 0
    nodecount: Int = 0


class Hardware(Spec, frozen=True):
    model: str = ""
    nodes: Int = 0
    cpu: str = ""
    cores: Int = 0
    mem: str = ""
    storage: str = ""
    gpu: Gpu = Gpu()
    platform: str = ""
    architecture: str = ""
    network: list[str] | None = None


class Software(Spec, frozen=True):
    name: str = ""
    type: str = ""
    version: str = ""


class Capabilities(Spec, frozen=True):
    hardware: list[Hardware] | None = None
    software: list[Software] | None = None


class Project(Spec, frozen=True):
    allocatedcpu: Int = 0
    usedcpu: Int = 0
    allocatedgpu: Int = 0
    usedgpu: Int = 0
    allocatedstorage: Int = 0
    usedstorage: Int = 0


class Allocations(Spec, frozen=True):
    projects: dict[str, Project] | None = None


class ExecutorSpec(Spec, frozen=True):
    """An executor as `addexecutormsg` describes it; `state` and `commissiontime` are accepted and ignored."""

    executorid: str = ""
    executortype: str = ""
    executorname: str = ""
    colonyname: str = ""
    state: Int = 0
    requirefuncreg: bool = False
    commissiontime: Timestamp = UNSET_TIME
    lastheardfromtime: Timestamp = UNSET_TIME
    locationname: str = ""
    capabilities: Capabilities = Capabilities()
    allocations: Allocations = Allocations()
    blueprintid: str = ""
    blueprintgen: Int = 0


class FunctionArg(Spec, frozen=True, omit_defaults=True):
    name: str = msgspec.field(default_factory=str)
    type: str = msgspec.field(default_factory=str)
    description: str = ""
    required: bool = False
    enum: list[str] | None = None


class Function(Spec, frozen=True):
    """A function that an executor has registered, with statistics of its calls; times in seconds."""

    functionid: str = ""
    executorname: str = ""
    executortype: str = ""
    colonyname: str = ""
    funcname: str = ""
    description: str = ""
    args: list[FunctionArg | None] | None = None
    counter: Int = 0
    minwaittime: float = 0.0
    maxwaittime: float = 0.0
    minexectime: float = 0.0
    maxexectime: float = 0.0
    avgwaittime: float = 0.0
    avgexectime: float = 0.0
    locationname: str = ""


# ---------------------------------------------------------------- processes
class Conditions(Spec, frozen=True):
    """Which executors may run a process, and the resources that it requires: docs/protocol/b-processes.md 1.2."""

    colonyname: str = ""
    executornames: list[str] | None = None
    executortype: str = ""
    locationname: str = ""
    dependencies: list[str] | None = None
    nodes: Int = 0
    cpu: str = ""
    processes: Int = 0
    processespernode: Int = 0
    mem: str = ""
    storage: str = ""
    gpu: Annotated[Gpu | None, PLAIN] = None
    walltime: Int64 = 0


class SnapshotMount(Spec, frozen=True):
    snapshotid: str = ""
    label: str = ""
    dir: str = ""
    keepfiles: bool = False
    keepsnapshot: bool = False


class KeepLocal(Spec, frozen=True):
    keeplocal: bool = False


class OnConflicts(Spec, frozen=True):
    onstart: KeepLocal = KeepLocal()
    onclose: KeepLocal = KeepLocal()


class SyncDir(Spec, frozen=True):
    label: str = ""
    dir: str = ""
    keepfiles: bool = False
    onconflicts: OnConflicts = OnConflicts()


class Filesystem(Spec, frozen=True):
    mount: str = ""
    snapshots: list[SnapshotMount] | None = None
    dirs: list[SyncDir] | None = None


NO_CONDITIONS: Final = Conditions()
NO_FILESYSTEM: Final = Filesystem()


class FunctionSpec(Spec, frozen=True):
    """The function to call, with arguments and limits in seconds: docs/protocol/b-processes.md 1.1."""

    nodename: str = ""
    funcname: str = ""
    args: list[Any] | None = None
    kwargs: dict[str, Any] | None = None
    priority: Int = 0
    maxwaittime: Int = 0
    maxexectime: Int = 0
    maxretries: Int = 0
    conditions: Conditions = NO_CONDITIONS
    label: str = ""
    fs: Annotated[Filesystem | None, PLAIN] = None
    env: dict[str, str] | None = None
    channels: list[str] | None = None


class WorkflowSpec(Spec, frozen=True):
    colonyname: str = ""
    functionspecs: list[FunctionSpec] | None = None


class Attribute(Spec, frozen=True):
    """An attribute of a process. Types: 0 in, 1 out, 2 err, 3 env."""

    attributeid: str = ""
    targetid: str = ""
    targetcolonyname: str = ""
    targetprocessgraphid: str = ""
    state: Int = 0
    attributetype: Int = 0
    key: str = ""
    value: str = ""


class Log(Spec, frozen=True):
    """A log line of an executor; the timestamp is in nanoseconds since 1970 UTC."""

    processid: str = ""
    colonyname: str = ""
    executorname: str = ""
    message: str = ""
    timestamp: Int = 0


# ---------------------------------------------------------------- crons and generators
class CronSpec(Spec, frozen=True):
    """A cron as `addcronmsg` describes it; `workflowspec` is a WorkflowSpec as JSON text."""

    cronid: str = ""
    initiatorid: str = ""
    initiatorname: str = ""
    colonyname: str = ""
    name: str = ""
    cronexpression: str = ""
    interval: Int = 0
    random: bool = False
    nextrun: Timestamp = UNSET_TIME
    lastrun: Timestamp = UNSET_TIME
    workflowspec: str = ""
    prevprocessgraphid: str = ""
    waitforprevprocessgraph: bool = False
    checkerperiod: Int = 0


class GeneratorSpec(Spec, frozen=True):
    """A generator as `addgeneratormsg` describes it; `workflowspec` is a WorkflowSpec as JSON text."""

    generatorid: str = ""
    initiatorid: str = ""
    initiatorname: str = ""
    colonyname: str = ""
    name: str = ""
    workflowspec: str = ""
    trigger: Int = 0
    timeout: Int = 0
    firstpack: Timestamp = UNSET_TIME
    lastrun: Timestamp = UNSET_TIME
    queuesize: Int = 0
    checkerperiod: Int = 0


# ---------------------------------------------------------------- files
class S3Object(Spec, frozen=True):
    server: str = ""
    port: Int = 0
    tls: bool = False
    accesskey: str = ""
    secretkey: str = ""
    region: str = ""
    encryptionkey: str = ""
    encryptionalg: str = ""
    object: str = ""
    bucket: str = ""


class Reference(Spec, frozen=True):
    protocol: str = ""
    s3object: S3Object = S3Object()


class FileSpec(Spec, frozen=True):
    """A file as `addfilemsg` describes it; the server sets id, sequence number and time."""

    fileid: str = ""
    colonyname: str = ""
    label: str = ""
    name: str = ""
    size: Int = 0
    sequencenr: Int = 0
    checksum: str = ""
    checksumalg: str = ""
    ref: Reference = Reference()
    added: Timestamp = UNSET_TIME


# ---------------------------------------------------------------- locations
class Location(Spec, frozen=True):
    locationid: str = ""
    name: str = ""
    colonyname: str = ""
    description: str = ""
    long: float = 0.0
    lat: float = 0.0


# ---------------------------------------------------------------- blueprints
class Metadata(Spec, frozen=True):
    """The metadata of blueprints and definitions. Times are stored as sent."""

    name: str = ""
    colonyname: str = ""
    locationname: str = ""
    labels: dict[str, str] | None = None
    annotations: dict[str, str] | None = None
    generation: Int = 0
    createdAt: Timestamp = UNSET_TIME
    updatedAt: Timestamp = UNSET_TIME
    lastReconciliationTime: Timestamp = UNSET_TIME
    lastReconciliationProcess: str = ""


class SchemaProperty(Spec, frozen=True):
    """One property of a blueprint's schema; other keywords are ignored."""

    type: str = ""
    description: str = ""
    enum: list[Any] | None = None
    default: Any = None
    properties: dict[str, SchemaProperty] | None = None
    items: SchemaProperty | None = None


class Schema(Spec, frozen=True):
    type: str = ""
    properties: dict[str, SchemaProperty] | None = None
    required: list[str] | None = None


class DefinitionNames(Spec, frozen=True):
    kind: str = ""
    listKind: str = ""
    singular: str = ""
    plural: str = ""
    shortNames: list[str] | None = None


class Handler(Spec, frozen=True):
    executorType: str = ""
    functionName: str = ""
    reconcileInterval: Int = 0


class DefinitionSpec(Spec, frozen=True):
    group: str = ""
    version: str = ""
    names: DefinitionNames = DefinitionNames()
    scope: str = ""
    schema: Schema | None = None
    handler: Handler = Handler()


class BlueprintDefinition(Spec, frozen=True):
    """Schema and handler of one kind of blueprint."""

    blueprintdefinitionid: str = ""
    kind: str = ""
    metadata: Metadata = Metadata()
    spec: DefinitionSpec = DefinitionSpec()


class Blueprint(Spec, frozen=True):
    """The desired state of a resource, and its last reported status."""

    blueprintid: str = ""
    kind: str = ""
    metadata: Metadata = Metadata()
    spec: dict[str, Any] | None = None
    status: dict[str, Any] | None = None
