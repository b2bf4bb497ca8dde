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


class Settled(msgspec.Struct, frozen=True, gc=False):
    """A graph has been looked at and has this state now."""

    graph_id: str
    state: int


class CronArmed(msgspec.Struct, frozen=True, gc=False):
    """A cron waits for its time; the zero time where that is not known yet."""

    now_ns: int
    cron_id: str
    next_run_ns: int


class CronRan(msgspec.Struct, frozen=True, gc=False):
    """A cron has started its workflow; `asked`: because somebody said so."""

    now_ns: int
    cron_id: str
    asked: bool


class Held(msgspec.Struct, frozen=True, gc=False):
    """A cron or generator cannot start its workflow until something else changes."""

    source_id: str


class Packed(msgspec.Struct, frozen=True, gc=False):
    """A generator has got an argument, or may try again with those it has."""

    now_ns: int
    generator_id: str
    count: int


class Fired(msgspec.Struct, frozen=True, gc=False):
    """A generator has started its workflow with so many arguments."""

    generator_id: str
    count: int


class Gone(msgspec.Struct, frozen=True, gc=False):
    """A cron or generator has been removed."""

    source_id: str


class Appended(msgspec.Struct, frozen=True, gc=False):
    """A message has come to a channel."""

    process_id: str
    channel: str
    sender_id: str
    sequence: int


Entry = Transition | Assignment | Settled | CronArmed | CronRan | Held | Packed | Fired | Gone | Appended
