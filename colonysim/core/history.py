"""The history of a world: what happened in it, for observers such as the invariant checker.

The core appends to it and never reads it. A world without observers has no history (None) and records nothing.
"""

from __future__ import annotations

import msgspec

from colonysim.core.scheduling import Demand


class Transition(msgspec.Struct, frozen=True, gc=False):
    """A process has changed its state; `old` is NEW for a new process."""

    now_ns: int
    process_id: str
    old: int
    new: int
    executor_id: str
    cause: str


class Assignment(msgspec.Struct, frozen=True, gc=False):
    """A process has been assigned to an executor."""

    now_ns: int
    process_id: str
    demand: Demand


class AssignTried(msgspec.Struct, frozen=True, gc=False):
    """An assign call has found no process; `paused` if that is because its colony's assignments are paused."""

    now_ns: int
    demand: Demand
    paused: bool


class CallParked(msgspec.Struct, frozen=True, gc=False):
    """An assign call starts to wait for a process, or keeps waiting after a pause has started or ended.

    `timeout_s` is 0 if it keeps waiting, because its timeout counts from when it started to wait.
    """

    now_ns: int
    ticket: int
    demand: Demand
    timeout_s: int


class CallAbandoned(msgspec.Struct, frozen=True, gc=False):
    """The client of a parked assign call has hung up."""

    ticket: int


class PauseChanged(msgspec.Struct, frozen=True, gc=False):
    """The assignments of a colony have been paused (`on`) or resumed."""

    colony: str
    on: bool


class Enrolled(msgspec.Struct, frozen=True, gc=False):
    """An executor has been added, approved or rejected, or has changed its id.

    `heard_ns` is when it last gave a sign of life, if the request says so.
    """

    now_ns: int
    colony: str
    name: str
    executor_id: str
    heard_ns: int | None = None


class Unregistered(msgspec.Struct, frozen=True, gc=False):
    """An executor has been unregistered; `stale` if that is because it was silent for too long."""

    now_ns: int
    colony: str
    name: str
    stale: bool


class GraphEvaluated(msgspec.Struct, frozen=True, gc=False):
    """A graph's state has been evaluated."""

    graph_id: str
    state: int


class CronArmed(msgspec.Struct, frozen=True, gc=False):
    """A cron has been scheduled; for the zero time if its next run is not known yet."""

    now_ns: int
    cron_id: str
    next_run_ns: int


class CronIdle(msgspec.Struct, frozen=True, gc=False):
    """The first check of a cron has found no time at which it will run."""

    cron_id: str


class CronRan(msgspec.Struct, frozen=True, gc=False):
    """A cron has started its workflow; `asked` if a request made it run."""

    now_ns: int
    cron_id: str
    asked: bool
    graph_id: str


class SourceStalled(msgspec.Struct, frozen=True, gc=False):
    """A cron or generator cannot start its workflow until the world changes."""

    source_id: str


class ArgumentsPacked(msgspec.Struct, frozen=True, gc=False):
    """A generator has received arguments, or may try again with those it has."""

    now_ns: int
    generator_id: str
    arguments: tuple[str, ...]


class GeneratorFired(msgspec.Struct, frozen=True, gc=False):
    """A generator has started its workflow with `count` arguments."""

    now_ns: int
    generator_id: str
    count: int
    graph_id: str


class SourceRemoved(msgspec.Struct, frozen=True, gc=False):
    """A cron or generator has been removed."""

    source_id: str


class EntryAppended(msgspec.Struct, frozen=True, gc=False):
    """An entry has been appended to a channel's log."""

    process_id: str
    channel: str
    sender_id: str
    sequence: int


Entry = (
    Transition
    | Assignment
    | AssignTried
    | CallParked
    | CallAbandoned
    | PauseChanged
    | Enrolled
    | Unregistered
    | GraphEvaluated
    | CronArmed
    | CronIdle
    | CronRan
    | SourceStalled
    | ArgumentsPacked
    | GeneratorFired
    | SourceRemoved
    | EntryAppended
)
