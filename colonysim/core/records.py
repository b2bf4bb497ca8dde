"""The mutable records of the server. All times are integer nanoseconds since 1970 UTC.

Records belong to the world; only copies leave it. Their sequences are tuples or are replaced as a whole, so that a
shallow copy does not change when the record does. Attributes, parents and children of a process grow in place: one
that may have any needs `Process.stable_copy`.
"""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Self

import msgspec

from colonysim.core.types import (
    ZERO_TIME_NS,
    Allocations,
    Attribute,
    Blueprint,
    Capabilities,
    FunctionSpec,
    WorkflowSpec,
)

SECOND_NS: Final = 1_000_000_000
DAY_NS: Final = 86_400 * SECOND_NS


class ProcessState(IntEnum):
    """The states of processes and graphs, with their numbers on the wire."""

    WAITING = 0
    RUNNING = 1
    SUCCESS = 2
    FAILED = 3
    CANCELLED = 4


# Plain integers for the hot path, where the attribute look-up of an enum member costs time.
NEW: Final = -1  # not on the wire: the process has not been submitted yet
WAITING: Final = 0
RUNNING: Final = 1
SUCCESS: Final = 2
FAILED: Final = 3
CANCELLED: Final = 4
REMOVED: Final = 5  # not on the wire: the process is in no table any more

STATES: Final = (WAITING, RUNNING, SUCCESS, FAILED, CANCELLED)
STATE_NAMES: Final = {NEW: "NEW", REMOVED: "REMOVED"} | {state.value: state.name for state in ProcessState}

PENDING: Final = 0
APPROVED: Final = 1
REJECTED: Final = 2
UNREGISTERED: Final = 3

ENV: Final = 3  # attribute type


class Resources(NamedTuple):
    """The resources that a process requires: milli-CPU and bytes."""

    cpu_milli: int = 0
    memory_bytes: int = 0
    storage_bytes: int = 0
    gpu_memory_bytes: int = 0


NO_RESOURCES: Final = Resources()


class Record(msgspec.Struct):
    """Base class of records that the server stores and changes."""

    if TYPE_CHECKING:

        def copy(self) -> Self:
            """Return a copy that later changes of the record do not affect."""

    else:
        copy = msgspec.Struct.__copy__


class Executor(Record):
    """A registered executor in any state; removing it keeps the record (docs/protocol/a-foundation.md 7)."""

    executor_id: str
    executor_type: str
    name: str
    colony: str
    state: int = PENDING
    require_func_reg: bool = False
    commissioned_ns: int = ZERO_TIME_NS
    last_heard_ns: int = ZERO_TIME_NS
    location: str = ""
    capabilities: Capabilities = Capabilities()
    allocations: Allocations = Allocations()
    blueprint_id: str = ""
    blueprint_generation: int = 0


class Process(Record, gc=False):
    """One call of a function: docs/protocol/b-processes.md 2.1. `serial` is the order of submission."""

    process_id: str
    serial: int
    colony: str
    spec: FunctionSpec
    initiator_id: str
    initiator_name: str
    priority_time_ns: int
    submitted_ns: int
    resources: Resources = NO_RESOURCES
    state: int = WAITING
    executor_id: str = ""
    is_assigned: bool = False
    started_ns: int = ZERO_TIME_NS
    ended_ns: int = ZERO_TIME_NS
    wait_deadline_ns: int = ZERO_TIME_NS
    exec_deadline_ns: int = ZERO_TIME_NS
    retries: int = 0
    attributes: list[Attribute] | tuple[Attribute, ...] = ()
    wait_for_parents: bool = False
    parents: list[str] | tuple[str, ...] = ()
    children: list[str] | tuple[str, ...] = ()
    graph_id: str = ""
    input: list[Any] | tuple[Any, ...] | None = ()
    output: list[Any] | tuple[Any, ...] = ()
    errors: list[str] | tuple[str, ...] | None = ()
    pending_parents: int = 0  # parents that have not succeeded; a parent listed twice counts twice
    timer_s: int = 0  # the next release tick that examines the process; 0 for none
    rank: int = 0  # set by the policy; the waiting process with the lowest rank is assigned first

    def stable_copy(self) -> Process:
        """Return a copy that later changes do not affect; unlike `copy`, also if attributes or relatives are added."""
        copy = self.copy()
        if copy.attributes:
            copy.attributes = tuple(copy.attributes)
        if copy.graph_id:
            copy.parents, copy.children = tuple(copy.parents), tuple(copy.children)
        return copy


