"""What has happened, for whoever keeps books on it: the core writes, and reads none of it.

A world without books has no trace (None), and nothing is written.
"""

from __future__ import annotations

import msgspec

from colonysim.core.scheduling import Demand


class Transition(msgspec.Struct, frozen=True, gc=False):
    """A process has changed its state; `old` is -1 for a new one."""

    now_ns: int
    process_id: str
    old: int
    new: int
    executor_id: str
    cause: str


class Assignment(msgspec.Struct, frozen=True, gc=False):
    """A process has been given to an executor that asked for work."""

    now_ns: int
    process_id: str
    demand: Demand


class Tried(msgspec.Struct, frozen=True, gc=False):
    """An assign call has looked for a process and got none; `paused`: because its colony's assignments are."""

    now_ns: int
    demand: Demand
    paused: bool


class Parked(msgspec.Struct, frozen=True, gc=False):
    """An assign call waits for a process, or goes on waiting after a pause has begun or ended.

    `timeout_s` is 0 where it goes on: its time runs from when it first began to wait.
    """

    now_ns: int
    ticket: int
    demand: Demand
    timeout_s: int


class Abandoned(msgspec.Struct, frozen=True, gc=False):
    """The client of a parked assign call has hung up."""

    ticket: int


class Pause(msgspec.Struct, frozen=True, gc=False):
    """The assignments of a colony have been paused (`on`) or resumed."""

    colony: str
    on: bool


class Enrolled(msgspec.Struct, frozen=True, gc=False):
    """An executor has been added, approved or rejected, or has got another id.

    `heard_ns` is when it last gave a sign of life, where somebody has just said so.
    """

    now_ns: int
    colony: str
    name: str
    executor_id: str
    heard_ns: int | None = None


class Unregistered(msgspec.Struct, frozen=True, gc=False):
    """An executor is registered no more; `stale`: because it gave no sign for too long."""

    now_ns: int
    colony: str
    name: str
    stale: bool


class Settled(msgspec.Struct, frozen=True, gc=False):
    """A graph has been looked at and has this state now."""

    graph_id: str
    state: int


class CronArmed(msgspec.Struct, frozen=True, gc=False):
    """A cron waits for its time; the zero time where that is not known yet."""

    now_ns: int
    cron_id: str
    next_run_ns: int


class CronIdle(msgspec.Struct, frozen=True, gc=False):
    """A first look has found no time at which a cron will run."""

    cron_id: str


class CronRan(msgspec.Struct, frozen=True, gc=False):
    """A cron has started its workflow; `asked`: because somebody said so."""

    now_ns: int
    cron_id: str
    asked: bool
    graph_id: str


class Held(msgspec.Struct, frozen=True, gc=False):
    """A cron or generator cannot start its workflow until something else changes."""

    source_id: str


class Packed(msgspec.Struct, frozen=True, gc=False):
    """A generator has got arguments, or may try again with those it has."""

    now_ns: int
    generator_id: str
    arguments: tuple[str, ...]


class Fired(msgspec.Struct, frozen=True, gc=False):
    """A generator has started its workflow with so many arguments."""

    now_ns: int
    generator_id: str
    count: int
    graph_id: str


class Gone(msgspec.Struct, frozen=True, gc=False):
    """A cron or generator has been removed."""

    source_id: str


class Appended(msgspec.Struct, frozen=True, gc=False):
    """A message has come to a channel."""

    process_id: str
    channel: str
    sender_id: str
    sequence: int


Entry = (
    Transition
    | Assignment
    | Tried
    | Parked
    | Abandoned
    | Pause
    | Enrolled
    | Unregistered
    | Settled
    | CronArmed
    | CronIdle
    | CronRan
    | Held
    | Packed
    | Fired
    | Gone
    | Appended
)