class ProcessGraph(Record):
    """A submitted workflow: docs/protocol/c-workflows.md 1.2.

    `counts` are the numbers of its processes by state. `has_unreachable_nodes` says whether no root leads to some of
    them; the reference neither counts nor examines those.
    """

    graph_id: str
    serial: int
    colony: str
    initiator_id: str
    initiator_name: str
    submitted_ns: int
    roots: tuple[str, ...] = ()
    state: int = WAITING
    started_ns: int = ZERO_TIME_NS
    ended_ns: int = ZERO_TIME_NS
    members: dict[str, None] = {}
    counts: list[int] = []
    has_unreachable_nodes: bool = False


class Reached(NamedTuple):
    """The reachable processes of a graph that has unreachable ones too, and their numbers by state."""

    members: dict[str, None]
    counts: list[int]


# ---------------------------------------------------------------- crons and generators
class Cron(Record):
    """A workflow that starts on a schedule: docs/protocol/c-workflows.md 6.1.

    `workflow_text` is the text as the client sent it; "" if the server created the cron.
    """

    cron_id: str
    initiator_id: str
    initiator_name: str
    colony: str
    name: str
    expression: str
    interval_s: int
    random: bool
    next_run_ns: int
    last_run_ns: int
    workflow_text: str
    previous_graph_id: str
    wait_for_previous: bool
    workflow: WorkflowSpec
    timer: int = 0


class Generator(Record):
    """A workflow that starts when enough arguments are queued: docs/protocol/c-workflows.md 7.1."""

    generator_id: str
    initiator_id: str
    initiator_name: str
    colony: str
    name: str
    workflow_text: str
    trigger: int
    timeout_s: int
    workflow: WorkflowSpec
    first_pack_ns: int = ZERO_TIME_NS
    last_run_ns: int = ZERO_TIME_NS
    queue: list[str] = []
    timer: int = 0


# ---------------------------------------------------------------- files and blueprints
class Snapshot(msgspec.Struct, frozen=True):
    """The file revisions below a label at one time. If `fresh`, its time is printed in UTC to the nanosecond."""

    snapshot_id: str
    colony: str
    label: str
    name: str
    file_ids: tuple[str, ...] | None
    added_ns: int
    fresh: bool = False


class BlueprintChange(msgspec.Struct, frozen=True):
    """One entry of a blueprint's history."""

    history_id: str
    blueprint: Blueprint
    changed_ns: int
    changed_by: str
    change_type: str


# ---------------------------------------------------------------- channels and subscriptions
class Entry(msgspec.Struct, frozen=True, gc=False):
    """One message in a channel. The sender sets `sequence` and `in_reply_to`, the server `timestamp_ns`."""

    sequence: int
    in_reply_to: int
    timestamp_ns: int
    sender_id: str
    payload: bytes | None
    type: str


BUCKET_TOKENS: Final = 500
TOKENS_PER_SECOND: Final = 100
_TOKEN_NS: Final = SECOND_NS // TOKENS_PER_SECOND
_BUCKET_NS: Final = BUCKET_TOKENS * _TOKEN_NS


class Channel(msgspec.Struct):
    """One channel of a process. `listeners` maps each subscribed stream to the ticket of its timer.

    From `last_turn` on, all entries of the log are from one sender and sorted; None if that place is not known.
    """

    submitter_id: str
    executor_id: str
    log: list[Entry] = []
    listeners: dict[int, int] = {}
    last_turn: int | None = None

    def has_party(self, caller_id: str) -> bool:
        """Whether a caller submitted or runs the channel's process."""
        return caller_id in (self.submitter_id, self.executor_id) and caller_id != ""


class Channels(msgspec.Struct):
    """The channels of one process, and their shared token bucket, measured in nanoseconds of credit."""

    by_name: dict[str, Channel] = {}
    credit_ns: int = _BUCKET_NS
    credited_ns: int | None = None

    def take_token(self, now_ns: int) -> bool:
        """Take a token from the bucket; False if it is empty."""
        if self.credited_ns is not None:
            self.credit_ns = min(_BUCKET_NS, self.credit_ns + now_ns - self.credited_ns)
        self.credited_ns = now_ns
        if self.credit_ns < _TOKEN_NS:
            return False
        self.credit_ns -= _TOKEN_NS
        return True


class Subscription(msgspec.Struct, frozen=True):
    """A stream's subscription to processes entering a state. `process_id` is "" for all of an executor type."""

    stream: int
    executor_type: str
    state: int
    process_id: str
    timer: int
